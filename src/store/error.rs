//! What can go wrong between this program and its database, and what the reader can do about it.

use std::path::PathBuf;
use std::sync::Arc;

/// Why something could not be stored or read.
///
/// Whatever the variant: a call that returned an error stored nothing that the caller may rely on.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Text that names no database this program can use. The text may hold a password: only its
    /// scheme is kept.
    #[error(
        "`{scheme}` is not a database address: expected `sqlite://` and the path of a file, or `postgres://`, a server and a database"
    )]
    Address {
        /// What stood before the first `:`.
        scheme: String,
    },
    /// An address says something after its `?` that is not known here; what it says is not repeated.
    #[error("the database's address has a parameter that cannot be used: expected {expected}")]
    Parameter {
        /// What may stand there.
        expected: String,
    },
    /// A variable of the environment says what cannot be done.
    #[error("the environment's `{name}` is `{found}`: expected {expected}")]
    Variable {
        /// The variable.
        name: &'static str,
        /// What it holds.
        found: String,
        /// What it may hold.
        expected: String,
    },
    /// A file that the address or the environment names for TLS is not what it should be.
    #[error("`{parameter}` names {path}, which {problem}")]
    Certificate {
        /// What names it.
        parameter: &'static str,
        /// The file.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The server's certificate is none, is not its own, or nobody that is trusted has signed it.
    #[error("`{database}` could not prove who it is: {detail}")]
    Untrusted {
        /// The server and its database.
        database: String,
        /// What the driver said.
        detail: String,
    },
    /// The server lacks what is needed of it.
    #[error("`{database}` is PostgreSQL {found}, and this onetag needs {needed} or later")]
    Older {
        /// The server and its database.
        database: String,
        /// What it says it is.
        found: String,
        /// The first version that will do.
        needed: i32,
    },
    /// The server does not answer, or its connections break.
    #[error("`{database}` cannot be reached: {detail}")]
    Unreachable {
        /// The server and its database.
        database: String,
        /// What the driver, the server or the operating system said.
        detail: String,
    },
    /// The server does not know this user, the password, or the database.
    #[error("`{database}` refused the login: {detail}")]
    Login {
        /// The server and its database.
        database: String,
        /// What the server said.
        detail: String,
    },
    /// The user lacks a right.
    #[error("`{database}` does not allow it: {detail}")]
    NotAllowed {
        /// The server and its database.
        database: String,
        /// What the server said.
        detail: String,
    },
    /// No space is left where the database is.
    #[error("`{database}` cannot grow: the disk is full")]
    Full {
        /// The file, or the server and its database.
        database: String,
    },
    /// The file, its folder or the file system cannot be written.
    #[error("`{database}` cannot be written")]
    ReadOnly {
        /// The file, or the server and its database.
        database: String,
    },
    /// Another program keeps the database locked.
    #[error("`{}` is locked by another program", path.display())]
    Locked {
        /// The database file.
        path: PathBuf,
    },
    /// Another `onetag` uses the same file.
    #[error("`{}` is in use by another onetag", path.display())]
    InUse {
        /// The database file.
        path: PathBuf,
    },
    /// The file is damaged, or no database at all.
    #[error("`{database}` is damaged: {detail}")]
    Corrupt {
        /// The file, or the server and its database.
        database: String,
        /// What the database engine found.
        detail: String,
    },
    /// A later version of this program wrote the file.
    #[error("`{database}` has schema {found}, and this onetag knows schemas up to {known}")]
    Newer {
        /// The file, or the server and its database.
        database: String,
        /// The schema in the file.
        found: i64,
        /// The latest schema known here.
        known: i64,
    },
    /// The file is another program's database.
    #[error("`{}` is a database of another program", path.display())]
    Foreign {
        /// The database file.
        path: PathBuf,
    },
    /// The file would be on a network file system, whose locks and syncs cannot be relied on.
    #[error("`{}` is on a network file system ({kind})", path.display())]
    Network {
        /// The database file.
        path: PathBuf,
        /// The kind of file system, as the kernel names it.
        kind: String,
    },
    /// The file was moved or deleted while it was in use.
    #[error("`{}` was moved or deleted while in use", path.display())]
    Moved {
        /// The database file.
        path: PathBuf,
    },
    /// The database took too long; whether it still stores what was asked is unknown.
    #[error("the database did not answer in time")]
    Slow,
    /// The store was closed.
    #[error("the database is closed")]
    Closed,
    /// Anything else, with what was being done.
    #[error("cannot {request}")]
    Other {
        /// What was being done.
        request: &'static str,
        /// What the database engine or the operating system said.
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
}

impl StoreError {
    /// What the reader can do about it, if anything; printed after the chain as `hint: ...`.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Address { .. } => "for example `sqlite://onetag.db`, or `sqlite:///var/lib/onetag/onetag.db`",
            Self::Parameter { .. } => "see <https://www.postgresql.org/docs/current/libpq-ssl.html>",
            Self::Variable { .. } => "`sslmode` in the address counts instead, if it is there",
            Self::Certificate { .. } => "name a file in PEM that this user may read, with the whole of its path",
            Self::Untrusted { .. } => {
                "the certificate must name the host and be signed by `sslrootcert` or a public CA; `require` and `verify-ca` with `sslrootcert` ask for the name, too"
            }
            Self::Older { .. } => "bring the server up to date, or name another",
            Self::Unreachable { .. } => "deliveries are refused and sent again by their senders until it is back",
            Self::Login { .. } => {
                "the password is taken from `password` beside `url`, the address, PGPASSWORD or .pgpass; a file is read again with each connection"
            }
            Self::NotAllowed { .. } => "the user must own the schema `onetag`, or be allowed to make it",
            Self::Full { .. } => "make space; deliveries are refused and sent again by their senders until then",
            Self::ReadOnly { database } if database.starts_with("postgres") => "name the primary: this is a standby",
            Self::ReadOnly { .. } => "the folder must be writable by this user, for the file and two files beside it",
            Self::Locked { .. } => "end the other program's transaction, or stop it",
            Self::InUse { .. } => "stop the other one, or give this one a database of its own",
            Self::Corrupt { database, .. } if database.starts_with("postgres") => "restore a backup",
            Self::Corrupt { .. } => {
                "restore a backup, or move the file and its `-wal` and `-shm` away and start again: only history is lost, tags are found by scanning"
            }
            Self::Newer { .. } => "run the onetag that wrote it, or a newer one",
            Self::Foreign { .. } => "name another file",
            Self::Network { .. } => "name a file on a local disk",
            Self::Moved { .. } => "start onetag again",
            Self::Slow => "look at the load of the database and its disk",
            Self::Closed | Self::Other { .. } => return None,
        })
    }
}
