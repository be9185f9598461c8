//! The service beside registries that announce too early, fail, hang, refuse or say nothing.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::service::HOOK_SECRET;
use crate::support::{Auth, Elsewhere, FakeRegistry, Image, Kind, Play, Service, User, When, eventually};

const BOTH: &str = "require = [\"amd64\", \"arm64\"]";

fn rule(registry: &FakeRegistry, keys: &str) -> String {
    rule_of(registry, "ubuntu", keys)
}

fn rule_of(registry: &FakeRegistry, name: &str, keys: &str) -> String {
    format!("[[repository]]\nregistry = \"{}\"\nname = \"{name}\"\n{keys}\n", registry.host())
}

fn receiver(elsewhere: &Elsewhere) -> String {
    let url = elsewhere.url("/secret-path-canary");
    format!("[[notify]]\nurl = \"{url}\"\nsecret = {{ env = \"NOTIFY_SECRET\" }}\n")
}

/// What a receiver was told, in order: `published`, `held`, `recovered`.
fn told(elsewhere: &Elsewhere) -> Vec<String> {
    let kinds =
        elsewhere.requests().into_iter().map(|request| request.json()["type"].as_str().expect("a type").to_owned());
    kinds.map(|kind| kind.trim_start_matches("onetag.tag.").trim_end_matches(".v1").to_owned()).collect()
}

async fn told_is(elsewhere: &Elsewhere, expected: &[&str]) {
    eventually("the receiver was told", async || (told(elsewhere).len() >= expected.len()).then_some(())).await;
    assert_eq!(told(elsewhere), expected);
}

/// A registry with both architectures of `ubuntu:xenial`, and a service that published it.
async fn published(keys: &str, more: &str) -> (FakeRegistry, Service) {
    let registry = FakeRegistry::start().await;
    registry.push_image("ubuntu:amd64-xenial", "linux/amd64");
    registry.push_image("ubuntu:arm64-xenial", "linux/arm64");
    let service = Service::start(&registry.host(), &format!("{}{more}", rule(&registry, keys))).await;
    eventually("it is published", async || registry.digest("ubuntu:xenial")).await;
    service.idle().await;
    registry.forget_requests();
    (registry, service)
}

#[tokio::test]
async fn a_push_that_is_announced_before_its_tag_is_written_is_never_published_stale() {
    let (registry, service) = published(BOTH, "").await;
    let old = registry.digest("ubuntu:arm64-xenial").expect("it was pushed");
    let new = registry.push_image("ubuntu:arm64-xenial", "linux/arm64");
    registry.retag("ubuntu:arm64-xenial", &old);
    let digest = new.clone();
    let write_tag = Play::run(move |registry| registry.retag("ubuntu:arm64-xenial", &digest));
    registry.on(When::kind(Kind::HeadManifest).tag("arm64-xenial").after(2).once(), write_tag);

    service.tell("ubuntu", "arm64-xenial", &new).await;
    eventually("the new image is in", async || registry.children("ubuntu:xenial").contains(&new).then_some(())).await;
    service.idle().await;
    assert_eq!(registry.count(Kind::PutManifest), 1, "{:?}", registry.written());
    assert_eq!(service.acts().await, ["pushed", "pushed"]);
}

#[tokio::test]
async fn an_announcement_that_never_comes_true_does_not_block_what_is_there() {
    let (registry, service) = published(BOTH, "").await;
    let amd64 = registry.push_image("ubuntu:amd64-xenial", "linux/amd64");
    service.tell("ubuntu", "arm64-xenial", &format!("sha256:{}", "0".repeat(64))).await;
    eventually("what is there is in", async || registry.children("ubuntu:xenial").contains(&amd64).then_some(())).await;
    service.idle().await;
    assert_eq!(registry.count(Kind::PutManifest), 1);
}

#[tokio::test]
async fn a_push_in_the_middle_of_a_run_is_published_without_waiting_for_the_one_before() {
    let (registry, service) = published(BOTH, "").await;
    let newest = Arc::new(Mutex::new(String::new()));
    let pushed = newest.clone();
    let push_again = Play::run_after(move |registry| {
        *pushed.lock().expect("nobody panicked") = registry.push_image("ubuntu:arm64-xenial", "linux/arm64");
    });
    registry.on(When::kind(Kind::PutManifest).once(), push_again);
    let arm64 = registry.push_image("ubuntu:arm64-xenial", "linux/arm64");
    service.tell("ubuntu", "arm64-xenial", &arm64).await;
    let has_newest = async || {
        let newest = newest.lock().expect("nobody panicked").clone();
        registry.children("ubuntu:xenial").contains(&newest).then_some(())
    };
    eventually("the newest is in", has_newest).await;
    service.idle().await;
    // One look to begin with and one after the other image came, each followed by reading back.
    let looks = registry
        .requests_of(Kind::HeadManifest)
        .iter()
        .filter(|it| it.reference.as_deref() == Some("amd64-xenial"))
        .count();
    assert_eq!((looks, registry.count(Kind::PutManifest)), (4, 2), "{:?}", registry.written());
}

#[tokio::test]
async fn a_push_that_was_pushed_over_before_it_was_told_is_not_waited_for_long() {
    let (registry, service) = published(BOTH, "").await;
    let told = registry.push_image("ubuntu:arm64-xenial", "linux/arm64");
    let newer = registry.push_image("ubuntu:arm64-xenial", "linux/arm64");
    service.tell("ubuntu", "arm64-xenial", &told).await;
    eventually("what is there is in", async || registry.children("ubuntu:xenial").contains(&newer).then_some(())).await;
    service.idle().await;
    let looks = registry.requests_of(Kind::HeadManifest).into_iter();
    let looks = looks.filter(|it| it.reference.as_deref() == Some("amd64-xenial")).count();
    assert_eq!(looks, 5, "a look, three more in a quarter of a second, and reading back");
}

#[tokio::test]
async fn an_image_pushed_again_is_published_in_three_rounds() {
    let (registry, service) = published(BOTH, "").await;
    let arm64 = registry.push_image("ubuntu:arm64-xenial", "linux/arm64");
    registry.set_delay(Duration::from_millis(100)); // so that requests of one round overlap
    registry.forget_requests();
    service.tell("ubuntu", "arm64-xenial", &arm64).await;
    eventually("it is in", async || registry.children("ubuntu:xenial").contains(&arm64).then_some(())).await;
    service.idle().await;
    assert_eq!(registry.count(Kind::PutManifest), 1);
    assert_eq!(registry.rounds(), 4, "look, configs, write, and one to read it back");
}

#[tokio::test]
async fn several_pushes_in_the_quiet_time_are_one_publication() {
    let registry = FakeRegistry::start().await;
    let service = Service::start(&registry.host(), &rule(&registry, "quiet = \"800ms\"")).await;
    for (word, platform) in [("amd64", "linux/amd64"), ("arm64", "linux/arm64"), ("s390x", "linux/s390x")] {
        let tag = format!("{word}-xenial");
        let digest = registry.push_image(&format!("ubuntu:{tag}"), platform);
        service.tell("ubuntu", &tag, &digest).await;
        service.tell("ubuntu", &tag, &digest).await;
    }
    eventually("it is published", async || registry.digest("ubuntu:xenial")).await;
    service.idle().await;
    assert_eq!(registry.platforms("ubuntu:xenial"), ["linux/amd64", "linux/arm64", "linux/s390x"]);
    assert_eq!(registry.count(Kind::PutManifest), 1);
}

#[tokio::test]
async fn what_is_required_is_published_at_once_and_what_is_missing_is_held_after_the_quiet_time() {
    let registry = FakeRegistry::start().await;
    let receiver_of = Elsewhere::start("").await;
    let sections = rule(&registry, &format!("{BOTH}\nquiet = \"5s\"")) + &receiver(&receiver_of);
    let service = Service::start(&registry.host(), &sections).await;
    let amd64 = registry.push_image("ubuntu:amd64-xenial", "linux/amd64");
    let started = Instant::now();
    service.tell("ubuntu", "amd64-xenial", &amd64).await;
    let waits = eventually("it waits for more", async || {
        let jobs = service.json("/api/v1/jobs").await;
        jobs["active"].as_array()?.iter().find(|job| job["waits_for"].is_string()).cloned()
    })
    .await;
    assert!(waits["waits_for"].as_str().is_some_and(|what| what.contains("arm64 is required")), "{waits}");
    assert_eq!((&waits["attempts"], &waits["trouble"]), (&0.into(), &serde_json::Value::Null));
    assert_eq!(service.trouble().await, None);
    let metrics = ["onetag_jobs_waiting", "onetag_tags_failing", "onetag_jobs_ended_total{end=\"waiting\"}"];
    for (name, expected) in metrics.into_iter().zip([1.0, 0.0, 1.0]) {
        assert_eq!(service.metric(name).await, expected, "{name}");
    }
    assert_eq!(service.history().await, Vec::<serde_json::Value>::new());

    let reason = service.trouble_of("held").await;
    assert!(started.elapsed() >= Duration::from_millis(4900), "held after {:?}", started.elapsed());
    assert!(reason.contains("arm64 is required"), "{reason}");
    assert_eq!(service.acts().await, ["held"]);
    told_is(&receiver_of, &["held"]).await;

    let arm64 = registry.push_image("ubuntu:arm64-xenial", "linux/arm64");
    service.tell("ubuntu", "arm64-xenial", &arm64).await;
    told_is(&receiver_of, &["held", "published", "recovered"]).await;
    assert_eq!(registry.children("ubuntu:xenial"), [amd64, arm64]);
    assert_eq!(service.trouble().await, None);

    // Where everything is there, nobody waits for the quiet time.
    let (_, _) = (
        registry.push_image("ubuntu:amd64-bionic", "linux/amd64"),
        registry.push_image("ubuntu:arm64-bionic", "linux/arm64"),
    );
    let digest = registry.digest("ubuntu:arm64-bionic").expect("it was pushed");
    service.tell("ubuntu", "arm64-bionic", &digest).await;
    eventually("it is published", async || registry.digest("ubuntu:bionic")).await;
    service.idle().await;
    assert_eq!(service.acts().await, ["held", "pushed", "pushed"]);
}

#[tokio::test]
async fn a_mislabelled_image_is_held_and_told_once_and_its_repair_is_published() {
    let receiver_of = Elsewhere::start("").await;
    let keys = format!("{BOTH}\nquiet = \"100ms\"\npoll = \"1s\"");
    let (registry, service) = published(&keys, &receiver(&receiver_of)).await;
    let before = registry.digest("ubuntu:xenial");
    registry.push("ubuntu:arm64-xenial", &Image::new("linux/amd64").label("is", "wrong"));
    let reason = service.trouble_of("held").await;
    assert!(reason.starts_with("`arm64-xenial`: the tag promises linux/arm64"), "{reason}");
    let scans = registry.count(Kind::Tags);
    eventually("it was scanned again", async || (registry.count(Kind::Tags) >= scans + 3).then_some(())).await;
    service.idle().await;
    assert_eq!((registry.digest("ubuntu:xenial"), registry.writes()), (before, 0));
    assert_eq!(service.acts().await, ["pushed", "held"]);
    told_is(&receiver_of, &["published", "held"]).await;
    assert_eq!(service.metric("onetag_tags_held").await, 1.0);

    let repaired = registry.push_image("ubuntu:arm64-xenial", "linux/arm64");
    told_is(&receiver_of, &["published", "held", "published", "recovered"]).await;
    assert!(registry.children("ubuntu:xenial").contains(&repaired));
    assert_eq!(service.metric("onetag_tags_held").await, 0.0);
}

#[tokio::test]
async fn a_scan_finds_what_nobody_told_and_costs_only_heads_where_nothing_changed() {
    let (registry, service) = published("quiet = \"100ms\"\npoll = \"1s\"", "").await;
    let scans = |number| {
        let registry = registry.clone();
        async move { eventually("it was scanned", async || (registry.count(Kind::Tags) >= number).then_some(())).await }
    };
    scans(3).await;
    service.idle().await;
    let kinds = [Kind::GetManifest, Kind::Blob, Kind::PutManifest].map(|kind| registry.count(kind));
    assert_eq!(kinds, [0, 0, 0], "{:?}", registry.requests().iter().map(|it| it.line()).collect::<Vec<_>>());
    assert!(registry.count(Kind::HeadManifest) >= 3);
    assert_eq!(service.acts().await, ["pushed"]);

    let s390x = registry.push_image("ubuntu:s390x-xenial", "linux/s390x");
    registry.push_image("ubuntu:amd64-bionic", "linux/amd64");
    eventually("it was found", async || registry.children("ubuntu:xenial").contains(&s390x).then_some(())).await;
    eventually("a new version was found", async || registry.digest("ubuntu:bionic")).await;
    assert_eq!(service.history().await[0]["trigger"], "scan");
}

#[tokio::test]
async fn a_repository_that_a_delivery_named_for_a_wildcard_is_scanned_from_then_on() {
    let registry = FakeRegistry::start().await;
    let sections = rule_of(&registry, "acme/*", "quiet = \"100ms\"\npoll = \"1s\"");
    let service = Service::start(&registry.host(), &sections).await;
    let amd64 = registry.push_image("acme/debian:amd64-sid", "linux/amd64");
    service.tell("acme/debian", "amd64-sid", &amd64).await;
    eventually("it is published", async || registry.digest("acme/debian:sid")).await;
    let arm64 = registry.push_image("acme/debian:arm64-sid", "linux/arm64");
    eventually("it was found", async || registry.children("acme/debian:sid").contains(&arm64).then_some(())).await;
    service.idle().await;
    assert_eq!(service.acts().await, ["pushed", "pushed"]);
}

#[tokio::test]
async fn a_registry_that_hangs_or_puts_everybody_off_slows_no_other_down() {
    let (dead, busy, good) = tokio::join!(FakeRegistry::start(), FakeRegistry::start(), FakeRegistry::start());
    dead.on(When::any(), Play::Hang);
    busy.on(When::any(), Play::too_many_requests("3600"));
    let hook = |name: &str, registry: &FakeRegistry| {
        let host = registry.host();
        format!("[[hook]]\nname = \"{name}\"\nformat = \"distribution\"\nregistry = \"{host}\"\nsecret = \"none\"\n")
    };
    let rules = [&dead, &busy, &good].map(|registry| rule(registry, "quiet = \"50ms\"")).concat();
    let sections = rules + &hook("dead", &dead) + &hook("busy", &busy);
    let mut service = Service::start(&good.host(), &sections).await;
    let digest = good.push_image("ubuntu:amd64-xenial", "linux/amd64");
    for number in 0..25 {
        let event = crate::support::service::delivery("ubuntu", &format!("amd64-v{number}"), &digest);
        for hook in ["dead", "busy"] {
            assert_eq!(service.deliver_to(hook, &event).await, 202);
        }
    }
    eventually("both are under way", async || (service.metric("onetag_jobs_running").await >= 16.0).then_some(()))
        .await;
    let started = Instant::now();
    service.tell("ubuntu", "amd64-xenial", &digest).await;
    eventually("it is published", async || good.digest("ubuntu:xenial")).await;
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert!(service.metric("onetag_oldest_waiting_seconds").await > 0.0);

    let started = Instant::now();
    assert_eq!(service.stop().await.code, 0, "what only waits is not waited for");
    assert!(started.elapsed() < Duration::from_secs(12), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_registry_that_fails_for_a_while_is_tried_again_until_it_takes_the_index() {
    let (registry, service) = published(BOTH, "").await;
    registry.on(When::kind(Kind::PutManifest).times(4), Play::error(500, "UNKNOWN", "out of order"));
    let arm64 = registry.push_image("ubuntu:arm64-xenial", "linux/arm64");
    service.tell("ubuntu", "arm64-xenial", &arm64).await;
    let reason = service.trouble_of("failing").await;
    assert!(reason.contains("out of order"), "{reason}");
    eventually("it is published", async || registry.children("ubuntu:xenial").contains(&arm64).then_some(())).await;
    service.idle().await;
    assert_eq!(service.acts().await, ["pushed", "failed", "pushed"]);
    assert_eq!(service.trouble().await, None);
    assert!(service.metric("onetag_jobs_ended_total{end=\"retry\"}").await >= 1.0);
}

#[tokio::test]
async fn a_refusal_parks_the_tag_until_the_next_delivery() {
    let receiver_of = Elsewhere::start("").await;
    let (registry, service) = published(BOTH, &receiver(&receiver_of)).await;
    registry.on(When::kind(Kind::PutManifest), Play::error(403, "DENIED", "no pushing"));
    let arm64 = registry.push_image("ubuntu:arm64-xenial", "linux/arm64");
    service.tell("ubuntu", "arm64-xenial", &arm64).await;
    let reason = service.trouble_of("parked").await;
    assert!(reason.contains("403 DENIED: no pushing"), "{reason}");
    assert_eq!(service.metric("onetag_tags_parked").await, 1.0);
    service.tell("ubuntu", "arm64-xenial", &arm64).await;
    service.idle().await;
    assert_eq!(service.acts().await, ["pushed", "failed"], "the same refusal is written down once");

    registry.behave();
    service.tell("ubuntu", "arm64-xenial", &arm64).await;
    told_is(&receiver_of, &["published", "held", "published", "recovered"]).await;
    assert_eq!(service.trouble().await, None);
}

#[tokio::test]
async fn a_login_that_is_refused_is_shown_once_and_parks_the_tag_until_it_is_repaired() {
    let users = |password: &str| vec![User::new("user", password)];
    let registry = FakeRegistry::builder().basic_users(users("another")).start().await;
    let login = format!(
        "[[registry]]\nhost = \"{}\"\nusername = \"user\"\npassword = {{ env = \"HOOK_SECRET\" }}\n",
        registry.host()
    );
    let amd64 = registry.push_image("ubuntu:amd64-xenial", "linux/amd64");
    let service = Service::start(&registry.host(), &(login + &rule(&registry, "quiet = \"50ms\""))).await;
    for _ in 0..5 {
        service.tell("ubuntu", "amd64-xenial", &amd64).await;
        let reason = service.trouble_of("parked").await;
        assert!(reason.contains("401 UNAUTHORIZED") && !reason.contains(HOOK_SECRET), "{reason}");
        service.idle().await;
    }
    let shown = registry.requests().into_iter().filter(|request| request.header("authorization").is_some());
    assert_eq!(shown.count(), 1, "accounts get locked for less");
    assert_eq!(service.acts().await, ["failed"]);

    registry.set_auth(Auth::Basic(users(HOOK_SECRET)));
    service.reload().await;
    eventually("it is published", async || registry.digest("ubuntu:xenial")).await;
    service.idle().await;
    assert_eq!(service.trouble().await, None);
}

#[tokio::test]
async fn a_registry_that_shows_what_was_written_only_later_gets_it_once() {
    let (registry, service) = published(BOTH, "").await;
    registry.set_options(|options| options.stale_reads = 4);
    let arm64 = registry.push_image("ubuntu:arm64-xenial", "linux/arm64");
    service.tell("ubuntu", "arm64-xenial", &arm64).await;
    eventually("it is written down", async || (service.acts().await == ["pushed", "pushed"]).then_some(())).await;
    service.idle().await;
    assert!(registry.children("ubuntu:xenial").contains(&arm64));
    assert_eq!(registry.count(Kind::PutManifest), 1, "what is not shown yet is not written again");
}

#[tokio::test]
async fn a_job_that_began_before_a_reload_is_not_waited_for_either() {
    let (registry, mut service) = published(BOTH, "").await;
    registry.on(When::any(), Play::Hang);
    let arm64 = registry.push_image("ubuntu:arm64-xenial", "linux/arm64");
    service.tell("ubuntu", "arm64-xenial", &arm64).await;
    eventually("it hangs", async || (!registry.requests().is_empty()).then_some(())).await;
    service.reload().await;
    let ran = service.stop().await.expect(0);
    assert!(!ran.stderr.contains("go on after the next start"), "{}", ran.stderr);
}

#[tokio::test]
async fn no_more_requests_are_under_way_than_the_file_allows() {
    let registry = FakeRegistry::builder().delay(Duration::from_millis(30)).start().await;
    for number in 0..6 {
        for (word, platform) in [("amd64", "linux/amd64"), ("arm64", "linux/arm64"), ("s390x", "linux/s390x")] {
            registry.push_image(&format!("ubuntu:{word}-v{number}"), platform);
        }
    }
    let section = format!("[[registry]]\nhost = \"{}\"\nconcurrency = 2\n", registry.host());
    let service = Service::start(&registry.host(), &(section + &rule(&registry, "quiet = \"50ms\""))).await;
    eventually("all is published", async || {
        (0..6).all(|n| registry.digest(&format!("ubuntu:v{n}")).is_some()).then_some(())
    })
    .await;
    service.idle().await;
    let requests = registry.requests();
    let under_way = |at: usize| {
        requests.iter().filter(|it| it.arrived <= at && it.answered.is_none_or(|answered| answered > at)).count()
    };
    let most = requests.iter().map(|request| under_way(request.arrived)).max();
    assert_eq!(most, Some(2));
}

#[tokio::test]
async fn no_more_requests_are_sent_in_a_time_than_the_file_allows() {
    let registry = FakeRegistry::start().await;
    for number in 0..4 {
        registry.push_image(&format!("ubuntu:amd64-v{number}"), "linux/amd64");
    }
    let section = format!("[[registry]]\nhost = \"{}\"\nrate = \"10/s\"\n", registry.host());
    let started = Instant::now();
    let service = Service::start(&registry.host(), &(section + &rule(&registry, "quiet = \"50ms\""))).await;
    eventually("all is published", async || {
        (0..4).all(|n| registry.digest(&format!("ubuntu:v{n}")).is_some()).then_some(())
    })
    .await;
    let (sent, took) = (registry.requests().len(), started.elapsed());
    assert!(took >= Duration::from_millis(100) * (sent as u32).saturating_sub(3), "{sent} requests in {took:?}");
    let waited = format!("onetag_rate_limit_wait_seconds_total{{registry=\"{}\"}}", registry.host());
    assert!(service.metric(&waited).await > 0.0, "{}", service.get("/metrics").await);
}
