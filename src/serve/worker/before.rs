//! What is known of a plain tag before it is looked at: how its runs ended.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::model::{Digest, Tag};
use crate::plan::Weight;
use crate::serve::App;
use crate::store::{Act, Claimed, Entry, Known, Recorded, Trigger, TroubleKind};

/// The code of a job whose starts are used up.
pub(super) const NEVER_ENDED: &str = "never-ended";
/// How long such a job is left alone by scans and audits: each start of the service begins with a scan,
/// and what kills the process would kill it again, before anything else is done. Not for long, since it
/// may have been under way by chance.
const LEFT_ALONE_MS: i64 = 15 * 60 * 1000;

/// What is known of a tag's runs so far.
#[derive(Default)]
pub(super) struct Before {
    /// Whether the tag was held or given up, and did not come right since.
    pub(super) was_held: bool,
    /// The newest entry of the journal.
    pub(super) newest: Option<Recorded>,
}

impl Before {
    /// How the tag's runs ended. Without an answer it is as if there had been none: then something may
    /// be told or written down twice.
    pub(super) async fn of(app: &App, claimed: &Claimed, known: &Known) -> Before {
        let was_held = match known.job.as_ref().and_then(|job| job.trouble.as_ref()).map(|trouble| trouble.kind) {
            // Waiting for more is what a tag does only that was not held.
            None | Some(TroubleKind::Waiting) => false,
            Some(TroubleKind::Held | TroubleKind::Parked) => true,
            // It failed since: that it was held before is what the journal knows.
            Some(TroubleKind::Failing) => {
                let (repository, tag) = (Some(&claimed.repository), Some(&claimed.tag));
                let entries = app.store.history(repository, tag, 20, None).await.unwrap_or_default();
                entries.iter().find_map(leaves_held).unwrap_or_default()
            }
        };
        Before { was_held, newest: known.newest.clone() }
    }

    /// Whether its starts were used up lately, and nobody asks for it but the service itself.
    pub(super) fn is_left_alone(&self, claimed: &Claimed) -> bool {
        let is_asked_for = !matches!(claimed.trigger, Trigger::Scan | Trigger::Audit) || !claimed.hints.is_empty();
        let is_spent = |newest: &Recorded| {
            let age_ms = claimed.last_woken_at_ms.saturating_sub(newest.recorded_at_ms);
            newest.act == Act::Failed && newest.reasons[0]["code"] == NEVER_ENDED && age_ms < LEFT_ALONE_MS
        };
        !is_asked_for && self.newest.as_ref().is_some_and(is_spent)
    }

    /// Whether the journal's newest entry says the same, so that a scan every ten minutes does not
    /// fill it.
    pub(super) fn tells(&self, entry: &Entry) -> bool {
        self.newest.as_ref().is_some_and(|newest| {
            newest.act == entry.act
                && newest.old_digest == entry.old_digest
                && newest.inputs == entry.inputs
                && newest.reasons == entry.reasons
        })
    }
}

/// Whether a tag is held since this entry; none if the entry makes no difference.
pub(super) fn leaves_held(entry: &Recorded) -> Option<bool> {
    match entry.act {
        Act::Pushed | Act::Unchanged | Act::RolledBack => Some(has_hold(&entry.reasons)),
        Act::Held => Some(true),
        Act::Failed => has_hold(&entry.reasons).then_some(true),
    }
}

fn has_hold(reasons: &Value) -> bool {
    reasons.as_array().into_iter().flatten().any(|reason| reason["weight"] == Weight::Hold.as_str())
}

/// What each architecture tag stood for, according to a journal entry.
pub(super) fn sources(inputs: &Value) -> BTreeMap<Tag, Digest> {
    let image =
        |(tag, image): (&String, &Value)| Some((tag.parse().ok()?, image.get("digest")?.as_str()?.parse().ok()?));
    inputs.as_object().into_iter().flatten().filter_map(image).collect()
}
