//! Scanning: what no webhook told.
//!
//! Webhooks are a hint and never the truth: senders lose them, and some registries have none. On
//! start and then regularly, every repository's tags are listed and each plain tag is woken like
//! by a webhook; a tag that is right costs a HEAD for each of its images and no write.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::App;
use super::settings::Rule;
use super::setup::Setup;
use crate::model::{Repository, Tag};
use crate::publish::Publisher;
use crate::store::{Trigger, Wake};

/// How long to wait before looking again which scans are due.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// However many scans and pushes follow, a plain tag is looked at this long after the first.
const LONGEST_QUIET: Duration = Duration::from_secs(60);

/// Scans every repository when it is due, until told to stop.
pub(super) async fn run(app: Arc<App>, stop: CancellationToken) {
    let mut due: BTreeMap<Repository, Instant> = BTreeMap::new();
    let mut under_way: HashMap<Repository, JoinHandle<()>> = HashMap::new();
    loop {
        let setup = app.setup();
        let repositories = repositories(&app, &setup).await;
        app.metrics.watched(&repositories);
        under_way.retain(|_, scan| !scan.is_finished());
        due.retain(|repository, _| repositories.contains(repository));
        for repository in repositories {
            let now = Instant::now();
            if due.get(&repository).is_some_and(|due| *due > now) {
                continue;
            }
            let Some(poll) = setup.settings.rules_for(&repository).map(|rule| rule.poll).min() else {
                continue;
            };
            due.insert(repository.clone(), now + jittered(poll));
            // Each on its own, and one at a time: a registry that hangs holds up nobody else's scan.
            under_way
                .entry(repository.clone())
                .or_insert_with(|| tokio::spawn(scan(app.clone(), setup.clone(), repository)));
        }
        let next = due.values().min().map_or(LONGEST_PAUSE, |due| due.saturating_duration_since(Instant::now()));
        // Deliveries may name further repositories at any time.
        let longest =
            setup.settings.rules.iter().map(|rule| rule.poll).min().unwrap_or(LONGEST_PAUSE).min(LONGEST_PAUSE);
        tokio::select! {
            () = tokio::time::sleep(next.min(longest).max(SHORTEST_PAUSE)) => {}
            () = app.reloaded() => due.clear(),
            () = stop.cancelled() => return,
        }
    }
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

#[tracing::instrument(skip_all, fields(%repository))]
async fn scan(app: Arc<App>, setup: Arc<Setup>, repository: Repository) {
    let Some(registry) = setup.registry(repository.host()) else {
        return;
    };
    let tags = match registry.tags(&repository).await {
        Ok(tags) => tags,
        Err(error) => {
            app.metrics.scan_failed(repository.host());
            tracing::warn!("`{repository}` could not be scanned: {error}");
            return;
        }
    };
    let versions: BTreeMap<Tag, &Rule> = tags
        .iter()
        .filter_map(|tag| setup.settings.source(&repository, tag))
        .map(|(rule, arch_tag)| (arch_tag.version, rule))
        .collect();
    tracing::debug!(tags = tags.len(), versions = versions.len(), "Scanned `{repository}`");
    share(&setup, &repository, versions.keys(), &tags);
    let wakes: Vec<Wake> = versions.into_iter().map(|(tag, rule)| wake(&repository, tag, rule)).collect();
    for some in wakes.chunks(500) {
        if let Err(error) = app.store.accept(some.to_vec()).await {
            tracing::error!("What the scan of `{repository}` found could not be stored: {error}");
            return;
        }
    }
    app.metrics.scanned(&repository);
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
