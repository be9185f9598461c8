//! From an image's manifest to what is known of the image: its claim and, where they are asked,
//! what its files prove and what a copy with another label would be made of.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::try_join_all;

use super::read::Round;
use super::{Examined, Lookout, files};
use crate::model::image::Effort;
use crate::model::{Descriptor, Digest, Evidence, Found, Image, Original, Promise};
use crate::plan;
use crate::registry::{Registry, RegistryError, read_layers};

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
        let layers = match self.scope.evidence {
            true => read_layers(&opened.bytes),
            false => Ok(Vec::new()),
        };
        let mut evidence = match &layers {
            _ if !self.scope.evidence => None,
            Ok(layers) => files::known(&self.facts, &opened.config.digest, layers).await,
            Err(why) => Some(Evidence { gap: Some(why.clone()), ..Evidence::default() }),
        };
        let (mut effort, mut config) = (Effort::default(), None);
        let claim = match &layers {
            Ok(layers) if self.scope.evidence && evidence.is_none() => {
                let (claim, bytes) = match self.config(round, &opened.config).await? {
                    Ok(read) => read,
                    Err(unfit) => return Ok(Found::Unfit(unfit)),
                };
                let examined = self.examine(round.registry, &opened, &bytes, layers).await?;
                (evidence, effort, config) = (Some(examined.evidence), examined.effort, Some(bytes));
                claim
            }
            _ => match self.claim(round, &opened.config).await? {
                Ok(claim) => claim,
                Err(unfit) => return Ok(Found::Unfit(unfit)),
            },
        };
        let mut original = None;
        if self.scope.originals && promise.is_some_and(|promise| plan::contradicts(promise, &claim, evidence.as_ref()))
        {
            if config.is_none() {
                config = self.config(round, &opened.config).await?.ok().map(|(_, config)| config);
            }
            if let Some(config) = config {
                original = self.original(round.registry, &opened, config).await?;
            }
        }
        let Opened { manifest, has_foreign_layers, attestations, .. } = opened;
        let image = Image { manifest, claim, attestations, has_foreign_layers, evidence, effort, original };
        Ok(Found::Image(Box::new(image)))
    }

    /// What the image's files prove, and what it took to find out.
    async fn examine(
        &self,
        registry: &Registry,
        opened: &Opened,
        config: &Bytes,
        layers: &[Descriptor],
    ) -> Result<Examined, RegistryError> {
        let examined = files::examine(registry, &self.repository, config, layers, &self.facts).await?;
        let (image, Effort { bytes_read, layers_read, layers_known }) =
            (opened.manifest.digest.short(), examined.effort);
        tracing::info!(
            bytes_read,
            layers_read,
            layers_known,
            "Found what {image} starts: read {layers_read} of its layers, {bytes_read} bytes, and knew {layers_known}"
        );
        Ok(examined)
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
