//! What a repository's owner asks of its images, and what may be overwritten.

use std::collections::BTreeMap;

use crate::model::{ArchChoice, Digest};

/// What must hold before a plain tag is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Architectures that must all be there.
    pub required: Vec<ArchChoice>,
    /// What an image that contradicts its tag leads to.
    pub on_mismatch: OnMismatch,
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
    /// The tag is believed, not the image's config.
    TrustTag,
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
