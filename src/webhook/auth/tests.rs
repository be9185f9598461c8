//! Proofs against the vectors that vendors and this project published, and against forgers.

use super::super::samples::{headers, sample, sample_text};
use super::*;

const SECRET: &str = "correct-horse-battery-staple";
const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

fn secrets(secrets: &[&str]) -> Secrets {
    Secrets::new(secrets.iter().map(|secret| SecretString::from(*secret)).collect()).expect("secrets")
}

fn signed(signature: Signature, name: &str, value: &str, body: &[u8]) -> Result<(), Unproven> {
    Proof::Signature(signature, secrets(&[SECRET])).verify(None, &headers(&[(name, value)]), body)
}

fn wrong(name: &'static str) -> Result<(), Unproven> {
    Err(Unproven::Wrong(Place::Header(HeaderName::from_static(name))))
}

fn missing(name: &'static str) -> Result<(), Unproven> {
    Err(Unproven::Missing(Place::Header(HeaderName::from_static(name))))
}

/// `payload=` and the text, as the samples' form was encoded.
fn form(json: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-~".contains(&byte);
    let encoded = json.bytes().map(|byte| match byte {
        b' ' => "+".to_owned(),
        byte if plain(byte) => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    });
    format!("payload={}", encoded.collect::<String>())
}

#[test]
fn every_published_signature_is_right_and_none_outlives_a_changed_byte() {
    use Signature::{Artifactory, GitHub, Gitea, Nexus};
    for (signature, file, name, value) in [
        (
            GitHub,
            "ghcr-package.json",
            "X-Hub-Signature-256",
            "sha256=94b2f00cbeebbaecd22047fc2f5b3978f375f14b1d396ce24afda0c3ecf7c149",
        ),
        (
            GitHub,
            "ghcr-registry_package.json",
            "X-Hub-Signature-256",
            "sha256=ca703202d2814453f34811e496860a69385b45acb972f05d4d1660dec14d08fb",
        ),
        (
            Gitea,
            "gitea-package.json",
            "X-Gitea-Signature",
            "e8f55e85fb34c19a0ed3db56801cb52788c0373f6cf4f7b906bab2e3aefe4e5f",
        ),
        (
            Gitea,
            "gitea-package.json",
            "X-Forgejo-Signature",
            "e8f55e85fb34c19a0ed3db56801cb52788c0373f6cf4f7b906bab2e3aefe4e5f",
        ),
        (
            Gitea,
            "gitea-package.json",
            "X-Hub-Signature-256",
            "sha256=e8f55e85fb34c19a0ed3db56801cb52788c0373f6cf4f7b906bab2e3aefe4e5f",
        ),
        (
            Artifactory,
            "artifactory.json",
            "X-JFrog-Event-Auth",
            "80ab20520607c19fbbd67a5fbe47da67dbb996ff9451e9906326ca3befe7e178",
        ),
        (Nexus, "nexus-component.json", "X-Nexus-Webhook-Signature", "209d1f2f1ae0810e575a09c378a6d6d7510f3fe9"),
        (Nexus, "nexus-asset.json", "X-Nexus-Webhook-Signature", "e2c8c37133a3db219ef2d854cd8814e3433208d3"),
    ] {
        let mut body = sample(file);
        assert_eq!(signed(signature, name, value, &body), Ok(()), "{file} {name}");
        let (prefix, hex) = value.split_at(value.find('=').map_or(0, |equals| equals + 1));
        let capitals = format!("{prefix}{}", hex.to_uppercase());
        assert_eq!(signed(signature, name, &capitals, &body), Ok(()), "{file} {name} in capitals");

        let first = value.len() - hex.len();
        let digit = if &value[first..=first] == "0" { "1" } else { "0" };
        let forged = format!("{prefix}{digit}{}", &hex[1..]);
        assert!(signed(signature, name, &forged, &body).is_err(), "{file} {name} with another digit");
        assert!(signed(signature, name, &value[..value.len() - 2], &body).is_err(), "{file} {name} cut");
        body.truncate(body.len() - 1);
        assert!(signed(signature, name, value, &body).is_err(), "{file} {name} without its newline");
    }
}

#[test]
fn githubs_own_vector_is_right() {
    let proof = Proof::Signature(Signature::GitHub, secrets(&["It's a Secret to Everybody"]));
    let value = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    assert_eq!(proof.verify(None, &headers(&[("X-Hub-Signature-256", value)]), b"Hello, World!"), Ok(()));
}

#[test]
fn github_signs_a_form_as_it_is_sent_and_gitea_the_json_in_it() {
    let form = form(&sample_text("gitea-package.json"));
    assert_eq!(form.len(), 3705);
    let verify = |signature, name, value| {
        let proof = Proof::Signature(signature, secrets(&[SECRET]));
        proof.verify(None, &headers(&[FORM, (name, value)]), form.as_bytes())
    };
    let of_form = "sha256=3ec7d69d0daac30dcd35a2b4029d83bc34680b9cee0316878f56e662d42a8823";
    let of_json = "e8f55e85fb34c19a0ed3db56801cb52788c0373f6cf4f7b906bab2e3aefe4e5f";
    assert_eq!(verify(Signature::GitHub, "X-Hub-Signature-256", of_form), Ok(()));
    assert_eq!(verify(Signature::Gitea, "X-Gitea-Signature", of_json), Ok(()));
    assert_eq!(verify(Signature::Gitea, "X-Hub-Signature-256", of_form), wrong("x-gitea-signature"));
    assert!(verify(Signature::GitHub, "X-Hub-Signature-256", &format!("sha256={of_json}")).is_err());
}

#[test]
fn an_empty_signature_is_a_missing_one() {
    let body = sample("gitea-package.json");
    let proof = Proof::Signature(Signature::Gitea, secrets(&[SECRET]));
    let without_secret = headers(&[("X-Gitea-Signature", ""), ("X-Hub-Signature-256", "sha256=")]);
    assert_eq!(proof.verify(None, &without_secret, &body), missing("x-gitea-signature"));
    assert_eq!(proof.verify_head(None, &without_secret), missing("x-gitea-signature"));
    assert_eq!(proof.verify(None, &HeaderMap::new(), &body), missing("x-gitea-signature"));
}

#[test]
fn sha1_is_never_enough_for_github() {
    let body = sample("ghcr-package.json");
    let sha1 = "sha1=1ac6302517953af6533397368c7e3ad0874413b6";
    assert_eq!(signed(Signature::GitHub, "X-Hub-Signature", sha1, &body), missing("x-hub-signature-256"));
    assert_eq!(signed(Signature::GitHub, "X-Hub-Signature-256", sha1, &body), wrong("x-hub-signature-256"));
}

#[test]
fn artifactory_signs_or_sends_the_secret_and_never_may_either_stand_for_the_other() {
    let body = sample("artifactory.json");
    let name = HeaderName::from_static("x-jfrog-event-auth");
    let signature = "80ab20520607c19fbbd67a5fbe47da67dbb996ff9451e9906326ca3befe7e178";
    let (plain, signing) =
        (Proof::Header(name.clone(), secrets(&[SECRET])), Proof::Signature(Signature::Artifactory, secrets(&[SECRET])));
    let verify = |proof: &Proof, value| proof.verify(None, &headers(&[("X-JFrog-Event-Auth", value)]), &body);
    assert_eq!(verify(&plain, SECRET), Ok(()));
    assert_eq!(verify(&signing, signature), Ok(()));
    assert_eq!(verify(&plain, signature), wrong("x-jfrog-event-auth"));
    assert_eq!(verify(&signing, SECRET), wrong("x-jfrog-event-auth"));
}

#[test]
fn a_header_is_compared_whole_with_or_without_a_scheme_word() {
    let header = |secret, values: &[&str]| {
        let proof = Proof::Header(HeaderName::from_static("authorization"), secrets(&[secret]));
        let values: Vec<_> = values.iter().map(|value| ("Authorization", *value)).collect();
        proof.verify(None, &headers(&values), b"")
    };
    assert_eq!(header("registry-hook-token", &["registry-hook-token"]), Ok(()));
    assert_eq!(header("Bearer registry-hook-token", &["Bearer registry-hook-token"]), Ok(()));
    for value in ["Bearer registry-hook-token", "registry-hook-toke", "registry-hook-token2", "REGISTRY-HOOK-TOKEN"] {
        assert_eq!(header("registry-hook-token", &[value]), wrong("authorization"), "{value}");
    }
    assert_eq!(header("registry-hook-token", &[]), missing("authorization"));
    assert_eq!(header("registry-hook-token", &[""]), missing("authorization"));
}

#[test]
fn of_a_repeated_header_one_right_value_is_enough() {
    let proof = Proof::Header(HeaderName::from_static("x-token"), secrets(&["right"]));
    let verify = |values: &[(&str, &str)]| proof.verify(None, &headers(values), b"");
    assert_eq!(verify(&[("X-Token", "wrong"), ("x-token", "right")]), Ok(()));
    assert_eq!(verify(&[("X-Token", "wrong"), ("X-Token", "")]), wrong("x-token"));
}

#[test]
fn while_a_secret_is_changed_both_are_good() {
    let body = sample("nexus-asset.json");
    let header = headers(&[("X-Nexus-Webhook-Signature", "e2c8c37133a3db219ef2d854cd8814e3433208d3")]);
    for (active, is_good) in [(["new", SECRET], true), ([SECRET, "new"], true), (["new", "newer"], false)] {
        let proof = Proof::Signature(Signature::Nexus, secrets(&active));
        assert_eq!(proof.verify(None, &header, &body).is_ok(), is_good, "{active:?}");
    }
}

#[test]
fn a_secret_in_the_url_is_compared_whole() {
    let proof = Proof::Url(secrets(&["0123456789abcdef0123456789abcdef"]));
    let verify = |secret| proof.verify(secret, &HeaderMap::new(), b"");
    assert_eq!(verify(Some("0123456789abcdef0123456789abcdef")), Ok(()));
    assert_eq!(verify(Some("0123456789abcdef0123456789abcde")), Err(Unproven::Wrong(Place::Url)));
    assert_eq!(verify(Some("")), Err(Unproven::Missing(Place::Url)));
    assert_eq!(verify(None), Err(Unproven::Missing(Place::Url)));
}

#[test]
fn no_secret_and_an_empty_secret_are_refused_before_they_let_anybody_in() {
    assert_eq!(Secrets::new(Vec::new()).err(), Some(NoSecret));
    assert_eq!(Secrets::new(vec![SecretString::from("a"), SecretString::from("")]).err(), Some(NoSecret));
}

#[test]
fn a_proof_does_not_show_its_secrets() {
    let proof = Proof::Signature(Signature::GitHub, secrets(&[SECRET]));
    assert!(!format!("{proof:?}").contains("horse"));
}

#[test]
fn what_is_wrong_says_where_and_not_what() {
    insta::assert_snapshot!(wrong("x-hub-signature-256").expect_err("wrong"), @"the header `x-hub-signature-256` does not match");
    insta::assert_snapshot!(Unproven::Missing(Place::Url), @"the secret in the URL is missing or empty");
}
