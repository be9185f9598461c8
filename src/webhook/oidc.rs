//! Tokens that Google signs for the deliveries of Pub/Sub (OpenID Connect).
//!
//! A good token proves little: anybody with a Google account gets one, for any audience. What counts
//! is whose account it is. Google's keys and the time are given; fetching and clocks are elsewhere.
//!
//! The format is read here, not by a crate for tokens of all kinds: one way of signing is taken,
//! whatever a token says of itself, and no key that it brings along.

use std::collections::BTreeMap;

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::model::text::clean;

/// Google is known by either name.
const ISSUERS: [&str; 2] = ["https://accounts.google.com", "accounts.google.com"];
/// Google's are of about a kilobyte.
const LONGEST_TOKEN_BYTES: usize = 16 * 1024;
/// How far our clock and the signer's may be apart.
const LEEWAY_SECS: u64 = 30;
/// The sizes of a key that signatures are checked with.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;

/// Google's keys, as `https://www.googleapis.com/oauth2/v3/certs` has them. They change every few
/// days.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys(BTreeMap<String, Key>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    modulus: Vec<u8>,
    exponent: Vec<u8>,
}

/// A JSON Web Key Set (RFC 7517).
#[derive(Deserialize)]
struct KeySet {
    keys: Vec<KeyEntry>,
}

#[derive(Deserialize)]
struct KeyEntry {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    used_for: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

impl Keys {
    /// Reads a JSON Web Key Set (RFC 7517). Keys of other kinds and for other uses are left out.
    ///
    /// # Errors
    ///
    /// [`InvalidKeys`] if it is none, if no key is left, or if two have the same name.
    pub fn read(json: &[u8]) -> Result<Keys, InvalidKeys> {
        let set: KeySet = object(json).map_err(|problem| InvalidKeys { problem })?;
        let mut keys = BTreeMap::new();
        for (id, key) in set.keys.iter().filter_map(KeyEntry::key) {
            if keys.insert(id.to_owned(), key).is_some() {
                return Err(InvalidKeys { problem: format!("there are two keys `{}`", clean(id, 80)) });
            }
        }
        if keys.is_empty() {
            return Err(InvalidKeys { problem: "there is no RSA key of 2048 to 8192 bits for RS256".to_owned() });
        }
        Ok(Keys(keys))
    }
}

impl KeyEntry {
    /// The key with its name, if it is one for signatures of the kind that Google makes.
    fn key(&self) -> Option<(&str, Key)> {
        let is_or_absent = |text: &Option<String>, wanted| text.as_deref().is_none_or(|text| text == wanted);
        let is_usable = self.kty == "RSA" && is_or_absent(&self.alg, "RS256") && is_or_absent(&self.used_for, "sig");
        let number = |text: &Option<String>| BASE64_URL_SAFE_NO_PAD.decode(text.as_deref()?).ok();
        let key = Key { modulus: number(&self.n)?, exponent: number(&self.e)? };
        let fits = KEY_BYTES.contains(&key.modulus.len()) && key.modulus[0] != 0;
        (is_usable && fits).then_some((self.kid.as_deref()?, key))
    }
}

/// Text that is not a set of keys that tokens can be verified with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not a JSON Web Key Set with the signer's keys: {problem}")]
pub struct InvalidKeys {
    problem: String,
}

/// Who may deliver, and to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Whom the token is for: by default of a subscription, the URL that it pushes to.
    pub audience: String,
    /// The service account that the subscription pushes as.
    pub email: String,
}

/// Why a token proves nothing. None of them shows the token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadToken {
    /// It is not a token, or one without what a token of Google has.
    #[error("the token cannot be read: {problem}")]
    Unreadable {
        /// What is wrong with it.
        problem: String,
    },
    /// It is signed in a way that Google does not sign.
    #[error("the token is signed with `{found}`, expected `RS256`")]
    OtherAlgorithm {
        /// How it is signed.
        found: String,
    },
    /// It was signed for somebody else or by somebody else.
    #[error("the token's `{claim}` is `{found}`, expected `{expected}`")]
    OtherClaim {
        /// What it says it of.
        claim: &'static str,
        /// What it says.
        found: String,
        /// What it should say.
        expected: String,
    },
    /// It was good once.
    #[error("the token has expired")]
    Expired,
    /// It is of a time to come, and so one of the two clocks is wrong.
    #[error("the token's `{claim}` is later than now")]
    TooEarly {
        /// Which of its times.
        claim: &'static str,
    },
    /// Everything fits but the key, which is not known: it is worth looking for, now and then.
    #[error("the token is signed with the key `{id}`, which is not among the signer's keys")]
    UnknownKey {
        /// The key's name.
        id: String,
    },
    /// Somebody else signed it, or something was changed.
    #[error("the signature of the token does not match")]
    WrongSignature,
}

/// What a token says of its signature. What else it says there is not looked at: it may name keys
/// and places to get them from.
#[derive(Deserialize)]
struct Head {
    alg: String,
    kid: Option<String>,
    /// What a reader must understand (RFC 7515, 4.1.11); Google asks for nothing.
    crit: Option<IgnoredAny>,
}

/// What Google says of a sender. A claim that is missing makes a token unreadable.
#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    exp: u64,
    iat: u64,
    nbf: Option<u64>,
    email: String,
    email_verified: bool,
}

/// The token of a request, which has just one.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// Whether a token is Google's word that the sender is who is expected, at this time.
///
/// The signature comes last: [`BadToken::UnknownKey`] is told of no token that would not be taken if
/// the key were known.
///
/// # Errors
///
/// [`BadToken`]; for the sender they are all one.
pub fn verify(token: &str, keys: &Keys, expected: &Expected, now_unix_secs: u64) -> Result<(), BadToken> {
    if token.len() > LONGEST_TOKEN_BYTES {
        return Err(unreadable(format!("it has more than {LONGEST_TOKEN_BYTES} bytes")));
    }
    let (signed, signature) = token.rsplit_once('.').ok_or_else(|| unreadable("it has no signature"))?;
    let (head, claims) = signed.split_once('.').ok_or_else(|| unreadable("it has no claims"))?;
    let head: Head = object(&part("head", head)?).map_err(unreadable)?;
    if head.alg != "RS256" {
        return Err(BadToken::OtherAlgorithm { found: clean(&head.alg, 40) });
    }
    if head.crit.is_some() {
        return Err(unreadable("it asks for an extension (`crit`)"));
    }
    let claims: Claims = object(&part("claims", claims)?).map_err(unreadable)?;
    claims.check(expected, now_unix_secs)?;

    let signature = part("signature", signature)?;
    let id = head.kid.unwrap_or_default();
    let key = keys.0.get(&id).ok_or_else(|| BadToken::UnknownKey { id: clean(&id, 80) })?;
    let key = RsaPublicKeyComponents { n: &key.modulus, e: &key.exponent };
    let result = key.verify(&RSA_PKCS1_2048_8192_SHA256, signed.as_bytes(), &signature);
    result.map_err(|_| BadToken::WrongSignature)
}

impl Claims {
    fn check(&self, expected: &Expected, now: u64) -> Result<(), BadToken> {
        let check = |claim, found: &str, expected: &str| {
            if found == expected {
                return Ok(());
            }
            Err(BadToken::OtherClaim { claim, found: clean(found, 120), expected: expected.to_owned() })
        };
        if !ISSUERS.contains(&self.iss.as_str()) {
            check("iss", &self.iss, ISSUERS[0])?;
        }
        check("aud", &self.aud, &expected.audience)?;
        check("email", &self.email, &expected.email)?;
        check("email_verified", &self.email_verified.to_string(), "true")?;
        if now >= self.exp.saturating_add(LEEWAY_SECS) {
            return Err(BadToken::Expired);
        }
        for (claim, time) in [("iat", self.iat), ("nbf", self.nbf.unwrap_or(0))] {
            if time > now.saturating_add(LEEWAY_SECS) {
                return Err(BadToken::TooEarly { claim });
            }
        }
        Ok(())
    }
}

fn unreadable(problem: impl Into<String>) -> BadToken {
    BadToken::Unreadable { problem: problem.into() }
}

/// One of the three parts of a token.
fn part(name: &str, text: &str) -> Result<Vec<u8>, BadToken> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(text);
    bytes.map_err(|error| unreadable(format!("its {name} is not base64url ({error})")))
}

/// A JSON object. A key that is asked for and stands twice is refused by the reader.
fn object<'de, T: Deserialize<'de>>(json: &'de [u8]) -> Result<T, String> {
    if json.trim_ascii_start().first() != Some(&b'{') {
        return Err("it is not a JSON object".to_owned());
    }
    serde_json::from_slice(json).map_err(|error| clean(&error.to_string(), 120))
}

#[cfg(test)]
mod tests;
