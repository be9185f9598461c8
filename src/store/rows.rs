//! Rows into the types of the model, checked again: a database may have been edited or damaged.
//!
//! The engines have the same columns, under the same names and with as few types as possible.
//!
//! While versions change, a later one writes beside this: words that are not known here, and texts of
//! another shape. They are shown as unknown; what no version can have written is an error.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::{Duration, Instant};

use serde_json::Value;
use sqlx::Row;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;

use super::inbox::{Claimed, Counts, JobView, Quarantined, Trigger, Trouble, TroubleKind};
use super::journal::{Act, Held, Hold, Recorded, StoredIndex};
use super::together::Changed;
use super::versions::{Architecture, Found, Listed, Overview, Place, Tally};
use crate::model::{Digest, Repository, Tag, Version};

/// A row of any engine, by the names of its columns. Null is none.
pub(super) trait Columns {
    fn text(&self, column: &str) -> sqlx::Result<Option<&str>>;
    fn number(&self, column: &str) -> sqlx::Result<Option<i64>>;
    fn flag(&self, column: &str) -> sqlx::Result<bool>;
    fn bytes(&self, column: &str) -> sqlx::Result<Vec<u8>>;
}

macro_rules! columns_of {
    ($row:ty) => {
        impl Columns for $row {
            fn text(&self, column: &str) -> sqlx::Result<Option<&str>> {
                self.try_get(column)
            }

            fn number(&self, column: &str) -> sqlx::Result<Option<i64>> {
                self.try_get(column)
            }

            fn flag(&self, column: &str) -> sqlx::Result<bool> {
                self.try_get(column)
            }

            fn bytes(&self, column: &str) -> sqlx::Result<Vec<u8>> {
                self.try_get(column)
            }
        }
    };
}

columns_of!(SqliteRow);
columns_of!(PgRow);

/// Text that is not what its column holds.
fn odd(column: &str, text: &str) -> sqlx::Error {
    sqlx::Error::Decode(format!("column `{column}` holds `{}`", crate::model::text::clean(text, 80)).into())
}

/// Whether some version may have this word for something.
fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
}

/// Text where there must be some.
fn some<'r>(row: &'r impl Columns, column: &str) -> sqlx::Result<&'r str> {
    row.text(column)?.ok_or_else(|| odd(column, ""))
}

/// A number where there must be one.
fn counted(row: &impl Columns, column: &str) -> sqlx::Result<i64> {
    row.number(column)?.ok_or_else(|| odd(column, ""))
}

fn parsed<T: FromStr>(row: &impl Columns, column: &str) -> sqlx::Result<T> {
    let text = some(row, column)?;
    text.parse().map_err(|_| odd(column, text))
}

fn parsed_if_any<T: FromStr>(row: &impl Columns, column: &str) -> sqlx::Result<Option<T>> {
    let text = row.text(column)?;
    text.map(|text| text.parse().map_err(|_| odd(column, text))).transpose()
}

fn json(row: &impl Columns, column: &str) -> sqlx::Result<Value> {
    parsed(row, column)
}

/// `{tag: digest}`.
fn digests(row: &impl Columns, column: &str) -> sqlx::Result<BTreeMap<Tag, Digest>> {
    let text = some(row, column)?;
    let pairs: BTreeMap<String, Digest> = serde_json::from_str(text).map_err(|_| odd(column, text))?;
    pairs.into_iter().map(|(tag, digest)| Ok((tag.parse().map_err(|_| odd(column, &tag))?, digest))).collect()
}

fn trigger(row: &impl Columns) -> sqlx::Result<Trigger> {
    let text = some(row, "cause")?;
    match (text, text.strip_prefix("hook:")) {
        (_, Some(name)) => Ok(Trigger::Hook(name.to_owned())),
        ("scan", _) => Ok(Trigger::Scan),
        ("request", _) => Ok(Trigger::Request),
        ("audit", _) => Ok(Trigger::Audit),
        _ if text.split(':').next().is_some_and(is_word) => Ok(Trigger::Other(text.to_owned())),
        _ => Err(odd("cause", text)),
    }
}

fn count(row: &impl Columns, column: &str) -> sqlx::Result<u64> {
    let number = row.number(column)?;
    Ok(number.and_then(|number| u64::try_from(number).ok()).unwrap_or_default())
}

fn small_count(row: &impl Columns, column: &str) -> sqlx::Result<u32> {
    Ok(u32::try_from(count(row, column)?).unwrap_or(u32::MAX))
}

pub(super) fn duration(row: &impl Columns, column: &str) -> sqlx::Result<Option<Duration>> {
    let millis = row.number(column)?;
    Ok(millis.map(|millis| Duration::from_millis(u64::try_from(millis).unwrap_or_default())))
}

pub(super) fn claimed(row: &impl Columns) -> sqlx::Result<Claimed> {
    Ok(Claimed {
        repository: parsed(row, "repository")?,
        tag: parsed(row, "tag")?,
        trigger: trigger(row)?,
        event_id: row.text("event_id")?.map(str::to_owned),
        hints: digests(row, "claimed_hints")?,
        woken_at_ms: counted(row, "woken_at")?,
        last_woken_at_ms: counted(row, "last_woken_at")?,
        starts: small_count(row, "starts")?,
        attempts: small_count(row, "attempts")?,
        id: counted(row, "id")?,
        generation: counted(row, "generation")?,
        claimed_at_ms: counted(row, "claimed_at")?,
        claimed_at: Instant::now(),
    })
}

fn trouble(row: &impl Columns) -> sqlx::Result<Option<Trouble>> {
    let Some(code) = row.text("trouble")? else { return Ok(None) };
    let Some(kind) = TroubleKind::ALL.into_iter().find(|kind| kind.as_str() == code) else {
        return if is_word(code) { Ok(None) } else { Err(odd("trouble", code)) };
    };
    Ok(Some(Trouble { kind, reason: some(row, "reason")?.to_owned(), since_ms: counted(row, "troubled_at")? }))
}

pub(super) fn job(row: &impl Columns) -> sqlx::Result<JobView> {
    let is_running: bool = row.flag("is_running")?;
    Ok(JobView {
        repository: parsed(row, "repository")?,
        tag: parsed(row, "tag")?,
        trigger: trigger(row)?,
        is_running,
        due_in: if is_running { None } else { duration(row, "due_in")? },
        woken_at_ms: row.number("woken_at")?,
        attempts: small_count(row, "attempts")?,
        trouble: trouble(row)?,
    })
}

pub(super) fn counts(row: &impl Columns) -> sqlx::Result<Counts> {
    Ok(Counts {
        waiting: count(row, "waiting")?,
        running: count(row, "running")?,
        failing: count(row, "failing")?,
        held: count(row, "held")?,
        parked: count(row, "parked")?,
        quarantined: count(row, "quarantined")?,
        oldest_waiting: duration(row, "oldest_waiting")?,
    })
}

pub(super) fn quarantined(row: &impl Columns) -> sqlx::Result<Quarantined> {
    Ok(Quarantined {
        id: counted(row, "id")?,
        received_at_ms: counted(row, "received_at")?,
        hook: some(row, "hook")?.to_owned(),
        reason: some(row, "reason")?.to_owned(),
        size_bytes: count(row, "size")?,
        body: row.bytes("body")?,
    })
}

pub(super) fn recorded(row: &impl Columns) -> sqlx::Result<Recorded> {
    let code = some(row, "act")?;
    let acts = [Act::Pushed, Act::Unchanged, Act::Held, Act::Failed, Act::RolledBack];
    Ok(Recorded {
        id: counted(row, "id")?,
        repository: parsed(row, "repository")?,
        tag: parsed(row, "tag")?,
        act: acts.into_iter().find(|act| act.code() == code).ok_or_else(|| odd("act", code))?,
        old_digest: parsed_if_any(row, "old_digest")?,
        new_digest: parsed_if_any(row, "new_digest")?,
        has_index: row.flag("has_index")?,
        trigger: trigger(row)?,
        event_id: row.text("event_id")?.map(str::to_owned),
        inputs: json(row, "inputs")?,
        reasons: json(row, "reasons")?,
        requests: count(row, "requests")?,
        woken_at_ms: counted(row, "woken_at")?,
        recorded_at_ms: counted(row, "recorded_at")?,
    })
}

pub(super) fn index(row: &impl Columns) -> sqlx::Result<StoredIndex> {
    Ok(StoredIndex { media_type: some(row, "media_type")?.to_owned(), bytes: row.bytes("index_bytes")? })
}

pub(super) fn held(row: &impl Columns) -> sqlx::Result<Held> {
    let hold = Hold {
        repository: parsed(row, "repository")?,
        tag: parsed(row, "tag")?,
        digest: parsed(row, "digest")?,
        images: digests(row, "images")?,
        reason: some(row, "reason")?.to_owned(),
    };
    Ok(Held { hold, since_ms: counted(row, "since")? })
}

pub(super) fn fact(row: &impl Columns) -> sqlx::Result<(Digest, Vec<u8>)> {
    Ok((parsed(row, "digest")?, row.bytes("value")?))
}

/// A row of the list, and whether a person holds the tag.
pub(super) fn listed(row: &impl Columns) -> sqlx::Result<(Listed, bool)> {
    let tag: Tag = parsed(row, "tag")?;
    let found = if row.text("body")?.is_some() { found(row)? } else { None };
    let trouble = trouble(row)?;
    let place = Place { rank: counted(row, "rank")?, tag: tag.clone() };
    let is_held = row.number("held_at")?.is_some();
    Ok((Listed { tag, found, trouble, hold: None, place }, is_held))
}

/// What was found; none if another version of this program wrote it.
fn found(row: &impl Columns) -> sqlx::Result<Option<Found>> {
    let Ok(version) = serde_json::from_value(json(row, "body")?) else { return Ok(None) };
    Ok(Some(Found { version, since_ms: counted(row, "since")?, checked_at_ms: counted(row, "checked_at")? }))
}

/// The body of a version; none if another version of this program wrote it.
pub(super) fn version(row: &impl Columns) -> sqlx::Result<Option<Version>> {
    Ok(serde_json::from_str(some(row, "body")?).ok())
}

pub(super) fn add_to_tally(tally: &mut Tally, row: &impl Columns) -> sqlx::Result<()> {
    let versions = count(row, "versions")?;
    let rank = counted(row, "rank")?;
    tally.versions += versions;
    tally.stopped += if rank == 0 { versions } else { 0 };
    tally.attention += if rank < 2 { versions } else { 0 };
    for column in ["state", "trouble"] {
        if let Some(state) = row.text(column)? {
            *tally.states.entry(state.to_owned()).or_default() += versions;
        }
    }
    Ok(())
}

pub(super) fn add_to_overview(overviews: &mut BTreeMap<String, Overview>, row: &impl Columns) -> sqlx::Result<()> {
    let name = some(row, "repository")?.to_owned();
    let repository: Repository = parsed(row, "repository")?;
    let empty = || Overview { repository, tally: Tally::default(), checked_at_ms: None };
    let overview = overviews.entry(name).or_insert_with(empty);
    add_to_tally(&mut overview.tally, row)?;
    overview.checked_at_ms = overview.checked_at_ms.max(row.number("checked_at")?);
    Ok(())
}

pub(super) fn architecture(row: &impl Columns) -> sqlx::Result<Architecture> {
    Ok(Architecture {
        name: some(row, "arch")?.to_owned(),
        platform: row.text("platform")?.map(str::to_owned),
        versions: count(row, "versions")?,
    })
}

pub(super) fn changed(row: &impl Columns) -> sqlx::Result<Changed> {
    Ok(Changed {
        repository: parsed(row, "repository")?,
        tag: parsed(row, "tag")?,
        state: row.text("state")?.map(str::to_owned),
        at_ms: counted(row, "at")?,
    })
}
