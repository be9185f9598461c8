//! F2, F3: where secrets come from, and that no message repeats one.

use secrecy::ExposeSecret as _;

use super::*;

#[test]
fn secrets_come_from_variables_and_files_without_the_newline_at_their_end() {
    let secret = |source: &str| match hook(&format!("format = \"distribution\"\nsecret = {source}\n")).proof {
        Proof::Header { values, .. } => values[0].expose_secret().to_owned(),
        proof => panic!("{proof:?}"),
    };
    for source in ["{ env = \"SECRET\" }", "{ file = \"secret\" }", "{ file = \"crlf\" }", "{ file = \"/run/secret\" }"]
    {
        assert_eq!(secret(source), "correct-horse-battery-staple", "{source}");
    }
    let two = hook("format = \"ghcr\"\nsecret = { file = \"two\" }\n").proof;
    let Proof::Signature(secrets) = two else { panic!("a signature") };
    assert_eq!(secrets[0].expose_secret(), "correct-horse-battery-staple\n", "one newline is not part of it");
}

#[test]
fn a_secret_that_is_not_there_is_refused() {
    insta::assert_snapshot!(hook_problems("format = \"distribution\"\nsecret = { env = \"MISSING_SECRET\" }"), @"8:18: the environment has no `MISSING_SECRET`");
    insta::assert_snapshot!(hook_problems("format = \"distribution\"\nsecret = { file = \"missing\" }"), @"8:19: /etc/onetag/missing cannot be read: entity not found");
    insta::assert_snapshot!(hook_problems("format = \"distribution\"\nsecret = { file = \"binary\" }"), @"8:19: `binary` does not hold text in UTF-8");
    insta::assert_snapshot!(hook_problems("format = \"distribution\"\nsecret = { env = \"EMPTY\" }"), @"8:10: the secret is empty");
    insta::assert_snapshot!(hook_problems("format = \"distribution\"\nsecret = { evn = \"SECRET\" }"), @"8:12: unknown key `evn` in a secret: expected `env` or `file` (did you mean `env`?)");
    insta::assert_snapshot!(hook_problems("format = \"distribution\"\nsecret = { env = \"A\", file = \"b\" }"), @"8:10: `secret` does not say where the secret is: expected one of `env` and `file`");
    insta::assert_snapshot!(hook_problems("format = \"distribution\"\nsecret = []"), @"8:10: `secret` has 0 secrets, expected 1 to 8");
    insta::assert_snapshot!(hook_problems("format = \"distribution\""), @r#"4:1: [[hook]] has no `secret`: expected for example `secret = { env = "HOOK_SECRET" }`"#);
}

#[test]
fn a_secret_in_the_file_itself_is_accepted_with_a_warning_that_does_not_repeat_it() {
    let text = format!("admin_token = \"correct-horse-battery-staple\"\n{ONE_RULE}");
    insta::assert_snapshot!(warnings(&text), @"1:15: `admin_token` holds the secret itself, where every copy of this file has it: expected `{ env = … }` or `{ file = … }`");
    let loaded = read(&text, Reader::Service).expect("it can be used");
    assert!(!format!("{loaded:?}").contains("correct-horse"), "no secret is shown");
}

#[test]
fn a_secret_that_others_can_read_or_guess_is_worth_a_warning() {
    let text = format!(
        "{ONE_RULE}[[hook]]\nname = \"p\"\nformat = \"harbor\"\nregistry = \"registry.example.com\"\nsecret = [{{ file = \"public\" }}, {{ env = \"SHORT\" }}]\n"
    );
    insta::assert_snapshot!(warnings(&text), @"
    8:10: a secret of less than 16 characters can be guessed
    8:20: `public` can be read by everybody on this machine: expected mode 0600 or 0640
    ");
}

#[test]
fn no_message_repeats_a_secret_that_stands_in_the_wrong_place() {
    for lines in [
        "admin_token = [\"hunter2hunter2\"]",
        "admin_token = { hunter = \"hunter2hunter2\" }",
        "admin_token = { env = [\"hunter2hunter2\"] }",
        "listen = \"0.0.0.0:8470\"\nadmin_token = \"hunter2hunter2\n",
        "database = \"mysql://onetag:hunter2hunter2@db/onetag\"",
        "database = \"postgres://onetag:hunter2hunter2@db/onetag?sslmode=hunter2\"",
        "database = { url = \"postgres://onetag@db/onetag\", password = \"hunter2hunter2\", user = \"hunter2\" }",
        "database = { url = \"hunter2hunter2\" }",
        "notify = [{ url = \"hunter2hunter2\", secret = \"hunter2hunter2\" }]",
        "hook = [{ name = \"p\", format = \"quay\", registry = \"registry.example.com\", secret = \"hunter2hunter2\" }]",
        "registry = [{ host = \"registry.example.com\", username = \"a:b\", password = \"hunter2hunter2\" }]",
    ] {
        let problems = problems(&format!("{lines}\n{ONE_RULE}"));
        assert!(!problems.contains("hunter2"), "{problems}");
    }
}
