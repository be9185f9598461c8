//! What the service writes down, tells onwards and measures; and what operators do with it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::support::real::free_address;
use crate::support::service::{ADMIN_TOKEN, HOOK_SECRET, NOTIFY_SECRET};
use crate::support::{Answer, Elsewhere, FakeRegistry, Image, Kind, Play, Service, When, eventually, onetag};

const BOTH: &str = "require = [\"amd64\", \"arm64\"]\nquiet = \"100ms\"\npoll = \"1s\"";

fn rule(registry: &FakeRegistry, keys: &str) -> String {
    format!("[[repository]]\nregistry = \"{}\"\nname = \"ubuntu\"\n{keys}\n", registry.host())
}

/// A service whose `ubuntu:xenial` was published twice, and the digests of both indexes.
async fn published_twice(more: &str) -> (FakeRegistry, Service, [String; 2]) {
    let registry = FakeRegistry::start().await;
    registry.push("ubuntu:amd64-xenial", &Image::new("linux/amd64").label("is", "first"));
    registry.push("ubuntu:arm64-xenial", &Image::new("linux/arm64").label("is", "first"));
    let service = Service::start(&registry.host(), &(rule(&registry, &format!("{BOTH}\n{more}")))).await;
    let first = eventually("it is published", async || registry.digest("ubuntu:xenial")).await;
    service.idle().await;
    let arm64 = registry.push("ubuntu:arm64-xenial", &Image::new("linux/arm64").label("is", "second"));
    service.tell("ubuntu", "arm64-xenial", &arm64).await;
    let second = becomes_other_than(&registry, &first).await;
    written_down(&service, &second).await;
    (registry, service, [first, second])
}

async fn becomes_other_than(registry: &FakeRegistry, before: &str) -> String {
    eventually("the tag is published anew", async || registry.digest("ubuntu:xenial").filter(|now| now != before)).await
}

async fn written_down(service: &Service, digest: &str) {
    eventually("it is written down", async || (service.history().await[0]["digest"] == digest).then_some(())).await;
}

/// Lets at least two more scans come to their end.
async fn scans_pass(registry: &FakeRegistry, service: &Service) {
    let scans = registry.count(Kind::Tags);
    eventually("it was scanned again", async || (registry.count(Kind::Tags) >= scans + 2).then_some(())).await;
    service.idle().await;
}

/// Times, ports and digests differ from run to run.
fn normalised(text: &str, registry: &FakeRegistry, digests: &[(&str, &str)]) -> String {
    let mut text = text.replace(&registry.host(), "REGISTRY");
    for (digest, name) in digests {
        text = text.replace(*digest, &format!("sha256:<{name}>"));
        let hex = digest.trim_start_matches("sha256:");
        for length in [12, 7] {
            text = text.replace(&hex[..length], &format!("<{name}>"));
        }
    }
    let time = |line: &str| match line.get(..20) {
        Some(stamp) if stamp.ends_with('Z') && stamp.starts_with("20") => format!("TIME{}", &line[20..]),
        _ => line.to_owned(),
    };
    text.lines().map(time).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn the_journal_says_what_was_done_from_what_and_why() {
    let (registry, service, [first, second]) = published_twice("").await;
    let amd64 = registry.digest("ubuntu:amd64-xenial").expect("it was pushed");
    let arm64 = registry.digest("ubuntu:arm64-xenial").expect("it was pushed");
    let wrong = registry.push("ubuntu:arm64-xenial", &Image::new("linux/amd64").label("is", "wrong"));
    service.tell("ubuntu", "arm64-xenial", &wrong).await;
    service.trouble_of("held").await;

    let names = [(&*first, "first"), (&*second, "second"), (&*amd64, "amd64"), (&*arm64, "arm64"), (&*wrong, "wrong")];
    let shown = service.operator(&["history", "--limit", "2"]).run().await.expect(0).stdout;
    insta::assert_snapshot!(normalised(&shown, &registry, &names), @r"
TIME  held         REGISTRY/ubuntu:xenial  hook:main
  sha256:<second>  stays
  <amd64>  amd64-xenial: verified, linux/amd64
  <wrong>  arm64-xenial: mismatch, linux/amd64
  config-arch-mismatch: arm64-xenial: the tag promises linux/arm64 but the image config says linux/amd64
TIME  pushed       REGISTRY/ubuntu:xenial  hook:main
  sha256:<second>  was <first>
  <amd64>  amd64-xenial: verified, linux/amd64
  <arm64>  arm64-xenial: verified, linux/arm64
");

    let told = service.operator(&["history", "--output", "json"]).run().await.expect(0).json_lines();
    assert_eq!(
        told.iter().map(|it| it["act"].as_str().unwrap_or("?")).collect::<Vec<_>>(),
        ["held", "pushed", "pushed"]
    );
    let pushed = &told[1];
    assert_eq!((&pushed["previous"], &pushed["digest"]), (&json!(first), &json!(second)));
    assert_eq!(pushed["trigger"], "hook:main");
    assert_eq!(pushed["event_id"], format!("ubuntu:arm64-xenial@{arm64}"));
    assert_eq!(
        pushed["images"]["amd64-xenial"],
        json!({ "digest": amd64, "platform": "linux/amd64", "verdict": "verified" })
    );
    assert!(pushed["requests"].as_u64().expect("a number") > 0);
    assert_eq!(told[0]["reasons"][0]["code"], "config-arch-mismatch");
    let none = service.operator(&["history", "--tag", "bionic"]).run().await.expect(0);
    assert_eq!((none.stdout.as_str(), none.stderr.contains("nothing")), ("", true), "{}", none.stderr);
}

#[tokio::test]
async fn a_roll_back_puts_the_very_bytes_back_and_stands_until_an_image_changes() {
    let (registry, service, [first, second]) = published_twice("also = { xenial = [\"16.04\"] }").await;
    let bytes = registry.manifest(&format!("ubuntu@{first}")).expect("it was published").bytes;
    let repository = registry.repository("ubuntu");
    let rollback = ["rollback", "-r", &repository, "-t", "xenial"];

    let refused = service.operator(&rollback).env("ONETAG_ADMIN_TOKEN", "wrong").run().await.expect(4);
    assert!(
        refused.stderr.contains("401") && refused.stderr.contains("hint: is ONETAG_ADMIN_TOKEN"),
        "{}",
        refused.stderr
    );
    let done = service.operator(&rollback).run().await.expect(0);
    assert!(
        done.stdout.contains(&first) && done.stderr.contains("rollback --release"),
        "{}{}",
        done.stdout,
        done.stderr
    );
    assert_eq!(registry.manifest("ubuntu:xenial").expect("it is there").bytes, bytes);
    assert_eq!(registry.digest("ubuntu:16.04").as_deref(), Some(first.as_str()), "what goes with it");

    let writes = registry.writes();
    let arm64 = registry.digest("ubuntu:arm64-xenial").expect("it was pushed");
    service.tell("ubuntu", "arm64-xenial", &arm64).await;
    scans_pass(&registry, &service).await;
    assert_eq!((registry.digest("ubuntu:xenial"), registry.writes()), (Some(first.clone()), writes));
    assert_eq!(service.acts().await, ["pushed", "pushed", "rolled-back", "held"]);

    let released = service.operator(&rollback).arg("--release").run().await.expect(0);
    assert_eq!(released.stdout, "released xenial\n");
    assert_eq!(becomes_other_than(&registry, &first).await, second);
    written_down(&service, &second).await;

    service.operator(&rollback).args(&["--to", &first]).run().await.expect(0);
    assert_eq!(registry.digest("ubuntu:xenial"), Some(first.clone()));
    let newest = registry.push("ubuntu:amd64-xenial", &Image::new("linux/amd64").label("is", "third"));
    let third = becomes_other_than(&registry, &first).await;
    assert!(third != second && registry.children("ubuntu:xenial").contains(&newest));
    scans_pass(&registry, &service).await;
    assert_eq!(registry.digest("ubuntu:xenial"), Some(third), "the roll-back is over");
    let versions = service.json(&format!("/api/v1/versions?repository={repository}")).await;
    assert_eq!((&versions["versions"][0]["tag"], &versions["versions"][0]["hold"]), (&json!("xenial"), &Value::Null));

    let nothing = format!("sha256:{}", "0".repeat(64));
    service.operator(&rollback).args(&["--to", &nothing]).run().await.expect(6);
}

#[tokio::test]
async fn no_run_writes_while_a_roll_back_is_under_way() {
    let (registry, service, _) = published_twice("").await;
    registry.forget_requests();
    registry.on(When::kind(Kind::PutManifest).once(), Play::Late(Duration::from_millis(1000)));
    let repository = registry.repository("ubuntu");
    let roll_back = service.operator(&["rollback", "-r", &repository, "-t", "xenial"]).run();
    let push_meanwhile = async {
        eventually("the roll-back is under way", async || (registry.writes() == 1).then_some(())).await;
        let newest = registry.push("ubuntu:arm64-xenial", &Image::new("linux/arm64").label("is", "third"));
        service.tell("ubuntu", "arm64-xenial", &newest).await;
        newest
    };
    let (rolled_back, newest) = tokio::join!(roll_back, push_meanwhile);
    rolled_back.expect(0);
    eventually("the newest counts", async || registry.children("ubuntu:xenial").contains(&newest).then_some(())).await;
    let puts = registry.requests_of(Kind::PutManifest);
    assert!(puts[0].answered < Some(puts[1].arrived), "two wrote at one time");
    assert_eq!(service.acts().await.iter().filter(|act| *act == "rolled-back").count(), 1);
}

#[tokio::test]
async fn an_index_whose_images_are_gone_is_not_put_back() {
    let (registry, service, [first, second]) = published_twice("").await;
    let kept = registry.children("ubuntu:xenial");
    let mut named = registry.children(&format!("ubuntu@{first}")).into_iter();
    let lost = named.find(|digest| !kept.contains(digest)).expect("one changed");
    registry.delete_manifest(&lost);
    let repository = registry.repository("ubuntu");
    let refused = service.operator(&["rollback", "-r", &repository, "-t", "xenial"]).run().await.expect(6);
    assert!(refused.stderr.contains(&lost), "{}", refused.stderr);
    assert_eq!(registry.digest("ubuntu:xenial"), Some(second), "nothing was put back");
    assert_eq!(service.acts().await, ["pushed", "pushed"]);
}

#[tokio::test]
async fn a_roll_back_that_fails_for_a_further_tag_says_so_and_can_be_finished() {
    let (registry, service, [first, second]) = published_twice("also = { xenial = [\"16.04\", \"lts\"] }").await;
    let repository = registry.repository("ubuntu");
    registry.on(When::kind(Kind::PutManifest).tag("16.04"), Play::error(403, "DENIED", "not this one"));
    let rollback = ["rollback", "-r", &repository, "-t", "xenial"];
    let half = service.operator(&rollback).run().await.expect(5);
    let told = half.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(told.contains("`xenial` was put back, but not `16.04` (PUT") && told.contains("not this one"), "{told}");
    assert!(told.contains(&format!("--to {first}")), "{told}");
    let holds = || ["xenial", "16.04", "lts"].map(|tag| registry.digest(&format!("ubuntu:{tag}")).expect("a tag"));
    assert_eq!(holds(), [first.clone(), second.clone(), first.clone()]);
    assert_eq!(service.acts().await, ["pushed", "pushed", "rolled-back"], "what was done is written down");
    scans_pass(&registry, &service).await;
    assert_eq!(registry.digest("ubuntu:xenial"), Some(first.clone()), "and it stands");

    registry.behave();
    service.operator(&rollback).args(&["--to", &first]).run().await.expect(0);
    assert_eq!(holds(), [first.clone(), first.clone(), first]);
}

#[tokio::test]
async fn a_roll_back_that_was_begun_is_finished_for_whoever_asked_and_went_away() {
    let (registry, mut service, [first, second]) = published_twice("").await;
    let body = json!({ "repository": registry.repository("ubuntu"), "tag": "xenial" }).to_string();
    for is_last in [false, true] {
        registry.forget_requests();
        registry.set_delay(std::time::Duration::from_millis(300));
        let asking = service.ask("POST", "/api/v1/rollback").bearer_auth(ADMIN_TOKEN).body(body.clone()).send();
        let asking = tokio::spawn(asking);
        eventually("it is under way", async || (!registry.requests().is_empty()).then_some(())).await;
        asking.abort();
        if is_last {
            service.stop().await.expect(0);
            registry.set_delay(std::time::Duration::ZERO);
            service.resume().await;
        }
        eventually("it is put back", async || (registry.digest("ubuntu:xenial")? == first).then_some(())).await;
        written_down(&service, &first).await;
        assert_eq!(service.history().await[0]["act"], "rolled-back");

        registry.set_delay(std::time::Duration::ZERO);
        service.operator(&["rollback", "-r", &registry.repository("ubuntu"), "-t", "xenial", "--release"]).run().await;
        assert_eq!(becomes_other_than(&registry, &first).await, second);
        written_down(&service, &second).await;
    }
}

#[tokio::test]
async fn an_index_that_a_person_put_back_by_hand_stands_until_an_image_changes() {
    let (registry, mut service, [first, _]) = published_twice("").await;
    registry.retag("ubuntu:xenial", &first);
    service.trouble_of("held").await;
    service.stop().await;
    service.resume().await;
    scans_pass(&registry, &service).await;
    assert_eq!(registry.digest("ubuntu:xenial"), Some(first.clone()), "{}", service.log());
    let reasons = service.history().await[0]["reasons"].clone();
    assert_eq!(reasons[0]["code"], "rolled-back");

    let newest = registry.push("ubuntu:amd64-xenial", &Image::new("linux/amd64").label("is", "third"));
    becomes_other_than(&registry, &first).await;
    assert!(registry.children("ubuntu:xenial").contains(&newest));
}

#[tokio::test]
async fn commands_say_so_when_no_service_answers() {
    let server = format!("http://{}", free_address());
    let ran = onetag(["history", "--server", &server]).run().await.expect(5);
    assert!(
        ran.stderr.contains("could not be reached: ") && ran.stderr.contains("hint: is `onetag serve` running"),
        "{}",
        ran.stderr
    );
    let ran = onetag(["rollback", "--server", &server, "-r", "r.example.com/a", "-t", "b"]).run().await.expect(3);
    assert!(ran.stderr.contains("set ONETAG_ADMIN_TOKEN"), "{}", ran.stderr);
}

#[tokio::test]
async fn receivers_get_signed_events_once_and_again_only_after_a_failure() {
    let registry = FakeRegistry::start().await;
    let failures = AtomicUsize::new(2);
    let receiver = Elsewhere::answering(move |_| {
        let is_failing = failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        Answer::new(if is_failing { 500 } else { 204 })
    })
    .await;
    let gone = free_address();
    let notify = |url: &str| format!("[[notify]]\nurl = \"{url}\"\nsecret = {{ env = \"NOTIFY_SECRET\" }}\n");
    let sections = rule(&registry, BOTH)
        + &notify(&receiver.url("/path-canary-31c0"))
        + &notify(&format!("http://{gone}/path-canary-31c0"));
    // A machine without CA certificates.
    let none = [("SSL_CERT_FILE", "/nonexistent"), ("SSL_CERT_DIR", "/nonexistent")];
    let service = Service::start_raw(&free_address(), &sections, &none).await;
    registry.push_image("ubuntu:amd64-xenial", "linux/amd64");
    registry.push_image("ubuntu:arm64-xenial", "linux/arm64");
    eventually("it was told in the end", async || {
        receiver.requests().iter().find(|it| it.status == Some(204)).cloned()
    })
    .await;
    scans_pass(&registry, &service).await;

    let requests = receiver.requests();
    assert_eq!(requests.iter().map(|it| it.status).collect::<Vec<_>>(), [Some(500), Some(500), Some(204)]);
    assert!(requests.iter().all(|it| it.body == requests[0].body), "the same again");
    let mut mac = Hmac::<Sha256>::new_from_slice(NOTIFY_SECRET.as_bytes()).expect("a key");
    mac.update(&requests[0].body);
    let expected: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(requests[0].header("x-onetag-signature-256"), Some(format!("sha256={expected}")));
    assert_eq!(requests[0].header("content-type").as_deref(), Some("application/cloudevents+json"));

    let event = requests[0].json();
    assert_eq!((&event["specversion"], &event["type"]), (&json!("1.0"), &json!("onetag.tag.published.v1")));
    assert_eq!(event["source"], format!("/onetag/{}", registry.repository("ubuntu")));
    assert_eq!(event["subject"], "xenial");
    assert!(event["id"].as_str().is_some_and(|id| !id.is_empty()));
    assert!(event["time"].as_str().is_some_and(|time| time.ends_with('Z')));
    let data = &event["data"];
    assert_eq!((&data["tag"], &data["digest"]), (&json!("xenial"), &json!(registry.digest("ubuntu:xenial"))));
    assert_eq!(data["previous"], Value::Null);
    assert_eq!(data["images"]["arm64-xenial"]["platform"], "linux/arm64");

    assert_eq!(service.metric("onetag_notices_total{outcome=\"sent\"}").await, 1.0);
    let log = service.log();
    assert!(log.contains("could not be told"), "{log}");
    for secret in [NOTIFY_SECRET, HOOK_SECRET, ADMIN_TOKEN, "path-canary-31c0"] {
        assert!(!log.contains(secret), "{secret} in\n{log}");
        assert!(!service.get("/metrics").await.contains(secret));
    }
}

#[tokio::test]
async fn metrics_are_open_metrics_and_move() {
    let (registry, service, _) = published_twice("").await;
    let host = registry.host();
    assert_eq!(service.deliver(&json!({ "events": [] })).await, 202);
    scans_pass(&registry, &service).await;
    let text = service.get("/metrics").await;
    check_open_metrics(&text);
    let at_least = [
        ("onetag_deliveries_total{hook=\"main\",outcome=\"stored\"}".to_owned(), 1.0),
        ("onetag_deliveries_total{hook=\"main\",outcome=\"ignored\"}".to_owned(), 1.0),
        ("onetag_jobs_ended_total{end=\"done\"}".to_owned(), 3.0),
        ("onetag_decisions_total{decision=\"pushed\"}".to_owned(), 2.0),
        ("onetag_publish_latency_seconds_count".to_owned(), 2.0),
        (format!("onetag_registry_requests_total{{registry=\"{host}\",status=\"200\"}}"), 5.0),
        (format!("onetag_registry_requests_total{{registry=\"{host}\",status=\"201\"}}"), 2.0),
    ];
    for (name, least) in at_least {
        let found = service.metric(&name).await;
        assert!(found >= least, "{name} is {found}\n{text}");
    }
    for name in ["jobs_waiting", "jobs_running", "tags_failing", "tags_held", "tags_parked", "oldest_waiting_seconds"] {
        assert!(text.contains(&format!("\nonetag_{name} ")), "{name}\n{text}");
    }

    let staleness = format!("onetag_scan_staleness_seconds{{repository=\"{host}/ubuntu\"}}");
    let fresh = service.metric(&staleness).await;
    assert!(text.contains(&staleness) && fresh < 3.0, "{fresh}\n{text}");
    registry.stop().await;
    eventually("it is not scanned any more", async || (service.metric(&staleness).await > 3.0).then_some(())).await;
    let unreached = format!("onetag_registry_requests_total{{registry=\"{host}\",status=\"0\"}}");
    assert!(service.metric(&unreached).await >= 1.0);
}

/// What OpenMetrics 1.0 wants of every line: a declared family before its samples, a number each, and
/// the end.
fn check_open_metrics(text: &str) {
    assert!(text.ends_with("# EOF\n"), "{text}");
    let mut families: Vec<(String, String)> = Vec::new();
    for line in text.lines().filter(|line| *line != "# EOF") {
        if let Some(declared) = line.strip_prefix("# TYPE ") {
            let (name, kind) = declared.split_once(' ').expect("a name and a type");
            assert!(families.iter().all(|(known, _)| known != name), "{name} twice");
            families.push((name.to_owned(), kind.to_owned()));
        } else if let Some(unit) = line.strip_prefix("# UNIT ") {
            let (name, unit) = unit.split_once(' ').expect("a name and a unit");
            assert!(name.ends_with(&format!("_{unit}")), "{line}");
        } else if !line.starts_with("# HELP ") {
            let (sample, value) = line.rsplit_once(' ').expect("a sample and its value");
            value.parse::<f64>().expect("a number");
            let name = sample.split('{').next().expect("a name");
            let (family, kind) = families.last().expect("a family is declared first");
            let suffix = name.strip_prefix(family.as_str()).unwrap_or_else(|| panic!("{line} is not of {family}"));
            let allowed: &[&str] = match kind.as_str() {
                "counter" => &["_total", "_created"],
                "histogram" => &["_bucket", "_count", "_sum", "_created"],
                _ => &[""],
            };
            assert!(allowed.contains(&suffix), "{line} in a {kind}");
        }
    }
}
