//! Who may deliver: the proof that each hook asks for.

use http::HeaderMap;

use super::settings::{Format, Hook, Proof};
use crate::webhook::auth;

/// What a hook asks of its senders.
pub(super) enum Gate {
    /// Nothing, as its owner said explicitly.
    Open,
    /// A secret or a signature.
    Proof(auth::Proof),
    /// Something that cannot be given: nobody is let in.
    Closed,
}

/// The sender is not let in.
#[derive(Debug)]
pub(super) struct NotAdmitted;

impl Gate {
    pub(super) fn of(hook: &Hook) -> Gate {
        let secrets = |secrets: &[secrecy::SecretString]| auth::Secrets::new(secrets.to_vec());
        let proof = match &hook.proof {
            Proof::Nothing => return Gate::Open,
            Proof::Header { name, values } => secrets(values).map(|values| auth::Proof::Header(name.clone(), values)),
            Proof::Url(urls) => secrets(urls).map(auth::Proof::Url),
            Proof::Signature(keys) => match signature(hook.format) {
                Some(signature) => secrets(keys).map(|keys| auth::Proof::Signature(signature, keys)),
                None => Err(auth::NoSecret),
            },
            Proof::GoogleToken { .. } => Err(auth::NoSecret),
        };
        proof.map_or(Gate::Closed, Gate::Proof)
    }

    /// What can be refused before the body is read.
    pub(super) async fn admit_head(&self, url_secret: Option<&str>, headers: &HeaderMap) -> Result<(), NotAdmitted> {
        match self {
            Gate::Open => Ok(()),
            Gate::Proof(proof) => proof.verify_head(url_secret, headers).map_err(|_| NotAdmitted),
            Gate::Closed => Err(NotAdmitted),
        }
    }

    /// The rest, over the body as it came.
    pub(super) fn admit(&self, url_secret: Option<&str>, headers: &HeaderMap, body: &[u8]) -> Result<(), NotAdmitted> {
        match self {
            Gate::Proof(proof) => proof.verify(url_secret, headers, body).map_err(|_| NotAdmitted),
            Gate::Open => Ok(()),
            Gate::Closed => Err(NotAdmitted),
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
