//! Job: one plain tag to bring up to date.

use super::name::{Repository, Tag};

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
