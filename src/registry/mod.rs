//! The wire: an OCI registry over HTTP.
//!
//! One method is one request, as far as the caller is concerned. What every request needs (login,
//! redirects, retry, limits, redaction) is in `send.rs`, once. There is no DELETE.
//!
//! Specification: distribution-spec 1.1; the differences between it and registries in use are
//! noted where they are met.

mod auth;
mod auth_error;
mod blob;
mod challenge;
mod client;
pub mod credentials;
mod error;
mod gate;
mod json;
mod link;
mod listing;
mod pace;
mod patience;
mod put;
mod receive;
mod referrers;
mod scope;
mod send;
mod token;
mod url;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Method, StatusCode};

use crate::model::{Descriptor, Digest, Host, Repository, Unfit};
pub use auth_error::AuthError;
pub use blob::Blob;
pub use client::{Trust, client_for};
use credentials::Keychain;
pub use error::{Kind, Refusal, RegistryError, RequestLine};
pub use gate::{Gate, Permission};
pub use pace::{Observed, Observer, Rate, Shared, Together};
pub use put::Decided;
use send::{Answer, Call, Follow, Wire};
pub use url::is_public;
use wire::{ACCEPT_MANIFESTS, has_errors, read_refusal};
pub use wire::{
    Document, attested, is_attestation, read_claim, read_layers, read_manifest, read_published, read_served,
};

/// The most bytes read of a manifest or index; registries take no larger ones.
const LARGEST_MANIFEST: u64 = 4 * 1024 * 1024;

/// How to talk to a registry.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// What this process wants to do there; every token is asked for exactly that.
    pub access: Access,
    /// Whether it is reached without TLS.
    pub plain_http: bool,
    /// Certificates, ours and theirs.
    pub trust: Trust,
    /// Hosts outside the registry's domain that may be its token server.
    pub token_realm_hosts: Vec<String>,
    /// Where logins are.
    pub keychain: Keychain,
    /// The most requests that are under way at one time.
    pub concurrency: usize,
    /// What is done again, and after what wait.
    pub retry: Retry,
    /// How long one request may take in all, tries and waits of our own included.
    pub deadline: Duration,
    /// The most requests in a while, if there is a bound.
    pub rate: Option<Rate>,
    /// Who is told of every request.
    pub observer: Observer,
    /// Who else asks the registry, at the same rate together.
    pub together: Together,
}

impl Settings {
    /// The settings for most registries: TLS, the system's certificates, no login.
    pub fn new(access: Access) -> Settings {
        Settings {
            access,
            plain_http: false,
            trust: Trust::default(),
            token_realm_hosts: Vec::new(),
            keychain: Keychain::none(),
            concurrency: 32,
            retry: Retry::default(),
            deadline: Duration::from_secs(60),
            rate: None,
            observer: Observer::default(),
            together: Together::default(),
        }
    }
}

/// What a process wants to do in a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Look.
    Read,
    /// Look and write.
    Publish,
}

impl Access {
    /// The actions of a token scope.
    pub fn as_str(self) -> &'static str {
        match self {
            Access::Read => "pull",
            Access::Publish => "pull,push",
        }
    }
}

/// What is done again, and after what wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// The most tries of one request.
    pub attempts: u32,
    /// The bound of the first wait; it doubles with every try.
    pub first: Duration,
    /// The bound of all waits.
    pub longest: Duration,
}

impl Default for Retry {
    fn default() -> Retry {
        Retry { attempts: 5, first: Duration::from_millis(250), longest: Duration::from_secs(30) }
    }
}

impl Retry {
    /// A random wait after try `number`; one that was put off (429) waits four times as long.
    fn pause(&self, number: u32, was_put_off: bool) -> Duration {
        let factor = 2u32.saturating_pow(number.saturating_sub(1).min(16)) * if was_put_off { 4 } else { 1 };
        let bound = self.first.saturating_mul(factor).min(self.longest);
        bound.mul_f64(fastrand::f64())
    }
}

/// A registry. Clones share connections, tokens and what was learned.
#[derive(Clone, Debug)]
pub struct Registry {
    wire: Arc<Wire>,
    requests: Arc<AtomicU64>,
    gate: Gate,
}

/// A manifest as the registry sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Its bytes.
    pub bytes: Bytes,
    /// Their digest, computed here.
    pub digest: Digest,
    /// The media type that the registry sent with them.
    pub content_type: Option<String>,
}

impl Registry {
    /// A registry; nothing is sent before the first request.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Settings`]: the host makes no URL.
    pub fn new(host: &Host, settings: Settings) -> Result<Registry, RegistryError> {
        Ok(Registry { wire: Arc::new(Wire::new(host, settings)?), requests: Arc::default(), gate: Gate::default() })
    }

    /// The same registry with a count of requests of its own, from zero.
    pub fn counting_anew(&self) -> Registry {
        Registry { wire: self.wire.clone(), requests: Arc::default(), gate: self.gate.clone() }
    }

    /// The same registry, but nothing is written there without asking `gate`.
    pub fn gated(self, gate: Gate) -> Registry {
        Registry { gate, ..self }
    }

    /// Leaves the registry alone for a while, as it asked somebody else.
    pub fn keep_quiet(&self, wait: Duration) {
        self.wire.keep_quiet(wait);
    }

    /// How many HTTP requests were sent, tokens, redirects and repetitions included.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Whether it refused an OCI index before.
    pub fn wants_docker_lists(&self) -> bool {
        self.wire.wants_docker_lists.load(Ordering::Relaxed)
    }

    /// Remembers that it refuses OCI indexes.
    pub fn remember_docker_lists(&self) {
        self.wire.wants_docker_lists.store(true, Ordering::Relaxed);
    }

    /// Gets a manifest; `None` if the registry says that there is none.
    ///
    /// Wire: `GET /v2/<name>/manifests/<tag or digest>`, all six manifest types accepted.
    /// Spec: distribution-spec 1.1, "Pulling manifests" (end-3). The bytes are checked against
    /// the digest that was asked for or that the answer names; once more is asked if they differ.
    ///
    /// # Errors
    ///
    /// - [`RegistryError::DigestMismatch`]: other bytes came, twice.
    /// - [`RegistryError::TooLarge`]: more than 4 MiB.
    pub async fn manifest(&self, repository: &Repository, reference: &str) -> Result<Option<Manifest>, RegistryError> {
        let mut call = self.manifest_call(Method::GET, repository, reference);
        match self.manifest_once(&call, reference).await {
            Err(RegistryError::DigestMismatch { .. }) => {
                call.fresh = true;
                self.manifest_once(&call, reference).await
            }
            result => result,
        }
    }

    async fn manifest_once(&self, call: &Call<'_>, reference: &str) -> Result<Option<Manifest>, RegistryError> {
        let Some(answer) = self.found(call).await? else {
            return Ok(None);
        };
        let found = Digest::of(&answer.body);
        let asked = reference.parse::<Digest>().ok();
        let announced = announced_digest(&answer.headers);
        if let Some(expected) = [asked, announced].into_iter().flatten().find(|expected| *expected != found) {
            return Err(RegistryError::DigestMismatch { request: call.line(), expected: expected.to_string(), found });
        }
        Ok(Some(Manifest { bytes: answer.body, digest: found, content_type: content_type(&answer.headers) }))
    }

    /// Finds out what a tag stands for, or whether a digest is there; `None` if it is not.
    ///
    /// Wire: `HEAD /v2/<name>/manifests/<reference>`, past caches; a GET where the registry knows
    /// no HEAD or names no digest. Spec: distribution-spec 1.1, "Checking if content exists in the
    /// registry" (end-3).
    pub async fn resolve(&self, repository: &Repository, reference: &str) -> Result<Option<Digest>, RegistryError> {
        let mut call = self.manifest_call(Method::HEAD, repository, reference);
        call.fresh = true;
        let answer = self.wire.send(&call).await?;
        if !matches!(answer.status, StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED) {
            // Plain text is what proxies without a route answer with. A body would tell, and this has none.
            let is_doubtful = answer.status == StatusCode::NOT_FOUND && is_of_type(&answer, "text/plain");
            match confirmed(&call, answer)? {
                None if is_doubtful => {}
                None => return Ok(None),
                Some(answer) => {
                    if let Some(found) = announced_digest(&answer.headers) {
                        return is_the_one(&call, reference, found).map(Some);
                    }
                }
            }
        }
        call.method = Method::GET;
        Ok(self.manifest_once(&call, reference).await?.map(|manifest| manifest.digest))
    }

    /// Gets a config blob. `None` if the registry says that there is none; the inner result says
    /// whether it is the blob that `descriptor` describes.
    ///
    /// Wire: `GET /v2/<name>/blobs/<digest>`, followed to object storage without our login.
    /// Spec: distribution-spec 1.1, "Pulling blobs" (end-2). Reading stops one byte after the size.
    pub async fn config(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
    ) -> Result<Option<Result<Bytes, Unfit>>, RegistryError> {
        let Descriptor { digest, size, .. } = descriptor;
        let mut call = self.call(Method::GET, repository, &format!("blobs/{digest}"), *size);
        call.follow = Follow::Anywhere;
        let answer = match self.found(&call).await {
            Ok(Some(answer)) => answer,
            Ok(None) => return Ok(None),
            Err(RegistryError::TooLarge { .. }) => {
                return Ok(Some(Err(Unfit::SizeMismatch { expected: *size, found: size + 1 })));
            }
            Err(error) => return Err(error),
        };
        let found = answer.body.len() as u64;
        if found != *size {
            return Ok(Some(Err(Unfit::SizeMismatch { expected: *size, found })));
        }
        let found = Digest::of(&answer.body);
        if found != *digest {
            return Ok(Some(Err(Unfit::DigestMismatch { expected: digest.to_string(), found })));
        }
        Ok(Some(Ok(answer.body)))
    }

    fn manifest_call<'a>(&'a self, method: Method, repository: &'a Repository, reference: &str) -> Call<'a> {
        let mut call = self.call(method, repository, &format!("manifests/{reference}"), LARGEST_MANIFEST);
        call.accept = ACCEPT_MANIFESTS;
        call
    }

    fn call<'a>(&'a self, method: Method, repository: &'a Repository, below: &str, limit_bytes: u64) -> Call<'a> {
        self.call_at(method, repository.path(), &format!("{}/{below}", repository.path()), limit_bytes)
    }

    /// A request about the repository `path`, which is empty for the list of all.
    fn call_at<'a>(&'a self, method: Method, path: &'a str, below: &str, limit_bytes: u64) -> Call<'a> {
        Call {
            method,
            url: self.wire.url(below),
            accept: "",
            body: None,
            sent: &self.requests,
            path,
            limit_bytes,
            follow: Follow::SameOrigin,
            fresh: false,
            gate: None,
            until: None,
            range: None,
            is_streamed: false,
        }
    }

    /// Sends a request for something that may be missing.
    async fn found(&self, call: &Call<'_>) -> Result<Option<Answer>, RegistryError> {
        confirmed(call, self.wire.send(call).await?)
    }
}

/// Takes 200 for yes and a registry's 404 for no; everything else is neither.
///
/// A page of HTML or a bare sentence (`404 page not found`) is no registry's 404: it comes from a proxy
/// that knows no such host or path.
fn confirmed(call: &Call<'_>, answer: Answer) -> Result<Option<Answer>, RegistryError> {
    let request = || call.line();
    if is_of_type(&answer, "text/html") && (answer.status.is_success() || answer.status == StatusCode::NOT_FOUND) {
        let found = format!("status {} with a page of HTML", answer.status.as_u16());
        return Err(RegistryError::NotARegistry { request: request(), found });
    }
    match answer.status {
        StatusCode::OK => Ok(Some(answer)),
        StatusCode::PARTIAL_CONTENT if call.range.is_some() => Ok(Some(answer)),
        StatusCode::NOT_FOUND if call.follow == Follow::SameOrigin && !speaks_as_registry(call, &answer) => {
            let found = "status 404 with a text of its own".to_owned();
            Err(RegistryError::NotARegistry { request: request(), found })
        }
        StatusCode::NOT_FOUND => {
            let refusal = read_refusal(&answer);
            match refusal.code.as_str() {
                "UNAUTHORIZED" | "DENIED" => {
                    let repository = call.path.to_owned();
                    Err(RegistryError::Denied {
                        request: request(),
                        refusal,
                        needed: Access::Read.as_str(),
                        repository,
                    })
                }
                // Distribution 2.8 denies a tag whose kind was not accepted; a proxy took our Accept away.
                _ if refusal.message.contains("accept header") => {
                    Err(RegistryError::Failed { request: request(), refusal })
                }
                _ => Ok(None),
            }
        }
        status if status.is_success() => {
            let found = format!("status {}", status.as_u16());
            Err(RegistryError::NotARegistry { request: request(), found })
        }
        _ => Err(RegistryError::Failed { request: request(), refusal: read_refusal(&answer) }),
    }
}

/// Whether a refusal may be a registry's: it says nothing, or it says it as the specification has it
/// (distribution-spec 1.1, "Error Codes"). The list of repositories is outside of that.
fn speaks_as_registry(call: &Call<'_>, answer: &Answer) -> bool {
    call.path.is_empty() || answer.body.trim_ascii().is_empty() || has_errors(&answer.body)
}

/// Whether what a registry has is what it was asked for, where that was a digest.
fn is_the_one(call: &Call<'_>, reference: &str, found: Digest) -> Result<Digest, RegistryError> {
    match reference.parse::<Digest>() {
        Ok(asked) if asked != found => {
            Err(RegistryError::DigestMismatch { request: call.line(), expected: asked.to_string(), found })
        }
        _ => Ok(found),
    }
}

fn is_of_type(answer: &Answer, media_type: &str) -> bool {
    content_type(&answer.headers).is_some_and(|found| found.to_ascii_lowercase().starts_with(media_type))
}

fn announced_digest(headers: &HeaderMap) -> Option<Digest> {
    headers.get("docker-content-digest")?.to_str().ok()?.parse().ok()
}

fn content_type(headers: &HeaderMap) -> Option<String> {
    headers.get(CONTENT_TYPE)?.to_str().ok().map(str::to_owned)
}
