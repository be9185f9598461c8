//! What the service is set up to do: its settings, with the registries and publishers made of them.
//!
//! A reload makes a new one; jobs that run keep the one they began with.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use tokio_util::sync::CancellationToken;

use super::gate::{Gate, Keyrings};
use super::metrics::Metrics;
use super::settings::{Hook, Rule, Settings};
use crate::look::{Facts, Lookout};
use crate::model::{Host, Repository, Tag};
use crate::publish::{Options, Publisher};
use crate::registry::{Registry, RegistryError};

/// The most repositories whose digests are remembered; the others are read again.
const MOST_PUBLISHERS: usize = 1_000;

/// A hook, and who is let in.
pub(super) struct Door {
    pub(super) hook: Hook,
    pub(super) gate: Gate,
}

/// Settings, and what was made of them.
pub(super) struct Setup {
    pub(super) settings: Settings,
    doors: HashMap<String, Door>,
    registries: BTreeMap<Host, Registry>,
    /// By the rule's place and the repository; they remember what digests are.
    publishers: Mutex<HashMap<(usize, Repository), Arc<Publisher>>>,
    /// What is known about digests, whatever the setup.
    facts: Facts,
    /// Ends looking and waiting, which the next start takes up again.
    stop: CancellationToken,
}

impl Setup {
    /// Makes a client for each registry; nothing is sent.
    pub(super) fn new(settings: Settings, metrics: &Metrics, facts: Facts) -> Result<Setup, RegistryError> {
        let clients = settings.registries.iter().map(|registry| {
            let mut client = registry.client.clone();
            client.observer = metrics.observer(&registry.host);
            client.rate = registry.rate;
            Ok((registry.host.clone(), Registry::new(&registry.host, client)?))
        });
        let registries = clients.collect::<Result<_, RegistryError>>()?;
        let mut keyrings = Keyrings::new();
        let door = |hook: &Hook| {
            let gate = Gate::of(hook, &mut keyrings);
            (hook.name.clone(), Door { gate, hook: hook.clone() })
        };
        let doors = settings.hooks.iter().map(door).collect();
        let (publishers, stop) = (Mutex::default(), CancellationToken::new());
        Ok(Setup { settings, doors, registries, publishers, facts, stop })
    }

    /// Lets every publisher end what is only looking or waiting; what is being written is finished.
    pub(super) fn stop(&self) {
        self.stop.cancel();
    }

    /// The hook of this name.
    pub(super) fn door(&self, name: &str) -> Option<&Door> {
        self.doors.get(name)
    }

    pub(super) fn registry(&self, host: &Host) -> Option<&Registry> {
        self.registries.get(host)
    }

    /// What is known about digests.
    pub(super) fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The rule by which a plain tag is published, and what publishes it; none if no rule does.
    pub(super) fn publisher(&self, repository: &Repository, tag: &Tag) -> Option<(&Rule, Arc<Publisher>)> {
        let rule = self.settings.rule_for(repository, tag)?;
        let number = self.settings.rules.iter().position(|known| std::ptr::eq(known, rule))?;
        let mut publishers = self.publishers.lock().expect("no panic happens while it is held");
        if let Some(known) = publishers.get(&(number, repository.clone())) {
            return Some((rule, known.clone()));
        }
        let registry = self.registry(repository.host())?.clone();
        let lookout = Lookout::new(repository.clone(), rule.pattern.clone(), rule.words.clone(), rule.scope())
            .remembering(self.facts.clone());
        let publisher = Arc::new(Publisher {
            registry,
            lookout,
            policy: rule.policy.clone(),
            options: Options::default(),
            stop: self.stop.clone(),
            progress: Arc::new(|_, _| {}),
        });
        if publishers.len() >= MOST_PUBLISHERS {
            publishers.clear();
        }
        publishers.insert((number, repository.clone()), publisher.clone());
        Some((rule, publisher))
    }
}
