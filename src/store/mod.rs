//! What outlives a restart: deliveries acknowledged, jobs waiting, what was done and why.
//!
//! A [`Store`] is a handle on one database. What a call wrote is on stable storage when the call
//! returns, so an acknowledgement may follow it; a call that returned an error acknowledges
//! nothing. Times are the database's: nobody else's clock is asked, and it may step.
//!
//! Losing the database loses history, not correctness: jobs are found again by scanning.

mod address;
mod delivery;
mod ends;
mod error;
mod facts;
mod inbox;
mod journal;
mod postgres;
mod rows;
mod sqlite;
mod together;
mod trust;
mod versions;

use std::sync::Arc;

use tokio::sync::watch;

pub use address::Address;
pub use error::StoreError;
pub use inbox::{Claimed, Counts, End, JobView, List, Quarantined, Trigger, Trouble, TroubleKind, Wake};
pub use journal::{Act, Entry, Held, Hold, Known, Recorded, StoredIndex};
pub use together::{Changed, Slice, Turn, TurnDone, Turns};
pub use versions::{Architecture, Difference, Filter, Found, InvalidPlace, Listed, Overview, Place, Standing, Tally};

/// A handle on the database; clones share it.
#[derive(Clone, Debug)]
pub struct Store {
    database: Arc<Database>,
}

/// The engines. Each has the same methods, whose promises stand at [`Store`]'s.
#[derive(Debug)]
enum Database {
    Sqlite(sqlite::Database),
    Postgres(postgres::Database),
}

/// Asks whichever engine it is.
macro_rules! ask {
    ($store:expr, $method:ident($($argument:expr),*)) => {
        match &*$store.database {
            Database::Sqlite(database) => database.$method($($argument),*).await,
            Database::Postgres(database) => database.$method($($argument),*).await,
        }
    };
}
use ask;

impl Store {
    /// Opens the database, and makes what is not there: the file `sqlite://onetag.db` beside the
    /// working directory's, `sqlite:///var/lib/onetag/onetag.db` anywhere; the tables in
    /// `postgres://onetag@db/onetag`.
    ///
    /// It is checked and brought to the newest schema, in one transaction. A file is this process's
    /// alone until the last handle is gone, and jobs that a process was working on when it died are
    /// due at once. A server's database may be used by any number of processes, and such jobs are
    /// due when their lease has ended.
    ///
    /// # Errors
    ///
    /// - [`StoreError::InUse`]: another `onetag` has the file.
    /// - [`StoreError::ReadOnly`], [`StoreError::Full`], [`StoreError::Network`]: not here.
    /// - [`StoreError::Corrupt`], [`StoreError::Newer`], [`StoreError::Foreign`]: not this file.
    ///   It was not changed.
    /// - [`StoreError::Unreachable`], [`StoreError::Login`], [`StoreError::NotAllowed`]: not on this
    ///   server, or not yet; it was waited for.
    pub async fn open(database: impl Into<Address>) -> Result<Store, StoreError> {
        let address = database.into();
        let database = match address.is_shared() {
            true => Database::Postgres(postgres::Database::open(&address).await?),
            false => Database::Sqlite(sqlite::Database::open(address.text()).await?),
        };
        Ok(Store { database: Arc::new(database) })
    }

    /// Tells when something may be there to do or to show.
    pub fn changes(&self) -> Changes {
        Changes {
            seen: match &*self.database {
                Database::Sqlite(database) => database.changes(),
                Database::Postgres(database) => database.changes(),
            },
        }
    }

    /// Proves that something can be stored now, by storing as much as a delivery may well need.
    ///
    /// # Errors
    ///
    /// Those of [`Store::accept`], and as soon.
    pub async fn assert_writable(&self) -> Result<(), StoreError> {
        ask!(self, assert_writable())
    }

    /// Stores what is under way, then closes the database. Every later call on any handle fails with
    /// [`StoreError::Closed`].
    pub async fn close(&self) {
        ask!(self, close());
    }
}

/// Tells when jobs were woken or released, by whichever process: one for each listener, made by [`Store::changes`].
#[derive(Debug)]
pub struct Changes {
    seen: watch::Receiver<()>,
}

impl Changes {
    /// Resolves when something changed since the last call, or since this was made. Several
    /// changes may be told once, and one may be told in vain. Never resolves once the store is gone.
    pub async fn next(&mut self) {
        if self.seen.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
