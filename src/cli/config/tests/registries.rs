//! What a file says of registries.

use super::*;

#[test]
fn a_registry_is_talked_to_as_its_section_says() {
    let text = format!(
        "[[registry]]\nhost = \"registry.example.com\"\nca_file = \"ca.pem\"\nclient_cert = \"c.pem\"\nclient_key = \"c.key\"\ntoken_realm_hosts = [\"Auth.example.net\"]\nconcurrency = 4\nrate = \"300/min\"\ntimeout = \"5s\"\nusername = \"robot\"\npassword = {{ env = \"PASSWORD\" }}\n{ONE_RULE}"
    );
    let registry = settings(&text).registries.remove(0);
    assert_eq!(registry.rate, Some(Rate { requests: 300, per: Duration::from_secs(60) }));
    let client = registry.client;
    assert_eq!(
        (client.concurrency, client.deadline, client.token_realm_hosts),
        (4, Duration::from_secs(5), vec!["auth.example.net".to_owned()])
    );
    assert!(client.trust.ca_pem.is_some() && client.trust.identity_pem.is_some_and(|pem| pem.len() > PEM.len()));
    assert_eq!(settings(&text), settings(&text), "reading twice should give equal settings");
    assert_ne!(settings(&text), settings(&text.replace("PASSWORD", "SHORT")), "another password is a change");
}

#[test]
fn plain_http_to_a_public_registry_must_be_meant() {
    let text = |host: &str, value: &str| format!("{ONE_RULE}[[registry]]\nhost = \"{host}\"\nplain_http = {value}\n");
    insta::assert_snapshot!(problems(&text("quay.io", "true")), @r#"6:14: `quay.io` is a name of the public internet, and without TLS everybody on the way reads the login: remove `plain_http`, or say `plain_http = "exposed"` if that is meant"#);
    for (host, value) in [("quay.io", "\"exposed\""), ("registry:5000", "true"), ("10.0.0.7:5000", "true")] {
        assert!(
            settings(&text(host, value)).registry(&host.parse().expect("a host")).is_some_and(|r| r.client.plain_http)
        );
    }
    let local = settings("[[repository]]\nregistry = \"localhost:5000\"\nname = \"a\"\n");
    assert!(local.registries[0].client.plain_http, "the machine itself needs no telling");
}

#[test]
fn a_registry_that_contradicts_itself_is_refused() {
    let text = |lines: &str| problems(&format!("{ONE_RULE}[[registry]]\nhost = \"registry\"\n{lines}"));
    insta::assert_snapshot!(text("plain_http = true\nca_file = \"ca.pem\"\nclient_key = \"c.key\"\nusername = \"me\"\nrate = \"fast\"\nconcurrency = 0"), @"
    6:14: `plain_http` and certificates exclude each other: without TLS nobody looks at them
    8:14: `client_key` needs `client_cert`, too
    9:12: `username` needs `password`, too
    10:8: `rate` is `fast`, expected requests in a time, such as `300/min` or `100/6h`
    11:15: `concurrency` is 0, expected a number from 1 to 256
    ");
    insta::assert_snapshot!(text("ca_file = \"missing.ca\"\nclient_cert = \"secret\"\nclient_key = \"c.key\"\nplain_http = \"on\""), @"
    6:11: /etc/onetag/missing.ca cannot be read: entity not found
    7:15: `secret` does not hold what `client_cert` needs: expected PEM with `-----BEGIN CERTIFICATE-----`
    9:14: `plain_http` holds a text, expected true or false, for example `plain_http = true`
    ");
    insta::assert_snapshot!(problems(&format!("{ONE_RULE}[[registry]]\nhost = \"docker.io\"\n[[registry]]\nhost = \"index.docker.io\"\n")), @"7:8: `docker.io` has a section already: expected one [[registry]] for each");
}

#[test]
fn a_registry_that_no_rule_is_about_is_worth_a_warning() {
    insta::assert_snapshot!(warnings(&format!("{ONE_RULE}[[registry]]\nhost = \"registry.exmaple.com\"\n")), @"5:8: no [[repository]] is on `registry.exmaple.com`");
}

// F4, F5: rules that contradict.
