//! What processes do together: how fast registries are asked, and what one of them does for all.

use std::time::Duration;

use sqlx::Row as _;
use sqlx::postgres::PgRow;
use tokio::time::Instant;

use super::super::StoreError;
use super::super::delivery::millis;
use super::super::together::{Slice, Turn, TurnDone, Turns};
use super::{Database, PATIENCE, query};
use crate::model::Host;

/// Whoever is the first to come after `next_at` has the turn. A time further away than it was set
/// for was set before the clock stepped back.
const TAKE_TURN: &str = concat!(
    "INSERT INTO onetag.turn AS turn (kind, subject, next_at, every) VALUES ($1, $2, ",
    now!(),
    " + $3, $3)
     ON CONFLICT (kind, subject) DO UPDATE SET next_at = excluded.next_at, every = excluded.every
         WHERE turn.next_at <= ",
    now!(),
    " OR turn.next_at > ",
    now!(),
    " + turn.every + 5000
     RETURNING pg_current_xact_id()::text AS transaction"
);

/// Nobody has the turn for as long as it is, from its end where it was ended, from its beginning where not.
const WHO_DOES_IT: &str = concat!(
    "SELECT CASE WHEN done_at IS NOT NULL THEN greatest(",
    now!(),
    " - done_at, 0) END AS ago, result, greatest(next_at - ",
    now!(),
    ", 0) AS for_another, coalesce(next_at - every > done_at, true) AS is_under_way
     FROM onetag.turn WHERE kind = $1 AND subject = $2"
);

const END_TURN: &str = concat!(
    "UPDATE onetag.turn SET done_at = ended.at, next_at = ended.at + $3, every = $3, result = $4
     FROM (SELECT ",
    now!(),
    " AS at) AS ended WHERE kind = $1 AND subject = $2"
);

/// What was not used is kept up to the burst ($3); times are fractions of milliseconds, since a turn
/// may be shorter.
const RESERVE: &str = concat!(
    "INSERT INTO onetag.pace AS pace (host, next_at) VALUES ($1, ",
    now!(),
    " - $3 + $2 * $4)
     ON CONFLICT (host) DO UPDATE SET
         next_at = greatest(least(pace.next_at, ",
    now!(),
    " + 3600000), ",
    now!(),
    " - $3) + $2 * $4
     RETURNING next_at - $2 * $4 - ",
    now!(),
    " AS first_in, greatest(quiet_until - ",
    now!(),
    ", 0) AS quiet_for"
);

const KEEP_QUIET: &str = concat!(
    "INSERT INTO onetag.pace AS pace (host, quiet_until) VALUES ($1, ",
    now!(),
    " + $2) ON CONFLICT (host) DO UPDATE SET quiet_until = greatest(pace.quiet_until, excluded.quiet_until)"
);

/// Nobody is asked for more than an hour of quiet.
const QUIET: &str = concat!(
    "SELECT host, quiet_until - ",
    now!(),
    " AS quiet_for FROM onetag.pace WHERE quiet_until > ",
    now!(),
    " AND quiet_until <= ",
    now!(),
    " + 3605000"
);

impl Database {
    pub(crate) async fn take_turn(&self, kind: &str, subject: &str, time: Duration) -> Result<Turn, StoreError> {
        self.write_once(Instant::now() + PATIENCE, "take a turn", |db| {
            let take = query(TAKE_TURN).bind(kind.to_owned()).bind(subject.to_owned()).bind(millis(time));
            let look = query(WHO_DOES_IT).bind(kind.to_owned()).bind(subject.to_owned());
            Box::pin(async move {
                if let Some(taken) = take.fetch_optional(&mut *db).await? {
                    return Ok((Turn::Mine, Some(taken.try_get("transaction")?)));
                }
                Ok((others(&look.fetch_one(db).await?)?, None))
            })
        })
        .await
    }

    pub(crate) async fn end_turn(
        &self,
        kind: &str,
        subject: &str,
        next: Duration,
        result: Option<String>,
    ) -> Result<(), StoreError> {
        self.write("end a turn", |db| {
            let end = query(END_TURN).bind(kind.to_owned()).bind(subject.to_owned()).bind(millis(next));
            let end = end.bind(result.clone());
            Box::pin(async move { end.execute(db).await.map(|_| ()) })
        })
        .await
    }

    pub(crate) async fn reserve(&self, host: &Host, turns: &Turns) -> Result<Slice, StoreError> {
        let interval = turns.interval.as_secs_f64() * 1000.0;
        let burst = turns.burst.as_secs_f64() * 1000.0;
        let count = turns.count;
        let reserved = self.write("reserve requests", |db| {
            let reserve = query(RESERVE).bind(host.to_string()).bind(interval).bind(burst).bind(f64::from(count));
            Box::pin(async move {
                let row = reserve.fetch_one(db).await?;
                Ok((row.try_get::<f64, _>("first_in")?, row.try_get::<i64, _>("quiet_for")?))
            })
        });
        let (first_in, quiet_for) = reserved.await?;
        // The first turn ends one interval after it begins, as the others do.
        let first_in = first_in + interval;
        Ok(Slice {
            late: Duration::from_secs_f64((-first_in).max(0.0) / 1000.0),
            first_in: Duration::from_secs_f64(first_in.max(0.0) / 1000.0),
            quiet_for: Duration::from_millis(u64::try_from(quiet_for).unwrap_or_default()),
        })
    }

    pub(crate) async fn keep_quiet(&self, host: &Host, wait: Duration) -> Result<(), StoreError> {
        let kept = self.write("keep a registry quiet", |db| {
            let keep = query(KEEP_QUIET).bind(host.to_string()).bind(millis(wait));
            Box::pin(async move { keep.execute(db).await.map(|_| ()) })
        });
        kept.await?;
        self.tell();
        Ok(())
    }

    pub(crate) async fn quiet(&self) -> Result<Vec<(Host, Duration)>, StoreError> {
        self.read("look which registries want quiet", |db| {
            Box::pin(async move {
                let rows = query(QUIET).fetch_all(db).await?;
                let quiet = |row: &PgRow| {
                    let host = row.try_get::<&str, _>("host").ok()?.parse().ok()?;
                    let millis = u64::try_from(row.try_get::<i64, _>("quiet_for").ok()?).ok()?;
                    Some((host, Duration::from_millis(millis)))
                };
                Ok(rows.iter().filter_map(quiet).collect())
            })
        })
        .await
    }
}

/// Whose turn it is, if it is not the caller's.
fn others(row: &PgRow) -> sqlx::Result<Turn> {
    let millis = |name| {
        Ok::<_, sqlx::Error>(Duration::from_millis(u64::try_from(row.try_get::<i64, _>(name)?).unwrap_or_default()))
    };
    let result = row.try_get("result")?;
    let done = match row.try_get::<Option<i64>, _>("ago")? {
        Some(_) => Some(TurnDone { ago: millis("ago")?, result }),
        None => None,
    };
    match done {
        Some(done) if !row.try_get::<bool, _>("is_under_way")? => Ok(Turn::Others(done)),
        before => Ok(Turn::UnderWay { for_another: millis("for_another")?, before }),
    }
}
