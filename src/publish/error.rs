//! What ended publishing before a tag was up to date, and what that says about the tag.

use super::MOST_RUNS;
use crate::model::{Digest, Index, Tag};
use crate::registry::{Kind, RegistryError};

/// The world failed us before the tag was up to date.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The registry, or the way to it.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// Somebody kept changing what was being read or written.
    #[error("`{tag}` could not be settled in {MOST_RUNS} runs: {what}")]
    Moving {
        /// The plain tag.
        tag: Tag,
        /// What moved last.
        what: String,
    },
    /// The registry accepted the index and serves something older.
    #[error("`{tag}` was accepted as {expected}, but {} is still served", held(served))]
    NotServed {
        /// The tag.
        tag: Tag,
        /// What was written.
        expected: Digest,
        /// What is served.
        served: Option<Digest>,
    },
    /// The registry accepted the index, and then did not let it be read back.
    #[error("`{tag}` was accepted as {written}, but could not be read back")]
    NotReadBack {
        /// The tag.
        tag: Tag,
        /// What was written.
        written: Digest,
        /// Why it could not be read.
        source: Box<RegistryError>,
    },
    /// Writing failed, and the tag is not what it was.
    #[error("`{tag}` could not be written, and was changed: it was {} and is {} now", held(before), held(served))]
    Changed {
        /// The tag.
        tag: Tag,
        /// What it held before.
        before: Option<Digest>,
        /// What it holds now.
        served: Option<Digest>,
        /// Why writing failed.
        source: Box<RegistryError>,
    },
    /// Writing failed, and so did looking what the tag holds now.
    #[error("whether `{tag}` was written is not known")]
    Unknown {
        /// The tag.
        tag: Tag,
        /// Why writing failed.
        source: Box<RegistryError>,
    },
    /// Some of the tags were brought up to date, and then it failed.
    #[error("{written} was published, and the other tags were not")]
    Partly {
        /// The tags that were written.
        written: String,
        /// Why the others were not.
        source: Box<PublishError>,
    },
    /// The tag was written, something moved, and then it failed.
    #[error("`{tag}` was written as {written}, its images moved, and it could not be brought up to date")]
    Overtaken {
        /// The tag.
        tag: Tag,
        /// What was written.
        written: Digest,
        /// Why it was not written anew.
        source: Box<PublishError>,
    },
    /// The user ended it before anything was written.
    #[error("interrupted; nothing was written")]
    Interrupted,
}

fn held(digest: &Option<Digest>) -> &str {
    digest.as_ref().map_or("nothing", Digest::as_str)
}

impl PublishError {
    /// The same, where an earlier run had written `index` under `tag` before it.
    pub(super) fn after(self, index: Option<Index>, tag: &Tag) -> PublishError {
        match index {
            None => self,
            Some(index) => {
                PublishError::Overtaken { tag: tag.clone(), written: index.digest().clone(), source: Box::new(self) }
            }
        }
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Registry(source) => source.kind(),
            Self::NotReadBack { source, .. } | Self::Changed { source, .. } | Self::Unknown { source, .. } => {
                source.kind()
            }
            Self::Partly { source, .. } | Self::Overtaken { source, .. } => source.kind(),
            Self::Moving { .. } | Self::NotServed { .. } | Self::Interrupted => Kind::Failing,
        }
    }

    /// A stable word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Registry(error) => error.code(),
            Self::Moving { .. } => "moving",
            Self::NotServed { .. } => "not-served",
            Self::NotReadBack { .. } => "not-read-back",
            Self::Changed { .. } => "tag-changed",
            Self::Unknown { .. } => "outcome-unknown",
            Self::Partly { source, .. } | Self::Overtaken { source, .. } => source.code(),
            Self::Interrupted => "interrupted",
        }
    }

    /// What the reader can do about it, if anything.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Registry(error) => error.hint(),
            Self::Moving { .. } => Some("wait until the builders are done; look for a second writer of this tag"),
            Self::NotServed { .. } => Some("a cache or a second writer may be between us and the registry; run again"),
            Self::NotReadBack { .. } => Some("it is most likely published; run again to make sure"),
            Self::Changed { .. } => Some("run again at once: some registries drop a tag when writing it fails"),
            Self::Unknown { .. } => Some("look at the tag, or simply run again"),
            Self::Partly { .. } | Self::Overtaken { .. } => Some("run again: what is done is not done twice"),
            Self::Interrupted => None,
        }
    }

    /// Whether it is known that the plain tag is as it was.
    pub fn left_the_tag_alone(&self) -> bool {
        match self {
            Self::Registry(error) => !matches!(error, RegistryError::OutcomeUnknown { .. }),
            Self::Interrupted => true,
            _ => false,
        }
    }
}
