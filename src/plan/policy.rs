//! What a repository's owner asks of its images, and what may be overwritten.

use std::collections::BTreeMap;

use crate::model::{ArchChoice, Digest};

/// What must hold before a plain tag is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Architectures that must all be there.
    pub required: Vec<ArchChoice>,
    /// What an image is checked by.
    pub verify: Verify,
    /// What an image that contradicts its tag leads to.
    pub on_mismatch: OnMismatch,
    /// What files lead to that neither prove nor disprove their tag.
    pub doubts: Doubts,
    /// Labels that must have one value in all images.
    pub same_labels: Vec<String>,
    /// Architectures that must be exactly these images (or the index that holds the image).
    pub expected: Vec<(ArchChoice, Digest)>,
    /// Whether a platform that is published now may drop out.
    pub allow_removal: bool,
    /// Whether a tag may be replaced that holds what this program would not have made.
    pub take_over: bool,
    /// Which kind of index is written.
    pub index_type: IndexType,
    /// Whether attestations are left out of the index instead of carried along.
    pub drop_attestations: bool,
    /// Annotations of the index itself.
    pub annotations: BTreeMap<String, String>,
}

/// What an image that contradicts its tag leads to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnMismatch {
    /// Nothing is written.
    #[default]
    Hold,
    /// The image is left out.
    Skip,
    /// The tag is believed, not the image's config, where the files prove the tag.
    TrustTag,
    /// A copy with the tag's platform in its config is published, where the files prove the tag.
    Rewrite,
}

/// What an image is checked by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verify {
    /// Its config.
    #[default]
    Config,
    /// Its config, and the programs that it starts.
    Entrypoint,
}

/// What files lead to that neither prove nor disprove their tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubts {
    /// The program that is started is right, and others that are needed are not.
    pub mixed: OnDoubt,
    /// Nobody can say.
    pub unverifiable: OnDoubt,
    /// There is no program in the image.
    pub data_only: OnDoubt,
}

impl Default for Doubts {
    fn default() -> Doubts {
        Doubts { mixed: OnDoubt::Hold, unverifiable: OnDoubt::Hold, data_only: OnDoubt::Accept }
    }
}

/// What a doubt leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDoubt {
    /// Nothing is written.
    Hold,
    /// The config is believed.
    Accept,
    /// The image is left out.
    Skip,
}

/// Which kind of index is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IndexType {
    /// An OCI index; a Docker manifest list only where the registry refuses it and all images are
    /// Docker's.
    #[default]
    Auto,
    /// An OCI index.
    Oci,
    /// A Docker manifest list.
    Docker,
}
