//! What there is to do: a push that somebody told us of, and the job that it leads to.

use super::digest::ToldDigest;
use super::name::{Repository, RepositoryPath, Tag};

/// One tag written, as a registry or a builder told us.
///
/// It is a hint that there may be something to do, never an instruction: what is done follows from
/// the configuration and from what the registry itself says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// The registry's name for itself: a proxy's, an internal one, or an attacker's. Never a reason
    /// to contact that host.
    pub registry: Option<String>,
    /// The repository inside the registry.
    pub repository: RepositoryPath,
    /// The tag that was written.
    pub tag: Tag,
    /// What was written under it. The registry may not have it, or no longer.
    pub digest: Option<ToldDigest>,
    /// The media type of what was written. An index is no reason to leave a push out: builders make
    /// one of a single image and its attestations.
    pub media_type: Option<String>,
    /// The same for the same event delivered twice.
    pub event_id: Option<String>,
    /// When it was written, in the sender's words: for logs, never for order.
    pub time: Option<String>,
    /// Who wrote it: for logs.
    pub actor: Option<String>,
}

/// One plain tag to bring up to date, and the tags that shall hold the same index.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Job {
    /// Where the images are, and where the index goes.
    pub repository: Repository,
    /// The plain tag, `xenial`.
    pub tag: Tag,
    /// Further names for the same index, `16.04`, written after the plain tag.
    pub also: Vec<Tag>,
}

impl Job {
    /// All tags that the index goes under, the plain tag first.
    pub fn tags(&self) -> impl Iterator<Item = &Tag> {
        std::iter::once(&self.tag).chain(&self.also)
    }
}
