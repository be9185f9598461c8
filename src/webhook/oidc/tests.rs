//! Tokens as Google signs them, made with a key of our own, and those of forgers.

use std::sync::LazyLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use serde_json::{Value, json};

use super::super::samples::headers;
use super::*;

const NOW: u64 = 1_741_080_074;

static SIGNER: LazyLock<RsaKeyPair> =
    LazyLock::new(|| RsaKeyPair::generate(KeySize::Rsa2048).expect("a key can be made"));

/// The modulus of the signer's key: where it is in the DER of every public key of 2048 bits.
fn modulus() -> Vec<u8> {
    let der = SIGNER.public_key().as_ref();
    assert_eq!((der.len(), &der[265..]), (270, &[2, 3, 1, 0, 1][..]), "a key of 2048 bits with the exponent 65537");
    der[9..265].to_vec()
}

/// The signer's key as Google publishes its own.
fn published() -> Value {
    let n = BASE64.encode(modulus());
    json!({"kid": "google-1", "kty": "RSA", "alg": "RS256", "use": "sig", "n": n, "e": "AQAB"})
}

fn read(keys: Value) -> Result<Keys, InvalidKeys> {
    Keys::read(json!({ "keys": keys }).to_string().as_bytes())
}

fn expected() -> Expected {
    Expected {
        audience: "https://onetag.example.com/hooks/gar".to_owned(),
        email: "pusher@acme-project.iam.gserviceaccount.com".to_owned(),
    }
}

fn claims() -> Value {
    json!({
        "iss": "https://accounts.google.com",
        "aud": expected().audience,
        "email": expected().email,
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
    signed(&head.to_string(), &claims.to_string())
}

/// A token of exactly these texts, with a good signature.
fn signed(head: &str, claims: &str) -> String {
    let message = format!("{}.{}", BASE64.encode(head), BASE64.encode(claims));
    let mut signature = vec![0; SIGNER.public_modulus_len()];
    let random = SystemRandom::new();
    SIGNER.sign(&RSA_PKCS1_SHA256, &random, message.as_bytes(), &mut signature).expect("it can sign");
    format!("{message}.{}", BASE64.encode(signature))
}

fn verify(token: &str) -> Result<(), BadToken> {
    let keys = read(json!([published()])).expect("keys");
    super::verify(token, &keys, &expected(), NOW)
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
    for claim in ["iss", "aud", "email", "email_verified", "exp", "iat"] {
        for value in [Value::Null, json!([]), json!([expected().audience]), json!(-1)] {
            let error = verify(&token(&head(), &with(claim, value))).expect_err(claim);
            assert!(matches!(error, BadToken::Unreadable { .. }), "{claim}: {error}");
        }
    }
}

#[test]
fn a_token_is_good_until_it_expires() {
    let expiring = |exp: u64| verify(&token(&head(), &with("exp", json!(exp))));
    assert_eq!(expiring(NOW + 1), Ok(()));
    assert_eq!(expiring(NOW - 29), Ok(()), "clocks may differ");
    assert_eq!(expiring(NOW - 30), Err(BadToken::Expired));
    assert_eq!(expiring(0), Err(BadToken::Expired));
    assert_eq!(expiring(u64::MAX), Ok(()));
}

#[test]
fn a_token_of_the_future_is_not_good_yet() {
    for claim in ["iat", "nbf"] {
        let made = |time: u64| verify(&token(&head(), &with(claim, json!(time))));
        assert_eq!(made(NOW + 30), Ok(()), "clocks may differ");
        assert_eq!(made(NOW + 31), Err(BadToken::TooEarly { claim }));
        assert_eq!(made(u64::MAX), Err(BadToken::TooEarly { claim }));
    }
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
    for name in ["none", "None", "HS256", "RS512", "PS256", "ES256", "rs256", ""] {
        let head = json!({"alg": name, "kid": "google-1"});
        let found = name.to_owned();
        assert_eq!(verify(&token(&head, &claims())), Err(BadToken::OtherAlgorithm { found }));
    }
    assert!(matches!(verify(&token(&json!({"kid": "google-1"}), &claims())), Err(BadToken::Unreadable { .. })));
}

#[test]
fn the_public_key_is_no_secret_to_sign_with() {
    use hmac::{KeyInit as _, Mac as _};

    for alg in ["HS256", "RS256"] {
        let message = format!(
            "{}.{}",
            BASE64.encode(json!({"alg": alg, "kid": "google-1"}).to_string()),
            BASE64.encode(claims().to_string())
        );
        let mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(&modulus()).expect("a key of any length will do");
        let mac = mac.chain_update(message.as_bytes()).finalize().into_bytes();
        assert!(verify(&format!("{message}.{}", BASE64.encode(mac))).is_err(), "{alg}");
    }
}

#[test]
fn what_readers_understand_differently_is_refused() {
    let (head, claims) = (head().to_string(), claims().to_string());
    let also = |json: &str, field: &str| format!("{},{field}}}", json.strip_suffix('}').expect("an object"));
    assert_eq!(verify(&signed(&head, &claims)), Ok(()));
    let mine = json!(expected().email).to_string();
    for (head, claims) in [
        (also(&head, r#""alg":"RS256""#), claims.clone()),
        (also(&head, r#""k\u0069d":"google-1""#), claims.clone()),
        (also(&head, r#""crit":["b64"],"b64":false"#), claims.clone()),
        (head.clone(), also(&claims, &format!(r#""email":{mine}"#))),
        (head.clone(), also(&claims, &format!(r#""em\u0061il":{mine}"#))),
        (head.clone(), format!("{claims} {claims}")),
        (r#"["RS256","google-1",null]"#.to_owned(), claims.clone()),
        (head.clone(), "[]".to_owned()),
    ] {
        let error = verify(&signed(&head, &claims)).expect_err(&head);
        assert!(matches!(error, BadToken::Unreadable { .. }), "{head} {claims}: {error}");
    }
}

#[test]
fn a_token_longer_than_any_is_not_even_read() {
    let padded = |bytes: usize| with("padding", json!("x".repeat(bytes)));
    assert_eq!(verify(&token(&head(), &padded(8 * 1024))), Ok(()));
    insta::assert_snapshot!(
        verify(&token(&head(), &padded(12 * 1024))).expect_err("too long"),
        @"the token cannot be read: it has more than 16384 bytes"
    );
}

#[test]
fn a_key_that_is_not_the_signers_is_named_so_that_it_can_be_looked_for() {
    let error = verify(&token(&json!({"alg": "RS256", "kid": "google-2"}), &claims()));
    assert_eq!(error, Err(BadToken::UnknownKey { id: "google-2".to_owned() }));
    let error = verify(&token(&json!({"alg": "RS256"}), &claims()));
    assert_eq!(error, Err(BadToken::UnknownKey { id: String::new() }));
}

#[test]
fn no_key_is_looked_for_on_behalf_of_a_token_that_would_not_be_taken() {
    for (claim, value) in [
        ("iss", json!("https://evil.example")),
        ("aud", json!("https://elsewhere.example.com/")),
        ("email", json!("mallory@evil.iam.gserviceaccount.com")),
        ("email_verified", json!(false)),
        ("exp", json!(NOW - 60)),
        ("iat", json!(NOW + 60)),
    ] {
        let error = super::verify(&token(&head(), &with(claim, value)), &Keys::default(), &expected(), NOW);
        assert!(!matches!(error, Ok(()) | Err(BadToken::UnknownKey { .. })), "{claim}: {error:?}");
    }
    let unknown = super::verify(&token(&head(), &claims()), &Keys::default(), &expected(), NOW);
    assert!(matches!(unknown, Err(BadToken::UnknownKey { .. })), "{unknown:?}");
}

#[test]
fn a_token_brings_no_key_of_its_own() {
    let head =
        json!({"alg": "RS256", "kid": "evil", "jku": "https://evil.example/keys", "jwk": {"kty": "oct", "k": "AA"}});
    assert!(verify(&token(&head, &claims())).is_err());
}

#[test]
fn what_is_no_token_is_refused() {
    let good = token(&head(), &claims());
    let padded = format!("{good}=");
    for text in ["", "a", "a.b", "..", "a.b.c.d", "%.%.%", &good[1..], &good.replace('.', ""), &padded] {
        assert!(matches!(verify(text), Err(BadToken::Unreadable { .. })), "{text}");
    }
}

#[test]
fn a_request_has_one_bearer_token_or_none() {
    let bearer = |values: &[&str]| {
        let pairs: Vec<_> = values.iter().map(|value| ("Authorization", *value)).collect();
        super::bearer(&headers(&pairs)).map(str::to_owned)
    };
    assert_eq!(bearer(&["Bearer abc"]), Some("abc".to_owned()));
    assert_eq!(bearer(&["bearer  abc "]), Some("abc".to_owned()));
    for values in [&[][..], &[""], &["Bearer"], &["Bearer "], &["Basic Zm9vOmJhcg=="], &["Bearer a", "Bearer b"]] {
        assert_eq!(bearer(values), None, "{values:?}");
    }
}

#[test]
fn keys_that_are_none_are_refused() {
    for json in ["", "{}", "[]", "[[]]", r#"{"keys":1}"#, r#"{"keys":[]}"#, r#"{"keys":[],"keys":[]}"#] {
        assert!(Keys::read(json.as_bytes()).is_err(), "{json}");
    }
    let error = read(json!([published(), published()])).expect_err("one name for two");
    insta::assert_snapshot!(error, @"this is not a JSON Web Key Set with the signer's keys: there are two keys `google-1`");
}

#[test]
fn keys_of_other_kinds_and_for_other_uses_are_left_out() {
    for (field, value) in [
        ("kty", json!("oct")),
        ("kty", json!("EC")),
        ("alg", json!("RS512")),
        ("use", json!("enc")),
        ("kid", json!(null)),
        ("n", json!("AQAB")),
        ("n", json!("not base64!")),
        ("e", json!(null)),
    ] {
        let mut other = published();
        other[field] = value.clone();
        assert!(read(json!([other])).is_err(), "{field}: {value}");
        other["kid"] = json!("other");
        assert!(read(json!([other, published()])).is_ok(), "{field}: {value}");
    }
    let bare = json!({"kid": "a", "kty": "RSA", "n": published()["n"], "e": "AQAB", "x5c": []});
    assert!(read(json!([bare])).is_ok(), "`alg` and `use` need not be told");
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "[\\PC.]{0,300}") {
        let _ = verify(&text);
        let _ = Keys::read(text.as_bytes());
    }
}
