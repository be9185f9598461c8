//! Canaries: whatever succeeds or fails, and however much is logged, no secret is in what we write,
//! and none reaches a host that it is not for.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::support::tls::Ca;
use crate::support::{
    Answer, Auth, Bearer, Cli, Elsewhere, FakeRegistry, Kind, LinkForm, Play, Recorded, User, When, onetag,
};

const USER: &str = "robot7";
const PASSWORD: &str = "pass-CANARY word";
const IDENTITY: &str = "identity-CANARY";
const SIGNATURE: &str = "signature-CANARY";

/// Everything that must stay unsaid, in every form it takes on its way.
fn needles() -> Vec<String> {
    let basic = |secret: &str| STANDARD.encode(format!("{USER}:{secret}"));
    let mut needles = vec!["CANARY".to_owned(), format!("-{USER}"), "word".to_owned()];
    needles.extend([PASSWORD, IDENTITY].into_iter().flat_map(|secret| [basic(secret), STANDARD.encode(secret)]));
    needles
}

fn has_secret(text: &str) -> Option<String> {
    // "password" is a word that may be said.
    let text = text.replace("password", "");
    needles().into_iter().find(|needle| text.contains(needle))
}

fn everything(request: &Recorded) -> String {
    format!("{} {:?} {}", request.line(), request.headers, String::from_utf8_lossy(&request.body))
}

fn bearer() -> Bearer {
    // A token is named after its user, and so is a canary as well.
    let refresh_tokens = vec![(IDENTITY.to_owned(), USER.to_owned())];
    Bearer { users: vec![User::new(USER, PASSWORD)], refresh_tokens, ..Bearer::default() }
}

async fn registry(auth: Auth) -> FakeRegistry {
    let registry = FakeRegistry::start().await;
    registry.set_auth(auth);
    filled(registry)
}

fn filled(registry: FakeRegistry) -> FakeRegistry {
    registry.push_image("acme/ubuntu:amd64-xenial", "linux/amd64");
    registry.push_image("acme/ubuntu:arm64-xenial", "linux/arm64");
    registry
}

fn publish(registry: &FakeRegistry) -> Cli {
    onetag(["publish", "-r", &registry.repository("acme/ubuntu"), "--tag", "xenial", "-vv", "--timeout", "900ms"])
}

fn with_password(cli: Cli) -> Cli {
    cli.env("ONETAG_USERNAME", USER).env("ONETAG_PASSWORD", PASSWORD)
}

fn with_helper(cli: Cli, script: &str) -> Cli {
    let cli = cli.home_file(".docker/config.json", r#"{"credsStore":"test"}"#);
    let cli = cli.home_file("bin/docker-credential-test", format!("#!/bin/sh\n{script}\n"));
    let program = cli.home_path("bin/docker-credential-test");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&program, mode).expect("a program");
    let path = format!("{}:/usr/bin:/bin", program.parent().expect("a folder").display());
    cli.env("PATH", path)
}

/// Runs with logs for people and for programs, and looks through all that was written.
async fn run(what: &str, exit: i32, cli: impl Fn() -> Cli) {
    for (log, output) in [("text", "json"), ("json", "text")] {
        let ran = cli().arg("--log-format").arg(log).arg("--output").arg(output).run().await.expect(exit);
        for said in [&ran.stdout, &ran.stderr] {
            assert_eq!(has_secret(said), None, "{what}:\n{said}");
        }
        assert!(ran.stderr.contains("answered") || ran.stderr.contains("error"), "{what}: this log shows nothing");
    }
}

fn assert_unseen(what: &str, elsewhere: &Elsewhere) {
    for request in elsewhere.requests() {
        // The signature is for the storage; our logins are not.
        let seen = everything(&request).replace(SIGNATURE, "");
        assert_eq!(has_secret(&seen), None, "{what}: {seen}");
    }
}

#[tokio::test]
async fn logins_that_work_are_not_spoken_of() {
    let basic = || Auth::Basic(vec![User::new(USER, PASSWORD)]);
    for (what, auth) in [("basic", basic()), ("bearer", Auth::Bearer(bearer()))] {
        let registry = registry(auth).await;
        run(what, 0, || with_password(publish(&registry))).await;
        let seen: String = registry.requests().iter().map(everything).collect();
        assert!(has_secret(&seen).is_some(), "{what}: the canaries should have been sent to the registry itself");
    }

    let registry = registry(Auth::Bearer(bearer())).await;
    let config = json!({ "auths": { registry.host(): { "identitytoken": IDENTITY } } }).to_string();
    run("identity token", 0, || publish(&registry).home_file(".docker/config.json", &config)).await;
    let helper = format!("printf '{{\"Username\":\"{USER}\",\"Secret\":\"{PASSWORD}\"}}'");
    run("helper", 0, || with_helper(publish(&registry), &helper)).await;
    let helper = format!("printf '{{\"Username\":\"<token>\",\"Secret\":\"{IDENTITY}\"}}'");
    run("helper with an identity token", 0, || with_helper(publish(&registry), &helper)).await;
    let config = json!({ "auths": { registry.host(): { "registrytoken": "bearer-CANARY" } } }).to_string();
    run("a bearer token that is refused", 4, || publish(&registry).home_file(".docker/config.json", &config)).await;
}

#[tokio::test]
async fn logins_that_fail_are_not_spoken_of() {
    let others = || vec![User::new(USER, "another")];
    for (what, auth) in [
        ("basic", Auth::Basic(others())),
        ("bearer", Auth::Bearer(Bearer { users: others(), ..bearer() })),
        ("no push", Auth::Bearer(Bearer { users: vec![User::pull_only(USER, PASSWORD)], ..bearer() })),
        (
            "a realm with a password",
            Auth::Bearer(Bearer { realm: "http://a:CANARY@{host}/token".to_owned(), ..bearer() }),
        ),
        (
            "a realm with a query",
            Auth::Bearer(Bearer { realm: "http://10.0.0.1/token?x=CANARY".to_owned(), ..bearer() }),
        ),
        ("no realm", Auth::Bearer(Bearer { challenges: Some(vec!["Bearer x=CANARY".to_owned()]), ..bearer() })),
    ] {
        let registry = registry(auth).await;
        run(what, 4, || with_password(publish(&registry))).await;
    }
    for (what, play, exit) in [
        ("reset", || Play::Reset, 5),
        ("hang", || Play::Hang, 5),
        ("a page", || Play::Html, 4),
        ("unwell", || Play::status(503), 5),
        ("a redirect", || Play::redirect(307, "http://127.0.0.1:1/token?x=CANARY"), 4),
    ] as [(&str, fn() -> Play, i32); 5]
    {
        let registry = registry(Auth::Bearer(bearer())).await;
        registry.on(When::kind(Kind::Token), play());
        run(what, exit, || with_password(publish(&registry))).await;
    }
}

#[tokio::test]
async fn login_files_and_helpers_that_fail_are_not_quoted() {
    let registry = registry(Auth::Bearer(bearer())).await;
    for (what, config) in [
        ("not JSON", format!(r#"{{"auths":{{"x":{{"auth":"{IDENTITY}"#)),
        ("a wrong kind", format!(r#"{{"auths":"{IDENTITY}"}}"#)),
        ("not base64", json!({ "auths": { registry.host(): { "auth": IDENTITY } } }).to_string()),
        ("not text", json!({ "auths": { registry.host(): { "auth": [IDENTITY] } } }).to_string()),
    ] {
        run(what, 3, || publish(&registry).home_file(".docker/config.json", &config)).await;
    }
    for script in [
        format!("echo '{IDENTITY}' >&2; exit 1"),
        format!("echo '{IDENTITY}'; exit 1"),
        format!("echo '{IDENTITY}'"),
        format!("printf '{{\"Username\":\"a:b\",\"Secret\":\"{IDENTITY}\"}}'"),
        format!("yes '{IDENTITY}'"),
    ] {
        run(&script, 3, || with_helper(publish(&registry), &script)).await;
    }
    let ran = publish(&registry).env("ONETAG_USERNAME", "a:b").env("ONETAG_PASSWORD", PASSWORD).run().await.expect(3);
    assert_eq!(has_secret(&ran.stderr), None, "{}", ran.stderr);
}

#[tokio::test]
async fn signed_addresses_are_shown_without_what_is_signed() {
    let storage = Elsewhere::answering(|_| Answer::with_body(403, "text/plain", "no")).await;
    let signed = |place: &str| format!("{place}?X-Amz-Signature={SIGNATURE}");
    for (what, kind, target) in [
        ("refused by the storage", Kind::Blob, signed(&storage.url("/blob"))),
        ("nobody there", Kind::Blob, signed("http://127.0.0.1:1/blob")),
        ("no such name", Kind::Blob, signed("http://storage.invalid/blob")),
        ("no TLS there", Kind::Blob, signed(&storage.url("/blob").replace("http:", "https:"))),
        ("a private place", Kind::Blob, signed("http://169.254.169.254/blob")),
        ("a password in it", Kind::Blob, format!("http://robot:{SIGNATURE}@127.0.0.1/blob")),
        ("a manifest", Kind::GetManifest, signed(&storage.url("/manifest"))),
        ("a write", Kind::PutManifest, signed(&storage.url("/manifest"))),
        ("a listing", Kind::Tags, signed(&storage.url("/tags"))),
        ("no address", Kind::Blob, format!("http://[{SIGNATURE}")),
    ] {
        let registry = registry(Auth::Bearer(bearer())).await;
        registry.on(When::kind(kind).authorized(), Play::redirect(307, &target));
        run(what, 5, || with_password(publish(&registry))).await;
        assert_unseen(what, &storage);
    }
    assert!(!storage.requests().is_empty(), "the storage should have been asked, without our login");

    let builder = FakeRegistry::builder().bearer(bearer());
    let link = format!("<http://elsewhere.invalid/v2/acme/ubuntu/tags/list?last={SIGNATURE}>; rel=next");
    let registry = filled(builder.tag_pages(1, LinkForm::Raw(link)).start().await);
    run("a page elsewhere", 5, || with_password(publish(&registry))).await;
}

#[tokio::test]
async fn a_storage_that_works_sees_no_login_and_its_signature_is_not_logged() {
    let registry = registry(Auth::Bearer(bearer())).await;
    let blobs = registry.clone();
    let storage = Elsewhere::answering(move |request| {
        let bytes = blobs.blob("acme/ubuntu", request.path.trim_start_matches('/')).unwrap_or_default();
        Answer::with_body(200, "application/octet-stream", bytes)
    })
    .await;
    for arch in ["amd64", "arm64"] {
        let manifest = registry.json(&format!("acme/ubuntu:{arch}-xenial"));
        let digest = manifest["config"]["digest"].as_str().expect("a digest");
        let target = storage.url(&format!("/{digest}?X-Amz-Signature={SIGNATURE}"));
        registry.on(When::kind(Kind::Blob).tag(digest), Play::redirect(307, &target));
    }
    run("storage", 0, || with_password(publish(&registry))).await;
    assert_unseen("storage", &storage);
    assert_eq!(storage.requests().len(), 4);
}

#[tokio::test]
async fn a_host_that_only_claims_to_be_the_registry_gets_no_login() {
    let ca = Ca::new("our CA");
    let elsewhere = Ca::new("another CA");
    let pair = elsewhere.issue("127.0.0.1");
    let impostor =
        Elsewhere::answering_tls(&pair, None, |_| Answer::new(401).header("WWW-Authenticate", "Basic")).await;
    let repository = format!("{}/acme/ubuntu", impostor.host());
    let cli = || {
        let cli = onetag(["publish", "-r", &repository, "--tag", "xenial", "-vv", "--ca-file", "ca.pem"]);
        with_password(cli.home_file("ca.pem", &ca.certificate_pem))
    };
    run("an impostor", 5, cli).await;
    assert!(impostor.requests().is_empty());
}
