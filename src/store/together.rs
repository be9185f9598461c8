//! What several processes on one database do together. A process that has its database to itself
//! does it alone, and is not held up.

use std::time::Duration;

use super::{Database, Store, StoreError};
use crate::model::{Host, Repository, Tag};

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

/// Who does something that is done by one process for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The caller.
    Mine,
    /// Another, which has done it.
    Others(TurnDone),
    /// Another, which is doing it now, or ended while it was: whoever asks again then may have the turn.
    UnderWay {
        /// How long nobody else gets the turn.
        for_another: Duration,
        /// When it was done the time before, if it was.
        before: Option<TurnDone>,
    },
}

/// What was done by one process for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TurnDone {
    /// How long ago.
    pub ago: Duration,
    /// What came of it, if the others need to know.
    pub result: Option<String>,
}

/// A plain tag that some process has done something about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Changed {
    /// Where it is.
    pub repository: Repository,
    /// The plain tag.
    pub tag: Tag,
    /// The kind of its trouble or how it was found, if either is known.
    pub state: Option<String>,
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
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
    /// The most plain tags that [`Store::changed`] tells.
    pub const MOST_CHANGED: usize = 200;

    /// Whether other processes may work on the same database.
    pub fn is_shared(&self) -> bool {
        matches!(*self.database, Database::Postgres(_))
    }

    /// Asks to be the one process that does something which is done by one for all; nobody else gets
    /// the turn within `time`. Always granted in a process that has its database to itself.
    pub async fn take_turn(&self, kind: &str, subject: &str, time: Duration) -> Result<Turn, StoreError> {
        match &*self.database {
            Database::Sqlite(_) => Ok(Turn::Mine),
            Database::Postgres(database) => database.take_turn(kind, subject, time).await,
        }
    }

    /// Tells that it was done, what came of it, and that it need not be done again for this long.
    pub async fn end_turn(
        &self,
        kind: &str,
        subject: &str,
        next: Duration,
        result: Option<String>,
    ) -> Result<(), StoreError> {
        match &*self.database {
            Database::Sqlite(_) => Ok(()),
            Database::Postgres(database) => database.end_turn(kind, subject, next, result).await,
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

    /// What any process changed lately, at most [`Store::MOST_CHANGED`] plain tags. Nothing in a process that has its
    /// database to itself: it knows.
    pub async fn changed(&self, within: Duration) -> Result<Vec<Changed>, StoreError> {
        match &*self.database {
            Database::Sqlite(_) => Ok(Vec::new()),
            Database::Postgres(database) => database.changed(within).await,
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
