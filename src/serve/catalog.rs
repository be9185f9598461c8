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

    /// Asks a registry, and remembers what it said.
    pub(super) async fn read(&self, app: &App, setup: &Setup, host: &Host) {
        let Some(registry) = setup.registry(host) else {
            return;
        };
        match registry.repositories().await {
            Ok(listed) => {
                let is_ours = |listed: &Repository| setup.settings.rules_for(listed).next().is_some();
                let ours: BTreeSet<Repository> = listed.into_iter().filter(is_ours).take(MOST_FOLLOWED + 1).collect();
                if ours.len() > MOST_FOLLOWED {
                    tracing::warn!(
                        "`{host}` lists more than {MOST_FOLLOWED} repositories of ours; so many are scanned"
                    );
                }
                tracing::debug!(repositories = ours.len(), "Read the list of repositories of `{host}`");
                let repositories = ours.into_iter().take(MOST_FOLLOWED).collect();
                app.metrics.catalog(host, true);
                self.remember(host, Catalog { repositories, refused_at: None });
            }
            Err(error) if error.may_pass() => {
                app.metrics.scan_failed(host);
                tracing::warn!("The repositories of `{host}` could not be listed: {}", with_causes(&error));
            }
            Err(error) => {
                app.metrics.catalog(host, false);
                let refused = Catalog { repositories: BTreeSet::new(), refused_at: Some(Instant::now()) };
                if self.remember(host, refused).is_none_or(|before| before.refused_at.is_none()) {
                    let why = with_causes(&error);
                    tracing::warn!("Rules with wildcards know of `{host}` what deliveries name, and no more: {why}");
                }
            }
        }
    }

    /// Returns what was remembered before.
    fn remember(&self, host: &Host, catalog: Catalog) -> Option<Catalog> {
        self.known.lock().expect("no panic happens while it is held").insert(host.clone(), catalog)
    }
}
