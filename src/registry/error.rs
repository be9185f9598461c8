//! What can go wrong between us and a registry, in words for the one who has to repair it.

use std::fmt;
use std::time::Duration;

use reqwest::{Method, StatusCode, Url};

use super::auth_error::AuthError;
use crate::model::Digest;
use crate::model::text::clean;

/// A request as it may be shown: without its query, where signed URLs keep their secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestLine(String);

impl RequestLine {
    /// The method and the URL without user, query and fragment.
    pub fn new(method: &Method, url: &Url) -> RequestLine {
        RequestLine(format!("{method} {}", shown(url)))
    }
}

/// A URL without user, query and fragment.
pub(super) fn shown(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let text = format!("{}://{}{port}{}", url.scheme(), url.host_str().unwrap_or(""), url.path());
    clean(&text, 300)
}

impl fmt::Display for RequestLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a registry said of its refusal: distribution-spec 1.1, "Error Codes".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: StatusCode,
    /// The first error's code, upper-case with underscores, as far as the body had one.
    pub code: String,
    /// The first error's message, cleaned and cut.
    pub message: String,
}

impl Refusal {
    /// Whether it means that the tag must not change; every registry has its own way of saying.
    pub(super) fn is_immutable(&self) -> bool {
        let says = |word: &str| self.message.to_ascii_lowercase().contains(word);
        match self.status.as_u16() {
            409 => matches!(self.code.as_str(), "TAG_IMMUTABLE" | "TAG_ALREADY_EXISTS") || says("immutable"),
            400 => self.code == "TAG_INVALID" && says("immutable"),
            412 => self.code == "PRECONDITION" || says("immutable"),
            403 | 405 => says("immutable"),
            _ => false,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.status.as_str())?;
        if !self.code.is_empty() {
            write!(f, " {}", self.code)?;
        }
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        Ok(())
    }
}

/// The registry, or the way to it, failed us.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// These credentials may not do this.
    #[error("{request} was refused ({refusal}): the account needs `{needed}` on {repository}")]
    Denied {
        /// The request.
        request: RequestLine,
        /// What the registry said.
        refusal: Refusal,
        /// What an account would need.
        needed: &'static str,
        /// Where it would need it.
        repository: String,
    },
    /// Credentials could not be had or were not taken.
    #[error("{request} needs a login")]
    Auth {
        /// The request.
        request: RequestLine,
        /// Why there is none.
        source: AuthError,
    },
    /// No answer came: no address, no connection, or the connection broke.
    #[error("{request} got no answer: {cause}")]
    Unreachable {
        /// The request.
        request: RequestLine,
        /// What the system said.
        cause: String,
    },
    /// The other side could not prove who it is, or would not speak TLS.
    #[error("{request} failed: no trusted connection: {cause}")]
    Tls {
        /// The request.
        request: RequestLine,
        /// What was wrong with its certificate.
        cause: String,
    },
    /// No complete answer within the time allowed.
    #[error("{request} got no complete answer within {}", humantime::format_duration(*.after))]
    TimedOut {
        /// The request.
        request: RequestLine,
        /// The time that was allowed.
        after: Duration,
    },
    /// It would have changed something, and we may not do that any more.
    #[error("{request} was not sent: {why}")]
    NotSent {
        /// The request.
        request: RequestLine,
        /// Why not.
        why: String,
    },
    /// It would have changed something, and what it was decided on is too long ago.
    #[error("{request} was not sent: it was decided on too long ago")]
    Late {
        /// The request.
        request: RequestLine,
    },
    /// The registry says that we ask too much.
    #[error("{request} was put off again and again ({refusal})")]
    RateLimited {
        /// The request.
        request: RequestLine,
        /// What the registry said.
        refusal: Refusal,
    },
    /// The registry says no, or that it is unwell, in a way that is none of the others.
    #[error("{request} failed ({refusal})")]
    Failed {
        /// The request.
        request: RequestLine,
        /// What the registry said.
        refusal: Refusal,
    },
    /// Where the registry keeps the bytes, they were not given to us: signed URLs expire.
    #[error("{request} was sent on to a storage that refused it ({refusal})")]
    StorageRefused {
        /// The request.
        request: RequestLine,
        /// What the storage said.
        refusal: Refusal,
    },
    /// The registry does not list its repositories.
    #[error("{request} is not there: the registry does not list its repositories")]
    NoCatalog {
        /// The request.
        request: RequestLine,
    },
    /// A listing that goes on and on.
    #[error("{request} still goes on after {entries} entries on {pages} pages")]
    Endless {
        /// The request for the last page that was read.
        request: RequestLine,
        /// How many entries were read.
        entries: usize,
        /// How many pages were read.
        pages: usize,
    },
    /// An answer that no registry gives.
    #[error("{request} was not answered by a registry: {found}")]
    NotARegistry {
        /// The request.
        request: RequestLine,
        /// What came instead.
        found: String,
    },
    /// More bytes than are read of anything of its kind.
    #[error("{request} was answered with more than {limit_bytes} bytes")]
    TooLarge {
        /// The request.
        request: RequestLine,
        /// The most that is read.
        limit_bytes: u64,
    },
    /// Other bytes than the registry announced or than were asked for.
    #[error("{request} was answered with bytes of {found}, expected {expected}")]
    DigestMismatch {
        /// The request.
        request: RequestLine,
        /// The digest that was asked for, or that the answer's header names.
        expected: String,
        /// The digest of what came.
        found: Digest,
    },
    /// The server sends us where we must not go.
    #[error("{request} was redirected to {target}, which is refused: {why}")]
    RedirectRefused {
        /// The request.
        request: RequestLine,
        /// Where to.
        target: String,
        /// Why not.
        why: &'static str,
    },
    /// The registry does not know an image that the index names.
    #[error("{request} was refused ({refusal}): an image in the index is not there")]
    MissingImage {
        /// The request.
        request: RequestLine,
        /// What the registry said.
        refusal: Refusal,
    },
    /// The registry does not take this kind of index.
    #[error("{request} was refused ({refusal}): the registry does not take this index")]
    IndexRefused {
        /// The request.
        request: RequestLine,
        /// What the registry said.
        refusal: Refusal,
    },
    /// The tag must not change.
    #[error("{request} was refused ({refusal}): the registry does not let this tag change")]
    Immutable {
        /// The request.
        request: RequestLine,
        /// What the registry said.
        refusal: Refusal,
    },
    /// An index was sent, and whether it arrived could not be found out.
    #[error("whether {request} was carried out is not known")]
    OutcomeUnknown {
        /// The request.
        request: RequestLine,
        /// Why the tag could not be read back.
        source: Box<RegistryError>,
    },
    /// A CA file, client certificate or proxy that cannot be used.
    #[error("the connection settings cannot be used: {0}")]
    Settings(String),
}

/// What kind of failure it is; decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What the user set cannot be used.
    Settings,
    /// The user may not do this.
    NotAllowed,
    /// The registry could not be reached or kept failing.
    Failing,
}

impl RegistryError {
    /// What kind of failure it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Settings(_) => Kind::Settings,
            Self::Auth { source, .. } => source.kind(),
            Self::Denied { .. } => Kind::NotAllowed,
            Self::OutcomeUnknown { source, .. } => source.kind(),
            _ => Kind::Failing,
        }
    }

    /// A stable word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Settings(_) => "settings",
            Self::Auth { source, .. } => source.code(),
            Self::Denied { .. } => "denied",
            Self::Unreachable { .. } => "unreachable",
            Self::Tls { .. } => "tls",
            Self::TimedOut { .. } => "timed-out",
            Self::NotSent { .. } | Self::Late { .. } => "not-sent",
            Self::NoCatalog { .. } => "no-catalog",
            Self::RateLimited { .. } => "rate-limited",
            Self::Failed { .. } | Self::StorageRefused { .. } => "registry-failed",
            Self::NotARegistry { .. } => "not-a-registry",
            Self::TooLarge { .. } | Self::Endless { .. } => "too-large",
            Self::DigestMismatch { .. } => "digest-mismatch",
            Self::RedirectRefused { .. } => "redirect-refused",
            Self::MissingImage { .. } => "image-missing",
            Self::IndexRefused { .. } => "index-refused",
            Self::Immutable { .. } => "immutable-tag",
            Self::OutcomeUnknown { .. } => "outcome-unknown",
        }
    }

    /// What the reader can do about it, if anything; printed after the chain as `hint: …`.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Denied { .. } => Some("run `docker login`, or set ONETAG_USERNAME and ONETAG_PASSWORD"),
            Self::Auth { source, .. } => source.hint(),
            Self::Tls { cause, .. } if cause.contains("CertificateRequired") => {
                Some("the registry wants to see a certificate of ours: `--client-cert` and `--client-key`")
            }
            Self::Tls { cause, .. } if cause.contains("InvalidContentType") => {
                Some("a registry without TLS needs `--plain-http`")
            }
            Self::Tls { cause, .. } if cause.contains("UnknownIssuer") => {
                Some("if the registry has a CA of its own, name it with `--ca-file`")
            }
            Self::RateLimited { .. } => Some("wait, or ask less often; nothing was changed"),
            Self::NotARegistry { .. } => Some("check the registry's name; a login page or a proxy may have answered"),
            Self::MissingImage { .. } => Some("an image was deleted while we were reading; run again"),
            Self::IndexRefused { .. } => Some("try the other kind of index with `--index-type`"),
            Self::OutcomeUnknown { .. } => Some("look at the tag, or simply run again"),
            Self::DigestMismatch { .. } => Some("a cache or proxy between us and the registry may be broken"),
            Self::Failed { refusal, .. } if refusal.status == StatusCode::METHOD_NOT_ALLOWED => {
                Some("the registry may be read-only for a while, or take no pushes here")
            }
            Self::Endless { .. } => Some("`--arch` names the architectures to look for, and needs no listing"),
            _ if self.may_pass() => Some("what is published is as it was; run again when the registry answers"),
            Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::NotSent { .. }
            | Self::Late { .. }
            | Self::Failed { .. }
            | Self::StorageRefused { .. }
            | Self::Tls { .. }
            | Self::RedirectRefused { .. }
            | Self::TooLarge { .. }
            | Self::Immutable { .. }
            | Self::NoCatalog { .. }
            | Self::Settings(_) => None,
        }
    }

    /// Whether the same request may succeed later without anybody's doing.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::RateLimited { .. }
            | Self::StorageRefused { .. } => true,
            Self::Failed { refusal, .. } => is_temporary(refusal.status),
            Self::Auth { source, .. } => source.may_pass(),
            _ => false,
        }
    }
}

/// Statuses after which the same request may succeed.
pub(super) fn is_temporary(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 499 | 500 | 502 | 503 | 504 | 520..=524)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn immutable_tags_are_known_in_all_their_dialects() {
        let refusal = |status: u16, code: &str, message: &str| Refusal {
            status: StatusCode::from_u16(status).expect("a status"),
            code: code.to_owned(),
            message: message.to_owned(),
        };
        assert!(refusal(409, "TAG_ALREADY_EXISTS", "").is_immutable());
        assert!(refusal(400, "TAG_INVALID", "The image tag 'x' is immutable").is_immutable());
        assert!(refusal(412, "PRECONDITION", "configured as immutable").is_immutable());
        assert!(refusal(403, "DENIED", "tag is immutable").is_immutable());
        assert!(!refusal(403, "DENIED", "requested access to the resource is denied").is_immutable());
        assert!(!refusal(412, "PROJECTPOLICYVIOLATION", "vulnerable").is_immutable());
        assert!(!refusal(409, "CONFLICT", "").is_immutable());
    }
}
