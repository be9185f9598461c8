//! What was seen in a registry: facts without judgement.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::evidence::Evidence;
use super::index::Descriptor;
use super::name::Tag;
use super::pattern::ArchTag;
use super::platform::Platform;

/// What an image's config claims about it.
///
/// image-spec 1.1, "OCI Image Configuration". Only these keys are read: a config that cannot be
/// read in full is still one whose architecture can.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// `os`, if the config has one.
    pub os: Option<String>,
    /// `architecture`, if the config has one.
    pub architecture: Option<String>,
    /// `variant`, if the config has one.
    pub variant: Option<String>,
    /// `os.version`, if the config has one.
    pub os_version: Option<String>,
    /// `os.features`.
    pub os_features: Vec<String>,
    /// `config.Labels`.
    pub labels: BTreeMap<String, String>,
}

/// An image that a tag leads to: directly, or through an index that holds it and attestations.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    /// The image manifest's descriptor, without a platform.
    pub manifest: Descriptor,
    /// What its config claims.
    pub claim: Claim,
    /// The attestations that stood beside it, unchanged.
    pub attestations: Vec<Descriptor>,
    /// Whether a layer names hosts outside the registry to fetch it from.
    pub has_foreign_layers: bool,
    /// What its files prove; none where they were not asked.
    pub evidence: Option<Evidence>,
    /// What it cost to find out, this time.
    pub effort: Effort,
    /// What a copy with another label is made of; kept only where one may be wanted, since it is
    /// the largest part of all.
    pub original: Option<Arc<Original>>,
}

impl Image {
    /// What it cost to look into its files; none where they were not asked.
    pub fn effort(&self) -> Option<Effort> {
        self.evidence.as_ref().map(|_| self.effort)
    }
}

/// What it cost to find out what an image's files prove. All is zero where that was known before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Effort {
    /// The compressed bytes of layers that came from the registry.
    pub bytes_read: u64,
    /// Of how many layers anything was read.
    pub layers_read: usize,
    /// How many others were needed, and known from before: layers are shared between images.
    pub layers_known: usize,
}

/// An image's own documents, byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Original {
    /// Its manifest.
    pub manifest: Bytes,
    /// Its config.
    pub config: Bytes,
    /// What speaks of this very digest and would not of a copy's, in words: signatures,
    /// attestations.
    pub vouchers: Vec<String>,
}

/// Why what a tag holds cannot be used, as a fact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unfit {
    /// Its word means different things to different builders.
    AmbiguousWord,
    /// A kind of manifest that no index should hold, such as Docker's schema 1.
    UnsupportedMediaType(String),
    /// An artifact, a signature, a chart: a manifest, but of something that does not run.
    NotAnImage(String),
    /// An index of several images, here their platforms.
    SeveralImages(Vec<String>),
    /// A document that different readers understand differently.
    AmbiguousManifest(String),
    /// A manifest or config that cannot be read.
    Malformed(String),
    /// More than is read of any image.
    TooLarge(String),
    /// Bytes that are not those that were named.
    DigestMismatch {
        /// The digest that was asked for or announced.
        expected: String,
        /// The digest of the bytes that came.
        found: Digest,
    },
    /// A blob that is shorter or longer than its descriptor says.
    SizeMismatch {
        /// Bytes according to the descriptor.
        expected: u64,
        /// Bytes that came, at least.
        found: u64,
    },
    /// The manifest is there, but what it consists of is not.
    ContentMissing(String),
    /// An attestation about the image is named, but is not there.
    AttestationMissing(Digest),
}

/// What one architecture tag held when it was looked at.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// An image.
    Image(Box<Image>),
    /// Nothing: the registry said that there is no such tag.
    Missing,
    /// Something that cannot be used.
    Unfit(Unfit),
}

/// One architecture tag, and what it held when it was looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// The tag.
    pub arch_tag: ArchTag,
    /// The digest that the tag stood for; none where it is missing or was not looked at.
    pub digest: Option<Digest>,
    /// What was there.
    pub found: Found,
}

/// What is served under a plain tag now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Its digest.
    pub digest: Digest,
    /// What it is.
    pub content: Content,
}

/// What a plain tag holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// An index of these images; attestations are left out.
    Index(Vec<Child>),
    /// A single image.
    Image,
    /// Something else, in words.
    Other(String),
}

/// One entry of a published index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    /// The entry's digest.
    pub digest: Digest,
    /// Its platform, if the index states one.
    pub platform: Option<Platform>,
    /// Whether it is an image, and not another index or an artifact.
    pub is_image: bool,
}

/// What was last published under a plain tag, and from what, as our own journal has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Last {
    /// The digest that was published.
    pub digest: Digest,
    /// What each architecture tag stood for then.
    pub sources: BTreeMap<Tag, Digest>,
}

/// Everything that a decision about one plain tag needs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// The architecture tags, in any order.
    pub observed: Vec<Observation>,
    /// What is served now under each tag that the index shall go to; absent means nothing is.
    pub published: BTreeMap<Tag, Published>,
    /// What we published last; none where nobody remembers.
    pub last: Option<Last>,
    /// What each architecture tag stood for when a person put an earlier index back.
    pub frozen: Option<BTreeMap<Tag, Digest>>,
}

impl Seen {
    /// What each architecture tag that is there stands for.
    pub fn sources(&self) -> BTreeMap<Tag, Digest> {
        self.observed.iter().filter_map(|o| Some((o.arch_tag.tag.clone(), o.digest.clone()?))).collect()
    }
}
