//! Who speaks of an image by its digest: signatures, attestations and whatever else refers to it.

use futures_util::future::{try_join, try_join_all};
use reqwest::Method;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::error::RegistryError;
use super::wire::read_refusal;
use super::{LARGEST_MANIFEST, Registry};
use crate::model::index::OCI_INDEX;
use crate::model::{Digest, Repository};

/// The tags that speak of a digest where a registry has no referrers API: what they end in, and
/// what they hold.
const TAGS: [(&str, &str); 3] = [(".sig", "signature"), (".att", "attestation"), ("", "list of referrers")];

#[derive(Deserialize)]
struct Referrers {
    #[serde(default)]
    manifests: Vec<IgnoredAny>,
}

impl Registry {
    /// What speaks of `digest`, each in words; empty if nothing does.
    ///
    /// Wire: `GET /v2/<name>/referrers/<digest>` (distribution-spec 1.1, "Listing Referrers",
    /// end-12a), and `HEAD` of the tags that cosign and the specification's fallback write:
    /// `sha256-<hex>.sig`, `sha256-<hex>.att`, `sha256-<hex>`.
    ///
    /// # Errors
    ///
    /// [`RegistryError`]: the registry did not say.
    pub async fn vouchers(&self, repository: &Repository, digest: &Digest) -> Result<Vec<String>, RegistryError> {
        let base = digest.as_str().replacen(':', "-", 1);
        let tags = TAGS.map(|(ending, what)| {
            let tag = format!("{base}{ending}");
            async move {
                let found = self.resolve(repository, &tag).await?;
                Ok(found.map(|_| format!("the {what} `{}{ending}`", &tag[..19])))
            }
        });
        let (tags, referrers) = try_join(try_join_all(tags), self.referrers(repository, digest)).await?;
        let referrers = (referrers > 0).then(|| format!("the registry's list of {referrers} referrers"));
        Ok(tags.into_iter().flatten().chain(referrers).collect())
    }

    /// How many manifests refer to `digest`; none where the registry keeps no account of it.
    async fn referrers(&self, repository: &Repository, digest: &Digest) -> Result<usize, RegistryError> {
        let mut call = self.call(Method::GET, repository, &format!("referrers/{digest}"), LARGEST_MANIFEST);
        call.accept = OCI_INDEX;
        let answer = self.wire.send(&call).await?;
        match answer.status.as_u16() {
            200 => {
                // What is no such list comes from a registry that does not know the question.
                let referrers: Option<Referrers> = serde_json::from_slice(&answer.body).ok();
                Ok(referrers.map_or(0, |referrers| referrers.manifests.len()))
            }
            400 | 404 | 405 | 501 => Ok(0),
            _ => Err(RegistryError::Failed { request: call.line(), refusal: read_refusal(&answer) }),
        }
    }
}
