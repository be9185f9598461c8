//! The store on PostgreSQL, for several processes: every statement, and how transactions are done.
//!
//! Nothing is asked of a session, so a pooler may stand between: each statement is sent in a
//! transaction and prepared in it, leases are rows, and what is heard by `LISTEN` is only a reason
//! to look sooner.

/// The server's clock, in milliseconds since 1970, as it is when a statement reads it.
macro_rules! now {
    () => {
        "(SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint)"
    };
}

/// A job's generation that nobody had before and nobody can foresee.
///
/// A server that takes over without the latest commits gives the same row again; one that counted on
/// from the row's last generation would give the same fence again, too.
macro_rules! generation {
    () => {
        "floor(random() * 4503599627370496)::bigint"
    };
}

mod connections;
mod ends;
mod facts;
mod history;
mod jobs;
mod news;
mod options;
mod pace;
mod pgpass;
mod pooler;
mod runs;
mod schema;
mod versions;
mod wakes;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::postgres::PgArguments;
use sqlx::{PgConnection, Postgres, Row as _};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::{Instant, timeout_at};

use self::connections::{Connections, code, is_about_connection, is_useless, may_pass};
use super::StoreError;
use super::address::Address;
use super::delivery::{DELIVERY_TIME, Delivery, QUEUE, Unusable, WAKES_UNDER_WAY, What};
use super::inbox::Wake;

/// How long a server that restarts or fails over is waited for.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long to wait before trying again; a server that is gone answers at once.
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How many connections are used to read at one time, of all that there may be: however slowly lists are
/// read, deliveries are stored and leases kept.
const READERS: usize = 5;

/// Whatever the server's settings are: a commit is on stable storage (on a standby too, where the
/// server is set so), nobody waits long for a lock, and a process that is stopped in the middle
/// of a transaction does not hold others up.
const BEGIN: &str = "BEGIN;
    SELECT set_config('lock_timeout', '1500ms', true), set_config('statement_timeout', '10s', true),
           set_config('idle_in_transaction_session_timeout', '1500ms', true),
           set_config('synchronous_commit', replace(replace(current_setting('synchronous_commit'), 'off', 'on'), 'local', 'on'), true)";
/// A statement for which nobody waits any more does not go on.
const BEGIN_READING: &str = "BEGIN READ ONLY; SELECT set_config('statement_timeout', '5s', true)";

/// How long work may be tried, and how long the last try may take.
#[derive(Clone, Copy)]
struct Patience {
    /// No try begins later.
    begins_by: Instant,
    /// A try that goes on longer is given up.
    ends_by: Instant,
}

/// The name of the transaction, to ask by what came of it.
const TRANSACTION: &str = "SELECT pg_current_xact_id()::text AS transaction";

/// One server's database, in use.
#[derive(Clone, Debug)]
pub(super) struct Database {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    connections: Connections,
    orders: mpsc::Sender<Order>,
    endings: mpsc::Sender<ends::Ending>,
    wakes_under_way: Semaphore,
    readers: Semaphore,
    changed: watch::Sender<()>,
    news: news::News,
    /// Why nothing may be written any more, if so.
    outdated: std::sync::OnceLock<StoreError>,
}

/// What the task that stores deliveries is asked to do.
enum Order {
    Deliver(Delivery),
    /// Finish what was ordered before, and say so.
    Close(oneshot::Sender<()>),
}

/// How a transaction went that did not end well.
enum Broken {
    /// Nothing of it was done.
    Undone(sqlx::Error),
    /// The connection was lost when everything was done but for the commit's answer. The transaction's
    /// name is known if its work named it.
    Unknown(Option<String>, sqlx::Error),
}

/// What is done in a transaction; it may name the transaction.
type Work<'w> = dyn for<'c> Fn(&'c mut PgConnection) -> BoxFuture<'c, sqlx::Result<Option<String>>> + Sync + 'w;

/// A statement that is prepared for its transaction only.
fn query(sql: &'static str) -> sqlx::query::Query<'static, Postgres, PgArguments> {
    sqlx::query(sql).persistent(false)
}

impl Database {
    pub(super) async fn open(address: &Address) -> Result<Database, StoreError> {
        let connections = Connections::new(address)?;
        let (orders, received) = mpsc::channel(QUEUE);
        let (endings, ended) = mpsc::channel(QUEUE);
        let shared = Shared {
            connections,
            orders,
            endings,
            wakes_under_way: Semaphore::new(WAKES_UNDER_WAY as usize),
            readers: Semaphore::new(READERS),
            changed: watch::Sender::new(()),
            news: news::News::default(),
            outdated: std::sync::OnceLock::new(),
        };
        let database = Database { shared: Arc::new(shared) };
        database.check_server().await?;
        database.migrate().await?;
        database.assert_writable().await?;
        tokio::spawn(wakes::run(Arc::downgrade(&database.shared), received));
        tokio::spawn(ends::run(Arc::downgrade(&database.shared), ended));
        news::start(&database.shared);
        Ok(database)
    }

    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.shared.changed.subscribe()
    }

    pub(super) async fn close(&self) {
        let (answer, closed) = oneshot::channel();
        if self.shared.orders.send(Order::Close(answer)).await.is_ok() {
            let _ = closed.await;
        }
        self.shared.news.stop();
        self.shared.connections.close().await;
    }

    pub(super) async fn accept(&self, wakes: Vec<Wake>) -> Result<(), StoreError> {
        let count = u32::try_from(wakes.len()).unwrap_or(u32::MAX).min(WAKES_UNDER_WAY);
        let stored = async {
            let _room = self.shared.wakes_under_way.acquire_many(count).await.map_err(|_| StoreError::Closed)?;
            self.deliver(What::Wakes(wakes)).await
        };
        tokio::time::timeout(DELIVERY_TIME, stored).await.unwrap_or(Err(StoreError::Slow))
    }

    pub(super) async fn quarantine(&self, hook: &str, reason: &str, body: &[u8]) -> Result<(), StoreError> {
        let unusable = What::Unusable(Unusable::new(hook, reason, body));
        tokio::time::timeout(DELIVERY_TIME, self.deliver(unusable)).await.unwrap_or(Err(StoreError::Slow))
    }

    pub(super) async fn assert_writable(&self) -> Result<(), StoreError> {
        let until = Instant::now() + DELIVERY_TIME;
        self.write_until(until, "store anything", |db| Box::pin(facts::write_anything(db))).await
    }

    /// Hands a delivery to the task that stores them and waits for its commit.
    async fn deliver(&self, what: What) -> Result<(), StoreError> {
        let (answer, stored) = oneshot::channel();
        let order = Order::Deliver(Delivery { what, answer });
        self.shared.orders.send(order).await.map_err(|_| StoreError::Closed)?;
        stored.await.unwrap_or(Err(StoreError::Closed))
    }

    fn name(&self) -> String {
        self.shared.connections.name.clone()
    }

    /// Tells this process and the others that something changed.
    fn tell(&self) {
        self.shared.changed.send_replace(());
        self.shared.news.ring();
    }

    /// Reads in a transaction, again if that may help.
    async fn read<T: Send + 'static>(
        &self,
        request: &'static str,
        work: impl for<'c> Fn(&'c mut PgConnection) -> BoxFuture<'c, sqlx::Result<T>> + Sync,
    ) -> Result<T, StoreError> {
        let slot = Arc::new(Mutex::new(None));
        let until = Instant::now() + PATIENCE / 3;
        let Ok(reader) = timeout_at(until, self.shared.readers.acquire()).await else {
            return Err(StoreError::Slow);
        };
        let _reader = reader.map_err(|_| StoreError::Closed)?;
        self.run(BEGIN_READING, until.into(), request, &|db| kept(slot.clone(), unnamed(work(db)))).await?;
        Ok(taken(&slot))
    }

    /// Does `work` in a transaction, again if that may help: doing it twice must be as good as once.
    async fn write<T: Send + 'static>(
        &self,
        request: &'static str,
        work: impl for<'c> Fn(&'c mut PgConnection) -> BoxFuture<'c, sqlx::Result<T>> + Sync,
    ) -> Result<T, StoreError> {
        self.write_until(Instant::now() + PATIENCE, request, work).await
    }

    async fn write_until<T: Send + 'static>(
        &self,
        until: Instant,
        request: &'static str,
        work: impl for<'c> Fn(&'c mut PgConnection) -> BoxFuture<'c, sqlx::Result<T>> + Sync,
    ) -> Result<T, StoreError> {
        let slot = Arc::new(Mutex::new(None));
        self.run(BEGIN, until.into(), request, &|db| kept(slot.clone(), unnamed(work(db)))).await?;
        Ok(taken(&slot))
    }

    /// Does `work`, which names its transaction, just once: if the connection is lost at the commit,
    /// the server is asked what came of it.
    async fn write_once<T: Send + 'static>(
        &self,
        until: Instant,
        request: &'static str,
        work: impl for<'c> Fn(&'c mut PgConnection) -> BoxFuture<'c, sqlx::Result<(T, Option<String>)>> + Sync,
    ) -> Result<T, StoreError> {
        let slot = Arc::new(Mutex::new(None));
        self.run(BEGIN, until.into(), request, &|db| kept(slot.clone(), work(db))).await?;
        Ok(taken(&slot))
    }

    /// Does `work` in a transaction until that is known to be committed, or there is no use in trying.
    async fn run(
        &self,
        begin: &'static str,
        patience: Patience,
        request: &'static str,
        work: &Work<'_>,
    ) -> Result<(), StoreError> {
        let mut pause = PAUSE;
        loop {
            if let Some(outdated) = self.shared.outdated.get() {
                return Err(outdated.clone());
            }
            let Ok(done) = timeout_at(patience.ends_by, self.transaction(begin, work)).await else {
                return Err(StoreError::Slow);
            };
            let error = match done {
                Ok(()) => return Ok(()),
                Err(Broken::Unknown(Some(transaction), error)) => {
                    match timeout_at(patience.ends_by, self.is_committed(&transaction)).await {
                        Ok(true) => return Ok(()),
                        Ok(false) => error,
                        Err(_) => return Err(self.shared.connections.failure(request, error)),
                    }
                }
                Err(Broken::Undone(error) | Broken::Unknown(None, error)) => error,
            };
            if is_useless(&error) {
                self.shared.connections.forget_idle();
            }
            if !may_pass(&error) || Instant::now() + pause >= patience.begins_by {
                return Err(self.shared.connections.failure(request, error));
            }
            tracing::debug!("Trying again to {request}: {error}");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// One transaction on a connection of its own.
    async fn transaction(&self, begin: &'static str, work: &Work<'_>) -> Result<(), Broken> {
        let mut lent = self.shared.connections.lend().await.map_err(Broken::Undone)?;
        let begun = async {
            sqlx::raw_sql(begin).execute(&mut lent.connection).await?;
            work(&mut lent.connection).await
        };
        let transaction = match begun.await {
            Ok(transaction) => transaction,
            Err(error) => {
                let is_alive = !is_useless(&error);
                if is_alive && sqlx::raw_sql("ROLLBACK").execute(&mut lent.connection).await.is_ok() {
                    lent.give_back();
                }
                return Err(Broken::Undone(error));
            }
        };
        match sqlx::raw_sql("COMMIT").execute(&mut lent.connection).await {
            Ok(_) => {
                lent.give_back();
                Ok(())
            }
            Err(error) if is_about_connection(&error) => Err(Broken::Unknown(transaction, error)),
            Err(error) => Err(Broken::Undone(error)),
        }
    }

    /// Whether a transaction was committed, however long the server takes to say.
    async fn is_committed(&self, transaction: &str) -> bool {
        let slot = Arc::new(Mutex::new(None));
        loop {
            let asked = self
                .transaction(BEGIN_READING, &|db| {
                    let status = query("SELECT pg_xact_status($1::xid8) AS status").bind(transaction.to_owned());
                    let status = async move { status.fetch_one(db).await?.try_get::<Option<String>, _>("status") };
                    kept(slot.clone(), unnamed(status))
                })
                .await;
            match asked {
                Ok(()) => match taken(&slot).as_deref() {
                    Some("committed") => return true,
                    Some("in progress") => {}
                    _ => return false,
                },
                Err(Broken::Undone(error) | Broken::Unknown(_, error)) if may_pass(&error) || took_too_long(&error) => {
                }
                // The server that knew of it is gone, and its number with it.
                Err(_) => return false,
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

impl From<Instant> for Patience {
    fn from(until: Instant) -> Patience {
        Patience { begins_by: until, ends_by: until }
    }
}

/// Whether the server broke a statement off after the time that was set for it.
fn took_too_long(error: &sqlx::Error) -> bool {
    code(error).is_some_and(|code| code == "57014")
}

/// Work that does not name its transaction.
async fn unnamed<T>(work: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<(T, Option<String>)> {
    Ok((work.await?, None))
}

/// Where the last try leaves what it found.
type Slot<T> = Arc<Mutex<Option<T>>>;

/// Does the work and leaves what it found, so that all else is the same code for all kinds of work.
fn kept<'c, T: Send + 'static>(
    slot: Slot<T>,
    work: impl Future<Output = sqlx::Result<(T, Option<String>)>> + Send + 'c,
) -> BoxFuture<'c, sqlx::Result<Option<String>>> {
    Box::pin(async move {
        let (value, transaction) = work.await?;
        *slot.lock().expect("nothing panics while it holds what was found") = Some(value);
        Ok(transaction)
    })
}

fn taken<T>(slot: &Slot<T>) -> T {
    let mut slot = slot.lock().expect("nothing panics while it holds what was found");
    slot.take().expect("a transaction that was committed has done its work")
}
