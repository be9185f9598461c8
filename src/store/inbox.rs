//! Deliveries acknowledged, jobs waiting, and who is at work on which.
//!
//! A job is one plain tag to bring up to date. However many wake-ups there are for a tag, it has
//! one job; a wake-up while the job runs makes it wait again. Jobs are leased, and every lease has
//! a generation: whoever lost it can no longer write.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use super::ends::Fate;
use super::journal::Entry;
use super::{Database, Store, StoreError, ask};
use crate::model::{Digest, Host, Repository, Tag};

/// A reason to look at one plain tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wake {
    /// Where the tag is.
    pub repository: Repository,
    /// The plain tag, `xenial`.
    pub tag: Tag,
    /// Who asks for it.
    pub trigger: Trigger,
    /// The job is due this long after its newest wake-up, so that a burst is one job.
    pub quiet: Duration,
    /// However many follow, the job is due this long after the first.
    pub longest: Duration,
    /// An architecture tag and what was pushed to it: a registry may still answer with something
    /// older. The newest of each tag reaches the job.
    pub hint: Option<(Tag, Digest)>,
    /// The sender's name for the event.
    pub event_id: Option<String>,
}

/// Who asked for a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// A delivery to the hook of this name.
    Hook(String),
    /// A scan found something changed.
    Scan,
    /// A person.
    Request,
    /// An audit found something that can be put right.
    Audit,
    /// Whom only another version of this program has a name for.
    Other(String),
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trigger::Hook(name) => write!(f, "hook:{name}"),
            Trigger::Scan => f.write_str("scan"),
            Trigger::Request => f.write_str("request"),
            Trigger::Audit => f.write_str("audit"),
            Trigger::Other(name) => f.write_str(name),
        }
    }
}

/// A job that the caller alone works on, until its lease ends.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// Where the tag is.
    pub repository: Repository,
    /// The plain tag.
    pub tag: Tag,
    /// Who asked, in the newest wake-up.
    pub trigger: Trigger,
    /// The sender's name for the newest event.
    pub event_id: Option<String>,
    /// What was pushed to which architecture tag, as far as somebody said so.
    pub hints: BTreeMap<Tag, Digest>,
    /// The first wake-up that no run has answered yet, in milliseconds since 1970.
    pub woken_at_ms: i64,
    /// The newest wake-up.
    pub last_woken_at_ms: i64,
    /// Starts since a run last ended, this one included: more than one means that the process died
    /// or the lease was lost.
    pub starts: u32,
    /// Runs in a row that ended in [`End::Retry`].
    pub attempts: u32,
    pub(super) id: i64,
    pub(super) generation: i64,
    /// When it was claimed, by the database's clock and by this process's.
    pub(super) claimed_at_ms: i64,
    pub(super) claimed_at: Instant,
}

impl Claimed {
    /// How long ago the first wake-up was that no run has answered yet.
    pub fn first_woken_ago(&self) -> Duration {
        self.ago(self.woken_at_ms)
    }

    /// How long ago the newest wake-up was.
    pub fn last_woken_ago(&self) -> Duration {
        self.ago(self.last_woken_at_ms)
    }

    /// Only times of one clock are compared: that of the machine and the database's may differ.
    fn ago(&self, at_ms: i64) -> Duration {
        let before = u64::try_from(self.claimed_at_ms.saturating_sub(at_ms)).unwrap_or_default();
        Duration::from_millis(before) + self.claimed_at.elapsed()
    }
}

/// How a run ended. `starts` is zero after each, `attempts` after each but [`End::Retry`].
///
/// A wake-up that came during the run leaves the job waiting, whatever the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The tag is as it should be.
    Done,
    /// The world failed us: again after this time. The job keeps its hints.
    Retry {
        /// How long to wait.
        after: Duration,
        /// What failed, for the list.
        reason: String,
    },
    /// More is expected of somebody else: again after this time, unless it is told earlier. This is
    /// no trouble. The job keeps its hints.
    Wait {
        /// How long to wait.
        after: Duration,
        /// What is waited for, for the list.
        reason: String,
    },
    /// The plan is to change nothing until an image changes.
    Held {
        /// Why, for the list.
        reason: String,
    },
    /// Given up until somebody or something asks again.
    Parked {
        /// Why, for the list.
        reason: String,
    },
}

/// Which jobs to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    /// Those that wait or run, in the order in which they are due.
    Active,
    /// Those whose last run failed, was held or given up (not those that only wait), the newest trouble first. They stay until
    /// a run ends in [`End::Done`], also while they wait or run again.
    Troubled,
}

/// A job as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobView {
    /// Where the tag is.
    pub repository: Repository,
    /// The plain tag.
    pub tag: Tag,
    /// Who asked last.
    pub trigger: Trigger,
    /// Whether somebody works on it now.
    pub is_running: bool,
    /// How long until it is due, if it waits: zero for one that could start now.
    pub due_in: Option<Duration>,
    /// The first wake-up that no run has answered yet, in milliseconds since 1970.
    pub woken_at_ms: Option<i64>,
    /// Runs in a row that ended in [`End::Retry`].
    pub attempts: u32,
    /// What the last run found wrong.
    pub trouble: Option<Trouble>,
}

/// What a run found wrong with a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What kind of end it was.
    pub kind: TroubleKind,
    /// Why.
    pub reason: String,
    /// Since when every run ended in this kind, in milliseconds since 1970.
    pub since_ms: i64,
}

/// The ends that leave a job listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TroubleKind {
    /// [`End::Wait`]: not yet trouble, and not in the list of it.
    Waiting,
    /// [`End::Retry`].
    Failing,
    /// [`End::Held`].
    Held,
    /// [`End::Parked`].
    Parked,
}

impl TroubleKind {
    /// Every kind.
    pub const ALL: [TroubleKind; 4] =
        [TroubleKind::Waiting, TroubleKind::Failing, TroubleKind::Held, TroubleKind::Parked];

    /// The kind's stable code.
    pub fn as_str(self) -> &'static str {
        match self {
            TroubleKind::Waiting => "waiting",
            TroubleKind::Failing => "failing",
            TroubleKind::Held => "held",
            TroubleKind::Parked => "parked",
        }
    }
}

/// How many there are of what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Jobs that wait.
    pub waiting: u64,
    /// Jobs that somebody works on.
    pub running: u64,
    /// Jobs whose last run is to be tried again.
    pub failing: u64,
    /// Jobs whose last run was held.
    pub held: u64,
    /// Jobs given up.
    pub parked: u64,
    /// Deliveries kept because they could not be used.
    pub quarantined: u64,
    /// How long the oldest unanswered wake-up of a job that waits has been waiting.
    pub oldest_waiting: Option<Duration>,
}

/// A delivery that could not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// Larger is newer.
    pub id: i64,
    /// When it was stored, in milliseconds since 1970.
    pub received_at_ms: i64,
    /// The hook that it came to.
    pub hook: String,
    /// Why it could not be used.
    pub reason: String,
    /// How large the body was.
    pub size_bytes: u64,
    /// The body's first 64 KiB.
    pub body: Vec<u8>,
}

impl Store {
    /// Stores wake-ups; they are on stable storage when this returns. Many callers share a commit.
    ///
    /// Any number of wake-ups of one plain tag is one job. One that was held or given up waits
    /// again.
    ///
    /// # Errors
    ///
    /// All of them mean: do not acknowledge, ask the sender to come again. What cannot be stored
    /// within 2 seconds is an error, [`StoreError::Slow`] if nothing else is known.
    pub async fn accept(&self, wakes: Vec<Wake>) -> Result<(), StoreError> {
        if wakes.is_empty() {
            return Ok(());
        }
        ask!(self, accept(wakes))
    }

    /// Keeps a delivery that could not be used, like [`Store::accept`]: on stable storage when this
    /// returns, in a shared commit, within 2 seconds. The body is cut at 64 KiB; of more than 1000
    /// the oldest are dropped.
    pub async fn quarantine(&self, hook: &str, reason: &str, body: &[u8]) -> Result<(), StoreError> {
        ask!(self, quarantine(hook, reason, body))
    }

    /// The deliveries that could not be used, newest first.
    pub async fn quarantined(&self, most: u32) -> Result<Vec<Quarantined>, StoreError> {
        ask!(self, quarantined(most))
    }

    /// Leases the jobs that have been due longest, at most so many, leaving out the registries in
    /// `busy`. Their starts are counted, on stable storage, before this returns.
    ///
    /// Nobody else gets such a job until it is finished or `lease` has passed. A lease does not
    /// survive its process. Jobs that another process is just taking are passed over.
    pub async fn claim(&self, lease: Duration, busy: &[Host], most: usize) -> Result<Vec<Claimed>, StoreError> {
        ask!(self, claim(lease, busy, most))
    }

    /// Leases one plain tag for something else than a run of its job, which does not begin before
    /// that is finished. None: somebody has the tag, or had it a moment ago.
    pub async fn reserve_tag(
        &self,
        repository: &Repository,
        tag: &Tag,
        lease: Duration,
    ) -> Result<Option<Claimed>, StoreError> {
        ask!(self, reserve_tag(repository, tag, lease))
    }

    /// Makes a lease end `lease` from now. False: it was lost, and the caller must write nothing.
    pub async fn extend(&self, claimed: &Claimed, lease: Duration) -> Result<bool, StoreError> {
        match &*self.database {
            Database::Sqlite(database) => Ok(database.extend(claimed, lease)),
            Database::Postgres(database) => database.extend(claimed, lease).await,
        }
    }

    /// Ends a run: the journal's entry and the job's release in one transaction, on stable storage
    /// when this returns. False: somebody else has the job, or it was finished before; nothing was
    /// changed. Several that end at one time may share a commit.
    ///
    /// After an error the job is still leased: finish again, or leave it to the lease's end.
    pub async fn finish(&self, claimed: &Claimed, end: End, entry: Option<Entry>) -> Result<bool, StoreError> {
        ask!(self, finish(claimed, end.into(), entry))
    }

    /// Tells that a run lost its lease, or could not write down its end, and that its process goes on:
    /// the start is not counted as one that took the process along. It is told in time: once somebody
    /// else has begun, nothing is changed.
    pub async fn survived(&self, claimed: &Claimed) -> Result<(), StoreError> {
        ask!(self, survived(claimed))
    }

    /// Ends what [`Store::reserve_tag`] was for, in the same way: with the journal's entry, and the job
    /// goes on as if nothing had been.
    pub async fn give_back(&self, claimed: &Claimed, entry: Option<Entry>) -> Result<bool, StoreError> {
        ask!(self, finish(claimed, Fate::Untouched, entry))
    }

    /// How long until [`Store::claim`] with the same `busy` may find a job: zero if one is due,
    /// `None` if none waits.
    pub async fn next_due(&self, busy: &[Host]) -> Result<Option<Duration>, StoreError> {
        ask!(self, next_due(busy))
    }

    /// How many jobs and deliveries there are.
    pub async fn counts(&self) -> Result<Counts, StoreError> {
        ask!(self, counts())
    }

    /// Jobs, as a list shows them.
    pub async fn jobs(&self, list: List, most: u32) -> Result<Vec<JobView>, StoreError> {
        ask!(self, jobs(list, most))
    }

    /// One tag's job, if it waits, runs or is in trouble.
    pub async fn job(&self, repository: &Repository, tag: &Tag) -> Result<Option<JobView>, StoreError> {
        ask!(self, job(repository, tag))
    }
}
