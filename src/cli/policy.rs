//! What a repository's owner can choose: the same words as options and in `onetag.toml`.

use clap::{Args, ValueEnum};

use crate::plan;

/// What an image is checked by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Verify {
    /// Its config: architecture, variant and operating system
    #[default]
    Config,
    /// Its config, and the program that it starts: what its file runs on
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
    /// Believe the tag where the files prove it; needs `--verify entrypoint`
    TrustTag,
    /// Publish a copy with a repaired config where the files prove the tag; needs `--verify entrypoint`
    Rewrite,
}

/// What a doubt about an image's files leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum OnDoubt {
    /// Write nothing
    Hold,
    /// Believe the config
    Accept,
    /// Leave the image out
    Skip,
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

/// Why a policy makes no sense, by the words in which `verify` and `entrypoint` are asked for.
pub(super) fn contradiction(policy: &plan::Policy, verify: &str) -> Option<String> {
    let needs_proof = matches!(policy.on_mismatch, plan::OnMismatch::TrustTag | plan::OnMismatch::Rewrite);
    (needs_proof && policy.verify == plan::Verify::Config)
        .then(|| format!("a tag is believed against its image's config only where the files prove it: add `{verify}`"))
}

impl From<Verify> for plan::Verify {
    fn from(verify: Verify) -> plan::Verify {
        match verify {
            Verify::Config => plan::Verify::Config,
            Verify::Entrypoint => plan::Verify::Entrypoint,
        }
    }
}

impl From<OnMismatch> for plan::OnMismatch {
    fn from(on_mismatch: OnMismatch) -> plan::OnMismatch {
        match on_mismatch {
            OnMismatch::Hold => plan::OnMismatch::Hold,
            OnMismatch::Skip => plan::OnMismatch::Skip,
            OnMismatch::TrustTag => plan::OnMismatch::TrustTag,
            OnMismatch::Rewrite => plan::OnMismatch::Rewrite,
        }
    }
}

impl From<OnDoubt> for plan::OnDoubt {
    fn from(on_doubt: OnDoubt) -> plan::OnDoubt {
        match on_doubt {
            OnDoubt::Hold => plan::OnDoubt::Hold,
            OnDoubt::Accept => plan::OnDoubt::Accept,
            OnDoubt::Skip => plan::OnDoubt::Skip,
        }
    }
}

/// What becomes of images whose files neither prove nor disprove their tag.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct DoubtArgs {
    /// What an image leads to whose files cannot be judged, with `--verify entrypoint` [default: hold]
    #[arg(long, value_enum)]
    on_unverifiable: Option<OnDoubt>,

    /// What an image without any program leads to, with `--verify entrypoint` [default: accept]
    #[arg(long, value_enum)]
    on_data_only: Option<OnDoubt>,

    /// What an image leads to that starts the right program and needs wrong ones, with
    /// `--verify entrypoint` [default: hold]
    #[arg(long, value_enum)]
    on_mixed: Option<OnDoubt>,
}

impl DoubtArgs {
    /// What the options say, and where they say nothing `base`.
    pub(super) fn over(self, base: &plan::Doubts) -> plan::Doubts {
        plan::Doubts {
            mixed: self.on_mixed.map_or(base.mixed, Into::into),
            unverifiable: self.on_unverifiable.map_or(base.unverifiable, Into::into),
            data_only: self.on_data_only.map_or(base.data_only, Into::into),
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
