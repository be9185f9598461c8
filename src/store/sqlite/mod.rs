//! The store on SQLite: every statement, and the one connection that writes.
//!
//! The file belongs to one process, so leases live in its memory, judged by a clock that nobody
//! sets; in the file a claimed job stays due, and is free again when the process is gone.

/// The database's clock, in milliseconds since 1970.
macro_rules! now {
    () => {
        "CAST(unixepoch('subsec') * 1000 AS INTEGER)"
    };
}

mod facts;
mod file;
mod history;
mod jobs;
mod leases;
mod open;
mod runs;
mod versions;
mod wakes;
mod writer;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use sqlx::pool::PoolConnection;
use sqlx::{Sqlite, SqliteConnection, SqlitePool};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use self::file::DatabaseFile;
use self::leases::Leases;
use self::writer::Order;
use super::StoreError;
use super::delivery::{DELIVERY_TIME, Delivery, QUEUE, Unusable, WAKES_UNDER_WAY, What};
use super::inbox::Wake;

/// One database file, open.
#[derive(Debug)]
pub(super) struct Database {
    file: Arc<DatabaseFile>,
    orders: mpsc::Sender<Order>,
    wakes_under_way: Semaphore,
    readers: SqlitePool,
    leases: Arc<Leases>,
    changed: watch::Sender<()>,
}

impl Database {
    pub(super) async fn open(address: &str) -> Result<Database, StoreError> {
        let (file, lock) = DatabaseFile::take(address).await?;
        let file = Arc::new(file);
        let connection = open::first(&file).await?;
        let (orders, received) = mpsc::channel(QUEUE);
        let changed = watch::Sender::new(());
        tokio::spawn(writer::run(connection, Arc::clone(&file), lock, changed.clone(), received));
        Ok(Database {
            readers: open::readers(&file),
            file,
            orders,
            wakes_under_way: Semaphore::new(WAKES_UNDER_WAY as usize),
            leases: Arc::default(),
            changed,
        })
    }

    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    pub(super) async fn close(&self) {
        self.readers.close().await;
        let (answer, closed) = oneshot::channel();
        if self.orders.send(Order::Close(answer)).await.is_ok() {
            let _ = closed.await;
        }
    }

    pub(super) async fn accept(&self, wakes: Vec<Wake>) -> Result<(), StoreError> {
        let count = u32::try_from(wakes.len()).unwrap_or(u32::MAX).min(WAKES_UNDER_WAY);
        let stored = async {
            let _room = self.wakes_under_way.acquire_many(count).await.map_err(|_| StoreError::Closed)?;
            self.deliver(What::Wakes(wakes)).await
        };
        tokio::time::timeout(DELIVERY_TIME, stored).await.unwrap_or(Err(StoreError::Slow))
    }

    pub(super) async fn quarantine(&self, hook: &str, reason: &str, body: &[u8]) -> Result<(), StoreError> {
        let unusable = What::Unusable(Unusable::new(hook, reason, body));
        tokio::time::timeout(DELIVERY_TIME, self.deliver(unusable)).await.unwrap_or(Err(StoreError::Slow))
    }

    pub(super) async fn assert_writable(&self) -> Result<(), StoreError> {
        let written = self.write("store anything", |db| Box::pin(facts::write_anything(db)));
        tokio::time::timeout(DELIVERY_TIME, written).await.unwrap_or(Err(StoreError::Slow))
    }

    /// Hands a delivery to the writing task and waits for its commit.
    async fn deliver(&self, what: What) -> Result<(), StoreError> {
        let (answer, stored) = oneshot::channel();
        let order = Order::Deliver(Delivery { what, answer });
        self.orders.send(order).await.map_err(|_| StoreError::Closed)?;
        stored.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Runs `work` in a transaction of its own on the writing connection. `committed` runs after
    /// the commit and before any other order.
    async fn write_then<T: Send + 'static>(
        &self,
        request: &'static str,
        work: impl for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, sqlx::Result<T>> + Send + 'static,
        committed: impl FnOnce(&T) + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let order = Order::Work(Box::new(move |desk| {
            Box::pin(async move {
                let done = desk.transaction(request, work).await;
                if let Ok(value) = &done {
                    committed(value);
                }
                let _ = answer.send(done);
            })
        }));
        self.orders.send(order).await.map_err(|_| StoreError::Closed)?;
        answered.await.unwrap_or(Err(StoreError::Closed))
    }

    async fn write<T: Send + 'static>(
        &self,
        request: &'static str,
        work: impl for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, sqlx::Result<T>> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.write_then(request, work, |_| ()).await
    }

    /// A connection that only reads.
    async fn reader(&self, request: &'static str) -> Result<PoolConnection<Sqlite>, StoreError> {
        self.readers.acquire().await.map_err(self.failed(request))
    }

    fn failed(&self, request: &'static str) -> impl FnOnce(sqlx::Error) -> StoreError {
        move |error| self.file.failure(request, error)
    }
}
