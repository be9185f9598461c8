//! What the end of a run is worth telling others.

use std::time::SystemTime;

use serde_json::{Value, json};

use crate::model::Digest;
use crate::serve::notify::Notice;
use crate::serve::settings::Event;
use crate::store::{Act, Claimed, End, Entry};

/// What the end of a run is worth telling others; nothing for a tag that stays as it was.
pub(super) fn notices(
    claimed: &Claimed,
    was_held: bool,
    end: &End,
    entry: Option<&Entry>,
    at: SystemTime,
) -> Vec<Notice> {
    let notice = |event: Event, data: Value| Notice {
        event,
        id: format!("{}:{}@{}-{}", claimed.repository, claimed.tag, claimed.last_woken_at_ms, event.as_str()),
        repository: claimed.repository.clone(),
        tag: claimed.tag.clone(),
        at,
        data,
    };
    let digest = entry.and_then(|entry| entry.new_digest.as_ref()).map(Digest::as_str);
    let published = entry.filter(|entry| is_news(entry)).map(|entry| {
        let previous = entry.old_digest.as_ref().map(Digest::as_str);
        notice(Event::Published, json!({ "digest": digest, "previous": previous, "images": entry.inputs }))
    });
    let change = match end {
        End::Done => was_held.then(|| notice(Event::Recovered, json!({ "digest": digest }))),
        End::Held { reason } | End::Parked { reason } if !was_held => {
            let reasons = entry.map_or(&Value::Null, |entry| &entry.reasons);
            Some(notice(Event::Held, json!({ "reason": reason, "reasons": reasons })))
        }
        End::Held { .. } | End::Parked { .. } | End::Wait { .. } | End::Retry { .. } => None,
    };
    published.into_iter().chain(change).collect()
}

/// How the tag stands after this end, in one word for those who look on.
pub(super) fn state(end: &End) -> &'static str {
    match end {
        End::Done => "looked at",
        End::Wait { .. } => "waiting",
        End::Retry { .. } => "failing",
        End::Held { .. } => "held",
        End::Parked { .. } => "parked",
    }
}

/// Whether the tag was published: just now, or by a run that died before it could write that down.
fn is_news(entry: &Entry) -> bool {
    match entry.act {
        Act::Pushed => true,
        Act::Unchanged => entry.old_digest.is_some() && entry.old_digest != entry.new_digest,
        Act::Held | Act::Failed | Act::RolledBack => false,
    }
}
