//! The one task that writes: many deliveries share a commit, everything else has one of its own.
//!
//! Deliveries that arrive while a commit is under way are stored together by the next, so the more
//! there are, the fewer commits each needs; one that comes alone waits for nobody.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use sqlx::{Connection, SqliteConnection};
use tokio::sync::{mpsc, oneshot, watch};

use super::super::StoreError;
use super::super::delivery::{BATCH, Delivery, What};
use super::file::{DatabaseFile, Lock};
use super::{open, wakes};

/// What the task is asked to do.
pub(super) enum Order {
    /// Store it, together with others.
    Deliver(Delivery),
    /// Do it, alone.
    Work(Work),
    /// Finish what was ordered before, close the file and say so.
    Close(oneshot::Sender<()>),
}

type Work = Box<dyn for<'d> FnOnce(&'d mut Desk) -> BoxFuture<'d, ()> + Send>;

/// The writing connection. It is gone after a failure, and made anew for the next order: nothing
/// of a broken transaction can be left then.
pub(super) struct Desk {
    file: Arc<DatabaseFile>,
    connection: Option<SqliteConnection>,
}

/// Carries out orders until nobody can give any; the file stays this process's until then.
pub(super) async fn run(
    connection: SqliteConnection,
    file: Arc<DatabaseFile>,
    lock: Lock,
    changed: watch::Sender<()>,
    mut orders: mpsc::Receiver<Order>,
) {
    let mut desk = Desk { file, connection: Some(connection) };
    let mut received = Vec::new();
    let mut closed = Vec::new();
    while orders.recv_many(&mut received, BATCH).await > 0 {
        let (mut deliveries, mut works) = (Vec::new(), Vec::new());
        for order in received.drain(..) {
            match order {
                Order::Deliver(delivery) if delivery.answer.is_closed() => {}
                Order::Deliver(delivery) => deliveries.push(delivery),
                Order::Work(work) => works.push(work),
                Order::Close(answer) => {
                    orders.close();
                    closed.push(answer);
                }
            }
        }
        deliver(&mut desk, deliveries, &changed).await;
        for work in works {
            work(&mut desk).await;
        }
        // Whoever was answered and has more goes into the next commit, not into the one after it.
        tokio::task::yield_now().await;
    }
    desk.drop_connection().await;
    drop(lock);
    for answer in closed {
        let _ = answer.send(());
    }
}

/// Stores deliveries in one commit, then answers each. If the commit failed, nobody is told
/// otherwise.
async fn deliver(desk: &mut Desk, deliveries: Vec<Delivery>, changed: &watch::Sender<()>) {
    if deliveries.is_empty() {
        return;
    }
    let (batch, answers): (Vec<What>, Vec<_>) = deliveries.into_iter().map(|d| (d.what, d.answer)).unzip();
    let done = desk.transaction("store deliveries", move |db| Box::pin(wakes::store(db, batch))).await;
    if done.is_ok() {
        changed.send_replace(());
    }
    for answer in answers {
        let _ = answer.send(done.clone());
    }
}

impl Desk {
    /// Does `work` between `BEGIN IMMEDIATE` and `COMMIT`. After an error nothing of it remains.
    pub(super) async fn transaction<T>(
        &mut self,
        request: &'static str,
        work: impl for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, sqlx::Result<T>>,
    ) -> Result<T, StoreError> {
        let done = match self.connection().await {
            Ok(db) => commit(db, work).await,
            Err(error) => return Err(error),
        };
        let failure = match done {
            Ok(value) => return Ok(value),
            Err(error) => self.file.failure(request, error),
        };
        if !matches!(failure, StoreError::Locked { .. }) {
            self.drop_connection().await;
        }
        Err(failure)
    }

    async fn connection(&mut self) -> Result<&mut SqliteConnection, StoreError> {
        self.file.is_still_there()?;
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => open::again(&self.file).await?,
        };
        Ok(self.connection.insert(connection))
    }

    async fn drop_connection(&mut self) {
        if let Some(connection) = self.connection.take() {
            let _ = connection.close().await;
        }
    }
}

/// The statements are sent as they are: SQLite may end a transaction by itself when it fails, and
/// a driver's count of open transactions would then be wrong.
pub(super) async fn commit<T>(
    db: &mut SqliteConnection,
    work: impl for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, sqlx::Result<T>>,
) -> sqlx::Result<T> {
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut *db).await?;
    let done = match work(&mut *db).await {
        Ok(value) => sqlx::raw_sql("COMMIT").execute(&mut *db).await.map(|_| value),
        Err(error) => Err(error),
    };
    if done.is_err() {
        let _ = sqlx::raw_sql("ROLLBACK").execute(&mut *db).await;
    }
    done
}
