//! One plain tag as an audit found it: which architectures exist, and what is wrong with them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How one architecture of a plain tag stands. The order is from right to wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImageState {
    /// What is published is what was pushed.
    Ok,
    /// It was pushed, and is not in the index.
    Unpublished,
    /// The index has an older image.
    Stale,
    /// It is in the index, and no tag stands for it.
    Orphan,
    /// It is required, and there is no tag.
    Missing,
    /// There are several for one platform.
    Duplicate,
    /// It cannot be read as an image.
    Unreadable,
    /// It contradicts its tag or its entry in the index.
    Mismatch,
    /// It is in the index, and the registry no longer has it.
    Dangling,
}

impl ImageState {
    /// Every state, from right to wrong.
    pub const ALL: [ImageState; 9] = [
        ImageState::Ok,
        ImageState::Unpublished,
        ImageState::Stale,
        ImageState::Orphan,
        ImageState::Missing,
        ImageState::Duplicate,
        ImageState::Unreadable,
        ImageState::Mismatch,
        ImageState::Dangling,
    ];

    /// The state as scripts see it.
    pub fn as_str(self) -> &'static str {
        match self {
            ImageState::Ok => "ok",
            ImageState::Unpublished => "unpublished",
            ImageState::Stale => "stale",
            ImageState::Orphan => "orphan",
            ImageState::Missing => "missing",
            ImageState::Duplicate => "duplicate",
            ImageState::Unreadable => "unreadable",
            ImageState::Mismatch => "mismatch",
            ImageState::Dangling => "dangling",
        }
    }
}

/// How a plain tag stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum VersionState {
    /// As the worst of its images.
    Images(ImageState),
    /// It holds something that was not made of architecture tags.
    Foreign(Foreign),
}

/// The state of a plain tag that holds something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Foreign {
    /// It holds something that was not made of architecture tags.
    Foreign,
}

impl VersionState {
    /// The state of a tag that holds something else.
    pub const FOREIGN: VersionState = VersionState::Foreign(Foreign::Foreign);

    /// The state as scripts see it.
    pub fn as_str(self) -> &'static str {
        match self {
            VersionState::Images(state) => state.as_str(),
            VersionState::Foreign(Foreign::Foreign) => "foreign",
        }
    }

    /// Every state, from right to wrong, with what is foreign last.
    pub fn all() -> impl Iterator<Item = VersionState> {
        ImageState::ALL.into_iter().map(VersionState::Images).chain([VersionState::FOREIGN])
    }

    /// Whether nothing needs to be done, or nothing but publishing.
    pub fn is_fine(self) -> bool {
        matches!(self, VersionState::Images(ImageState::Ok | ImageState::Unpublished))
    }
}

impl std::fmt::Display for VersionState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One plain tag as it was found. Serialized, it is an element of `versions` of `onetag audit`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// The plain tag.
    pub tag: String,
    /// How it stands.
    pub state: VersionState,
    /// The digest that is published; none where nothing is.
    pub digest: Option<String>,
    /// Its architectures, in the order of platforms.
    pub images: Vec<ImageRow>,
    /// What is wrong or worth knowing, the worst first.
    pub problems: Vec<Problem>,
}

/// One architecture of a plain tag as it was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRow {
    /// The word of the tag; in the repository's own words where there is no tag.
    pub arch: Option<String>,
    /// The architecture tag; none for what only the index has.
    pub tag: Option<String>,
    /// The platform, `linux/arm/v7`; none where nobody knows it.
    pub platform: Option<String>,
    /// How it stands.
    pub state: ImageState,
    /// What the architecture tag stands for.
    pub digest: Option<String>,
    /// What the index has for this platform.
    pub published: Option<String>,
    /// What there is to say about it, if anything.
    pub detail: Option<String>,
}

/// Something wrong or worth knowing about a plain tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Stable, lower-case and hyphenated.
    pub code: String,
    /// The tag that it is about.
    pub tag: Option<String>,
    /// The sentence for people.
    pub message: String,
    /// What can be done about it, if anything.
    pub remedy: Option<String>,
}

impl Version {
    /// Whether it or one of its images is in one of `states`.
    pub fn is_in(&self, states: &[VersionState]) -> bool {
        states.contains(&self.state)
            || self.images.iter().any(|image| states.contains(&VersionState::Images(image.state)))
    }
}

/// What an audit found in all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// How many plain tags there are.
    pub versions: usize,
    /// How many of them are as they should be.
    pub ok: usize,
    /// How many problems they have together.
    pub problems: usize,
    /// How many plain tags there are of each state that occurs.
    pub states: BTreeMap<String, usize>,
}

impl Summary {
    /// Counts one more.
    pub fn add(&mut self, version: &Version) {
        self.versions += 1;
        self.ok += usize::from(version.state == VersionState::Images(ImageState::Ok));
        self.problems += version.problems.len();
        *self.states.entry(version.state.as_str().to_owned()).or_default() += 1;
    }
}
