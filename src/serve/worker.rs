//! Working off what is due: leases, one writer a plain tag, retry of what may pass.
//!
//! A registry that hangs holds up its own jobs and nobody else's. A job that panics, or whose
//! process dies, has used up one of its starts; after five it is parked with its reason.

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
use super::{App, audit};
use crate::model::{Host, Last};
use crate::plan::Weight;
use crate::publish::{Action, Known};
use crate::registry::Gate;
use crate::store::{Act, Changes, Claimed, End, StoreError, Trigger};
use before::{Before, sources};
use end::{Ended, absent, decided, failed, failure, is_absent, retry, retry_or_park};

/// Into how many parts a lease falls: after one a sign of life is given, and a write may take one.
const PARTS: u32 = 4;
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
        let claimed = match app.store.claim(app.lease, &running.busy()).await {
            Ok(claimed) => claimed,
            Err(error) => {
                tracing::error!("No job could be claimed: {error}");
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        match claimed {
            Some(claimed) => {
                let (app, slot) = (app.clone(), running.start(claimed.repository.host()));
                tracker.spawn(async move {
                    work(&app, &claimed).await;
                    drop(slot);
                });
            }
            None => wait(&app, &running, &mut changes, &stop).await,
        }
    }
    app.stop.cancel();
    tracker.close();
    tracker.wait().await;
}

/// Waits until a job is due, one was stored, or one ended.
async fn wait(app: &App, running: &Running, changes: &mut Changes, stop: &CancellationToken) {
    let next = app.store.next_due(&running.busy()).await.ok().flatten().unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT);
    tokio::select! {
        () = tokio::time::sleep(next) => {}
        () = changes.next() => {}
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

    fn busy(&self) -> Vec<Host> {
        let jobs = self.jobs.lock().expect("no panic happens while it is held");
        jobs.iter().filter(|(_, count)| **count >= JOBS_A_REGISTRY).map(|(host, _)| host.clone()).collect()
    }
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
    let before = Before::of(app, claimed).await;
    let (end, entry) = if claimed.starts > MOST_STARTS {
        let reason = format!("started {MOST_STARTS} times and never came to an end");
        tracing::error!("`{}` is parked: {reason}", claimed.tag);
        let entry = failure("never-ended", &reason, Weight::Hold, 0);
        (End::Parked { reason }, Some(entry))
    } else {
        tokio::select! {
            ended = attempt(app, claimed, &before) => ended,
            () = lease_lost(app, claimed) => {
                tracing::warn!("The lease of `{}` was lost; somebody else works on it", claimed.tag);
                return;
            }
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
        Ok(false) => tracing::warn!("The lease of `{}` was lost before its end was written down", claimed.tag),
        Err(error) => tracing::error!("The end of `{}` could not be written down: {error}", claimed.tag),
    }
}

/// Resolves when the lease could not be kept.
async fn lease_lost(app: &App, claimed: &Claimed) {
    loop {
        tokio::time::sleep(app.lease / PARTS).await;
        match app.store.extend(claimed, app.lease).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => tracing::error!("The lease of `{}` could not be kept: {error}", claimed.tag),
        }
    }
}

/// Lets a write begin only under the lease, which is made to last longer than the write may take.
fn gate(app: &App, claimed: &Claimed) -> Gate {
    let (store, claimed, lease) = (app.store.clone(), Arc::new(claimed.clone()), app.lease);
    Gate::new(Arc::new(move || {
        let (store, claimed) = (store.clone(), claimed.clone());
        Box::pin(async move {
            let until = Instant::now() + lease / PARTS;
            match store.extend(&claimed, lease).await {
                Ok(true) => Ok(until),
                Ok(false) => Err("the lease was lost, and somebody else works on the tag".to_owned()),
                Err(error) => Err(format!("the lease could not be kept: {error}")),
            }
        })
    }))
}

/// Publishes, and makes of whatever happens an end and an entry.
async fn attempt(app: &App, claimed: &Claimed, before: &Before) -> Ended {
    let setup = app.setup();
    let publishing = std::panic::AssertUnwindSafe(publish(app, &setup, claimed, before)).catch_unwind();
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

async fn publish(app: &App, setup: &Setup, claimed: &Claimed, before: &Before) -> Ended {
    let Some((rule, publisher)) = setup.publisher(&claimed.repository, &claimed.tag) else {
        return (End::Done, None); // its rule was taken away since
    };
    let known = match known(app, claimed).await {
        Ok(known) => known,
        Err(error) => return (retry(claimed, format!("the journal could not be read: {error}")), None),
    };
    let job = rule.job(&claimed.repository, &claimed.tag);
    let registry = publisher.registry.counting_anew().gated(gate(app, claimed));
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
            audit::keep(app, &publisher, &job, &outcome).await;
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

/// What is remembered of the tag: what was last published, and whether a person holds it.
async fn known(app: &App, claimed: &Claimed) -> Result<Known, StoreError> {
    let last = app.store.last_published(&claimed.repository, &claimed.tag).await?;
    let held = app.store.held(&claimed.repository, &claimed.tag).await?;
    // An index that a person put back is not what we would make again.
    let last = last.filter(|entry| entry.act != Act::RolledBack).and_then(|entry| {
        let sources = sources(&entry.inputs);
        Some(Last { digest: entry.new_digest?, sources })
    });
    Ok(Known { hints: claimed.hints.clone(), last, frozen: held.map(|held| held.hold.images) })
}

/// A hold has served its purpose once a new image was published.
async fn release(app: &App, claimed: &Claimed) {
    if let Err(error) = app.store.release(&claimed.repository, &claimed.tag).await {
        tracing::error!("The hold on `{}` could not be ended: {error}", claimed.tag);
    }
}
