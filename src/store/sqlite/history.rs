//! The journal and the holds.

use std::sync::Arc;

use sqlx::{Row as _, SqliteConnection};

use super::super::StoreError;
use super::super::delivery::LONGEST_REASON;
use super::super::ends::Line;
use super::super::journal::{Held, Hold, Known, Recorded, StoredIndex};
use super::super::rows;
use super::Database;
use crate::model::text::clean;
use crate::model::{Repository, Tag};

const INSERT: &str = concat!(
    "INSERT INTO journal (repository, tag, act, old_digest, new_digest, cause, event_id, inputs, reasons, requests,
                          woken_at, recorded_at, media_type, index_bytes)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ",
    now!(),
    ", ?12, ?13)"
);

/// An entry's columns without the index itself, of those whose act this version knows.
macro_rules! entries {
    ($condition:literal) => {
        concat!(
            "SELECT id, repository, tag, act, old_digest, new_digest, cause, event_id, inputs, reasons, requests,
                    woken_at, recorded_at, media_type IS NOT NULL AS has_index
             FROM journal
             WHERE act IN ('pushed', 'unchanged', 'held', 'failed', 'rolled-back') AND ",
            $condition
        )
    };
}

const HISTORY: &str = entries!("id < ?1 ORDER BY id DESC LIMIT ?2");
const HISTORY_OF_TAG_NAME: &str = entries!("id < ?1 AND tag = ?4 ORDER BY id DESC LIMIT ?2");
const HISTORY_OF_REPOSITORY: &str = entries!("id < ?1 AND repository = ?3 ORDER BY id DESC LIMIT ?2");
const HISTORY_OF_TAG: &str = entries!("id < ?1 AND repository = ?3 AND tag = ?4 ORDER BY id DESC LIMIT ?2");

const LAST_PUBLISHED: &str =
    entries!("repository = ?1 AND tag = ?2 AND act IN ('pushed', 'unchanged', 'rolled-back') ORDER BY id DESC LIMIT 1");

const INDEX: &str = "SELECT media_type, index_bytes FROM journal WHERE id = ?1 AND media_type IS NOT NULL";

/// However long the tables are: one look into the index for each repository.
const REPOSITORIES: &str = "WITH RECURSIVE of_jobs (repository) AS (
         SELECT min(repository) FROM job
         UNION ALL
         SELECT (SELECT min(job.repository) FROM job WHERE job.repository > of_jobs.repository)
         FROM of_jobs WHERE of_jobs.repository IS NOT NULL),
     of_entries (repository) AS (
         SELECT min(repository) FROM journal
         UNION ALL
         SELECT (SELECT min(journal.repository) FROM journal WHERE journal.repository > of_entries.repository)
         FROM of_entries WHERE of_entries.repository IS NOT NULL)
     SELECT repository FROM of_jobs WHERE repository IS NOT NULL
     UNION SELECT repository FROM of_entries WHERE repository IS NOT NULL";

/// The next entries, a few at a time so that deliveries need not wait long: the last of them, and
/// whether any is old.
const BATCH: &str = concat!(
    "SELECT max(id) AS last, coalesce(max(recorded_at < ",
    now!(),
    " - ?1), false) AS has_old
     FROM (SELECT id, recorded_at FROM journal WHERE id > ?2 ORDER BY id LIMIT 500) AS batch"
);
/// The newest publication of a tag stays.
const FORGET: &str = concat!(
    "DELETE FROM journal AS old WHERE id > ?2 AND id <= ?3 AND recorded_at < ",
    now!(),
    " - ?1 AND id IS NOT (
         SELECT max(id) FROM journal
         WHERE repository = old.repository AND tag = old.tag AND act IN ('pushed', 'unchanged', 'rolled-back'))"
);
const FORGET_FACTS: &str = concat!("DELETE FROM fact WHERE recorded_at < ", now!(), " - ?1");
/// What somebody has (?2) is not forgotten.
const FORGET_JOBS: &str = concat!(
    "DELETE FROM job WHERE due_at IS NULL AND id NOT IN (SELECT value FROM json_each(?2)) AND last_woken_at < ",
    now!(),
    " - ?1"
);

const HOLD: &str = concat!(
    "INSERT INTO hold (repository, tag, digest, images, reason, since) VALUES (?1, ?2, ?3, ?4, ?5, ",
    now!(),
    ") ON CONFLICT (repository, tag) DO UPDATE SET
         digest = excluded.digest, images = excluded.images, reason = excluded.reason, since = excluded.since"
);
const HELD: &str = "SELECT * FROM hold WHERE repository = ?1 AND tag = ?2";
const HOLDS: &str = "SELECT * FROM hold ORDER BY since DESC, id DESC";
const RELEASE: &str = "DELETE FROM hold WHERE repository = ?1 AND tag = ?2";

pub(super) async fn insert(db: &mut SqliteConnection, line: Line) -> sqlx::Result<()> {
    sqlx::query(INSERT)
        .bind(line.repository)
        .bind(line.tag)
        .bind(line.act)
        .bind(line.old_digest)
        .bind(line.new_digest)
        .bind(line.cause)
        .bind(line.event_id)
        .bind(line.inputs)
        .bind(line.reasons)
        .bind(line.requests)
        .bind(line.woken_at)
        .bind(line.media_type)
        .bind(line.index_bytes)
        .execute(db)
        .await?;
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
        let request = "read the journal";
        let statement = match (repository, tag) {
            (None, None) => HISTORY,
            (None, Some(_)) => HISTORY_OF_TAG_NAME,
            (Some(_), None) => HISTORY_OF_REPOSITORY,
            (Some(_), Some(_)) => HISTORY_OF_TAG,
        };
        let mut db = self.reader(request).await?;
        let query = sqlx::query(statement).bind(before.unwrap_or(i64::MAX)).bind(most);
        let query = query.bind(repository.map(Repository::to_string)).bind(tag.map(Tag::as_str));
        let found = query.fetch_all(&mut *db).await.map_err(self.failed(request))?;
        found.iter().map(rows::recorded).collect::<sqlx::Result<_>>().map_err(self.failed(request))
    }

    async fn last_published(&self, repository: &Repository, tag: &Tag) -> Result<Option<Recorded>, StoreError> {
        let request = "look up the last publication";
        let mut db = self.reader(request).await?;
        let query = sqlx::query(LAST_PUBLISHED).bind(repository.to_string()).bind(tag.as_str());
        let found = query.fetch_optional(&mut *db).await.map_err(self.failed(request))?;
        found.as_ref().map(rows::recorded).transpose().map_err(self.failed(request))
    }

    pub(crate) async fn known(&self, repository: &Repository, tag: &Tag) -> Result<Known, StoreError> {
        Ok(Known {
            job: self.job(repository, tag).await?,
            newest: self.history(Some(repository), Some(tag), 1, None).await?.pop(),
            published: self.last_published(repository, tag).await?,
            held: self.held(repository, tag).await?,
            found: self.version(repository, tag).await?.and_then(|listed| listed.found).map(|found| found.version),
        })
    }

    pub(crate) async fn index(&self, id: i64) -> Result<Option<StoredIndex>, StoreError> {
        let request = "read a published index";
        let mut db = self.reader(request).await?;
        let found = sqlx::query(INDEX).bind(id).fetch_optional(&mut *db).await.map_err(self.failed(request))?;
        found.as_ref().map(rows::index).transpose().map_err(self.failed(request))
    }

    pub(crate) async fn repositories(&self) -> Result<Vec<Repository>, StoreError> {
        let request = "list repositories";
        let mut db = self.reader(request).await?;
        let names = sqlx::query_scalar::<_, String>(REPOSITORIES).fetch_all(&mut *db).await;
        Ok(names.map_err(self.failed(request))?.iter().filter_map(|name| name.parse().ok()).collect())
    }

    pub(crate) async fn forget_before(&self, days: u32) -> Result<u64, StoreError> {
        let age = i64::from(days) * 24 * 60 * 60 * 1000;
        let (mut forgotten, mut next) = (0, Some(0));
        while let Some(after) = next {
            let gone;
            (gone, next) = self.forget_some(age, after).await?;
            forgotten += gone;
        }
        let leases = Arc::clone(&self.leases);
        self.write("forget what is old", move |db| {
            Box::pin(async move {
                sqlx::query(FORGET_FACTS).bind(age).execute(&mut *db).await?;
                sqlx::query(FORGET_JOBS).bind(age).bind(leases.ids()).execute(db).await
            })
        })
        .await?;
        Ok(forgotten)
    }

    /// Forgets what is old of the next entries after one; returns how many, and after which to go on.
    async fn forget_some(&self, age: i64, after: i64) -> Result<(u64, Option<i64>), StoreError> {
        self.write("forget what is old", move |db| {
            Box::pin(async move {
                let batch = sqlx::query(BATCH).bind(age).bind(after).fetch_one(&mut *db).await?;
                let Some(last) = batch.try_get("last")? else { return Ok((0, None)) };
                let forget = sqlx::query(FORGET).bind(age).bind(after).bind::<i64>(last);
                let gone = forget.execute(db).await?.rows_affected();
                Ok((gone, batch.try_get::<bool, _>("has_old")?.then_some(last)))
            })
        })
        .await
    }

    pub(crate) async fn hold(&self, hold: Hold) -> Result<(), StoreError> {
        self.write("hold a tag", move |db| {
            Box::pin(async move {
                sqlx::query(HOLD)
                    .bind(hold.repository.to_string())
                    .bind(hold.tag.to_string())
                    .bind(hold.digest.to_string())
                    .bind(serde_json::to_string(&hold.images).expect("names are JSON"))
                    .bind(clean(&hold.reason, LONGEST_REASON))
                    .execute(db)
                    .await?;
                Ok(())
            })
        })
        .await
    }

    pub(crate) async fn held(&self, repository: &Repository, tag: &Tag) -> Result<Option<Held>, StoreError> {
        let request = "look up a hold";
        let mut db = self.reader(request).await?;
        let query = sqlx::query(HELD).bind(repository.to_string()).bind(tag.as_str());
        let found = query.fetch_optional(&mut *db).await.map_err(self.failed(request))?;
        found.as_ref().map(rows::held).transpose().map_err(self.failed(request))
    }

    pub(crate) async fn holds(&self) -> Result<Vec<Held>, StoreError> {
        let request = "list holds";
        let mut db = self.reader(request).await?;
        let found = sqlx::query(HOLDS).fetch_all(&mut *db).await.map_err(self.failed(request))?;
        found.iter().map(rows::held).collect::<sqlx::Result<_>>().map_err(self.failed(request))
    }

    pub(crate) async fn release(&self, repository: &Repository, tag: &Tag) -> Result<bool, StoreError> {
        let (repository, tag) = (repository.to_string(), tag.to_string());
        self.write("release a tag", move |db| {
            Box::pin(async move {
                let gone = sqlx::query(RELEASE).bind(repository).bind(tag).execute(db).await?;
                Ok(gone.rows_affected() > 0)
            })
        })
        .await
    }
}
