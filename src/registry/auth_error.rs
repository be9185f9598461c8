//! What can go wrong about a login, in words for the one whose login it is.

use super::credentials::CredentialsError;
use super::error::{Kind, Refusal, is_temporary};

/// Why there is no header that gets us in.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// A login file or helper is broken.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The registry wants a login and there is none for it.
    #[error("there is no login for {host}")]
    NoCredentials {
        /// The registry.
        host: String,
    },
    /// The login was not accepted.
    #[error("the login was refused ({refusal})")]
    Refused {
        /// What the registry or its token server said.
        refusal: Refusal,
    },
    /// The registry answered 401 and did not say what it wants to see.
    #[error("the registry refuses without saying what login it expects")]
    NoChallenge,
    /// A Bearer challenge that names no token server.
    #[error("the registry asks for a token without saying where to get one")]
    NoRealm,
    /// A scheme that is not supported, such as Negotiate.
    #[error("the registry accepts only `{schemes}`; expected Basic or Bearer")]
    UnknownScheme {
        /// What it accepts.
        schemes: String,
    },
    /// The token server is somewhere our login must not be sent.
    #[error("{host} asks to send the login to {realm}, which is refused: {why}")]
    RealmRefused {
        /// Where the registry points to.
        realm: String,
        /// The registry.
        host: String,
        /// Why it is refused.
        why: &'static str,
    },
    /// The token server says no, or is unwell.
    #[error("the token server failed ({refusal})")]
    Answer {
        /// What it said.
        refusal: Refusal,
    },
    /// The token server's answer makes no sense.
    #[error("the token server sent {found}")]
    Unreadable {
        /// What came.
        found: String,
    },
}

impl AuthError {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Credentials(_) => Kind::Settings,
            Self::Answer { refusal } if is_temporary(refusal.status) => Kind::Failing,
            _ => Kind::NotAllowed,
        }
    }

    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Credentials(_) => "credentials",
            Self::NoCredentials { .. } => "no-credentials",
            Self::RealmRefused { .. } => "realm-refused",
            _ => "auth-failed",
        }
    }

    pub(super) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Credentials(source) => source.hint(),
            Self::NoCredentials { .. } | Self::Refused { .. } => {
                Some("run `docker login`, or set ONETAG_USERNAME and ONETAG_PASSWORD")
            }
            Self::RealmRefused { .. } => Some("if that host is the registry's own, name it with `--token-realm-host`"),
            _ => None,
        }
    }

    pub(super) fn may_pass(&self) -> bool {
        matches!(self, Self::Answer { refusal } if is_temporary(refusal.status))
    }
}
