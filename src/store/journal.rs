//! What was done to which tag, from what and why; and tags that a person holds where they are.

use std::collections::BTreeMap;

use serde_json::Value;

use super::inbox::{JobView, Trigger};
use super::{Database, Store, StoreError, ask};
use crate::model::{Digest, Repository, Tag, Version};

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// A new index was pushed.
    Pushed,
    /// The tag already held what it should. Worth an entry once, where the journal did not know.
    Unchanged,
    /// The tag was left as it is, for the reasons given.
    Held,
    /// The run failed.
    Failed,
    /// A person pushed an earlier index again.
    RolledBack,
}

impl Act {
    /// The act's stable code.
    pub fn code(self) -> &'static str {
        match self {
            Act::Pushed => "pushed",
            Act::Unchanged => "unchanged",
            Act::Held => "held",
            Act::Failed => "failed",
            Act::RolledBack => "rolled-back",
        }
    }
}

/// What there is to tell of one run. Whose it was, who asked and when is known from the job.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// What was done.
    pub act: Act,
    /// What the tag held before.
    pub old_digest: Option<Digest>,
    /// What the tag holds since. An act that leaves the tag as it should be names it.
    pub new_digest: Option<Digest>,
    /// The index itself, kept to return to.
    pub index: Option<StoredIndex>,
    /// What was looked at: architecture tags, digests, platforms, verdicts.
    pub inputs: Value,
    /// Why it was done.
    pub reasons: Value,
    /// How many requests it took.
    pub requests: u64,
}

/// An index as it was pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredIndex {
    /// Its media type.
    pub media_type: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// An entry of the journal.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// Larger is newer; names the entry for paging and for its index.
    pub id: i64,
    /// Where the tag is.
    pub repository: Repository,
    /// The plain tag.
    pub tag: Tag,
    /// What was done.
    pub act: Act,
    /// What the tag held before.
    pub old_digest: Option<Digest>,
    /// What the tag holds since.
    pub new_digest: Option<Digest>,
    /// Whether [`Store::index`] has the index.
    pub has_index: bool,
    /// Who asked.
    pub trigger: Trigger,
    /// The sender's name for the event.
    pub event_id: Option<String>,
    /// What was looked at.
    pub inputs: Value,
    /// Why it was done.
    pub reasons: Value,
    /// How many requests it took.
    pub requests: u64,
    /// The first wake-up that this run answered, in milliseconds since 1970.
    pub woken_at_ms: i64,
    /// When it was written down.
    pub recorded_at_ms: i64,
}

/// A person's word that a tag stays where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Where the tag is.
    pub repository: Repository,
    /// The plain tag.
    pub tag: Tag,
    /// What it shall hold.
    pub digest: Digest,
    /// The images of that moment: once others are there, the hold has served its purpose.
    pub images: BTreeMap<Tag, Digest>,
    /// Why, in the person's words.
    pub reason: String,
}

/// A hold, and since when it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The hold.
    pub hold: Hold,
    /// Since when, in milliseconds since 1970.
    pub since_ms: i64,
}

/// What is known of a plain tag, at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Known {
    /// Its job, if it waits, runs or is in trouble.
    pub job: Option<JobView>,
    /// The newest entry of the journal.
    pub newest: Option<Recorded>,
    /// The newest entry that says what the tag holds: pushed, rolled back or found unchanged.
    pub published: Option<Recorded>,
    /// A person's hold on it.
    pub held: Option<Held>,
    /// As it was last found, if that can still be read.
    pub found: Option<Version>,
}

impl Store {
    /// All that is known of a plain tag before a run.
    pub async fn known(&self, repository: &Repository, tag: &Tag) -> Result<Known, StoreError> {
        ask!(self, known(repository, tag))
    }

    /// Entries, newest first, `before` the entry of that id. The indexes themselves are left out.
    pub async fn history(
        &self,
        repository: Option<&Repository>,
        tag: Option<&Tag>,
        most: u32,
        before: Option<i64>,
    ) -> Result<Vec<Recorded>, StoreError> {
        ask!(self, history(repository, tag, most, before))
    }

    /// The index of an entry, byte for byte.
    pub async fn index(&self, id: i64) -> Result<Option<StoredIndex>, StoreError> {
        ask!(self, index(id))
    }

    /// The repositories of which there are jobs or entries: those that somebody told of by now.
    pub async fn repositories(&self) -> Result<Vec<Repository>, StoreError> {
        ask!(self, repositories())
    }

    /// Forgets entries and facts older than this, and jobs that were held or given up and not woken
    /// since. The newest publication of a tag is never forgotten. Returns how many entries
    /// of the journal are gone. Of several processes on one database one does it for all: nothing is done
    /// where another did it within half an hour.
    pub async fn forget_before(&self, days: u32) -> Result<u64, StoreError> {
        ask!(self, forget_before(days))
    }

    /// Holds a tag where it is, in place of an earlier hold. On stable storage when this returns.
    pub async fn hold(&self, hold: Hold) -> Result<(), StoreError> {
        ask!(self, hold(hold))
    }

    /// The hold on a tag.
    pub async fn held(&self, repository: &Repository, tag: &Tag) -> Result<Option<Held>, StoreError> {
        ask!(self, held(repository, tag))
    }

    /// Every hold, newest first.
    pub async fn holds(&self) -> Result<Vec<Held>, StoreError> {
        ask!(self, holds())
    }

    /// Ends a hold. False: there was none.
    pub async fn release(&self, repository: &Repository, tag: &Tag) -> Result<bool, StoreError> {
        ask!(self, release(repository, tag))
    }
}
