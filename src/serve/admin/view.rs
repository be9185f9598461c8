//! What the API answers, as types: their fields are its documentation, too.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::model::text::clean;
use crate::model::version::{ImageRow, Problem};
use crate::model::{Digest, Repository, VersionState};
use crate::store::{self, TroubleKind};

const LONGEST_TEXT: usize = 600;

/// Publications and what kept from them.
#[derive(Serialize, ToSchema)]
pub(super) struct History {
    /// Newest first.
    pub(super) history: Vec<Entry>,
}

/// One run that did or found something.
#[derive(Serialize, ToSchema)]
pub(super) struct Entry {
    /// Larger is newer; the last one's is `before` of the next page.
    id: i64,
    repository: String,
    /// The plain tag.
    tag: String,
    /// What was done: `pushed`, `unchanged`, `held`, `failed`, `rolled-back`.
    act: &'static str,
    /// What the tag held before.
    previous: Option<String>,
    /// What the tag holds since.
    digest: Option<String>,
    /// Whether the index is kept, so that a roll-back can return to it.
    can_return: bool,
    /// Who asked: `hook:<name>`, `scan`, `request`, `audit`.
    trigger: String,
    /// The sender's name for the event.
    event_id: Option<String>,
    /// What was looked at, by architecture tag.
    #[schema(value_type = BTreeMap<String, SeenImage>)]
    images: Value,
    /// Why it was done, or not.
    #[schema(value_type = Vec<Reason>)]
    reasons: Value,
    /// How many requests it took.
    requests: u64,
    /// When it was asked for first, in milliseconds since 1970.
    woken_at_ms: i64,
    /// When it was written down.
    recorded_at_ms: i64,
}

/// An image as a run saw it.
#[derive(Deserialize, Serialize, ToSchema)]
pub(in crate::serve) struct SeenImage {
    pub(in crate::serve) digest: Option<String>,
    pub(in crate::serve) platform: Option<String>,
    /// `verified`, `mismatch`, `unreadable` or `unverifiable`.
    #[serde(default)]
    pub(in crate::serve) verdict: String,
}

/// A reason of a decision.
#[derive(Deserialize, Serialize, ToSchema)]
pub(in crate::serve) struct Reason {
    /// Stable, lower-case and hyphenated.
    pub(in crate::serve) code: String,
    /// The architecture tag that it is about.
    pub(in crate::serve) tag: Option<String>,
    /// The sentence for people.
    pub(in crate::serve) message: String,
    /// What it leads to: `hold` keeps the tag as it is.
    #[serde(default)]
    pub(in crate::serve) weight: String,
}

/// Jobs: plain tags that wait, run or are in trouble.
#[derive(Serialize, ToSchema)]
pub(super) struct Jobs {
    /// Those that wait or run, in the order in which they are due.
    pub(super) active: Vec<Job>,
    /// Those whose last run failed, was held or given up, the newest trouble first.
    pub(super) troubled: Vec<Job>,
}

/// One plain tag to bring up to date.
#[derive(Serialize, ToSchema)]
pub(super) struct Job {
    repository: String,
    /// The plain tag.
    tag: String,
    /// Who asked last.
    trigger: String,
    is_running: bool,
    /// How long until it is due, if it waits.
    due_in_ms: Option<u64>,
    /// The first wake-up that no run has answered yet, in milliseconds since 1970.
    woken_at_ms: Option<i64>,
    /// Runs in a row that are to be tried again.
    attempts: u32,
    /// What the last run found wanting, and what waits a moment for it.
    waits_for: Option<String>,
    /// What the last run found wrong.
    trouble: Option<Trouble>,
}

/// What the last run found wrong.
#[derive(Serialize, ToSchema)]
pub(super) struct Trouble {
    /// `failing` is tried again, `held` waits for other images, `parked` was given up.
    kind: &'static str,
    /// Why, in words.
    reason: String,
    /// Since when it is of this kind, in milliseconds since 1970.
    since_ms: i64,
}

/// Deliveries that could not be used.
#[derive(Serialize, ToSchema)]
pub(super) struct Quarantine {
    /// Newest first.
    pub(super) deliveries: Vec<Delivery>,
}

/// One of them.
#[derive(Serialize, ToSchema)]
pub(super) struct Delivery {
    /// Larger is newer.
    id: i64,
    /// The hook that it came to.
    hook: String,
    /// When, in milliseconds since 1970.
    received_at_ms: i64,
    /// Why it could not be used.
    reason: String,
    size_bytes: u64,
    /// How the body begins.
    beginning: String,
}

/// The repositories that have plain tags.
#[derive(Serialize, ToSchema)]
pub(super) struct Repositories {
    /// By name.
    pub(super) repositories: Vec<RepositoryView>,
}

/// One of them.
#[derive(Serialize, ToSchema)]
#[schema(as = Repository)]
pub(super) struct RepositoryView {
    repository: String,
    counts: Counts,
    /// When one of its tags was last looked at, in milliseconds since 1970.
    checked_at_ms: Option<i64>,
}

/// How many plain tags there are of what.
#[derive(Serialize, ToSchema)]
pub(super) struct Counts {
    versions: u64,
    /// Held or given up.
    stopped: u64,
    /// Not as they should be, the stopped ones among them.
    attention: u64,
    /// By state, and by kind of trouble.
    states: BTreeMap<String, u64>,
}

/// Plain tags of a repository.
#[derive(Serialize, ToSchema)]
pub(super) struct Versions {
    pub(super) repository: String,
    /// Held and given up first, then what is not as it should be, then the rest.
    pub(super) versions: Vec<VersionView>,
    /// How many there are with this filter.
    pub(super) counts: Counts,
    /// `after` of the next page; none where this is the last.
    pub(super) next: Option<String>,
}

/// A plain tag as it was last found.
#[derive(Serialize, ToSchema)]
#[schema(as = Version)]
pub(super) struct VersionView {
    /// The plain tag.
    tag: String,
    /// How it stands; none where it could not be looked at yet.
    state: Option<VersionState>,
    /// The digest that is published.
    digest: Option<String>,
    /// Its architectures, in the order of platforms.
    images: Vec<ImageRow>,
    /// What is wrong or worth knowing, the worst first.
    problems: Vec<Problem>,
    /// Since when it has been found in this state, in milliseconds since 1970.
    since_ms: Option<i64>,
    /// When it was last looked at.
    checked_at_ms: Option<i64>,
    /// What its last run found wrong.
    trouble: Option<Trouble>,
    /// A roll-back that it is held by.
    hold: Option<HoldView>,
}

/// A person's word that a tag stays where it is.
#[derive(Serialize, ToSchema)]
#[schema(as = Hold)]
pub(super) struct HoldView {
    digest: String,
    reason: String,
    since_ms: i64,
}

/// A tag that is asked to be looked at.
#[derive(Serialize, ToSchema)]
pub(super) struct Asked {
    pub(super) repository: String,
    pub(super) tag: String,
}

/// A tag that was let go of.
#[derive(Serialize, ToSchema)]
pub(super) struct Released {
    pub(super) repository: String,
    pub(super) tag: String,
    /// Whether there was a hold to end.
    pub(super) was_held: bool,
}

/// A tag that was put back.
#[derive(Serialize, ToSchema)]
pub(super) struct RolledBack {
    pub(super) repository: String,
    pub(super) tag: String,
    /// What it holds now.
    pub(super) digest: String,
    /// What it held before.
    pub(super) previous: Option<String>,
}

impl From<store::Recorded> for Entry {
    fn from(entry: store::Recorded) -> Entry {
        Entry {
            id: entry.id,
            repository: entry.repository.to_string(),
            tag: entry.tag.to_string(),
            act: entry.act.code(),
            previous: entry.old_digest.as_ref().map(Digest::to_string),
            digest: entry.new_digest.as_ref().map(Digest::to_string),
            can_return: entry.has_index,
            trigger: entry.trigger.to_string(),
            event_id: entry.event_id,
            images: entry.inputs,
            reasons: entry.reasons,
            requests: entry.requests,
            woken_at_ms: entry.woken_at_ms,
            recorded_at_ms: entry.recorded_at_ms,
        }
    }
}

impl From<store::JobView> for Job {
    fn from(job: store::JobView) -> Job {
        let (waiting, trouble): (Vec<_>, Vec<_>) =
            job.trouble.into_iter().partition(|trouble| trouble.kind == TroubleKind::Waiting);
        Job {
            repository: job.repository.to_string(),
            tag: job.tag.to_string(),
            trigger: job.trigger.to_string(),
            is_running: job.is_running,
            due_in_ms: job.due_in.map(|due| u64::try_from(due.as_millis()).unwrap_or(u64::MAX)),
            woken_at_ms: job.woken_at_ms,
            attempts: job.attempts,
            waits_for: waiting.first().map(|trouble| clean(&trouble.reason, LONGEST_TEXT)),
            trouble: trouble.into_iter().next().map(Trouble::from),
        }
    }
}

impl From<store::Trouble> for Trouble {
    fn from(trouble: store::Trouble) -> Trouble {
        Trouble {
            kind: trouble.kind.as_str(),
            reason: clean(&trouble.reason, LONGEST_TEXT),
            since_ms: trouble.since_ms,
        }
    }
}

impl From<store::Quarantined> for Delivery {
    fn from(delivery: store::Quarantined) -> Delivery {
        Delivery {
            id: delivery.id,
            hook: delivery.hook,
            received_at_ms: delivery.received_at_ms,
            reason: clean(&delivery.reason, LONGEST_TEXT),
            size_bytes: delivery.size_bytes,
            beginning: clean(&String::from_utf8_lossy(&delivery.body), LONGEST_TEXT),
        }
    }
}

impl From<store::Tally> for Counts {
    fn from(tally: store::Tally) -> Counts {
        let store::Tally { versions, stopped, attention, states } = tally;
        Counts { versions, stopped, attention, states }
    }
}

impl From<store::Overview> for RepositoryView {
    fn from(overview: store::Overview) -> RepositoryView {
        RepositoryView {
            repository: overview.repository.to_string(),
            counts: overview.tally.into(),
            checked_at_ms: overview.checked_at_ms,
        }
    }
}

impl From<store::Listed> for VersionView {
    fn from(listed: store::Listed) -> VersionView {
        let times = listed.found.as_ref().map(|found| (found.since_ms, found.checked_at_ms)).unzip();
        let version = listed.found.map(|found| found.version);
        let (images, problems) = match &version {
            Some(version) => (version.images.clone(), version.problems.clone()),
            None => Default::default(),
        };
        VersionView {
            tag: listed.tag.to_string(),
            state: version.as_ref().map(|version| version.state),
            digest: version.and_then(|version| version.digest),
            images,
            problems,
            since_ms: times.0,
            checked_at_ms: times.1,
            trouble: listed.trouble.map(Trouble::from),
            hold: listed.hold.map(|held| HoldView {
                digest: held.hold.digest.to_string(),
                reason: clean(&held.hold.reason, LONGEST_TEXT),
                since_ms: held.since_ms,
            }),
        }
    }
}

impl Versions {
    /// One page, with what follows it.
    pub(super) fn page(
        repository: &Repository,
        listed: Vec<store::Listed>,
        tally: store::Tally,
        most: usize,
    ) -> Versions {
        let next = listed.last().filter(|_| listed.len() == most).map(|last| last.place.to_string());
        let versions = listed.into_iter().map(VersionView::from).collect();
        Versions { repository: repository.to_string(), versions, counts: tally.into(), next }
    }
}
