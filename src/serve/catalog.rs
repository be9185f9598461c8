//! Catalogs: which repositories there are for rules with wildcards, as far as registries tell.
//!
//! Without them such rules know what deliveries named. Many registries list their repositories for
//! nobody, or not for us: that is told once, and asked again rarely.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::App;
use super::settings::Settings;
use super::setup::Setup;
use crate::model::text::with_causes;
use crate::model::{Host, Repository};

/// How long a registry is not asked again that does not list its repositories.
const REST: Duration = Duration::from_secs(24 * 60 * 60);
/// The most repositories of one registry that are followed because it listed them.
const MOST_FOLLOWED: usize = 10_000;

/// What each registry listed.
#[derive(Default)]
pub(super) struct Catalogs {
    known: Mutex<BTreeMap<Host, Catalog>>,
}

#[derive(Default)]
struct Catalog {
    repositories: BTreeSet<Repository>,
    /// Since when it is known not to list any.
    refused_at: Option<Instant>,
}

/// How often each registry is asked that a rule with a wildcard is about.
pub(super) fn polls(settings: &Settings) -> BTreeMap<Host, Duration> {
    let mut polls: BTreeMap<Host, Duration> = BTreeMap::new();
    for rule in settings.rules.iter().filter(|rule| rule.name.literal().is_none()) {
        let poll = polls.entry(rule.host.clone()).or_insert(rule.poll);
        *poll = rule.poll.min(*poll);
    }
    polls
}

impl Catalogs {
    /// The repositories that were listed, and that a rule is about.
    pub(super) fn repositories(&self, settings: &Settings) -> BTreeSet<Repository> {
        let known = self.known.lock().expect("no panic happens while it is held");
        let listed = known.values().flat_map(|catalog| &catalog.repositories);
        listed.filter(|listed| settings.rules_for(listed).next().is_some()).cloned().collect()
    }

    /// Whether asking this registry is of no use for now.
    pub(super) fn rests(&self, host: &Host) -> bool {
        let known = self.known.lock().expect("no panic happens while it is held");
        known.get(host).and_then(|catalog| catalog.refused_at).is_some_and(|at| at.elapsed() < REST)
    }

    /// Lets every registry be asked again: logins may have changed.
    pub(super) fn wake(&self) {
        let mut known = self.known.lock().expect("no panic happens while it is held");
        known.values_mut().for_each(|catalog| catalog.refused_at = None);
    }

    /// Asks a registry, remembers what it said, and returns it for others to keep. None: it may answer
    /// later.
    pub(super) async fn read(&self, app: &App, setup: &Setup, host: &Host) -> Option<String> {
        let listing = match setup.registry(host)?.repositories().await {
            Ok(listed) => Some(followed(setup, host, listed)),
            Err(error) if error.may_pass() => {
                app.metrics.scan_failed(host);
                tracing::warn!("The repositories of `{host}` could not be listed: {}", with_causes(&error));
                return None;
            }
            Err(error) => {
                if !self.is_refused_by(host) {
                    let why = with_causes(&error);
                    tracing::warn!("Rules with wildcards know of `{host}` what deliveries name, and no more: {why}");
                }
                None
            }
        };
        self.keep(app, host, listing.clone());
        let names = listing.map(|listing| listing.iter().map(Repository::to_string).collect::<Vec<_>>());
        Some(serde_json::to_string(&names).expect("names are JSON"))
    }

    /// Remembers what another process was told by a registry.
    pub(super) fn keep_told(&self, app: &App, setup: &Setup, host: &Host, told: &str) {
        // What cannot be read was written by another version of this program.
        let Ok(names) = serde_json::from_str::<Option<Vec<String>>>(told) else { return };
        let parsed = |names: Vec<String>| names.iter().filter_map(|name| name.parse().ok()).collect();
        self.keep(app, host, names.map(|names| followed(setup, host, parsed(names))));
    }

    /// None: it lists none.
    fn keep(&self, app: &App, host: &Host, listing: Option<BTreeSet<Repository>>) {
        app.metrics.catalog(host, listing.is_some());
        let refused_at = listing.is_none().then(Instant::now);
        let catalog = Catalog { repositories: listing.unwrap_or_default(), refused_at };
        self.known.lock().expect("no panic happens while it is held").insert(host.clone(), catalog);
    }

    /// Whether it is known to list none.
    fn is_refused_by(&self, host: &Host) -> bool {
        let known = self.known.lock().expect("no panic happens while it is held");
        known.get(host).is_some_and(|catalog| catalog.refused_at.is_some())
    }
}

/// The listed repositories that a rule is about.
fn followed(setup: &Setup, host: &Host, listed: Vec<Repository>) -> BTreeSet<Repository> {
    let is_ours = |listed: &Repository| setup.settings.rules_for(listed).next().is_some();
    let mut ours: BTreeSet<Repository> = listed.into_iter().filter(is_ours).collect();
    tracing::debug!(repositories = ours.len(), "`{host}` lists its repositories");
    if let Some(first_left) = ours.iter().nth(MOST_FOLLOWED).cloned() {
        tracing::warn!("`{host}` lists more than {MOST_FOLLOWED} repositories of ours; so many are scanned");
        ours.split_off(&first_left);
    }
    ours
}
