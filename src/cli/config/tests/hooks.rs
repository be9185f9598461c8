//! What a file says of hooks: how senders prove themselves, and what their names mean.

use super::*;

#[test]
fn a_hook_is_proved_as_is_usual_for_its_format_unless_the_file_says_otherwise() {
    let proof = |lines: &str| format!("{:?}", hook(&format!("{lines}\nsecret = {{ env = \"SECRET\" }}\n")).proof);
    assert_eq!(proof("format = \"distribution\""), "Header(authorization: ****)");
    assert_eq!(proof("format = \"acr\"\nheader = \"X-Token\""), "Header(x-token: ****)");
    assert_eq!(proof("format = \"gitea\"\nheader = \"Authorization\""), "Header(authorization: ****)");
    assert_eq!(proof("format = \"gitea\""), "Signature(****)");
    assert_eq!(proof("format = \"artifactory\""), "Signature(****)");
    assert_eq!(proof("format = \"artifactory\"\nproof = \"header\""), "Header(x-jfrog-event-auth: ****)");
    assert_eq!(proof("format = \"quay\""), "Url(****)");
    assert_eq!(proof("format = \"harbor\"\nproof = \"url\""), "Url(****)");
    let open = hook("format = \"quay\"\nsecret = \"none\"\n");
    assert_eq!(open.proof, Proof::Nothing);
    let google = hook("format = \"gar\"\naudience = \"a\"\nemail = \"e\"\nkeys_file = \"keys.json\"\n");
    assert_eq!(format!("{:?}", google.proof), r#"GoogleToken("a", "e")"#);
}

#[test]
fn keys_of_tokens_are_googles_unless_the_file_says_where_others_are() {
    let keys = |lines: &str| match hook(&format!("format = \"gar\"\naudience = \"a\"\nemail = \"e\"\n{lines}\n")).proof
    {
        Proof::GoogleToken { keys: GoogleKeys::At(url), .. } => url.to_string(),
        Proof::GoogleToken { keys: GoogleKeys::Given(_), .. } => "given".to_owned(),
        proof => format!("{proof:?}"),
    };
    assert_eq!(keys(""), "https://www.googleapis.com/oauth2/v3/certs");
    assert_eq!(keys("keys_file = \"keys.json\""), "given");
    for url in ["https://keys.example.com/certs", "http://127.0.0.1:8085/certs", "http://[::1]/", "http://localhost:1/"]
    {
        assert_eq!(keys(&format!("keys_url = \"{url}\"")), url);
    }
}

#[test]
fn keys_that_somebody_could_have_changed_are_refused() {
    let token = |lines: &str| hook_problems(&format!("format = \"gar\"\naudience = \"a\"\nemail = \"e\"\n{lines}"));
    let unsafe_url = "10:12: `keys_url` is not a URL that keys can be trusted from: expected https, as in `https://www.googleapis.com/oauth2/v3/certs`, or this machine itself";
    for url in
        ["http://keys.example.com/", "http://10.0.0.1/", "ftp://127.0.0.1/", "keys", "https://u:p@keys.example.com/"]
    {
        assert_eq!(token(&format!("keys_url = \"{url}\"")), unsafe_url, "{url}");
    }
    assert_eq!(
        token("keys_file = \"no-keys.js\""),
        "10:13: `keys_file` cannot be used: this is not a JSON Web Key Set with the signer's keys: there is no RSA key of 2048 to 8192 bits for RS256"
    );
    assert_eq!(
        hook_problems("format = \"quay\"\nsecret = { env = \"S\" }\nkeys_url = \"https://keys.example.com\""),
        "9:12: `keys_url` is for `proof = \"token\"`, and here it is `proof = \"url\"`"
    );
}

#[test]
fn a_hook_that_contradicts_itself_is_refused() {
    insta::assert_snapshot!(hook_problems("format = \"quai\"\n"), @"7:10: `format` is `quai`, expected one of distribution, gitlab, zot, harbor, quay, dockerhub, ghcr, acr, eventgrid, ecr, gar, gitea, forgejo, artifactory, nexus, alibaba, msr (did you mean `quay`?)");
    insta::assert_snapshot!(hook_problems("format = \"quay\"\nheader = \"X\"\nproof = \"signature\"\nsecret = { env = \"S\" }"), @"9:9: `proof` is `signature`, expected one of url");
    insta::assert_snapshot!(hook_problems("format = \"quay\"\nheader = \"X\"\naudience = \"a\"\nsecret = { env = \"S\" }"), @r#"
    8:10: `header` is for `proof = "header"`, and here it is `proof = "url"`
    9:12: `audience` is for `proof = "token"`, and here it is `proof = "url"`
    "#);
    insta::assert_snapshot!(hook_problems("format = \"quay\"\nsecret = { env = \"SHORT\" }"), @"8:10: this secret cannot be a part of a URL that nobody guesses: expected at least 22 letters, digits, `-`, `_`, `.` and `~`, for example from `openssl rand -hex 16`");
    insta::assert_snapshot!(hook_problems("format = \"zot\"\nheader = \"X Y\"\nsecret = { env = \"SPACED\" }"), @"
    8:10: `X Y` is not a header's name: expected for example `Authorization`
    9:10: this secret cannot be a header's value: it has line ends, control characters or outer spaces
    ");
    insta::assert_snapshot!(hook_problems("format = \"gar\"\nsecret = { env = \"S\" }\nkeys_file = \"secret\""), @r#"
    4:1: [[hook]] has no `audience`: expected for example `audience = "https://onetag.example.com/hooks/prod"`
    4:1: [[hook]] has no `email`: expected for example `email = "push@project.iam.gserviceaccount.com"`
    8:10: `secret` is of no use to `proof = "token"`: Google signs with keys of its own
    9:13: `keys_file` cannot be used: this is not a JSON Web Key Set with the signer's keys: it is not a JSON object
    "#);
    insta::assert_snapshot!(hook_problems("format = \"ghcr\"\nproof = \"url\"\nsecret = \"none\""), @r#"9:10: `secret = "none"` lets everybody in, so `proof` cannot be kept"#);
}

#[test]
fn hooks_have_names_of_their_own_and_something_to_do() {
    let hook = |name: &str, registry: &str| {
        format!(
            "[[hook]]\nname = \"{name}\"\nformat = \"ghcr\"\nregistry = \"{registry}\"\nsecret = {{ env = \"S\" }}\n"
        )
    };
    let text = [ONE_RULE, &hook("a", "registry.example.com"), &hook("a", "quay.io"), &hook("../b", "quay.io")].concat();
    insta::assert_snapshot!(problems(&text), @"
    10:8: there is another hook `a`: each has its own URL
    12:12: no [[repository]] is on `quay.io`, so this hook could do nothing
    15:8: `../b` is not a hook's name: expected 1 to 64 letters, digits, `-`, `_` and `.`, since it is a part of the URL
    ");
}

#[test]
fn a_hook_may_call_repositories_by_other_names() {
    let hook = hook(
        "format = \"nexus\"\nsecret = { env = \"S\" }\nrepository_strip = \"docker-local/\"\nrepository_prefix = \"docker/\"\n",
    );
    assert_eq!(hook.path("docker-local/acme/ubuntu"), Some("docker/acme/ubuntu".to_owned()));
    assert_eq!(hook.path("other/acme/ubuntu"), None);
}

// Everything else.
