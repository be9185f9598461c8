//! Every state of an image and of a plain tag, made and recognised.

use serde_json::json;

use super::{audit, codes, problems, publish, publish_all, states};
use crate::support::image::{Image, OCI_INDEX, attestation, helm_chart, index};
use crate::support::{Desk, FakeRegistry};

/// Puts an index of these descriptors under `ubuntu:xenial`.
fn put_index(registry: &FakeRegistry, descriptors: &[serde_json::Value]) -> String {
    registry.put_manifest("ubuntu:xenial", OCI_INDEX, index(OCI_INDEX, descriptors))
}

#[tokio::test]
async fn what_is_published_as_pushed_is_ok() {
    let registry = FakeRegistry::start().await;
    publish_all(&registry, &["xenial", "9", "10"]).await;
    registry.push_image("ubuntu:amd64-bionic", "linux/amd64");
    let document = audit(&registry, &[], 0).await;
    assert_eq!(
        states(&document),
        [
            "9 ok: amd64=ok arm64=ok armhf=ok",
            "10 ok: amd64=ok arm64=ok armhf=ok",
            "bionic unpublished: amd64=unpublished",
            "xenial ok: amd64=ok arm64=ok armhf=ok",
        ]
    );
    assert_eq!(codes(&document, "bionic"), ["unpublished"]);
    assert_eq!(codes(&document, "xenial"), [""; 0]);
    let summary = &document["summary"];
    assert_eq!((&summary["versions"], &summary["ok"], &summary["problems"]), (&json!(4), &json!(3), &json!(1)));
    assert_eq!(summary["requests"], registry.requests().len());
}

#[tokio::test]
async fn a_row_says_what_was_pushed_and_what_is_published() {
    let registry = FakeRegistry::start().await;
    publish_all(&registry, &["xenial"]).await;
    let before = registry.digest("ubuntu:armhf-xenial").expect("it is there");
    let now = registry.push_image("ubuntu:armhf-xenial", "linux/arm/v7");
    let document = audit(&registry, &[], 7).await;
    assert_eq!(document["repository"], registry.repository("ubuntu"));
    let version = &document["versions"][0];
    assert_eq!(version["digest"], registry.digest("ubuntu:xenial").expect("it is there"));
    let expected = json!({
        "arch": "armhf", "tag": "armhf-xenial", "platform": "linux/arm/v7", "state": "stale",
        "digest": now, "published": before, "detail": "the index has an older image",
    });
    assert_eq!(version["images"][2], expected);
    assert_eq!(states(&document), ["xenial stale: amd64=ok arm64=ok armhf=stale"]);
    let problem = &problems(&document, "xenial")[0];
    assert_eq!((&problem["code"], &problem["tag"]), (&json!("stale"), &json!("armhf-xenial")));
    assert_eq!(problem["remedy"], "publish it: `onetag publish --tag xenial`");
}

#[tokio::test]
async fn an_architecture_that_came_later_is_unpublished_and_no_failure() {
    let registry = FakeRegistry::start().await;
    publish_all(&registry, &["xenial"]).await;
    registry.push_image("ubuntu:s390x-xenial", "linux/s390x");
    let document = audit(&registry, &[], 0).await;
    assert_eq!(states(&document), ["xenial unpublished: amd64=ok arm64=ok armhf=ok s390x=unpublished"]);
    audit(&registry, &["--fail-on", "unpublished"], 7).await;
    audit(&registry, &["--fail-on", "stale,dangling"], 0).await;
}

#[tokio::test]
async fn a_required_architecture_without_a_tag_is_missing_also_where_the_index_has_it() {
    let registry = FakeRegistry::start().await;
    publish_all(&registry, &["xenial"]).await;
    registry.delete("ubuntu:armhf-xenial");
    let document = audit(&registry, &["--require", "armhf,riscv64"], 7).await;
    assert_eq!(states(&document), ["xenial missing: amd64=ok arm64=ok armhf=missing riscv64=missing"]);
    let image = &document["versions"][0]["images"][2];
    assert_eq!((&image["tag"], image["published"].is_string()), (&json!(null), true));
    let codes = codes(&document, "xenial");
    assert_eq!(codes, ["arch-missing", "arch-missing"]);
}

#[tokio::test]
async fn what_only_the_index_has_is_an_orphan() {
    let registry = FakeRegistry::start().await;
    publish_all(&registry, &["xenial", "bionic"]).await;
    registry.delete("ubuntu:armhf-xenial");
    for word in ["amd64", "arm64", "armhf"] {
        registry.delete(&format!("ubuntu:{word}-bionic"));
    }
    let document = audit(&registry, &[], 7).await;
    assert_eq!(
        states(&document),
        ["bionic orphan: amd64=orphan arm64=orphan armhf=orphan", "xenial orphan: amd64=ok arm64=ok armhf=orphan"]
    );
    assert_eq!(codes(&document, "xenial"), ["orphan"]);
}

#[tokio::test]
async fn a_child_that_the_registry_lost_is_dangling_with_a_tag_and_without() {
    let registry = FakeRegistry::start().await;
    publish_all(&registry, &["xenial"]).await;
    let lost = registry.digest("ubuntu:armhf-xenial").expect("it is there");
    let stale = registry.digest("ubuntu:arm64-xenial").expect("it is there");
    registry.delete_manifest(&lost);
    registry.push_image("ubuntu:arm64-xenial", "linux/arm64");
    registry.delete_manifest(&stale);
    let document = audit(&registry, &[], 7).await;
    assert_eq!(states(&document), ["xenial dangling: amd64=ok arm64=dangling armhf=dangling"]);
    assert_eq!(codes(&document, "xenial"), ["dangling", "dangling"]);
    let rows = &document["versions"][0]["images"];
    assert_eq!(rows[2]["published"], lost);
    assert_eq!(rows[1]["published"], stale);
}

#[tokio::test]
async fn an_image_that_contradicts_its_tag_or_its_entry_is_a_mismatch() {
    let registry = FakeRegistry::start().await;
    publish_all(&registry, &["bionic"]).await;
    registry.push_image("ubuntu:arm64-bionic", "linux/amd64");
    registry.push_image("ubuntu:amd64-xenial", "linux/amd64");
    let mut lying = registry.descriptor("ubuntu:amd64-xenial");
    lying["platform"]["architecture"] = json!("arm64");
    put_index(&registry, &[lying]);
    let document = audit(&registry, &[], 7).await;
    assert_eq!(
        states(&document),
        ["bionic mismatch: amd64=ok arm64=mismatch armhf=ok", "xenial mismatch: amd64=mismatch"]
    );
    assert_eq!(codes(&document, "bionic"), ["config-arch-mismatch"]);
    assert_eq!(codes(&document, "xenial"), ["entry-mismatch"]);
    assert_eq!(
        document["versions"][1]["images"][0]["detail"],
        "the index says linux/arm64, its config says linux/amd64"
    );
}

#[tokio::test]
async fn an_orphan_whose_config_contradicts_its_entry_is_a_mismatch() {
    let registry = FakeRegistry::start().await;
    registry.push_image("ubuntu:other", "linux/s390x");
    let mut lying = registry.descriptor("ubuntu:other");
    lying["platform"]["architecture"] = json!("arm64");
    registry.push_image("ubuntu:amd64-xenial", "linux/amd64");
    let honest = registry.descriptor("ubuntu:amd64-xenial");
    put_index(&registry, &[honest, lying]);
    let document = audit(&registry, &["--tag", "xenial"], 7).await;
    assert_eq!(states(&document), ["xenial mismatch: amd64=ok arm64=mismatch"]);
}

#[tokio::test]
async fn several_images_for_one_platform_are_duplicates_wherever_they_are() {
    let registry = FakeRegistry::start().await;
    registry.push_image("ubuntu:amd64-bionic", "linux/amd64");
    registry.push_image("ubuntu:x86_64-bionic", "linux/amd64");
    registry.push_image("ubuntu:arm64-xenial", "linux/arm64");
    registry.push_image("ubuntu:old", "linux/arm64/v8");
    let both = [registry.descriptor("ubuntu:arm64-xenial"), registry.descriptor("ubuntu:old")];
    put_index(&registry, &both);
    registry.delete("ubuntu:old");
    let document = audit(&registry, &[], 7).await;
    assert_eq!(
        states(&document),
        ["bionic duplicate: amd64=duplicate x86_64=duplicate", "xenial duplicate: arm64=duplicate arm64=duplicate"]
    );
    assert_eq!(codes(&document, "bionic"), ["duplicate-platform"]);
    assert_eq!(codes(&document, "xenial"), ["duplicate-platform", "duplicate-platform"]);
}

#[tokio::test]
async fn two_words_for_one_image_are_fine_and_two_platforms_for_one_image_are_not() {
    let registry = FakeRegistry::start().await;
    let digest = registry.push_image("ubuntu:amd64-xenial", "linux/amd64");
    registry.retag("ubuntu:x86_64-xenial", &digest);
    publish(&registry, "xenial").await;
    let digest = registry.push_image("ubuntu:arm64-bionic", "linux/arm64");
    registry.retag("ubuntu:amd64-bionic", &digest);
    let document = audit(&registry, &["--fail-on", "dangling"], 0).await;
    assert_eq!(
        states(&document),
        ["bionic mismatch: amd64=mismatch arm64=unpublished", "xenial ok: amd64=ok x86_64=ok"]
    );
}

#[tokio::test]
async fn what_cannot_be_read_as_an_image_is_unreadable() {
    let registry = FakeRegistry::start().await;
    publish_all(&registry, &["xenial"]).await;
    registry.push_built("ubuntu:arm64-xenial", &helm_chart());
    let config = registry.push("ubuntu:armhf-xenial", &Image::new("linux/arm/v7").file("etc/new", "1"));
    let config = registry.json(&format!("ubuntu@{config}"))["config"]["digest"].clone();
    registry.delete_blob("ubuntu", config.as_str().expect("a digest"));
    let document = audit(&registry, &[], 7).await;
    assert_eq!(states(&document), ["xenial unreadable: amd64=ok arm64=unreadable armhf=unreadable"]);
    assert_eq!(codes(&document, "xenial"), ["not-an-image", "content-missing"]);
}

#[tokio::test]
async fn a_lost_child_is_told_also_where_its_tag_holds_something_wrong_now() {
    let registry = FakeRegistry::start().await;
    publish_all(&registry, &["xenial"]).await;
    let lost = registry.digest("ubuntu:arm64-xenial").expect("it is there");
    registry.push_built("ubuntu:arm64-xenial", &helm_chart());
    registry.delete_manifest(&lost);
    let document = audit(&registry, &[], 7).await;
    assert_eq!(states(&document), ["xenial dangling: amd64=ok arm64=dangling armhf=ok"]);
    assert_eq!(codes(&document, "xenial"), ["not-an-image", "dangling"]);
}

#[tokio::test]
async fn an_entry_of_another_size_than_its_image_is_unreadable() {
    let registry = FakeRegistry::start().await;
    registry.push_image("ubuntu:amd64-xenial", "linux/amd64");
    let mut entry = registry.descriptor("ubuntu:amd64-xenial");
    entry["size"] = json!(7);
    put_index(&registry, &[entry]);
    let document = audit(&registry, &[], 7).await;
    assert_eq!(states(&document), ["xenial unreadable: amd64=unreadable"]);
}

#[tokio::test]
async fn what_was_not_made_of_architecture_tags_is_foreign() {
    let registry = FakeRegistry::start().await;
    registry.push_image("ubuntu:amd64-xenial", "linux/amd64");
    registry.push_image("ubuntu:xenial", "linux/amd64");
    registry.push_image("ubuntu:nightly", "linux/amd64");
    registry.push_built("ubuntu:chart", &helm_chart());
    let document = audit(&registry, &[], 7).await;
    assert_eq!(states(&document), ["nightly foreign:", "xenial foreign: amd64=unpublished"]);
    assert_eq!(codes(&document, "nightly"), ["foreign-tag"]);
    audit(&registry, &["--fail-on", "stale"], 0).await;
    audit(&registry, &["--fail-on", "foreign"], 7).await;
}

#[tokio::test]
async fn a_plain_tag_that_is_one_of_its_images_is_only_unpublished() {
    let registry = FakeRegistry::start().await;
    let digest = registry.push_image("ubuntu:amd64-xenial", "linux/amd64");
    registry.retag("ubuntu:xenial", &digest);
    registry.push_image("ubuntu:arm64-xenial", "linux/arm64");
    let document = audit(&registry, &[], 0).await;
    assert_eq!(states(&document), ["xenial unpublished: amd64=unpublished arm64=unpublished"]);
    assert_eq!(codes(&document, "xenial"), ["not-an-index", "unpublished"]);
}

#[tokio::test]
async fn an_entry_without_a_platform_is_named() {
    let registry = FakeRegistry::start().await;
    registry.push_image("ubuntu:amd64-xenial", "linux/amd64");
    let mut entry = registry.descriptor("ubuntu:amd64-xenial");
    entry.as_object_mut().expect("an object").remove("platform");
    put_index(&registry, &[entry]);
    let document = audit(&registry, &[], 7).await;
    assert_eq!(states(&document), ["xenial foreign: amd64=mismatch"]);
    assert_eq!(codes(&document, "xenial"), ["foreign-tag", "no-platform"]);
}

#[tokio::test]
async fn attestations_must_be_there_and_speak_of_an_image_that_is() {
    let registry = FakeRegistry::start().await;
    let pushed = registry.push_attested("ubuntu:amd64-xenial", "linux/amd64");
    publish(&registry, "xenial").await;
    assert_eq!(states(&audit(&registry, &[], 0).await), ["xenial ok: amd64=ok"]);

    registry.delete_manifest(&pushed.attestation);
    let document = audit(&registry, &[], 7).await;
    assert_eq!(states(&document), ["xenial dangling: amd64=unreadable ?=dangling"]);
    assert_eq!(codes(&document, "xenial"), ["attestation-lost", "attestation-missing"]);
}

#[tokio::test]
async fn an_attestation_of_an_image_that_is_gone_is_an_orphan() {
    let registry = FakeRegistry::start().await;
    registry.push_image("ubuntu:amd64-xenial", "linux/amd64");
    let about = format!("sha256:{}", "5".repeat(64));
    let built = attestation(&about);
    registry.push_built(&format!("ubuntu@{}", built.digest), &built);
    let mut idle = built.descriptor("unknown/unknown");
    idle["annotations"] =
        json!({ "vnd.docker.reference.digest": about, "vnd.docker.reference.type": "attestation-manifest" });
    put_index(&registry, &[registry.descriptor("ubuntu:amd64-xenial"), idle]);
    let document = audit(&registry, &[], 7).await;
    assert_eq!(states(&document), ["xenial orphan: amd64=ok ?=orphan"]);
    assert_eq!(codes(&document, "xenial"), ["attestation-idle"]);
}

#[tokio::test]
async fn an_index_in_an_index_is_no_image() {
    let registry = FakeRegistry::start().await;
    publish_all(&registry, &["inner"]).await;
    registry.push_image("ubuntu:amd64-xenial", "linux/amd64");
    let mut nested = registry.descriptor("ubuntu:inner");
    nested["platform"] = json!({ "os": "linux", "architecture": "arm64" });
    put_index(&registry, &[registry.descriptor("ubuntu:amd64-xenial"), nested]);
    let document = audit(&registry, &["--tag", "xenial"], 7).await;
    assert_eq!(states(&document), ["xenial foreign: amd64=ok arm64=unreadable"]);
}

#[tokio::test]
async fn a_word_that_nobody_knows_is_told_beside_the_known_ones() {
    let registry = FakeRegistry::start().await;
    publish_all(&registry, &["xenial"]).await;
    registry.push_image("ubuntu:riscv128-xenial", "linux/riscv64");
    registry.push_image("ubuntu:x86-xenial", "linux/386");
    registry.put_manifest("ubuntu:slim-xenial", "application/vnd.x+json", "{}");
    let document = audit(&registry, &[], 7).await;
    assert_eq!(
        states(&document),
        ["xenial unreadable: amd64=ok arm64=ok armhf=ok x86=unreadable riscv128-xenial=unpublished"]
    );
    assert_eq!(codes(&document, "xenial"), ["ambiguous-word", "unknown-word"]);
    let named = audit(&registry, &["--word", "riscv128=linux/riscv64", "--word", "x86=linux/386"], 0).await;
    assert_eq!(states(&named), ["xenial unpublished: amd64=ok arm64=ok x86=unpublished armhf=ok riscv128=unpublished"]);
}

#[tokio::test]
async fn hosts_that_would_get_less_and_entries_that_nobody_gets_are_told() {
    let registry = FakeRegistry::start().await;
    registry.push_image("ubuntu:i386-xenial", "linux/386");
    registry.push_image("ubuntu:armhf-xenial", "linux/arm/v7");
    publish(&registry, "xenial").await;
    registry.push_image("ubuntu:odd", "linux/amd64");
    let mut odd = registry.descriptor("ubuntu:odd");
    odd["platform"]["architecture"] = json!("x64");
    let children = [registry.descriptor("ubuntu:i386-xenial"), odd];
    registry.put_manifest("ubuntu:other", OCI_INDEX, index(OCI_INDEX, &children));
    registry.delete("ubuntu:odd");
    let document = audit(&registry, &["--fail-on", "stale"], 0).await;
    assert_eq!(codes(&document, "xenial"), ["lesser-platform", "lesser-platform"]);
    assert!(codes(&document, "other").contains(&"unreached-entry".to_owned()), "{document:#}");
    assert!(states(&document)[1].starts_with("xenial ok:"), "it is as it was pushed");
}

#[tokio::test]
async fn named_tags_are_looked_at_alone_and_must_exist() {
    let registry = FakeRegistry::start().await;
    publish_all(&registry, &["xenial", "bionic"]).await;
    let document = audit(&registry, &["--tag", "xenial"], 0).await;
    assert_eq!(states(&document), ["xenial ok: amd64=ok arm64=ok armhf=ok"]);
    let document = audit(&registry, &["--tag", "jammy"], 7).await;
    assert_eq!(states(&document), ["jammy missing:"]);
    assert_eq!(codes(&document, "jammy"), ["nothing-found"]);
}

#[tokio::test]
async fn named_tags_and_architectures_need_no_listing_and_nothing_is_said_of_others() {
    let registry = FakeRegistry::start().await;
    publish_all(&registry, &["xenial"]).await;
    let document = audit(&registry, &["--tag", "xenial", "--arch", "amd64,armhf"], 0).await;
    assert_eq!(states(&document), ["xenial ok: amd64=ok armhf=ok"]);
    assert_eq!(registry.count(crate::support::Kind::Tags), 0);
}

#[tokio::test]
async fn a_run_that_publishes_shows_how_the_tag_stands_without_asking_again() {
    let registry = FakeRegistry::start().await;
    registry.push_image("ubuntu:amd64-xenial", "linux/amd64");
    registry.push_image("ubuntu:arm64-xenial", "linux/arm64");
    let mut scope = Desk::at(&registry.repository("ubuntu"));
    scope.scope.attestations = true;
    let desk = scope.open();
    let shown = async || {
        let (outcome, version) = desk.publish_and_show("xenial").await;
        let images: Vec<&str> = version.images.iter().map(|image| image.state.as_str()).collect();
        (outcome.action, format!("{}: {}", version.state, images.join(" ")))
    };
    use onetag::publish::Action;
    assert_eq!(shown().await, (Action::Pushed, "ok: ok ok".to_owned()));
    assert_eq!(shown().await, (Action::Unchanged, "ok: ok ok".to_owned()));
    registry.push_image("ubuntu:arm64-xenial", "linux/amd64");
    assert_eq!(shown().await, (Action::Held, "mismatch: ok mismatch".to_owned()));
}
