//! Every plain tag as it was last found, for the page: what audits and runs saw, beside what the
//! tag's job says of it.
//!
//! A tag is listed when it was found, is held or its job is in trouble. The order is that of attention:
//! held and given up first, then whatever is not as it should be, then the rest; by name in each.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use super::inbox::{Trouble, TroubleKind};
use super::journal::Held;
use super::{Database, Store, StoreError, ask};
use crate::model::{Repository, Tag, Version};

/// Which plain tags of a repository to list. What is absent does not restrict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Tags in this state. With an architecture, tags of which it is in this state.
    pub state: Option<Standing>,
    /// Tags that have this architecture: a word (`armhf`) or a platform (`linux/arm/v7`).
    pub arch: Option<String>,
    /// Tags whose name has this in it, in lower or upper case.
    pub name: Option<String>,
}

/// How a plain tag may stand, in one word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// As an audit found it: `ok`, `stale`, `foreign`.
    Found(String),
    /// Its job is in this kind of trouble.
    Trouble(TroubleKind),
    /// Anything but fine: in trouble, or found in another state than `ok` and `unpublished`.
    Attention,
}

/// A plain tag as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The plain tag.
    pub tag: Tag,
    /// As it was last found, if it ever was.
    pub found: Option<Found>,
    /// What its last run found wrong.
    pub trouble: Option<Trouble>,
    /// A person's word that it stays where it is.
    pub hold: Option<Held>,
    /// Where it stands in the list.
    pub place: Place,
}

/// What was found, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The tag with its images and problems.
    pub version: Version,
    /// Since when it has been found in this state, in milliseconds since 1970.
    pub since_ms: i64,
    /// When it was last looked at.
    pub checked_at_ms: i64,
}

/// A plain tag that is not as it was found before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// As it is now.
    pub version: Version,
    /// As it was, if it was there.
    pub before: Option<Version>,
}

/// A place in the list, to go on after it: `0:xenial`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub(super) rank: i64,
    pub(super) tag: Tag,
}

/// Text that names no place in the list.
#[derive(Debug, thiserror::Error)]
#[error("this is no place in the list: expected `next` of an earlier answer")]
pub struct InvalidPlace;

/// How many plain tags there are of what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// All of them.
    pub versions: u64,
    /// Those that are held or were given up.
    pub stopped: u64,
    /// Those that need attention, the stopped ones among them.
    pub attention: u64,
    /// By the state in which they were found, and by the kind of trouble of their jobs.
    pub states: BTreeMap<String, u64>,
}

/// A repository as the overview shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overview {
    /// Which.
    pub repository: Repository,
    /// How its plain tags stand.
    pub tally: Tally,
    /// When one of them was last looked at, in milliseconds since 1970.
    pub checked_at_ms: Option<i64>,
}

/// An architecture of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Architecture {
    /// The word in its tags; a platform where there is no word.
    pub name: String,
    /// Its platform, where one is known.
    pub platform: Option<String>,
    /// How many plain tags have it.
    pub versions: u64,
}

impl Standing {
    /// The word for it.
    pub fn as_str(&self) -> &str {
        match self {
            Standing::Found(state) => state,
            Standing::Trouble(kind) => kind.as_str(),
            Standing::Attention => "attention",
        }
    }
}

impl From<&str> for Standing {
    fn from(text: &str) -> Standing {
        match TroubleKind::ALL.into_iter().find(|kind| kind.as_str() == text) {
            Some(kind) => Standing::Trouble(kind),
            None if text == "attention" => Standing::Attention,
            None => Standing::Found(text.to_owned()),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.rank, self.tag)
    }
}

impl FromStr for Place {
    type Err = InvalidPlace;

    fn from_str(text: &str) -> Result<Place, InvalidPlace> {
        let (rank, tag) = text.split_once(':').ok_or(InvalidPlace)?;
        Ok(Place { rank: rank.parse().map_err(|_| InvalidPlace)?, tag: tag.parse().map_err(|_| InvalidPlace)? })
    }
}

impl Store {
    /// Keeps what was found of some plain tags, in place of what was found before. Returns those
    /// that differ from before, or were not there. What was kept since `looked_at_ms`, by the
    /// database's clock, is newer and stays.
    pub async fn put_versions(
        &self,
        repository: &Repository,
        versions: Vec<Version>,
        looked_at_ms: Option<i64>,
    ) -> Result<Vec<Difference>, StoreError> {
        let mut differences = Vec::new();
        // Deliveries wait while a transaction is under way.
        for some in versions.chunks(100) {
            differences.extend(ask!(self, put_versions(repository, some.to_vec(), looked_at_ms))?);
        }
        Ok(differences)
    }

    /// The database's clock, in milliseconds since 1970.
    pub async fn now_ms(&self) -> Result<i64, StoreError> {
        ask!(self, now_ms())
    }

    /// The names of the plain tags that were found.
    pub async fn found_tags(&self, repository: &Repository) -> Result<BTreeSet<Tag>, StoreError> {
        ask!(self, found_tags(repository))
    }

    /// Forgets what was found of plain tags that are gone.
    pub async fn forget_versions(&self, repository: &Repository, tags: &BTreeSet<Tag>) -> Result<(), StoreError> {
        if tags.is_empty() {
            return Ok(());
        }
        ask!(self, forget_versions(repository, tags))
    }

    /// Plain tags of a repository, the most urgent first, those `after` a place.
    pub async fn versions(
        &self,
        repository: &Repository,
        filter: &Filter,
        after: Option<&Place>,
        most: u32,
    ) -> Result<Vec<Listed>, StoreError> {
        ask!(self, versions(repository, filter, after, most))
    }

    /// How many plain tags of a repository a filter leaves, by state.
    pub async fn tally(&self, repository: &Repository, filter: &Filter) -> Result<Tally, StoreError> {
        ask!(self, tally(repository, filter))
    }

    /// One plain tag, if it was found, is held or its job is in trouble.
    pub async fn version(&self, repository: &Repository, tag: &Tag) -> Result<Option<Listed>, StoreError> {
        ask!(self, version(repository, tag))
    }

    /// The architectures of a repository's plain tags, by name.
    pub async fn architectures(&self, repository: &Repository) -> Result<Vec<Architecture>, StoreError> {
        ask!(self, architectures(repository))
    }

    /// The repositories that have plain tags, by name.
    pub async fn overview(&self) -> Result<Vec<Overview>, StoreError> {
        ask!(self, overview())
    }
}
