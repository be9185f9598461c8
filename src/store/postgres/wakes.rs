//! Deliveries into the database: many share a commit.
//!
//! Deliveries that arrive while a commit is under way are stored together by the next, so the more
//! there are, the fewer commits each needs; one that comes alone waits for nobody.

use std::sync::{Arc, Weak};

use sqlx::PgConnection;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::super::StoreError;
use super::super::delivery::{BATCH, DELIVERY_TIME, KEPT, Merged, Unusable, What};
use super::{Database, Order, Shared, query};

/// One row a tag. The quiet time starts anew with each wake-up, but ends at the latest `longest`
/// after the burst began; a burst that began in the future began before the clock stepped back.
const WAKE: &str = concat!(
    "INSERT INTO onetag.job AS job (host, repository, tag, due_at, set_at, woken_at, burst_at, last_woken_at,
                                    quiet_ms, longest_ms, wakes, cause, event_id, hints, generation)
     SELECT w.host, w.repository, w.tag, clock.now + least(w.quiet_ms, w.longest_ms),
            clock.now, clock.now, clock.now, clock.now,
            w.quiet_ms, w.longest_ms, w.wakes, w.cause, w.event_id, w.hints::text, ",
    generation!(),
    "
     FROM json_to_recordset($1::json) AS w (host text, repository text, tag text, quiet_ms bigint, longest_ms bigint,
                                            wakes bigint, cause text, event_id text, hints json),
          (SELECT ",
    now!(),
    " AS now) AS clock
     ON CONFLICT (repository, tag) DO UPDATE SET
         due_at = least(excluded.set_at + excluded.quiet_ms,
                        greatest(excluded.set_at,
                                 least(coalesce(job.burst_at, excluded.set_at), excluded.set_at)
                                     + excluded.longest_ms)),
         set_at = excluded.set_at,
         woken_at = coalesce(job.woken_at, excluded.woken_at),
         burst_at = least(coalesce(job.burst_at, excluded.burst_at), excluded.burst_at),
         last_woken_at = excluded.last_woken_at,
         quiet_ms = excluded.quiet_ms,
         longest_ms = excluded.longest_ms,
         wakes = job.wakes + excluded.wakes,
         cause = excluded.cause,
         event_id = excluded.event_id,
         hints = (job.hints::jsonb || excluded.hints::jsonb)::text"
);

const KEEP: &str = concat!(
    "INSERT INTO onetag.quarantined (received_at, key, hook, reason, size, body) VALUES (",
    now!(),
    ", $1, $2, $3, $4, $5) ON CONFLICT (key) DO NOTHING"
);

const DROP_OLDEST: &str = "DELETE FROM onetag.quarantined
     WHERE id <= (SELECT id FROM onetag.quarantined ORDER BY id DESC OFFSET $1 LIMIT 1)";

/// Stores deliveries until nobody can give any.
pub(super) async fn run(shared: Weak<Shared>, mut orders: mpsc::Receiver<Order>) {
    let mut received = Vec::new();
    while orders.recv_many(&mut received, BATCH).await > 0 {
        let Some(shared) = shared.upgrade() else { return };
        let database = Database { shared };
        let (mut batch, mut answers, mut closed) = (Batch::default(), Vec::new(), Vec::new());
        for order in received.drain(..) {
            match order {
                Order::Deliver(delivery) if delivery.answer.is_closed() => {}
                Order::Deliver(delivery) => {
                    batch.add(delivery.what);
                    answers.push(delivery.answer);
                }
                Order::Close(answer) => {
                    orders.close();
                    closed.push(answer);
                }
            }
        }
        if !answers.is_empty() {
            let done = database.store(batch).await;
            for answer in answers {
                let _ = answer.send(done.clone());
            }
        }
        for answer in closed {
            let _ = answer.send(());
        }
        // Whoever was answered and has more goes into the next commit, not into the one after it.
        tokio::task::yield_now().await;
    }
}

/// What one commit is to store.
#[derive(Default)]
struct Batch {
    wakes: Merged,
    /// With keys of their own, so that storing them again changes nothing.
    unusable: Vec<(String, Unusable)>,
}

impl Batch {
    fn add(&mut self, what: What) {
        match what {
            What::Wakes(wakes) => wakes.into_iter().for_each(|wake| self.wakes.add(wake)),
            What::Unusable(unusable) => self.unusable.push((format!("{:032x}", fastrand::u128(..)), unusable)),
        }
    }
}

impl Database {
    /// Stores a batch in one commit; again if it is not known whether it was stored, since a wake-up
    /// twice is the same job. If the commit failed, nobody is told otherwise.
    async fn store(&self, batch: Batch) -> Result<(), StoreError> {
        let wakes = if batch.wakes.is_empty() { None } else { Some(batch.wakes.into_json()) };
        let rows = Arc::new((wakes, batch.unusable));
        let until = Instant::now() + DELIVERY_TIME;
        let store = self.write_until(until, "store deliveries", |db| {
            let rows = rows.clone();
            Box::pin(async move { store(db, rows.0.as_deref(), &rows.1).await })
        });
        store.await?;
        self.tell();
        Ok(())
    }
}

async fn store(db: &mut PgConnection, wakes: Option<&str>, unusable: &[(String, Unusable)]) -> sqlx::Result<()> {
    for (key, Unusable { hook, reason, size_bytes, body }) in unusable {
        let keep = query(KEEP).bind(key.clone()).bind(hook.clone()).bind(reason.clone());
        keep.bind(*size_bytes).bind(body.clone()).execute(&mut *db).await?;
    }
    if !unusable.is_empty() {
        query(DROP_OLDEST).bind(KEPT).execute(&mut *db).await?;
    }
    if let Some(wakes) = wakes {
        query(WAKE).bind(wakes.to_owned()).execute(&mut *db).await?;
    }
    Ok(())
}
