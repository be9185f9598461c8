//! What the processes on one database do together: they ask a registry no faster than one would, and
//! leave it alone when it asked any of them; what is done once in a while is done by one.

use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::fmt::Display;
use std::hash::{Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::App;
use super::settings::{Rule, Settings};
use crate::model::{Host, Repository};
use crate::registry::{Shared, Together};
use crate::store::{Changed, Store, Turns};

/// How often it is looked which registries want to be left alone.
const QUIET: Duration = Duration::from_secs(1);
/// How far back news are read: what was stored by then may have become visible only now.
const NEWS: Duration = Duration::from_secs(5);
/// How long before it became visible something may have been stored.
const OVERLAP: Duration = Duration::from_secs(2);
/// A wait that others need not know of: it is over before they would.
const SHORT: Duration = Duration::from_secs(1);

/// What this process has in common with the others about a registry; nothing where it is alone.
pub(super) fn about(store: &Store, host: &Host) -> Together {
    match store.is_shared() {
        true => Together::with(Arc::new(Ours { store: store.clone(), host: host.clone() })),
        false => Together::default(),
    }
}

struct Ours {
    store: Store,
    host: Host,
}

impl Shared for Ours {
    fn reserve(&self, count: u32, interval: Duration, burst: Duration) -> BoxFuture<'_, Option<Instant>> {
        Box::pin(async move {
            let slice = match self.store.reserve(&self.host, &Turns { count, interval, burst }).await {
                Ok(slice) => slice?,
                Err(error) => {
                    tracing::warn!("The pace at {} is kept by this process alone: {error}", self.host);
                    return None;
                }
            };
            let now = Instant::now();
            Some(now.checked_sub(slice.late).unwrap_or(now) + slice.first_in)
        })
    }

    fn keep_quiet(&self, wait: Duration) {
        if wait <= SHORT {
            return;
        }
        let (store, host) = (self.store.clone(), self.host.clone());
        tokio::spawn(async move {
            if let Err(error) = store.keep_quiet(&host, wait).await {
                tracing::warn!("Nobody else was told to leave {host} alone: {error}");
            }
        });
    }
}

/// What others did, as far as whoever looks at the page here was told of it.
#[derive(Default)]
struct Heard {
    told: HashSet<Changed>,
    /// When it was last looked; none as long as nobody wanted to know.
    looked_at: Option<Instant>,
}

impl Heard {
    /// Tells what others did since the last time. Where that may not be all, the page is to be read anew.
    async fn go_on(&mut self, app: &App) {
        if !app.live.is_heard() {
            *self = Heard::default();
            return;
        }
        let looked_at = Instant::now();
        let Ok(news) = app.store.changed(NEWS).await else { return };
        let is_late = self.looked_at.is_some_and(|before| looked_at - before > NEWS - OVERLAP);
        if is_late || news.len() >= Store::MOST_CHANGED {
            app.live.tell_of_much();
        } else {
            for change in news.iter().filter(|change| !self.told.contains(*change)) {
                app.live.tell(&change.repository, change.tag.as_str(), change.state.as_deref());
            }
        }
        *self = Heard { told: news.into_iter().collect(), looked_at: Some(looked_at) };
    }
}

/// Leaves registries alone that asked another process, and tells whoever looks at the page what others
/// did, until told to stop.
pub(super) async fn run(app: Arc<App>, stop: CancellationToken) {
    if !app.store.is_shared() {
        return stop.cancelled().await;
    }
    let mut heard = Heard::default();
    while !stop.is_cancelled() {
        // Where nothing can be looked up, nothing can be claimed.
        for (host, wait) in app.store.quiet().await.unwrap_or_default() {
            if let Some(registry) = app.setup().registry(&host) {
                registry.keep_quiet(wait);
            }
        }
        heard.go_on(&app).await;
        tokio::select! {
            () = tokio::time::sleep(QUIET) => {}
            () = stop.cancelled() => {}
        }
    }
}

/// Under which name one process works on a repository for all: those with other rules for it, as while
/// settings are being changed, do it for themselves.
pub(super) fn work_on(settings: &Settings, repository: &Repository) -> String {
    named(repository, settings.rules_for(repository))
}

/// The same of a registry.
pub(super) fn work_at(settings: &Settings, host: &Host) -> String {
    named(host, settings.rules.iter().filter(|rule| rule.host == *host))
}

fn named<'r>(subject: impl Display, rules: impl Iterator<Item = &'r Rule>) -> String {
    let mut hasher = DefaultHasher::new();
    for rule in rules {
        format!("{rule:?}").hash(&mut hasher);
    }
    format!("{subject} {:016x}", hasher.finish())
}
