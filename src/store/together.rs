//! What several processes on one database do together. A process that has its database to itself
//! does it alone, and is not held up.

use std::time::Duration;

use super::{Database, Store, StoreError};
use crate::model::Host;

/// Turns to send requests, one after another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Turns {
    /// How many.
    pub count: u32,
    /// How long each takes.
    pub interval: Duration,
    /// How much time that nobody used is made up for.
    pub burst: Duration,
}

/// When turns are that were asked for together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slice {
    /// How long until the first.
    pub first_in: Duration,
    /// How long ago the first was, if it is made up for.
    pub late: Duration,
    /// How long the registry asked to be left alone.
    pub quiet_for: Duration,
}

impl Store {
    /// Whether other processes may work on the same database.
    pub fn is_shared(&self) -> bool {
        matches!(*self.database, Database::Postgres(_))
    }

    /// Whether the caller is the one to do something that is done by one of all processes, once in
    /// `every`. True in a process that has its database to itself.
    pub async fn take_turn(&self, kind: &str, subject: &str, every: Duration) -> Result<bool, StoreError> {
        match &*self.database {
            Database::Sqlite(_) => Ok(true),
            Database::Postgres(database) => database.take_turn(kind, subject, every).await,
        }
    }

    /// How long until somebody may take the turn.
    pub async fn next_turn(&self, kind: &str, subject: &str) -> Result<Duration, StoreError> {
        match &*self.database {
            Database::Sqlite(_) => Ok(Duration::ZERO),
            Database::Postgres(database) => database.next_turn(kind, subject).await,
        }
    }

    /// Lets somebody take the turn at once: what was to be done was not.
    pub async fn forget_turn(&self, kind: &str, subject: &str) -> Result<(), StoreError> {
        match &*self.database {
            Database::Sqlite(_) => Ok(()),
            Database::Postgres(database) => database.forget_turn(kind, subject).await,
        }
    }

    /// Takes turns at a registry that all processes ask no faster than at one rate. None in a process
    /// that has its database to itself: it keeps the pace alone.
    pub async fn reserve(&self, host: &Host, turns: &Turns) -> Result<Option<Slice>, StoreError> {
        match &*self.database {
            Database::Sqlite(_) => Ok(None),
            Database::Postgres(database) => database.reserve(host, turns).await.map(Some),
        }
    }

    /// Tells every process to leave a registry alone for a while.
    pub async fn keep_quiet(&self, host: &Host, wait: Duration) -> Result<(), StoreError> {
        match &*self.database {
            Database::Sqlite(_) => Ok(()),
            Database::Postgres(database) => database.keep_quiet(host, wait).await,
        }
    }

    /// The registries that asked some process to be left alone, and for how long still.
    pub async fn quiet(&self) -> Result<Vec<(Host, Duration)>, StoreError> {
        match &*self.database {
            Database::Sqlite(_) => Ok(Vec::new()),
            Database::Postgres(database) => database.quiet().await,
        }
    }
}
