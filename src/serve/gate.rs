//! Who may deliver: the proof that each hook asks for.

use std::collections::HashMap;
use std::sync::Arc;

use http::HeaderMap;
use reqwest::Url;

use super::google::{self, Keyring};
use super::settings::{Format, GoogleKeys, Hook, Proof};
use crate::webhook::{auth, oidc};

/// What a hook asks of its senders.
pub(super) enum Gate {
    /// Nothing, as its owner said explicitly.
    Open,
    /// A secret or a signature.
    Proof(auth::Proof),
    /// A token by Google.
    Google(oidc::Expected, Google),
    /// Something that cannot be given: nobody is let in.
    Closed,
}

/// Where Google's keys are.
pub(super) enum Google {
    /// Here.
    Given(oidc::Keys),
    /// At a server.
    Fetched(Arc<Keyring>),
}

/// Keys to fetch, by where from: hooks with one address have them in common.
pub(super) type Keyrings = HashMap<Url, Arc<Keyring>>;

/// The sender is not let in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NotAdmitted {
    /// It did not show what it should.
    Unproven,
    /// What it showed cannot be judged now.
    NotNow,
}

impl Gate {
    pub(super) fn of(hook: &Hook, keyrings: &mut Keyrings) -> Gate {
        let secrets = |secrets: &[secrecy::SecretString]| auth::Secrets::new(secrets.to_vec());
        let proof = match &hook.proof {
            Proof::Nothing => return Gate::Open,
            Proof::Header { name, values } => secrets(values).map(|values| auth::Proof::Header(name.clone(), values)),
            Proof::Url(urls) => secrets(urls).map(auth::Proof::Url),
            Proof::Signature(keys) => match signature(hook.format) {
                Some(signature) => secrets(keys).map(|keys| auth::Proof::Signature(signature, keys)),
                None => Err(auth::NoSecret),
            },
            Proof::GoogleToken { audience, email, keys } => {
                let expected = oidc::Expected { audience: audience.clone(), email: email.clone() };
                return Gate::Google(expected, google(keys, keyrings));
            }
        };
        proof.map_or(Gate::Closed, Gate::Proof)
    }

    /// Whether whoever passed [`Gate::admit_head`] is known, and not only after the body was read.
    pub(super) fn knows_by_head(&self) -> bool {
        matches!(self, Gate::Proof(auth::Proof::Header(..) | auth::Proof::Url(_)) | Gate::Google(..))
    }

    /// What can be refused before the body is read.
    pub(super) async fn admit_head(&self, url_secret: Option<&str>, headers: &HeaderMap) -> Result<(), NotAdmitted> {
        match self {
            Gate::Open => Ok(()),
            Gate::Proof(proof) => proof.verify_head(url_secret, headers).map_err(|_| NotAdmitted::Unproven),
            Gate::Google(expected, google) => {
                let token = oidc::bearer(headers).ok_or(NotAdmitted::Unproven)?;
                google.admit(token, expected).await
            }
            Gate::Closed => Err(NotAdmitted::Unproven),
        }
    }

    /// The rest, over the body as it came.
    pub(super) fn admit(&self, url_secret: Option<&str>, headers: &HeaderMap, body: &[u8]) -> Result<(), NotAdmitted> {
        match self {
            Gate::Proof(proof) => proof.verify(url_secret, headers, body).map_err(|_| NotAdmitted::Unproven),
            // A token says nothing of the body.
            Gate::Open | Gate::Google(..) => Ok(()),
            Gate::Closed => Err(NotAdmitted::Unproven),
        }
    }
}

impl Google {
    async fn admit(&self, token: &str, expected: &oidc::Expected) -> Result<(), NotAdmitted> {
        match self {
            Google::Given(keys) => google::verify(token, keys, expected).map_err(|bad| google::refused(&bad)),
            Google::Fetched(keyring) => keyring.verify(token, expected).await,
        }
    }
}

fn google(keys: &GoogleKeys, keyrings: &mut Keyrings) -> Google {
    match keys {
        GoogleKeys::Given(keys) => Google::Given(keys.clone()),
        GoogleKeys::At(url) => {
            let keyring = keyrings.entry(url.clone()).or_insert_with(|| Arc::new(Keyring::at(url.clone())));
            Google::Fetched(keyring.clone())
        }
    }
}

/// How deliveries of this format are signed, if they are.
fn signature(format: Format) -> Option<auth::Signature> {
    match format {
        Format::Ghcr => Some(auth::Signature::GitHub),
        Format::Gitea | Format::Forgejo => Some(auth::Signature::Gitea),
        Format::Artifactory => Some(auth::Signature::Artifactory),
        Format::Nexus => Some(auth::Signature::Nexus),
        _ => None,
    }
}
