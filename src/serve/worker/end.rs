//! How a run ended: what becomes of the job, and what the journal says of it.

use std::time::Duration;

use serde_json::json;

use super::MOST_STARTS;
use super::before::Before;
use crate::model::text::{about, clean, with_causes};
use crate::model::{Digest, Tag};
use crate::plan::{Code, Reason, Verdict, Weighed, Weight};
use crate::publish::{Action, Known, Outcome, PublishError};
use crate::registry::Kind;
use crate::store::{Act, Claimed, End, Entry, StoredIndex};

/// How long a tag is looked for of which there is nothing, and how often at most and at least.
const LONGEST_ABSENCE: Duration = Duration::from_secs(3600);
const ABSENCE_PAUSES: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(600)];

/// How long another process may have the rule that is about a tag while this one does not, and how soon
/// and how rarely it is left to it again.
const LONGEST_CHANGE: Duration = Duration::from_secs(3600);
const CHANGE_PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];

/// How a run ended, and what of it is worth writing down.
pub(super) type Ended = (End, Option<Entry>);

/// The end of a run that looked and decided. `quiet` is what is left of the quiet time.
pub(super) fn decided(before: &Before, quiet: Duration, known: &Known, outcome: &Outcome, requests: u64) -> Ended {
    let holds: Vec<&Reason> = outcome.plan.reasons.iter().filter(|reason| reason.forbids()).collect();
    let act = match outcome.action {
        Action::Pushed => Act::Pushed,
        Action::Unchanged if holds.is_empty() => Act::Unchanged,
        Action::Unchanged | Action::Held => Act::Held,
    };
    let mut entry = entry(act, outcome, requests);
    if holds.is_empty() {
        let served = entry.new_digest.as_ref();
        let last = known.last.as_ref().map(|last| &last.digest);
        let is_known = act == Act::Unchanged && last.is_some() && last == served && !before.was_held;
        if act == Act::Unchanged && last != served {
            entry.old_digest = last.cloned();
        }
        return (End::Done, (!is_known).then_some(entry));
    }
    // More architectures may be on their way: what is missing now is no news before the quiet time.
    let waits_for_more = holds.iter().all(|reason| matches!(reason.code, Code::ArchMissing | Code::NothingFound));
    let told = |reason: &&Reason| clean(&about(reason.tag.as_ref().map(Tag::as_str), &reason.message), 300);
    let reason = holds.iter().map(told).collect::<Vec<_>>().join("; ");
    if waits_for_more && act == Act::Held && !quiet.is_zero() && !before.was_held {
        return (End::Wait { after: quiet, reason }, None);
    }
    let is_known = act == Act::Held && before.was_held && before.tells(&entry);
    (End::Held { reason }, (!is_known).then_some(entry))
}

/// Whether there is nothing at all: no image of any architecture, nothing under the plain tag, and
/// nothing that was published there before.
pub(super) fn is_absent(known: &Known, outcome: &Outcome) -> bool {
    let has_image = outcome.plan.images.iter().any(|image| image.verdict != Verdict::Missing);
    let is_held = outcome.plan.reasons.iter().any(Reason::forbids);
    is_held && !has_image && outcome.previous.is_none() && known.last.is_none()
}

/// The end of a run that found nothing. It may be on its way, so it is looked for again, more and more
/// rarely; but a delivery may name what never was, and such names must not pile up: after a while it
/// is forgotten, and nothing of it is written down.
pub(super) fn absent(before: &Before, quiet: Duration, absent_for: Duration, outcome: &Outcome) -> Ended {
    if before.was_held || absent_for >= LONGEST_ABSENCE {
        return (End::Done, None);
    }
    let reason = outcome.plan.reasons.first().map_or_else(String::new, |reason| clean(&reason.message, 300));
    let [shortest, longest] = ABSENCE_PAUSES;
    (End::Wait { after: if quiet.is_zero() { absent_for.clamp(shortest, longest) } else { quiet }, reason }, None)
}

pub(super) fn failed(claimed: &Claimed, before: &Before, error: &PublishError, requests: u64) -> Ended {
    let reason = clean(&with_causes(error), 600);
    match error.kind() {
        _ if matches!(error, PublishError::Interrupted) => {
            (End::Retry { after: Duration::ZERO, reason: "interrupted by a restart".to_owned() }, None)
        }
        Kind::Failing => {
            tracing::warn!(attempts = claimed.attempts + 1, "{reason}");
            // One entry for a series of failures.
            let entry = failure(error.code(), &reason, Weight::Note, requests);
            let is_known = claimed.attempts > 0 && before.newest.as_ref().is_some_and(|e| e.act == Act::Failed);
            (retry(claimed, reason), (!is_known).then_some(entry))
        }
        Kind::NotAllowed | Kind::Settings => {
            tracing::error!("{reason}");
            let entry = failure(error.code(), &reason, Weight::Hold, requests);
            let is_known = before.was_held && before.tells(&entry);
            (End::Parked { reason }, (!is_known).then_some(entry))
        }
    }
}

/// The end of a run of a tag that no rule here is about. The rule was taken away; or settings are being
/// changed, and the process that acknowledged the delivery has it already: then the tag is left to that one.
pub(super) fn unserved(is_shared: bool, woken_ago: Duration) -> End {
    if !is_shared || woken_ago >= LONGEST_CHANGE {
        return End::Done;
    }
    let [shortest, longest] = CHANGE_PAUSES;
    let reason = "no rule of the process that looked is about it; another's may be".to_owned();
    End::Wait { after: woken_ago.clamp(shortest, longest), reason }
}

/// The entry of a run that failed: a hold if it was given up, a note if it is tried again.
pub(super) fn failure(code: &str, reason: &str, weight: Weight, requests: u64) -> Entry {
    Entry {
        act: Act::Failed,
        old_digest: None,
        new_digest: None,
        index: None,
        inputs: json!({}),
        reasons: json!([{ "code": code, "tag": null, "message": reason, "weight": weight.as_str() }]),
        requests,
    }
}

/// Once more, after a wait that doubles up to ten minutes, drawn at random.
pub(super) fn retry(claimed: &Claimed, reason: String) -> End {
    let bound = Duration::from_secs(2).saturating_mul(2u32.saturating_pow(claimed.attempts.min(9)));
    End::Retry { after: bound.min(Duration::from_secs(600)).mul_f64(0.5 + 0.5 * fastrand::f64()), reason }
}

/// What is our own fault is not tried for ever.
pub(super) fn retry_or_park(claimed: &Claimed, reason: String) -> End {
    if claimed.attempts + 1 >= MOST_STARTS { End::Parked { reason } } else { retry(claimed, reason) }
}

fn entry(act: Act, outcome: &Outcome, requests: u64) -> Entry {
    let images = outcome.plan.images.iter().filter(|image| image.verdict != Verdict::Missing);
    let image = |image: &Weighed| {
        let digest = image.digest.as_ref().map(Digest::as_str);
        let platform = image.platform.as_ref().map(|platform| clean(&platform.to_string(), 60));
        let value = json!({ "digest": digest, "platform": platform, "verdict": image.verdict.as_str() });
        (image.tag.to_string(), value)
    };
    let reason = |reason: &Reason| {
        json!({
            "code": reason.code.as_str(),
            "tag": reason.tag.as_ref().map(|tag| tag.as_str()),
            "message": clean(&reason.message, 600),
            "weight": reason.weight.as_str(),
        })
    };
    let index = outcome.index.as_ref();
    Entry {
        act,
        old_digest: outcome.previous.clone(),
        new_digest: index.map(|index| index.digest().clone()),
        index: index.map(|index| StoredIndex {
            media_type: index.kind().media_type().to_owned(),
            bytes: index.bytes().to_vec(),
        }),
        inputs: images.map(image).collect(),
        reasons: outcome.plan.reasons.iter().map(reason).collect(),
        requests,
    }
}
