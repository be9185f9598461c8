//! What the world does to an audit: it goes on, and never calls unknown what it could not read ok.

use super::{audit, codes, publish_all, states};
use crate::support::{FakeRegistry, Kind, Play, When, onetag};

#[tokio::test]
async fn one_version_that_cannot_be_read_does_not_end_the_audit() {
    let registry = FakeRegistry::start().await;
    publish_all(&registry, &["bionic", "xenial"]).await;
    registry.push_image("ubuntu:amd64-xenial", "linux/amd64");
    registry.on(When::kind(Kind::HeadManifest).tag("arm64-bionic"), Play::error(500, "UNKNOWN", "oh"));
    let document = audit(&registry, &["--timeout", "1s"], 5).await;
    assert_eq!(
        states(&document),
        [
            "bionic unreadable: amd64=unreadable arm64=unreadable armhf=unreadable",
            "xenial stale: amd64=stale arm64=ok armhf=ok",
        ]
    );
    assert_eq!(codes(&document, "bionic").len(), 1);
}

#[tokio::test]
async fn a_version_that_may_not_be_read_exits_with_4() {
    let registry = FakeRegistry::start().await;
    publish_all(&registry, &["bionic", "xenial"]).await;
    registry.on(When::kind(Kind::HeadManifest).tag("arm64-bionic"), Play::error(403, "DENIED", "no"));
    let document = audit(&registry, &[], 4).await;
    assert!(states(&document)[0].starts_with("bionic unreadable"));
    assert_eq!(states(&document)[1], "xenial ok: amd64=ok arm64=ok armhf=ok");
}

#[tokio::test]
async fn only_a_404_makes_a_child_dangling() {
    let registry = FakeRegistry::start().await;
    publish_all(&registry, &["xenial"]).await;
    let child = registry.digest("ubuntu:arm64-xenial").expect("it is there");
    for status in [500, 503, 403] {
        registry.behave();
        let play = Play::error(status, "UNKNOWN", "oh");
        registry.on(When::kind(Kind::GetManifest).tag(&child), play);
        let play = Play::error(status, "UNKNOWN", "oh");
        registry.on(When::kind(Kind::HeadManifest).tag(&child), play);
        let document = audit(&registry, &["--timeout", "1s"], if status == 403 { 4 } else { 5 }).await;
        assert_eq!(document["versions"][0]["state"], "unreadable", "{status}");
    }
}

#[tokio::test]
async fn without_a_listing_there_is_no_document() {
    let registry = FakeRegistry::start().await;
    registry.on(When::kind(Kind::Tags), Play::error(403, "DENIED", "not for you"));
    let ran = onetag(["audit", "-r", &registry.repository("ubuntu"), "--output", "json"]).run().await.expect(4);
    assert_eq!(ran.stdout, "");
    assert!(ran.stderr.starts_with("error: "), "{}", ran.stderr);
}

#[tokio::test]
async fn a_registry_without_head_is_audited_too() {
    let registry = FakeRegistry::builder().without_head().start().await;
    publish_all(&registry, &["xenial"]).await;
    assert_eq!(states(&audit(&registry, &[], 0).await), ["xenial ok: amd64=ok arm64=ok armhf=ok"]);
}

#[tokio::test]
async fn an_empty_repository_has_nothing_wrong() {
    let registry = FakeRegistry::start().await;
    let document = audit(&registry, &[], 0).await;
    assert_eq!(document["versions"], serde_json::json!([]));
}

#[tokio::test]
async fn what_is_not_available_or_not_known_is_a_matter_of_usage() {
    let registry = FakeRegistry::start().await;
    let repository = registry.repository("ubuntu");
    for options in [
        &["--verify", "files"][..],
        &["--fail-on", "broken"],
        &["--client", "podman"],
        &["--client", "podman", "--platform", "arm"],
        &["--require", "amd46"],
    ] {
        let ran = onetag(["audit", "-r", &repository]).args(options).run().await.expect(2);
        assert_ne!(ran.stderr, "", "{options:?}");
    }
    assert_eq!(registry.requests().len(), 0);
}
