//! Writing: an index under its tag, and the copy of an image that it may name.
//!
//! Whatever is sent, a lost answer says nothing about what was done; so the registry is asked what
//! it has before anything is sent again.

use std::time::Instant;

use bytes::Bytes;
use reqwest::header::LOCATION;
use reqwest::{Method, StatusCode};

use super::error::RegistryError;
use super::send::{Answer, Call, Follow};
use super::url::same_origin;
use super::wire::read_refusal;
use super::{Registry, announced_digest, confirmed, error};
use crate::model::index::{DOCKER_MANIFEST, OCI_MANIFEST};
use crate::model::{Digest, Index, Repository, Tag};

/// How often something is sent whose arrival could not be seen.
const MOST_PUTS: u32 = 3;
/// The most bytes read of an answer that has nothing to say.
const LARGEST_RECEIPT: u64 = 64 * 1024;

/// What the write of a tag was decided on.
#[derive(Clone, Copy, Debug)]
pub struct Decided<'a> {
    /// What the tag stood for then; none if it was not there.
    pub before: Option<&'a Digest>,
    /// From when on that was too long ago for a write to begin.
    pub until: Instant,
}

/// A manifest to be stored: where, and what.
#[derive(Clone, Copy)]
struct Stored<'a> {
    repository: &'a Repository,
    /// A tag, or its own digest.
    reference: &'a str,
    bytes: &'a Bytes,
    digest: &'a Digest,
    media_type: &'static str,
    /// What it was decided on, where that matters.
    decided: Option<Decided<'a>>,
}

impl Registry {
    /// Puts `index` under `tag`, whatever is there.
    ///
    /// Wire: `PUT /v2/<name>/manifests/<tag>`, answered by `201 Created` and nothing else.
    /// Spec: distribution-spec 1.1, "Pushing Manifests" (end-7). A registry must keep the bytes
    /// exactly as sent, so the `Docker-Content-Digest` it answers with is checked, not trusted.
    ///
    /// Sent again on 429. After a broken connection or a failure of the registry the outcome is
    /// unknown, so the tag is read back before anything is sent again.
    ///
    /// # Errors
    ///
    /// - [`RegistryError::Denied`]: these credentials may not push here.
    /// - [`RegistryError::MissingImage`]: an image in the index was deleted after we read it, or
    ///   is not visible yet.
    /// - [`RegistryError::IndexRefused`]: the registry does not take this kind of index.
    /// - [`RegistryError::Immutable`]: the tag exists and must not change.
    /// - [`RegistryError::OutcomeUnknown`]: nobody knows; the tag must be looked at again.
    #[tracing::instrument(skip_all, fields(%repository, %tag, index.digest = %index.digest()))]
    pub async fn put_index(&self, repository: &Repository, tag: &Tag, index: &Index) -> Result<(), RegistryError> {
        let (bytes, digest, media_type) = (index.bytes(), index.digest(), index.kind().media_type());
        self.put(Stored { repository, reference: tag.as_str(), bytes, digest, media_type, decided: None }).await
    }

    /// Puts `index` under `tag` as [`Registry::put_index`] does it, but nothing is sent once what was
    /// decided on is too long ago (waits that the registry asks for may be long), and nothing is sent
    /// again over what somebody else has put there meanwhile.
    ///
    /// # Errors
    ///
    /// Those of [`Registry::put_index`], and [`RegistryError::Late`]: nothing was sent, or what was
    /// sent was not carried out.
    #[tracing::instrument(skip_all, fields(%repository, %tag, index.digest = %index.digest()))]
    pub async fn replace_index(
        &self,
        repository: &Repository,
        tag: &Tag,
        index: &Index,
        decided: Decided<'_>,
    ) -> Result<(), RegistryError> {
        let (bytes, digest, media_type) = (index.bytes(), index.digest(), index.kind().media_type());
        let decided = Some(decided);
        self.put(Stored { repository, reference: tag.as_str(), bytes, digest, media_type, decided }).await
    }

    /// Puts an image's manifest under its own digest, unless it is there.
    ///
    /// Wire: `HEAD`, then `PUT /v2/<name>/manifests/<digest>`, as [`Registry::put_index`] does it.
    /// Everything that the manifest names must be there.
    ///
    /// # Errors
    ///
    /// Those of [`Registry::put_index`]; [`RegistryError::MissingImage`] where a layer is gone.
    #[tracing::instrument(skip_all, fields(%repository, image.digest = %digest))]
    pub async fn put_image(
        &self,
        repository: &Repository,
        media_type: &str,
        digest: &Digest,
        bytes: &Bytes,
    ) -> Result<(), RegistryError> {
        if self.resolve(repository, digest.as_str()).await?.is_some() {
            return Ok(());
        }
        let media_type = if media_type == DOCKER_MANIFEST { DOCKER_MANIFEST } else { OCI_MANIFEST };
        self.put(Stored { repository, reference: digest.as_str(), bytes, digest, media_type, decided: None }).await
    }

    /// Uploads a small blob, unless it is there.
    ///
    /// Wire: `HEAD /v2/<name>/blobs/<digest>`; `POST /v2/<name>/blobs/uploads/`, answered by
    /// `202 Accepted` and where to go on; there, `PUT …?digest=<digest>`, answered by
    /// `201 Created`. Spec: distribution-spec 1.1, "Pushing a blob monolithically" (end-2, 4a, 6).
    /// The bytes go to the registry itself and nowhere else.
    ///
    /// # Errors
    ///
    /// - [`RegistryError::Denied`]: these credentials may not push here.
    /// - [`RegistryError::RedirectRefused`]: the registry wants the bytes sent somewhere else.
    #[tracing::instrument(skip_all, fields(%repository, blob.digest = %digest))]
    pub async fn put_blob(&self, repository: &Repository, digest: &Digest, bytes: &Bytes) -> Result<(), RegistryError> {
        let mut tries = 0;
        loop {
            tries += 1;
            if self.has_blob(repository, digest).await? {
                return Ok(());
            }
            match self.upload(repository, digest, bytes).await {
                // What was put off was put off often enough already.
                Err(error @ RegistryError::RateLimited { .. }) => return Err(error),
                Err(error) if error.may_pass() && tries < MOST_PUTS => {
                    tokio::time::sleep(self.wire.settings.retry.pause(tries, false)).await;
                }
                result => return result,
            }
        }
    }

    async fn has_blob(&self, repository: &Repository, digest: &Digest) -> Result<bool, RegistryError> {
        let mut call = self.call(Method::HEAD, repository, &format!("blobs/{digest}"), LARGEST_RECEIPT);
        call.follow = Follow::Nowhere;
        match self.wire.send(&call).await {
            Ok(answer) => Ok(confirmed(&call, answer)?.is_some()),
            // Who points to where a blob is stored has it.
            Err(RegistryError::RedirectRefused { .. }) => Ok(true),
            Err(error) => Err(error),
        }
    }

    async fn upload(&self, repository: &Repository, digest: &Digest, bytes: &Bytes) -> Result<(), RegistryError> {
        let mut call = self.call(Method::POST, repository, "blobs/uploads/", LARGEST_RECEIPT);
        call.follow = Follow::Nowhere;
        call.gate = Some(&self.gate);
        let answer = self.wire.send(&call).await?;
        if answer.status != StatusCode::ACCEPTED {
            return Err(unexpected(&call, &answer, "202"));
        }
        let location = answer.headers.get(LOCATION).and_then(|location| location.to_str().ok()).unwrap_or("");
        let refused = |target: String, why| RegistryError::RedirectRefused { request: call.line(), target, why };
        let mut url = call.url.join(location).map_err(|_| refused("nowhere".to_owned(), "that is not a URL"))?;
        if location.is_empty() || !same_origin(&self.wire.base, &url) {
            return Err(refused(error::shown(&url), "what is written goes to the registry itself"));
        }
        url.query_pairs_mut().append_pair("digest", digest.as_str());
        call.method = Method::PUT;
        call.url = url;
        call.body = Some((bytes.clone(), "application/octet-stream"));
        let answer = self.wire.send(&call).await?;
        match (answer.status, announced_digest(&answer.headers)) {
            (StatusCode::CREATED, Some(found)) if found != *digest => {
                Err(RegistryError::DigestMismatch { request: call.line(), expected: digest.to_string(), found })
            }
            (StatusCode::CREATED, _) => Ok(()),
            _ => Err(unexpected(&call, &answer, "201")),
        }
    }

    async fn put(&self, stored: Stored<'_>) -> Result<(), RegistryError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let error = match self.put_once(stored).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            let was_refused = match &error {
                RegistryError::Immutable { .. } => true,
                // Somebody else was writing at this moment, perhaps the same.
                RegistryError::Failed { refusal, .. } => refusal.status == StatusCode::CONFLICT,
                _ => false,
            };
            let was_put_off = matches!(error, RegistryError::RateLimited { .. });
            if was_put_off || !was_refused && !error.may_pass() {
                return Err(error);
            }
            let served = self.resolve(stored.repository, stored.reference).await;
            match served {
                Ok(Some(digest)) if digest == *stored.digest => return Ok(()),
                Ok(_) if was_refused || tries >= MOST_PUTS => return Err(error),
                // A tag that is gone may be what the failure left behind (zot); anything else is somebody's.
                Ok(Some(digest)) if stored.decided.is_some_and(|it| it.before != Some(&digest)) => return Err(error),
                Ok(_) => tokio::time::sleep(self.wire.settings.retry.pause(tries, false)).await,
                Err(source) => {
                    let request = self.manifest_call(Method::PUT, stored.repository, stored.reference).line();
                    return Err(RegistryError::OutcomeUnknown { request, source: Box::new(source) });
                }
            }
        }
    }

    async fn put_once(&self, stored: Stored<'_>) -> Result<(), RegistryError> {
        let mut call = self.manifest_call(Method::PUT, stored.repository, stored.reference);
        call.follow = Follow::Nowhere;
        call.accept = "";
        call.body = Some((stored.bytes.clone(), stored.media_type));
        call.gate = Some(&self.gate);
        call.until = stored.decided.map(|decided| decided.until);
        let answer = self.wire.send(&call).await?;
        let (request, refusal) = (call.line(), read_refusal(&answer));
        if answer.status == StatusCode::CREATED {
            return match announced_digest(&answer.headers) {
                Some(found) if found != *stored.digest => {
                    Err(RegistryError::DigestMismatch { request, expected: stored.digest.to_string(), found })
                }
                _ => Ok(()),
            };
        }
        if refusal.is_immutable() {
            return Err(RegistryError::Immutable { request, refusal });
        }
        Err(match (answer.status.as_u16(), refusal.code.as_str()) {
            (400 | 404, "MANIFEST_BLOB_UNKNOWN" | "BLOB_UNKNOWN" | "MANIFEST_UNKNOWN") => {
                RegistryError::MissingImage { request, refusal }
            }
            (415, _) | (400, "MANIFEST_INVALID" | "UNSUPPORTED") => RegistryError::IndexRefused { request, refusal },
            _ => unexpected(&call, &answer, "201"),
        })
    }
}

/// An answer to a write that is no receipt for it.
fn unexpected(call: &Call<'_>, answer: &Answer, wanted: &str) -> RegistryError {
    let request = call.line();
    if answer.status.is_success() || answer.status.is_informational() {
        let found = format!("status {}, where only {wanted} means that it was stored", answer.status.as_u16());
        return RegistryError::NotARegistry { request, found };
    }
    RegistryError::Failed { request, refusal: read_refusal(answer) }
}
