//! Runs of jobs: claimed under a lease, ended with an entry in the journal.

use std::sync::Arc;
use std::time::Duration;

use sqlx::{Row, SqliteConnection};

use super::super::StoreError;
use super::super::delivery::{LONGEST_REASON, millis};
use super::super::inbox::{Claimed, End, TroubleKind};
use super::super::journal::Entry;
use super::super::rows;
use super::{Database, history};
use crate::model::Host;
use crate::model::text::clean;

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
     WHERE id = (SELECT id FROM job WHERE ",
    is_free!(),
    " AND due_at <= ",
    now!(),
    " ORDER BY due_at LIMIT 1)
     RETURNING *, ",
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

/// The fence: the row is there with this generation, or the lease was lost.
const IS_WOKEN_AGAIN: &str =
    "SELECT wakes > claimed_wakes AS is_woken_again FROM job WHERE id = ?1 AND generation = ?2";

const DROP: &str = "DELETE FROM job WHERE id = ?1";

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
    pub(crate) async fn claim(&self, lease: Duration, busy: &[Host]) -> Result<Option<Claimed>, StoreError> {
        let (leases, granted) = (Arc::clone(&self.leases), Arc::clone(&self.leases));
        let busy = hosts(busy);
        self.write_then(
            "claim a job",
            move |db| {
                Box::pin(async move {
                    sqlx::query(FOLLOW_CLOCK).execute(&mut *db).await?;
                    let row = sqlx::query(CLAIM).bind(leases.ids()).bind(busy).fetch_optional(db).await?;
                    row.as_ref().map(rows::claimed).transpose()
                })
            },
            move |claimed: &Option<Claimed>| {
                if let Some(claimed) = claimed {
                    granted.grant(claimed.id, claimed.generation, lease);
                }
            },
        )
        .await
    }

    pub(crate) fn extend(&self, claimed: &Claimed, lease: Duration) -> bool {
        self.leases.extend(claimed.id, claimed.generation, lease)
    }

    pub(crate) async fn finish(&self, claimed: &Claimed, end: End, entry: Option<Entry>) -> Result<bool, StoreError> {
        let (leases, changed, finished) = (Arc::clone(&self.leases), self.changed.clone(), claimed.clone());
        let claimed = claimed.clone();
        self.write_then(
            "finish a job",
            move |db| Box::pin(async move { finish(db, &claimed, end, entry).await }),
            move |is_ours| {
                leases.end(finished.id, finished.generation);
                if *is_ours {
                    changed.send_replace(());
                }
            },
        )
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

async fn finish(db: &mut SqliteConnection, claimed: &Claimed, end: End, entry: Option<Entry>) -> sqlx::Result<bool> {
    let fence = sqlx::query(IS_WOKEN_AGAIN).bind(claimed.id).bind(claimed.generation);
    let Some(row) = fence.fetch_optional(&mut *db).await? else { return Ok(false) };
    let is_woken_again: bool = row.try_get("is_woken_again")?;

    if let Some(entry) = entry {
        history::insert(db, history::Whose::of(claimed), entry).await?;
    }
    let (trouble, reason, after) = match end {
        End::Done if !is_woken_again => {
            sqlx::query(DROP).bind(claimed.id).execute(db).await?;
            return Ok(true);
        }
        End::Done => (None, None, None),
        End::Retry { after, reason } => (Some(TroubleKind::Failing), Some(reason), Some(millis(after))),
        End::Wait { after, reason } => (Some(TroubleKind::Waiting), Some(reason), Some(millis(after))),
        End::Held { reason } => (Some(TroubleKind::Held), Some(reason), None),
        End::Parked { reason } => (Some(TroubleKind::Parked), Some(reason), None),
    };
    sqlx::query(RELEASE)
        .bind(claimed.id)
        .bind(trouble.map(TroubleKind::as_str))
        .bind(reason.map(|reason| clean(&reason, LONGEST_REASON)))
        .bind(after)
        .execute(db)
        .await?;
    Ok(true)
}
