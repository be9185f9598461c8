//! Runs of jobs: claimed under a lease, ended with an entry in the journal.
//!
//! A lease is in the job's row and judged by the server's clock, which may step: a lease that ended
//! is revoked first, and the job is free only a quarter of the lease later. So a write that
//! its holder began in time is over before somebody else begins.

use std::time::Duration;

use sqlx::{PgConnection, Row};
use tokio::time::Instant;

use super::super::delivery::{LONGEST_REASON, millis};
use super::super::inbox::{Claimed, End, TroubleKind};
use super::super::journal::Entry;
use super::super::{StoreError, rows};
use super::{Database, PATIENCE, history, query};
use crate::model::Host;
use crate::model::text::clean;

/// Which jobs may be claimed: those that nobody has, at registries that are not busy ($1).
macro_rules! is_free {
    () => {
        concat!(
            "due_at IS NOT NULL AND (leased_until IS NULL OR lease_ms IS NULL AND leased_until <= ",
            now!(),
            ") AND host <> ALL($1)"
        )
    };
}

/// Jobs that others are just taking are passed over.
const CLAIM: &str = concat!(
    "UPDATE onetag.job SET
         generation = generation + 1,
         starts = starts + 1,
         woken_at = coalesce(woken_at, last_woken_at),
         burst_at = NULL,
         claimed_wakes = wakes,
         claimed_hints = (claimed_hints::jsonb || hints::jsonb)::text,
         hints = '{}',
         leased_until = ",
    now!(),
    " + $2,
         lease_ms = $2
     WHERE id = (SELECT id FROM onetag.job WHERE ",
    is_free!(),
    " AND due_at <= ",
    now!(),
    " ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED)
     RETURNING *, ",
    now!(),
    " AS claimed_at, pg_current_xact_id()::text AS transaction"
);

/// Whatever else the clock or a process that is gone has left behind: nobody can say how long a job
/// still had to wait that was set more than 5 s in the future, so it is due; a lease that lasts longer
/// than it was given for was given before the clock stepped back, and begins now; one that ended is
/// revoked.
const TIDY: &str = concat!(
    "UPDATE onetag.job SET
         due_at = CASE WHEN set_at > clock.now + 5000 AND due_at IS NOT NULL THEN clock.now ELSE due_at END,
         set_at = least(set_at, clock.now),
         generation = CASE WHEN leased_until <= clock.now AND lease_ms IS NOT NULL THEN generation + 1 ELSE generation END,
         lease_ms = CASE WHEN leased_until <= clock.now THEN NULL ELSE lease_ms END,
         leased_until = CASE WHEN leased_until <= clock.now AND lease_ms IS NOT NULL THEN clock.now + lease_ms / 4
                             WHEN leased_until > clock.now + lease_ms + 5000 THEN clock.now + lease_ms
                             ELSE leased_until END
     FROM (SELECT ",
    now!(),
    " AS now) AS clock
     WHERE id IN (
         SELECT id FROM onetag.job
         WHERE due_at IS NOT NULL AND set_at > ",
    now!(),
    " + 5000
            OR leased_until IS NOT NULL AND lease_ms IS NOT NULL
                AND (leased_until <= ",
    now!(),
    " OR leased_until > ",
    now!(),
    " + lease_ms + 5000)
         ORDER BY id FOR UPDATE SKIP LOCKED)"
);

const EXTEND: &str = concat!(
    "UPDATE onetag.job SET leased_until = ",
    now!(),
    " + $3, lease_ms = $3 WHERE id = $1 AND generation = $2 AND lease_ms IS NOT NULL AND leased_until > ",
    now!()
);

/// A lease that is still held counts too, since it may end by itself.
const NEXT_DUE: &str = concat!(
    "SELECT CASE WHEN EXISTS (SELECT 1 FROM onetag.job WHERE due_at IS NOT NULL AND set_at > ",
    now!(),
    " + 5000) THEN 0 ELSE least(
         (SELECT greatest(due_at - ",
    now!(),
    ", 0) FROM onetag.job WHERE due_at IS NOT NULL AND leased_until IS NULL AND host <> ALL($1) ORDER BY due_at LIMIT 1),
         (SELECT greatest(leased_until - ",
    now!(),
    ", 0) FROM onetag.job WHERE leased_until IS NOT NULL AND (lease_ms IS NOT NULL OR host <> ALL($1))
          ORDER BY leased_until LIMIT 1)) END AS next_due"
);

/// The fence: the row is there with this generation, or the lease was lost.
const IS_WOKEN_AGAIN: &str = "SELECT wakes > claimed_wakes AS is_woken_again, pg_current_xact_id()::text AS transaction
     FROM onetag.job WHERE id = $1 AND generation = $2 FOR UPDATE";

const DROP: &str = "DELETE FROM onetag.job WHERE id = $1";

/// What wake-ups during the run have set stays as they set it.
const RELEASE: &str = concat!(
    "UPDATE onetag.job SET
         generation = generation + 1,
         leased_until = NULL,
         lease_ms = NULL,
         starts = 0,
         attempts = CASE WHEN $2 = 'failing' THEN attempts + 1 ELSE 0 END,
         troubled_at = CASE WHEN $2::text IS NULL THEN NULL WHEN trouble = $2 THEN troubled_at ELSE ",
    now!(),
    " END,
         trouble = $2,
         reason = $3,
         woken_at = CASE WHEN $2 IN ('failing', 'waiting') THEN woken_at ELSE burst_at END,
         hints = CASE WHEN $2 IN ('failing', 'waiting') THEN (claimed_hints::jsonb || hints::jsonb)::text ELSE hints END,
         claimed_hints = '{}',
         due_at = CASE WHEN wakes > claimed_wakes THEN due_at ELSE ",
    now!(),
    " + $4 END,
         set_at = CASE WHEN wakes > claimed_wakes THEN set_at ELSE ",
    now!(),
    " END
     WHERE id = $1"
);

/// How long a lease is tried to be kept at least, however short it is.
const SHORTEST: Duration = Duration::from_secs(1);

impl Database {
    pub(crate) async fn claim(&self, lease: Duration, busy: &[Host]) -> Result<Option<Claimed>, StoreError> {
        match self.claim_free(lease, busy).await? {
            None if self.tidy().await? > 0 => self.claim_free(lease, busy).await,
            claimed => Ok(claimed),
        }
    }

    async fn claim_free(&self, lease: Duration, busy: &[Host]) -> Result<Option<Claimed>, StoreError> {
        let busy = hosts(busy);
        self.write_once(Instant::now() + PATIENCE, "claim a job", |db| {
            let query = query(CLAIM).bind(busy.clone()).bind(millis(lease));
            Box::pin(async move {
                let Some(row) = query.fetch_optional(db).await? else { return Ok((None, None)) };
                Ok((Some(rows::claimed(&row)?), Some(row.try_get("transaction")?)))
            })
        })
        .await
    }

    /// Sets right what the clock or a process that is gone has left behind; returns how many jobs.
    pub(super) async fn tidy(&self) -> Result<u64, StoreError> {
        self.write("look after leases", |db| {
            Box::pin(async move { Ok(query(TIDY).execute(db).await?.rows_affected()) })
        })
        .await
    }

    pub(crate) async fn extend(&self, claimed: &Claimed, lease: Duration) -> Result<bool, StoreError> {
        let (id, generation) = (claimed.id, claimed.generation);
        self.write_until(Instant::now() + lease.clamp(SHORTEST, PATIENCE), "keep a lease", |db| {
            let query = query(EXTEND).bind(id).bind(generation).bind(millis(lease));
            Box::pin(async move { Ok(query.execute(db).await?.rows_affected() > 0) })
        })
        .await
    }

    pub(crate) async fn finish(&self, claimed: &Claimed, end: End, entry: Option<Entry>) -> Result<bool, StoreError> {
        let is_ours = self.write_once(Instant::now() + PATIENCE, "finish a job", |db| {
            let (claimed, end, entry) = (claimed.clone(), end.clone(), entry.clone());
            Box::pin(async move { finish(db, &claimed, end, entry).await })
        });
        let is_ours = is_ours.await?;
        if is_ours {
            self.tell();
        }
        Ok(is_ours)
    }

    pub(crate) async fn next_due(&self, busy: &[Host]) -> Result<Option<Duration>, StoreError> {
        let busy = hosts(busy);
        self.read("look for the next job", |db| {
            let query = query(NEXT_DUE).bind(busy.clone());
            Box::pin(async move { rows::duration(&query.fetch_one(db).await?, "next_due") })
        })
        .await
    }
}

fn hosts(hosts: &[Host]) -> Vec<String> {
    hosts.iter().map(Host::to_string).collect()
}

async fn finish(
    db: &mut PgConnection,
    claimed: &Claimed,
    end: End,
    entry: Option<Entry>,
) -> sqlx::Result<(bool, Option<String>)> {
    let fence = query(IS_WOKEN_AGAIN).bind(claimed.id).bind(claimed.generation);
    let Some(row) = fence.fetch_optional(&mut *db).await? else { return Ok((false, None)) };
    let is_woken_again: bool = row.try_get("is_woken_again")?;
    let transaction = Some(row.try_get("transaction")?);

    if let Some(entry) = entry {
        history::insert(db, history::Whose::of(claimed), entry).await?;
    }
    let (trouble, reason, after) = match end {
        End::Done if !is_woken_again => {
            query(DROP).bind(claimed.id).execute(db).await?;
            return Ok((true, transaction));
        }
        End::Done => (None, None, None),
        End::Retry { after, reason } => (Some(TroubleKind::Failing), Some(reason), Some(millis(after))),
        End::Wait { after, reason } => (Some(TroubleKind::Waiting), Some(reason), Some(millis(after))),
        End::Held { reason } => (Some(TroubleKind::Held), Some(reason), None),
        End::Parked { reason } => (Some(TroubleKind::Parked), Some(reason), None),
    };
    query(RELEASE)
        .bind(claimed.id)
        .bind(trouble.map(TroubleKind::as_str))
        .bind(reason.map(|reason| clean(&reason, LONGEST_REASON)))
        .bind(after)
        .execute(db)
        .await?;
    Ok((true, transaction))
}
