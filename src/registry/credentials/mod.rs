//! Who we are to a registry: given in settings, or found where docker and podman keep logins.
//!
//! `environment` says where to look, `files` reads the login files, `key` tells which entry is meant,
//! and `helper` talks to credential helpers; this module says who is asked first. What a registry does with a login (challenges, token
//! servers, headers) is left to the code that sends requests, and so is remembering the answer:
//! every [`Keychain::find`] looks again, because a helper may hand out short-lived passwords.

mod environment;
mod error;
mod files;
mod helper;
mod key;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};

pub use self::environment::{Environment, HELPER_TIMEOUT};
pub use self::error::CredentialsError;
use self::files::LoginFile;
use self::key::Wanted;

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

#[cfg(test)]
mod tests;
