//! The long-running process: deliveries and scans in, published tags out.
//!
//! A delivery is stored before it is answered; everything else follows from what is stored. Start
//! and recovery are the same path.

mod admin;
mod audit;
mod catalog;
mod facts;
mod gate;
mod google;
mod hooks;
mod lease;
mod live;
mod metrics;
mod notify;
mod page;
mod parts;
mod places;
mod scan;
pub mod settings;
mod setup;
mod shares;
mod together;
mod worker;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use axum::Router;
use axum_server::Handle;
use hyper_util::rt::TokioTimer;
use tokio::sync::{Mutex, Notify, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::model::{Repository, Tag};
use crate::registry::RegistryError;
use crate::store::{Store, StoreError, Trigger, Wake};
use live::Live;
use metrics::Metrics;
use notify::Notice;
use parts::Parts;
use places::Places;
use settings::Settings;
use setup::Setup;
use shares::Shares;

/// How long requests and jobs may take to end once the process was told to stop.
const GRACE: Duration = Duration::from_secs(19);
/// However many scans and pushes follow, a plain tag is looked at this long after the first.
const LONGEST_QUIET: Duration = Duration::from_secs(60);
/// How long a sender may take for its headers, and may be silent between two requests.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the database may take to write what is left at the end.
const CLOSING: Duration = Duration::from_secs(2);
/// How much of bodies that are still to be answered is kept in memory: of senders whose headers prove
/// who they are, and of all others. Of one address it is at most half.
const BODIES_BYTES: usize = 48 * 1024 * 1024;
const BODIES_OF_STRANGERS_BYTES: usize = 16 * 1024 * 1024;

/// What all parts of the service share.
pub(crate) struct App {
    store: Store,
    /// How long a job is nobody else's without a sign of life.
    lease: Duration,
    metrics: Metrics,
    setup: RwLock<Arc<Setup>>,
    reloaded: Notify,
    /// Ends looking and waiting, whatever settings it began with; the next start takes it up again.
    stop: CancellationToken,
    notices: mpsc::Sender<Notice>,
    live: Live,
    /// The bytes of bodies in memory, of senders who are known and of those who are not yet.
    bodies: Shares,
    bodies_of_strangers: Shares,
    /// What operators asked for and must come to its end, whoever still waits for it.
    acts: TaskTracker,
    /// When it was last tried whether something can be stored, and what came of it.
    readiness: Mutex<Option<(Instant, Result<(), StoreError>)>>,
}

impl App {
    fn setup(&self) -> Arc<Setup> {
        self.setup.read().expect("no panic happens while it is held").clone()
    }

    async fn reloaded(&self) {
        self.reloaded.notified().await;
    }

    fn tell(&self, notices: Vec<Notice>) {
        for notice in notices {
            if self.notices.try_send(notice).is_err() {
                self.metrics.told("dropped");
            }
        }
    }
}

/// A wake-up that waits for nothing.
fn wake_now(repository: Repository, tag: Tag, trigger: Trigger) -> Wake {
    let (quiet, longest) = (Duration::ZERO, Duration::ZERO);
    Wake { repository, tag, trigger, quiet, longest, hint: None, event_id: None }
}

/// The service could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A registry's settings cannot be used.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// An address cannot be listened on.
    #[error("{address} cannot be listened on")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// A listener broke.
    #[error("a listener broke")]
    Listener(#[source] io::Error),
    /// A part of the service came to an end by itself: a bug of ours.
    #[error("{0} came to an end by itself, which is a bug of ours")]
    Ended(&'static str),
}

/// A service that holds its database and its ports, and serves when it is run.
pub struct Service {
    app: Arc<App>,
    notices: mpsc::Receiver<Notice>,
    listen: TcpListener,
    admin: TcpListener,
}

impl Service {
    /// Opens the database and both ports; nothing is answered yet.
    ///
    /// # Errors
    ///
    /// [`ServeError`]: which of them cannot be had.
    pub async fn start(settings: Settings) -> Result<Service, ServeError> {
        let metrics = Metrics::new();
        let (listen, admin) = (bind(settings.listen)?, bind(settings.admin)?);
        let store = Store::open(&settings.database).await?;
        let lease = settings.lease;
        let (stop, facts) = (CancellationToken::new(), facts::kept_in(&store));
        let setup = RwLock::new(Arc::new(Setup::new(settings, &metrics, &store, stop.clone(), facts)?));
        let (sender, notices) = notify::queue();
        let app = Arc::new(App {
            store,
            lease,
            metrics,
            setup,
            reloaded: Notify::new(),
            stop,
            notices: sender,
            live: Live::new(places::of_operators() / 2),
            bodies: Shares::new(BODIES_BYTES, BODIES_BYTES / 2),
            bodies_of_strangers: Shares::new(BODIES_OF_STRANGERS_BYTES, BODIES_OF_STRANGERS_BYTES / 2),
            acts: TaskTracker::new(),
            readiness: Mutex::default(),
        });
        Ok(Service { app, notices, listen, admin })
    }

    /// The address that deliveries are taken on.
    pub fn listen(&self) -> io::Result<SocketAddr> {
        self.listen.local_addr()
    }

    /// The address of the page, the API and the metrics.
    pub fn admin(&self) -> io::Result<SocketAddr> {
        self.admin.local_addr()
    }

    /// What replaces the settings of the running service.
    pub fn reloader(&self) -> Reloader {
        Reloader { app: self.app.clone() }
    }

    /// Serves until `stop`, and calls `ready` once both listeners answer.
    ///
    /// At the end no connection is taken any more, jobs that run come to an end, and what is to be
    /// told onwards is told. The leases of jobs that do not end are given back by the next start.
    ///
    /// # Errors
    ///
    /// [`ServeError::Listener`]: a listener broke. [`ServeError::Ended`]: something else did.
    pub async fn run(self, stop: CancellationToken, ready: impl FnOnce()) -> Result<(), ServeError> {
        let Service { app, notices, listen, admin } = self;
        let handles = [Handle::new(), Handle::new()];
        let hooks = listener(listen, hooks::router(app.clone()), handles[0].clone(), Places::for_deliveries());
        let admin = listener(admin, admin::router(app.clone()), handles[1].clone(), Places::for_operators());
        let mut listeners = tokio::spawn(async { tokio::try_join!(hooks, admin) });
        let mut parts = Parts::default();
        parts.start("working off what is due", worker::run(app.clone(), stop.clone()));
        parts.start("what replicas do together", together::run(app.clone(), stop.clone()));
        parts.start("scanning", scan::run(app.clone(), stop.clone()));
        parts.start("forgetting what is old", upkeep(app.clone(), stop.clone()));
        let (mut telling, no_more_notices) = (Parts::default(), CancellationToken::new());
        telling.start("telling onwards", notify::run(app.clone(), notices, no_more_notices.clone()));
        let listening = async {
            futures_util::future::join(handles[0].listening(), handles[1].listening()).await;
            ready();
            std::future::pending().await
        };
        let broken = tokio::select! {
            biased;
            () = stop.cancelled() => Ok(()),
            ended = &mut listeners => {
                let ended = ended.map_err(io::Error::other).and_then(|ended| ended);
                Err(ended.map_or_else(ServeError::Listener, |_| ServeError::Ended("listening")))
            }
            name = parts.first_to_end() => Err(ServeError::Ended(name)),
            name = telling.first_to_end() => Err(ServeError::Ended(name)),
            () = listening => Ok(()),
        };
        tracing::info!("Stopping");
        stop.cancel();
        app.live.end();
        handles.iter().for_each(|handle| handle.graceful_shutdown(Some(Duration::from_secs(5))));
        app.acts.close();
        let ended = async {
            if !listeners.is_finished() {
                let _ = listeners.await;
            }
            parts.all_to_end().await;
            app.acts.wait().await;
        };
        if tokio::time::timeout(GRACE, ended).await.is_err() {
            tracing::warn!("Jobs that did not end in {} s go on after the next start", GRACE.as_secs());
        }
        no_more_notices.cancel();
        telling.all_to_end().await;
        if tokio::time::timeout(CLOSING, app.store.close()).await.is_err() {
            tracing::warn!(
                "The database was not closed in {} s; nothing that was acknowledged is lost",
                CLOSING.as_secs()
            );
        }
        broken
    }
}

/// Replaces the settings of a running service.
pub struct Reloader {
    app: Arc<App>,
}

impl Reloader {
    /// Takes new settings; addresses and the database stay as they are until a restart.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Settings`]: they cannot be used; the old ones stay.
    pub fn replace(&self, settings: Settings) -> Result<(), RegistryError> {
        let (stop, facts) = (self.app.stop.clone(), self.app.setup().facts().clone());
        let setup = Arc::new(Setup::new(settings, &self.app.metrics, &self.app.store, stop, facts)?);
        *self.app.setup.write().expect("no panic happens while it is held") = setup;
        // Kept for a scan that is not waiting just now.
        self.app.reloaded.notify_one();
        Ok(())
    }

    /// Counts a file that could not be used.
    pub fn refused(&self) {
        self.app.metrics.reload_failed();
    }
}

fn bind(address: SocketAddr) -> Result<TcpListener, ServeError> {
    let listen = |source| ServeError::Listen { address, source };
    let listener = TcpListener::bind(address).map_err(listen)?;
    listener.set_nonblocking(true).map_err(listen)?;
    Ok(listener)
}

/// HTTP/1 only: while it is being found out which version a silent client speaks, no time-out counts.
async fn listener(listener: TcpListener, router: Router, handle: Handle<SocketAddr>, places: Places) -> io::Result<()> {
    let mut server = axum_server::from_tcp(listener)?.http1_only().handle(handle).acceptor(places);
    server.http_builder().http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(64 * 1024);
    server.serve(router.into_make_service_with_connect_info::<SocketAddr>()).await
}

/// Forgets what is older than the journal is kept, and what is not served any more.
async fn upkeep(app: Arc<App>, stop: CancellationToken) {
    loop {
        let days = app.setup().settings.journal_days;
        match app.store.forget_before(days).await {
            Ok(0) => {}
            Ok(forgotten) => tracing::info!(forgotten, "Forgot journal entries older than {days} days"),
            Err(error) => tracing::error!("Old journal entries could not be forgotten: {error}"),
        }
        if let Err(error) = audit::forget_unserved(&app).await {
            tracing::error!("What is not served any more could not be forgotten: {error}");
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(3600)) => {}
            () = stop.cancelled() => return,
        }
    }
}
