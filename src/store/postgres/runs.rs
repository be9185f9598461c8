//! Runs of jobs: claimed under a lease, which is kept or lost.
//!
//! A lease is in the job's row and judged by the server's clock, which may step: a lease that ended
//! is revoked first, and the job is free only a quarter of the lease later. So a write that
//! its holder began in time is over before somebody else begins.
//!
//! Whoever is given a lease is given a generation drawn at random. Ends and revocations only count on
//! from it: nobody is given what they leave.

use std::time::Duration;

use sqlx::Row as _;
use sqlx::postgres::PgRow;
use tokio::time::Instant;

use super::super::delivery::millis;
use super::super::inbox::Claimed;
use super::super::{StoreError, rows};
use super::{Database, PATIENCE, query};
use crate::model::{Host, Repository, Tag};

/// The registries with jobs that wait, however many jobs each has: one look into the index for each.
macro_rules! registries {
    () => {
        "RECURSIVE registry (host) AS (
             (SELECT host FROM onetag.job WHERE due_at IS NOT NULL ORDER BY host LIMIT 1)
             UNION ALL
             SELECT (SELECT job.host FROM onetag.job WHERE due_at IS NOT NULL AND job.host > registry.host
                     ORDER BY job.host LIMIT 1)
             FROM registry WHERE registry.host IS NOT NULL)"
    };
}

/// Of each registry that is not busy ($1), the jobs that nobody has, oldest first. Those that others
/// are just taking are passed over.
const CLAIM: &str = concat!(
    "WITH ",
    registries!(),
    " UPDATE onetag.job SET
         generation = ",
    generation!(),
    ",
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
     WHERE id = ANY (ARRAY (
         SELECT free.id FROM registry, LATERAL (
             SELECT id, due_at FROM onetag.job
             WHERE host = registry.host AND due_at IS NOT NULL AND due_at <= ",
    now!(),
    " AND (leased_until IS NULL OR lease_ms IS NULL AND leased_until <= ",
    now!(),
    ") ORDER BY due_at LIMIT $3 FOR UPDATE SKIP LOCKED) AS free
         WHERE registry.host <> ALL ($1) ORDER BY free.due_at LIMIT $3))
     RETURNING *, ",
    now!(),
    " AS claimed_at, pg_current_xact_id()::text AS transaction"
);

/// A row that waits for nothing, where there is none. In the row of a job nothing changes but the lease.
const RESERVE_TAG: &str = concat!(
    "INSERT INTO onetag.job AS job (host, repository, tag, set_at, last_woken_at, quiet_ms, longest_ms, wakes, cause,
                                    hints, generation, leased_until, lease_ms)
     SELECT $1, $2, $3, clock.now, clock.now, 0, 0, 0, 'request', '{}', ",
    generation!(),
    ", clock.now + $4, $4
     FROM (SELECT ",
    now!(),
    " AS now) AS clock
     ON CONFLICT (repository, tag) DO UPDATE SET
         generation = excluded.generation, leased_until = excluded.leased_until, lease_ms = excluded.lease_ms
         WHERE job.leased_until IS NULL OR job.lease_ms IS NULL AND job.leased_until <= ",
    now!(),
    " RETURNING id, repository, tag, generation, starts, attempts, 'request' AS cause, NULL::text AS event_id,
         '{}' AS claimed_hints, leased_until - lease_ms AS woken_at, leased_until - lease_ms AS last_woken_at,
         leased_until - lease_ms AS claimed_at, pg_current_xact_id()::text AS transaction"
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

/// Nobody had the job since, or the start that would be taken back is another's; at the most the lease
/// was revoked. Told twice, it is the same.
const SURVIVED: &str =
    "UPDATE onetag.job SET starts = $3 - 1 WHERE id = $1 AND generation IN ($2, $2 + 1) AND starts = $3";

/// A lease that is still held counts too, since it may end by itself. One that was revoked keeps its
/// job from running, and so may the job's quiet time.
const NEXT_DUE: &str = concat!(
    "WITH ",
    registries!(),
    " SELECT CASE WHEN EXISTS (SELECT 1 FROM onetag.job WHERE due_at IS NOT NULL AND set_at > ",
    now!(),
    " + 5000) THEN 0 ELSE least(
         (SELECT min(greatest(free.due_at - ",
    now!(),
    ", 0)) FROM registry, LATERAL (
              SELECT due_at FROM onetag.job WHERE host = registry.host AND due_at IS NOT NULL AND leased_until IS NULL
              ORDER BY due_at LIMIT 1) AS free
          WHERE registry.host <> ALL ($1)),
         (SELECT min(greatest(leased_until - ",
    now!(),
    ", CASE WHEN lease_ms IS NULL THEN due_at - ",
    now!(),
    " END, 0)) FROM onetag.job
          WHERE leased_until IS NOT NULL AND (lease_ms IS NOT NULL OR due_at IS NOT NULL AND host <> ALL ($1)))) END
         AS next_due"
);

/// How long a lease is tried to be kept at least, however short it is.
const SHORTEST: Duration = Duration::from_secs(1);

impl Database {
    pub(crate) async fn claim(&self, lease: Duration, busy: &[Host], most: usize) -> Result<Vec<Claimed>, StoreError> {
        let (busy, most) = (hosts(busy), i64::try_from(most).unwrap_or(i64::MAX));
        self.write_once(Instant::now() + PATIENCE, "claim jobs", |db| {
            let claim = || query(CLAIM).bind(busy.clone()).bind(millis(lease)).bind(most);
            let (first, again) = (claim(), claim());
            Box::pin(async move {
                let mut claimed = leased(first.fetch_all(&mut *db).await?)?;
                if claimed.0.is_empty() && query(TIDY).execute(&mut *db).await?.rows_affected() > 0 {
                    claimed = leased(again.fetch_all(db).await?)?;
                }
                Ok(claimed)
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
        let reserved = self.write_once(Instant::now() + PATIENCE, "reserve a tag", |db| {
            let names = [repository.host().to_string(), repository.to_string(), tag.to_string()];
            let reserve = names.into_iter().fold(query(RESERVE_TAG), |query, name| query.bind(name));
            let reserve = reserve.bind(millis(lease));
            Box::pin(async move { leased(reserve.fetch_all(db).await?) })
        });
        Ok(reserved.await?.pop())
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

    pub(crate) async fn survived(&self, claimed: &Claimed) -> Result<(), StoreError> {
        let (id, generation, starts) = (claimed.id, claimed.generation, i64::from(claimed.starts));
        self.write("count a start no more", |db| {
            let survived = query(SURVIVED).bind(id).bind(generation).bind(starts);
            Box::pin(async move { survived.execute(db).await.map(|_| ()) })
        })
        .await
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

/// The jobs of rows, and the name of the transaction in them.
fn leased(found: Vec<PgRow>) -> sqlx::Result<(Vec<Claimed>, Option<String>)> {
    let transaction = found.first().map(|row| row.try_get("transaction")).transpose()?;
    Ok((found.iter().map(rows::claimed).collect::<sqlx::Result<_>>()?, transaction))
}
