//! Working off what is due: leases, one writer a plain tag, retry of what may pass.
//!
//! A registry that hangs holds up its own jobs and nobody else's. A job that panics, or whose
//! process dies, has used up one of its starts; after five it is parked with its reason.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::FutureExt as _;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::App;
use super::notify::Notice;
use super::settings::Event;
use super::setup::Setup;
use crate::model::text::clean;
use crate::model::{Digest, Host, Last, Tag};
use crate::plan::{Code, Reason, Verdict, Weight};
use crate::publish::{Action, Known, Outcome, PublishError};
use crate::registry::Kind;
use crate::store::{Act, Changes, Claimed, End, Entry, Recorded, StoreError, StoredIndex, Trigger, TroubleKind};

/// How long a job may be worked on without a sign of life.
const LEASE: Duration = Duration::from_secs(120);
/// How often a sign of life is given.
const HEARTBEAT: Duration = Duration::from_secs(30);
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
        let claimed = match app.store.claim(LEASE, &running.busy()).await {
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
    app.setup().stop();
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

/// How a run ended, and what of it is worth writing down.
type Ended = (End, Option<Entry>);

/// One job from its lease to its journal entry.
#[tracing::instrument(name = "job", skip_all, fields(repository = %claimed.repository, tag = %claimed.tag, trigger = %claimed.trigger))]
async fn work(app: &App, claimed: &Claimed) {
    let before = before(app, claimed).await;
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
    let notices = notices(claimed, before.was_held, &end, entry.as_ref(), SystemTime::now());
    let is_published = entry.as_ref().is_some_and(|entry| entry.act == Act::Pushed);
    match app.store.finish(claimed, end, entry).await {
        Ok(true) => {
            if is_published {
                app.metrics.published_after(since(claimed.woken_at_ms));
            }
            app.tell(notices);
        }
        Ok(false) => tracing::warn!("The lease of `{}` was lost before its end was written down", claimed.tag),
        Err(error) => tracing::error!("The end of `{}` could not be written down: {error}", claimed.tag),
    }
}

/// What is known of a tag's runs so far.
#[derive(Default)]
struct Before {
    /// Whether the tag was held or given up, and did not come right since.
    was_held: bool,
    /// The newest entry of the journal.
    newest: Option<Recorded>,
}

/// Looks up how the tag's runs ended. Without an answer it is as if there had been none: then
/// something may be told or written down twice.
async fn before(app: &App, claimed: &Claimed) -> Before {
    let (repository, tag) = (&claimed.repository, &claimed.tag);
    let job = app.store.job(repository, tag).await.ok().flatten();
    let newest = app.store.history(Some(repository), Some(tag), 1, None).await.unwrap_or_default().pop();
    let was_held = match job.and_then(|job| job.trouble).map(|trouble| trouble.kind) {
        None => false,
        Some(TroubleKind::Held | TroubleKind::Parked) => true,
        // It failed since: that it was held before is what the journal knows.
        Some(TroubleKind::Failing) => {
            let entries = app.store.history(Some(repository), Some(tag), 20, None).await.unwrap_or_default();
            entries.iter().find_map(leaves_held).unwrap_or_default()
        }
    };
    Before { was_held, newest }
}

/// Whether a tag is held since this entry; none if the entry makes no difference.
fn leaves_held(entry: &Recorded) -> Option<bool> {
    match entry.act {
        Act::Pushed | Act::Unchanged | Act::RolledBack => Some(has_hold(&entry.reasons)),
        Act::Held => Some(true),
        Act::Failed => has_hold(&entry.reasons).then_some(true),
    }
}

fn has_hold(reasons: &Value) -> bool {
    reasons.as_array().into_iter().flatten().any(|reason| reason["weight"] == Weight::Hold.as_str())
}

/// What the end of a run is worth telling others; nothing for a tag that stays as it was.
fn notices(claimed: &Claimed, was_held: bool, end: &End, entry: Option<&Entry>, at: SystemTime) -> Vec<Notice> {
    let notice = |event: Event, data: Value| Notice {
        event,
        id: format!("{}:{}@{}-{}", claimed.repository, claimed.tag, claimed.last_woken_at_ms, event.as_str()),
        repository: claimed.repository.clone(),
        tag: claimed.tag.clone(),
        at,
        data,
    };
    let digest = entry.and_then(|entry| entry.new_digest.as_ref()).map(Digest::as_str);
    let published = entry.filter(|entry| is_news(entry)).map(|entry| {
        let previous = entry.old_digest.as_ref().map(Digest::as_str);
        notice(Event::Published, json!({ "digest": digest, "previous": previous, "images": entry.inputs }))
    });
    let change = match end {
        End::Done => was_held.then(|| notice(Event::Recovered, json!({ "digest": digest }))),
        End::Held { reason } | End::Parked { reason } if !was_held => {
            let reasons = entry.map_or(&Value::Null, |entry| &entry.reasons);
            Some(notice(Event::Held, json!({ "reason": reason, "reasons": reasons })))
        }
        End::Held { .. } | End::Parked { .. } | End::Retry { .. } => None,
    };
    published.into_iter().chain(change).collect()
}

/// Whether the tag was published: just now, or by a run that died before it could write that down.
fn is_news(entry: &Entry) -> bool {
    match entry.act {
        Act::Pushed => true,
        Act::Unchanged => entry.old_digest.is_some() && entry.old_digest != entry.new_digest,
        Act::Held | Act::Failed | Act::RolledBack => false,
    }
}

/// Resolves when the lease could not be kept.
async fn lease_lost(app: &App, claimed: &Claimed) {
    loop {
        tokio::time::sleep(HEARTBEAT).await;
        match app.store.extend(claimed, LEASE).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => tracing::error!("The lease of `{}` could not be kept: {error}", claimed.tag),
        }
    }
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
    let registry = publisher.registry.counting_anew();
    // A scan brings its listing along. What somebody told since may not be in it.
    if claimed.trigger != Trigger::Scan || claimed.woken_at_ms != claimed.last_woken_at_ms {
        publisher.lookout.forget_listing();
    }
    let result = publisher.publish(&registry, &job, &known).await;
    let (end, entry) = match result {
        Ok(outcome) => {
            let quiet = rule.quiet.saturating_sub(since(claimed.last_woken_at_ms));
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

/// What each architecture tag stood for, according to a journal entry.
pub(super) fn sources(inputs: &Value) -> BTreeMap<Tag, Digest> {
    let image =
        |(tag, image): (&String, &Value)| Some((tag.parse().ok()?, image.get("digest")?.as_str()?.parse().ok()?));
    inputs.as_object().into_iter().flatten().filter_map(image).collect()
}

/// The end of a run that looked and decided. `quiet` is what is left of the quiet time.
fn decided(before: &Before, quiet: Duration, known: &Known, outcome: &Outcome, requests: u64) -> Ended {
    let holds: Vec<&Reason> = outcome.plan.reasons.iter().filter(|reason| reason.forbids()).collect();
    let act = match outcome.action {
        Action::Pushed => Act::Pushed,
        Action::Unchanged if holds.is_empty() => Act::Unchanged,
        Action::Unchanged | Action::Held => Act::Held,
    };
    let mut entry = entry(act, outcome, requests);
    if holds.is_empty() {
        let served = entry.new_digest.as_ref();
        let last = known.last.as_ref().map(|last| &last.digest);
        let is_known = act == Act::Unchanged && last.is_some() && last == served && !before.was_held;
        if act == Act::Unchanged && last != served {
            entry.old_digest = last.cloned();
        }
        return (End::Done, (!is_known).then_some(entry));
    }
    // More architectures may be on their way: what is missing now is no news before the quiet time.
    let waits_for_more = holds.iter().all(|reason| matches!(reason.code, Code::ArchMissing | Code::NothingFound));
    let reason = holds.iter().map(|reason| clean(&reason.message, 300)).collect::<Vec<_>>().join("; ");
    if waits_for_more && act == Act::Held && !quiet.is_zero() && !before.was_held {
        return (End::Retry { after: quiet, reason: format!("waiting for more: {reason}") }, None);
    }
    let is_known = act == Act::Held && before.was_held && before.tells(&entry);
    (End::Held { reason }, (!is_known).then_some(entry))
}

impl Before {
    /// Whether the journal's newest entry says the same, so that a scan every ten minutes does not
    /// fill it.
    fn tells(&self, entry: &Entry) -> bool {
        self.newest.as_ref().is_some_and(|newest| {
            newest.act == entry.act
                && newest.old_digest == entry.old_digest
                && newest.inputs == entry.inputs
                && newest.reasons == entry.reasons
        })
    }
}

fn failed(claimed: &Claimed, before: &Before, error: &PublishError, requests: u64) -> Ended {
    let reason = clean(&chain(error), 600);
    match error.kind() {
        _ if matches!(error, PublishError::Interrupted) => {
            (End::Retry { after: Duration::ZERO, reason: "interrupted by a restart".to_owned() }, None)
        }
        Kind::Failing => {
            tracing::warn!(attempts = claimed.attempts + 1, "{reason}");
            // One entry for a series of failures.
            let entry = failure(error.code(), &reason, Weight::Note, requests);
            let is_known = claimed.attempts > 0 && before.newest.as_ref().is_some_and(|e| e.act == Act::Failed);
            (retry(claimed, reason), (!is_known).then_some(entry))
        }
        Kind::NotAllowed | Kind::Settings => {
            tracing::error!("{reason}");
            let entry = failure(error.code(), &reason, Weight::Hold, requests);
            let is_known = before.was_held && before.tells(&entry);
            (End::Parked { reason }, (!is_known).then_some(entry))
        }
    }
}

/// The entry of a run that failed: a hold if it was given up, a note if it is tried again.
fn failure(code: &str, reason: &str, weight: Weight, requests: u64) -> Entry {
    Entry {
        act: Act::Failed,
        old_digest: None,
        new_digest: None,
        index: None,
        inputs: json!({}),
        reasons: json!([{ "code": code, "tag": null, "message": reason, "weight": weight.as_str() }]),
        requests,
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Once more, after a wait that doubles up to ten minutes, drawn at random.
fn retry(claimed: &Claimed, reason: String) -> End {
    let bound = Duration::from_secs(2).saturating_mul(2u32.saturating_pow(claimed.attempts.min(9)));
    End::Retry { after: bound.min(Duration::from_secs(600)).mul_f64(0.5 + 0.5 * fastrand::f64()), reason }
}

/// What is our own fault is not tried for ever.
fn retry_or_park(claimed: &Claimed, reason: String) -> End {
    if claimed.attempts + 1 >= MOST_STARTS { End::Parked { reason } } else { retry(claimed, reason) }
}

fn entry(act: Act, outcome: &Outcome, requests: u64) -> Entry {
    let images = outcome.plan.images.iter().filter(|image| image.verdict != Verdict::Missing);
    let image = |image: &crate::plan::Weighed| {
        let digest = image.digest.as_ref().map(Digest::as_str);
        let platform = image.platform.as_ref().map(|platform| clean(&platform.to_string(), 60));
        let value = json!({ "digest": digest, "platform": platform, "verdict": image.verdict.as_str() });
        (image.tag.to_string(), value)
    };
    let reason = |reason: &Reason| {
        json!({
            "code": reason.code.as_str(),
            "tag": reason.tag.as_ref().map(|tag| tag.as_str()),
            "message": clean(&reason.message, 600),
            "weight": reason.weight.as_str(),
        })
    };
    let index = outcome.index.as_ref();
    Entry {
        act,
        old_digest: outcome.previous.clone(),
        new_digest: index.map(|index| index.digest().clone()),
        index: index.map(|index| StoredIndex {
            media_type: index.kind().media_type().to_owned(),
            bytes: index.bytes().to_vec(),
        }),
        inputs: images.map(image).collect(),
        reasons: outcome.plan.reasons.iter().map(reason).collect(),
        requests,
    }
}

/// How long ago that was, by the machine's clock; nothing if it lies ahead.
fn since(unix_ms: i64) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(Duration::from_millis(u64::try_from(unix_ms).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Decision, Plan};
    use crate::store::{Store, Wake};

    /// A job as the store hands it out.
    async fn claimed() -> Claimed {
        let folder = tempfile::TempDir::new().expect("a temporary directory");
        let store = Store::open(&format!("sqlite://{}/onetag.db", folder.path().display())).await.expect("a store");
        let wake = Wake {
            repository: "r.example.com/acme/ubuntu".parse().expect("a repository"),
            tag: "xenial".parse().expect("a tag"),
            trigger: Trigger::Scan,
            quiet: Duration::ZERO,
            longest: Duration::ZERO,
            hint: None,
            event_id: None,
        };
        store.accept(vec![wake]).await.expect("it is stored");
        store.claim(LEASE, &[]).await.expect("it can be claimed").expect("a job")
    }

    fn digest(text: &str) -> Digest {
        Digest::of(text.as_bytes())
    }

    fn recorded(act: Act, weight: Option<Weight>) -> Recorded {
        Recorded {
            id: 1,
            repository: "r.example.com/acme/ubuntu".parse().expect("a repository"),
            tag: "xenial".parse().expect("a tag"),
            act,
            old_digest: None,
            new_digest: None,
            has_index: false,
            trigger: Trigger::Scan,
            event_id: None,
            inputs: json!({}),
            reasons: weight.map_or(json!([]), |weight| json!([{ "weight": weight.as_str() }])),
            requests: 0,
            woken_at_ms: 0,
            recorded_at_ms: 0,
        }
    }

    fn held(code: Code) -> Outcome {
        let reasons = vec![Reason::hold(code, None, "arm64 is required".to_owned())];
        let plan = Plan { decision: Decision::Hold, images: Vec::new(), reasons, changes: Default::default() };
        Outcome { plan, action: Action::Held, index: None, previous: Some(digest("served")), seen: Default::default() }
    }

    #[tokio::test]
    async fn waits_double_up_to_ten_minutes() {
        let mut claimed = claimed().await;
        for (attempts, bound) in [(0, 2), (1, 4), (5, 64), (9, 600), (4_000_000, 600)] {
            claimed.attempts = attempts;
            let End::Retry { after, .. } = retry(&claimed, String::new()) else { panic!("it is tried again") };
            let bound = Duration::from_secs(bound);
            assert!(after <= bound && after * 2 >= bound, "{attempts}: {after:?}");
        }
    }

    #[tokio::test]
    async fn a_panic_is_tried_again_a_few_times() {
        let mut claimed = claimed().await;
        assert!(matches!(retry_or_park(&claimed, String::new()), End::Retry { .. }));
        claimed.attempts = MOST_STARTS - 1;
        assert!(matches!(retry_or_park(&claimed, String::new()), End::Parked { .. }));
    }

    #[tokio::test]
    async fn a_hold_is_told_once_and_so_is_its_end() {
        let claimed = claimed().await;
        let events = |was_held, end: &End, entry: Option<&Entry>| -> Vec<Event> {
            let notices = notices(&claimed, was_held, end, entry, UNIX_EPOCH);
            notices.into_iter().map(|notice| notice.event).collect()
        };
        let hold = End::Held { reason: String::new() };
        assert_eq!(events(false, &hold, None), [Event::Held]);
        assert_eq!(events(true, &hold, None), []);
        assert_eq!(events(true, &retry(&claimed, String::new()), None), []);
        assert_eq!(events(true, &End::Done, None), [Event::Recovered]);
        assert_eq!(events(false, &End::Done, None), []);

        let mut entry = failure("", "", Weight::Note, 0);
        entry.act = Act::Pushed;
        assert_eq!(events(true, &End::Done, Some(&entry)), [Event::Published, Event::Recovered]);
        entry = Entry { act: Act::Unchanged, new_digest: Some(digest("new")), ..entry };
        assert_eq!(events(false, &End::Done, Some(&entry)), [], "it was like that before we came");
        entry.old_digest = Some(digest("old"));
        assert_eq!(events(false, &End::Done, Some(&entry)), [Event::Published], "it was written and not written down");
    }

    #[test]
    fn what_is_missing_is_no_news_before_the_quiet_time_is_over() {
        let decide = |code, quiet_secs, was_held| {
            let before = Before { was_held, newest: None };
            decided(&before, Duration::from_secs(quiet_secs), &Known::default(), &held(code), 0)
        };
        assert!(matches!(decide(Code::ArchMissing, 2, false), (End::Retry { .. }, None)));
        assert!(matches!(decide(Code::ArchMissing, 0, false), (End::Held { .. }, Some(_))));
        assert!(matches!(decide(Code::ArchMissing, 2, true), (End::Held { .. }, Some(_))), "that is told already");
        assert!(matches!(decide(Code::ConfigArchMismatch, 2, false), (End::Held { .. }, Some(_))));
    }

    #[test]
    fn a_hold_that_is_written_down_is_not_written_down_again() {
        let outcome = held(Code::ConfigArchMismatch);
        let (_, entry) = decided(&Before::default(), Duration::ZERO, &Known::default(), &outcome, 0);
        let Entry { old_digest, inputs, reasons, .. } = entry.expect("it is news");
        let newest = Recorded { old_digest, inputs, reasons, ..recorded(Act::Held, None) };
        let mut before = Before { was_held: true, newest: Some(newest) };
        assert_eq!(decided(&before, Duration::ZERO, &Known::default(), &outcome, 7).1, None);
        before.newest = Some(recorded(Act::Pushed, None));
        assert!(decided(&before, Duration::ZERO, &Known::default(), &outcome, 7).1.is_some());
    }

    #[tokio::test]
    async fn what_a_restart_interrupts_is_no_failure() {
        let (end, entry) = failed(&claimed().await, &Before::default(), &PublishError::Interrupted, 3);
        assert!(matches!(end, End::Retry { after: Duration::ZERO, .. }) && entry.is_none());
    }

    #[test]
    fn the_journal_knows_whether_a_tag_is_held() {
        assert_eq!(leaves_held(&recorded(Act::Held, Some(Weight::Hold))), Some(true));
        assert_eq!(leaves_held(&recorded(Act::Failed, Some(Weight::Hold))), Some(true), "it was given up");
        assert_eq!(leaves_held(&recorded(Act::Failed, Some(Weight::Note))), None, "it was tried again");
        assert_eq!(leaves_held(&recorded(Act::Pushed, Some(Weight::Note))), Some(false));
        assert_eq!(
            leaves_held(&recorded(Act::Pushed, Some(Weight::Hold))),
            Some(true),
            "a further tag was not written"
        );
        assert_eq!(leaves_held(&recorded(Act::Unchanged, None)), Some(false));
    }

    #[test]
    fn sources_are_the_digests_of_an_entry_and_nothing_else() {
        let amd64 = digest("amd64");
        let inputs = json!({
            "amd64-xenial": { "digest": amd64.as_str(), "verdict": "verified" },
            "arm64-xenial": { "digest": null },
            "not a tag": { "digest": amd64.as_str() },
            "armhf-xenial": "odd",
        });
        assert_eq!(sources(&inputs), BTreeMap::from([("amd64-xenial".parse().expect("a tag"), amd64)]));
        assert_eq!(sources(&Value::Null), BTreeMap::new());
    }
}
