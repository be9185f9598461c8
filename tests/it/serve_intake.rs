//! What comes in at the service's two listeners, and how it is answered.

use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::intake::{
    ADMIN_TOKEN, HOOK_SECRET, Intake, MIB, NOWHERE, OTHER_SECRET, Place, SIGNING_SECRET, URL_SECRET, event, json_of,
    nowhere, push, sample, sections,
};
use crate::support::{FakeRegistry, Kind, eventually};

async fn with_registry() -> (FakeRegistry, Place, Intake) {
    let registry = FakeRegistry::start().await;
    let place = Place::new(&sections(&registry.host()));
    let intake = place.start().await;
    (registry, place, intake)
}

/// What the registry was asked but for the list of its repositories, which nothing delivered leads to.
fn asked(registry: &FakeRegistry) -> Vec<String> {
    registry.requests().iter().filter(|request| request.kind != Kind::Catalog).map(|request| request.line()).collect()
}

async fn quarantined(intake: &Intake) -> Vec<Value> {
    intake.json("/api/v1/quarantine").await["deliveries"].as_array().cloned().expect("a list")
}

#[tokio::test]
async fn a_delivery_without_the_secret_is_refused_and_not_even_looked_at() {
    let (_place, intake) = nowhere().await;
    let post = |path: &str| intake.request("POST", path).body(push("acme/app", "amd64-1").to_string());
    let mut wrong = vec![post("/hooks/main"), intake.request("POST", "/hooks/main").body("not JSON")];
    for value in ["", "Bearer", "Bearer wrong", &HOOK_SECRET.to_lowercase(), &HOOK_SECRET[7..]] {
        wrong.push(post("/hooks/main").header("Authorization", value));
    }
    wrong.push(post(&format!("/hooks/main/{URL_SECRET}")));
    wrong.push(post("/hooks/quay"));
    wrong.push(post("/hooks/quay/wrong"));
    wrong.push(post(&format!("/hooks/quay/{URL_SECRET}x")));
    for request in wrong {
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), 401, "{answer:?}");
    }
    assert_eq!(intake.jobs().await, 0);
    assert_eq!(quarantined(&intake).await, Vec::<Value>::new());
    assert_eq!(intake.outcome("unproven").await, 8);
}

#[tokio::test]
async fn each_of_several_secrets_lets_in() {
    let (_place, intake) = nowhere().await;
    for (secret, tag) in [(HOOK_SECRET, "amd64-1"), (OTHER_SECRET, "amd64-2")] {
        let request = intake.request("POST", "/hooks/main").header("Authorization", secret);
        let answer = request.body(push("acme/app", tag).to_string()).send().await.expect("an answer");
        assert_eq!(answer.status(), 202);
        assert_eq!(answer.text().await.expect("a body"), "", "an accepted delivery is answered with nothing");
    }
    assert_eq!(intake.jobs().await, 2);
}

#[tokio::test]
async fn a_signature_holds_for_its_bytes_only_and_never_by_sha1() {
    let (_place, intake) = nowhere().await;
    let body = sample("ghcr-package.json");
    let right = "94b2f00cbeebbaecd22047fc2f5b3978f375f14b1d396ce24afda0c3ecf7c149";
    let mut changed = body.clone();
    *changed.last_mut().expect("a body") = b' ';
    let send = async |body: &[u8], name: &str, value: String| {
        let request = intake.request("POST", "/hooks/github").header("X-GitHub-Event", "package").header(name, value);
        request.body(body.to_vec()).send().await.expect("an answer").status().as_u16()
    };
    assert_eq!(send(&body, "X-Hub-Signature-256", format!("sha256={right}")).await, 202);
    assert_eq!(send(&body, "X-Hub-Signature-256", format!("sha256={}", right.to_uppercase())).await, 202);
    assert_eq!(send(&changed, "X-Hub-Signature-256", format!("sha256={right}")).await, 401);
    assert_eq!(send(&body, "X-Hub-Signature-256", "sha256=".to_owned()).await, 401);
    // By `openssl dgst -sha1 -hmac`.
    assert_eq!(send(&body, "X-Hub-Signature", "sha1=1ac6302517953af6533397368c7e3ad0874413b6".to_owned()).await, 401);
    assert_eq!(quarantined(&intake).await, Vec::<Value>::new());
}

#[tokio::test]
async fn the_content_type_does_not_matter_and_an_encoded_body_is_refused() {
    let (_place, intake) = nowhere().await;
    let send = async |name: &str, value: &str| {
        let request = intake.request("POST", "/hooks/main").header("Authorization", HOOK_SECRET).header(name, value);
        let answer = request.body(push("acme/app", "amd64-1").to_string()).send().await;
        answer.expect("an answer").status().as_u16()
    };
    for accepted in ["text/plain", "application/vnd.docker.distribution.events.v2+json", "nonsense"] {
        assert_eq!(send("Content-Type", accepted).await, 202, "{accepted}");
    }
    assert_eq!(intake.outcome("stored").await, 3);
    for encoding in ["gzip", "br", "zstd", "identity, gzip"] {
        assert_eq!(send("Content-Encoding", encoding).await, 415, "{encoding}");
    }
    assert_eq!(send("Content-Encoding", "identity").await, 202);
}

#[tokio::test]
async fn what_cannot_be_read_is_accepted_and_kept_aside() {
    let (registry, _place, intake) = with_registry().await;
    let deep = "[".repeat(5000);
    let unreadable = ["not JSON", "", "[]", "{}", r#"{"events":"all"}"#, "\u{0}\u{1b}[31m", deep.as_str()];
    for body in unreadable {
        assert_eq!(intake.deliver(body).await, 202, "{body}");
    }
    let kept = quarantined(&intake).await;
    assert_eq!(kept.len(), unreadable.len());
    assert_eq!(kept[6]["beginning"], "not JSON");
    assert_eq!(kept[6]["hook"], "main");
    let reason = kept[6]["reason"].as_str().expect("a reason");
    assert!(reason.starts_with("the body is not JSON"), "{reason}");
    assert!(!kept[1].to_string().contains("\\u001b"), "no control characters: {}", kept[1]);
    assert_eq!(intake.outcome("quarantined").await, unreadable.len() as u64);
    assert_eq!(asked(&registry), Vec::<String>::new());
}

#[tokio::test]
async fn what_is_of_no_interest_is_accepted_and_asks_no_registry_anything() {
    let (registry, _place, intake) = with_registry().await;
    let with = |key: &str, value: Value| {
        let mut event = event("acme/app", "amd64-1");
        event[key] = value;
        json!({ "events": [event] })
    };
    let of_target = |key: &str, value: Value| {
        let mut event = event("acme/app", "amd64-1");
        event["target"][key] = value;
        json!({ "events": [event] })
    };
    let deliveries = [
        push("other/app", "amd64-1"),
        push("../etc", "amd64-1"),
        push("acme/app/../../x", "amd64-1"),
        push("evil.example/acme/app", "amd64-1"),
        push("ACME/App", "amd64-1"),
        push("acme/app", "latest"),
        push("acme/app", "buildcache"),
        push("acme/app", "sha256-44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a.sig"),
        push("acme/app", "amd64-"),
        push("acme/app", &"a".repeat(129)),
        with("action", json!("pull")),
        with("action", json!("delete")),
        with("action", json!("mount")),
        of_target("tag", json!("")),
        of_target("mediaType", json!("application/octet-stream")),
        json!({ "events": [] }),
        json!({ "events": [null, 7, "x", {}] }),
    ];
    for delivery in &deliveries {
        assert_eq!(intake.deliver(delivery).await, 202, "{delivery}");
    }
    assert_eq!(intake.outcome("ignored").await, deliveries.len() as u64);
    assert_eq!(intake.jobs().await, 0);
    assert_eq!(asked(&registry), Vec::<String>::new());
}

#[tokio::test]
async fn what_a_delivery_says_of_addresses_digests_and_times_is_not_believed() {
    let (registry, _place, intake) = with_registry().await;
    let trap = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = trap.local_addr().expect("an address");
    let url = format!("http://{address}/v2/acme/app/manifests/amd64-1");
    let caught = tokio::spawn(async move { trap.accept().await.is_ok() });
    for (number, time) in ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "yesterday"].into_iter().enumerate() {
        let tag = format!("amd64-{number}");
        registry.push_image(&format!("acme/app:{tag}"), "linux/amd64");
        let mut event = event("acme/app", &tag);
        event["timestamp"] = json!(time);
        event["target"]["url"] = json!(url);
        event["target"]["digest"] = json!(["sha256:00", "../../x", ""][number]);
        event["request"] = json!({ "host": address.to_string(), "addr": address.to_string() });
        event["callback_url"] = json!(url);
        let delivery = json!({ "events": [event], "callback_url": url, "docker_url": url });
        assert_eq!(intake.deliver(delivery).await, 202);
    }
    for number in 0..3 {
        let tag = format!("acme/app:{number}");
        eventually(&tag, async || registry.digest(&tag)).await;
    }
    assert!(!caught.is_finished(), "an address from a delivery was connected to");
    caught.abort();
}

#[tokio::test]
async fn our_own_push_comes_back_and_nothing_comes_of_it() {
    let (registry, _place, intake) = with_registry().await;
    registry.push_image("acme/app:amd64-xenial", "linux/amd64");
    assert_eq!(intake.deliver(push("acme/app", "amd64-xenial")).await, 202);
    eventually("xenial is published", async || registry.digest("acme/app:xenial")).await;
    eventually("no job is left", async || (intake.jobs().await == 0).then_some(())).await;
    let (requests, writes) = (registry.requests().len(), registry.writes());
    assert_eq!(intake.deliver(push("acme/app", "xenial")).await, 202);
    assert_eq!(intake.outcome("ignored").await, 1);
    assert_eq!(intake.jobs().await, 0);
    assert_eq!((registry.requests().len(), registry.writes()), (requests, writes));
}

#[tokio::test]
async fn a_thousand_duplicates_are_accepted_and_are_one_job() {
    let registry = FakeRegistry::start().await;
    let quiet = sections(&registry.host()).replace("quiet = \"0s\"", "quiet = \"3s\"");
    let place = Place::new(&quiet);
    let intake = place.start().await;
    registry.push_image("acme/app:amd64-xenial", "linux/amd64");
    let body = push("acme/app", "amd64-xenial");
    let answers = futures_util::stream::iter(0..1000).map(|_| intake.deliver(&body)).buffer_unordered(32);
    let statuses: Vec<u16> = answers.collect().await;
    assert!(statuses.len() == 1000 && statuses.iter().all(|status| *status == 202), "{statuses:?}");
    assert!(intake.jobs().await <= 1);
    eventually("xenial is published", async || registry.digest("acme/app:xenial")).await;
    eventually("no job is left", async || (intake.jobs().await == 0).then_some(())).await;
    assert_eq!(intake.outcome("stored").await, 1000);
    assert_eq!(registry.writes(), 1);
    assert!(registry.requests().len() < 60, "{} requests for one tag", registry.requests().len());
}

#[tokio::test]
async fn thousands_of_tags_in_one_delivery_are_a_job_each_and_too_many_are_kept_aside() {
    let (_place, intake) = nowhere().await;
    let envelope = |count: usize| {
        let event = |number| json!({ "action": "push", "target": { "repository": "acme/app", "tag": format!("amd64-{number}") } });
        json!({ "events": (0..count).map(event).collect::<Vec<_>>() })
    };
    assert_eq!(intake.deliver(envelope(10_001)).await, 202);
    assert_eq!(intake.jobs().await, 0);
    let kept = quarantined(&intake).await;
    assert_eq!(kept[0]["reason"], "the body has 10001 events, and at most 10000 are read");

    assert_eq!(intake.deliver(envelope(10_000)).await, 202);
    assert_eq!(intake.jobs().await, 10_000);
}

#[tokio::test]
async fn a_hook_takes_posts_only_and_nothing_redirects() {
    let (_place, intake) = nowhere().await;
    for method in ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        for path in ["/hooks/main".to_owned(), format!("/hooks/quay/{URL_SECRET}")] {
            let request = intake.request(method, &path).header("Authorization", HOOK_SECRET);
            let answer = request.send().await.expect("an answer");
            assert_eq!(answer.status(), 405, "{method} {path}");
            assert_eq!(answer.headers()["allow"], "POST", "{method} {path}");
        }
    }
    let unknown = [
        "/",
        "/hooks",
        "/hooks/",
        "/hooks/other",
        "/hooks/other/secret",
        "/hooks/main/",
        "/hooks/main/a/b",
        "//hooks/main",
        "/hooks/%ff",
        "/hooks/main/%ff/x",
        "/metrics",
        "/api/v1/history",
        "/api/v1/publish",
        "/hooks/MAIN",
    ];
    for path in unknown {
        for method in ["GET", "POST"] {
            let answer = intake.request(method, path).header("Authorization", HOOK_SECRET).send().await;
            assert_eq!(answer.expect("an answer").status(), 404, "{method} {path}");
        }
    }
    assert_eq!(intake.jobs().await, 0);
}

#[tokio::test]
async fn event_grid_gets_its_code_and_a_cloud_events_sender_its_permission() {
    let (_place, intake) = nowhere().await;
    let ask = async |secret: &str| {
        let request = intake.request("POST", &format!("/hooks/grid/{secret}"));
        let request = request.header("aeg-event-type", "SubscriptionValidation");
        request.body(sample("acr-eventgrid-validation.json")).send().await.expect("an answer")
    };
    assert_eq!(ask("wrong").await.status(), 401);
    let answer = ask(URL_SECRET).await;
    assert_eq!(
        (answer.status().as_u16(), answer.headers()["content-type"].as_bytes()),
        (200, &b"application/json"[..])
    );
    let expected: Value = serde_json::from_slice(&sample("acr-eventgrid-validation-response.json")).expect("JSON");
    assert_eq!(json_of(answer).await, expected);

    let greet = async |secret: &str| {
        let request = intake.request("OPTIONS", &format!("/hooks/grid/{secret}"));
        request.header("WebHook-Request-Origin", "eventgrid.azure.net").send().await.expect("an answer")
    };
    let answer = greet(URL_SECRET).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["webhook-allowed-origin"], "eventgrid.azure.net");
    assert_eq!(answer.headers()["webhook-allowed-rate"], "120");
    assert_eq!(answer.headers()["allow"], "POST");
    let answer = greet("wrong").await;
    assert_eq!(answer.status(), 405);
    assert!(!answer.headers().contains_key("webhook-allowed-origin"));
}

#[tokio::test]
async fn a_secret_in_the_url_lets_in_and_is_never_logged_nor_is_any_other() {
    let place = Place::new(&sections(NOWHERE));
    let intake = Intake::of(place.serve(&["-vv"])).await;
    let quay = json!({ "repository": "acme/app", "docker_url": "quay.io/acme/app", "updated_tags": ["amd64-1"] });
    for (path, status) in [(format!("/hooks/quay/{URL_SECRET}"), 202), (format!("/hooks/other/{URL_SECRET}"), 404)] {
        let answer = intake.request("POST", &path).body(quay.to_string()).send().await.expect("an answer");
        assert_eq!(answer.status(), status);
    }
    assert_eq!(intake.jobs().await, 1);
    assert_eq!(intake.deliver("neither JSON nor harmless").await, 202);
    let wrong = intake.request("POST", "/hooks/main").header("Authorization", format!("{HOOK_SECRET}-wrong"));
    assert_eq!(wrong.body("x").send().await.expect("an answer").status(), 401);
    let publish = intake.ask("POST", "/api/v1/publish").bearer_auth(ADMIN_TOKEN);
    let body = json!({ "repository": format!("{NOWHERE}/acme/app"), "tag": "1" });
    assert_eq!(publish.body(body.to_string()).send().await.expect("an answer").status(), 202);
    intake.signal("HUP").await;
    intake.logs("again").await;
    eventually("a job has failed", async || (intake.metric("onetag_tags_failing").await > 0).then_some(())).await;

    let seen = [
        intake.metrics().await,
        intake.json("/api/v1/jobs").await.to_string(),
        intake.json("/api/v1/quarantine").await.to_string(),
        intake.json("/api/v1/history").await.to_string(),
        intake.end("TERM").await.expect(0).stderr,
    ];
    for secret in [&HOOK_SECRET[7..], &OTHER_SECRET[7..], URL_SECRET, SIGNING_SECRET, ADMIN_TOKEN] {
        for text in &seen {
            assert!(!text.contains(secret), "`{secret}` is in\n{text}");
        }
    }
}

#[tokio::test]
async fn the_api_refuses_in_problem_json_and_changes_nothing_without_the_token() {
    let (_place, intake) = nowhere().await;
    let good = json!({ "repository": format!("{NOWHERE}/acme/app"), "tag": "1" }).to_string();
    let unserved = json!({ "repository": format!("{NOWHERE}/other/app"), "tag": "1" }).to_string();
    let source = json!({ "repository": format!("{NOWHERE}/acme/app"), "tag": "amd64-1" }).to_string();
    let markup = json!({ "repository": "<script>alert(1)</script>", "tag": "1" }).to_string();
    let long = " ".repeat(MIB);
    let right = format!("Bearer {ADMIN_TOKEN}");
    let cases: [(&str, &str, &str, &str, u16); 16] = [
        ("POST", "/api/v1/publish", "", &good, 401),
        ("POST", "/api/v1/publish", "Bearer wrong", &good, 401),
        ("POST", "/api/v1/publish", ADMIN_TOKEN, &good, 401),
        ("POST", "/api/v1/rollback", "", &good, 401),
        ("POST", "/api/v1/release", "", &good, 401),
        ("POST", "/api/v1/publish", &right, &unserved, 404),
        ("POST", "/api/v1/publish", &right, &source, 404),
        ("POST", "/api/v1/publish", &right, "{", 400),
        ("POST", "/api/v1/publish", &right, "", 400),
        ("POST", "/api/v1/publish", &right, r#"{"repository":"a","tag":"b","force":true}"#, 400),
        ("POST", "/api/v1/publish", &right, &markup, 400),
        ("POST", "/api/v1/publish", &right, &long, 413),
        ("GET", "/api/v1/publish?repository=acme/app&tag=1", &right, &good, 405),
        ("POST", "/metrics", &right, "", 405),
        ("GET", "/api/v1/history?limit=many", "", "", 400),
        ("GET", "/nothing<b>", "", "", 404),
    ];
    for (method, path, token, body, status) in cases {
        // The service may answer and hang up before the body was sent; then it is asked once more.
        let ask = || {
            let request = intake.ask(method, path).header("Authorization", token);
            if method == "GET" { request } else { request.body(body.to_owned()) }.send()
        };
        let answer = match ask().await {
            Ok(answer) => answer,
            Err(_) => ask().await.expect("an answer"),
        };
        let what = format!("{method} {path} {}", body.chars().take(100).collect::<String>());
        assert_eq!(answer.status(), status, "{what}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json", "{what}");
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff", "{what}");
        assert_eq!(answer.headers().contains_key("www-authenticate"), status == 401, "{what}");
        assert_eq!(answer.headers().contains_key("allow"), status == 405, "{what}");
        let problem: Value = json_of(answer).await;
        assert_eq!(problem["status"], status, "{what}");
        assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{what}: {problem}");
    }
    assert_eq!(intake.jobs().await, 0);

    let answer = intake.ask("POST", "/api/v1/publish").bearer_auth(ADMIN_TOKEN).body(good).send().await;
    assert_eq!(answer.expect("an answer").status(), 202);
    assert_eq!(intake.jobs().await, 1);
}

#[tokio::test]
async fn nobody_may_change_anything_where_no_token_is_set() {
    let place = Place::new("");
    let text = "listen = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\ndatabase = \"sqlite://data/onetag.db\"\n";
    std::fs::write(place.path("onetag.toml"), format!("{text}{}", sections(NOWHERE))).expect("a configuration");
    let intake = place.start().await;
    for token in ["", "Bearer ", "Bearer x"] {
        let answer = intake.ask("POST", "/api/v1/publish").header("Authorization", token).body("{}").send().await;
        assert_eq!(answer.expect("an answer").status(), 403, "`{token}`");
    }
}
