//! Runs of jobs: claimed under a lease, ended with an entry in the journal.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::{Row, SqliteConnection};

use super::super::StoreError;
use super::super::ends::{Fate, Line};
use super::super::inbox::Claimed;
use super::super::journal::Entry;
use super::super::rows;
use super::{Database, history};
use crate::model::{Host, Repository, Tag};

/// Times set more than 5 s in the future were set before the clock stepped back.
macro_rules! is_of_another_time {
    () => {
        concat!("due_at IS NOT NULL AND set_at > ", now!(), " + 5000")
    };
}

/// Nobody can say how long such a job still had to wait, so it is due.
const FOLLOW_CLOCK: &str =
    concat!("UPDATE job SET due_at = ", now!(), ", set_at = ", now!(), " WHERE ", is_of_another_time!());

/// Which jobs may be claimed: those without a lease (?1), at registries that are not busy (?2).
macro_rules! is_free {
    () => {
        "due_at IS NOT NULL AND id NOT IN (SELECT value FROM json_each(?1))
         AND host NOT IN (SELECT value FROM json_each(?2))"
    };
}

const CLAIM: &str = concat!(
    "UPDATE job SET
         generation = generation + 1,
         starts = starts + 1,
         woken_at = coalesce(woken_at, last_woken_at),
         burst_at = NULL,
         claimed_wakes = wakes,
         claimed_hints = json_patch(claimed_hints, hints),
         hints = '{}'
     WHERE id IN (SELECT id FROM job WHERE ",
    is_free!(),
    " AND due_at <= ",
    now!(),
    " ORDER BY due_at LIMIT ?3)
     RETURNING *, ",
    now!(),
    " AS claimed_at"
);

/// A row that waits for nothing, where there is none. In the row of a job nothing changes but the fence.
const RESERVE_TAG: &str = concat!(
    "INSERT INTO job (host, repository, tag, set_at, last_woken_at, quiet_ms, longest_ms, wakes, cause, hints, generation)
     VALUES (?1, ?2, ?3, ",
    now!(),
    ", ",
    now!(),
    ", 0, 0, 0, 'request', '{}', 1)
     ON CONFLICT (repository, tag) DO UPDATE SET generation = job.generation + 1
         WHERE id NOT IN (SELECT value FROM json_each(?4))
     RETURNING id, repository, tag, generation, starts, attempts, 'request' AS cause, NULL AS event_id,
         '{}' AS claimed_hints, ",
    now!(),
    " AS woken_at, ",
    now!(),
    " AS last_woken_at, ",
    now!(),
    " AS claimed_at"
);

const NEXT_DUE: &str = concat!(
    "SELECT CASE WHEN EXISTS (SELECT 1 FROM job WHERE ",
    is_of_another_time!(),
    ") THEN 0 ELSE (SELECT max(due_at - ",
    now!(),
    ", 0) FROM job WHERE ",
    is_free!(),
    " ORDER BY due_at LIMIT 1) END AS next_due"
);

/// Nobody had the job since, or the start that would be taken back is another's.
const SURVIVED: &str = "UPDATE job SET starts = ?3 - 1 WHERE id = ?1 AND generation = ?2 AND starts = ?3";

/// The fence: the row is there with this generation, or the lease was lost.
const IS_WOKEN_AGAIN: &str =
    "SELECT wakes > claimed_wakes AS is_woken_again FROM job WHERE id = ?1 AND generation = ?2";

const DROP: &str = "DELETE FROM job WHERE id = ?1";

/// Whoever has nothing left to wait for, and nothing to be listed for, goes.
const GIVE_BACK: [&str; 2] = [
    "UPDATE job SET generation = generation + 1 WHERE id = ?1",
    "DELETE FROM job WHERE id = ?1 AND due_at IS NULL AND trouble IS NULL",
];

/// What wake-ups during the run have set stays as they set it.
const RELEASE: &str = concat!(
    "UPDATE job SET
         generation = generation + 1,
         starts = 0,
         attempts = CASE WHEN ?2 = 'failing' THEN attempts + 1 ELSE 0 END,
         troubled_at = CASE WHEN ?2 IS NULL THEN NULL WHEN trouble = ?2 THEN troubled_at ELSE ",
    now!(),
    " END,
         trouble = ?2,
         reason = ?3,
         woken_at = CASE WHEN ?2 IN ('failing', 'waiting') THEN woken_at ELSE burst_at END,
         hints = CASE WHEN ?2 IN ('failing', 'waiting') THEN json_patch(claimed_hints, hints) ELSE hints END,
         claimed_hints = '{}',
         due_at = CASE WHEN wakes > claimed_wakes THEN due_at ELSE ",
    now!(),
    " + ?4 END,
         set_at = CASE WHEN wakes > claimed_wakes THEN set_at ELSE ",
    now!(),
    " END
     WHERE id = ?1"
);

impl Database {
    pub(crate) async fn claim(&self, lease: Duration, busy: &[Host], most: usize) -> Result<Vec<Claimed>, StoreError> {
        let (leases, busy) = (Arc::clone(&self.leases), hosts(busy));
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        self.leased("claim jobs", lease, move |db| {
            Box::pin(async move {
                sqlx::query(FOLLOW_CLOCK).execute(&mut *db).await?;
                let claim = sqlx::query(CLAIM).bind(leases.ids()).bind(busy).bind(most);
                claim.fetch_all(db).await?.iter().map(rows::claimed).collect()
            })
        })
        .await
    }

    pub(crate) async fn reserve_tag(
        &self,
        repository: &Repository,
        tag: &Tag,
        lease: Duration,
    ) -> Result<Option<Claimed>, StoreError> {
        let leases = Arc::clone(&self.leases);
        let (host, repository, tag) = (repository.host().to_string(), repository.to_string(), tag.to_string());
        let reserved = self.leased("reserve a tag", lease, move |db| {
            Box::pin(async move {
                let reserve = sqlx::query(RESERVE_TAG).bind(host).bind(repository).bind(tag).bind(leases.ids());
                reserve.fetch_optional(db).await?.iter().map(rows::claimed).collect()
            })
        });
        Ok(reserved.await?.pop())
    }

    /// Leases what `claim` finds, once that is stored.
    async fn leased(
        &self,
        request: &'static str,
        lease: Duration,
        claim: impl for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, sqlx::Result<Vec<Claimed>>> + Send + 'static,
    ) -> Result<Vec<Claimed>, StoreError> {
        let leases = Arc::clone(&self.leases);
        let grant = move |claimed: &Vec<Claimed>| {
            claimed.iter().for_each(|job| leases.grant(job.id, job.generation, lease));
        };
        self.write_then(request, claim, grant).await
    }

    pub(crate) fn extend(&self, claimed: &Claimed, lease: Duration) -> bool {
        self.leases.extend(claimed.id, claimed.generation, lease)
    }

    pub(crate) async fn finish(&self, claimed: &Claimed, fate: Fate, entry: Option<Entry>) -> Result<bool, StoreError> {
        let (leases, changed, finished) = (Arc::clone(&self.leases), self.changed.clone(), claimed.clone());
        let claimed = claimed.clone();
        self.write_then(
            "finish a job",
            move |db| Box::pin(async move { finish(db, &claimed, fate, entry).await }),
            move |is_ours| {
                leases.end(finished.id, finished.generation);
                if *is_ours {
                    changed.send_replace(());
                }
            },
        )
        .await
    }

    pub(crate) async fn survived(&self, claimed: &Claimed) -> Result<(), StoreError> {
        let (id, generation, starts) = (claimed.id, claimed.generation, i64::from(claimed.starts));
        self.write("count a start no more", move |db| {
            let survived = sqlx::query(SURVIVED).bind(id).bind(generation).bind(starts);
            Box::pin(async move { survived.execute(db).await.map(|_| ()) })
        })
        .await
    }

    pub(crate) async fn next_due(&self, busy: &[Host]) -> Result<Option<Duration>, StoreError> {
        let request = "look for the next job";
        let mut db = self.reader(request).await?;
        let query = sqlx::query(NEXT_DUE).bind(self.leases.ids()).bind(hosts(busy));
        let row = query.fetch_one(&mut *db).await.map_err(self.failed(request))?;
        let free = rows::duration(&row, "next_due").map_err(self.failed(request))?;
        Ok(free.into_iter().chain(self.leases.next_end()).min())
    }
}

/// A JSON array for a statement.
fn hosts(hosts: &[Host]) -> String {
    let names: Vec<&str> = hosts.iter().map(Host::as_str).collect();
    serde_json::to_string(&names).expect("names are JSON")
}

async fn finish(db: &mut SqliteConnection, claimed: &Claimed, fate: Fate, entry: Option<Entry>) -> sqlx::Result<bool> {
    let fence = sqlx::query(IS_WOKEN_AGAIN).bind(claimed.id).bind(claimed.generation);
    let Some(row) = fence.fetch_optional(&mut *db).await? else { return Ok(false) };
    let is_woken_again: bool = row.try_get("is_woken_again")?;

    if let Some(entry) = entry {
        history::insert(db, Line::of(claimed, entry)).await?;
    }
    let (trouble, reason, after_ms) = match fate {
        Fate::Over if !is_woken_again => {
            sqlx::query(DROP).bind(claimed.id).execute(db).await?;
            return Ok(true);
        }
        Fate::Untouched => {
            for statement in GIVE_BACK {
                sqlx::query(statement).bind(claimed.id).execute(&mut *db).await?;
            }
            return Ok(true);
        }
        Fate::Over => (None, None, None),
        Fate::Stays { trouble, reason, after_ms } => (Some(trouble), Some(reason), after_ms),
    };
    sqlx::query(RELEASE).bind(claimed.id).bind(trouble).bind(reason).bind(after_ms).execute(db).await?;
    Ok(true)
}
