//! Looking: everything that a decision about one plain tag needs, read in as few rounds as possible.
//!
//! All architecture tags and what is published are asked for at once; each image's config as soon
//! as its manifest is there. What a digest is never changes, so a tag that was seen before costs a
//! HEAD. There is no judgement here: what is odd about an image is a fact among others.

mod facts;
mod files;
mod open;
mod read;
mod remembered;
mod single;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use futures_util::future::{try_join, try_join_all, try_join3};
use tokio::sync::OnceCell;

pub use facts::{Facts, Keeper};
pub use files::{Examined, examine, examine_within};
use read::Round;
use remembered::{Learned, for_next_time, is_true_for_ever};
pub use single::Candidate;

use crate::model::{
    ArchChoice, ArchTag, Descriptor, Digest, Found, Job, Last, Meaning, Observation, Pattern, Platform, Promise,
    Published, Repository, Seen, Tag, Unfit, Words,
};
use crate::plan::{OnMismatch, Policy, Verify, contradicts, group};
use crate::registry::{
    Document, Manifest, Registry, RegistryError, attested, is_attestation, read_manifest, read_published,
};
use open::Opened;

/// Which architecture tags are looked for.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Only these, without listing the repository's tags; all that are listed where it is `None`.
    pub only: Option<Vec<ArchChoice>>,
    /// These in any case, whether listed or not.
    pub expected: Vec<ArchChoice>,
    /// Whether attestations are of interest.
    pub attestations: bool,
    /// Whether images are asked for what their files prove.
    pub evidence: bool,
    /// Whether what a copy of an image with another label is made of is kept, where the label is
    /// not as promised.
    pub originals: bool,
}

impl Scope {
    /// What a policy wants to know of every image.
    pub fn of(policy: &Policy) -> Scope {
        Scope {
            only: None,
            expected: Vec::new(),
            attestations: !policy.drop_attestations,
            evidence: policy.verify == Verify::Entrypoint,
            originals: policy.on_mismatch == OnMismatch::Rewrite,
        }
    }
}

/// What is known about a plain tag before looking.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// What architecture tags were said to stand for by now. Hints, never trusted: they only say
    /// which tags to look for, and for which manifest it is worth waiting a moment.
    pub hints: BTreeMap<Tag, Digest>,
    /// What we published last.
    pub last: Option<Last>,
    /// What each architecture tag stood for when a person put an earlier index back.
    pub frozen: Option<BTreeMap<Tag, Digest>>,
}

impl Known {
    fn arch_tags(&self) -> impl Iterator<Item = &Tag> {
        self.hints.keys().chain(self.last.iter().flat_map(|last| last.sources.keys()))
    }
}

/// Looks at the tags of one repository, and remembers what it learns for as long as it lives.
#[derive(Debug)]
pub struct Lookout {
    repository: Repository,
    pattern: Pattern,
    words: Words,
    scope: Scope,
    facts: Facts,
    /// Whether to ask what a tag stands for before reading it, and to remember facts alone.
    is_sparing: bool,
    listing: Mutex<Arc<Listing>>,
    learned: Mutex<Learned>,
}

type Versions = BTreeMap<Tag, Vec<ArchTag>>;

/// What a repository's tags are, as they were listed once.
#[derive(Debug)]
struct Listing {
    /// It is no older than this.
    begun: Instant,
    versions: OnceCell<Versions>,
}

impl Default for Listing {
    fn default() -> Listing {
        Listing { begun: Instant::now(), versions: OnceCell::new() }
    }
}

impl Lookout {
    /// Looks at `repository`, whose tags are made by `pattern` of `words`.
    pub fn new(repository: Repository, pattern: Pattern, words: Words, scope: Scope) -> Lookout {
        Lookout {
            repository,
            pattern,
            words,
            scope,
            facts: Facts::default(),
            is_sparing: false,
            listing: Mutex::default(),
            learned: Mutex::default(),
        }
    }

    /// The same, but it goes by `facts` and adds to them.
    #[must_use]
    pub fn remembering(self, facts: Facts) -> Lookout {
        Lookout { facts, ..self }
    }

    /// The same, but a tag costs a HEAD and only digests that nobody knows cost a GET, as suits who
    /// looks at many tags once: registries count GETs.
    #[must_use]
    pub fn sparing(self) -> Lookout {
        Lookout { is_sparing: true, ..self }
    }

    /// What is known about digests.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// How the repository's tags are made.
    pub fn pattern(&self) -> &Pattern {
        &self.pattern
    }

    /// The vocabulary of the repository's tags.
    pub fn words(&self) -> &Words {
        &self.words
    }

    /// Where it looks.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// Which architecture tags it looks for.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Looks at everything that a decision about `job` needs.
    ///
    /// # Errors
    ///
    /// [`RegistryError`]: something could not be looked at. Only a registry's own word that a tag
    /// is missing makes it missing.
    pub async fn look(&self, registry: &Registry, job: &Job, known: &Known) -> Result<Seen, RegistryError> {
        self.look_in(&Round::at(registry), job, known).await
    }

    async fn look_in(&self, round: &Round<'_>, job: &Job, known: &Known) -> Result<Seen, RegistryError> {
        let registry = round.registry;
        let mut expected = self.expected(&job.tag);
        for tag in known.arch_tags().filter_map(|tag| self.pattern.read(tag, &self.words)) {
            if tag.version == job.tag && expected.iter().all(|expected| expected.tag != tag.tag) {
                expected.push(tag);
            }
        }
        let listed = async {
            if self.scope.only.is_some() {
                return Ok(Vec::new());
            }
            let listed = self.list(registry, &job.tag).await?.into_iter();
            let others = listed.filter(|listed| expected.iter().all(|expected| expected.tag != listed.tag));
            try_join_all(others.map(|arch_tag| self.observe(round, arch_tag))).await
        };
        let published = async {
            // Where all images wait for the listing, this does, too: it costs no time, and the round
            // that follows opens as many connections as reading back will need.
            if expected.is_empty() && self.scope.only.is_none() {
                self.list(registry, &job.tag).await?;
            }
            try_join_all(job.tags().map(|tag| self.published(round, tag))).await
        };
        let (mut observed, listed, published) = try_join3(
            try_join_all(expected.iter().map(|arch_tag| self.observe(round, arch_tag.clone()))),
            listed,
            published,
        )
        .await?;
        observed.extend(listed);
        Ok(Seen {
            observed,
            published: published.into_iter().flatten().collect(),
            last: known.last.clone(),
            frozen: known.frozen.clone(),
        })
    }

    /// The architecture tags of `version` that are looked for whether they are listed or not.
    pub fn expected(&self, version: &Tag) -> Vec<ArchTag> {
        let choices = self.scope.only.iter().flatten().chain(&self.scope.expected);
        let mut tags: Vec<ArchTag> = Vec::new();
        for tag in choices.filter_map(|choice| group::expected(choice, version, &self.pattern, &self.words)) {
            if tags.iter().all(|known| known.tag != tag.tag) {
                tags.push(tag);
            }
        }
        tags
    }

    /// What `tag` stands for now.
    ///
    /// # Errors
    ///
    /// [`RegistryError`]: the registry did not say.
    pub async fn resolve(&self, registry: &Registry, tag: &Tag) -> Result<Option<Digest>, RegistryError> {
        registry.resolve(&self.repository, tag.as_str()).await
    }

    /// Lets the next look list the tags again.
    pub fn forget_listing(&self) {
        *self.listing.lock().expect("no panic happens while it is held") = Arc::default();
    }

    /// Lets the next look list the tags again, unless that was done since.
    pub fn forget_listing_before(&self, since: Instant) {
        let mut listing = self.listing.lock().expect("no panic happens while it is held");
        if listing.begun < since {
            *listing = Arc::default();
        }
    }

    /// Lets the next looks go by this listing of the repository's tags, which somebody just got.
    pub fn take_listing(&self, tags: &[Tag]) {
        let versions = group::by_version(tags, &self.pattern, &self.words);
        let listing = Arc::new(Listing { begun: Instant::now(), versions: OnceCell::new_with(Some(versions)) });
        *self.listing.lock().expect("no panic happens while it is held") = listing;
    }

    /// The architecture tags of `version` that the repository has.
    async fn list(&self, registry: &Registry, version: &Tag) -> Result<Vec<ArchTag>, RegistryError> {
        let listing = self.listing.lock().expect("no panic happens while it is held").clone();
        let list = || async {
            let tags = registry.tags(&self.repository).await?;
            Ok(group::by_version(&tags, &self.pattern, &self.words))
        };
        let versions = listing.versions.get_or_try_init(list).await?;
        Ok(versions.get(version).cloned().unwrap_or_default())
    }

    async fn observe(&self, round: &Round<'_>, arch_tag: ArchTag) -> Result<Observation, RegistryError> {
        if arch_tag.meaning == Meaning::Ambiguous {
            return Ok(Observation { arch_tag, digest: None, found: Found::Unfit(Unfit::AmbiguousWord) });
        }
        let tag = arch_tag.tag.clone();
        let promise = match &arch_tag.meaning {
            Meaning::Promise(promise) => Some(promise.clone()),
            Meaning::Ambiguous => None,
        };
        let seen = |digest, found| Ok(Observation { arch_tag, digest, found });
        if self.learned().tags.contains_key(&tag) {
            let Some(digest) = self.resolve(round.registry, &tag).await? else {
                return seen(None, Found::Missing);
            };
            let found = self.learned().found.get(&digest).cloned();
            if let Some(found) = found.filter(|found| self.is_enough(found, promise.as_ref())) {
                return seen(Some(digest), found);
            }
        }
        let manifest = match self.manifest_of(round, &tag).await {
            Ok(Some(manifest)) => manifest,
            Ok(None) => return seen(None, Found::Missing),
            Err(error) => return seen(None, Found::Unfit(unfit_manifest(error)?)),
        };
        let found = self.open(round, &manifest, promise.as_ref()).await?;
        if !self.is_sparing {
            let mut learned = self.learned();
            learned.tags.insert(tag, manifest.digest.clone());
            if is_true_for_ever(&found) {
                learned.found.insert(manifest.digest.clone(), for_next_time(found.clone()));
            }
        }
        seen(Some(manifest.digest), found)
    }

    /// Whether what was learned about a digest says all that is asked of it under this tag.
    fn is_enough(&self, found: &Found, promise: Option<&Promise>) -> bool {
        match (found, promise) {
            (Found::Image(image), Some(promise)) => {
                !self.scope.originals || !contradicts(promise, &image.claim, image.evidence.as_ref())
            }
            _ => true,
        }
    }

    /// What a manifest under an architecture tag is: an image, or an index that holds just one.
    async fn open(
        &self,
        round: &Round<'_>,
        manifest: &Manifest,
        promise: Option<&Promise>,
    ) -> Result<Found, RegistryError> {
        match read_manifest(manifest.content_type.as_deref(), &manifest.bytes) {
            Ok((media_type, Document::Image { config, has_foreign_layers })) => {
                let descriptor = Descriptor::new(media_type, manifest.digest.clone(), manifest.bytes.len() as u64);
                let bytes = manifest.bytes.clone();
                let (attestations, index) = (Vec::new(), None);
                let opened = Opened { manifest: descriptor, bytes, config, has_foreign_layers, attestations, index };
                self.image(round, opened, promise).await
            }
            Ok((_, Document::Index { manifests })) => {
                self.open_index(round, &manifest.digest, manifests, promise).await
            }
            Err(unfit) => Ok(Found::Unfit(unfit)),
        }
    }

    async fn open_index(
        &self,
        round: &Round<'_>,
        digest: &Digest,
        manifests: Vec<Descriptor>,
        promise: Option<&Promise>,
    ) -> Result<Found, RegistryError> {
        let (attestations, images): (Vec<_>, Vec<_>) = manifests.into_iter().partition(is_attestation);
        let entry = match images.as_slice() {
            [] => return Ok(Found::Unfit(Unfit::NotAnImage("an index without an image".to_owned()))),
            [entry] => entry,
            _ => {
                let name = |entry: &Descriptor| {
                    entry.platform.as_ref().map_or_else(|| entry.digest.short().to_owned(), ToString::to_string)
                };
                return Ok(Found::Unfit(Unfit::SeveralImages(images.iter().map(name).collect())));
            }
        };
        let index = Some((digest.clone(), !attestations.is_empty()));
        let about_it = |attestation: &Descriptor| attested(attestation) == Some(entry.digest.as_str());
        let mut attestations: Vec<Descriptor> =
            attestations.into_iter().filter(|a| self.scope.attestations && about_it(a)).collect();
        for attestation in &mut attestations {
            // Without a platform, clients that find none of their own would try to run it.
            attestation.platform = Some(Platform::unknown());
        }

        self.open_entry(round, entry, attestations, index, promise).await
    }

    /// What an entry of an index is, with the attestations about it.
    async fn open_entry(
        &self,
        round: &Round<'_>,
        entry: &Descriptor,
        attestations: Vec<Descriptor>,
        index: Option<(Digest, bool)>,
        promise: Option<&Promise>,
    ) -> Result<Found, RegistryError> {
        let present = attestations.iter().map(|a| self.is_there(round, &a.digest));
        let (child, present) = match try_join(self.child(round, &entry.digest), try_join_all(present)).await {
            Ok(both) => both,
            Err(error) => return Ok(Found::Unfit(unfit_manifest(error)?)),
        };
        if let Some((lost, _)) = attestations.iter().zip(present).find(|(_, is_there)| !is_there) {
            return Ok(Found::Unfit(Unfit::AttestationMissing(lost.digest.clone())));
        }
        let Some(child) = child else {
            return Ok(Found::Unfit(Unfit::ContentMissing(format!("its image {}", entry.digest.short()))));
        };
        match read::as_described(entry, &child) {
            Ok(Document::Image { config, has_foreign_layers }) => {
                let mut descriptor = Descriptor::new(entry.media_type.clone(), entry.digest.clone(), entry.size);
                descriptor.annotations = entry.annotations.clone();
                let opened = Opened {
                    manifest: descriptor,
                    bytes: child.bytes,
                    config,
                    has_foreign_layers,
                    attestations,
                    index,
                };
                self.image(round, opened, promise).await
            }
            Ok(Document::Index { .. }) => {
                Ok(Found::Unfit(Unfit::UnsupportedMediaType("an index that holds another index".to_owned())))
            }
            Err(unfit) => Ok(Found::Unfit(unfit)),
        }
    }

    async fn published(&self, round: &Round<'_>, tag: &Tag) -> Result<Option<(Tag, Published)>, RegistryError> {
        let published = |digest, content| Ok(Some((tag.clone(), Published { digest, content })));
        if self.learned().tags.contains_key(tag) {
            let Some(digest) = self.resolve(round.registry, tag).await? else {
                return Ok(None);
            };
            let content = self.learned().content.get(&digest).cloned();
            if let Some(content) = content {
                return published(digest, content);
            }
        }
        let Some(manifest) = self.manifest_of(round, tag).await? else {
            return Ok(None);
        };
        let content = read_published(manifest.content_type.as_deref(), &manifest.bytes);
        if !self.is_sparing {
            let mut learned = self.learned();
            learned.tags.insert(tag.clone(), manifest.digest.clone());
            learned.content.insert(manifest.digest.clone(), content.clone());
        }
        published(manifest.digest, content)
    }
}

/// Manifests that cannot be used are facts about them; everything else is the world failing us.
fn unfit_manifest(error: RegistryError) -> Result<Unfit, RegistryError> {
    match error {
        RegistryError::DigestMismatch { expected, found, .. } => Ok(Unfit::DigestMismatch { expected, found }),
        RegistryError::TooLarge { limit_bytes, .. } => {
            Ok(Unfit::TooLarge(format!("a manifest of more than {limit_bytes} bytes")))
        }
        error => Err(error),
    }
}
