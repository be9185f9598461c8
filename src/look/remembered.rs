//! What is remembered between looks, for as long as a lookout lives, and what memory is not enough for.
//!
//! What a digest is stays true. That an architecture tag stands for the same index as before says
//! nothing of the image in it, which a clean-up may have deleted since: before something is written
//! that names it, it is asked for.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use futures_util::future::try_join_all;

use super::Lookout;
use crate::model::image::{Content, Effort};
use crate::model::{Digest, Found, Image, Index, Observation, Seen, Tag, Unfit};
use crate::registry::{Registry, RegistryError, read_published};

/// The most digests that are remembered; beyond, everything is read again.
const MOST_DIGESTS: usize = 20_000;

/// What was learned. Tags move, so theirs is only a guess that saves a GET where it is right.
#[derive(Debug, Default)]
pub(super) struct Learned {
    pub(super) tags: HashMap<Tag, Digest>,
    pub(super) found: HashMap<Digest, Found>,
    pub(super) content: HashMap<Digest, Content>,
    /// When the registry last said that it has a manifest, asked by digest.
    pub(super) there: HashMap<Digest, Instant>,
}

impl Lookout {
    /// Lets the next look read these tags at once, where they are said to stand for something new:
    /// asking first what they stand for would be a round more.
    pub fn expect(&self, hints: &BTreeMap<Tag, Digest>) {
        let mut learned = self.learned();
        for (tag, digest) in hints {
            if !learned.found.contains_key(digest) {
                learned.tags.remove(tag);
            }
        }
    }

    /// Remembers what was just written under `tag`, so that it need not be read again.
    pub fn wrote(&self, tag: &Tag, index: &Index) {
        let content = read_published(Some(index.kind().media_type()), index.bytes());
        let mut learned = self.learned();
        learned.tags.insert(tag.clone(), index.digest().clone());
        learned.content.insert(index.digest().clone(), content);
    }

    /// The first image or attestation inside of an architecture tag's index that the registry does not
    /// have any more, of those that it was not asked about since; the next look asks about all of them.
    ///
    /// # Errors
    ///
    /// [`RegistryError`]: the registry did not say.
    pub async fn lost_since(
        &self,
        registry: &Registry,
        seen: &Seen,
        since: Instant,
    ) -> Result<Option<Digest>, RegistryError> {
        let unasked: Vec<&Digest> = {
            let learned = self.learned();
            let is_asked = |digest: &Digest| learned.there.get(digest).is_some_and(|asked| *asked >= since);
            let named = seen.observed.iter().filter_map(inner).flat_map(digests);
            named.filter(|digest| !is_asked(digest)).collect()
        };
        let found = try_join_all(unasked.iter().map(|d| registry.resolve(&self.repository, d.as_str()))).await?;
        let lost = unasked.into_iter().zip(found).find(|(_, found)| found.is_none());
        if lost.is_some() {
            self.forget_inner(seen);
        }
        Ok(lost.map(|(digest, _)| digest.clone()))
    }

    /// Lets the next look open the indexes again that architecture tags stand for.
    pub fn forget_inner(&self, seen: &Seen) {
        let mut learned = self.learned();
        for digest in seen.observed.iter().filter(|it| inner(it).is_some()).filter_map(|it| it.digest.as_ref()) {
            learned.found.remove(digest);
        }
    }

    pub(super) fn learned(&self) -> std::sync::MutexGuard<'_, Learned> {
        let mut learned = self.learned.lock().expect("no panic happens while it is held");
        let sizes = [learned.tags.len(), learned.found.len(), learned.content.len(), learned.there.len()];
        if sizes.into_iter().any(|size| size > MOST_DIGESTS) {
            *learned = Learned::default();
        }
        learned
    }
}

/// What is remembered of a look: not what it cost.
pub(super) fn for_next_time(mut found: Found) -> Found {
    if let Found::Image(image) = &mut found {
        image.effort = Effort::default();
    }
    found
}

/// Whether a digest will always lead to this; what is missing or broken today may be there tomorrow.
pub(super) fn is_true_for_ever(found: &Found) -> bool {
    match found {
        // Who vouches for an image may change any day. What files prove has a memory of its own, which
        // knows which gaps stay.
        Found::Image(image) => {
            image.original.is_none() && image.evidence.as_ref().is_none_or(|evidence| evidence.gap.is_none())
        }
        Found::Missing => false,
        Found::Unfit(unfit) => {
            !matches!(
                unfit,
                Unfit::ContentMissing(_)
                    | Unfit::AttestationMissing(_)
                    | Unfit::DigestMismatch { .. }
                    | Unfit::SizeMismatch { .. }
            ) && !is_about_headers(unfit)
        }
    }
}

/// Whether it may be due to the media type that was sent with a document, which its digest says
/// nothing of.
pub(super) fn is_about_headers(unfit: &Unfit) -> bool {
    matches!(unfit, Unfit::AmbiguousManifest(_) | Unfit::UnsupportedMediaType(_))
}

/// The image that stands inside of an index, and not under the tag itself.
fn inner(observation: &Observation) -> Option<&Image> {
    match &observation.found {
        Found::Image(image) if Some(&image.manifest.digest) != observation.digest.as_ref() => Some(image),
        _ => None,
    }
}

fn digests(image: &Image) -> impl Iterator<Item = &Digest> {
    std::iter::once(&image.manifest.digest).chain(image.attestations.iter().map(|attestation| &attestation.digest))
}
