//! Credential helpers: which is asked, and what becomes of those that misbehave.

use super::*;

#[tokio::test]
async fn a_helper_is_asked_by_the_name_it_knows_a_registry_by() {
    let home = Home::with(json!({ "credsStore": "echo" }))
        .helper("echo", r#"printf '{"ServerURL":"","Username":"%s","Secret":"%s"}' "$1" "$(cat | tr : _)""#);
    for (image, expected) in [
        ("docker.io/library/ubuntu", "basic get https_//index.docker.io/v1/"),
        ("registry-1.docker.io/library/ubuntu", "basic get https_//index.docker.io/v1/"),
        ("reg.test:5000/a", "basic get reg.test_5000"),
        ("[::1]:5000/a", "basic get [__1]_5000"),
    ] {
        assert_eq!(home.find(image).await.expect("the helper answers"), expected);
    }
}

#[tokio::test]
async fn a_registrys_own_helper_goes_before_the_store_and_the_store_before_the_file() {
    let home = Home::with(json!({
        "auths": { "own.test": auth("file:p"), "plain.test": auth("file:p"), "store.test": auth("file:p") },
        "credHelpers": { "own.test": "own", "plain.test": "", "null.test": null, "*.eu.own.test": "own" },
        "credsStore": "store",
    }))
    .helper("own", r#"echo '{"Username": "own", "Secret": "s"}'"#)
    .helper("store", r#"echo '{"Username": "store", "Secret": "s"}'"#);
    for (image, expected) in [
        ("own.test/a", "basic own s"),
        ("a.eu.own.test/a", "basic own s"),
        ("store.test/a", "basic store s"),
        ("other.test/a", "basic store s"),
        ("null.test/a", "basic store s"),
        ("plain.test/a", "basic file p"),
    ] {
        assert_eq!(home.find(image).await.expect("good helpers"), expected, "{image}");
    }
}

#[tokio::test]
async fn docker_hubs_helper_is_found_under_any_of_its_names() {
    for key in ["https://index.docker.io/v1/", "docker.io", "index.docker.io"] {
        let home = Home::with(json!({ "credHelpers": { key: "hub" } }))
            .helper("hub", r#"echo '{"Username": "<token>", "Secret": "s"}'"#);
        assert_eq!(home.find("docker.io/library/a").await.expect("it answers"), "identity ? s");
    }
}

#[tokio::test]
async fn a_helper_without_a_login_leaves_the_answer_to_the_file_and_then_to_the_next_file() {
    let message = "credentials not found in native keychain";
    for script in [
        format!("echo '{message}'; exit 1"),
        format!("echo '{message}' >&2; exit 1"),
        r#"echo '{"ServerURL": "", "Username": "", "Secret": ""}'"#.to_owned(),
    ] {
        let home = Home::with(json!({ "auths": { "last.test": auth("last:p") } }))
            .file(
                ".config/containers/auth.json",
                &json!({ "auths": { "reg.test": auth("u:p"), "last.test": {} }, "credsStore": "fake" }).to_string(),
            )
            .helper("fake", &script);
        assert_eq!(home.find("reg.test/a").await.expect("no error"), "basic u p");
        assert_eq!(home.find("last.test/a").await.expect("no error"), "basic last p");
        assert_eq!(home.find("other.test/a").await.expect("no error"), "anonymous");
    }
}

#[tokio::test]
async fn a_helper_that_fails_is_named_and_nothing_it_said_is_repeated() {
    let home = Home::with(json!({ "auths": { "reg.test": auth("u:p") }, "credsStore": "fake" }))
        .helper("fake", "echo hunter2; echo hunter2 >&2; exit 1");
    let error = home.error("reg.test/a").await;
    assert_eq!(chain(&error), "the credential helper `docker-credential-fake` failed for reg.test (exit status: 1)");
    assert!(error.hint().is_some());
    assert!(!format!("{error:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_helper_that_answers_nonsense_is_an_error_that_does_not_quote_it() {
    for (answer, problem) in [
        ("hunter2", "expected a JSON object with the texts `Username` and `Secret`"),
        (
            r#"{"Username": "u", "Secret": ["hunter2"]}"#,
            "expected a JSON object with the texts `Username` and `Secret`",
        ),
        (r#"{"Username": "", "Secret": "hunter2"}"#, "it has a secret without a user name, expected both"),
    ] {
        let home = Home::with(json!({ "credsStore": "fake" })).helper("fake", &format!("echo '{answer}'"));
        assert_eq!(
            chain(&home.error("reg.test/a").await),
            format!("the credential helper `docker-credential-fake` gave no usable answer for reg.test: {problem}")
        );
    }
}

#[tokio::test]
async fn a_helper_that_hangs_is_killed() {
    let home = Home::with(json!({ "credsStore": "fake" }));
    let pid_file = home.path("pid");
    let home = home.helper("fake", &format!("echo $$ > '{}'; exec sleep 60", pid_file.display()));
    let environment = Environment { helper_timeout: Duration::from_secs(1), ..home.environment() };

    let started = Instant::now();
    let error = find(environment, "reg.test/a").await.expect_err("no answer");
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!(error.to_string(), "the credential helper `docker-credential-fake` was stopped: no answer in 1s");
    let pid = std::fs::read_to_string(pid_file).expect("the helper ran");
    let alive = Command::new("sh").arg("-c").arg(format!("kill -0 {}", pid.trim())).output().expect("a shell");
    assert!(!alive.status.success(), "the helper should be gone");
}

#[tokio::test]
async fn a_helper_that_never_stops_talking_is_killed_on_either_output() {
    for redirection in ["", ">&2"] {
        let home = Home::with(json!({ "credsStore": "fake" }))
            .helper("fake", &format!("exec head -c 104857600 /dev/zero {redirection}"));
        assert_eq!(
            home.error("reg.test/a").await.to_string(),
            "the credential helper `docker-credential-fake` was stopped: it wrote more than 65536 bytes"
        );
    }
}

#[tokio::test]
async fn a_helper_may_say_a_lot_and_leave_its_input_unread() {
    let home = Home::with(json!({ "credsStore": "fake" })).helper(
        "fake",
        r#"exec <&-; head -c 60000 /dev/zero >&2; sleep 0.1; echo '{"Username": "jürgen", "Secret": "pa$s+:"}'"#,
    );
    assert_eq!(home.find("reg.test/a").await.expect("it answers"), "basic jürgen pa$s+:");
}

#[tokio::test]
async fn a_helper_that_is_not_installed_is_an_error_unless_the_file_has_the_login() {
    let home = Home::with(json!({ "auths": { "reg.test": auth("u:p") }, "credsStore": "desktop" }));
    assert_eq!(home.find("reg.test/a").await.expect("the file has it"), "basic u p");

    let error = home.error("other.test/a").await;
    assert_eq!(
        error.to_string(),
        format!("{} asks for `docker-credential-desktop`, which is not on the PATH", home.path(CONFIG).display())
    );
    assert!(error.hint().is_some());
    let no_path = Environment { path: None, ..home.environment() };
    assert!(find(no_path, "other.test/a").await.is_err());
}

#[tokio::test]
async fn a_helper_is_never_run_from_a_relative_folder() {
    let home = Home::with(json!({ "credsStore": "fake" })).helper("fake", "exit 1");
    for path in ["", ".", "bin", ":"] {
        let environment = Environment { path: Some(path.into()), ..home.environment() };
        let error = find(environment, "reg.test/a").await.expect_err("not found");
        assert!(matches!(error, CredentialsError::HelperMissing { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_helper_that_cannot_be_started_is_an_error_with_its_cause() {
    let home = Home::with(json!({ "credsStore": "fake" })).file("bin/docker-credential-fake", "not executable");
    let error = home.error("reg.test/a").await;
    assert_eq!(error.to_string(), "cannot run the credential helper `docker-credential-fake`");
    assert!(chain(&error).contains("denied"), "{}", chain(&error));
}

#[tokio::test]
async fn a_helper_with_an_unsafe_name_is_never_run() {
    for name in ["../evil", "a/b", "a b", "a\u{0}b", "a\nb"] {
        let home = Home::with(json!({ "credsStore": name }));
        let error = home.error("reg.test/a").await;
        assert!(matches!(error, CredentialsError::UnsafeHelperName { .. }), "{error}");
        assert!(!error.to_string().contains('\n'));
    }
    let home = Home::with(json!({ "credHelpers": { "reg.test": 5 } }));
    assert!(home.error("reg.test/a").await.to_string().ends_with("the helper's name is not text"));
    assert_eq!(home.find("other.test/a").await.expect("another registry"), "anonymous");
}

#[tokio::test]
async fn asking_whether_a_login_is_known_runs_no_helper() {
    let home = Home::with(json!({ "auths": { "file.test": auth("u:p") }, "credHelpers": { "helper.test": "fake" } }));
    let ran = home.path("ran");
    let home = home.helper("fake", &format!("touch '{}'; exit 1", ran.display()));
    assert!(home.knows("helper.test/a").await);
    assert!(home.knows("file.test/a").await);
    assert!(!home.knows("other.test/a").await);
    assert!(!ran.exists(), "the helper should not have run");
}
