//! Connections to the server: how they are made, lent and given back, and what their errors mean.
//!
//! A connection is lent for one transaction. Whoever does not give it back in order, because
//! something failed, took too long or was broken off, has it closed: nothing of a broken
//! transaction can be left then, and a server that fell silent is not asked twice.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use std::{fmt, io};

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, Row as _};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::super::StoreError;
use super::super::address::Address;
use super::options::Servers;

/// The most connections of one process, beside the one that listens.
const MOST: usize = 8;
/// How long a connection may be made.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a connection is kept that nobody uses; firewalls forget them after some minutes.
const IDLE: Duration = Duration::from_secs(60);

/// The connections of one process.
pub(super) struct Connections {
    /// Without the password: for messages.
    pub(super) name: String,
    servers: Servers,
    /// The server that could be written last.
    primary: AtomicUsize,
    idle: Mutex<Vec<(PgConnection, Instant)>>,
    permits: Semaphore,
}

/// A connection for one transaction.
pub(super) struct Lent<'a> {
    pub(super) connection: PgConnection,
    home: &'a Connections,
    _permit: SemaphorePermit<'a>,
}

impl Connections {
    /// Nothing is connected yet.
    pub(super) fn new(address: &Address) -> Result<Connections, StoreError> {
        let servers = Servers::of(address)?;
        let name = servers.name();
        let (primary, idle, permits) = (AtomicUsize::new(0), Mutex::default(), Semaphore::new(MOST));
        Ok(Connections { name, servers, primary, idle, permits })
    }

    /// A connection that nobody else uses.
    pub(super) async fn lend(&self) -> sqlx::Result<Lent<'_>> {
        let permit = self.permits.acquire().await.map_err(|_| sqlx::Error::PoolClosed)?;
        let known = self.idle().pop().filter(|(_, since)| since.elapsed() < IDLE);
        let connection = match known {
            Some((connection, _)) => connection,
            None => self.connect().await?,
        };
        Ok(Lent { connection, home: self, _permit: permit })
    }

    /// One more connection, which is the caller's. Of several servers, to the one that can be written.
    async fn connect(&self) -> sqlx::Result<PgConnection> {
        let last = self.primary.load(Ordering::Relaxed);
        let mut failure = sqlx::Error::PoolClosed;
        for number in (last..self.servers.len()).chain(0..last) {
            let connecting = tokio::time::timeout(CONNECT, connect(self.servers.options(number)));
            let connected = match connecting.await.unwrap_or(Err(sqlx::Error::PoolTimedOut)) {
                Ok(connection) if self.servers.len() == 1 => return Ok(connection),
                Ok(connection) => only_primary(connection).await,
                Err(error) => Err(error),
            };
            match connected {
                Ok(connection) => {
                    self.primary.store(number, Ordering::Relaxed);
                    return Ok(connection);
                }
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// The server that could be written last.
    pub(super) fn options(&self) -> PgConnectOptions {
        self.servers.options(self.primary.load(Ordering::Relaxed))
    }

    /// Closes those that nobody uses: what befell one connection has probably befallen all.
    pub(super) fn forget_idle(&self) {
        self.idle().clear();
    }

    /// Waits for those that are lent, and lends no more.
    pub(super) async fn close(&self) {
        let all = u32::try_from(MOST).expect("a few");
        if let Ok(permits) = self.permits.acquire_many(all).await {
            self.permits.close();
            drop(permits);
        }
        let idle = std::mem::take(&mut *self.idle());
        for (connection, _) in idle {
            let _ = connection.close().await;
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<(PgConnection, Instant)>> {
        self.idle.lock().expect("nothing panics while it holds the connections")
    }

    /// What an error of the driver or the server means, by its code
    /// (<https://www.postgresql.org/docs/current/errcodes-appendix.html>).
    pub(super) fn failure(&self, request: &'static str, error: sqlx::Error) -> StoreError {
        let database = self.name.clone();
        let message = |error: &sqlx::Error| match error {
            sqlx::Error::Database(database) => database.message().to_owned(),
            error => error.to_string(),
        };
        match (code(&error).as_deref().unwrap_or_default(), &error) {
            ("53100", _) => StoreError::Full { database },
            ("25006", _) => StoreError::ReadOnly { database },
            ("42501", _) => StoreError::NotAllowed { database, detail: message(&error) },
            ("28000" | "28P01" | "3D000", _) => StoreError::Login { database, detail: message(&error) },
            ("55P03" | "57014", _) | (_, sqlx::Error::PoolTimedOut) => StoreError::Slow,
            (_, sqlx::Error::PoolClosed) => StoreError::Closed,
            (_, sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_)) => {
                StoreError::Corrupt { database, detail: error.to_string() }
            }
            (_, sqlx::Error::Tls(cause)) => StoreError::Untrusted { database, detail: cause.to_string() },
            (_, sqlx::Error::Io(cause)) if is_about_trust(&error) => {
                StoreError::Untrusted { database, detail: cause.to_string() }
            }
            (_, error) if is_about_connection(error) => StoreError::Unreachable { database, detail: message(error) },
            _ => StoreError::Other { request, source: Arc::new(error) },
        }
    }
}

impl fmt::Debug for Connections {
    /// The options hold the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connections({})", self.name)
    }
}

impl Lent<'_> {
    /// Ready for the next: no transaction is open.
    pub(super) fn give_back(self) {
        self.home.idle().push((self.connection, Instant::now()));
    }
}

/// The server's code of an error.
pub(super) fn code(error: &sqlx::Error) -> Option<String> {
    match error {
        sqlx::Error::Database(database) => database.code().map(|code| code.into_owned()),
        _ => None,
    }
}

/// Whether another try may do better: the server restarts, fails over, or had to choose between two.
pub(super) fn may_pass(error: &sqlx::Error) -> bool {
    let is_of_the_moment = |code: &str| matches!(code, "25006" | "40001" | "40P01" | "55P03" | "53300");
    !is_about_trust(error) && is_about_connection(error) || code(error).is_some_and(|code| is_of_the_moment(&code))
}

/// Whether the server could not prove who it is. A certificate that is not trusted is not trusted the
/// next time either.
fn is_about_trust(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Tls(_) => true,
        sqlx::Error::Io(error) => error.kind() == io::ErrorKind::InvalidData,
        _ => false,
    }
}

/// Whether the connection is gone, or none could be made.
pub(super) fn is_about_connection(error: &sqlx::Error) -> bool {
    let is_of_connections = |code: &str| code.starts_with("08") || code.starts_with("57P") || code == "25P03";
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::PoolTimedOut => true,
        error => code(error).is_some_and(|code| is_of_connections(&code)),
    }
}

/// Whether a connection has nothing to offer any more: it is gone, or leads to a server that was the
/// primary and is not.
pub(super) fn is_useless(error: &sqlx::Error) -> bool {
    is_about_connection(error) || code(error).is_some_and(|code| code == "25006")
}

async fn connect(options: PgConnectOptions) -> sqlx::Result<PgConnection> {
    options.connect().await
}

/// Asks in one message: a pooler may hand a second one to another server.
async fn only_primary(mut connection: PgConnection) -> sqlx::Result<PgConnection> {
    let asked = sqlx::raw_sql("SELECT pg_is_in_recovery()").fetch_one(&mut connection);
    let answer = tokio::time::timeout(CONNECT, asked).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))?;
    match answer.try_get(0)? {
        false => Ok(connection),
        true => Err(io::Error::new(io::ErrorKind::NotConnected, "none of the servers can be written").into()),
    }
}
