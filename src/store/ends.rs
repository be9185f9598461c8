//! Ends of runs on their way into any database: what becomes of the job, and the journal's line.

use super::delivery::{LONGEST_REASON, millis};
use super::inbox::{Claimed, End, TroubleKind};
use super::journal::Entry;
use crate::model::text::clean;

/// What becomes of a job.
#[derive(Clone, Debug)]
pub(super) enum Fate {
    /// It is gone, or waits again if it was woken meanwhile.
    Over,
    /// It stays in the list, and waits again if a time or a wake-up says so.
    Stays { trouble: &'static str, reason: String, after_ms: Option<i64> },
    /// It is as it was: there was no run.
    Untouched,
}

impl From<End> for Fate {
    fn from(end: End) -> Fate {
        let (kind, reason, after) = match end {
            End::Done => return Fate::Over,
            End::Retry { after, reason } => (TroubleKind::Failing, reason, Some(after)),
            End::Wait { after, reason } => (TroubleKind::Waiting, reason, Some(after)),
            End::Held { reason } => (TroubleKind::Held, reason, None),
            End::Parked { reason } => (TroubleKind::Parked, reason, None),
        };
        let reason = clean(&reason, LONGEST_REASON);
        Fate::Stays { trouble: kind.as_str(), reason, after_ms: after.map(millis) }
    }
}

/// An entry of the journal, as statements are told of it.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) repository: String,
    pub(super) tag: String,
    pub(super) act: &'static str,
    pub(super) old_digest: Option<String>,
    pub(super) new_digest: Option<String>,
    pub(super) cause: String,
    pub(super) event_id: Option<String>,
    pub(super) inputs: String,
    pub(super) reasons: String,
    pub(super) requests: i64,
    pub(super) woken_at: i64,
    pub(super) media_type: Option<String>,
    pub(super) index_bytes: Option<Vec<u8>>,
}

impl Line {
    pub(super) fn of(claimed: &Claimed, entry: Entry) -> Line {
        let (media_type, index_bytes) = entry.index.map(|index| (index.media_type, index.bytes)).unzip();
        Line {
            repository: claimed.repository.to_string(),
            tag: claimed.tag.to_string(),
            act: entry.act.code(),
            old_digest: entry.old_digest.map(|digest| digest.to_string()),
            new_digest: entry.new_digest.map(|digest| digest.to_string()),
            cause: claimed.trigger.to_string(),
            event_id: claimed.event_id.clone(),
            inputs: entry.inputs.to_string(),
            reasons: entry.reasons.to_string(),
            requests: i64::try_from(entry.requests).unwrap_or(i64::MAX),
            woken_at: claimed.woken_at_ms,
            media_type,
            index_bytes,
        }
    }
}
