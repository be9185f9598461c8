//! Scanning: what no webhook told.
//!
//! Webhooks are a hint and never the truth: senders lose them, and some registries have none. On
//! start and then regularly, every repository's tags are listed and each plain tag is woken like
//! by a webhook; a tag that is right costs a HEAD for each of its images and no write. Audits are due
//! in the same way, and more rarely.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::catalog::{self, Catalogs};
use super::settings::Rule;
use super::setup::Setup;
use super::{App, LONGEST_QUIET, audit, together};
use crate::model::text::with_causes;
use crate::model::{Host, Repository, Tag};
use crate::publish::Publisher;
use crate::store::{Trigger, Turn, TurnDone, Wake};

/// How long to wait before looking again which scans are due.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How long the first audit lets the first scan and its jobs go ahead.
const FIRST_AUDIT: Duration = Duration::from_secs(30);
/// How many repositories of one registry are scanned at one time, and how many audited: jobs ask the
/// same registry, and somebody waits for them.
const SCANS_AT_ONCE: usize = 8;
const AUDITS_AT_ONCE: usize = 2;
/// How long to wait before looking whether what goes by the settings before a reload has ended.
const SOON: Duration = Duration::from_secs(1);
/// How long to wait before looking again whether another process is done.
const NEXT_LOOK: Duration = Duration::from_secs(1);
/// How long a process is left to scan a repository before another does it.
const LONGEST_SCAN: Duration = Duration::from_secs(300);

/// Something that is looked at again and again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    /// A registry's list of repositories, for rules with wildcards.
    Catalog(Host),
    /// A repository's list of tags.
    Repository(Repository),
    /// How everything in a repository stands.
    Audit(Repository),
}

/// Something that is being looked at.
struct UnderWay {
    looking: JoinHandle<()>,
    /// What it goes by.
    setup: Arc<Setup>,
}

/// Who may go on at each registry; all others wait.
#[derive(Default)]
struct Lanes {
    scans: BTreeMap<Host, Arc<Semaphore>>,
    audits: BTreeMap<Host, Arc<Semaphore>>,
}

impl Lanes {
    fn of(&mut self, target: &Target) -> Arc<Semaphore> {
        let (lanes, host, places) = match target {
            Target::Catalog(host) => (&mut self.scans, host, SCANS_AT_ONCE),
            Target::Repository(repository) => (&mut self.scans, repository.host(), SCANS_AT_ONCE),
            Target::Audit(repository) => (&mut self.audits, repository.host(), AUDITS_AT_ONCE),
        };
        lanes.entry(host.clone()).or_insert_with(|| Arc::new(Semaphore::new(places))).clone()
    }
}

/// Looks at every target when it is due, until told to stop.
pub(super) async fn run(app: Arc<App>, stop: CancellationToken) {
    let (catalogs, found) = (Arc::<Catalogs>::default(), Arc::<Notify>::default());
    let mut due: BTreeMap<Target, Instant> = BTreeMap::new();
    let mut under_way: BTreeMap<Target, UnderWay> = BTreeMap::new();
    let mut lanes = Lanes::default();
    let (earlier, mut sooner) = mpsc::unbounded_channel();
    loop {
        let setup = app.setup();
        let polls = polls(&app, &setup, &catalogs).await;
        under_way.retain(|_, it| !it.looking.is_finished());
        due.retain(|target, _| polls.contains_key(target));
        for (target, poll) in polls {
            let now = Instant::now();
            let first = if matches!(target, Target::Audit(_)) { poll.min(FIRST_AUDIT) } else { Duration::ZERO };
            if *due.entry(target.clone()).or_insert(now + first) > now {
                continue;
            }
            let is_outdated = under_way.get(&target).is_some_and(|it| !Arc::ptr_eq(&it.setup, &setup));
            due.insert(target.clone(), now + if is_outdated { poll.min(SOON) } else { jittered(poll) });
            // Each on its own, and one at a time: a registry that hangs holds up nobody else's scan.
            under_way.entry(target.clone()).or_insert_with(|| {
                let lane = lanes.of(&target);
                let (app, by, catalogs, found) = (app.clone(), setup.clone(), catalogs.clone(), found.clone());
                let earlier = earlier.clone();
                let looking = tokio::spawn(async move {
                    let _place = lane.acquire().await.expect("the semaphore is never closed");
                    match target {
                        Target::Repository(repository) => {
                            if let Some(after) = scan(&app, &by, &repository, poll).await {
                                let target = Target::Repository(repository);
                                // Nobody reads it any more once the process is to end.
                                let _ = earlier.send((target, Instant::now() + after + SHORTEST_PAUSE));
                            }
                        }
                        Target::Audit(repository) => audited(app, by, repository, poll).await,
                        Target::Catalog(host) => {
                            list(&app, &by, &catalogs, &host, poll).await;
                            found.notify_one();
                        }
                    }
                });
                UnderWay { looking, setup: setup.clone() }
            });
        }
        let next = due.values().min().map_or(LONGEST_PAUSE, |due| due.saturating_duration_since(Instant::now()));
        // Deliveries may name further repositories at any time.
        let longest =
            setup.settings.rules.iter().map(|rule| rule.poll).min().unwrap_or(LONGEST_PAUSE).min(LONGEST_PAUSE);
        tokio::select! {
            () = tokio::time::sleep(next.min(longest).max(SHORTEST_PAUSE)) => {}
            () = found.notified() => {}
            Some((target, at)) = sooner.recv() => {
                due.entry(target).and_modify(|due| *due = at.min(*due));
            }
            () = app.reloaded() => {
                catalogs.wake();
                due.clear();
            }
            () = stop.cancelled() => return,
        }
    }
}

/// What there is to look at, and how often.
async fn polls(app: &App, setup: &Setup, catalogs: &Catalogs) -> BTreeMap<Target, Duration> {
    let mut repositories = repositories(app, setup).await;
    repositories.extend(catalogs.repositories(&setup.settings));
    app.metrics.watched(&repositories);
    let poll = |repository: Repository| {
        let rules = setup.settings.rules_for(&repository);
        let (poll, audit) = (rules.clone().map(|rule| rule.poll).min(), rules.map(|rule| rule.audit).min());
        [(Target::Repository(repository.clone()), poll), (Target::Audit(repository), audit)]
    };
    let repositories = repositories.into_iter().flat_map(poll).filter_map(|(target, poll)| Some((target, poll?)));
    let lists = catalog::polls(&setup.settings).into_iter().filter(|(host, _)| !catalogs.rests(host));
    let lists = lists.map(|(host, poll)| (Target::Catalog(host), poll));
    repositories.chain(lists).collect()
}

/// The repositories that rules name, and those that deliveries named for rules with wildcards.
async fn repositories(app: &App, setup: &Setup) -> BTreeSet<Repository> {
    let mut repositories: BTreeSet<Repository> = setup.settings.rules.iter().filter_map(Rule::repository).collect();
    match app.store.repositories().await {
        Ok(known) => {
            repositories.extend(known.into_iter().filter(|one| setup.settings.rules_for(one).next().is_some()));
        }
        Err(error) => tracing::error!("The known repositories cannot be read: {error}"),
    }
    repositories
}

/// Reads a registry's list of repositories; if another process does, takes what that one was told.
async fn list(app: &App, setup: &Setup, catalogs: &Catalogs, host: &Host, poll: Duration) {
    let name = together::work_at(&setup.settings, host);
    loop {
        match app.store.take_turn("catalog", &name, poll.min(LONGEST_SCAN)).await {
            Ok(Turn::Mine) => break,
            Ok(Turn::Others(TurnDone { result: Some(told), .. })) => {
                return catalogs.keep_told(app, setup, host, &told);
            }
            // It may take a while.
            Ok(Turn::Others(_) | Turn::UnderWay { .. }) => tokio::time::sleep(NEXT_LOOK).await,
            Err(error) => return tracing::error!("The repositories of `{host}` are not listed: {error}"),
        }
    }
    if let Some(told) = catalogs.read(app, setup, host).await
        && let Err(error) = app.store.end_turn("catalog", &name, poll.mul_f64(0.8), Some(told)).await
    {
        tracing::warn!("Another process may list the repositories of `{host}` again: {error}");
    }
}

/// Audits a repository, if no other process does.
async fn audited(app: Arc<App>, setup: Arc<Setup>, repository: Repository, poll: Duration) {
    let name = together::work_on(&setup.settings, &repository);
    match app.store.take_turn("audit", &name, poll.mul_f64(0.8)).await {
        Ok(Turn::Mine) => audit::run(app, setup, repository).await,
        Ok(Turn::Others(_) | Turn::UnderWay { .. }) => {}
        Err(error) => tracing::error!("`{repository}` is not audited: {error}"),
    }
}

/// Scans a repository, if no other process does. Returns after how long to ask again, where that is
/// earlier than usual: whoever scans it may end before the scan does.
#[tracing::instrument(skip_all, fields(%repository))]
async fn scan(app: &App, setup: &Setup, repository: &Repository, poll: Duration) -> Option<Duration> {
    let name = together::work_on(&setup.settings, repository);
    match app.store.take_turn("scan", &name, poll.min(LONGEST_SCAN)).await {
        Ok(Turn::Mine) => {}
        Ok(Turn::Others(done)) => {
            app.metrics.scanned(repository, done.ago);
            return None;
        }
        Ok(Turn::UnderWay { for_another, before }) => {
            before.iter().for_each(|done| app.metrics.scanned(repository, done.ago));
            return Some(for_another);
        }
        Err(error) => {
            tracing::error!("`{repository}` is not scanned: {error}");
            return None;
        }
    }
    if look(app, setup, repository).await {
        app.metrics.scanned(repository, Duration::ZERO);
        // A little earlier than this process will ask again.
        if let Err(error) = app.store.end_turn("scan", &name, poll.mul_f64(0.8), None).await {
            tracing::warn!("Another process may scan `{repository}` again: {error}");
        }
    }
    None
}

/// Lists a repository's tags and wakes the plain tags that they are for. False: it could not be done.
async fn look(app: &App, setup: &Setup, repository: &Repository) -> bool {
    let Some(registry) = setup.registry(repository.host()) else {
        return false;
    };
    let tags = match registry.tags(repository).await {
        Ok(tags) => tags,
        Err(error) => {
            app.metrics.scan_failed(repository.host());
            tracing::warn!("`{repository}` could not be scanned: {}", with_causes(&error));
            return false;
        }
    };
    let versions: BTreeMap<Tag, &Rule> = tags
        .iter()
        .filter_map(|tag| setup.settings.source(repository, tag))
        .map(|(rule, arch_tag)| (arch_tag.version, rule))
        .collect();
    tracing::debug!(tags = tags.len(), versions = versions.len(), "Scanned `{repository}`");
    share(setup, repository, versions.keys(), &tags);
    let wakes: Vec<Wake> = versions.iter().map(|(tag, rule)| wake(repository, tag.clone(), rule)).collect();
    for some in wakes.chunks(500) {
        if let Err(error) = app.store.accept(some.to_vec()).await {
            tracing::error!("What the scan of `{repository}` found could not be stored: {error}");
            return false;
        }
    }
    // It is what the wake-ups were made of.
    share(setup, repository, versions.keys(), &tags);
    true
}

/// Gives what was listed to those who will look at the tags, so that nobody lists them again.
fn share<'t>(setup: &Setup, repository: &Repository, versions: impl Iterator<Item = &'t Tag>, tags: &[Tag]) {
    let mut known: Vec<*const Publisher> = Vec::new();
    for (_, publisher) in versions.filter_map(|version| setup.publisher(repository, version)) {
        if !known.contains(&Arc::as_ptr(&publisher)) {
            known.push(Arc::as_ptr(&publisher));
            publisher.lookout.take_listing(tags);
        }
    }
}

/// A scan may come in the middle of a build as well, so it lets the quiet time pass.
fn wake(repository: &Repository, tag: Tag, rule: &Rule) -> Wake {
    let quiet = if rule.policy.required.is_empty() { rule.quiet } else { Duration::ZERO };
    let repository = repository.clone();
    Wake { repository, tag, trigger: Trigger::Scan, quiet, longest: LONGEST_QUIET, hint: None, event_id: None }
}

/// A tenth more or less, so that many repositories do not come due together for ever.
fn jittered(poll: Duration) -> Duration {
    poll.mul_f64(0.9 + 0.2 * fastrand::f64())
}
