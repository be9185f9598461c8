//! What a network does to requests: redirects, waits, half answers, proxies.

use std::time::Duration;

use crate::support::{Answer, Bearer, Cli, Desk, Elsewhere, FakeRegistry, Image, Kind, Play, Ran, When, onetag, raw};

/// A registry with two architectures of `acme/ubuntu:xenial`.
async fn registry() -> FakeRegistry {
    filled(FakeRegistry::start().await)
}

fn filled(registry: FakeRegistry) -> FakeRegistry {
    registry.push_image("acme/ubuntu:amd64-xenial", "linux/amd64");
    registry.push_image("acme/ubuntu:arm64-xenial", "linux/arm64");
    registry
}

fn publish_at(repository: &str) -> Cli {
    onetag(["publish", "-r", repository, "--tag", "xenial", "--output", "json"])
}

fn publish(registry: &FakeRegistry) -> Cli {
    publish_at(&registry.repository("acme/ubuntu"))
}

fn desk(registry: &FakeRegistry) -> Desk {
    Desk::at(&registry.repository("acme/ubuntu")).arch(&["amd64", "arm64"])
}

fn is_published(registry: &FakeRegistry) -> bool {
    registry.platforms("acme/ubuntu:xenial") == ["linux/amd64", "linux/arm64"]
}

#[track_caller]
fn assert_failed(ran: &Ran, registry: &FakeRegistry, code: &str, text: &str) {
    assert_eq!(ran.json()["reasons"][0]["code"], code, "{}", ran.stderr);
    assert_eq!(ran.json()["decision"], "held");
    assert!(ran.stderr.contains(text), "`{text}` is not in:\n{}", ran.stderr);
    assert_eq!(registry.digest("acme/ubuntu:xenial"), None);
}

/// Object storage that holds the blobs of a registry.
async fn storage(registry: &FakeRegistry) -> Elsewhere {
    let registry = registry.clone();
    Elsewhere::answering(move |request| {
        let digest = request.path.trim_start_matches('/');
        let bytes = registry.blob("acme/ubuntu", digest).unwrap_or_default();
        Answer::with_body(200, "application/octet-stream", bytes)
    })
    .await
}

/// Sends every read of a blob to where `target` says.
fn redirect_blobs(registry: &FakeRegistry, status: u16, target: impl Fn(&str) -> String) {
    for arch in ["amd64", "arm64"] {
        let manifest = registry.json(&format!("acme/ubuntu:{arch}-xenial"));
        let digest = manifest["config"]["digest"].as_str().expect("a digest");
        registry.on(When::kind(Kind::Blob).tag(digest), Play::redirect(status, &target(digest)));
    }
}

#[tokio::test]
async fn configs_in_object_storage_are_fetched_without_our_login() {
    for status in [301, 302, 303, 307, 308] {
        let registry = filled(FakeRegistry::builder().bearer(Bearer::default()).start().await);
        let storage = storage(&registry).await;
        redirect_blobs(&registry, status, |digest| storage.url(&format!("/{digest}?X-Amz-Signature=s1gned")));
        let cli = publish(&registry).env("ONETAG_USERNAME", "user").env("ONETAG_PASSWORD", "secret");
        cli.run().await.expect(0);
        assert!(is_published(&registry));
        let requests = storage.requests();
        assert_eq!(requests.len(), 2);
        for request in requests {
            let mut sent: Vec<&str> = request.headers.keys().map(|name| name.as_str()).collect();
            sent.sort_unstable();
            assert_eq!(sent, ["accept", "accept-encoding", "host", "user-agent"], "it needs to know no more");
            assert_eq!(request.query, "X-Amz-Signature=s1gned");
        }
    }
}

#[tokio::test]
async fn a_login_that_was_left_behind_is_not_picked_up_on_the_way_back() {
    let registry = filled(FakeRegistry::builder().basic("user", "secret").start().await);
    let back = registry.clone();
    let elsewhere = Elsewhere::answering(move |request| {
        Answer::new(307).header("Location", &back.url(&format!("/v2/acme/ubuntu/blobs{}?back", request.path)))
    })
    .await;
    registry.on(When::kind(Kind::Blob).containing("?back"), Play::status(401));
    redirect_blobs(&registry, 307, |digest| elsewhere.url(&format!("/{digest}")));
    let error = desk(&registry).login("user", "secret").publish("xenial").await.expect_err("nobody lets it in");
    assert!(error.to_string().contains("was sent on to a storage that refused it (401)"), "{error}");
    let back: Vec<_> = registry.requests().into_iter().filter(|request| request.query == "back").collect();
    assert!(!back.is_empty() && back.iter().all(|request| request.header("authorization").is_none()));
}

#[tokio::test]
async fn a_signed_url_that_has_expired_is_asked_for_anew() {
    let registry = registry().await;
    let storage = storage(&registry).await;
    let expired = Elsewhere::answering(|_| Answer::with_body(403, "application/xml", "<Error>expired</Error>")).await;
    registry.on(When::kind(Kind::Blob).times(2), Play::redirect(307, &expired.url("/x")));
    redirect_blobs(&registry, 307, |digest| storage.url(&format!("/{digest}")));
    desk(&registry).publish("xenial").await.expect("the second URL is good");
    assert!(is_published(&registry));
    assert_eq!((expired.requests().len(), storage.requests().len()), (2, 2));
}

#[tokio::test]
async fn a_redirect_that_must_not_be_followed_is_refused_by_name() {
    let elsewhere = Elsewhere::start("{}").await;
    for (target, why) in [
        ("ftp://127.0.0.1/x", "it is neither https nor http"),
        ("http://169.254.169.254/latest/meta-data", "it is a link-local or unspecified address"),
        ("http://0.0.0.0:80/", "it is a link-local or unspecified address"),
        ("http://[fe80::1]/", "it is a link-local or unspecified address"),
        ("http://a:b@127.0.0.1/", "it carries a user name or password"),
        ("http://[", "that is not a URL"),
    ] {
        let registry = registry().await;
        registry.on(When::kind(Kind::Blob), Play::redirect(307, target));
        let ran = publish(&registry).run().await.expect(5);
        assert_failed(&ran, &registry, "redirect-refused", why);
        assert!(registry.count(Kind::Blob) <= 2, "a redirect that is refused is not asked for again");
    }
    for kind in [Kind::GetManifest, Kind::Tags, Kind::PutManifest] {
        let registry = registry().await;
        registry.on(When::kind(kind), Play::redirect(307, &elsewhere.url("/v2/acme/ubuntu/x?signed=s1gned")));
        let ran = publish(&registry).run().await.expect(5);
        assert_failed(&ran, &registry, "redirect-refused", "was redirected to http://127.0.0.1:");
        assert!(!ran.stderr.contains("s1gned"), "{}", ran.stderr);
    }
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn a_redirect_loop_ends() {
    let registry = registry().await;
    let home = registry.url("/v2/acme/ubuntu/manifests/amd64-xenial");
    registry.on(When::kind(Kind::GetManifest).tag("amd64-xenial"), Play::redirect(302, &home));
    let ran = publish(&registry).run().await.expect(5);
    assert_failed(&ran, &registry, "redirect-refused", "there were too many before it");
    let hops = registry.requests_of(Kind::GetManifest).into_iter().filter(|get| get.path.ends_with("amd64-xenial"));
    assert_eq!(hops.count(), 6);
}

#[tokio::test]
async fn a_redirect_within_the_registry_keeps_the_login() {
    let registry = filled(FakeRegistry::builder().basic("user", "secret").start().await);
    let moved = "/v2/acme/ubuntu/manifests/amd64-xenial?moved";
    registry.on(When::kind(Kind::GetManifest).tag("amd64-xenial").authorized().once(), Play::redirect(307, moved));
    desk(&registry).login("user", "secret").publish("xenial").await.expect("it is all one registry");
    assert!(is_published(&registry));
}

#[tokio::test]
async fn a_registry_that_moved_to_tls_is_named_as_such() {
    let registry = registry().await;
    let target = format!("https://127.0.0.1:{}/v2/acme/ubuntu/tags/list", registry.port());
    registry.on(When::kind(Kind::Tags), Play::redirect(301, &target));
    let ran = publish(&registry).run().await.expect(5);
    assert_failed(&ran, &registry, "redirect-refused", "the registry is at home behind TLS; do not ask for plain HTTP");
}

#[tokio::test]
async fn an_answer_that_trickles_in_has_a_deadline() {
    let registry = registry().await;
    registry.on(When::kind(Kind::GetManifest), Play::Slow);
    let ran = publish(&registry).arg("--timeout").arg("600ms").run().await.expect(5);
    assert_failed(&ran, &registry, "timed-out", "got no complete answer within 600ms");
}

#[tokio::test]
async fn an_answer_that_never_comes_is_asked_for_once_more() {
    let registry = registry().await;
    registry.on(When::kind(Kind::Tags).once(), Play::Hang);
    publish(&registry).arg("--timeout").arg("1s").run().await.expect(0);
    assert!(is_published(&registry));
}

#[tokio::test]
async fn waiting_for_a_free_place_is_not_waiting_for_an_answer() {
    let registry = FakeRegistry::builder().delay(Duration::from_millis(60)).start().await;
    for number in 0..12 {
        registry.push_image(&format!("acme/ubuntu:amd64-{number}"), "linux/amd64");
    }
    let mut desk = Desk::at(&registry.repository("acme/ubuntu")).arch(&["amd64"]);
    desk.settings.concurrency = 1;
    desk.settings.deadline = Duration::from_millis(400);
    let desk = desk.open();
    let publishing = (0..12).map(|number| {
        let desk = &desk;
        async move { desk.publish(&number.to_string()).await.map(|_| ()) }
    });
    // All together they take far longer than any one of them may.
    futures_util::future::try_join_all(publishing).await.expect("each answer comes in time");
}

#[tokio::test]
async fn every_form_of_please_wait_is_understood() {
    for form in ["0", "-5", "soon", "", "Sun, 06 Nov 1994 08:49:37 GMT", "18446744073709551616"] {
        let registry = registry().await;
        registry.on(When::kind(Kind::GetManifest).times(2), Play::too_many_requests(form));
        registry.on(When::kind(Kind::PutManifest).once(), Play::too_many_requests(form));
        desk(&registry).publish("xenial").await.unwrap_or_else(|error| panic!("{form}: {error}"));
        assert!(is_published(&registry));
        assert_eq!(registry.count(Kind::PutManifest), 2);
    }
}

#[tokio::test]
async fn while_a_registry_asks_for_quiet_nothing_is_sent_to_it_and_people_are_told() {
    let registry = registry().await;
    registry.on(When::kind(Kind::Tags), Play::Delay(Duration::from_millis(200)));
    registry.on(When::kind(Kind::GetManifest).tag("amd64-xenial").once(), Play::too_many_requests("1"));
    registry.set_delay(Duration::from_millis(50));
    // What is required is asked for first and told to wait, while the listing is under way. Its
    // second try comes when the quiet ends, and nothing that the listing leads to comes before.
    let ran = publish(&registry).arg("--require").arg("amd64").arg("--timeout").arg("900ms").arg("-v");
    let ran = ran.run().await.expect(0);
    assert!(is_published(&registry));
    let tries: Vec<_> = registry.requests_of(Kind::GetManifest);
    let again = tries.iter().filter(|get| get.path.ends_with("/amd64-xenial")).nth(1).expect("a second try");
    let blobs = registry.requests_of(Kind::Blob);
    assert!(blobs.iter().all(|blob| blob.arrived > again.arrived), "the images were not left alone");
    assert!(ran.stderr.contains("was put off"), "{}", ran.stderr);
}

#[tokio::test]
async fn lengths_and_encodings_that_lie_are_noticed() {
    let registry = registry().await;
    registry.on(When::kind(Kind::GetManifest), Play::Header("Content-Encoding".to_owned(), "gzip".to_owned()));
    let ran = publish(&registry).run().await.expect(5);
    assert_failed(&ran, &registry, "not-a-registry", "an encoded body, which was not asked for");

    // A body that is cut short by its own `Content-Length`, and one that never ends.
    let head = "HTTP/1.1 200 OK\r\nConnection: close\r\n";
    let short = raw::answering(format!("{head}Content-Length: 5\r\n\r\n{{\"os\":\"linux\"}}").into_bytes()).await;
    let long = raw::answering(format!("{head}\r\n{}", "x".repeat(1 << 20)).into_bytes()).await;
    for (host, code) in [(short, "size-mismatch"), (long, "size-mismatch")] {
        let registry = self::registry().await;
        registry.on(When::kind(Kind::Blob), Play::redirect(307, &format!("http://{host}/blob")));
        let ran = publish(&registry).run().await.expect(6);
        assert_failed(&ran, &registry, code, "");
    }
    let registry = self::registry().await;
    let promising = raw::answering(format!("{head}Content-Length: 999999\r\n\r\nx").into_bytes()).await;
    registry.on(When::kind(Kind::Blob), Play::redirect(307, &format!("http://{promising}/blob")));
    let error = desk(&registry).publish("xenial").await.expect_err("it never comes");
    assert_eq!(error.code(), "unreachable");
    assert_eq!(registry.digest("acme/ubuntu:xenial"), None);
}

#[tokio::test]
async fn a_header_that_never_ends_is_not_read_to_its_end() {
    let registry = registry().await;
    let bomb = raw::answering(format!("HTTP/1.1 200 OK\r\nX-Bomb: {}", "x".repeat(16 << 20)).into_bytes()).await;
    registry.on(When::kind(Kind::Blob), Play::redirect(307, &format!("http://{bomb}/blob")));
    let mut desk = desk(&registry);
    desk.settings.deadline = Duration::from_secs(60);
    let error = desk.publish("xenial").await.expect_err("nobody reads that");
    assert_eq!(error.code(), "unreachable");
}

#[tokio::test]
async fn what_is_larger_than_anything_of_its_kind_is_not_read() {
    for (kind, bytes, exit, code) in
        [(Kind::GetManifest, (4 << 20) + 1, 6, "too-large"), (Kind::Blob, 20 << 20, 6, "size-mismatch")]
    {
        let registry = registry().await;
        let below = if kind == Kind::Blob { "/blobs/" } else { "/manifests/a" };
        registry.on(When::kind(kind).containing(below), Play::Body(vec![b' '; bytes]));
        let ran = publish(&registry).run().await.expect(exit);
        assert_failed(&ran, &registry, code, "");
    }
}

#[tokio::test]
async fn a_registry_without_head_or_digests_is_read_by_get() {
    let registry = filled(FakeRegistry::builder().without_head().start().await);
    publish(&registry).run().await.expect(0);
    assert!(is_published(&registry));

    let registry = self::registry().await;
    registry.on(When::any(), Play::NoDigestHeader);
    publish(&registry).run().await.expect(0);
    assert!(is_published(&registry));
    let fresh = registry.requests_of(Kind::GetManifest).into_iter().filter(|get| get.header("cache-control").is_some());
    assert_eq!(fresh.count(), 3, "what is read back must come from the registry itself");
}

#[tokio::test]
async fn a_registry_that_is_behind_is_waited_for_and_written_once() {
    let registry = filled(FakeRegistry::builder().stale_reads(4).start().await);
    desk(&registry).publish("xenial").await.expect("it is served in the end");
    assert_eq!(registry.count(Kind::PutManifest), 1);

    registry.push_image("acme/ubuntu:arm64-xenial", "linux/arm64");
    desk(&registry).publish("xenial").await.expect("the older index gives way in the end");
    assert_eq!(registry.count(Kind::PutManifest), 2);
    assert_eq!(registry.children("acme/ubuntu:xenial")[1], registry.digest("acme/ubuntu:arm64-xenial").expect("it"));

    let registry = filled(FakeRegistry::builder().stale_reads(1_000_000).start().await);
    let error = desk(&registry).publish("xenial").await.expect_err("it is never served");
    assert_eq!((error.code(), error.left_the_tag_alone()), ("not-served", false));
    assert!(
        error.to_string().contains("but nothing is still served") || error.to_string().contains("nothing"),
        "{error}"
    );
    assert_eq!(registry.count(Kind::PutManifest), 1);
}

#[tokio::test]
async fn a_proxy_is_used_for_other_hosts_and_never_for_this_machine() {
    let registry = registry().await;
    let by_name = || publish_at("registry.test/acme/ubuntu").arg("--plain-http").arg("--timeout").arg("5s");
    by_name().env("HTTP_PROXY", registry.url("")).run().await.expect(0);
    assert!(is_published(&registry));
    assert_eq!(registry.requests()[0].header("host").as_deref(), Some("registry.test"));

    let proxy = Elsewhere::start("{}").await;
    publish(&registry).env("HTTP_PROXY", proxy.url("")).env("ALL_PROXY", proxy.url("")).run().await.expect(0);
    let direct = by_name().env("HTTP_PROXY", proxy.url("")).env("NO_PROXY", "registry.test").run().await.expect(5);
    assert!(direct.stderr.contains("got no answer"), "{}", direct.stderr);
    assert_eq!(proxy.connections(), 0);
}

#[tokio::test]
async fn an_ipv6_registry_is_reached_by_its_address() {
    let registry = filled(
        FakeRegistry::builder().bearer(Bearer { realm: "/token".to_owned(), ..Bearer::default() }).start().await,
    );
    let host = raw::forward("[::1]:0", registry.host()).await.expect("this machine speaks IPv6");
    let auths = format!(r#"{{"auths":{{"{host}":{{"username":"user","password":"secret"}}}}}}"#);
    publish_at(&format!("{host}/acme/ubuntu")).home_file(".docker/config.json", auths).run().await.expect(0);
    assert!(is_published(&registry));
}

#[tokio::test]
async fn a_name_that_nobody_knows_and_a_port_that_nobody_serves_read_well() {
    let ran = publish_at("registry.invalid/acme/ubuntu").arg("--timeout").arg("1s").run().await.expect(5);
    assert!(ran.stderr.contains("got no answer: "), "{}", ran.stderr);
    assert!(ran.stderr.contains("hint: what is published is as it was; run again"), "{}", ran.stderr);

    let registry = registry().await;
    registry.stop().await;
    let ran = publish(&registry).run().await.expect(5);
    assert_failed(&ran, &registry, "unreachable", "Connection refused");
}

#[tokio::test]
async fn an_image_of_many_layers_costs_no_more_than_any_other() {
    let registry = registry().await;
    let layers = (0..200).map(|number: u32| number.to_be_bytes().to_vec().into()).collect();
    registry.push("acme/ubuntu:amd64-xenial", &Image::new("linux/amd64").layers(layers));
    desk(&registry).publish("xenial").await.expect("layers are not read");
    assert_eq!(registry.count(Kind::Blob), 2);
}
