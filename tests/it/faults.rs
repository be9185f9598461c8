//! Every kind of request meets every kind of fault. In the end the tag is what was asked for, or
//! it is what it was and the run says so; never anything between.

use std::time::Duration;

use futures_util::StreamExt as _;
use onetag::publish::{Action, PublishError};
use onetag::registry::Kind as Failing;

use crate::support::registry::Builder;
use crate::support::{Bearer, Cli, Desk, FakeRegistry, Immutable, Kind, Play, RefuseOciIndex, When, onetag};

const WANTED: [&str; 3] = ["linux/amd64", "linux/arm64", "linux/arm/v7"];
/// So long may an answer take that is on its way.
const A_BUSY_MACHINE: Duration = Duration::from_secs(20);

/// A registry that serves two architectures under `xenial`, and has a third to add.
async fn grown(builder: Builder) -> FakeRegistry {
    let registry = builder.start().await;
    registry.push_image("acme/ubuntu:amd64-xenial", "linux/amd64");
    registry.push_image("acme/ubuntu:arm64-xenial", "linux/arm64");
    registry.push_index("acme/ubuntu:xenial", &["acme/ubuntu:amd64-xenial", "acme/ubuntu:arm64-xenial"]);
    registry.push_image("acme/ubuntu:armhf-xenial", "linux/arm/v7");
    registry
}

async fn registry() -> FakeRegistry {
    grown(FakeRegistry::builder()).await
}

fn desk(registry: &FakeRegistry) -> Desk {
    Desk::at(&registry.repository("acme/ubuntu"))
}

fn patient_desk(registry: &FakeRegistry, deadline: Duration) -> Desk {
    let mut desk = desk(registry).login("user", "secret");
    desk.settings.deadline = deadline;
    desk
}

fn publish(registry: &FakeRegistry) -> Cli {
    onetag(["publish", "-r", &registry.repository("acme/ubuntu"), "--tag", "xenial", "--output", "json"])
}

fn puts(registry: &FakeRegistry) -> usize {
    registry.count(Kind::PutManifest)
}

fn served(registry: &FakeRegistry) -> Vec<String> {
    registry.platforms("acme/ubuntu:xenial")
}

type Named<T> = (&'static str, fn() -> T);

/// The requests of one publish, by what they are for.
const REQUESTS: [Named<When>; 8] = [
    ("the listing", || When::kind(Kind::Tags)),
    ("an image", || When::kind(Kind::GetManifest).tag("armhf-xenial")),
    ("what is published", || When::kind(Kind::GetManifest).tag("xenial")),
    ("a config", || When::kind(Kind::Blob)),
    ("the write", || When::kind(Kind::PutManifest)),
    ("the tag read back", || When::kind(Kind::HeadManifest).tag("xenial")),
    ("an image looked at again", || When::kind(Kind::HeadManifest).tag("arm64-xenial")),
    ("the token", || When::kind(Kind::Token)),
];

/// What can happen to a request.
const FAULTS: [Named<Play>; 16] = [
    ("429", || Play::too_many_requests("0")),
    ("500", || Play::status(500)),
    ("503 with a page", || Play::HtmlStatus(503)),
    ("401", || Play::status(401)),
    ("403", || Play::error(403, "DENIED", "no")),
    ("400", || Play::status(400)),
    ("405", || Play::error(405, "UNSUPPORTED", "read-only")),
    ("reset", || Play::Reset),
    ("hang", || Play::Hang),
    ("a web page", || Play::Html),
    ("a web page for 404", || Play::HtmlStatus(404)),
    ("truncated", || Play::Truncate),
    ("wrong bytes", || Play::WrongBytes),
    ("done and reset", || Play::ApplyThenReset),
    ("done and hang", || Play::ApplyThenHang),
    ("204", || Play::status(204)),
];

/// Publishes through one fault, and once more after it is over.
async fn endure(name: String, when: When, play: Play) {
    let registry = grown(FakeRegistry::builder().bearer(Bearer::default())).await;
    let before = registry.digest("acme/ubuntu:xenial").expect("an index");
    // It hits a request that would have been let in.
    registry.on(when.authorized(), play);
    publish_and_judge(&name, &registry, &before).await;

    registry.behave();
    let again = patient_desk(&registry, A_BUSY_MACHINE).publish("xenial").await;
    again.unwrap_or_else(|error| panic!("{name}, and then: {error}"));
    assert_eq!(served(&registry), WANTED, "{name}, and then");
}

/// What is said must be what is so: all that was asked for, or what was there before.
async fn publish_and_judge(name: &str, registry: &FakeRegistry, before: &str) {
    // Where no answer will ever come, none is waited for long.
    let deadline = if name.contains("hang") { Duration::from_secs(1) } else { A_BUSY_MACHINE };
    let result = patient_desk(registry, deadline).publish("xenial").await;
    let is_complete = served(registry) == WANTED;
    let now = registry.digest("acme/ubuntu:xenial");
    match &result {
        Ok(outcome) if outcome.action == Action::Pushed => {
            assert!(is_complete, "{name}: pushed {:?}", served(registry));
            assert_eq!(outcome.index.as_ref().map(|index| index.digest().to_string()), now, "{name}");
        }
        Ok(outcome) => {
            assert_eq!(outcome.action, Action::Held, "{name}: it is not what was asked for");
            assert_eq!(now.as_deref(), Some(before), "{name}");
        }
        Err(error) if error.left_the_tag_alone() => assert_eq!(now.as_deref(), Some(before), "{name}: {error}"),
        Err(error) => assert!(is_complete || now.as_deref() == Some(before), "{name}: {error}"),
    }
    assert!(puts(registry) <= 5, "{name}: {} writes", puts(registry));
    let others = registry.written().into_iter().filter(|request| request.reference.as_deref() != Some("xenial"));
    assert_eq!(others.count(), 0, "{name}: only the plain tag is ever written");
}

#[tokio::test]
async fn a_tag_is_published_whole_or_left_alone_whatever_fails() {
    let mut cases = Vec::new();
    for (request, when) in REQUESTS {
        for (fault, play) in FAULTS {
            cases.push(endure(format!("{request}: {fault}, once"), when().once(), play()));
            cases.push(endure(format!("{request}: {fault}, for ever"), when(), play()));
        }
    }
    futures_util::stream::iter(cases).buffer_unordered(48).collect::<Vec<()>>().await;
}

#[tokio::test]
async fn faults_that_pass_are_outlived() {
    let outlive = |request: &'static str, when: When, fault: &'static str, play: Play| async move {
        let registry = grown(FakeRegistry::builder().bearer(Bearer::default())).await;
        registry.on(when.authorized().once(), play);
        // Half of it is spent on an answer that does not come.
        let result = patient_desk(&registry, Duration::from_secs(8)).publish("xenial").await;
        result.unwrap_or_else(|error| panic!("{request}: {fault}: {error}"));
        assert_eq!(served(&registry), WANTED, "{request}: {fault}");
    };
    let mut cases = Vec::new();
    for (request, when) in REQUESTS {
        for (fault, play) in FAULTS.iter().filter(|(fault, _)| matches!(*fault, "429" | "500" | "reset" | "hang")) {
            cases.push(outlive(request, when(), fault, play()));
        }
    }
    futures_util::stream::iter(cases).buffer_unordered(48).collect::<Vec<()>>().await;
}

#[tokio::test]
async fn a_lost_answer_is_looked_for_and_not_written_twice() {
    for play in [|| Play::ApplyThenReset, || Play::ApplyThenHang] {
        let registry = registry().await;
        registry.on(When::kind(Kind::PutManifest), play());
        let outcome = desk(&registry).publish("xenial").await.expect("it was carried out");
        assert_eq!((outcome.action, puts(&registry)), (Action::Pushed, 1));
        assert_eq!(served(&registry), WANTED);
    }
}

#[tokio::test]
async fn a_write_that_was_cut_off_is_written_again_once_it_is_known_to_be_lost() {
    let registry = registry().await;
    registry.on(When::kind(Kind::PutManifest).once(), Play::Reset);
    desk(&registry).publish("xenial").await.expect("the second one arrives");
    assert_eq!((served(&registry).len(), puts(&registry)), (3, 2));
    let order: Vec<_> =
        registry.requests().into_iter().skip_while(|request| request.kind != Kind::PutManifest).collect();
    assert_eq!(
        order[1].line(),
        "HEAD /v2/acme/ubuntu/manifests/xenial",
        "it should be read back before it is repeated"
    );
    assert_eq!(order[2].kind, Kind::PutManifest);
}

#[tokio::test]
async fn a_registry_that_fails_and_stores_is_read_back_first() {
    let registry = registry().await;
    registry.on(When::kind(Kind::PutManifest), Play::ApplyThenHang);
    registry.on(When::kind(Kind::HeadManifest).once(), Play::status(500));
    desk(&registry).publish("xenial").await.expect("it was carried out");
    assert_eq!(puts(&registry), 1);
}

#[tokio::test]
async fn a_write_that_always_breaks_ends_after_three() {
    let registry = registry().await;
    let before = registry.digest("acme/ubuntu:xenial");
    registry.on(When::kind(Kind::PutManifest), Play::Reset);
    let ran = publish(&registry).run().await.expect(5);
    assert_eq!((&ran.json()["decision"], puts(&registry)), (&"held".into(), 3));
    assert_eq!(registry.digest("acme/ubuntu:xenial"), before);
}

#[tokio::test]
async fn a_tag_that_a_failed_write_dropped_is_put_back() {
    // zot cleans up after a failure by deleting the tag.
    let drop_it = || Play::run(|registry| registry.delete("acme/ubuntu:xenial"));
    let registry = registry().await;
    registry.on(When::kind(Kind::PutManifest).once(), drop_it());
    registry.on(When::kind(Kind::PutManifest).once(), Play::status(500));
    desk(&registry).publish("xenial").await.expect("the second one arrives");
    assert_eq!(served(&registry), WANTED);

    let registry = self::registry().await;
    registry.on(When::kind(Kind::PutManifest), drop_it());
    registry.on(When::kind(Kind::PutManifest), Play::status(500));
    let ran = publish(&registry).run().await.expect(5);
    let document = ran.json();
    assert_eq!((&document["reasons"][0]["code"], &document["decision"]), (&"tag-changed".into(), &().into()));
    assert!(ran.stderr.contains("could not be written, and was changed: it was sha256:"), "{}", ran.stderr);
    assert!(ran.stderr.contains("and is nothing now"), "{}", ran.stderr);
}

#[tokio::test]
async fn an_image_that_is_not_visible_yet_is_waited_for() {
    let registry = registry().await;
    let unknown = || Play::error(400, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry");
    registry.on(When::kind(Kind::PutManifest).times(3), unknown());
    desk(&registry).publish("xenial").await.expect("it becomes visible");
    assert_eq!((served(&registry).len(), puts(&registry)), (3, 4));
    assert_eq!(registry.count(Kind::Blob), 3, "what was read once is known");

    let registry = self::registry().await;
    registry.on(When::kind(Kind::PutManifest), unknown());
    let error = desk(&registry).publish("xenial").await.expect_err("it never becomes visible");
    assert_eq!((error.code(), puts(&registry)), ("moving", 6));
    assert!(error.to_string().contains("the registry does not know an image of `xenial`"), "{error}");
}

#[tokio::test]
async fn an_image_that_is_pushed_again_meanwhile_is_the_one_published() {
    for in_the_middle_of in [Kind::Blob, Kind::PutManifest] {
        let registry = registry().await;
        let push = |registry: &FakeRegistry| drop(registry.push_image("acme/ubuntu:arm64-xenial", "linux/arm64"));
        registry.on(When::kind(in_the_middle_of).once(), Play::run(push));
        desk(&registry).publish("xenial").await.expect("it settles");
        let newest = registry.digest("acme/ubuntu:arm64-xenial").expect("an image");
        assert_eq!(registry.children("acme/ubuntu:xenial")[1], newest);
        assert_eq!(served(&registry), WANTED);
    }
    let registry = registry().await;
    let push = |registry: &FakeRegistry| drop(registry.push_image("acme/ubuntu:arm64-xenial", "linux/arm64"));
    registry.on(When::kind(Kind::PutManifest), Play::run(push));
    let error = desk(&registry).publish("xenial").await.expect_err("it never settles");
    assert_eq!((error.code(), puts(&registry)), ("moving", 6));
    assert!(error.to_string().contains("`arm64-xenial` moved while `xenial` was being written"), "{error}");
}

#[tokio::test]
async fn somebody_who_writes_the_same_tag_is_overwritten_and_not_for_ever() {
    // Never with what was there before, which would look like a cache that is behind.
    let overwrite = |registry: &FakeRegistry| {
        let was_ours = served(registry).len() == 3;
        let child = if was_ours && puts(registry).is_multiple_of(2) {
            "acme/ubuntu:arm64-xenial"
        } else {
            "acme/ubuntu:amd64-xenial"
        };
        registry.push_index("acme/ubuntu:xenial", &[child]);
    };
    let registry = registry().await;
    registry.on(When::kind(Kind::PutManifest).once(), Play::run_after(overwrite));
    desk(&registry).publish("xenial").await.expect("the last word is ours");
    assert_eq!((served(&registry).len(), puts(&registry)), (3, 2));

    registry.push_image("acme/ubuntu:amd64-xenial", "linux/amd64");
    registry.forget_requests();
    registry.on(When::kind(Kind::PutManifest), Play::run_after(overwrite));
    let error = desk(&registry).publish("xenial").await.expect_err("neither gives in");
    assert_eq!((error.code(), puts(&registry)), ("moving", 6));
    assert!(error.to_string().contains("somebody else wrote `xenial`"), "{error}");
}

#[tokio::test]
async fn what_was_written_and_cannot_be_read_back_is_not_called_untouched() {
    let registry = registry().await;
    registry.on(When::kind(Kind::HeadManifest), Play::status(500));
    let ran = publish(&registry).run().await.expect(5);
    let document = ran.json();
    assert_eq!((&document["reasons"][0]["code"], &document["decision"]), (&"not-read-back".into(), &().into()));
    assert!(ran.stderr.contains("could not be read back: HEAD http://"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("is as it was"), "{}", ran.stderr);

    // Some of several tags.
    let registry = self::registry().await;
    registry.on(When::kind(Kind::PutManifest).tag("16.04"), Play::error(403, "DENIED", "protected tag"));
    let ran = publish(&registry).arg("--also").arg("16.04").run().await.expect(4);
    assert_eq!(ran.json()["decision"], serde_json::Value::Null);
    assert!(ran.stderr.contains("`xenial` was published, and the other tags were not: PUT "), "{}", ran.stderr);
    assert_eq!(served(&registry), WANTED);
}

#[tokio::test]
async fn an_unclear_end_is_called_unclear() {
    let registry = registry().await;
    registry.on(When::kind(Kind::PutManifest), Play::ApplyThenReset);
    registry.on(When::kind(Kind::HeadManifest), Play::Reset);
    let error = desk(&registry).publish("xenial").await.expect_err("nobody knows");
    assert_eq!((error.code(), error.left_the_tag_alone(), puts(&registry)), ("outcome-unknown", false, 1));
    assert!(matches!(error.kind(), Failing::Failing));
}

#[tokio::test]
async fn a_write_is_done_only_when_the_registry_says_created() {
    for (play, code) in [
        (Play::status(200), "not-a-registry"),
        (Play::status(202), "not-a-registry"),
        (Play::Html, "not-a-registry"),
        (Play::error(413, "SIZE_INVALID", "too large"), "registry-failed"),
        (Play::error(418, "TEAPOT", "no"), "registry-failed"),
    ] {
        let registry = registry().await;
        let before = registry.digest("acme/ubuntu:xenial");
        registry.on(When::kind(Kind::PutManifest), play);
        let error = desk(&registry).publish("xenial").await.expect_err("nothing was created");
        assert_eq!((error.code(), error.left_the_tag_alone(), puts(&registry)), (code, true, 1), "{error}");
        assert_eq!(registry.digest("acme/ubuntu:xenial"), before);
    }
    // Stored, as it says, but as something else than was sent.
    let registry = registry().await;
    registry.on(When::kind(Kind::PutManifest), Play::DigestHeader(format!("sha256:{}", "0".repeat(64))));
    let error = desk(&registry).publish("xenial").await.expect_err("that is not what was sent");
    assert!(matches!(error, PublishError::Changed { .. }), "{error:?}");
}

#[tokio::test]
async fn a_tag_that_must_not_change_is_held_and_the_same_index_is_no_change() {
    for immutable in
        [Immutable::AlreadyExists, Immutable::Locked, Immutable::TagInvalid, Immutable::Precondition, Immutable::Denied]
    {
        let registry = grown(FakeRegistry::builder().immutable(immutable)).await;
        let ran = publish(&registry).run().await.expect(6);
        assert_eq!(ran.json()["decision"], "held", "{immutable:?}");
        assert_eq!(
            ran.json()["reasons"].as_array().and_then(|all| all.last()).expect("a reason")["code"],
            "immutable-tag"
        );
        assert_eq!(puts(&registry), 1);
    }
    // Somebody else wrote the very same a moment earlier.
    for refusal in [(409, "CONFLICT", "busy"), (409, "TAG_ALREADY_EXISTS", "immutable")] {
        let registry = registry().await;
        registry.on(When::kind(Kind::PutManifest), Play::ApplyThenReset);
        desk(&registry).publish("xenial").await.expect("it publishes");
        registry.behave();
        let index = registry.manifest("acme/ubuntu:xenial").expect("an index");
        registry.push_index("acme/ubuntu:xenial", &["acme/ubuntu:amd64-xenial"]);
        let same = move |registry: &FakeRegistry| {
            registry.put_manifest("acme/ubuntu:xenial", &index.media_type, index.bytes.clone());
        };
        registry.on(When::kind(Kind::PutManifest), Play::run(same));
        registry.on(When::kind(Kind::PutManifest), Play::error(refusal.0, refusal.1, refusal.2));
        let outcome = desk(&registry).publish("xenial").await.expect("it is there");
        assert_eq!(outcome.action, Action::Pushed);
    }
}

#[tokio::test]
async fn a_registry_that_takes_no_oci_index_says_so_once_and_keeps_its_tag() {
    for refusal in [RefuseOciIndex::UnsupportedMediaType, RefuseOciIndex::ManifestInvalid] {
        let registry = grown(FakeRegistry::builder().refuse_oci_index(refusal)).await;
        let before = registry.digest("acme/ubuntu:xenial");
        // These are OCI images, which a Docker list cannot name.
        let ran = publish(&registry).run().await.expect(5);
        assert_eq!((&ran.json()["reasons"][0]["code"], puts(&registry)), (&"index-refused".into(), 1));
        assert!(ran.stderr.contains("hint: try the other kind of index"), "{}", ran.stderr);
        assert_eq!(registry.digest("acme/ubuntu:xenial"), before);
    }
}

#[tokio::test]
async fn programs_get_json_and_a_code_whatever_happens() {
    for (when, play, exit) in [
        (When::kind(Kind::Tags), Play::Html, 5),
        (When::kind(Kind::Tags), Play::status(500), 5),
        (When::kind(Kind::GetManifest).tag("arm64-xenial"), Play::error(403, "DENIED", "no \"entry\"\n\u{1b}[31m"), 4),
        (When::kind(Kind::GetManifest), Play::status(401), 4),
        (When::kind(Kind::Blob), Play::WrongBytes, 6),
        (When::kind(Kind::Blob), Play::status(404), 6),
        (When::kind(Kind::PutManifest), Play::status(403), 4),
        (When::kind(Kind::PutManifest), Play::status(502), 5),
        (When::kind(Kind::PutManifest), Play::Reset, 5),
    ] {
        let registry = registry().await;
        let before = registry.digest("acme/ubuntu:xenial");
        registry.on(when, play);
        let ran = publish(&registry).arg("--timeout").arg("3s").run().await.expect(exit);
        let document = ran.json();
        assert_eq!((&document["tag"], &document["decision"]), (&"xenial".into(), &"held".into()), "{document}");
        let reasons = document["reasons"].as_array().expect("a list");
        assert!(reasons.iter().any(|reason| reason["weight"] == "hold" && reason["code"].is_string()));
        assert!(!ran.stdout.contains('\u{1b}') && !ran.stderr.contains('\u{1b}'), "{}", ran.stderr);
        assert_eq!(registry.digest("acme/ubuntu:xenial"), before);
    }
}
