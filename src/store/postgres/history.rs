//! The journal and the holds.

use sqlx::{PgConnection, Row as _};
use tokio::time::Instant;

use super::super::StoreError;
use super::super::delivery::LONGEST_REASON;
use super::super::inbox::{Claimed, Trigger};
use super::super::journal::{Entry, Held, Hold, Recorded, StoredIndex};
use super::super::rows;
use super::{Database, PATIENCE, TRANSACTION, query};
use crate::model::text::clean;
use crate::model::{Repository, Tag};

const INSERT: &str = concat!(
    "INSERT INTO onetag.journal (repository, tag, act, old_digest, new_digest, cause, event_id, inputs, reasons, requests,
                          woken_at, recorded_at, media_type, index_bytes)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, coalesce($11::bigint, ",
    now!(),
    "), ",
    now!(),
    ", $12, $13)"
);

/// An entry's columns without the index itself.
macro_rules! entries {
    ($condition:literal) => {
        concat!(
            "SELECT id, repository, tag, act, old_digest, new_digest, cause, event_id, inputs, reasons, requests,
                    woken_at, recorded_at, media_type IS NOT NULL AS has_index
             FROM onetag.journal WHERE ",
            $condition
        )
    };
}

const HISTORY: &str = entries!("id < $1 ORDER BY id DESC LIMIT $2");
const HISTORY_OF_TAG_NAME: &str = entries!("id < $1 AND tag = $3 ORDER BY id DESC LIMIT $2");
const HISTORY_OF_REPOSITORY: &str = entries!("id < $1 AND repository = $3 ORDER BY id DESC LIMIT $2");
const HISTORY_OF_TAG: &str = entries!("id < $1 AND repository = $3 AND tag = $4 ORDER BY id DESC LIMIT $2");

const LAST_PUBLISHED: &str =
    entries!("repository = $1 AND tag = $2 AND act IN ('pushed', 'unchanged', 'rolled-back') ORDER BY id DESC LIMIT 1");

const INDEX: &str = "SELECT media_type, index_bytes FROM onetag.journal WHERE id = $1 AND media_type IS NOT NULL";

const REPOSITORIES: &str = "SELECT repository FROM onetag.job UNION SELECT repository FROM onetag.journal";

/// A few at a time, so that deliveries need not wait long. The newest publication of a tag stays.
const FORGET: &str = concat!(
    "DELETE FROM onetag.journal WHERE id IN (
         SELECT id FROM onetag.journal AS old
         WHERE recorded_at < ",
    now!(),
    " - $1 AND id IS DISTINCT FROM (
             SELECT max(id) FROM onetag.journal
             WHERE repository = old.repository AND tag = old.tag AND act IN ('pushed', 'unchanged', 'rolled-back'))
         LIMIT 500)"
);
const FORGET_FACTS: &str = concat!("DELETE FROM onetag.fact WHERE recorded_at < ", now!(), " - $1");
const FORGET_JOBS: &str = concat!("DELETE FROM onetag.job WHERE due_at IS NULL AND last_woken_at < ", now!(), " - $1");
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

/// Whose an entry is, and who asked when.
#[derive(Clone)]
pub(super) struct Whose {
    repository: String,
    tag: String,
    cause: String,
    event_id: Option<String>,
    woken_at: Option<i64>,
}

impl Whose {
    pub(super) fn of(claimed: &Claimed) -> Whose {
        Whose {
            repository: claimed.repository.to_string(),
            tag: claimed.tag.to_string(),
            cause: claimed.trigger.to_string(),
            event_id: claimed.event_id.clone(),
            woken_at: Some(claimed.woken_at_ms),
        }
    }
}

pub(super) async fn insert(db: &mut PgConnection, whose: Whose, entry: Entry) -> sqlx::Result<()> {
    let (media_type, bytes) = entry.index.map(|index| (index.media_type, index.bytes)).unzip();
    query(INSERT)
        .bind(whose.repository)
        .bind(whose.tag)
        .bind(entry.act.code())
        .bind(entry.old_digest.map(|digest| digest.to_string()))
        .bind(entry.new_digest.map(|digest| digest.to_string()))
        .bind(whose.cause)
        .bind(whose.event_id)
        .bind(entry.inputs.to_string())
        .bind(entry.reasons.to_string())
        .bind(i64::try_from(entry.requests).unwrap_or(i64::MAX))
        .bind(whose.woken_at)
        .bind(media_type)
        .bind(bytes)
        .execute(db)
        .await?;
    Ok(())
}

impl Database {
    pub(crate) async fn record(
        &self,
        repository: &Repository,
        tag: &Tag,
        trigger: Trigger,
        entry: Entry,
    ) -> Result<(), StoreError> {
        let whose = Whose {
            repository: repository.to_string(),
            tag: tag.to_string(),
            cause: trigger.to_string(),
            event_id: None,
            woken_at: None,
        };
        let until = Instant::now() + PATIENCE;
        let written = self.write_once(until, "write down what was done", |db| {
            let (whose, entry) = (whose.clone(), entry.clone());
            Box::pin(async move {
                let transaction = query(TRANSACTION).fetch_one(&mut *db).await?.try_get("transaction")?;
                insert(db, whose, entry).await?;
                Ok(((), Some(transaction)))
            })
        });
        written.await?;
        self.tell();
        Ok(())
    }

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

    pub(crate) async fn last_published(
        &self,
        repository: &Repository,
        tag: &Tag,
    ) -> Result<Option<Recorded>, StoreError> {
        self.read("look up the last publication", |db| {
            let query = query(LAST_PUBLISHED).bind(repository.to_string()).bind(tag.to_string());
            Box::pin(async move { query.fetch_optional(db).await?.as_ref().map(rows::recorded).transpose() })
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
        let age = i64::from(days) * 24 * 60 * 60 * 1000;
        let mut forgotten = 0;
        loop {
            let gone = self.forget(FORGET, age).await?;
            forgotten += gone;
            if gone == 0 {
                break;
            }
        }
        self.forget(FORGET_FACTS, age).await?;
        self.forget(FORGET_JOBS, age).await?;
        self.forget(FORGET_TURNS, age).await?;
        Ok(forgotten)
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
