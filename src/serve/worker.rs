//! Working off what is due: leases, one writer a plain tag, retry of what may pass.
//!
//! A registry that hangs holds up its own jobs and nobody else's. A job that panics, or whose
//! process dies, has used up one of its starts; after five it is parked with its reason, and for a
//! while only a delivery or a person has it tried again.

mod before;
mod end;
mod news;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use futures_util::FutureExt as _;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::setup::Setup;
use super::{App, audit, lease};
use crate::model::{Host, Last};
use crate::plan::Weight;
use crate::publish::{Action, Known};
use crate::store::{self, Act, Changes, Claimed, End, StoreError, Trigger};
use before::{Before, NEVER_ENDED, sources};
use end::{Ended, absent, decided, failed, failure, is_absent, retry, retry_or_park, unserved};

/// How many jobs of one registry run at one time.
const JOBS_A_REGISTRY: usize = 8;
/// How often a job is started that never ends.
const MOST_STARTS: u32 = 5;
/// How long to wait for news before looking whether a job is due.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// How long a job may take in all.
const LONGEST_JOB: Duration = Duration::from_secs(900);

/// Runs due jobs until told to stop, then lets those that run come to an end.
pub(super) async fn run(app: Arc<App>, stop: CancellationToken) {
    let running = Arc::new(Running::default());
    let tracker = TaskTracker::new();
    let mut changes = app.store.changes();
    while !stop.is_cancelled() {
        let room = running.room();
        let claimed = match app.store.claim(app.lease, &room.busy, room.places).await {
            Ok(claimed) => claimed,
            Err(error) => {
                tracing::error!("No job could be claimed: {error}");
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let is_all = claimed.len() < room.places;
        for claimed in claimed {
            let (app, slot) = (app.clone(), running.start(claimed.repository.host()));
            tracker.spawn(async move {
                work(&app, &claimed).await;
                drop(slot);
            });
        }
        if is_all || running.is_full(&app.setup()) {
            wait(&app, &running, &mut changes, &stop).await;
        }
    }
    app.stop.cancel();
    tracker.close();
    tracker.wait().await;
}

/// Waits until a job is due, one was stored, or one ended. Where no registry takes another job, only
/// the end of one is of interest.
async fn wait(app: &App, running: &Running, changes: &mut Changes, stop: &CancellationToken) {
    let is_full = running.is_full(&app.setup());
    let next = match is_full {
        true => None,
        false => app.store.next_due(&running.room().busy).await.ok().flatten(),
    };
    tokio::select! {
        () = tokio::time::sleep(next.unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT)) => {}
        () = changes.next(), if !is_full => {}
        () = running.ended.notified() => {}
        () = stop.cancelled() => {}
    }
}

/// How many jobs of each registry run.
#[derive(Default)]
struct Running {
    jobs: Mutex<HashMap<Host, usize>>,
    ended: tokio::sync::Notify,
}

struct Slot {
    running: Arc<Running>,
    host: Host,
}

impl Running {
    fn start(self: &Arc<Running>, host: &Host) -> Slot {
        *self.jobs.lock().expect("no panic happens while it is held").entry(host.clone()).or_default() += 1;
        Slot { running: self.clone(), host: host.clone() }
    }

    /// The registries that take no further job, and how many each of the others takes at least.
    fn room(&self) -> Room {
        let jobs = self.jobs.lock().expect("no panic happens while it is held");
        let (busy, others): (Vec<_>, Vec<_>) = jobs.iter().partition(|(_, count)| **count >= JOBS_A_REGISTRY);
        let most = others.into_iter().map(|(_, count)| *count).max().unwrap_or_default();
        Room { busy: busy.into_iter().map(|(host, _)| host.clone()).collect(), places: JOBS_A_REGISTRY - most }
    }

    /// Whether no registry of the settings takes another job.
    fn is_full(&self, setup: &Setup) -> bool {
        let (busy, rules) = (self.room().busy, &setup.settings.rules);
        !busy.is_empty() && rules.iter().all(|rule| busy.contains(&rule.host))
    }
}

struct Room {
    busy: Vec<Host>,
    places: usize,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut jobs = self.running.jobs.lock().expect("no panic happens while it is held");
        if let Some(count) = jobs.get_mut(&self.host) {
            *count -= 1;
        }
        drop(jobs);
        self.running.ended.notify_one();
    }
}

/// One job from its lease to its journal entry.
#[tracing::instrument(name = "job", skip_all, fields(repository = %claimed.repository, tag = %claimed.tag, trigger = %claimed.trigger))]
async fn work(app: &App, claimed: &Claimed) {
    let known = app.store.known(&claimed.repository, &claimed.tag).await;
    let before = Before::of(app, claimed, known.as_ref().unwrap_or(&store::Known::default())).await;
    let (end, entry) = if claimed.starts > MOST_STARTS {
        let reason = never_ended();
        tracing::error!("`{}` is parked: {reason}", claimed.tag);
        let entry = failure(NEVER_ENDED, &reason, Weight::Hold, 0);
        (End::Parked { reason }, Some(entry))
    } else if before.is_left_alone(claimed) {
        (End::Parked { reason: never_ended() }, None)
    } else {
        // It is large, and threads' stacks are not.
        match lease::while_kept(app, claimed, attempt(app, claimed, &before, known).boxed()).await {
            Some(ended) => ended,
            None => return survived(app, claimed).await,
        }
    };
    app.metrics.job_ended(&end, entry.as_ref());
    let notices = news::notices(claimed, before.was_held, &end, entry.as_ref(), SystemTime::now());
    let is_published = entry.as_ref().is_some_and(|entry| entry.act == Act::Pushed);
    let is_news = entry.is_some() || claimed.trigger == Trigger::Request;
    let state = news::state(&end);
    match app.store.finish(claimed, end, entry).await {
        Ok(true) => {
            if is_published {
                app.metrics.published_after(claimed.first_woken_ago());
            }
            app.tell(notices);
            if is_news {
                app.live.tell(&claimed.repository, claimed.tag.as_str(), Some(state));
            }
        }
        Ok(false) => {
            tracing::warn!("The lease of `{}` was lost before its end was written down", claimed.tag);
            survived(app, claimed).await;
        }
        Err(error) => {
            tracing::error!("The end of `{}` could not be written down: {error}", claimed.tag);
            survived(app, claimed).await;
        }
    }
}

/// A run that ended in nobody's name did no harm to the process.
async fn survived(app: &App, claimed: &Claimed) {
    if let Err(error) = app.store.survived(claimed).await {
        tracing::warn!("A start of `{}` counts as one that never came to an end: {error}", claimed.tag);
    }
}

fn never_ended() -> String {
    format!("started {MOST_STARTS} times and never came to an end")
}

/// Publishes, and makes of whatever happens an end and an entry.
async fn attempt(app: &App, claimed: &Claimed, before: &Before, known: Result<store::Known, StoreError>) -> Ended {
    let known = match known {
        Ok(known) => known,
        Err(error) => return (retry(claimed, format!("the journal could not be read: {error}")), None),
    };
    let setup = app.setup();
    let publishing = std::panic::AssertUnwindSafe(publish(app, &setup, claimed, before, known)).catch_unwind();
    match tokio::time::timeout(LONGEST_JOB, publishing).await {
        Ok(Ok(ended)) => ended,
        Ok(Err(_)) => {
            app.metrics.panicked();
            tracing::error!("Publishing `{}` panicked; this is a bug of ours", claimed.tag);
            let reason = "panicked, which is a bug of ours".to_owned();
            let entry = failure("panicked", &reason, Weight::Hold, 0);
            match retry_or_park(claimed, reason) {
                end @ End::Parked { .. } => (end, Some(entry)),
                end => (end, None),
            }
        }
        Err(_) => (retry(claimed, format!("took longer than {} minutes", LONGEST_JOB.as_secs() / 60)), None),
    }
}

async fn publish(app: &App, setup: &Setup, claimed: &Claimed, before: &Before, mut known: store::Known) -> Ended {
    let Some((rule, publisher)) = setup.publisher(&claimed.repository, &claimed.tag) else {
        return (unserved(app.store.is_shared(), claimed.first_woken_ago()), None);
    };
    let found = known.found.take();
    let known = remembered(claimed, known);
    let job = rule.job(&claimed.repository, &claimed.tag);
    let registry = publisher.registry.counting_anew().gated(lease::gate(app, claimed));
    // A scan brings its listing along, unless it was another process's. What somebody told since may
    // not be in it.
    if claimed.trigger != Trigger::Scan || claimed.woken_at_ms != claimed.last_woken_at_ms {
        publisher.lookout.forget_listing();
    } else if let Some(woken) = Instant::now().checked_sub(claimed.last_woken_ago()).filter(|_| app.store.is_shared()) {
        publisher.lookout.forget_listing_before(woken);
    }
    let result = publisher.publish(&registry, &job, &known).await;
    let (end, entry) = match result {
        Ok(outcome) if is_absent(&known, &outcome) => {
            let quiet = rule.quiet.saturating_sub(claimed.last_woken_ago());
            absent(before, quiet, claimed.first_woken_ago(), &outcome)
        }
        Ok(outcome) => {
            audit::keep(app, &publisher, &job, &outcome, found.as_ref()).await;
            let quiet = rule.quiet.saturating_sub(claimed.last_woken_ago());
            let ended = decided(before, quiet, &known, &outcome, registry.requests());
            if known.frozen.is_some() && outcome.action == Action::Pushed {
                release(app, claimed).await;
            }
            ended
        }
        Err(error) => failed(claimed, before, &error, registry.requests()),
    };
    if let (End::Held { reason }, Some(entry)) = (&end, &entry) {
        tracing::warn!(requests = entry.requests, "`{}:{}` is held: {reason}", claimed.repository, claimed.tag);
    }
    (end, entry)
}

/// What a run needs to know: what was last published, and whether a person holds the tag.
fn remembered(claimed: &Claimed, known: store::Known) -> Known {
    // An index that a person put back is not what we would make again.
    let last = known.published.filter(|entry| entry.act != Act::RolledBack).and_then(|entry| {
        let sources = sources(&entry.inputs);
        Some(Last { digest: entry.new_digest?, sources })
    });
    Known { hints: claimed.hints.clone(), last, frozen: known.held.map(|held| held.hold.images) }
}

/// A hold has served its purpose once a new image was published.
async fn release(app: &App, claimed: &Claimed) {
    if let Err(error) = app.store.release(&claimed.repository, &claimed.tag).await {
        tracing::error!("The hold on `{}` could not be ended: {error}", claimed.tag);
    }
}
