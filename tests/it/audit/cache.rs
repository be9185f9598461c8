//! What is remembered between two audits, and what becomes of a cache that is damaged.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use super::{publish_all, states};
use crate::support::{Cli, FakeRegistry, Kind, Ran, Service, onetag};

fn audit_in(registry: &FakeRegistry, cache: &Path) -> Cli {
    let repository = registry.repository("ubuntu");
    onetag(["audit", "-r", &repository, "--output", "json"]).env("ONETAG_CACHE_DIR", cache)
}

/// How many requests there were of each kind since the last call: listings, HEADs, GETs, configs.
fn cost(registry: &FakeRegistry) -> [usize; 4] {
    let kinds = [Kind::Tags, Kind::HeadManifest, Kind::GetManifest, Kind::Blob];
    let cost = kinds.map(|kind| registry.count(kind));
    assert_eq!(cost.iter().sum::<usize>(), registry.requests().len());
    registry.forget_requests();
    cost
}

/// The document without what it cost.
fn found(ran: Ran) -> Value {
    let mut document = ran.expect(0).json();
    document["summary"]["requests"] = Value::Null;
    document
}

fn only_file(folder: &Path) -> PathBuf {
    let files: Vec<_> = std::fs::read_dir(folder.join("facts-1")).expect("a folder").collect();
    let [Ok(file)] = files.as_slice() else { panic!("{files:?}") };
    file.path()
}

#[tokio::test]
async fn a_second_audit_costs_a_listing_and_heads() {
    let (registry, cache) = (FakeRegistry::start().await, TempDir::new().expect("a folder"));
    publish_all(&registry, &["bionic", "xenial"]).await;
    let first = found(audit_in(&registry, cache.path()).run().await);
    assert_eq!(cost(&registry), [1, 8, 8, 6], "each tag a HEAD, each digest a GET, each image its config");
    let second = found(audit_in(&registry, cache.path()).run().await);
    assert_eq!(cost(&registry), [1, 14, 0, 0], "each tag a HEAD, and each child of an index");
    assert_eq!(first, second);

    registry.push_image("ubuntu:amd64-xenial", "linux/amd64");
    let third = audit_in(&registry, cache.path()).run().await.expect(7).json();
    assert_eq!(cost(&registry), [1, 14, 1, 1], "only what is new is read");
    assert_eq!(states(&third)[1], "xenial stale: amd64=stale arm64=ok armhf=ok");
}

#[tokio::test]
async fn an_attested_image_is_known_as_well() {
    let (registry, cache) = (FakeRegistry::start().await, TempDir::new().expect("a folder"));
    registry.push_attested("ubuntu:amd64-xenial", "linux/amd64");
    let run = || audit_in(&registry, cache.path()).run();
    assert_eq!(found(run().await), found(run().await));
    registry.forget_requests();
    found(run().await);
    let [_, _, gets, configs] = cost(&registry);
    assert_eq!((gets, configs), (0, 0));
}

#[tokio::test]
async fn nothing_is_remembered_or_believed_with_no_cache() {
    let (registry, cache) = (FakeRegistry::start().await, TempDir::new().expect("a folder"));
    publish_all(&registry, &["xenial"]).await;
    for _ in 0..2 {
        found(audit_in(&registry, cache.path()).arg("--no-cache").run().await);
        assert_eq!(cost(&registry), [1, 4, 4, 3]);
    }
    assert_eq!(std::fs::read_dir(cache.path()).expect("it is there").count(), 0);
    found(audit_in(&registry, cache.path()).run().await);
    registry.forget_requests();
    found(audit_in(&registry, cache.path()).arg("--no-cache").run().await);
    assert_eq!(cost(&registry), [1, 4, 4, 3]);
}

#[tokio::test]
async fn publishing_again_reads_no_config_that_is_known() {
    let (registry, cache) = (FakeRegistry::start().await, TempDir::new().expect("a folder"));
    publish_all(&registry, &["xenial"]).await;
    found(audit_in(&registry, cache.path()).run().await);
    registry.forget_requests();
    let repository = registry.repository("ubuntu");
    let publish = onetag(["publish", "-r", &repository, "--tag", "xenial"]).env("ONETAG_CACHE_DIR", cache.path());
    publish.run().await.expect(0);
    assert_eq!(cost(&registry), [1, 0, 4, 0]);
}

#[tokio::test]
async fn a_damaged_cache_is_rebuilt_and_never_believed() {
    let (registry, cache) = (FakeRegistry::start().await, TempDir::new().expect("a folder"));
    publish_all(&registry, &["xenial"]).await;
    let right = found(audit_in(&registry, cache.path()).run().await);
    let file = only_file(cache.path());
    let whole = std::fs::read(&file).expect("it can be read");

    let lie = String::from_utf8_lossy(&whole).replace("arm64", "amd64").into_bytes();
    let noise: Vec<u8> = whole.iter().map(|byte| byte ^ 0x55).collect();
    for damaged in [&lie[..], &noise, &whole[..whole.len() / 2], &[], &[0x1e; 999]] {
        std::fs::write(&file, damaged).expect("it can be written");
        assert_eq!(found(audit_in(&registry, cache.path()).run().await), right);
        registry.forget_requests();
        assert_eq!(found(audit_in(&registry, cache.path()).run().await), right);
        assert_eq!(cost(&registry), [1, 7, 0, 0], "it is whole again");
    }
}

#[tokio::test]
async fn two_audits_at_once_share_a_cache() {
    let (registry, cache) = (FakeRegistry::start().await, TempDir::new().expect("a folder"));
    publish_all(&registry, &["bionic", "focal", "xenial"]).await;
    let (one, other) = (audit_in(&registry, cache.path()).spawn(), audit_in(&registry, cache.path()).spawn());
    let (one, other) = (found(one.wait().await), found(other.wait().await));
    assert_eq!(one, other);
    registry.forget_requests();
    assert_eq!(found(audit_in(&registry, cache.path()).run().await), one);
    assert_eq!(cost(&registry), [1, 21, 0, 0]);
}

#[tokio::test]
async fn a_folder_that_cannot_be_used_costs_one_warning() {
    let (registry, cache) = (FakeRegistry::start().await, TempDir::new().expect("a folder"));
    publish_all(&registry, &["xenial"]).await;
    let in_the_way = cache.path().join("file");
    std::fs::write(&in_the_way, "no folder").expect("a file");
    let ran = audit_in(&registry, &in_the_way).run().await.expect(0);
    assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("cannot be used"), "{}", ran.stderr);
    assert_eq!(states(&ran.json()), ["xenial ok: amd64=ok arm64=ok armhf=ok"]);
}

#[tokio::test]
async fn a_service_knows_after_a_restart_what_it_knew_before() {
    let registry = FakeRegistry::start().await;
    let digest = registry.push_image("ubuntu:amd64-xenial", "linux/amd64");
    let rule = format!("[[repository]]\nregistry = \"{}\"\nname = \"ubuntu\"\nquiet = \"0s\"", registry.host());
    let mut service = Service::start(&registry.host(), &rule).await;
    service.tell("ubuntu", "amd64-xenial", &digest).await;
    crate::support::eventually("it is published", async || registry.digest("ubuntu:xenial")).await;
    service.idle().await;
    assert_eq!(registry.count(Kind::Blob), 1);
    service.stop().await;
    registry.forget_requests();
    service.resume().await;
    service.tell("ubuntu", "amd64-xenial", &digest).await;
    crate::support::eventually("it is looked at", async || (registry.count(Kind::GetManifest) > 0).then_some(())).await;
    service.idle().await;
    assert_eq!(registry.count(Kind::Blob), 0, "{}", service.log());
}
