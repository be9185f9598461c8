//! Tokens that Google signs for the deliveries of Pub/Sub (OpenID Connect).
//!
//! A good token proves little: anybody with a Google account gets one, for any audience. What counts
//! is whose account it is. Google's keys and the time are given; fetching and clocks are elsewhere.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use jsonwebtoken::jwk::{AlgorithmParameters, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;

use super::message::header;
use crate::model::text::clean;

/// Google is known by either name.
const ISSUERS: [&str; 2] = ["https://accounts.google.com", "accounts.google.com"];

/// Google's keys, as `https://www.googleapis.com/oauth2/v3/certs` has them. They change every few
/// days.
#[derive(Clone, Debug)]
pub struct Keys(JwkSet);

impl Keys {
    /// Reads a JSON Web Key Set (RFC 7517).
    ///
    /// # Errors
    ///
    /// [`InvalidKeys`] if it is none.
    pub fn read(json: &[u8]) -> Result<Keys, InvalidKeys> {
        serde_json::from_slice(json).map(Keys).map_err(InvalidKeys)
    }

    fn find(&self, id: &str) -> Option<DecodingKey> {
        match &self.0.find(id)?.algorithm {
            AlgorithmParameters::RSA(rsa) => DecodingKey::from_rsa_components(&rsa.n, &rsa.e).ok(),
            _ => None,
        }
    }
}

/// Text that is not a set of keys.
#[derive(Debug, thiserror::Error)]
#[error("the signer's keys cannot be read")]
pub struct InvalidKeys(#[source] serde_json::Error);

/// Who may deliver, and to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Whom the token is for: by default of a subscription, the URL that it pushes to.
    pub audience: String,
    /// The service account that the subscription pushes as.
    pub email: String,
}

/// Why a token proves nothing. None of them shows the token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadToken {
    /// There is none.
    #[error("the header `authorization` has no bearer token")]
    Missing,
    /// It is not a token, or one without what a token of Google has.
    #[error("the token cannot be read: {problem}")]
    Unreadable {
        /// What is wrong with it.
        problem: String,
    },
    /// It is signed in a way that Google does not sign.
    #[error("the token is signed with {found}, expected RS256")]
    OtherAlgorithm {
        /// How it is signed.
        found: String,
    },
    /// The signer's keys may have changed: they are worth fetching again, now and then.
    #[error("the token is signed with the key `{id}`, which is not among the signer's keys")]
    UnknownKey {
        /// The key's name.
        id: String,
    },
    /// Somebody else signed it, or something was changed.
    #[error("the signature of the token does not match")]
    WrongSignature,
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
}

/// What Google says of a sender. A claim that is missing makes a token unreadable.
#[derive(Debug, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    exp: u64,
    email: String,
    email_verified: bool,
}

impl Account {
    /// Whether a delivery comes from this account, by the token in its headers.
    ///
    /// # Errors
    ///
    /// [`BadToken`]; for the sender they are all one, only [`BadToken::UnknownKey`] is worth another
    /// look at the signer's keys.
    pub fn verify(&self, headers: &HeaderMap, keys: &Keys, now: SystemTime) -> Result<(), BadToken> {
        let claims = signed_claims(bearer(headers).ok_or(BadToken::Missing)?, keys)?;
        let check = |claim, found: &str, expected: &str| {
            if found == expected {
                return Ok(());
            }
            Err(BadToken::OtherClaim { claim, found: clean(found, 120), expected: expected.to_owned() })
        };
        if !ISSUERS.contains(&claims.iss.as_str()) {
            check("iss", &claims.iss, ISSUERS[0])?;
        }
        check("aud", &claims.aud, &self.audience)?;
        check("email", &claims.email, &self.email)?;
        check("email_verified", &claims.email_verified.to_string(), "true")?;
        let since_1970 = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::MAX);
        if since_1970 >= Duration::from_secs(claims.exp) {
            return Err(BadToken::Expired);
        }
        Ok(())
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = header(headers, "authorization")?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The claims of a token that one of the keys signed. What they say is not looked at here.
fn signed_claims(token: &str, keys: &Keys) -> Result<Claims, BadToken> {
    let unreadable = |error: &dyn std::error::Error| BadToken::Unreadable { problem: clean(&error.to_string(), 120) };
    let head = jsonwebtoken::decode_header(token).map_err(|error| unreadable(&error))?;
    if head.alg != Algorithm::RS256 {
        return Err(BadToken::OtherAlgorithm { found: format!("{:?}", head.alg) });
    }
    let id = head.kid.unwrap_or_default();
    let key = keys.find(&id).ok_or_else(|| BadToken::UnknownKey { id: clean(&id, 80) })?;

    // The crate would read the clock for these, and pass over some that are missing.
    let mut signature_only = Validation::new(Algorithm::RS256);
    signature_only.required_spec_claims.clear();
    signature_only.validate_exp = false;
    signature_only.validate_nbf = false;
    signature_only.validate_aud = false;
    let token = jsonwebtoken::decode::<Claims>(token, &key, &signature_only);
    token.map(|token| token.claims).map_err(|error| match error.kind() {
        jsonwebtoken::errors::ErrorKind::InvalidSignature => BadToken::WrongSignature,
        _ => unreadable(&error),
    })
}

#[cfg(test)]
mod tests;
