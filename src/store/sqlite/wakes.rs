//! Deliveries into the file: wake-ups merged into jobs, and what could not be used.

use sqlx::SqliteConnection;

use super::super::delivery::{KEPT, Merged, Unusable, What};

/// One row a tag. The quiet time starts anew with each wake-up, but ends at the latest `longest`
/// after the burst began; a burst that began in the future began before the clock stepped back.
const WAKE: &str = concat!(
    "INSERT INTO job (host, repository, tag, due_at, set_at, woken_at, burst_at, last_woken_at,
                      quiet_ms, longest_ms, wakes, cause, event_id, hints)
     SELECT w.value ->> 'host', w.value ->> 'repository', w.value ->> 'tag',
            clock.now + min(w.value ->> 'quiet_ms', w.value ->> 'longest_ms'),
            clock.now, clock.now, clock.now, clock.now,
            w.value ->> 'quiet_ms', w.value ->> 'longest_ms', w.value ->> 'wakes',
            w.value ->> 'cause', w.value ->> 'event_id', w.value -> 'hints'
     FROM json_each(?1) AS w, (SELECT ",
    now!(),
    " AS now) AS clock
     WHERE true
     ON CONFLICT (repository, tag) DO UPDATE SET
         due_at = min(excluded.set_at + excluded.quiet_ms,
                      max(excluded.set_at,
                          min(coalesce(job.burst_at, excluded.set_at), excluded.set_at) + excluded.longest_ms)),
         set_at = excluded.set_at,
         woken_at = coalesce(job.woken_at, excluded.woken_at),
         burst_at = min(coalesce(job.burst_at, excluded.burst_at), excluded.burst_at),
         last_woken_at = excluded.last_woken_at,
         quiet_ms = excluded.quiet_ms,
         longest_ms = excluded.longest_ms,
         wakes = job.wakes + excluded.wakes,
         cause = excluded.cause,
         event_id = excluded.event_id,
         hints = json_patch(job.hints, excluded.hints)"
);

const KEEP: &str =
    concat!("INSERT INTO quarantined (received_at, hook, reason, size, body) VALUES (", now!(), ", ?1, ?2, ?3, ?4)");

const DROP_OLDEST: &str = "DELETE FROM quarantined WHERE id <= (SELECT max(id) FROM quarantined) - ?1";

/// Stores a batch; all of it is merged in memory first, so that a flood of one tag is one row.
pub(super) async fn store(db: &mut SqliteConnection, batch: Vec<What>) -> sqlx::Result<()> {
    let mut merged = Merged::default();
    let mut is_any_unusable = false;
    for what in batch {
        match what {
            What::Wakes(wakes) => wakes.into_iter().for_each(|wake| merged.add(wake)),
            What::Unusable(Unusable { hook, reason, size_bytes, body }) => {
                sqlx::query(KEEP).bind(hook).bind(reason).bind(size_bytes).bind(body).execute(&mut *db).await?;
                is_any_unusable = true;
            }
        }
    }
    if is_any_unusable {
        sqlx::query(DROP_OLDEST).bind(KEPT).execute(&mut *db).await?;
    }
    if !merged.is_empty() {
        sqlx::query(WAKE).bind(merged.into_json()).execute(&mut *db).await?;
    }
    Ok(())
}
