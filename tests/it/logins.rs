//! Where logins are kept: files of docker and podman, helpers, the environment, standard input.

use serde_json::json;

use crate::auth::{basic, is_published, publish, publish_as, registry};
use crate::support::{Auth, Bearer, Cli, FakeRegistry, Kind, Play, User, When};

/// What `docker login` writes for a user and a password.
fn docker_config(registry: &FakeRegistry, user: &str, password: &str) -> String {
    use base64::Engine as _;
    let auth = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    json!({ "auths": { registry.host(): { "auth": auth } } }).to_string()
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
async fn a_password_can_come_from_standard_input() {
    let registry = basic("user", "secret").await;
    publish(&registry).arg("--username").arg("user").arg("--password-stdin").stdin("secret\r\n").run().await.expect(0);
    assert!(is_published(&registry));
    let ran = publish(&registry).arg("--username").arg("user").run().await.expect(3);
    assert!(ran.stderr.contains("there is no password for `user`"), "{}", ran.stderr);
}
