//! The images that one tag or digest leads to, whatever pattern its tags follow.

use futures_util::future::try_join_all;

use super::read::Round;
use super::{Lookout, unfit_manifest};
use crate::model::{Digest, Found, Platform};
use crate::registry::{Document, Registry, RegistryError, is_attestation, read_manifest};

/// One image that a reference leads to.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Its digest; none where the registry gave something else than it announced.
    pub digest: Option<Digest>,
    /// What the index says that it runs on, if it is in one.
    pub entry: Option<Platform>,
    /// What it is.
    pub found: Found,
}

impl Lookout {
    /// The image that `reference` leads to, or every image of the index that it is; empty if the
    /// registry says that there is nothing.
    ///
    /// # Errors
    ///
    /// [`RegistryError`]: something could not be looked at.
    pub async fn images(&self, registry: &Registry, reference: &str) -> Result<Vec<Candidate>, RegistryError> {
        let round = Round::at(registry);
        let manifest = match registry.manifest(&self.repository, reference).await {
            Ok(Some(manifest)) => manifest,
            Ok(None) => return Ok(Vec::new()),
            Err(error) => {
                return Ok(vec![Candidate { digest: None, entry: None, found: Found::Unfit(unfit_manifest(error)?) }]);
            }
        };
        let entries = match read_manifest(manifest.content_type.as_deref(), &manifest.bytes) {
            Ok((_, Document::Index { manifests })) => manifests,
            Ok((_, Document::Image { .. })) | Err(_) => Vec::new(),
        };
        let entries: Vec<_> = entries.into_iter().filter(|entry| !is_attestation(entry)).collect();
        if entries.is_empty() {
            let found = self.open(&round, &manifest, None).await?;
            return Ok(vec![Candidate { digest: Some(manifest.digest), entry: None, found }]);
        }
        let opened = entries.into_iter().map(|entry| async {
            let found = self.open_entry(&round, &entry, Vec::new(), None, None).await?;
            Ok(Candidate { digest: Some(entry.digest), entry: entry.platform, found })
        });
        try_join_all(opened).await
    }
}
