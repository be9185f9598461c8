//! What outlives a restart: deliveries acknowledged, jobs waiting, what was done and why.
//!
//! A [`Store`] is a handle on one database. What a call wrote is on stable storage when the call
//! returns, so an acknowledgement may follow it; a call that returned an error acknowledges
//! nothing. Times are the database's: nobody else's clock is asked, and it may step.
//!
//! Losing the database loses history, not correctness: jobs are found again by scanning.

mod error;
mod facts;
mod inbox;
mod journal;
mod sqlite;
mod versions;

use std::sync::Arc;

use tokio::sync::watch;

pub use error::StoreError;
pub use inbox::{Claimed, Counts, End, JobView, List, Quarantined, Trigger, Trouble, TroubleKind, Wake};
pub use journal::{Act, Entry, Held, Hold, Recorded, StoredIndex};
pub use versions::{Architecture, Difference, Filter, Found, InvalidPlace, Listed, Overview, Place, Standing, Tally};

/// A handle on the database; clones share it.
#[derive(Clone, Debug)]
pub struct Store {
    database: Arc<sqlite::Database>,
}

impl Store {
    /// Opens the database, and makes it where there is none: `sqlite://onetag.db` beside the
    /// working directory's files, `sqlite:///var/lib/onetag/onetag.db` anywhere.
    ///
    /// The file is checked and brought to the newest schema, in one transaction. It is this
    /// process's alone until the last handle is gone. Jobs that a process was working on when it
    /// died are due at once.
    ///
    /// # Errors
    ///
    /// - [`StoreError::InUse`]: another `onetag` has the file.
    /// - [`StoreError::ReadOnly`], [`StoreError::Full`], [`StoreError::Network`]: not here.
    /// - [`StoreError::Corrupt`], [`StoreError::Newer`], [`StoreError::Foreign`]: not this file.
    ///   It was not changed.
    pub async fn open(database: &str) -> Result<Store, StoreError> {
        let database = sqlite::Database::open(database).await?;
        Ok(Store { database: Arc::new(database) })
    }

    /// Tells when something may be there to do or to show.
    pub fn changes(&self) -> Changes {
        Changes { seen: self.database.changes() }
    }

    /// Proves that something can be stored now, by storing as much as a delivery may well need.
    ///
    /// # Errors
    ///
    /// Those of [`Store::accept`], and as soon.
    pub async fn assert_writable(&self) -> Result<(), StoreError> {
        self.database.assert_writable().await
    }

    /// Stores what is under way, then closes the file. Every later call on any handle fails with
    /// [`StoreError::Closed`].
    pub async fn close(&self) {
        self.database.close().await;
    }
}

/// Tells when jobs were woken or released: one for each listener, made by [`Store::changes`].
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
