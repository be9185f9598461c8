//! Stories about logins, told with folders and helpers made for each test.

mod helpers;

use std::error::Error as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

const CONFIG: &str = ".docker/config.json";

/// A home folder with login files and helpers of its own.
struct Home {
    folder: TempDir,
}

impl Home {
    fn new() -> Home {
        Home { folder: tempfile::tempdir().expect("tests may make folders") }
    }

    /// A home folder where docker's `config.json` is `document`.
    fn with(document: Value) -> Home {
        Home::new().file(CONFIG, &document.to_string())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn file(self, name: &str, content: &str) -> Home {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("every file has a folder")).expect("a folder");
        std::fs::write(path, content).expect("a file");
        self
    }

    /// Puts `docker-credential-<name>` on the PATH, as a shell script.
    fn helper(self, name: &str, script: &str) -> Home {
        let home = self.file("bin/source", &format!("#!/bin/sh\n{script}\n"));
        // A program we had open for writing cannot be run while another test is starting one.
        let target = home.path(&format!("bin/docker-credential-{name}"));
        let status = Command::new("install").args(["-m", "755"]).arg(home.path("bin/source")).arg(target).status();
        assert!(status.expect("`install` is everywhere").success());
        home
    }

    fn environment(&self) -> Environment {
        let mut path = self.path("bin").into_os_string();
        path.push(":/usr/bin:/bin");
        Environment { home: Some(self.folder.path().to_owned()), path: Some(path), ..Environment::default() }
    }

    async fn find(&self, image: &str) -> Result<String, CredentialsError> {
        find(self.environment(), image).await
    }

    async fn error(&self, image: &str) -> CredentialsError {
        self.find(image).await.expect_err("the login should not be usable")
    }

    async fn knows(&self, image: &str) -> bool {
        let (host, path) = image.split_once('/').expect("an image has a host and a path");
        Keychain::of_environment(self.environment()).knows(host, path).await
    }
}

async fn find(environment: Environment, image: &str) -> Result<String, CredentialsError> {
    let (host, path) = image.split_once('/').expect("an image has a host and a path");
    Keychain::of_environment(environment).find(host, path).await.map(|found| tell(&found))
}

/// What was found, secrets and all, in a form to compare.
fn tell(credentials: &Credentials) -> String {
    match credentials {
        Credentials::Anonymous => "anonymous".to_owned(),
        Credentials::Basic { username, password } => format!("basic {username} {}", password.expose_secret()),
        Credentials::IdentityToken { username, token } => {
            format!("identity {} {}", username.as_deref().unwrap_or("?"), token.expose_secret())
        }
        Credentials::RegistryToken(token) => format!("bearer {}", token.expose_secret()),
    }
}

fn auth(pair: &str) -> Value {
    json!({ "auth": STANDARD.encode(pair) })
}

/// An error as a reader gets it: the whole chain.
fn chain(error: &CredentialsError) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

#[tokio::test]
async fn a_given_pair_is_for_every_registry_and_none_is_for_no_one() {
    let given = Keychain::given("jürgen".into(), "pa$s+w:rd".into()).expect("a good pair");
    for host in ["docker.io", "127.0.0.1:5000"] {
        assert_eq!(tell(&given.find(host, "a/b").await.expect("it is given")), "basic jürgen pa$s+w:rd");
        assert!(given.knows(host, "a/b").await);
    }
    let none = Keychain::none();
    assert_eq!(tell(&none.find("docker.io", "a/b").await.expect("nothing to fail")), "anonymous");
    assert!(!none.knows("docker.io", "a/b").await);
}

#[test]
fn a_given_user_name_with_a_colon_is_refused_without_repeating_it() {
    let error = Keychain::given("user:hunter2".into(), "x".into()).expect_err("Basic cannot carry it");
    assert_eq!(
        error.to_string(),
        "the user name in the settings has a `:`, expected one that Basic authentication can carry"
    );
    assert!(error.hint().is_some());
}

#[test]
fn the_basic_header_is_utf_8_and_only_a_pair_has_one() {
    let pair = Credentials::Basic { username: "jürgen".into(), password: "pa$s+w:ö".into() };
    let header = pair.basic_header().expect("a pair has a header");
    assert_eq!(header.expose_secret(), "Basic asO8cmdlbjpwYSRzK3c6w7Y=");

    let token = Credentials::IdentityToken { username: None, token: "t".into() };
    for other in [Credentials::Anonymous, token, Credentials::RegistryToken("t".into())] {
        assert!(other.basic_header().is_none());
    }
}

#[test]
fn debug_prints_no_secret() {
    let keychain = Keychain::given("user".into(), "hunter2".into()).expect("a good pair");
    let token = Credentials::IdentityToken { username: None, token: "hunter2".into() };
    let bearer = Credentials::RegistryToken("hunter2".into());
    let printed = format!("{keychain:?} {token:?} {bearer:?} {:?}", Credentials::basic_header(&bearer));
    assert!(!printed.contains("hunter2"), "{printed}");
    assert!(printed.contains("user"));
}

#[tokio::test]
async fn files_are_asked_in_the_order_that_podman_asks_them() {
    let files = [
        ("runtime/containers/auth.json", "runtime"),
        ("run/containers/0/auth.json", "run"),
        ("config/containers/auth.json", "xdg"),
        (".config/containers/auth.json", "dot-config"),
        ("docker/config.json", "docker"),
        (".docker/config.json", "dot-docker"),
    ];
    let mut home = Home::new();
    for (name, user) in files {
        let document = json!({ "auths": { "reg.test": auth(&format!("{user}:p")) } });
        home = home.file(name, &document.to_string());
    }
    let mut environment = Environment {
        xdg_runtime_dir: Some(home.path("runtime")),
        run_containers: Some(home.path("run/containers/0")),
        xdg_config_home: Some(home.path("config")),
        docker_config: Some(home.path("docker")),
        ..home.environment()
    };
    let found = async |environment: &Environment| find(environment.clone(), "reg.test/a").await.expect("a login");

    assert_eq!(found(&environment).await, "basic runtime p");
    environment.xdg_runtime_dir = None;
    assert_eq!(found(&environment).await, "basic run p");
    environment.xdg_runtime_dir = Some(home.path("nowhere"));
    assert_eq!(found(&environment).await, "basic xdg p");
    environment.xdg_config_home = None;
    assert_eq!(found(&environment).await, "basic dot-config p");
    environment.xdg_config_home = Some(home.path("nowhere"));
    assert_eq!(found(&environment).await, "basic docker p");
    environment.docker_config = None;
    assert_eq!(found(&environment).await, "basic dot-docker p");
    environment.home = None;
    assert_eq!(found(&environment).await, "anonymous");
}

#[tokio::test]
async fn registry_auth_file_is_the_only_file_and_need_not_exist() {
    let home = Home::with(json!({ "auths": { "reg.test": auth("docker:p") } }))
        .file("only.json", &json!({ "auths": { "other.test": auth("only:p") } }).to_string());
    for (name, image, expected) in [
        ("only.json", "other.test/a", "basic only p"),
        ("only.json", "reg.test/a", "anonymous"),
        ("nowhere.json", "reg.test/a", "anonymous"),
    ] {
        let environment = Environment { registry_auth_file: Some(home.path(name)), ..home.environment() };
        assert_eq!(find(environment, image).await.expect("a readable file"), expected);
    }
}

#[test]
fn the_process_has_an_environment() {
    let environment = Environment::from_process();
    assert_eq!(environment.helper_timeout, HELPER_TIMEOUT);
    assert!(!environment.login_files().is_empty());
    #[cfg(target_os = "linux")]
    assert!(environment.run_containers.expect("Linux has /proc").starts_with("/run/containers"));
}

#[test]
fn a_file_that_two_variables_point_at_is_read_once() {
    let folder = Some(PathBuf::from("/same"));
    let environment =
        Environment { xdg_runtime_dir: folder.clone(), xdg_config_home: folder, ..Environment::default() };
    assert_eq!(environment.login_files(), [PathBuf::from("/same/containers/auth.json")]);
}

#[tokio::test]
async fn no_file_an_empty_file_and_a_home_that_is_no_folder_are_all_no_login() {
    assert_eq!(Home::new().find("reg.test/a").await.expect("no error"), "anonymous");
    for empty in ["", "\n", "{}", r#"{"auths": null, "credHelpers": null, "credsStore": null}"#] {
        let home = Home::new().file(CONFIG, empty);
        assert_eq!(home.find("reg.test/a").await.expect("no error"), "anonymous");
        assert!(!home.knows("reg.test/a").await);
    }
    let environment = Environment { home: Some("/dev/null".into()), ..Environment::default() };
    assert_eq!(find(environment, "reg.test/a").await.expect("no error"), "anonymous");
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_an_error_unless_an_earlier_one_answered() {
    let home = Home::new()
        .file(".config/containers/auth.json", &json!({ "auths": { "reg.test": auth("u:p") } }).to_string())
        .file(".docker/config.json/in-the-way", "");
    assert_eq!(home.find("reg.test/a").await.expect("the first file answered"), "basic u p");

    let error = home.error("other.test/a").await;
    assert_eq!(error.to_string(), format!("cannot read the logins in {}", home.path(CONFIG).display()));
    assert!(chain(&error).contains("directory"), "{}", chain(&error));
    assert!(error.hint().is_some());
    assert!(home.knows("other.test/a").await, "find should get to report it");
}

#[tokio::test]
async fn a_file_that_is_not_json_is_an_error_with_its_place_and_none_of_its_content() {
    for (content, expected) in [
        ("{\n  \"auths\": hunter2", "line 2, column 12: found something that is not JSON"),
        ("{\n\"auths\": {", "line 2, column 10: found the end of the file"),
        ("{\"auths\": \"hunter2\"}", "line 1, column 19: found a value of the wrong kind"),
    ] {
        let home = Home::new().file(CONFIG, content);
        let error = chain(&home.error("reg.test/a").await);
        assert_eq!(
            error,
            format!("{}, {expected}, expected logins as docker and podman write them", home.path(CONFIG).display())
        );
    }
}

#[tokio::test]
async fn a_file_that_never_ends_is_an_error() {
    let environment = Environment { registry_auth_file: Some("/dev/zero".into()), ..Environment::default() };
    let error = find(environment, "reg.test/a").await.expect_err("too long");
    assert_eq!(error.to_string(), "/dev/zero has more than 4194304 bytes, expected a file of logins");
}

#[tokio::test]
async fn every_kind_of_entry_is_understood() {
    let acr = "00000000-0000-0000-0000-000000000000:";
    for (entry, expected) in [
        (auth("user:pa:ss:"), "basic user pa:ss:"),
        (auth("jürgen:pa$s+"), "basic jürgen pa$s+"),
        (auth("user:pass\0\0"), "basic user pass"),
        (json!({ "auth": "dXNlcjpwYXNzMQ", "email": 1 }), "basic user pass1"),
        (json!({ "username": "user", "password": "pass" }), "basic user pass"),
        (json!({ "auth": "", "username": "user", "password": "pass" }), "basic user pass"),
        (json!({ "auth": STANDARD.encode("right:one"), "username": "wrong", "password": "one" }), "basic right one"),
        (json!({ "auth": STANDARD.encode("u:p"), "identitytoken": "" }), "basic u p"),
        (json!({ "auth": STANDARD.encode("u:p"), "identitytoken": null, "registrytoken": null }), "basic u p"),
        (json!({ "identitytoken": "idt" }), "identity ? idt"),
        (json!({ "auth": "!", "identitytoken": "idt" }), "identity ? idt"),
        (
            json!({ "auth": STANDARD.encode(acr), "identitytoken": "idt" }),
            "identity 00000000-0000-0000-0000-000000000000 idt",
        ),
        (json!({ "registrytoken": "rt", "identitytoken": "idt" }), "bearer rt"),
        (json!({ "auth": "" }), "anonymous"),
        (json!({ "auth": null }), "anonymous"),
        (json!({ "username": "user" }), "anonymous"),
        (json!({}), "anonymous"),
        (Value::Null, "anonymous"),
    ] {
        let home = Home::with(json!({ "auths": { "reg.test": entry }, "HttpHeaders": { "a": "b" } }));
        assert_eq!(home.find("reg.test/a").await.expect("a good entry"), expected, "{entry}");
        assert_eq!(home.knows("reg.test/a").await, expected != "anonymous", "{entry}");
    }
}

#[tokio::test]
async fn an_entry_without_a_login_leaves_the_answer_to_the_next_best() {
    let home = Home::with(json!({ "auths": {
        "reg.test/org/repo": null,
        "reg.test/org": { "auth": "" },
        "https://reg.test/v2/": auth("u:p"),
    }}));
    assert_eq!(home.find("reg.test/org/repo").await.expect("a login"), "basic u p");
}

#[tokio::test]
async fn a_repository_may_have_a_login_of_its_own() {
    let home = Home::with(json!({ "auths": {
        "quay.io": auth("host:p"), "quay.io/org": auth("org:p"), "quay.io/org/repo": auth("repo:p"),
    }}));
    for (image, expected) in [
        ("quay.io/org/repo", "basic repo p"),
        ("quay.io/org/other", "basic org p"),
        ("quay.io/organ/repo", "basic host p"),
        ("quay.io:443/org/repo", "anonymous"),
    ] {
        assert_eq!(home.find(image).await.expect("good entries"), expected);
    }
}

#[tokio::test]
async fn a_broken_entry_is_an_error_only_when_it_is_the_one_needed() {
    for (entry, problem) in [
        (json!({ "auth": "hunter2!" }), "`auth` is not base64"),
        (auth("hunter2"), "`auth` is base64 of something else than `user:password`"),
        (json!({ "auth": ["hunter2"] }), "expected every field of a login to be text"),
        (json!("hunter2"), "expected an object"),
    ] {
        let home = Home::with(json!({ "auths": { "bad.test": entry, "reg.test": auth("u:p") } }));
        assert_eq!(home.find("reg.test/a").await.expect("the good entry"), "basic u p");
        assert!(home.knows("bad.test/a").await);
        assert_eq!(
            chain(&home.error("bad.test/a").await),
            format!("the login for `bad.test` in {} cannot be used: {problem}", home.path(CONFIG).display())
        );
    }
}

#[tokio::test]
async fn a_user_name_with_a_colon_is_an_error_wherever_it_comes_from() {
    let entry = json!({ "username": "user:hunter2", "password": "hunter2" });
    let home = Home::with(json!({ "auths": { "reg.test": entry }, "credHelpers": { "other.test": "fake" } }))
        .helper("fake", r#"echo '{"Username": "user:hunter2", "Secret": "hunter2"}'"#);
    for image in ["reg.test/a", "other.test/a"] {
        let error = home.error(image).await;
        assert!(matches!(error, CredentialsError::ColonInUsername { .. }), "{error}");
        assert!(!format!("{error:?} {error}").contains("hunter2"));
    }
}
