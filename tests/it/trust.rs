//! TLS: who the registry is, who we are to it, and to nobody else.

use crate::support::tls::{Ca, Pair};
use crate::support::{Cli, Elsewhere, FakeRegistry, Kind, Play, Ran, When, onetag, raw};

async fn registry(pair: &Pair, client_ca: Option<&Ca>) -> FakeRegistry {
    let builder = FakeRegistry::builder().tls(&pair.certificate_pem, &pair.key_pem);
    let registry = builder.client_ca(client_ca.map(|ca| ca.certificate_pem.as_str())).start().await;
    registry.push_image("acme/ubuntu:amd64-xenial", "linux/amd64");
    registry
}

/// Publishes by TLS and trusts `ca`.
fn publish(repository: &str, ca: &Ca) -> Cli {
    let cli = onetag(["publish", "-r", repository, "--tag", "xenial", "--ca-file", "ca.pem", "--output", "json"]);
    cli.home_file("ca.pem", &ca.certificate_pem)
}

fn with_client(cli: Cli, pair: &Pair) -> Cli {
    let cli = cli.home_file("client.pem", &pair.certificate_pem).home_file("client.key", &pair.key_pem);
    cli.arg("--client-cert").arg("client.pem").arg("--client-key").arg("client.key")
}

#[track_caller]
fn assert_not_trusted(ran: Ran, cause: &str, hint: &str) {
    let ran = ran.expect(5);
    assert_eq!(ran.json()["reasons"][0]["code"], "tls", "{}", ran.stderr);
    assert!(ran.stderr.contains("no trusted connection"), "{}", ran.stderr);
    assert!(ran.stderr.contains(cause), "`{cause}` is not in:\n{}", ran.stderr);
    assert!(ran.stderr.contains(hint), "`{hint}` is not in:\n{}", ran.stderr);
}

#[tokio::test]
async fn a_registry_with_a_ca_of_its_own_is_trusted_by_those_who_name_it() {
    let ca = Ca::new("our CA");
    let registry = registry(&ca.issue("127.0.0.1"), None).await;
    publish(&registry.repository("acme/ubuntu"), &ca).run().await.expect(0);
    assert_eq!(registry.platforms("acme/ubuntu:xenial"), ["linux/amd64"]);
    assert!(!registry.requests().iter().any(|request| request.has_client_certificate));
}

#[tokio::test]
async fn a_registry_that_cannot_prove_who_it_is_gets_no_request() {
    let (ca, other) = (Ca::new("our CA"), Ca::new("another CA"));
    for (pair, cause, hint) in [
        (ca.issue_expired("127.0.0.1"), "certificate expired", ""),
        (ca.issue("localhost"), "not valid for name", ""),
        (
            other.issue("127.0.0.1"),
            "UnknownIssuer",
            "hint: if the registry has a CA of its own, name it with `--ca-file`",
        ),
    ] {
        let registry = registry(&pair, None).await;
        let ran = publish(&registry.repository("acme/ubuntu"), &ca).run().await;
        assert_not_trusted(ran, cause, hint);
        assert_eq!((registry.requests().len(), registry.connections() <= 2), (0, true), "it was tried again: {cause}");
    }
}

#[tokio::test]
async fn a_registry_without_tls_is_not_talked_to_in_the_clear() {
    let ca = Ca::new("our CA");
    let registry = FakeRegistry::start().await;
    let cli = publish(&registry.repository("acme/ubuntu"), &ca);
    let ran = cli.env("ONETAG_USERNAME", "user").env("ONETAG_PASSWORD", "secret").run().await;
    assert_not_trusted(ran, "", "hint: a registry without TLS needs `--plain-http`");
    assert_eq!(registry.requests().len(), 0);
}

#[tokio::test]
async fn our_certificate_is_shown_to_the_registry_and_to_nobody_else() {
    let ca = Ca::new("our CA");
    let (server, client) = (ca.issue("127.0.0.1"), ca.issue("a client"));
    let registry = registry(&server, Some(&ca)).await;
    let repository = registry.repository("acme/ubuntu");

    let ran = publish(&repository, &ca).run().await;
    assert_not_trusted(ran, "CertificateRequired", "hint: the registry wants to see a certificate of ours");

    with_client(publish(&repository, &ca), &client).run().await.expect(0);
    assert!(registry.requests().iter().all(|request| request.has_client_certificate));

    // The storage would take it, if only it were shown.
    let storage = Elsewhere::answering_tls(&server, Some(&ca.certificate_pem), |_| unreachable!("it was shown")).await;
    registry.on(When::kind(Kind::Blob), Play::redirect(307, &storage.url("/blob")));
    let ran = with_client(publish(&repository, &ca), &client).run().await;
    assert_not_trusted(ran, "CertificateRequired", "");
    assert!(storage.connections() > 0);
    assert_eq!(storage.requests().len(), 0);
}

#[tokio::test]
async fn a_registry_with_tls_sends_nobody_anywhere_without() {
    let ca = Ca::new("our CA");
    let registry = registry(&ca.issue("127.0.0.1"), None).await;
    let elsewhere = Elsewhere::start("{}").await;
    for (kind, target) in [
        (Kind::Blob, elsewhere.url("/blob")),
        (Kind::GetManifest, format!("http://{}/v2/acme/ubuntu/manifests/x", registry.host())),
        (Kind::Tags, format!("http://{}/v2/acme/ubuntu/tags/list", registry.host())),
    ] {
        registry.behave();
        registry.on(When::kind(kind), Play::redirect(307, &target));
        let ran = publish(&registry.repository("acme/ubuntu"), &ca).run().await.expect(5);
        assert!(ran.stderr.contains("the registry is reached over TLS and this is not"), "{}", ran.stderr);
    }
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn a_proxy_carries_tls_and_learns_nothing_but_where_to() {
    let ca = Ca::new("our CA");
    let pair = ca.issue("registry.test");
    let builder = FakeRegistry::builder().basic("user", "secret").tls(&pair.certificate_pem, &pair.key_pem);
    let registry = builder.start().await;
    registry.push_image("acme/ubuntu:amd64-xenial", "linux/amd64");
    let (proxy, mut heads) = raw::proxy(registry.host()).await;
    let cli = publish("registry.test/acme/ubuntu", &ca).env("HTTPS_PROXY", format!("http://{proxy}"));
    cli.env("ONETAG_USERNAME", "user").env("ONETAG_PASSWORD", "secret").run().await.expect(0);
    assert_eq!(registry.platforms("acme/ubuntu:xenial"), ["linux/amd64"]);
    while let Ok(head) = heads.try_recv() {
        assert!(head.starts_with("CONNECT registry.test:443 "), "{head}");
        assert!(!head.to_ascii_lowercase().contains("authorization"), "{head}");
    }
}

#[tokio::test]
async fn files_that_hold_no_certificates_are_named_before_anything_is_sent() {
    let ca = Ca::new("our CA");
    let registry = registry(&ca.issue("127.0.0.1"), None).await;
    let repository = registry.repository("acme/ubuntu");
    let mut broken = Ca::new("x");
    broken.certificate_pem = "not a certificate".to_owned();
    let ran = publish(&repository, &broken).run().await.expect(3);
    assert!(ran.stderr.contains("the CA file holds no certificate"), "{}", ran.stderr);

    let pair = Pair { certificate_pem: ca.issue("x").certificate_pem, key_pem: "not a key".to_owned() };
    let ran = with_client(publish(&repository, &ca), &pair).run().await.expect(3);
    assert!(ran.stderr.contains("the client certificate or its key cannot be read"), "{}", ran.stderr);
    let ran =
        publish(&repository, &ca).arg("--client-cert").arg("x").arg("--client-key").arg("y").run().await.expect(3);
    assert!(ran.stderr.contains("x cannot be read"), "{}", ran.stderr);
    assert_eq!(registry.connections(), 0);
}
