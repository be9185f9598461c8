//! Reading what is not known yet, and making sure that what is known is still there.
//!
//! What a digest is can be remembered; that a registry has it cannot. So one look notes which
//! manifests it read by digest, and asks about the others where that matters.

use std::collections::HashSet;
use std::sync::Mutex;
use std::time::Instant;

use bytes::Bytes;
use futures_util::future::try_join_all;

use super::remembered::is_about_headers;
use super::{Known, Lookout, unfit_manifest};
use crate::model::text::clean;
use crate::model::{Claim, Descriptor, Digest, Fate, Job, Seen, Served, ServedChild, Tag, Unfit};
use crate::registry::{Document, Manifest, Registry, RegistryError, read_claim, read_manifest, read_served};

/// A manifest: a line with the media type that it was sent with, and its bytes.
const MANIFEST: &str = "manifest-1";
/// The size of a config, and what it claims or why it cannot be read, in JSON.
const CLAIM: &str = "claim-1";
/// The largest manifest that is remembered.
const LARGEST_MANIFEST: usize = 256 * 1024;

/// One look: the registry, and what it is known to have, because it was asked by digest.
pub(super) struct Round<'a> {
    pub(super) registry: &'a Registry,
    there: Mutex<HashSet<Digest>>,
}

impl Round<'_> {
    pub(super) fn at(registry: &Registry) -> Round<'_> {
        Round { registry, there: Mutex::default() }
    }

    fn there(&self) -> std::sync::MutexGuard<'_, HashSet<Digest>> {
        self.there.lock().expect("no panic happens while it is held")
    }
}

impl Lookout {
    /// Looks at everything that a decision about `job` needs, and at each manifest that the index
    /// under its plain tag names: is it there, and what does its config claim?
    ///
    /// # Errors
    ///
    /// Those of [`Lookout::look`].
    pub async fn survey(&self, registry: &Registry, job: &Job) -> Result<(Seen, Option<Served>), RegistryError> {
        let round = Round::at(registry);
        let seen = self.look_in(&round, job, &Known::default()).await?;
        let Some(published) = seen.published.get(&job.tag) else {
            return Ok((seen, None));
        };
        let digest = published.digest.clone();
        let Some(manifest) = self.manifest(&round, &digest).await? else {
            return Ok((seen, None));
        };
        let Some(mut children) = read_served(manifest.content_type.as_deref(), &manifest.bytes) else {
            return Ok((seen, None));
        };
        let fates = try_join_all(children.iter().map(|child| self.fate(&round, child))).await?;
        for (child, fate) in children.iter_mut().zip(fates) {
            child.fate = fate;
        }
        Ok((seen, Some(Served { digest, children })))
    }

    /// What became of an entry of an index.
    async fn fate(&self, round: &Round<'_>, child: &ServedChild) -> Result<Fate, RegistryError> {
        let entry = &child.descriptor;
        if !child.is_image() {
            let is_there = self.is_there(round, &entry.digest).await?;
            return Ok(if is_there { Fate::There } else { Fate::Lost });
        }
        let manifest = match self.child(round, &entry.digest).await {
            Ok(Some(manifest)) => manifest,
            Ok(None) => return Ok(Fate::Lost),
            Err(error) => return Ok(Fate::Unfit(unfit_manifest(error)?)),
        };
        match as_described(entry, &manifest) {
            Ok(Document::Image { config, .. }) => Ok(match self.claim(round, &config).await? {
                Ok(claim) => Fate::Image(Box::new(claim)),
                Err(unfit) => Fate::Unfit(unfit),
            }),
            Ok(Document::Index { .. }) => Ok(Fate::There),
            Err(unfit) => Ok(Fate::Unfit(unfit)),
        }
    }

    /// What `tag` holds, read under the tag; where HEADs are cheaper, by the digest that it stands
    /// for, and only if nobody knows that yet.
    pub(super) async fn manifest_of(&self, round: &Round<'_>, tag: &Tag) -> Result<Option<Manifest>, RegistryError> {
        if self.is_sparing {
            let Some(digest) = self.resolve(round.registry, tag).await? else {
                return Ok(None);
            };
            if let Some(manifest) = self.manifest(round, &digest).await? {
                return Ok(Some(manifest));
            }
        }
        let manifest = round.registry.manifest(&self.repository, tag.as_str()).await?;
        if let Some(manifest) = &manifest {
            self.remember(manifest);
        }
        Ok(manifest)
    }

    /// A manifest that is known, or that the registry has by this digest.
    async fn manifest(&self, round: &Round<'_>, digest: &Digest) -> Result<Option<Manifest>, RegistryError> {
        if let Some(known) = self.known(digest).await {
            return Ok(Some(known));
        }
        let manifest = round.registry.manifest(&self.repository, digest.as_str()).await?;
        if let Some(manifest) = &manifest {
            self.remember(manifest);
            self.is_known_there(round, digest);
        }
        Ok(manifest)
    }

    /// A manifest that the registry has by this digest now.
    pub(super) async fn child(&self, round: &Round<'_>, digest: &Digest) -> Result<Option<Manifest>, RegistryError> {
        match self.known(digest).await {
            Some(known) => Ok(self.is_there(round, digest).await?.then_some(known)),
            None => self.manifest(round, digest).await,
        }
    }

    /// Whether the registry has a manifest by this digest now.
    pub(super) async fn is_there(&self, round: &Round<'_>, digest: &Digest) -> Result<bool, RegistryError> {
        if round.there().contains(digest) {
            return Ok(true);
        }
        let is_there = round.registry.resolve(&self.repository, digest.as_str()).await?.is_some();
        if is_there {
            self.is_known_there(round, digest);
        }
        Ok(is_there)
    }

    fn is_known_there(&self, round: &Round<'_>, digest: &Digest) {
        round.there().insert(digest.clone());
        if !self.is_sparing {
            self.learned().there.insert(digest.clone(), Instant::now());
        }
    }

    /// What a config claims, or why it cannot be read.
    pub(super) async fn claim(
        &self,
        round: &Round<'_>,
        config: &Descriptor,
    ) -> Result<Result<Claim, Unfit>, RegistryError> {
        let known = self.facts.recall(CLAIM, &config.digest).await;
        let known: Option<(u64, _)> = known.and_then(|known| serde_json::from_slice(&known).ok());
        if let Some((_, claim)) = known.filter(|(size, _)| *size == config.size) {
            return Ok(claim);
        }
        Ok(self.config(round, config).await?.map(|(claim, _)| claim))
    }

    /// A config and what it claims, read from the registry.
    pub(super) async fn config(
        &self,
        round: &Round<'_>,
        config: &Descriptor,
    ) -> Result<Result<(Claim, Bytes), Unfit>, RegistryError> {
        let bytes = match round.registry.config(&self.repository, config).await? {
            None => return Ok(Err(Unfit::ContentMissing("its config".to_owned()))),
            Some(Err(unfit)) => return Ok(Err(unfit)),
            Some(Ok(bytes)) => bytes,
        };
        let claim = read_claim(&bytes);
        let fact = serde_json::to_vec(&(config.size, &claim)).expect("text and digests always serialize");
        self.facts.learn(CLAIM, &config.digest, fact.into());
        Ok(claim.map(|claim| (claim, bytes)))
    }

    async fn known(&self, digest: &Digest) -> Option<Manifest> {
        let fact = self.facts.recall(MANIFEST, digest).await?;
        let line = fact.iter().position(|byte| *byte == b'\n')?;
        let content_type = std::str::from_utf8(&fact[..line]).ok()?;
        let content_type = (!content_type.is_empty()).then(|| content_type.to_owned());
        let bytes = fact.slice(line + 1..);
        (Digest::of(&bytes) == *digest).then(|| Manifest { bytes, digest: digest.clone(), content_type })
    }

    fn remember(&self, manifest: &Manifest) {
        let content_type = manifest.content_type.as_deref().unwrap_or_default();
        if read_manifest(manifest.content_type.as_deref(), &manifest.bytes).is_err_and(|it| is_about_headers(&it)) {
            return;
        }
        if manifest.bytes.len() <= LARGEST_MANIFEST && !content_type.contains('\n') {
            let fact = [content_type.as_bytes(), b"\n", &manifest.bytes].concat();
            self.facts.learn(MANIFEST, &manifest.digest, Bytes::from(fact));
        }
    }
}

/// What a manifest is, if it is the one that the index describes.
pub(super) fn as_described(entry: &Descriptor, manifest: &Manifest) -> Result<Document, Unfit> {
    let found = manifest.bytes.len() as u64;
    let (media_type, document) = read_manifest(manifest.content_type.as_deref(), &manifest.bytes)?;
    if media_type != entry.media_type {
        let what = format!("the index calls its image `{}`, the image itself `{media_type}`", entry.media_type);
        return Err(Unfit::AmbiguousManifest(clean(&what, 250)));
    }
    if found != entry.size {
        return Err(Unfit::SizeMismatch { expected: entry.size, found });
    }
    Ok(document)
}
