//! What stands between us and a login, and what can be done about it.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

/// A login that is there but cannot be used. Never holds a secret, nor what a helper said.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// Basic authentication ends the user name at the first `:`.
    #[error("the user name in {place} has a `:`, expected one that Basic authentication can carry")]
    ColonInUsername {
        /// Where the name was found.
        place: String,
    },
    /// A file is there, and reading it failed.
    #[error("cannot read the logins in {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is too big to be what it should be.
    #[error("{} has more than {limit_bytes} bytes, expected a file of logins", path.display())]
    FileTooLong {
        /// The file.
        path: PathBuf,
        /// The most we read.
        limit_bytes: u64,
    },
    /// A file is not the JSON that docker and podman write.
    #[error(
        "{}, line {line}, column {column}: found {found}, expected logins as docker and podman write them",
        path.display()
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column, from 1; 0 at the end of a line.
        column: usize,
        /// What kind of mistake it is, without quoting it.
        found: &'static str,
    },
    /// The one entry we need is broken.
    #[error("the login for `{key}` in {} cannot be used: {problem}", path.display())]
    BadEntry {
        /// The file.
        path: PathBuf,
        /// The entry's key, as written.
        key: String,
        /// What was found and what was expected, without quoting it.
        problem: &'static str,
    },
    /// A helper's name that is not a plain program name.
    #[error(
        "{} names the credential helper {name:?}, expected letters, digits, `.`, `_` and `-`",
        path.display()
    )]
    UnsafeHelperName {
        /// The file.
        path: PathBuf,
        /// The name, as written.
        name: String,
    },
    /// A helper that is not installed.
    #[error("{} asks for `{helper}`, which is not on the PATH", path.display())]
    HelperMissing {
        /// The program.
        helper: String,
        /// The file that names it.
        path: PathBuf,
    },
    /// A helper that could not be started or heard.
    #[error("cannot run the credential helper `{helper}`")]
    HelperUnusable {
        /// The program.
        helper: String,
        /// Why.
        source: io::Error,
    },
    /// A helper that did not finish.
    #[error("the credential helper `{helper}` was stopped: no answer in {timeout:?}")]
    HelperTimedOut {
        /// The program.
        helper: String,
        /// How long it had.
        timeout: Duration,
    },
    /// A helper that would not stop talking.
    #[error("the credential helper `{helper}` was stopped: it wrote more than {limit_bytes} bytes")]
    HelperTooLong {
        /// The program.
        helper: String,
        /// The most we read.
        limit_bytes: u64,
    },
    /// A helper that said no.
    #[error("the credential helper `{helper}` failed for {server} ({status})")]
    HelperFailed {
        /// The program.
        helper: String,
        /// What it was asked for.
        server: String,
        /// How it ended.
        status: ExitStatus,
    },
    /// A helper that answered with something else than a login.
    #[error("the credential helper `{helper}` gave no usable answer for {server}: {problem}")]
    HelperMisspoke {
        /// The program.
        helper: String,
        /// What it was asked for.
        server: String,
        /// What was found and what was expected, without quoting it.
        problem: &'static str,
    },
}

impl CredentialsError {
    /// What the reader can do about it, if anything.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::ColonInUsername { .. } => Some("give the user name alone; the password has a place of its own"),
            Self::Unreadable { .. } => Some("let this user read the file, or point REGISTRY_AUTH_FILE at another"),
            Self::FileTooLong { .. } | Self::Malformed { .. } => {
                Some("mend the file, or point REGISTRY_AUTH_FILE at another")
            }
            Self::BadEntry { .. } => Some("run `docker login` or `podman login` again"),
            Self::UnsafeHelperName { .. } => Some("name only what follows `docker-credential-`, for example `pass`"),
            Self::HelperMissing { .. } => {
                Some("install the helper, or remove `credsStore` or `credHelpers` from the file")
            }
            Self::HelperTimedOut { .. } => Some("a helper that waits for someone to type cannot be used here"),
            Self::HelperUnusable { .. }
            | Self::HelperTooLong { .. }
            | Self::HelperFailed { .. }
            | Self::HelperMisspoke { .. } => {
                Some("run the helper by hand, `echo HOST | docker-credential-NAME get`, to see why")
            }
        }
    }
}
