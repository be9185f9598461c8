//! Writing copies of images whose label was repaired, before the index that names them.
//!
//! A copy has no tag: it is there by its digest, like every image that an index names. Its layers
//! are the image's own. What is there already is not written again.

use super::{Publisher, Stage};
use crate::model::Job;
use crate::plan::Rewritten;
use crate::registry::{Registry, RegistryError};

impl Publisher {
    /// Writes every copy and reads it back. Says what moved, if anything did.
    ///
    /// # Errors
    ///
    /// [`RegistryError`]: a copy could not be written. No tag was touched.
    pub(super) async fn write_copies(
        &self,
        registry: &Registry,
        job: &Job,
        copies: &[Rewritten],
    ) -> Result<Option<String>, RegistryError> {
        for copy in copies {
            (self.progress)(&job.tag, Stage::Writing);
            let Rewritten { of, descriptor, manifest, config_digest, config } = copy;
            let digest = &descriptor.digest;
            registry.put_blob(&job.repository, config_digest, config).await?;
            match registry.put_image(&job.repository, &descriptor.media_type, digest, manifest).await {
                Ok(()) => {}
                Err(RegistryError::MissingImage { .. }) => {
                    return Ok(Some(format!("the registry does not know a layer of {} any more", of.short())));
                }
                Err(error) => return Err(error),
            }
            if registry.resolve(&job.repository, digest.as_str()).await?.as_ref() != Some(digest) {
                return Ok(Some(format!("the registry took the copy {} and does not serve it", digest.short())));
            }
            tracing::info!(image.digest = %digest, "Wrote {} as a copy of {} with the right label", digest.short(), of.short());
        }
        Ok(None)
    }
}
