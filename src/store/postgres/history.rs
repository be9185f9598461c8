//! The journal and the holds.

use std::time::Duration;

use sqlx::{PgConnection, QueryBuilder, Row as _};
use tokio::time::Instant;

use super::super::StoreError;
use super::super::delivery::LONGEST_REASON;
use super::super::ends::Line;
use super::super::journal::{Held, Hold, Known, Recorded, StoredIndex};
use super::super::rows;
use super::super::together::Turn;
use super::{Database, PATIENCE, TRANSACTION, jobs, query, versions};
use crate::model::text::clean;
use crate::model::{Repository, Tag};

const INSERT: &str = "INSERT INTO onetag.journal (repository, tag, act, old_digest, new_digest, cause, event_id,
     inputs, reasons, requests, woken_at, media_type, index_bytes, recorded_at) ";

/// An entry's columns without the index itself, of those whose act this version knows.
macro_rules! entries {
    ($condition:literal) => {
        concat!(
            "SELECT id, repository, tag, act, old_digest, new_digest, cause, event_id, inputs, reasons, requests,
                    woken_at, recorded_at, media_type IS NOT NULL AS has_index
             FROM onetag.journal
             WHERE act IN ('pushed', 'unchanged', 'held', 'failed', 'rolled-back') AND ",
            $condition
        )
    };
}

const HISTORY: &str = entries!("id < $1 ORDER BY id DESC LIMIT $2");
const HISTORY_OF_TAG_NAME: &str = entries!("id < $1 AND tag = $3 ORDER BY id DESC LIMIT $2");
const HISTORY_OF_REPOSITORY: &str = entries!("id < $1 AND repository = $3 ORDER BY id DESC LIMIT $2");
const HISTORY_OF_TAG: &str = entries!("id < $1 AND repository = $3 AND tag = $4 ORDER BY id DESC LIMIT $2");

const NEWEST: &str = entries!("repository = $1 AND tag = $2 ORDER BY id DESC LIMIT 1");
const LAST_PUBLISHED: &str =
    entries!("repository = $1 AND tag = $2 AND act IN ('pushed', 'unchanged', 'rolled-back') ORDER BY id DESC LIMIT 1");

const INDEX: &str = "SELECT media_type, index_bytes FROM onetag.journal WHERE id = $1 AND media_type IS NOT NULL";

/// However long the tables are: one look into the index for each repository.
const REPOSITORIES: &str = "WITH RECURSIVE of_jobs (repository) AS (
         SELECT min(repository) FROM onetag.job
         UNION ALL
         SELECT (SELECT min(job.repository) FROM onetag.job WHERE job.repository > of_jobs.repository)
         FROM of_jobs WHERE of_jobs.repository IS NOT NULL),
     of_entries (repository) AS (
         SELECT min(repository) FROM onetag.journal
         UNION ALL
         SELECT (SELECT min(journal.repository) FROM onetag.journal WHERE journal.repository > of_entries.repository)
         FROM of_entries WHERE of_entries.repository IS NOT NULL)
     SELECT repository FROM of_jobs WHERE repository IS NOT NULL
     UNION SELECT repository FROM of_entries WHERE repository IS NOT NULL";

/// The next entries, a few at a time so that deliveries need not wait long: the last of them, and
/// whether any is old.
const BATCH: &str = concat!(
    "SELECT max(id) AS last, coalesce(bool_or(recorded_at < ",
    now!(),
    " - $1), false) AS has_old
     FROM (SELECT id, recorded_at FROM onetag.journal WHERE id > $2 ORDER BY id LIMIT 500) AS batch"
);
/// Of the same, those that are old. The newest publication of a tag stays.
const FORGET: &str = concat!(
    "DELETE FROM onetag.journal WHERE id = ANY (ARRAY (
         SELECT id FROM (
             SELECT id, repository, tag, recorded_at FROM onetag.journal WHERE id > $2 ORDER BY id LIMIT 500) AS old
         WHERE recorded_at < ",
    now!(),
    " - $1 AND id IS DISTINCT FROM (
             SELECT max(id) FROM onetag.journal
             WHERE repository = old.repository AND tag = old.tag AND act IN ('pushed', 'unchanged', 'rolled-back'))))"
);
const FORGET_FACTS: &str = concat!("DELETE FROM onetag.fact WHERE recorded_at < ", now!(), " - $1");
/// What somebody has is not forgotten.
const FORGET_JOBS: &str =
    concat!("DELETE FROM onetag.job WHERE due_at IS NULL AND lease_ms IS NULL AND last_woken_at < ", now!(), " - $1");
const FORGET_TURNS: &str = concat!("DELETE FROM onetag.turn WHERE next_at < ", now!(), " - $1");

const HOLD: &str = concat!(
    "INSERT INTO onetag.hold (repository, tag, digest, images, reason, since) VALUES ($1, $2, $3, $4, $5, ",
    now!(),
    ") ON CONFLICT (repository, tag) DO UPDATE SET
         digest = excluded.digest, images = excluded.images, reason = excluded.reason, since = excluded.since"
);
const HELD: &str = "SELECT * FROM onetag.hold WHERE repository = $1 AND tag = $2";
const HOLDS: &str = "SELECT * FROM onetag.hold ORDER BY since DESC, id DESC";
const RELEASE: &str = "DELETE FROM onetag.hold WHERE repository = $1 AND tag = $2";

/// How long a process is left to forget before another does it, and how long nobody needs to.
const LONGEST_FORGETTING: Duration = Duration::from_secs(600);
const FORGET_AGAIN: Duration = Duration::from_secs(1800);

/// Writes lines, one after another, in one statement.
pub(super) async fn insert(db: &mut PgConnection, lines: Vec<Line>) -> sqlx::Result<()> {
    let mut insert = QueryBuilder::new(INSERT);
    insert.push_values(lines, |mut row, line| {
        row.push_bind(line.repository)
            .push_bind(line.tag)
            .push_bind(line.act)
            .push_bind(line.old_digest)
            .push_bind(line.new_digest)
            .push_bind(line.cause)
            .push_bind(line.event_id)
            .push_bind(line.inputs)
            .push_bind(line.reasons)
            .push_bind(line.requests)
            .push_bind(line.woken_at)
            .push_bind(line.media_type)
            .push_bind(line.index_bytes)
            .push(now!());
    });
    insert.build().persistent(false).execute(db).await?;
    Ok(())
}

impl Database {
    pub(crate) async fn history(
        &self,
        repository: Option<&Repository>,
        tag: Option<&Tag>,
        most: u32,
        before: Option<i64>,
    ) -> Result<Vec<Recorded>, StoreError> {
        let statement = match (repository, tag) {
            (None, None) => HISTORY,
            (None, Some(_)) => HISTORY_OF_TAG_NAME,
            (Some(_), None) => HISTORY_OF_REPOSITORY,
            (Some(_), Some(_)) => HISTORY_OF_TAG,
        };
        let names = [repository.map(Repository::to_string), tag.map(Tag::to_string)];
        self.read("read the journal", |db| {
            let query = query(statement).bind(before.unwrap_or(i64::MAX)).bind(i64::from(most));
            let query = names.iter().flatten().fold(query, |query, name| query.bind(name.clone()));
            Box::pin(async move { query.fetch_all(db).await?.iter().map(rows::recorded).collect() })
        })
        .await
    }

    /// In one transaction: there are as many as there are runs.
    pub(crate) async fn known(&self, repository: &Repository, tag: &Tag) -> Result<Known, StoreError> {
        self.read("look up what is known of a tag", |db| {
            let (repository, tag) = (repository.to_string(), tag.to_string());
            let named = |sql: &'static str| query(sql).bind(repository.clone()).bind(tag.clone());
            let [job, newest, published, held, found] =
                [jobs::ONE, NEWEST, LAST_PUBLISHED, HELD, versions::FOUND].map(named);
            Box::pin(async move {
                Ok(Known {
                    job: job.fetch_optional(&mut *db).await?.as_ref().map(rows::job).transpose()?,
                    newest: newest.fetch_optional(&mut *db).await?.as_ref().map(rows::recorded).transpose()?,
                    published: published.fetch_optional(&mut *db).await?.as_ref().map(rows::recorded).transpose()?,
                    held: held.fetch_optional(&mut *db).await?.as_ref().map(rows::held).transpose()?,
                    found: found.fetch_optional(db).await?.as_ref().map(rows::version).transpose()?.flatten(),
                })
            })
        })
        .await
    }

    pub(crate) async fn index(&self, id: i64) -> Result<Option<StoredIndex>, StoreError> {
        self.read("read a published index", |db| {
            let query = query(INDEX).bind(id);
            Box::pin(async move { query.fetch_optional(db).await?.as_ref().map(rows::index).transpose() })
        })
        .await
    }

    pub(crate) async fn repositories(&self) -> Result<Vec<Repository>, StoreError> {
        self.read("list repositories", |db| {
            Box::pin(async move {
                let names = query(REPOSITORIES).fetch_all(db).await?;
                Ok(names.iter().filter_map(|row| row.try_get::<&str, _>("repository").ok()?.parse().ok()).collect())
            })
        })
        .await
    }

    pub(crate) async fn forget_before(&self, days: u32) -> Result<u64, StoreError> {
        let (age, subject) = (i64::from(days) * 24 * 60 * 60 * 1000, days.to_string());
        if self.take_turn("forget", &subject, LONGEST_FORGETTING).await? != Turn::Mine {
            return Ok(0);
        }
        let (mut forgotten, mut next) = (0, Some(0));
        while let Some(after) = next {
            let gone;
            (gone, next) = self.forget_some(age, after).await?;
            forgotten += gone;
        }
        for statement in [FORGET_FACTS, FORGET_JOBS, FORGET_TURNS] {
            self.forget(statement, age).await?;
        }
        self.end_turn("forget", &subject, FORGET_AGAIN, None).await?;
        Ok(forgotten)
    }

    /// Forgets what is old of the next entries after one; returns how many, and after which to go on.
    async fn forget_some(&self, age: i64, after: i64) -> Result<(u64, Option<i64>), StoreError> {
        self.write("forget what is old", |db| {
            Box::pin(async move {
                let batch = query(BATCH).bind(age).bind(after).fetch_one(&mut *db).await?;
                let Some(last) = batch.try_get("last")? else { return Ok((0, None)) };
                let gone = query(FORGET).bind(age).bind(after).execute(db).await?.rows_affected();
                Ok((gone, batch.try_get::<bool, _>("has_old")?.then_some(last)))
            })
        })
        .await
    }

    async fn forget(&self, statement: &'static str, age: i64) -> Result<u64, StoreError> {
        self.write("forget what is old", |db| {
            Box::pin(async move { Ok(query(statement).bind(age).execute(db).await?.rows_affected()) })
        })
        .await
    }

    pub(crate) async fn hold(&self, hold: Hold) -> Result<(), StoreError> {
        self.write("hold a tag", |db| {
            let query = query(HOLD)
                .bind(hold.repository.to_string())
                .bind(hold.tag.to_string())
                .bind(hold.digest.to_string())
                .bind(serde_json::to_string(&hold.images).expect("names are JSON"))
                .bind(clean(&hold.reason, LONGEST_REASON));
            Box::pin(async move { query.execute(db).await.map(|_| ()) })
        })
        .await
    }

    pub(crate) async fn held(&self, repository: &Repository, tag: &Tag) -> Result<Option<Held>, StoreError> {
        self.read("look up a hold", |db| {
            let query = query(HELD).bind(repository.to_string()).bind(tag.to_string());
            Box::pin(async move { query.fetch_optional(db).await?.as_ref().map(rows::held).transpose() })
        })
        .await
    }

    pub(crate) async fn holds(&self) -> Result<Vec<Held>, StoreError> {
        self.read("list holds", |db| {
            Box::pin(async move { query(HOLDS).fetch_all(db).await?.iter().map(rows::held).collect() })
        })
        .await
    }

    pub(crate) async fn release(&self, repository: &Repository, tag: &Tag) -> Result<bool, StoreError> {
        let until = Instant::now() + PATIENCE;
        self.write_once(until, "release a tag", |db| {
            let release = query(RELEASE).bind(repository.to_string()).bind(tag.to_string());
            Box::pin(async move {
                let transaction = query(TRANSACTION).fetch_one(&mut *db).await?.try_get("transaction")?;
                Ok((release.execute(db).await?.rows_affected() > 0, Some(transaction)))
            })
        })
        .await
    }
}
