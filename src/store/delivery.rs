//! Deliveries on their way into any database: merged in memory first, so that a flood of one tag is
//! one row of the statement.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::oneshot;

use super::StoreError;
use super::inbox::Wake;
use crate::model::text::clean;
use crate::model::{Digest, Repository, Tag};

/// How long a delivery may take to reach stable storage before its sender is asked to come again.
pub(super) const DELIVERY_TIME: Duration = Duration::from_secs(2);
/// How many callers may wait to be served.
pub(super) const QUEUE: usize = 1024;
/// The most deliveries of one commit.
pub(super) const BATCH: usize = 256;
/// How many wake-ups may wait to be stored: the bound of the memory they take.
pub(super) const WAKES_UNDER_WAY: u32 = 65_536;
/// How many unusable deliveries are kept.
pub(super) const KEPT: i64 = 1000;
/// How much of an unusable delivery is kept.
const KEPT_BODY_BYTES: usize = 64 * 1024;
/// How long texts from elsewhere may be.
pub(super) const LONGEST_REASON: usize = 2000;
/// How much of a sender's name for an event is kept.
const LONGEST_EVENT_ID: usize = 200;

/// Something to be stored before its sender is answered.
pub(super) struct Delivery {
    pub(super) what: What,
    pub(super) answer: oneshot::Sender<Result<(), StoreError>>,
}

/// What was delivered.
pub(super) enum What {
    Wakes(Vec<Wake>),
    Unusable(Unusable),
}

/// A delivery that could not be used.
pub(super) struct Unusable {
    pub(super) hook: String,
    pub(super) reason: String,
    pub(super) size_bytes: i64,
    pub(super) body: Vec<u8>,
}

impl Unusable {
    pub(super) fn new(hook: &str, reason: &str, body: &[u8]) -> Unusable {
        Unusable {
            hook: clean(hook, LONGEST_REASON),
            reason: clean(reason, LONGEST_REASON),
            size_bytes: i64::try_from(body.len()).unwrap_or(i64::MAX),
            body: body[..body.len().min(KEPT_BODY_BYTES)].to_vec(),
        }
    }
}

/// A duration for a database.
pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4).min(i64::MAX / 4)
}

/// Wake-ups, one row a tag.
#[derive(Default)]
pub(super) struct Merged {
    rows: Vec<Row>,
    places: HashMap<(Repository, Tag), usize>,
}

/// What the statement is told of a tag, under the names that it uses.
#[derive(Serialize)]
struct Row {
    host: String,
    repository: String,
    tag: Tag,
    quiet_ms: i64,
    longest_ms: i64,
    wakes: u64,
    cause: String,
    event_id: Option<String>,
    hints: BTreeMap<Tag, Digest>,
}

impl Merged {
    /// Later wake-ups count as they would one by one: the newest says how long and why.
    pub(super) fn add(&mut self, wake: Wake) {
        let Wake { repository, tag, trigger, quiet, longest, hint, event_id } = wake;
        let mut row = Row {
            host: repository.host().to_string(),
            repository: repository.to_string(),
            tag: tag.clone(),
            quiet_ms: millis(quiet),
            longest_ms: millis(longest),
            wakes: 1,
            cause: trigger.to_string(),
            event_id: event_id.map(|id| clean(&id, LONGEST_EVENT_ID)),
            hints: hint.into_iter().collect(),
        };
        match self.places.get(&(repository.clone(), tag.clone())) {
            None => {
                self.places.insert((repository, tag), self.rows.len());
                self.rows.push(row);
            }
            Some(place) => {
                let earlier = &mut self.rows[*place];
                row.wakes += earlier.wakes;
                let mut hints = std::mem::take(&mut earlier.hints);
                hints.append(&mut row.hints);
                row.hints = hints;
                *earlier = row;
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The rows for a statement, always in one order, so that two who store at one time wait for each
    /// other and never both.
    pub(super) fn into_json(mut self) -> String {
        self.rows.sort_by(|a, b| (&a.repository, &a.tag).cmp(&(&b.repository, &b.tag)));
        serde_json::to_string(&self.rows).expect("names and numbers are JSON")
    }
}
