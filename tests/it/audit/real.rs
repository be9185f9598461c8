//! The states that a real registry allows, and the cost of two thousand versions there.

use futures_util::StreamExt as _;
use serde_json::json;

use super::{codes, run, states};
use crate::support::image::{Image, OCI_INDEX, OCI_MANIFEST, index};
use crate::support::{RealRegistry, onetag};

async fn publish(registry: &RealRegistry, tag: &str) {
    onetag(["publish", "-r", &registry.repository("ubuntu"), "--tag", tag]).run().await.expect(0);
}

async fn entry(registry: &RealRegistry, tag: &str, platform: &str) -> serde_json::Value {
    let stored = registry.manifest(&format!("ubuntu:{tag}")).await.expect("it is there");
    let platform = crate::support::image::platform_json(platform);
    json!({ "mediaType": OCI_MANIFEST, "digest": stored.digest, "size": stored.bytes.len(), "platform": platform })
}

#[tokio::test]
async fn every_state_that_a_real_registry_allows_is_recognised() {
    let registry = RealRegistry::start().await;
    let push = async |tag: &str, platform: &str| registry.push_image(&format!("ubuntu:{tag}"), platform).await;
    for version in ["ok", "stale", "dangling", "mismatch", "missing"] {
        push(&format!("amd64-{version}"), "linux/amd64").await;
        push(&format!("arm64-{version}"), "linux/arm64").await;
        publish(&registry, version).await;
    }
    push("arm64-stale", "linux/arm64").await;
    push("arm64-mismatch", "linux/amd64").await;
    push("amd64-unpublished", "linux/amd64").await;
    push("amd64-unreadable", "linux/amd64").await;
    registry.push_built("ubuntu:arm64-unreadable", &crate::support::image::helm_chart()).await;
    push("amd64-foreign", "linux/amd64").await;
    push("foreign", "linux/amd64").await;
    push("amd64-duplicate", "linux/amd64").await;
    push("x86_64-duplicate", "linux/amd64").await;
    push("amd64-orphan", "linux/amd64").await;
    push("loose", "linux/arm64").await;
    let entries =
        [entry(&registry, "amd64-orphan", "linux/amd64").await, entry(&registry, "loose", "linux/arm64").await];
    registry.put_manifest("ubuntu:orphan", OCI_INDEX, index(OCI_INDEX, &entries)).await;
    let entries = [entry(&registry, "amd64-orphan", "linux/s390x").await];
    registry.put_manifest("ubuntu:entry", OCI_INDEX, index(OCI_INDEX, &entries)).await;
    push("amd64-entry", "linux/amd64").await;
    let child = registry.digest("ubuntu:arm64-dangling").await.expect("it is there");
    registry.delete_manifest(&format!("ubuntu@{child}")).await;

    let ran = run(&registry.repository("ubuntu"), &["--require", "amd64,arm64"]).await.expect(7);
    let document = ran.json();
    assert_eq!(
        states(&document),
        [
            "dangling dangling: amd64=ok arm64=dangling",
            "duplicate duplicate: amd64=duplicate x86_64=duplicate arm64=missing",
            "entry mismatch: amd64=unpublished arm64=missing s390x=mismatch",
            "foreign foreign: amd64=unpublished arm64=missing",
            "loose foreign: amd64=missing arm64=missing",
            "mismatch mismatch: amd64=ok arm64=mismatch",
            "missing ok: amd64=ok arm64=ok",
            "ok ok: amd64=ok arm64=ok",
            "orphan missing: amd64=ok arm64=missing",
            "stale stale: amd64=ok arm64=stale",
            "unpublished missing: amd64=unpublished arm64=missing",
            "unreadable unreadable: amd64=unpublished arm64=unreadable",
        ]
    );
    assert_eq!(codes(&document, "stale"), ["stale"]);
}

/// Small images that share their layer; the configs differ, so that each is one of its own.
async fn push_versions(registry: &RealRegistry, versions: usize) {
    let layer = crate::support::image::gzip(b"one layer for all");
    registry.put_blob("ubuntu", layer.clone()).await;
    let push = |version: usize| {
        let layer = layer.clone();
        async move {
            let mut entries = Vec::new();
            for (word, platform) in [("amd64", "linux/amd64"), ("arm64", "linux/arm64"), ("armhf", "linux/arm/v7")] {
                let image = Image::new(platform).label("version", &version.to_string()).layers(vec![layer.clone()]);
                let built = image.build();
                registry.put_blob("ubuntu", built.blobs[0].clone()).await;
                let reference = format!("ubuntu:{word}-{version}");
                registry.put_manifest(&reference, &built.media_type, built.bytes.clone()).await;
                entries.push(built.descriptor(platform));
            }
            registry.put_manifest(&format!("ubuntu:{version}"), OCI_INDEX, index(OCI_INDEX, &entries)).await;
        }
    };
    futures_util::stream::iter(0..versions).for_each_concurrent(16, push).await;
}

#[tokio::test]
async fn a_second_audit_of_a_real_repository_finds_the_same_and_reads_no_blob() {
    let registry = RealRegistry::start().await;
    push_versions(&registry, 40).await;
    let cache = tempfile::TempDir::new().expect("a folder");
    let repository = registry.repository("ubuntu");
    let audit = || onetag(["audit", "-r", &repository, "--output", "json"]).env("ONETAG_CACHE_DIR", cache.path()).run();
    let first = audit().await.expect(0).json();
    let blobs = |log: &str| log.lines().filter(|line| line.contains("GET /v2/ubuntu/blobs/")).count();
    let before = blobs(&registry.log());
    let second = audit().await.expect(0).json();
    assert_eq!(first["versions"], second["versions"]);
    assert_eq!(first["summary"]["ok"], 40);
    assert_eq!((before > 0, blobs(&registry.log())), (true, before), "{}", registry.log());
    assert_eq!(second["summary"]["requests"], 1 + 40 * 7);
}
