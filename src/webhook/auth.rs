//! Proofs: whether a delivery comes from who may deliver here.
//!
//! Everything is computed over the bytes as they came, before anything reads them, and compared in
//! constant time. Several secrets can be in use while one replaces another. A proof is chosen by
//! configuration; what a request looks like never chooses an easier one.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderMap, HeaderName};
use secrecy::{ExposeSecret as _, SecretString};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::message::payload;

/// The secrets in use: one, or several while they are changed. There is at least one, and none is
/// empty.
#[derive(Clone, Debug)]
pub struct Secrets(Vec<SecretString>);

impl Secrets {
    /// # Errors
    ///
    /// [`NoSecret`] if there is none, or an empty one: it would let anybody in.
    pub fn new(secrets: Vec<SecretString>) -> Result<Secrets, NoSecret> {
        if secrets.is_empty() || secrets.iter().any(|secret| secret.expose_secret().is_empty()) {
            return Err(NoSecret);
        }
        Ok(Secrets(secrets))
    }

    /// Whether `is_right` for any secret. All are tried, so that time does not tell which.
    fn any(&self, is_right: impl Fn(&[u8]) -> bool) -> bool {
        self.0.iter().fold(false, |found, secret| found | is_right(secret.expose_secret().as_bytes()))
    }
}

/// No secret, or an empty one.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a hook needs a secret that is not empty, or `secret = \"none\"` to take deliveries from anybody")]
pub struct NoSecret;

/// What proves a sender.
#[derive(Clone, Debug)]
pub enum Proof {
    /// A header whose whole value is a secret, with the scheme word if the sender adds one. Senders:
    /// Distribution, GitLab, zot, Harbor, ACR, EventBridge, Artifactory without payload signing.
    Header(HeaderName, Secrets),
    /// A secret in the URL, for senders that know nothing better. It proves nothing of the content.
    Url(Secrets),
    /// A signature of the body.
    Signature(Signature, Secrets),
}

/// How a body is signed, and where the signature stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signature {
    /// `X-Hub-Signature-256: sha256=<hex>` over the body as sent, form or not. The SHA-1 beside it
    /// is not looked at.
    GitHub,
    /// `X-Gitea-Signature: <hex>`, or Forgejo's or GitHub's header, over the JSON, also of a form.
    Gitea,
    /// `X-JFrog-Event-Auth: <hex>`, with "use secret for payload signing".
    Artifactory,
    /// `X-Nexus-Webhook-Signature: <hex>`, and SHA-1 it is.
    Nexus,
}

/// Why a delivery is not to be trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unproven {
    /// There is no proof at all, or an empty one.
    #[error("{0} is missing or empty")]
    Missing(Place),
    /// There is one, and it is wrong.
    #[error("{0} does not match")]
    Wrong(Place),
}

/// Where a proof was looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In this header.
    Header(HeaderName),
    /// In the URL.
    Url,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Header(name) => write!(f, "the header `{name}`"),
            Place::Url => f.write_str("the secret in the URL"),
        }
    }
}

impl Proof {
    /// Whether the sender is who may deliver: the whole check, over the body as it came.
    ///
    /// # Errors
    ///
    /// [`Unproven`]; both kinds deserve the same answer.
    pub fn verify(&self, url_secret: Option<&str>, headers: &HeaderMap, body: &[u8]) -> Result<(), Unproven> {
        self.verify_head(url_secret, headers)?;
        match self {
            Proof::Header(..) | Proof::Url(_) => Ok(()),
            Proof::Signature(signature, secrets) => signature.verify(secrets, headers, body),
        }
    }

    /// What can be refused before the body is read. Of a signature, only that there is one:
    /// [`Proof::verify`] has still to be asked.
    ///
    /// # Errors
    ///
    /// [`Unproven`], as for the whole.
    pub fn verify_head(&self, url_secret: Option<&str>, headers: &HeaderMap) -> Result<(), Unproven> {
        match self {
            Proof::Header(name, secrets) => {
                let values = headers.get_all(name).iter().map(|value| value.as_bytes());
                check(Place::Header(name.clone()), values, |value| secrets.any(|secret| is_same(secret, value)))
            }
            Proof::Url(secrets) => {
                let values = url_secret.into_iter().map(str::as_bytes);
                check(Place::Url, values, |value| secrets.any(|secret| is_same(secret, value)))
            }
            Proof::Signature(signature, _) => check(signature.place(), signature.values(headers), |_| true),
        }
    }
}

impl Signature {
    /// The headers that it may stand in, and what stands before its hex digits.
    fn headers(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Signature::GitHub => &[("x-hub-signature-256", "sha256=")],
            Signature::Gitea => {
                &[("x-gitea-signature", ""), ("x-forgejo-signature", ""), ("x-hub-signature-256", "sha256=")]
            }
            Signature::Artifactory => &[("x-jfrog-event-auth", "")],
            Signature::Nexus => &[("x-nexus-webhook-signature", "")],
        }
    }

    fn place(self) -> Place {
        Place::Header(HeaderName::from_static(self.headers()[0].0))
    }

    /// Every signature of a delivery. Gitea sends the headers without a secret, too: what is left of
    /// them is empty.
    fn values(self, headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
        self.headers().iter().flat_map(move |(name, prefix)| {
            let values = headers.get_all(*name).iter().map(|value| value.as_bytes());
            values.map(move |value| value.strip_prefix(prefix.as_bytes()).unwrap_or(value))
        })
    }

    fn verify(self, secrets: &Secrets, headers: &HeaderMap, body: &[u8]) -> Result<(), Unproven> {
        let signed = match self {
            Signature::Gitea => payload(headers, body).map_err(|_| Unproven::Wrong(self.place()))?,
            _ => body.into(),
        };
        check(self.place(), self.values(headers), |value| {
            let Some(value) = from_hex(value) else {
                return false;
            };
            secrets.any(|secret| match self {
                Signature::Nexus => is_sha1_of(&value, secret, &signed),
                _ => is_sha256_of(&value, secret, &signed),
            })
        })
    }
}

/// One right value is enough, since a header may be repeated. All are tried.
fn check<'a>(
    place: Place,
    values: impl Iterator<Item = &'a [u8]>,
    is_right: impl Fn(&[u8]) -> bool,
) -> Result<(), Unproven> {
    let (mut is_there, mut is_proven) = (false, false);
    for value in values.filter(|value| !value.is_empty()) {
        is_there = true;
        is_proven |= is_right(value);
    }
    match (is_there, is_proven) {
        (_, true) => Ok(()),
        (true, false) => Err(Unproven::Wrong(place)),
        (false, false) => Err(Unproven::Missing(place)),
    }
}

/// Compares hashes, so that time tells nothing of the secret, nor of its length.
fn is_same(secret: &[u8], value: &[u8]) -> bool {
    Sha256::digest(secret).ct_eq(&Sha256::digest(value)).into()
}

fn is_sha256_of(value: &[u8], secret: &[u8], signed: &[u8]) -> bool {
    let hmac = Hmac::<Sha256>::new_from_slice(secret).expect("a key of any length will do");
    hmac.chain_update(signed).verify_slice(value).is_ok()
}

fn is_sha1_of(value: &[u8], secret: &[u8], signed: &[u8]) -> bool {
    let hmac = Hmac::<Sha1>::new_from_slice(secret).expect("a key of any length will do");
    hmac.chain_update(signed).verify_slice(value).is_ok()
}

/// Bytes of hex digits, small or capital: a signature is no secret, and its spelling no proof.
fn from_hex(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pair = |pair: &[u8]| u8::try_from(digit(pair[0])? * 16 + digit(*pair.get(1)?)?).ok();
    text.chunks(2).map(pair).collect()
}

#[cfg(test)]
mod tests;
