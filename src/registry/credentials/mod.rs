//! Who we are to a registry: given in settings, or found where docker and podman keep logins.
//!
//! `files` reads the login files and `helper` talks to credential helpers; this module says
//! where to look and who is asked first. What a registry does with a login (challenges, token
//! servers, headers) is left to the code that sends requests, and so is remembering the answer:
//! every [`Keychain::find`] looks again, because a helper may hand out short-lived passwords.

mod files;
mod helper;

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};

use self::files::{LoginFile, Wanted};

/// How long a credential helper may take, unless [`Environment::helper_timeout`] says otherwise.
pub const HELPER_TIMEOUT: Duration = Duration::from_secs(30);

/// What to present to a registry or its token server.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// Nothing: no login was found.
    Anonymous,
    /// A user name and password, for Basic authentication.
    Basic {
        /// Who logs in. Never has a `:`, because Basic authentication cannot carry one.
        username: String,
        /// The password, or whatever the registry takes in its place.
        password: SecretString,
    },
    /// An OAuth2 refresh token, for the token server only.
    IdentityToken {
        /// The account it belongs to, where the login names one.
        username: Option<String>,
        /// The refresh token.
        token: SecretString,
    },
    /// A bearer token ready to be sent to the registry itself (`registrytoken`).
    RegistryToken(SecretString),
}

impl PartialEq for Credentials {
    /// For telling whether settings changed; nothing that somebody sent is compared by it.
    fn eq(&self, other: &Credentials) -> bool {
        match (self, other) {
            (Self::Anonymous, Self::Anonymous) => true,
            (Self::Basic { username, password }, Self::Basic { username: other, password: others }) => {
                username == other && password.expose_secret() == others.expose_secret()
            }
            (Self::IdentityToken { username, token }, Self::IdentityToken { username: other, token: others }) => {
                username == other && token.expose_secret() == others.expose_secret()
            }
            (Self::RegistryToken(token), Self::RegistryToken(others)) => {
                token.expose_secret() == others.expose_secret()
            }
            _ => false,
        }
    }
}

impl Credentials {
    /// The value of an `Authorization` header for Basic authentication, in UTF-8.
    ///
    /// `None` for everything that is not a user name and a password.
    ///
    /// Spec: RFC 7617, section 2.
    pub fn basic_header(&self) -> Option<SecretString> {
        let Self::Basic { username, password } = self else {
            return None;
        };
        let pair = SecretString::from(format!("{username}:{}", password.expose_secret()));
        Some(format!("Basic {}", STANDARD.encode(pair.expose_secret())).into())
    }

    /// A checked pair; `place` says where it was found, for the error.
    fn basic(
        username: String,
        password: SecretString,
        place: impl FnOnce() -> String,
    ) -> Result<Credentials, CredentialsError> {
        if username.contains(':') {
            return Err(CredentialsError::ColonInUsername { place: place() });
        }
        Ok(Credentials::Basic { username, password })
    }
}

/// Every login we may use, and the only way to ask for one.
#[derive(Clone, Debug, PartialEq)]
pub struct Keychain {
    source: Source,
}

#[derive(Clone, Debug, PartialEq)]
enum Source {
    Nothing,
    Given(Credentials),
    Environment(Arc<Environment>),
}

impl Keychain {
    /// No logins: everything is read as a stranger would read it.
    pub fn none() -> Keychain {
        Keychain { source: Source::Nothing }
    }

    /// One user name and password, whichever registry asks.
    ///
    /// # Errors
    ///
    /// - [`CredentialsError::ColonInUsername`]: Basic authentication cannot carry this name.
    pub fn given(username: String, password: SecretString) -> Result<Keychain, CredentialsError> {
        let credentials = Credentials::basic(username, password, || "the settings".to_owned())?;
        Ok(Keychain { source: Source::Given(credentials) })
    }

    /// The logins that `docker login` and `podman login` left behind.
    ///
    /// Nothing is read until something is asked.
    pub fn of_environment(environment: Environment) -> Keychain {
        Keychain { source: Source::Environment(Arc::new(environment)) }
    }

    /// Finds what to present for the repository `path` at `host`.
    ///
    /// `host` is as in image names: `docker.io`, `registry.example.com:5000`, `[::1]:5000`. The
    /// first file with an answer wins. Within a file a helper is asked before the file's own
    /// entries, as docker does, and may run for up to [`Environment::helper_timeout`].
    ///
    /// # Errors
    ///
    /// Only for what stands between us and an answer: a file after the one that answered, or a
    /// broken entry for another registry, is never looked at.
    pub async fn find(&self, host: &str, path: &str) -> Result<Credentials, CredentialsError> {
        match &self.source {
            Source::Nothing => Ok(Credentials::Anonymous),
            Source::Given(credentials) => Ok(credentials.clone()),
            Source::Environment(environment) => find_in(environment, &Wanted::new(host, path)).await,
        }
    }

    /// Whether there might be a login for the repository `path` at `host`. Runs no helper.
    ///
    /// A helper that would be asked counts, and so does a file that cannot be read: both are for
    /// [`Keychain::find`] to look into and report.
    pub async fn knows(&self, host: &str, path: &str) -> bool {
        match &self.source {
            Source::Nothing => false,
            Source::Given(_) => true,
            Source::Environment(environment) => might_know(environment, &Wanted::new(host, path)).await,
        }
    }
}

async fn find_in(environment: &Environment, wanted: &Wanted) -> Result<Credentials, CredentialsError> {
    for path in environment.login_files() {
        let Some(file) = LoginFile::read(&path).await? else {
            continue;
        };
        if let Some(credentials) = ask(&file, wanted, environment).await? {
            let host = wanted.host();
            tracing::debug!(host, path = %path.display(), "Found a login for {host}");
            return Ok(credentials);
        }
    }
    Ok(Credentials::Anonymous)
}

/// Asks one file: its helper first, then its own entries.
async fn ask(
    file: &LoginFile,
    wanted: &Wanted,
    environment: &Environment,
) -> Result<Option<Credentials>, CredentialsError> {
    let Some(helper) = file.helper(wanted)? else {
        return file.login(wanted);
    };
    match helper.get(wanted.server_url(), environment).await {
        Ok(None) => file.login(wanted),
        // A desktop's config.json mounted into a container names a helper that only the desktop
        // has. docker then uses what the file itself holds, and so do we.
        Err(missing @ CredentialsError::HelperMissing { .. }) => match file.login(wanted) {
            Ok(Some(credentials)) => {
                tracing::warn!("Using the login in the file instead: {missing}");
                Ok(Some(credentials))
            }
            _ => Err(missing),
        },
        answer => answer,
    }
}

async fn might_know(environment: &Environment, wanted: &Wanted) -> bool {
    for path in environment.login_files() {
        let has_nothing = match LoginFile::read(&path).await {
            Ok(None) => true,
            Ok(Some(file)) => matches!(file.helper(wanted), Ok(None)) && matches!(file.login(wanted), Ok(None)),
            Err(_) => false,
        };
        if !has_nothing {
            return true;
        }
    }
    false
}

/// The few variables and folders that decide where logins are looked for.
///
/// Read once, by the command line; everything below takes it as a value.
#[derive(Clone, Debug, PartialEq)]
pub struct Environment {
    /// `REGISTRY_AUTH_FILE`: when set, the only file there is, and it need not exist.
    pub registry_auth_file: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`: where podman keeps logins until the machine restarts.
    pub xdg_runtime_dir: Option<PathBuf>,
    /// `/run/containers/<uid>`: where podman keeps them if `XDG_RUNTIME_DIR` is not set.
    pub run_containers: Option<PathBuf>,
    /// `XDG_CONFIG_HOME`, in place of `.config` in the home folder.
    pub xdg_config_home: Option<PathBuf>,
    /// `DOCKER_CONFIG`, in place of `.docker` in the home folder.
    pub docker_config: Option<PathBuf>,
    /// `HOME`, or else what the system says.
    pub home: Option<PathBuf>,
    /// `PATH`: where helpers are looked for, and what they are given.
    pub path: Option<OsString>,
    /// How long a helper may take before it is killed.
    pub helper_timeout: Duration,
}

impl Default for Environment {
    /// An environment where nothing is set, so there are no logins.
    fn default() -> Environment {
        Environment {
            registry_auth_file: None,
            xdg_runtime_dir: None,
            run_containers: None,
            xdg_config_home: None,
            docker_config: None,
            home: None,
            path: None,
            helper_timeout: HELPER_TIMEOUT,
        }
    }
}

impl Environment {
    /// Reads this process's variables. One that is set but empty counts as not set.
    pub fn from_process() -> Environment {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let folder = |name| variable(name).map(PathBuf::from);
        Environment {
            registry_auth_file: folder("REGISTRY_AUTH_FILE"),
            xdg_runtime_dir: folder("XDG_RUNTIME_DIR"),
            run_containers: run_containers(),
            xdg_config_home: folder("XDG_CONFIG_HOME"),
            docker_config: folder("DOCKER_CONFIG"),
            home: std::env::home_dir().filter(|home| !home.as_os_str().is_empty()),
            path: variable("PATH"),
            helper_timeout: HELPER_TIMEOUT,
        }
    }

    /// The files that may hold logins, first to last, each once. They need not exist.
    fn login_files(&self) -> Vec<PathBuf> {
        if let Some(only) = &self.registry_auth_file {
            return vec![only.clone()];
        }
        let in_home = |folder| self.home.as_ref().map(|home| home.join(folder));
        let runtime = self.xdg_runtime_dir.as_ref().map(|folder| folder.join("containers"));
        let config = self.xdg_config_home.clone().or_else(|| in_home(".config"));

        let folders_and_names = [
            (runtime.or_else(|| self.run_containers.clone()), "auth.json"),
            (config.map(|folder| folder.join("containers")), "auth.json"),
            (self.docker_config.clone().or_else(|| in_home(".docker")), "config.json"),
        ];
        let mut files = Vec::new();
        for (folder, name) in folders_and_names {
            if let Some(file) = folder.map(|folder| folder.join(name))
                && !files.contains(&file)
            {
                files.push(file);
            }
        }
        files
    }
}

/// Podman's folder for this user. The owner of `/proc/self` is us, and asking takes no `unsafe`.
#[cfg(target_os = "linux")]
fn run_containers() -> Option<PathBuf> {
    use std::os::linux::fs::MetadataExt as _;

    let uid = std::fs::metadata("/proc/self").ok()?.st_uid();
    Some(Path::new("/run/containers").join(uid.to_string()))
}

#[cfg(not(target_os = "linux"))]
fn run_containers() -> Option<PathBuf> {
    None
}

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

#[cfg(test)]
mod tests;
