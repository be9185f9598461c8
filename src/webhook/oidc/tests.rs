//! Tokens as Google signs them, made with a key of our own, and those of forgers.

use std::sync::LazyLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use serde_json::{Value, json};

use super::super::samples::headers;
use super::*;

const NOW: u64 = 1_741_080_074;

static SIGNER: LazyLock<RsaKeyPair> =
    LazyLock::new(|| RsaKeyPair::generate(KeySize::Rsa2048).expect("a key can be made"));

fn keys() -> Keys {
    let public = SIGNER.public_key();
    let n = BASE64.encode(public.modulus().big_endian_without_leading_zero());
    let e = BASE64.encode(public.exponent().big_endian_without_leading_zero());
    let key = json!({"kid": "google-1", "kty": "RSA", "alg": "RS256", "use": "sig", "n": n, "e": e});
    Keys::read(json!({ "keys": [key] }).to_string().as_bytes()).expect("keys")
}

fn account() -> Account {
    Account {
        audience: "https://onetag.example.com/hooks/gar".to_owned(),
        email: "pusher@acme-project.iam.gserviceaccount.com".to_owned(),
    }
}

fn claims() -> Value {
    json!({
        "iss": "https://accounts.google.com",
        "aud": account().audience,
        "email": account().email,
        "email_verified": true,
        "exp": NOW + 3600,
        "iat": NOW,
        "sub": "113774264463038321964",
        "azp": "113774264463038321964",
    })
}

/// [`claims`] with one of them changed, or left out if `value` is null.
fn with(claim: &str, value: Value) -> Value {
    let mut claims = claims();
    let fields = claims.as_object_mut().expect("an object");
    if value.is_null() {
        fields.remove(claim)
    } else {
        fields.insert(claim.to_owned(), value)
    };
    claims
}

fn head() -> Value {
    json!({"alg": "RS256", "kid": "google-1", "typ": "JWT"})
}

fn token(head: &Value, claims: &Value) -> String {
    let message = format!("{}.{}", BASE64.encode(head.to_string()), BASE64.encode(claims.to_string()));
    let mut signature = vec![0; SIGNER.public_modulus_len()];
    let random = SystemRandom::new();
    SIGNER.sign(&RSA_PKCS1_SHA256, &random, message.as_bytes(), &mut signature).expect("it can sign");
    format!("{message}.{}", BASE64.encode(signature))
}

fn verify(token: &str) -> Result<(), BadToken> {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
    account().verify(&headers(&[("Authorization", &format!("Bearer {token}"))]), &keys(), now)
}

#[test]
fn a_token_of_the_account_for_this_audience_is_good_under_either_name_of_google() {
    assert_eq!(verify(&token(&head(), &claims())), Ok(()));
    assert_eq!(verify(&token(&head(), &with("iss", json!("accounts.google.com")))), Ok(()));
}

#[test]
fn somebody_elses_good_token_is_worth_nothing() {
    for (claim, value) in [
        ("iss", json!("https://evil.example")),
        ("aud", json!("https://elsewhere.example.com/")),
        ("email", json!("mallory@evil.iam.gserviceaccount.com")),
        ("email_verified", json!(false)),
    ] {
        let error = verify(&token(&head(), &with(claim, value))).expect_err(claim);
        assert!(matches!(&error, BadToken::OtherClaim { claim: found, .. } if *found == claim), "{error}");
    }
    let error = verify(&token(&head(), &with("email", json!("mallory@evil.example")))).expect_err("not ours");
    insta::assert_snapshot!(error, @"the token's `email` is `mallory@evil.example`, expected `pusher@acme-project.iam.gserviceaccount.com`");
}

#[test]
fn a_claim_that_is_missing_or_of_another_type_is_not_passed_over() {
    for claim in ["iss", "aud", "email", "email_verified", "exp"] {
        for value in [Value::Null, json!([])] {
            let error = verify(&token(&head(), &with(claim, value))).expect_err(claim);
            assert!(matches!(error, BadToken::Unreadable { .. }), "{claim}: {error}");
        }
    }
}

#[test]
fn a_token_is_good_until_it_expires() {
    assert_eq!(verify(&token(&head(), &with("exp", json!(NOW + 1)))), Ok(()));
    assert_eq!(verify(&token(&head(), &with("exp", json!(NOW)))), Err(BadToken::Expired));
    assert_eq!(verify(&token(&head(), &with("exp", json!(0)))), Err(BadToken::Expired));
    assert_eq!(verify(&token(&head(), &with("exp", json!(u64::MAX)))), Ok(()));
}

#[test]
fn a_changed_token_does_not_match_its_signature() {
    let good = token(&head(), &claims());
    let other = token(&head(), &with("email", json!("mallory@evil.example")));
    let (_, signature) = other.rsplit_once('.').expect("three parts");
    let (message, _) = good.rsplit_once('.').expect("three parts");
    assert_eq!(verify(&format!("{message}.{signature}")), Err(BadToken::WrongSignature));
    assert_eq!(verify(&format!("{message}.")), Err(BadToken::WrongSignature));
}

#[test]
fn no_algorithm_but_googles_is_taken() {
    let none = json!({"alg": "none", "kid": "google-1"});
    assert!(matches!(verify(&token(&none, &claims())), Err(BadToken::Unreadable { .. })));
    for name in ["HS256", "RS512", "PS256", "ES256"] {
        let head = json!({"alg": name, "kid": "google-1"});
        let found = name.to_owned();
        assert_eq!(verify(&token(&head, &claims())), Err(BadToken::OtherAlgorithm { found }));
    }
}

#[test]
fn a_key_that_is_not_the_signers_is_named_so_that_keys_can_be_fetched_again() {
    let error = verify(&token(&json!({"alg": "RS256", "kid": "google-2"}), &claims()));
    assert_eq!(error, Err(BadToken::UnknownKey { id: "google-2".to_owned() }));
    let error = verify(&token(&json!({"alg": "RS256"}), &claims()));
    assert_eq!(error, Err(BadToken::UnknownKey { id: String::new() }));
}

#[test]
fn a_token_brings_no_key_of_its_own() {
    let head =
        json!({"alg": "RS256", "kid": "evil", "jku": "https://evil.example/keys", "jwk": {"kty": "oct", "k": "AA"}});
    assert!(verify(&token(&head, &claims())).is_err());
}

#[test]
fn what_is_no_token_is_refused() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
    let good = token(&head(), &claims());
    for value in ["", "Bearer", "Bearer ", "Basic Zm9vOmJhcg==", &good] {
        let error = account().verify(&headers(&[("Authorization", value)]), &keys(), now);
        assert_eq!(error, Err(BadToken::Missing), "{value}");
    }
    assert_eq!(account().verify(&HeaderMap::new(), &keys(), now), Err(BadToken::Missing));
    for text in ["a", "a.b", "..", "a.b.c.d", "%.%.%", &good[1..], &good.replace('.', "")] {
        assert!(matches!(verify(text), Err(BadToken::Unreadable { .. })), "{text}");
    }
}

#[test]
fn keys_that_are_none_are_refused() {
    for json in ["", "{}", "[]", r#"{"keys":1}"#] {
        assert!(Keys::read(json.as_bytes()).is_err(), "{json}");
    }
    assert!(Keys::read(br#"{"keys":[]}"#).is_ok());
}
