//! What the files of images prove, in what is published already.

use super::{audit, codes, states};
use crate::support::{FakeRegistry, onetag, publish, starting_busybox};

#[tokio::test]
async fn wrong_files_are_found_where_the_files_are_asked() {
    let registry = FakeRegistry::start().await;
    registry.push("ubuntu:amd64-xenial", &starting_busybox("linux/amd64", "amd64"));
    registry.push("ubuntu:arm64-xenial", &starting_busybox("linux/arm64", "amd64"));
    publish(&registry, &[]).await.expect_pushed();
    registry.forget_requests();
    assert_eq!(states(&audit(&registry, &[], 0).await), ["xenial ok: amd64=ok arm64=ok"]);
    let document = audit(&registry, &["--verify", "entrypoint"], 7).await;
    assert_eq!(states(&document), ["xenial mismatch: amd64=ok arm64=mismatch"]);
    assert_eq!(codes(&document, "xenial"), ["elf-mismatch"]);
}

#[tokio::test]
async fn what_is_published_by_policy_is_ok_by_the_same_policy() {
    for on_mismatch in ["trust-tag", "rewrite"] {
        let registry = FakeRegistry::start().await;
        registry.push("ubuntu:amd64-xenial", &starting_busybox("linux/amd64", "amd64"));
        registry.push("ubuntu:armhf-xenial", &starting_busybox("linux/amd64", "armhf"));
        publish(&registry, &["--verify", "entrypoint", "--on-mismatch", on_mismatch]).await.expect_pushed();
        registry.forget_requests();
        let toml = format!(
            "[[repository]]\nregistry = \"{}\"\nname = \"ubuntu\"\nverify = \"entrypoint\"\non_mismatch = \"{on_mismatch}\"\n",
            registry.host()
        );
        let repository = registry.repository("ubuntu");
        let run = onetag(["audit", "-r", &repository, "--output", "json", "--config", "onetag.toml"]);
        let document = run.home_file("onetag.toml", toml).run().await.expect(0).json();
        assert_eq!(states(&document), ["xenial ok: amd64=ok armhf=ok"], "{on_mismatch}: {document:#}");
        let document = audit(&registry, &[], 7).await;
        assert!(states(&document)[0].contains("armhf=mismatch"), "nobody asked to believe it: {document:#}");
    }
}
