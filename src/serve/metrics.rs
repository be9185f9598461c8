//! What the service counts and measures, for Prometheus (OpenMetrics text).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::model::{Host, Repository};
use crate::registry::{Observed, Observer};
use crate::store::{Counts, End, Entry, Overview};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Delivery {
    hook: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Job {
    end: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Decision {
    decision: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfRepository {
    repository: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfState {
    repository: String,
    state: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfCode {
    code: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Request {
    registry: String,
    status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfRegistry {
    registry: String,
}

/// Counters and gauges of one process, and of all that share its database.
pub(super) struct Metrics {
    /// Of this process.
    here: Registry,
    /// Of all.
    whole: Registry,
    deliveries: Family<Delivery, Counter>,
    jobs: Family<Job, Counter>,
    decisions: Family<Decision, Counter>,
    requests: Family<Request, Counter>,
    waited: Family<OfRegistry, Counter<f64, std::sync::atomic::AtomicU64>>,
    scan_failures: Family<OfRegistry, Counter>,
    catalogs: Family<OfRegistry, Gauge>,
    audit_failures: Family<OfRegistry, Counter>,
    problems: Family<OfCode, Counter>,
    versions: Family<OfState, Gauge>,
    notices: Family<Outcome, Counter>,
    panics: Counter,
    reload_failures: Counter,
    latency: Histogram,
    waiting: Gauge,
    running: Gauge,
    failing: Gauge,
    held: Gauge,
    parked: Gauge,
    quarantined: Gauge,
    oldest: Seconds,
    answers: Gauge,
    staleness: Family<OfRepository, Seconds>,
    /// When each repository was last scanned; when it was first to be, where it never was.
    scanned: Mutex<BTreeMap<Repository, Instant>>,
}

type Seconds = Gauge<f64, std::sync::atomic::AtomicU64>;

/// From a loopback registry to one that is rate-limited, in seconds.
const LATENCIES: [f64; 12] = [0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0];

impl Metrics {
    pub(super) fn new() -> Metrics {
        let mut metrics = Metrics {
            here: Registry::with_prefix("onetag"),
            whole: Registry::with_prefix("onetag"),
            deliveries: Family::default(),
            jobs: Family::default(),
            decisions: Family::default(),
            requests: Family::default(),
            waited: Family::default(),
            scan_failures: Family::default(),
            catalogs: Family::default(),
            audit_failures: Family::default(),
            problems: Family::default(),
            versions: Family::default(),
            notices: Family::default(),
            panics: Counter::default(),
            reload_failures: Counter::default(),
            latency: Histogram::new(LATENCIES),
            waiting: Gauge::default(),
            running: Gauge::default(),
            failing: Gauge::default(),
            held: Gauge::default(),
            parked: Gauge::default(),
            quarantined: Gauge::default(),
            oldest: Gauge::default(),
            answers: Gauge::default(),
            staleness: Family::default(),
            scanned: Mutex::default(),
        };
        metrics.register();
        metrics
    }

    /// Each says whether it is of this process or of all that share its database.
    fn register(&mut self) {
        self.register_here();
        self.register_whole();
    }

    fn register_here(&mut self) {
        let to = &mut self.here;
        to.register("deliveries", "Deliveries by hook and outcome, here", self.deliveries.clone());
        to.register("jobs_ended", "Runs of jobs by how they ended, here", self.jobs.clone());
        to.register("decisions", "Journal entries by decision, here", self.decisions.clone());
        to.register(
            "registry_requests",
            "Requests by registry and status; 0 is no answer, here",
            self.requests.clone(),
        );
        to.register_with_unit(
            "rate_limit_wait",
            "Time that requests waited for the rate limit, here",
            Unit::Seconds,
            self.waited.clone(),
        );
        to.register(
            "scan_failures",
            "Scans that could not list a repository, or a registry's repositories, here",
            self.scan_failures.clone(),
        );
        let catalogs = "Whether registries list their repositories for rules with wildcards: 1 or 0, here";
        to.register("catalog_listed", catalogs, self.catalogs.clone());
        to.register("audit_failures", "Audits that came to no end, here", self.audit_failures.clone());
        to.register("problems_found", "New problems that audits found, by code, here", self.problems.clone());
        to.register("notices", "Notices sent onwards by outcome, here", self.notices.clone());
        to.register("panics", "Jobs that panicked, here", self.panics.clone());
        to.register("reload_failures", "Reloads refused because of the file, here", self.reload_failures.clone());
        to.register_with_unit(
            "publish_latency",
            "From the first news of a push to the published tag, here",
            Unit::Seconds,
            self.latency.clone(),
        );
        let staleness = "How long ago each repository was last scanned successfully, by any replica";
        to.register_with_unit("scan_staleness", staleness, Unit::Seconds, self.staleness.clone());
        to.register("database_answers", "Whether the database told what is of all: 1 or 0, here", self.answers.clone());
    }

    fn register_whole(&mut self) {
        let to = &mut self.whole;
        to.register("versions", "Plain tags by how they were last found, for all replicas", self.versions.clone());
        to.register("jobs_waiting", "Plain tags that wait to be looked at, for all replicas", self.waiting.clone());
        to.register("jobs_running", "Plain tags that are being looked at, for all replicas", self.running.clone());
        to.register(
            "tags_failing",
            "Plain tags whose last run failed and is to be tried again, for all replicas",
            self.failing.clone(),
        );
        to.register("tags_held", "Plain tags that policy or verification holds, for all replicas", self.held.clone());
        to.register(
            "tags_parked",
            "Plain tags that were given up until something changes, for all replicas",
            self.parked.clone(),
        );
        to.register(
            "deliveries_quarantined",
            "Deliveries kept because they could not be used, for all replicas",
            self.quarantined.clone(),
        );
        to.register_with_unit(
            "oldest_waiting",
            "How long the oldest unanswered wake-up has been waiting, for all replicas",
            Unit::Seconds,
            self.oldest.clone(),
        );
    }

    /// Counts a registry's answers.
    pub(super) fn observer(&self, host: &Host) -> Observer {
        let (requests, registry) = (self.requests.clone(), host.to_string());
        let waited = self.waited.clone();
        Observer::new(Arc::new(move |observed| {
            let registry = registry.clone();
            match observed {
                Observed::Answer(status) => {
                    requests.get_or_create(&Request { registry, status }).inc();
                }
                Observed::Waited(wait) => {
                    waited.get_or_create(&OfRegistry { registry }).inc_by(wait.as_secs_f64());
                }
            }
        }))
    }

    pub(super) fn delivered(&self, hook: &str, outcome: &'static str) {
        self.deliveries.get_or_create(&Delivery { hook: hook.to_owned(), outcome }).inc();
    }

    pub(super) fn job_ended(&self, end: &End, entry: Option<&Entry>) {
        let end = match end {
            End::Done => "done",
            End::Wait { .. } => "waiting",
            End::Retry { .. } => "retry",
            End::Held { .. } => "held",
            End::Parked { .. } => "parked",
        };
        self.jobs.get_or_create(&Job { end }).inc();
        if let Some(entry) = entry {
            self.decisions.get_or_create(&Decision { decision: entry.act.code().to_owned() }).inc();
        }
    }

    pub(super) fn published_after(&self, latency: Duration) {
        self.latency.observe(latency.as_secs_f64());
    }

    pub(super) fn scan_failed(&self, host: &Host) {
        self.scan_failures.get_or_create(&OfRegistry { registry: host.to_string() }).inc();
    }

    /// Whether a registry lists its repositories.
    pub(super) fn catalog(&self, host: &Host, is_listed: bool) {
        self.catalogs.get_or_create(&OfRegistry { registry: host.to_string() }).set(i64::from(is_listed));
    }

    pub(super) fn audit_failed(&self, host: &Host) {
        self.audit_failures.get_or_create(&OfRegistry { registry: host.to_string() }).inc();
    }

    pub(super) fn problem_found(&self, code: &str) {
        self.problems.get_or_create(&OfCode { code: code.to_owned() }).inc();
    }

    /// These repositories are to be scanned, and no others.
    pub(super) fn watched(&self, repositories: &BTreeSet<Repository>) {
        let mut scanned = self.scanned.lock().expect("no panic happens while it is held");
        scanned.retain(|repository, _| {
            let is_watched = repositories.contains(repository);
            if !is_watched {
                self.staleness.remove(&OfRepository { repository: repository.to_string() });
            }
            is_watched
        });
        for repository in repositories {
            scanned.entry(repository.clone()).or_insert_with(Instant::now);
        }
    }

    /// A repository was scanned this long ago, by this process or another.
    pub(super) fn scanned(&self, repository: &Repository, ago: Duration) {
        let mut scanned = self.scanned.lock().expect("no panic happens while it is held");
        if let Some(at) = scanned.get_mut(repository) {
            *at = Instant::now().checked_sub(ago).unwrap_or(*at);
        }
    }

    pub(super) fn told(&self, outcome: &'static str) {
        self.notices.get_or_create(&Outcome { outcome }).inc();
    }

    pub(super) fn panicked(&self) {
        self.panics.inc();
    }

    pub(super) fn reload_failed(&self) {
        self.reload_failures.inc();
    }

    /// All of it as text, with the store's counts as they are now; without what is of all where the store
    /// does not tell: what this process did is of interest just then.
    pub(super) fn text(&self, whole: Option<(Counts, Vec<Overview>)>) -> String {
        // Held to the end: of two who ask at one time neither is to find what the other cleared.
        let scanned = self.scanned.lock().expect("no panic happens while it is held");
        for (repository, at) in scanned.iter() {
            let labels = OfRepository { repository: repository.to_string() };
            self.staleness.get_or_create(&labels).set(at.elapsed().as_secs_f64());
        }
        self.answers.set(i64::from(whole.is_some()));
        let mut text = String::new();
        let mut encoded = encode_registry(&mut text, &self.here);
        if let Some((counts, overview)) = whole {
            self.set_whole(&counts, &overview);
            encoded = encoded.and_then(|()| encode_registry(&mut text, &self.whole));
        }
        encoded.and_then(|()| encode_eof(&mut text)).expect("writing to a string cannot fail");
        text
    }

    fn set_whole(&self, counts: &Counts, overview: &[Overview]) {
        self.versions.clear();
        for (overview, (state, count)) in overview.iter().flat_map(|it| it.tally.states.iter().map(move |s| (it, s))) {
            let labels = OfState { repository: overview.repository.to_string(), state: state.clone() };
            self.versions.get_or_create(&labels).set(i64::try_from(*count).unwrap_or(i64::MAX));
        }
        let set = |gauge: &Gauge, count: u64| gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        set(&self.waiting, counts.waiting);
        set(&self.running, counts.running);
        set(&self.failing, counts.failing);
        set(&self.held, counts.held);
        set(&self.parked, counts.parked);
        set(&self.quarantined, counts.quarantined);
        self.oldest.set(counts.oldest_waiting.unwrap_or_default().as_secs_f64());
    }
}
