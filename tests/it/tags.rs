//! Which tags belong to a version, which must be there, and what the plain tag held before.

use serde_json::json;

use crate::support::image::sha256;
use crate::support::{FakeRegistry, Image, Immutable, Kind, Play, When, onetag, publish};

#[tokio::test]
async fn a_required_architecture_that_is_missing_holds() {
    let registry = FakeRegistry::with_xenial().await;
    let told = registry.expect_refusal("arch-missing", &["--require", "amd64,arm64"]).await;
    assert_eq!(told.images(), ["amd64-xenial verified linux/amd64", "arm64-xenial missing linux/arm64"]);
    assert_eq!(told.messages(), "arm64 is required, but there is no such tag");

    registry.push_image("ubuntu:arm64-xenial", "linux/arm64");
    publish(&registry, &["--require", "amd64,arm64"]).await.expect_pushed();
}

#[tokio::test]
async fn without_a_requirement_what_is_there_is_published() {
    let registry =
        FakeRegistry::with_ubuntu(&[("amd64-xenial", "linux/amd64"), ("armhf-xenial", "linux/arm/v7")]).await;
    publish(&registry, &[]).await.expect_pushed();
    assert_eq!(registry.platforms("ubuntu:xenial"), ["linux/amd64", "linux/arm/v7"]);
}

#[tokio::test]
async fn with_chosen_architectures_nothing_is_listed_and_a_missing_one_is_a_note() {
    let registry = FakeRegistry::with_ubuntu(&[("amd64-xenial", "linux/amd64"), ("s390x-xenial", "linux/s390x")]).await;
    let told = publish(&registry, &["--arch", "amd64,linux/arm64"]).await.expect_pushed();
    assert_eq!(registry.platforms("ubuntu:xenial"), ["linux/amd64"]);
    assert_eq!(registry.count(Kind::Tags), 0);
    assert_eq!(told.codes("note"), ["arch-missing"]);
    assert_eq!(told.images(), ["amd64-xenial verified linux/amd64", "arm64-xenial missing linux/arm64"]);
}

#[tokio::test]
async fn an_image_pushed_while_others_are_read_is_the_one_that_is_published() {
    let registry = FakeRegistry::with_xenial().await;
    registry.push_image("ubuntu:arm64-xenial", "linux/arm64");
    let again = Play::run(|registry| drop(registry.push_image("ubuntu:arm64-xenial", "linux/arm64")));
    registry.on(When::kind(Kind::PutManifest).once(), again);
    let told = publish(&registry, &[]).await.expect_pushed();
    let newest = registry.digest("ubuntu:arm64-xenial").expect("it was pushed");
    assert_eq!(registry.children("ubuntu:xenial")[1], newest);
    assert_eq!(told.json["images"][1]["digest"], newest, "the report is about what was published");
    assert_eq!(told.json["digest"], registry.digest("ubuntu:xenial").expect("it was published"));
}

#[tokio::test]
async fn nothing_new_means_nothing_written() {
    let registry = FakeRegistry::with_xenial().await;
    let told = publish(&registry, &[]).await;
    assert_eq!((told.ran.code, &told.json["decision"]), (0, &"unchanged".into()));
    assert_eq!(told.json["digest"], registry.digest("ubuntu:xenial").expect("it was published"));
    assert_eq!(told.json["previous"], told.json["digest"]);
    assert_eq!(told.json["changes"], json!({ "added": [], "removed": [], "updated": [] }));
    assert_eq!(registry.writes(), 0);
}

#[tokio::test]
async fn a_single_image_under_the_plain_tag_is_replaced_only_if_it_is_a_source_or_on_request() {
    let registry = FakeRegistry::with_ubuntu(&[("amd64-xenial", "linux/amd64"), ("arm64-xenial", "linux/arm64")]).await;
    registry.push_image("ubuntu:xenial", "linux/amd64");
    let foreign = registry.digest("ubuntu:xenial").expect("it was pushed");
    let told = registry.expect_refusal("foreign-tag", &[]).await;
    assert_eq!(told.json["previous"], foreign);
    assert_eq!(told.codes("hold"), ["foreign-tag"]);
    publish(&registry, &["--take-over"]).await.expect_pushed();

    let source = registry.digest("ubuntu:amd64-xenial").expect("it was pushed");
    registry.retag("ubuntu:xenial", &source);
    publish(&registry, &[]).await.expect_pushed();
    assert_eq!(registry.platforms("ubuntu:xenial"), ["linux/amd64", "linux/arm64"]);
}

#[tokio::test]
async fn an_index_of_something_else_is_not_replaced_without_being_asked() {
    let registry = FakeRegistry::with_xenial().await;
    registry.push_image("ubuntu:arm64-xenial", "linux/arm64");
    registry.push_index("ubuntu:inner", &["ubuntu:amd64-xenial"]);
    registry.push_index("ubuntu:xenial", &["ubuntu:amd64-xenial", "ubuntu:inner"]);
    registry.expect_refusal("foreign-tag", &[]).await;

    registry.put_manifest("ubuntu:xenial", "application/json", "{}");
    registry.expect_refusal("foreign-tag", &[]).await;
    publish(&registry, &["--take-over"]).await.expect_pushed();
}

#[tokio::test]
async fn a_new_image_makes_a_new_index_and_the_old_one_is_told() {
    let registry = FakeRegistry::with_xenial().await;
    let before = registry.digest("ubuntu:xenial").expect("it was published");
    registry.push_image("ubuntu:amd64-xenial", "linux/amd64");
    registry.push_image("ubuntu:arm64-xenial", "linux/arm64");
    let told = publish(&registry, &[]).await.expect_pushed();
    assert_eq!(told.json["previous"], before);
    assert_ne!(told.json["digest"], before);
    let expected = json!({ "added": ["linux/arm64"], "removed": [], "updated": ["linux/amd64"] });
    assert_eq!(told.json["changes"], expected);
}

#[tokio::test]
async fn an_architecture_whose_tag_is_gone_stays_until_its_removal_is_allowed() {
    let registry = FakeRegistry::with_ubuntu(&[("amd64-xenial", "linux/amd64"), ("arm64-xenial", "linux/arm64")]).await;
    publish(&registry, &[]).await.expect_pushed();
    registry.delete("ubuntu:arm64-xenial");
    let told = registry.expect_refusal("removal", &[]).await;
    assert!(told.messages().contains("serves linux/arm64 now"), "{}", told.messages());
    let told = publish(&registry, &["--allow-removal"]).await.expect_pushed();
    assert_eq!(told.json["changes"]["removed"], json!(["linux/arm64"]));
    assert_eq!(registry.platforms("ubuntu:xenial"), ["linux/amd64"]);
}

#[tokio::test]
async fn a_plain_tag_may_be_as_long_as_a_tag_can_be() {
    let registry = FakeRegistry::start().await;
    let version = "v".repeat(122);
    registry.push_image(&format!("ubuntu:amd64-{version}"), "linux/amd64");
    let repository = registry.repository("ubuntu");
    let ran = |tag: &str| onetag(["publish", "-r", &repository, "--tag", tag, "--output", "json"]).run();
    ran(&version).await.expect(0);
    assert_eq!(registry.platforms(&format!("ubuntu:{version}")), ["linux/amd64"]);

    let longest = "v".repeat(128);
    let told = ran(&longest).await.expect(6).json();
    assert_eq!(told["reasons"][0]["code"], "nothing-found", "`amd64-` before it would be too long");
    let options = ["publish", "-r", &repository, "--tag", &longest, "--require", "amd64", "--output", "json"];
    let told = onetag(options).run().await.expect(6).json();
    assert_eq!(told["reasons"][0]["code"], "arch-missing");
}

#[tokio::test]
async fn entries_of_a_listing_that_are_no_tags_are_passed_over() {
    let junk = vec![json!(null), json!(""), json!(7), json!(sha256(b"x")), json!("x".repeat(300)), json!("a/b")];
    let registry = FakeRegistry::builder().tag_junk(junk).start().await;
    registry.push_image("ubuntu:amd64-xenial", "linux/amd64");
    publish(&registry, &[]).await.expect_pushed();
    assert_eq!(registry.platforms("ubuntu:xenial"), ["linux/amd64"]);
}

#[tokio::test]
async fn a_repository_that_is_not_there_has_nothing_to_publish() {
    let registry = FakeRegistry::start().await;
    let told = registry.expect_refusal("nothing-found", &[]).await;
    assert!(told.messages().contains("ubuntu has no image of any architecture for `xenial`"), "{}", told.messages());
    assert_eq!(told.images(), Vec::<String>::new());
    registry.expect_refusal("arch-missing", &["--require", "amd64"]).await;
}

#[tokio::test]
async fn an_immutable_tag_that_is_right_already_is_a_success() {
    let registry = FakeRegistry::with_xenial().await;
    registry.set_options(|options| options.immutable = Some(Immutable::Locked));
    let told = publish(&registry, &[]).await;
    assert_eq!((told.ran.code, &told.json["decision"]), (0, &"unchanged".into()));
    assert_eq!(registry.writes(), 0);
}

#[tokio::test]
async fn an_immutable_tag_that_should_change_is_tried_once() {
    for immutable in
        [Immutable::AlreadyExists, Immutable::Locked, Immutable::TagInvalid, Immutable::Precondition, Immutable::Denied]
    {
        let registry = FakeRegistry::with_xenial().await;
        registry.set_options(|options| options.immutable = Some(immutable));
        registry.push_image("ubuntu:arm64-xenial", "linux/arm64");
        let before = registry.digest("ubuntu:xenial");
        let told = publish(&registry, &[]).await.expect_held("immutable-tag");
        assert_eq!(registry.writes(), 1, "{immutable:?}");
        assert_eq!(registry.digest("ubuntu:xenial"), before);
        assert_eq!(told.json["previous"], before.expect("it was published"));
    }
}

#[tokio::test]
async fn an_immutable_further_tag_does_not_undo_the_plain_one() {
    let registry = FakeRegistry::with_xenial().await;
    registry.push_index("ubuntu:lts", &["ubuntu:amd64-xenial"]);
    registry.push_image("ubuntu:arm64-xenial", "linux/arm64");
    let locked = Play::error(409, "TAG_IMMUTABLE", "the tag is immutable");
    registry.on(When::kind(Kind::PutManifest).tag("lts"), locked);
    let told = publish(&registry, &["--also", "lts"]).await;
    assert_eq!((told.ran.code, &told.json["decision"]), (6, &"pushed".into()));
    assert_eq!(told.json["reasons"][0]["tag"], "lts");
    assert_eq!(registry.platforms("ubuntu:xenial"), ["linux/amd64", "linux/arm64"]);
}

#[tokio::test]
async fn a_refusal_that_does_not_say_why_is_a_failure_and_is_tried_once() {
    let registry = FakeRegistry::with_xenial().await;
    registry.set_options(|options| options.immutable = Some(Immutable::NotAllowed));
    registry.push_image("ubuntu:arm64-xenial", "linux/arm64");
    let told = publish(&registry, &[]).await;
    assert_eq!((told.ran.code, told.codes("hold")), (5, vec!["registry-failed"]), "{:#}", told.json);
    assert_eq!(registry.writes(), 1);
    assert_eq!(registry.platforms("ubuntu:xenial"), ["linux/amd64"]);
}

#[tokio::test]
async fn a_further_tag_that_is_denied_is_not_told_as_nothing_written() {
    let registry = FakeRegistry::with_xenial().await;
    registry.push_image("ubuntu:arm64-xenial", "linux/arm64");
    registry.on(When::kind(Kind::PutManifest).tag("lts"), Play::error(403, "DENIED", "not this one"));
    let told = publish(&registry, &["--also", "lts"]).await;
    assert_eq!(told.ran.code, 4);
    assert_eq!(registry.platforms("ubuntu:xenial"), ["linux/amd64", "linux/arm64"], "the plain tag was written");
    assert_ne!(told.json["decision"], "held", "{:#}", told.json);
    assert_eq!(told.codes("hold"), ["denied"]);
}

#[tokio::test]
async fn tags_that_only_look_alike_belong_to_no_version() {
    let registry = FakeRegistry::with_xenial().await;
    for tag in ["amd64", "xenial-arm64", "AMD64-xenial", "amd64x-xenial", "my-arm64-xenial", "arm64-xenial-slim"] {
        registry.push_image(&format!("ubuntu:{tag}"), "linux/arm64");
    }
    let signature = format!("{}.sig", sha256(b"x").replace(':', "-"));
    registry.push_image(&format!("ubuntu:{signature}"), "linux/arm64");
    let told = publish(&registry, &[]).await;
    assert_eq!(told.json["decision"], "unchanged");
    assert_eq!(told.images(), ["amd64-xenial verified linux/amd64"]);
}

#[tokio::test]
async fn a_version_may_begin_with_another_word_and_the_longest_word_wins() {
    let registry = FakeRegistry::start().await;
    registry.push_image("ubuntu:amd64-arm64-cross", "linux/amd64");
    registry.push_image("ubuntu:arm64v8-cross", "linux/arm64");
    let repository = registry.repository("ubuntu");
    let ran = onetag(["publish", "-r", &repository, "--tag", "arm64-cross", "--tag", "cross"]).run().await;
    ran.expect(0);
    assert_eq!(registry.platforms("ubuntu:arm64-cross"), ["linux/amd64"]);
    assert_eq!(registry.platforms("ubuntu:cross"), ["linux/arm64"]);
}

#[tokio::test]
async fn the_word_may_come_last() {
    let registry =
        FakeRegistry::with_ubuntu(&[("xenial-amd64", "linux/amd64"), ("xenial-x86-64", "linux/amd64")]).await;
    registry.push_image("ubuntu:xenial-arm64v8", "linux/arm64");
    registry.push_image("ubuntu:amd64-xenial", "linux/s390x");
    registry.delete("ubuntu:xenial-x86-64");
    publish(&registry, &["--pattern", "{version}-{arch}"]).await.expect_pushed();
    assert_eq!(registry.platforms("ubuntu:xenial"), ["linux/amd64", "linux/arm64"]);
}

#[tokio::test]
async fn a_dialect_settles_what_its_words_mean() {
    let registry = FakeRegistry::with_ubuntu(&[("x86_64-xenial", "linux/amd64"), ("x86-xenial", "linux/386")]).await;
    registry.push_image("ubuntu:armhf-xenial", "linux/arm/v6");
    registry.push_image("ubuntu:armv7-xenial", "linux/arm/v7");
    publish(&registry, &["--names", "alpine"]).await.expect_pushed();
    assert_eq!(registry.platforms("ubuntu:xenial"), ["linux/amd64", "linux/386", "linux/arm/v7", "linux/arm/v6"]);

    let told = publish(&registry, &[]).await;
    assert_eq!(told.ran.code, 6);
    assert_eq!(told.codes("hold")[0], "ambiguous-word", "to Debian, `x86` says nothing");
    assert_eq!(told.images()[0], "x86-xenial unverifiable -");
}

#[tokio::test]
async fn a_word_may_be_given_a_meaning() {
    let registry = FakeRegistry::with_ubuntu(&[("x86-xenial", "linux/386"), ("pi-xenial", "linux/arm/v6")]).await;
    publish(&registry, &["--word", "x86=linux/386", "--word", "pi=linux/arm"]).await.expect_pushed();
    assert_eq!(registry.platforms("ubuntu:xenial"), ["linux/386", "linux/arm/v6"]);
}

#[tokio::test]
async fn two_words_for_one_platform_are_one_image_or_refused() {
    let registry = FakeRegistry::with_ubuntu(&[("amd64-xenial", "linux/amd64")]).await;
    let digest = registry.digest("ubuntu:amd64-xenial").expect("it was pushed");
    registry.retag("ubuntu:x86_64-xenial", &digest);
    publish(&registry, &[]).await.expect_pushed();
    assert_eq!(registry.children("ubuntu:xenial"), [digest]);

    registry.push_image("ubuntu:x86_64-xenial", "linux/amd64");
    let told = registry.expect_refusal("duplicate-platform", &[]).await;
    assert!(told.messages().contains("`amd64-xenial`") && told.messages().contains("`x86_64-xenial`"));
    publish(&registry, &["--arch", "x86_64"]).await.expect_pushed();
}

#[tokio::test]
async fn what_no_client_looks_at_makes_no_second_platform() {
    let registry = FakeRegistry::with_ubuntu(&[("amd64-xenial", "linux/amd64")]).await;
    registry.push("ubuntu:x86_64-xenial", &Image::new("linux/amd64").os_version("99.0"));
    registry.expect_refusal("duplicate-platform", &[]).await;
}

#[tokio::test]
async fn one_image_under_two_architectures_is_refused() {
    let registry = FakeRegistry::start().await;
    registry.push("ubuntu:armhf-xenial", &Image::new("linux/arm"));
    registry.push("ubuntu:armel-xenial", &Image::new("linux/arm"));
    registry.expect_refusal("same-digest-two-arches", &[]).await;
}

#[tokio::test]
async fn an_expected_image_is_published_and_another_is_not() {
    let registry = FakeRegistry::with_xenial().await;
    let attested = registry.push_attested("ubuntu:arm64-xenial", "linux/arm64");
    let other = format!("arm64={}", sha256(b"other"));
    registry.expect_refusal("digest-not-expected", &["--expect", &other]).await;
    registry.expect_refusal("arch-missing", &["--expect", &format!("s390x={}", sha256(b"other"))]).await;
    for digest in [attested.index, attested.image] {
        let told = publish(&registry, &["--expect", &format!("arm64={digest}")]).await;
        assert_eq!(told.ran.code, 0, "{:#}", told.json);
    }
}

#[tokio::test]
async fn an_index_is_not_published_over_what_it_is_made_of() {
    let registry = FakeRegistry::with_xenial().await;
    registry.push_image("ubuntu:arm64-xenial", "linux/arm64");
    registry.expect_refusal("self-feeding", &["--also", "amd64-xenial", "--take-over"]).await;
}
