//! What changes between looking and writing, and what was true when it was last looked at: nothing is
//! written that was decided on something else than what is there.

use std::time::Duration;

use onetag::model::Found;
use onetag::plan::Code;
use onetag::publish::{Action, Outcome};
use serde_json::{Value, json};

use crate::support::image::{DOCKER_LIST, OCI_INDEX};
use crate::support::{Desk, FakeRegistry, Image, Kind, Play, Ran, When, onetag};

/// A registry that serves two architectures under `xenial`, and has a third to add.
async fn grown() -> FakeRegistry {
    let registry = FakeRegistry::start().await;
    registry.push_image("acme/ubuntu:amd64-xenial", "linux/amd64");
    registry.push_image("acme/ubuntu:arm64-xenial", "linux/arm64");
    registry.push_index("acme/ubuntu:xenial", &["acme/ubuntu:amd64-xenial", "acme/ubuntu:arm64-xenial"]);
    registry.push_image("acme/ubuntu:armhf-xenial", "linux/arm/v7");
    registry
}

fn desk(registry: &FakeRegistry) -> Desk {
    let mut desk = Desk::at(&registry.repository("acme/ubuntu"));
    desk.scope.attestations = true;
    desk
}

async fn publish(registry: &FakeRegistry) -> Ran {
    onetag(["publish", "-r", &registry.repository("acme/ubuntu"), "--tag", "xenial", "--output", "json"]).run().await
}

fn served(registry: &FakeRegistry) -> String {
    registry.digest("acme/ubuntu:xenial").expect("something is served")
}

fn puts(registry: &FakeRegistry) -> usize {
    registry.count(Kind::PutManifest)
}

/// Somebody puts an image of their own under the plain tag.
fn take_over(registry: &FakeRegistry) {
    registry.push_image("acme/ubuntu:xenial", "linux/s390x");
}

fn push_arm64(registry: &FakeRegistry) {
    registry.push_image("acme/ubuntu:arm64-xenial", "linux/arm64");
}

fn codes(outcome: &Outcome) -> Vec<Code> {
    outcome.plan.reasons.iter().filter(|reason| reason.forbids()).map(|reason| reason.code).collect()
}

#[tokio::test]
async fn a_write_that_failed_is_not_sent_again_over_what_somebody_else_wrote() {
    for fault in [Play::status(500), Play::Reset] {
        let registry = grown().await;
        registry.on(When::kind(Kind::PutManifest).once(), Play::run(take_over));
        registry.on(When::kind(Kind::PutManifest).once(), fault);
        let error = desk(&registry).publish("xenial").await.expect_err("the tag is somebody else's now");
        assert_eq!((error.code(), puts(&registry)), ("tag-changed", 1));
        let theirs = served(&registry);
        let outcome = desk(&registry).publish("xenial").await.expect("the registry is well");
        assert_eq!((outcome.action, codes(&outcome)), (Action::Held, vec![Code::ForeignTag]));
        assert_eq!((served(&registry), puts(&registry)), (theirs, 1));
    }
}

#[tokio::test]
async fn a_write_that_was_put_off_for_long_is_decided_anew() {
    let put_off = async |meanwhile: fn(&FakeRegistry)| {
        let registry = grown().await;
        registry.on(When::kind(Kind::PutManifest).once(), Play::run(meanwhile));
        registry.on(When::kind(Kind::PutManifest).once(), Play::too_many_requests("3"));
        let mut desk = desk(&registry);
        desk.options.fresh = Duration::from_secs(2);
        let outcome = desk.publish("xenial").await.expect("it waits as long as it is asked to");
        (registry, outcome)
    };
    let (after_theirs, after_a_push) = tokio::join!(put_off(take_over), put_off(push_arm64));
    let (registry, outcome) = after_theirs;
    assert_eq!((outcome.action, codes(&outcome)), (Action::Held, vec![Code::ForeignTag]));
    assert_eq!((registry.platforms("acme/ubuntu:xenial"), puts(&registry)), (Vec::new(), 1));

    let (registry, outcome) = after_a_push;
    assert_eq!((outcome.action, puts(&registry)), (Action::Pushed, 2), "the older index was never there");
    assert_eq!(registry.children("acme/ubuntu:xenial")[1], registry.digest("acme/ubuntu:arm64-xenial").expect("it"));
}

#[tokio::test]
async fn an_image_that_is_pushed_again_while_others_are_examined_is_the_only_one_published() {
    let registry = grown().await;
    registry.on(When::kind(Kind::Blob).after(2).once(), Play::run(push_arm64));
    registry.on(When::kind(Kind::Blob).after(2).once(), Play::Delay(Duration::from_millis(500)));
    let mut desk = desk(&registry);
    desk.options.fresh = Duration::from_millis(400);
    desk.publish("xenial").await.expect("it settles");
    assert_eq!(puts(&registry), 1, "the older one was published, too");
    assert_eq!(registry.children("acme/ubuntu:xenial")[1], registry.digest("acme/ubuntu:arm64-xenial").expect("it"));
}

#[tokio::test]
async fn what_is_inside_a_remembered_index_is_asked_for_before_it_is_published_again() {
    for (loses_image, code) in [(true, Code::ContentMissing), (false, Code::AttestationMissing)] {
        let registry = FakeRegistry::start().await;
        registry.push_image("acme/ubuntu:amd64-xenial", "linux/amd64");
        let attested = registry.push_attested("acme/ubuntu:arm64-xenial", "linux/arm64");
        let desk = desk(&registry).open();
        desk.publish("xenial").await.expect("it publishes");
        assert_eq!(registry.count(Kind::HeadManifest), 1 + 3, "the attestation, and what is read back");
        let before = served(&registry);
        registry.forget_requests();
        desk.publish("xenial").await.expect("it has nothing to do");
        assert_eq!(registry.count(Kind::HeadManifest), 3, "nothing is to be written, so nothing more is asked");

        registry.delete_manifest(if loses_image { &attested.image } else { &attested.attestation });
        registry.push_image("acme/ubuntu:amd64-xenial", "linux/amd64");
        registry.forget_requests();
        let outcome = desk.publish("xenial").await.expect("it is decided");
        assert_eq!((outcome.action, codes(&outcome)), (Action::Held, vec![code]));
        assert_eq!((puts(&registry), served(&registry)), (0, before));

        registry.push_attested("acme/ubuntu:arm64-xenial", "linux/arm64");
        desk.publish("xenial").await.expect("it is whole again");
        assert_eq!(registry.platforms("acme/ubuntu:xenial"), ["linux/amd64", "linux/arm64", "unknown/unknown"]);
    }
}

#[tokio::test]
async fn an_image_that_a_write_finds_missing_is_no_longer_believed_in() {
    let registry = FakeRegistry::start().await;
    registry.push_image("acme/ubuntu:amd64-xenial", "linux/amd64");
    let attested = registry.push_attested("acme/ubuntu:arm64-xenial", "linux/arm64");
    // It is gone a moment after it was asked for.
    let lose = Play::run(move |registry| registry.delete_manifest(&attested.image));
    registry.on(When::kind(Kind::PutManifest).once(), lose);
    let outcome = desk(&registry).publish("xenial").await.expect("it is decided");
    assert_eq!((codes(&outcome), puts(&registry)), (vec![Code::ContentMissing], 1));
    assert_eq!(registry.digest("acme/ubuntu:xenial"), None);
}

#[tokio::test]
async fn another_manifest_than_was_asked_for_by_digest_is_not_taken_for_it() {
    let registry = FakeRegistry::start().await;
    registry.push_image("acme/ubuntu:amd64-xenial", "linux/amd64");
    let attested = registry.push_attested("acme/ubuntu:arm64-xenial", "linux/arm64");
    let other = registry.digest("acme/ubuntu:amd64-xenial").expect("an image");
    registry.on(When::kind(Kind::HeadManifest).tag(&attested.attestation), Play::DigestHeader(other));
    let outcome = desk(&registry).publish("xenial").await.expect("it is decided");
    assert_eq!((outcome.action, codes(&outcome)), (Action::Held, vec![Code::DigestMismatch]));
}

#[tokio::test]
async fn an_index_that_is_called_invalid_for_want_of_an_image_is_not_turned_into_a_docker_list() {
    let registry = FakeRegistry::start().await;
    registry.push("acme/ubuntu:amd64-xenial", &Image::new("linux/amd64").docker());
    registry.push("acme/ubuntu:arm64-xenial", &Image::new("linux/arm64").docker());
    let late = registry.digest("acme/ubuntu:arm64-xenial").expect("an image");
    registry.on(When::kind(Kind::PutManifest).once(), Play::error(400, "MANIFEST_INVALID", "manifest invalid"));
    registry.on(When::kind(Kind::HeadManifest).tag(&late).once(), Play::error(404, "MANIFEST_UNKNOWN", "unknown"));
    let desk = desk(&registry).open();
    desk.publish("xenial").await.expect("it becomes visible");
    let types: Vec<_> = registry.written().iter().filter_map(|put| put.header("content-type")).collect();
    assert_eq!(types, [OCI_INDEX, OCI_INDEX]);

    // With all images there it is the index itself that is not taken.
    registry.push("acme/ubuntu:arm64-xenial", &Image::new("linux/arm64").docker().label("a", "b"));
    registry.forget_requests();
    registry.on(When::kind(Kind::PutManifest).once(), Play::error(400, "MANIFEST_INVALID", "manifest invalid"));
    desk.publish("xenial").await.expect("it takes a list");
    let types: Vec<_> = registry.written().iter().filter_map(|put| put.header("content-type")).collect();
    assert_eq!(types, [OCI_INDEX, DOCKER_LIST]);
}

#[tokio::test]
async fn what_was_written_before_the_images_went_wrong_is_told_as_written() {
    let registry = grown().await;
    let before = served(&registry);
    let spoil = |registry: &FakeRegistry| drop(registry.push_image("acme/ubuntu:arm64-xenial", "linux/amd64"));
    registry.on(When::kind(Kind::PutManifest).once(), Play::run_after(spoil));
    let told = publish(&registry).await.expect(6).json();
    assert_eq!((&told["decision"], &told["previous"]), (&"pushed".into(), &before.into()), "{told:#}");
    assert_eq!(told["digest"], served(&registry));
    assert_eq!(told["images"][1]["digest"], registry.children("acme/ubuntu:xenial")[1], "it is made of these");
    assert_eq!(told["reasons"][0]["code"], "config-arch-mismatch");
    assert_eq!(told["changes"]["added"], json!(["linux/arm/v7"]));
}

#[tokio::test]
async fn a_failure_after_something_was_written_does_not_say_that_nothing_was() {
    let registry = grown().await;
    let push_and_fail = |registry: &FakeRegistry| {
        push_arm64(registry);
        registry.on(When::kind(Kind::GetManifest), Play::status(403));
    };
    registry.on(When::kind(Kind::PutManifest).once(), Play::run_after(push_and_fail));
    let ran = publish(&registry).await.expect(4);
    assert_eq!((&ran.json()["decision"], &ran.json()["reasons"][0]["code"]), (&Value::Null, &"denied".into()));
    let written = format!("`xenial` was written as {}, its images moved", served(&registry));
    assert!(ran.stderr.contains(&written), "{}", ran.stderr);
    assert_eq!(registry.platforms("acme/ubuntu:xenial").len(), 3);
}

#[tokio::test]
async fn a_write_that_needed_a_second_look_is_told_whole() {
    // An answer that is behind the times looks like a tag that moved.
    let registry = grown().await;
    let before = served(&registry);
    let other = registry.digest("acme/ubuntu:amd64-xenial").expect("an image");
    registry.on(When::kind(Kind::HeadManifest).tag("arm64-xenial").once(), Play::DigestHeader(other));
    let told = publish(&registry).await.expect(0).json();
    assert_eq!((&told["decision"], &told["previous"], puts(&registry)), (&"pushed".into(), &before.clone().into(), 1));
    assert_eq!(told["changes"], json!({ "added": ["linux/arm/v7"], "removed": [], "updated": [] }));

    // And one that really moved.
    let registry = grown().await;
    let before = served(&registry);
    registry.on(When::kind(Kind::PutManifest).once(), Play::run_after(push_arm64));
    let told = publish(&registry).await.expect(0).json();
    assert_eq!((&told["previous"], puts(&registry)), (&before.into(), 2));
    assert_eq!(told["changes"], json!({ "added": ["linux/arm/v7"], "removed": [], "updated": ["linux/arm64"] }));
}

#[tokio::test]
async fn a_bare_sentence_is_no_registrys_no() {
    let sentence = |body: &str| Play::Status {
        code: 404,
        headers: vec![("Content-Type".to_owned(), "text/plain; charset=utf-8".to_owned())],
        body: body.as_bytes().to_vec(),
    };
    let [route, kong] = ["404 page not found\n", r#"{"message":"no Route matched with those values"}"#];
    for when in [
        When::kind(Kind::GetManifest).tag("xenial"),
        When::kind(Kind::GetManifest).tag("arm64-xenial"),
        When::kind(Kind::Tags),
    ] {
        for body in [route, kong] {
            let registry = grown().await;
            let before = served(&registry);
            registry.on(when.clone(), sentence(body));
            let told = publish(&registry).await.expect(5).json();
            assert_eq!(told["reasons"][0]["code"], "not-a-registry", "{body}");
            assert_eq!((puts(&registry), served(&registry)), (0, before));
        }
    }
    // A HEAD has no body to tell by.
    let registry = grown().await;
    let desk = desk(&registry).open();
    desk.publish("xenial").await.expect("it publishes");
    take_over(&registry);
    push_arm64(&registry);
    for kind in [Kind::HeadManifest, Kind::GetManifest] {
        registry.on(When::kind(kind).tag("xenial"), sentence(route));
    }
    registry.forget_requests();
    let error = desk.publish("xenial").await.expect_err("nobody knows what is there");
    assert_eq!((error.code(), puts(&registry)), ("not-a-registry", 0));

    // Registries that say it in their own words, or in none, are believed.
    for play in [|| Play::status(404), || Play::error(404, "MANIFEST_UNKNOWN", "unknown")] {
        registry.behave();
        for kind in [Kind::HeadManifest, Kind::GetManifest] {
            registry.on(When::kind(kind).tag("armhf-xenial"), play());
        }
        registry.on(When::any(), Play::ContentType("text/plain".to_owned()));
        let outcome = desk.publish("xenial").await.expect("it is decided");
        let armhf = outcome.seen.observed.iter().find(|it| it.arch_tag.word == "armhf").expect("it was looked for");
        assert_eq!((&armhf.found, outcome.action), (&Found::Missing, Action::Held));
    }
}

#[tokio::test]
async fn what_a_registry_does_not_hand_out_is_not_taken_for_missing() {
    // Harbor, of images with flaws or without signatures; Distribution 2.8, where a proxy takes our `Accept`.
    let policy = || Play::error(412, "PROJECTPOLICYVIOLATION", "current image with 3 vulnerabilities cannot be pulled");
    let unaccepted = || Play::error(404, "MANIFEST_UNKNOWN", "OCI index found, but accept header does not support it");
    let denied = || Play::error(404, "DENIED", "requested access to the resource is denied");
    for play in [policy, unaccepted, denied] {
        for reference in ["arm64-xenial", "armhf-xenial", "xenial"] {
            let registry = grown().await;
            let before = served(&registry);
            registry.on(When::kind(Kind::GetManifest).tag(reference), play());
            let error = desk(&registry).publish("xenial").await.expect_err("nobody knows what it is");
            assert!(matches!(error.code(), "registry-failed" | "denied"), "{error}");
            assert_eq!((puts(&registry), served(&registry)), (0, before), "{reference}");
        }
    }
    let registry = FakeRegistry::start().await;
    let attested = registry.push_attested("acme/ubuntu:arm64-xenial", "linux/arm64");
    registry.on(When::kind(Kind::GetManifest).tag(&attested.image), policy());
    let error = desk(&registry).publish("xenial").await.expect_err("nobody knows what is in it");
    assert_eq!((error.code(), puts(&registry)), ("registry-failed", 0));
}

#[tokio::test]
async fn a_wrong_media_type_that_was_sent_once_is_not_remembered() {
    let registry = FakeRegistry::start().await;
    registry.push_image("acme/ubuntu:amd64-xenial", "linux/amd64");
    let attested = registry.push_attested("acme/ubuntu:arm64-xenial", "linux/arm64");
    for reference in ["amd64-xenial", &attested.image] {
        registry.on(
            When::kind(Kind::GetManifest).tag(reference).once(),
            Play::ContentType("application/octet-stream".to_owned()),
        );
    }
    let desk = desk(&registry).open();
    let outcome = desk.publish("xenial").await.expect("it is decided");
    assert_eq!(codes(&outcome), [Code::AmbiguousManifest, Code::AmbiguousManifest]);
    let outcome = desk.publish("xenial").await.expect("it is decided");
    assert_eq!((outcome.action, codes(&outcome)), (Action::Pushed, vec![]));
}

#[tokio::test]
async fn a_wait_beyond_all_time_is_a_wait() {
    let registry = grown().await;
    let repository = registry.repository("acme/ubuntu");
    let options = ["publish", "-r", &repository, "--tag", "xenial", "--require", "armhf", "--wait", "500000000000y"];
    onetag(options).run().await.expect(0);
}
