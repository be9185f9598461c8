//! Ends of runs into the database: many share a commit, like deliveries.
//!
//! Runs that end while a commit is under way are written down together by the next. What one of them
//! holds spoils no other's end: if they cannot be written together, each is written alone.

use std::collections::HashMap;
use std::sync::Weak;

use sqlx::{PgConnection, Row as _};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::super::StoreError;
use super::super::delivery::BATCH;
use super::super::ends::{Fate, Line};
use super::super::inbox::Claimed;
use super::super::journal::Entry;
use super::{Database, PATIENCE, Shared, history, query};

/// The fence: of these jobs and generations, those whose lease was not lost. In the order in which
/// deliveries are stored, so that whoever needs several rows waits for others and never both.
const OURS: &str = "SELECT job.id, job.generation, job.wakes > job.claimed_wakes AS is_woken_again,
         pg_current_xact_id()::text AS transaction
     FROM onetag.job JOIN unnest($1::bigint[], $2::bigint[]) AS ended (id, generation)
         ON job.id = ended.id AND job.generation = ended.generation
     ORDER BY job.repository, job.tag FOR UPDATE OF job";

const DROP: &str = "DELETE FROM onetag.job WHERE id = ANY ($1)";

/// Whoever has nothing left to wait for, and nothing to be listed for, goes.
const GIVE_BACK: [&str; 2] = [
    "UPDATE onetag.job SET generation = generation + 1, leased_until = NULL, lease_ms = NULL WHERE id = ANY ($1)",
    "DELETE FROM onetag.job WHERE id = ANY ($1) AND due_at IS NULL AND trouble IS NULL",
];

/// What wake-ups during the run have set stays as they set it.
const RELEASE: &str = concat!(
    "UPDATE onetag.job SET
         generation = generation + 1,
         leased_until = NULL,
         lease_ms = NULL,
         starts = 0,
         attempts = CASE WHEN ended.trouble = 'failing' THEN attempts + 1 ELSE 0 END,
         troubled_at = CASE WHEN ended.trouble IS NULL THEN NULL WHEN job.trouble = ended.trouble THEN troubled_at ELSE ",
    now!(),
    " END,
         trouble = ended.trouble,
         reason = ended.reason,
         woken_at = CASE WHEN ended.trouble IN ('failing', 'waiting') THEN woken_at ELSE burst_at END,
         hints = CASE WHEN ended.trouble IN ('failing', 'waiting') THEN (claimed_hints::jsonb || hints::jsonb)::text
                      ELSE hints END,
         claimed_hints = '{}',
         due_at = CASE WHEN wakes > claimed_wakes THEN due_at ELSE ",
    now!(),
    " + ended.after_ms END,
         set_at = CASE WHEN wakes > claimed_wakes THEN set_at ELSE ",
    now!(),
    " END
     FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[]) AS ended (id, trouble, reason, after_ms)
     WHERE job.id = ended.id"
);

/// A run that ended, and who waits for that to be written down.
pub(super) struct Ending {
    ended: Ended,
    answer: oneshot::Sender<Result<bool, StoreError>>,
}

#[derive(Clone)]
struct Ended {
    id: i64,
    generation: i64,
    fate: Fate,
    line: Option<Line>,
}

impl Database {
    pub(crate) async fn finish(&self, claimed: &Claimed, fate: Fate, entry: Option<Entry>) -> Result<bool, StoreError> {
        let (answer, written) = oneshot::channel();
        let line = entry.map(|entry| Line::of(claimed, entry));
        let ended = Ended { id: claimed.id, generation: claimed.generation, fate, line };
        self.shared.endings.send(Ending { ended, answer }).await.map_err(|_| StoreError::Closed)?;
        written.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Writes down ends in one commit; says of each whether the lease was not lost.
    async fn end(&self, ended: &[Ended]) -> Result<Vec<bool>, StoreError> {
        self.write_once(Instant::now() + PATIENCE, "finish jobs", |db| {
            let ended = ended.to_vec();
            Box::pin(async move { end(db, ended).await })
        })
        .await
    }
}

/// Writes down ends until nobody can give any.
pub(super) async fn run(shared: Weak<Shared>, mut endings: mpsc::Receiver<Ending>) {
    let mut received = Vec::new();
    while endings.recv_many(&mut received, BATCH).await > 0 {
        let Some(shared) = shared.upgrade() else { return };
        let database = Database { shared };
        let (ended, answers): (Vec<Ended>, Vec<_>) = received.drain(..).map(|e| (e.ended, e.answer)).unzip();
        let done = match database.end(&ended).await {
            Err(StoreError::Other { .. }) if ended.len() > 1 => {
                let mut done = Vec::new();
                for one in ended.chunks(1) {
                    done.push(database.end(one).await.map(|is_ours| is_ours[0]));
                }
                done
            }
            Err(error) => vec![Err(error); ended.len()],
            Ok(ours) => ours.into_iter().map(Ok).collect(),
        };
        if done.iter().any(|done| matches!(done, Ok(true))) {
            database.tell();
        }
        for (answer, done) in answers.into_iter().zip(done) {
            let _ = answer.send(done);
        }
        // Whoever was answered and has more goes into the next commit, not into the one after it.
        tokio::task::yield_now().await;
    }
}

async fn end(db: &mut PgConnection, ended: Vec<Ended>) -> sqlx::Result<(Vec<bool>, Option<String>)> {
    let (ids, generations): (Vec<i64>, Vec<i64>) = ended.iter().map(|one| (one.id, one.generation)).unzip();
    let found = query(OURS).bind(ids).bind(generations).fetch_all(&mut *db).await?;
    let transaction = found.first().map(|row| row.try_get("transaction")).transpose()?;
    let mut ours = HashMap::new();
    for row in found {
        ours.insert((row.try_get("id")?, row.try_get("generation")?), row.try_get::<bool, _>("is_woken_again")?);
    }

    let (mut is_ours, mut lines) = (Vec::new(), Vec::new());
    let (mut over, mut untouched, mut released) = (Vec::new(), Vec::new(), Released::default());
    for one in ended {
        // Of two ends of one run the first counts.
        let is_woken_again = ours.remove(&(one.id, one.generation));
        is_ours.push(is_woken_again.is_some());
        let Some(is_woken_again) = is_woken_again else { continue };
        lines.extend(one.line);
        match one.fate {
            Fate::Over if !is_woken_again => over.push(one.id),
            Fate::Over => released.add(one.id, None, None, None),
            Fate::Untouched => untouched.push(one.id),
            Fate::Stays { trouble, reason, after_ms } => released.add(one.id, Some(trouble), Some(reason), after_ms),
        }
    }
    if !lines.is_empty() {
        history::insert(db, lines).await?;
    }
    if !over.is_empty() {
        query(DROP).bind(over).execute(&mut *db).await?;
    }
    if !untouched.is_empty() {
        for statement in GIVE_BACK {
            query(statement).bind(untouched.clone()).execute(&mut *db).await?;
        }
    }
    if !released.ids.is_empty() {
        let release = query(RELEASE).bind(released.ids).bind(released.troubles).bind(released.reasons);
        release.bind(released.afters).execute(db).await?;
    }
    Ok((is_ours, transaction))
}

/// Jobs that stay, as the statement is told of them.
#[derive(Default)]
struct Released {
    ids: Vec<i64>,
    troubles: Vec<Option<&'static str>>,
    reasons: Vec<Option<String>>,
    afters: Vec<Option<i64>>,
}

impl Released {
    fn add(&mut self, id: i64, trouble: Option<&'static str>, reason: Option<String>, after_ms: Option<i64>) {
        self.ids.push(id);
        self.troubles.push(trouble);
        self.reasons.push(reason);
        self.afters.push(after_ms);
    }
}
