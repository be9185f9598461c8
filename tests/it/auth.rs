//! Logging in: every way a registry may ask for it, and what becomes of the login.

use std::time::Duration;

use serde_json::json;

use crate::support::{
    Answer, Auth, Bearer, Cli, Desk, Elsewhere, FakeRegistry, Kind, Play, Ran, Recorded, User, When, onetag, tls,
};

const ARCHES: [&str; 3] = ["amd64", "arm64", "armhf"];

/// A registry with three architectures of `acme/ubuntu:xenial`.
async fn registry(bearer: Bearer) -> FakeRegistry {
    filled(FakeRegistry::builder().bearer(bearer).start().await)
}

async fn basic(name: &str, password: &str) -> FakeRegistry {
    filled(FakeRegistry::builder().basic(name, password).start().await)
}

fn filled(registry: FakeRegistry) -> FakeRegistry {
    for (word, platform) in [("amd64", "linux/amd64"), ("arm64", "linux/arm64"), ("armhf", "linux/arm/v7")] {
        registry.push_image(&format!("acme/ubuntu:{word}-xenial"), platform);
    }
    registry
}

fn publish(registry: &FakeRegistry) -> Cli {
    let repository = registry.repository("acme/ubuntu");
    onetag(["publish", "-r", &repository, "--tag", "xenial", "--arch", &ARCHES.join(","), "--output", "json"])
}

fn publish_as(registry: &FakeRegistry, user: &str, password: &str) -> Cli {
    publish(registry).env("ONETAG_USERNAME", user).env("ONETAG_PASSWORD", password)
}

fn is_published(registry: &FakeRegistry) -> bool {
    registry.platforms("acme/ubuntu:xenial") == ["linux/amd64", "linux/arm64", "linux/arm/v7"]
}

fn code(ran: &Ran) -> String {
    ran.json()["reasons"][0]["code"].as_str().unwrap_or("none").to_owned()
}

fn refused(registry: &FakeRegistry) -> Vec<Recorded> {
    registry.requests().into_iter().filter(|request| request.status == Some(401)).collect()
}

fn with_login(registry: &FakeRegistry) -> Vec<Recorded> {
    registry.requests().into_iter().filter(|request| request.header("authorization").is_some()).collect()
}

/// What `docker login` writes for a user and a password.
fn docker_config(registry: &FakeRegistry, user: &str, password: &str) -> String {
    use base64::Engine as _;
    let auth = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    json!({ "auths": { registry.host(): { "auth": auth } } }).to_string()
}

#[tokio::test]
async fn one_token_serves_a_whole_publish_and_only_the_first_request_is_refused() {
    let registry = registry(Bearer::default()).await;
    publish_as(&registry, "user", "secret").arg("--also").arg("16.04").run().await.expect(0);

    assert!(is_published(&registry));
    assert_eq!(registry.count(Kind::Token), 1);
    assert_eq!(refused(&registry).len(), 1, "the others should wait for what the first one learns");
    let asked = registry.requests_of(Kind::Token)[0].parameters();
    let asked = |name: &str| asked.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    assert_eq!(asked("scope").as_deref(), Some("repository:acme/ubuntu:pull,push"));
    assert_eq!(asked("service").as_deref(), Some("fake"));
    assert_eq!(asked("account").as_deref(), Some("user"));
}

#[tokio::test]
async fn several_tags_share_one_token() {
    let registry = registry(Bearer::default()).await;
    registry.push_image("acme/ubuntu:amd64-bionic", "linux/amd64");
    let ran = publish_as(&registry, "user", "secret").arg("--tag").arg("bionic").run().await;
    ran.expect(0);
    assert_eq!(registry.platforms("acme/ubuntu:bionic"), ["linux/amd64"]);
    assert_eq!(registry.count(Kind::Token), 1);
}

#[tokio::test]
async fn a_dry_run_asks_for_no_right_to_push() {
    let registry = registry(Bearer::default()).await;
    publish_as(&registry, "user", "secret").arg("--dry-run").run().await.expect(0);
    assert_eq!(registry.requests_of(Kind::Token)[0].parameters()[1].1, "repository:acme/ubuntu:pull");
    assert_eq!(registry.writes(), 0);
}

#[tokio::test]
async fn a_stranger_reads_what_is_public_and_is_told_to_log_in_for_the_rest() {
    let registry = registry(Bearer { has_anonymous_pull: true, ..Bearer::default() }).await;
    publish(&registry).arg("--dry-run").run().await.expect(0);
    assert_eq!(registry.count(Kind::Token), 1, "the first of the parallel requests should fetch it for all");

    let ran = publish(&registry).run().await.expect(4);
    assert_eq!(code(&ran), "denied");
    assert!(ran.stderr.contains("PUT http://"), "{}", ran.stderr);
    assert!(ran.stderr.contains("hint: run `docker login`"), "{}", ran.stderr);

    registry.set_auth(Auth::Bearer(Bearer::default()));
    let ran = publish(&registry).run().await.expect(4);
    assert_eq!(code(&ran), "no-credentials");
}

#[tokio::test]
async fn every_form_of_challenge_is_answered() {
    let standard = r#"Bearer realm="{realm}",service="{service}",scope="{scope}""#;
    let forms: [&[&str]; 9] = [
        &["Negotiate", standard],
        &[r#"Negotiate, Bearer realm="{realm}",service="{service}",scope="{scope}""#],
        &[r#"Basic realm="x", Bearer realm="{realm}",service="{service}",scope="{scope}""#],
        &[standard, r#"Basic realm="x""#],
        &["Bearer realm={realm}, service={service}"],
        &[r#"bearer REALM="{realm}""#],
        &[r#"Bearer error="invalid_token", realm="{realm}",service="say \"hello\"""#],
        &[r#"Bearer realm="/token",service="{service}""#],
        &[r#"Bearer realm="{realm}",service="{service}",scope="""#],
    ];
    for lines in forms {
        let challenges = Some(lines.iter().map(|line| (*line).to_owned()).collect());
        let registry = registry(Bearer { challenges, ..Bearer::default() }).await;
        let desk = Desk::at(&registry.repository("acme/ubuntu")).arch(&ARCHES).login("user", "secret");
        desk.publish("xenial").await.unwrap_or_else(|error| panic!("{lines:?}: {error:?}"));
        assert!(is_published(&registry), "{lines:?}");
        assert_eq!(registry.count(Kind::Token), 1, "{lines:?}");
    }
}

#[tokio::test]
async fn a_challenge_that_comes_only_from_the_root_is_fetched_there() {
    let registry = registry(Bearer { is_challenge_on_ping_only: true, ..Bearer::default() }).await;
    registry.on(When::kind(Kind::Ping).once(), Play::status(503));
    publish_as(&registry, "user", "secret").run().await.expect(0);
    assert!(is_published(&registry));
    assert_eq!((registry.count(Kind::Ping), registry.count(Kind::Token)), (2, 1));
}

#[tokio::test]
async fn what_the_registry_demands_is_asked_for_first() {
    let registry = registry(Bearer { is_first_scope_only: true, ..Bearer::default() }).await;
    publish_as(&registry, "user", "secret").run().await.expect(0);
    assert!(is_published(&registry));
    assert_eq!(registry.count(Kind::Token), 1);
}

#[tokio::test]
async fn a_registry_that_says_nothing_useful_with_its_refusal_is_named_as_such() {
    for (challenge, expected) in [
        ("Negotiate", "the registry accepts only `negotiate`; expected Basic or Bearer"),
        ("Bearer service=\"x\"", "the registry asks for a token without saying where to get one"),
    ] {
        let challenges = Some(vec![challenge.to_owned()]);
        let registry = registry(Bearer { challenges, ..Bearer::default() }).await;
        let ran = publish_as(&registry, "user", "secret").run().await.expect(4);
        assert!(ran.stderr.contains(expected), "{}", ran.stderr);
    }
    let registry = registry(Bearer { challenges: Some(Vec::new()), ..Bearer::default() }).await;
    let ran = publish_as(&registry, "user", "secret").run().await.expect(4);
    assert!(ran.stderr.contains("without saying what login it expects"), "{}", ran.stderr);
}

#[tokio::test]
async fn a_realm_elsewhere_never_hears_from_us() {
    let elsewhere = Elsewhere::answering(|_| Answer::json(200, &json!({ "token": "caught" }))).await;
    for realm in [
        elsewhere.url("/token"),
        "http://10.0.0.1/token".to_owned(),
        "http://169.254.169.254/latest/meta-data".to_owned(),
        "http://0.0.0.0:{port}/token".to_owned(),
        "http://[::1]:{port}/token".to_owned(),
        "http://user:secret@{host}/token".to_owned(),
        "ftp://{host}/token".to_owned(),
    ] {
        let registry = registry(Bearer { realm: realm.clone(), ..Bearer::default() }).await;
        let ran = publish_as(&registry, "user", "secret").run().await.expect(4);
        assert_eq!(code(&ran), "realm-refused", "{realm}");
        assert!(ran.stderr.contains("asks to send the login to"), "{}", ran.stderr);
        assert!(ran.stderr.contains("--token-realm-host"), "{}", ran.stderr);
        assert!(with_login(&registry).is_empty(), "{realm}");
        assert_eq!(registry.digest("acme/ubuntu:xenial"), None);
    }
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn a_realm_without_tls_is_refused_by_a_registry_with_tls() {
    let elsewhere = Elsewhere::start("{}").await;
    let ca = tls::Ca::new("onetag test");
    let pair = ca.issue("127.0.0.1");
    let bearer = Bearer { realm: elsewhere.url("/token"), ..Bearer::default() };
    let builder = FakeRegistry::builder().bearer(bearer).tls(&pair.certificate_pem, &pair.key_pem);
    let registry = filled(builder.start().await);
    let host = elsewhere.host();
    let cli = publish_as(&registry, "user", "secret").home_file("ca.pem", &ca.certificate_pem);
    // Naming the host does not help: the login would still travel in the clear.
    let ran = cli.arg("--ca-file").arg("ca.pem").arg("--token-realm-host").arg(host).run().await.expect(4);
    assert_eq!(code(&ran), "realm-refused");
    assert!(ran.stderr.contains("it is not https, though the registry is"), "{}", ran.stderr);
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn a_realm_elsewhere_is_used_when_its_host_is_named() {
    let bearer = Bearer { realm: "http://localhost:{port}/token".to_owned(), ..Bearer::default() };
    let registry = registry(bearer).await;
    let ran = publish_as(&registry, "user", "secret").run().await.expect(4);
    assert_eq!((code(&ran).as_str(), registry.count(Kind::Token)), ("realm-refused", 0));

    publish_as(&registry, "user", "secret").arg("--token-realm-host").arg("localhost").run().await.expect(0);
    assert!(is_published(&registry));
}

#[tokio::test]
async fn a_token_server_may_move_within_its_home_and_no_further() {
    let registry = registry(Bearer::default()).await;
    registry.on(
        When::kind(Kind::Token).once(),
        Play::redirect(307, "/token?service=fake&scope=repository:acme/ubuntu:pull,push"),
    );
    publish_as(&registry, "user", "secret").run().await.expect(0);
    assert!(is_published(&registry));

    let elsewhere = Elsewhere::start(r#"{"token":"caught"}"#).await;
    for target in [elsewhere.url("/token?x=1"), "http://169.254.169.254/token".to_owned()] {
        let registry = self::registry(Bearer::default()).await;
        registry.on(When::kind(Kind::Token), Play::redirect(302, &target));
        let ran = publish_as(&registry, "user", "secret").run().await.expect(4);
        assert_eq!(code(&ran), "realm-refused");
        assert_eq!(registry.count(Kind::Token), 1);
    }
    assert_eq!(elsewhere.connections(), 0);

    // Named by the operator, it may be asked; the password stays at home.
    let registry = self::registry(Bearer::default()).await;
    registry.on(When::kind(Kind::Token), Play::redirect(302, &elsewhere.url("/token")));
    publish_as(&registry, "user", "secret").arg("--token-realm-host").arg(elsewhere.host()).run().await.expect(4);
    assert_eq!(elsewhere.requests().len(), 1);
    assert_eq!(elsewhere.requests()[0].header("authorization"), None);
}

#[tokio::test]
async fn either_name_of_a_token_is_read_and_the_newer_one_wins() {
    let forms: [fn(&str) -> serde_json::Value; 4] = [
        |token| json!({ "access_token": token }),
        |token| json!({ "token": token, "unknown": { "a": [1] } }),
        |token| json!({ "token": "wrong", "access_token": token }),
        |token| json!({ "token": token, "access_token": "" }),
    ];
    for form in forms {
        let registry = registry(Bearer::default().answering(move |token| Answer::json(200, &form(token)))).await;
        publish_as(&registry, "user", "secret").run().await.expect(0);
        assert!(is_published(&registry));
    }
}

#[tokio::test]
async fn a_lifetime_is_believed_only_if_it_makes_sense() {
    for lifetime in [json!(0), json!(-7), json!(1e18), json!(null), json!(59.5)] {
        let answer = json!({ "expires_in": lifetime });
        let bearer = Bearer::default().answering(move |token| {
            let mut answer = answer.clone();
            answer["token"] = token.into();
            Answer::json(200, &answer)
        });
        let registry = registry(bearer).await;
        publish_as(&registry, "user", "secret").run().await.expect(0);
        assert_eq!(registry.count(Kind::Token), 1, "{lifetime}");
    }
    let bearer = Bearer::default().answering(|t| Answer::json(200, &json!({ "token": t, "expires_in": "soon" })));
    let ran = publish_as(&registry(bearer).await, "user", "secret").run().await.expect(4);
    assert!(ran.stderr.contains("the token server sent something that is not a token in JSON"), "{}", ran.stderr);
}

#[tokio::test]
async fn an_answer_that_is_no_token_ends_it_and_is_not_repeated_to_anybody() {
    let deep = format!("{}1{}", r#"{"token":"#.repeat(100_000), "}".repeat(100_000));
    for (body, expected) in [
        ("<html>canary-of-the-token-server</html>".to_owned(), "something that is not a token in JSON"),
        (String::new(), "something that is not a token in JSON"),
        (r#"{"token":"","canary-of-the-token-server":1}"#.to_owned(), "an answer without a token"),
        (r#"{"token":"canary-of-the-token-server\nX-Evil: 1"}"#.to_owned(), "a secret that no header can carry"),
        ("x".repeat(10 << 20), "more than 131072 bytes"),
        (deep[..100_000].to_owned(), "something that is not a token in JSON"),
    ] {
        let bearer = Bearer::default().answering(move |_| Answer::with_body(200, "application/json", body.clone()));
        let registry = registry(bearer).await;
        let ran = publish_as(&registry, "user", "secret").arg("-vv").run().await.expect(4);
        assert_eq!(code(&ran), "auth-failed");
        assert!(ran.stderr.contains(expected), "{expected}\n{}", ran.stderr);
        assert!(!ran.stderr.contains("canary") && !ran.stdout.contains("canary"), "{}", ran.stderr);
        assert_eq!(registry.count(Kind::Token), 1, "{expected}");
    }
}

#[tokio::test]
async fn a_token_that_ends_before_the_write_is_renewed_and_the_index_written_once() {
    // Four manifests and three configs are read with the first token.
    let registry = registry(Bearer { token_uses: Some(7), ..Bearer::default() }).await;
    publish_as(&registry, "user", "secret").run().await.expect(0);
    assert!(is_published(&registry));
    assert_eq!(registry.count(Kind::Token), 2);
    let puts: Vec<_> = registry.requests_of(Kind::PutManifest).iter().map(|put| put.status).collect();
    assert_eq!(puts, [Some(401), Some(201)]);
}

#[tokio::test]
async fn while_the_token_server_is_unwell_everything_else_waits() {
    for play in [|| Play::status(503), || Play::too_many_requests("0"), || Play::Reset] {
        let registry = registry(Bearer::default()).await;
        registry.on(When::kind(Kind::Token).times(3), play());
        let desk = Desk::at(&registry.repository("acme/ubuntu")).arch(&ARCHES).login("user", "secret");
        desk.publish("xenial").await.expect("it should publish once the token server is well");

        let tokens = registry.requests_of(Kind::Token);
        assert_eq!(tokens.len(), 4);
        let got_it = tokens[3].answered.expect("an answer");
        for pair in tokens.windows(2) {
            assert!(pair[0].answered < Some(pair[1].arrived), "one fetch is under way at a time");
        }
        let meanwhile = registry.requests().into_iter().filter(|r| r.kind != Kind::Token && r.arrived < got_it);
        assert_eq!(meanwhile.count(), 1, "only the request that was challenged should have been sent");
    }
}

#[tokio::test]
async fn a_token_server_that_stays_unwell_is_unwell_and_not_a_wrong_login() {
    let registry = registry(Bearer::default()).await;
    registry.on(When::kind(Kind::Token), Play::error(503, "UNAVAILABLE", "down for maintenance"));
    let ran = publish_as(&registry, "user", "secret").run().await.expect(5);
    assert!(ran.stderr.contains("the token server failed (503 UNAVAILABLE: down for maintenance)"), "{}", ran.stderr);
    assert_eq!(registry.count(Kind::Token), 5);
}

#[tokio::test]
async fn a_wrong_password_is_tried_once_however_many_requests_want_in() {
    let registry = registry(Bearer::default()).await;
    let ran = publish_as(&registry, "user", "wrong").arg("--tag").arg("bionic").run().await.expect(4);
    assert_eq!(registry.count(Kind::Token), 1);
    assert!(ran.stderr.contains("the login was refused (401 UNAUTHORIZED: incorrect username or password)"));
    assert!(ran.stderr.contains("hint: run `docker login`"), "{}", ran.stderr);

    let registry = basic("user", "secret").await;
    let ran = publish_as(&registry, "user", "wrong").arg("--tag").arg("bionic").run().await.expect(4);
    assert_eq!(with_login(&registry).len(), 1);
    assert!(ran.stderr.contains("the login was refused (401 UNAUTHORIZED: authentication required)"));
    assert!(ran.stderr.contains("hint: run `docker login`"), "{}", ran.stderr);
}

#[tokio::test]
async fn a_password_is_tried_once_even_where_reading_needs_none() {
    let registry = filled(FakeRegistry::start().await);
    registry.push_image("acme/ubuntu:amd64-bionic", "linux/amd64");
    let put = || When::kind(Kind::PutManifest);
    let refusal = Play::Status {
        code: 401,
        headers: vec![("WWW-Authenticate".to_owned(), "Basic realm=\"x\"".to_owned())],
        body: Vec::new(),
    };
    registry.on(put(), refusal);
    publish_as(&registry, "user", "wrong").arg("--tag").arg("bionic").run().await.expect(4);
    assert_eq!(with_login(&registry).len(), 1);
}

#[tokio::test]
async fn a_password_goes_with_every_request_once_it_is_known_to_be_right() {
    let registry = basic("user", "secret").await;
    publish_as(&registry, "user", "secret").run().await.expect(0);
    assert!(is_published(&registry));
    assert_eq!(refused(&registry).len(), 1);
    assert_eq!(registry.count(Kind::Ping) + registry.count(Kind::Token), 0);
}

#[tokio::test]
async fn requests_do_not_queue_behind_one_that_gets_no_answer() {
    // It hangs from the start, or once it has asked for a password.
    for hangs in [When::any(), When::any().authorized()] {
        let registry = basic("user", "secret").await;
        registry.on(hangs, Play::Hang);
        let words = ["amd64", "arm64", "armhf", "armel", "i386", "ppc64el", "riscv64", "s390x", "mips64el"];
        let mut desk = Desk::at(&registry.repository("acme/ubuntu")).arch(&words).login("user", "secret");
        let deadline = Duration::from_secs(1);
        desk.settings.deadline = deadline;
        // Two tries one after the other are one deadline; ten requests in a queue would be ten halves.
        let result = tokio::time::timeout(deadline * 4, desk.publish("xenial")).await.expect("nobody queues");
        assert_eq!(result.expect_err("nothing answers").code(), "timed-out");
    }
}

#[tokio::test]
async fn a_password_that_was_refused_is_not_sent_again() {
    let registry = basic("user", "secret").await;
    registry.on(
        When::kind(Kind::PutManifest),
        Play::Status {
            code: 401,
            headers: vec![("WWW-Authenticate".to_owned(), "Basic realm=\"x\"".to_owned())],
            body: Vec::new(),
        },
    );
    let ran = publish_as(&registry, "user", "secret").run().await.expect(4);
    assert!(ran.stderr.contains("the login was refused (401)"), "{}", ran.stderr);
    assert_eq!(registry.count(Kind::PutManifest), 1);
}

#[tokio::test]
async fn a_helper_is_asked_again_when_its_password_has_run_out() {
    let registry = basic("AWS", "old").await;
    let lasts = registry.clone();
    registry.on(
        When::kind(Kind::PutManifest).once(),
        Play::run(move |_| lasts.set_auth(Auth::Basic(vec![User::new("AWS", "new")]))),
    );
    registry.on(
        When::kind(Kind::PutManifest).once(),
        Play::Status {
            code: 401,
            headers: vec![("WWW-Authenticate".to_owned(), "Basic realm=\"x\"".to_owned())],
            body: Vec::new(),
        },
    );
    let helper = r#"#!/bin/sh
        secret=new; [ -e "$HOME/asked" ] || secret=old
        : > "$HOME/asked"
        printf '{"Username":"AWS","Secret":"%s"}' "$secret"
    "#;
    with_helper(publish(&registry), helper).run().await.expect(0);
    assert!(is_published(&registry));
    let puts: Vec<_> = registry.requests_of(Kind::PutManifest).iter().map(|put| put.status).collect();
    assert_eq!(puts, [Some(401), Some(201)]);
}

/// A home whose docker login asks this script.
fn with_helper(cli: Cli, script: &str) -> Cli {
    let cli = cli.home_file(".docker/config.json", r#"{"credsStore":"test"}"#);
    let cli = cli.home_file("bin/docker-credential-test", script);
    let program = cli.home_path("bin/docker-credential-test");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&program, mode).expect("a program");
    let path = format!("{}:/usr/bin:/bin", program.parent().expect("a folder").display());
    cli.env("PATH", path)
}

#[tokio::test]
async fn logins_are_found_where_docker_and_podman_keep_them() {
    let file = |registry: &FakeRegistry| docker_config(registry, "user", "secret");
    type Place = fn(Cli, String) -> Cli;
    let places: [Place; 5] = [
        |cli, file| cli.home_file(".docker/config.json", file),
        |cli, file| cli.home_file(".config/containers/auth.json", file),
        |cli, file| cli.home_file("run/containers/auth.json", file).env_home("XDG_RUNTIME_DIR", "run"),
        |cli, file| cli.home_file("elsewhere/config.json", file).env_home("DOCKER_CONFIG", "elsewhere"),
        |cli, file| cli.home_file("logins", file).env_home("REGISTRY_AUTH_FILE", "logins"),
    ];
    for place in places {
        let registry = registry(Bearer::default()).await;
        place(publish(&registry), file(&registry)).run().await.expect(0);
        assert!(is_published(&registry));
    }
    let registry = registry(Bearer::default()).await;
    let helper = r#"#!/bin/sh
        read -r server
        [ "$1" = get ] && [ -n "$server" ] && printf '{"Username":"user","Secret":"secret"}'
    "#;
    with_helper(publish(&registry), helper).run().await.expect(0);
    assert!(is_published(&registry));
}

#[tokio::test]
async fn a_helper_that_misbehaves_ends_the_run_and_its_secret_stays_its_own() {
    for (script, expected) in [
        ("#!/bin/sh\necho hunter2-canary >&2; exit 1\n", "failed for 127.0.0.1"),
        ("#!/bin/sh\nyes hunter2-canary | head -c 104857600\n", "it wrote more than 65536 bytes"),
        ("#!/bin/sh\nprintf '{\"Secret\":\"hunter2-canary\"}'\n", "it has a secret without a user name"),
        ("#!/bin/sh\nprintf '{\"Username\":\"a:b\",\"Secret\":\"hunter2-canary\"}'\n", "has a `:`"),
        ("#!/bin/sh\nprintf 'hunter2-canary'\n", "expected a JSON object"),
    ] {
        let registry = registry(Bearer::default()).await;
        let ran = with_helper(publish(&registry), script).arg("-vv").run().await.expect(3);
        assert!(ran.stderr.contains(expected), "{}", ran.stderr);
        assert!(!ran.stderr.contains("canary") && !ran.stdout.contains("canary"), "{}", ran.stderr);
        assert_eq!(registry.count(Kind::Token), 0);
    }
}

#[tokio::test]
async fn an_identity_token_is_posted_and_where_that_is_unknown_sent_as_a_password() {
    let refresh_tokens = vec![("identity".to_owned(), "user".to_owned())];
    let posted = Bearer { refresh_tokens, ..Bearer::default() };
    let config = |registry: &FakeRegistry, auth: &str| {
        json!({ "auths": { registry.host(): { "auth": auth, "identitytoken": "identity" } } }).to_string()
    };
    let registry = registry(posted.clone()).await;
    publish(&registry).home_file(".docker/config.json", config(&registry, "")).run().await.expect(0);
    assert!(is_published(&registry));
    let [token] = registry.requests_of(Kind::Token).try_into().expect("one token");
    assert_eq!((token.method.as_str(), token.query.as_str()), ("POST", ""));

    for status in [400, 401, 404, 405] {
        let users = vec![User::new("user", "identity")];
        let registry = self::registry(Bearer { users, post_status: Some(status), ..Bearer::default() }).await;
        let config = config(&registry, "dXNlcjo="); // user:
        publish(&registry).home_file(".docker/config.json", config).run().await.expect(0);
        let methods: Vec<_> = registry.requests_of(Kind::Token).into_iter().map(|token| token.method).collect();
        assert_eq!(methods, ["POST", "GET"], "{status}");
    }

    // Without a name there is no other way, and nobody is asked as a stranger instead.
    let registry = self::registry(Bearer { has_anonymous_pull: true, ..Bearer::default() }).await;
    let helper = "#!/bin/sh\nprintf '{\"Username\":\"<token>\",\"Secret\":\"stale\"}'\n";
    let ran = with_helper(publish(&registry), helper).run().await.expect(4);
    assert!(ran.stderr.contains("the login was refused"), "{}", ran.stderr);
    assert_eq!(registry.count(Kind::Token), 1);
}

#[tokio::test]
async fn odd_user_names_arrive_as_they_are_and_a_colon_is_refused_beforehand() {
    for name in ["robot$push", "org+robot", "jürgen", "a b&c=d%20", "oauth2accesstoken"] {
        for password in ["secret", "pa:ss wörd$&+%"] {
            let registry = registry(Bearer { users: vec![User::new(name, password)], ..Bearer::default() }).await;
            publish_as(&registry, name, password).run().await.expect(0);
            let account = registry.requests_of(Kind::Token)[0].parameters().into_iter().find(|(k, _)| k == "account");
            assert_eq!(account.map(|(_, value)| value).as_deref(), Some(name));
        }
        let registry = basic(name, "secret").await;
        publish_as(&registry, name, "secret").run().await.expect(0);
    }
    let registry = basic("a:b", "secret").await;
    let ran = publish_as(&registry, "a:b", "secret").run().await.expect(3);
    assert!(ran.stderr.contains("the user name in the settings has a `:`"), "{}", ran.stderr);
    assert_eq!(registry.requests().len(), 0);
}

#[tokio::test]
async fn an_account_that_may_only_read_is_told_what_it_lacks() {
    let users = vec![User::pull_only("user", "secret")];
    let builders = [
        FakeRegistry::builder().basic_users(users.clone()),
        FakeRegistry::builder().bearer(Bearer { users, ..Bearer::default() }),
    ];
    for builder in builders {
        let registry = filled(builder.start().await);
        let ran = publish_as(&registry, "user", "secret").run().await.expect(4);
        assert_eq!((code(&ran).as_str(), &ran.json()["decision"]), ("denied", &json!("held")));
        assert!(ran.stderr.contains("the account needs `pull,push` on acme/ubuntu"), "{}", ran.stderr);
        assert!(registry.writes() <= 2);
        assert_eq!(registry.digest("acme/ubuntu:xenial"), None);
    }
}

#[tokio::test]
async fn a_password_can_come_from_standard_input() {
    let registry = basic("user", "secret").await;
    publish(&registry).arg("--username").arg("user").arg("--password-stdin").stdin("secret\r\n").run().await.expect(0);
    assert!(is_published(&registry));
    let ran = publish(&registry).arg("--username").arg("user").run().await.expect(3);
    assert!(ran.stderr.contains("there is no password for `user`"), "{}", ran.stderr);
}
