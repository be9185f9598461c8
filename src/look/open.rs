//! From an image's manifest to what is known of the image: its claim and, where they are asked,
//! what its files prove and what a copy with another label would be made of.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::try_join_all;

use super::read::Round;
use super::{Lookout, files};
use crate::model::{Descriptor, Digest, Evidence, Found, Image, Original, Promise, Unfit};
use crate::plan;
use crate::registry::{Registry, RegistryError, read_claim, read_layers};

/// The largest manifest and config, together, that a copy is made of.
const LARGEST_ORIGINAL: usize = 1024 * 1024;

/// An image's manifest, and what stands around it.
pub(super) struct Opened {
    pub(super) manifest: Descriptor,
    pub(super) bytes: Bytes,
    pub(super) config: Box<Descriptor>,
    pub(super) has_foreign_layers: bool,
    /// Attestations that are carried along.
    pub(super) attestations: Vec<Descriptor>,
    /// The index that it was found in, and whether it holds attestations.
    pub(super) index: Option<(Digest, bool)>,
}

impl Lookout {
    /// Reads what is asked about an image.
    pub(super) async fn image(
        &self,
        round: &Round<'_>,
        opened: Opened,
        promise: Option<&Promise>,
    ) -> Result<Found, RegistryError> {
        let asks_more = self.scope.evidence || self.scope.originals;
        if !asks_more {
            let claim = match self.claim(round, &opened.config).await? {
                Ok(claim) => claim,
                Err(unfit) => return Ok(Found::Unfit(unfit)),
            };
            let Opened { manifest, has_foreign_layers, attestations, .. } = opened;
            let (evidence, bytes_read, original) = (None, 0, None);
            let image = Image { manifest, claim, attestations, has_foreign_layers, evidence, bytes_read, original };
            return Ok(Found::Image(Box::new(image)));
        }
        let registry = round.registry;
        let config = match registry.config(&self.repository, &opened.config).await? {
            None => return Ok(Found::Unfit(Unfit::ContentMissing("its config".to_owned()))),
            Some(Ok(config)) => config,
            Some(Err(unfit)) => return Ok(Found::Unfit(unfit)),
        };
        let claim = match read_claim(&config) {
            Ok(claim) => claim,
            Err(unfit) => return Ok(Found::Unfit(unfit)),
        };
        let (evidence, bytes_read) = match self.scope.evidence {
            true => self.evidence(registry, &opened, &config).await?,
            false => (None, 0),
        };
        let is_mislabelled = promise.is_some_and(|promise| plan::contradicts(promise, &claim));
        let original = match self.scope.originals && is_mislabelled {
            true => self.original(registry, &opened, config).await?,
            false => None,
        };
        let Opened { manifest, has_foreign_layers, attestations, .. } = opened;
        let image = Image { manifest, claim, attestations, has_foreign_layers, evidence, bytes_read, original };
        Ok(Found::Image(Box::new(image)))
    }

    /// What the image's files prove, and how many bytes of its layers were read to find out.
    async fn evidence(
        &self,
        registry: &Registry,
        opened: &Opened,
        config: &Bytes,
    ) -> Result<(Option<Evidence>, u64), RegistryError> {
        let layers = match read_layers(&opened.bytes) {
            Ok(layers) => layers,
            Err(why) => return Ok((Some(Evidence { gap: Some(why), ..Evidence::default() }), 0)),
        };
        let examined = files::examine(registry, &self.repository, config, &layers, &self.facts).await?;
        let (image, bytes_read) = (opened.manifest.digest.short(), examined.bytes_read);
        if bytes_read > 0 {
            tracing::info!(bytes_read, "Read {bytes_read} bytes of layers to find what {image} starts");
        } else {
            tracing::info!(bytes_read, "Knew what {image} starts");
        }
        Ok((Some(examined.evidence), examined.bytes_read))
    }

    /// What a copy would be made of, and who would not vouch for it; none where that is too large.
    async fn original(
        &self,
        registry: &Registry,
        opened: &Opened,
        config: Bytes,
    ) -> Result<Option<Arc<Original>>, RegistryError> {
        if opened.bytes.len() + config.len() > LARGEST_ORIGINAL {
            return Ok(None);
        }
        let index = opened.index.as_ref();
        let digests = index.map(|(digest, _)| digest).into_iter().chain([&opened.manifest.digest]);
        let told = try_join_all(digests.map(|digest| registry.vouchers(&self.repository, digest))).await?;
        let beside = index.filter(|(_, has_attestations)| *has_attestations);
        let beside = beside.map(|_| "the attestation beside it".to_owned());
        let vouchers = beside.into_iter().chain(told.into_iter().flatten()).collect();
        Ok(Some(Arc::new(Original { manifest: opened.bytes.clone(), config, vouchers })))
    }
}
