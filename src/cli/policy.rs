//! What a repository's owner can choose: the same words as options and in `onetag.toml`.

use clap::ValueEnum;

use crate::plan;

/// What an image is checked by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Verify {
    /// Its config: architecture, variant and operating system
    #[default]
    Config,
    /// The files that it starts (not available yet)
    Entrypoint,
}

/// What an image that contradicts its tag leads to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum OnMismatch {
    /// Write nothing
    #[default]
    Hold,
    /// Leave the image out
    Skip,
    /// Believe the tag
    TrustTag,
    /// Repair the image's config (not available yet)
    Rewrite,
}

/// Which kind of index is written.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(super) enum IndexType {
    /// OCI; Docker where the registry takes no other and all images are Docker's
    #[default]
    Auto,
    /// An OCI index
    Oci,
    /// A Docker manifest list
    Docker,
}

/// What becomes of attestations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Attestations {
    /// They stay with their image
    #[default]
    Keep,
    /// They are left out
    Drop,
}

impl Verify {
    /// Refuses what cannot be done yet; `said` is how it was asked for.
    pub(super) fn check(self, said: &str) -> Result<(), String> {
        match self {
            Verify::Config => Ok(()),
            Verify::Entrypoint => Err(format!("`{said}` is not available yet: images are checked by their config")),
        }
    }
}

impl OnMismatch {
    /// As a policy has it; `said` is how it was asked for.
    pub(super) fn policy(self, said: &str) -> Result<plan::OnMismatch, String> {
        match self {
            OnMismatch::Hold => Ok(plan::OnMismatch::Hold),
            OnMismatch::Skip => Ok(plan::OnMismatch::Skip),
            OnMismatch::TrustTag => Ok(plan::OnMismatch::TrustTag),
            OnMismatch::Rewrite => Err(format!("`{said}` is not available yet: expected hold, skip or trust-tag")),
        }
    }
}

impl From<IndexType> for plan::IndexType {
    fn from(index_type: IndexType) -> plan::IndexType {
        match index_type {
            IndexType::Auto => plan::IndexType::Auto,
            IndexType::Oci => plan::IndexType::Oci,
            IndexType::Docker => plan::IndexType::Docker,
        }
    }
}
