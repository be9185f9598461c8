//! Rows into the types of the model, checked again: the file may have been edited or damaged.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use serde_json::Value;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::super::inbox::{Claimed, JobView, Quarantined, Trigger, Trouble, TroubleKind};
use super::super::journal::{Act, Held, Hold, Recorded, StoredIndex};
use crate::model::{Digest, Tag};

/// Text that is not what its column holds.
pub(super) fn odd(column: &str, text: &str) -> sqlx::Error {
    sqlx::Error::Decode(format!("column `{column}` holds `{}`", crate::model::text::clean(text, 80)).into())
}

pub(super) fn parsed<T: FromStr>(row: &SqliteRow, column: &str) -> sqlx::Result<T> {
    let text: &str = row.try_get(column)?;
    text.parse().map_err(|_| odd(column, text))
}

fn parsed_if_any<T: FromStr>(row: &SqliteRow, column: &str) -> sqlx::Result<Option<T>> {
    let text: Option<&str> = row.try_get(column)?;
    text.map(|text| text.parse().map_err(|_| odd(column, text))).transpose()
}

fn json(row: &SqliteRow, column: &str) -> sqlx::Result<Value> {
    parsed(row, column)
}

/// `{tag: digest}`.
fn digests(row: &SqliteRow, column: &str) -> sqlx::Result<BTreeMap<Tag, Digest>> {
    let text: &str = row.try_get(column)?;
    let pairs: BTreeMap<String, Digest> = serde_json::from_str(text).map_err(|_| odd(column, text))?;
    pairs.into_iter().map(|(tag, digest)| Ok((tag.parse().map_err(|_| odd(column, &tag))?, digest))).collect()
}

fn trigger(row: &SqliteRow) -> sqlx::Result<Trigger> {
    let text: &str = row.try_get("cause")?;
    match (text, text.strip_prefix("hook:")) {
        (_, Some(name)) => Ok(Trigger::Hook(name.to_owned())),
        ("scan", _) => Ok(Trigger::Scan),
        ("request", _) => Ok(Trigger::Request),
        ("audit", _) => Ok(Trigger::Audit),
        _ => Err(odd("cause", text)),
    }
}

pub(super) fn count(row: &SqliteRow, column: &str) -> sqlx::Result<u64> {
    let number: Option<i64> = row.try_get(column)?;
    Ok(number.and_then(|number| u64::try_from(number).ok()).unwrap_or_default())
}

fn small_count(row: &SqliteRow, column: &str) -> sqlx::Result<u32> {
    Ok(u32::try_from(count(row, column)?).unwrap_or(u32::MAX))
}

pub(super) fn duration(row: &SqliteRow, column: &str) -> sqlx::Result<Option<Duration>> {
    let millis: Option<i64> = row.try_get(column)?;
    Ok(millis.map(|millis| Duration::from_millis(u64::try_from(millis).unwrap_or_default())))
}

pub(super) fn claimed(row: &SqliteRow) -> sqlx::Result<Claimed> {
    Ok(Claimed {
        repository: parsed(row, "repository")?,
        tag: parsed(row, "tag")?,
        trigger: trigger(row)?,
        event_id: row.try_get("event_id")?,
        hints: digests(row, "claimed_hints")?,
        woken_at_ms: row.try_get("woken_at")?,
        last_woken_at_ms: row.try_get("last_woken_at")?,
        starts: small_count(row, "starts")?,
        attempts: small_count(row, "attempts")?,
        id: row.try_get("id")?,
        generation: row.try_get("generation")?,
    })
}

pub(super) fn trouble(row: &SqliteRow) -> sqlx::Result<Option<Trouble>> {
    let Some(code) = row.try_get::<Option<&str>, _>("trouble")? else { return Ok(None) };
    let kind = TroubleKind::ALL.into_iter().find(|kind| kind.as_str() == code).ok_or_else(|| odd("trouble", code))?;
    Ok(Some(Trouble { kind, reason: row.try_get("reason")?, since_ms: row.try_get("troubled_at")? }))
}

pub(super) fn job(row: &SqliteRow) -> sqlx::Result<JobView> {
    let is_running: bool = row.try_get("is_running")?;
    Ok(JobView {
        repository: parsed(row, "repository")?,
        tag: parsed(row, "tag")?,
        trigger: trigger(row)?,
        is_running,
        due_in: if is_running { None } else { duration(row, "due_in")? },
        woken_at_ms: row.try_get("woken_at")?,
        attempts: small_count(row, "attempts")?,
        trouble: trouble(row)?,
    })
}

pub(super) fn quarantined(row: &SqliteRow) -> sqlx::Result<Quarantined> {
    Ok(Quarantined {
        id: row.try_get("id")?,
        received_at_ms: row.try_get("received_at")?,
        hook: row.try_get("hook")?,
        reason: row.try_get("reason")?,
        size_bytes: count(row, "size")?,
        body: row.try_get("body")?,
    })
}

pub(super) fn recorded(row: &SqliteRow) -> sqlx::Result<Recorded> {
    let code: &str = row.try_get("act")?;
    let acts = [Act::Pushed, Act::Unchanged, Act::Held, Act::Failed, Act::RolledBack];
    Ok(Recorded {
        id: row.try_get("id")?,
        repository: parsed(row, "repository")?,
        tag: parsed(row, "tag")?,
        act: acts.into_iter().find(|act| act.code() == code).ok_or_else(|| odd("act", code))?,
        old_digest: parsed_if_any(row, "old_digest")?,
        new_digest: parsed_if_any(row, "new_digest")?,
        has_index: row.try_get("has_index")?,
        trigger: trigger(row)?,
        event_id: row.try_get("event_id")?,
        inputs: json(row, "inputs")?,
        reasons: json(row, "reasons")?,
        requests: count(row, "requests")?,
        woken_at_ms: row.try_get("woken_at")?,
        recorded_at_ms: row.try_get("recorded_at")?,
    })
}

pub(super) fn index(row: &SqliteRow) -> sqlx::Result<StoredIndex> {
    Ok(StoredIndex { media_type: row.try_get("media_type")?, bytes: row.try_get("index_bytes")? })
}

pub(super) fn held(row: &SqliteRow) -> sqlx::Result<Held> {
    let hold = Hold {
        repository: parsed(row, "repository")?,
        tag: parsed(row, "tag")?,
        digest: parsed(row, "digest")?,
        images: digests(row, "images")?,
        reason: row.try_get("reason")?,
    };
    Ok(Held { hold, since_ms: row.try_get("since")? })
}

pub(super) fn fact(row: &SqliteRow) -> sqlx::Result<(Digest, Vec<u8>)> {
    Ok((parsed(row, "digest")?, row.try_get("value")?))
}
