//! Blobs read piece by piece: layers, of which often only the beginning is needed.
//!
//! A connection that breaks is taken up where it broke. Dropping a [`Blob`] ends the download.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{CONTENT_RANGE, HeaderMap};
use reqwest::{Method, StatusCode};
use sha2::{Digest as _, Sha256};

use super::error::RegistryError;
use super::receive::Rest;
use super::send::{Call, Follow};
use super::{Registry, confirmed};
use crate::model::{Descriptor, Digest, Repository};

/// How far a blob that is longer than it should be is read on, to see whether it is the right one.
const MOST_BEYOND: u64 = 16 << 20;

/// A blob that is being read.
#[derive(Debug)]
pub struct Blob<'a> {
    registry: &'a Registry,
    call: Call<'a>,
    rest: Rest,
    /// What is read of the blob; of a whole one, what its descriptor says.
    wanted: Range<u64>,
    /// What the whole must be, where the whole is read.
    whole: Option<(&'a Digest, Sha256)>,
    /// How far into the blob we are.
    at: u64,
    /// Bytes that come again because the registry does not go on in the middle.
    again: u64,
    received: u64,
    tries: u32,
}

impl Registry {
    /// Opens a blob to be read from its beginning; `None` if the registry says that there is none.
    ///
    /// Wire: `GET /v2/<name>/blobs/<digest>`, followed to object storage without our login.
    /// Spec: distribution-spec 1.1, "Pulling blobs" (end-2). The answer's head is waited for here,
    /// with all repetitions that any request has; pieces are read by [`Blob::next`].
    ///
    /// # Errors
    ///
    /// [`RegistryError`]: the blob could not be opened.
    pub async fn blob<'a>(
        &'a self,
        repository: &'a Repository,
        descriptor: &'a Descriptor,
    ) -> Result<Option<Blob<'a>>, RegistryError> {
        let call = self.blob_call(repository, &descriptor.digest);
        let Some(Opened { rest, .. }) = self.open(&call, 0).await? else {
            return Ok(None);
        };
        Ok(Some(Blob {
            registry: self,
            call,
            rest,
            wanted: 0..descriptor.size,
            whole: Some((&descriptor.digest, Sha256::new())),
            at: 0,
            again: 0,
            received: 0,
            tries: 1,
        }))
    }

    /// Opens a part of a blob; `None` if the registry has no such blob or gives no parts of it.
    ///
    /// Wire: `GET /v2/<name>/blobs/<digest>` with `Range`, answered by `206 Partial Content`.
    /// Spec: distribution-spec 1.1, "Pulling blobs": a registry may support it (RFC 9110,
    /// section 14). Others ignore it and answer 200 with the whole, or refuse what they do not
    /// know: 416, 501, or 403 where a signed URL is for the whole alone. Nothing says that the bytes
    /// are right; the caller has to know.
    ///
    /// # Errors
    ///
    /// [`RegistryError`]: the registry could not be asked.
    pub async fn blob_part<'a>(
        &'a self,
        repository: &'a Repository,
        digest: &'a Digest,
        part: Range<u64>,
    ) -> Result<Option<Blob<'a>>, RegistryError> {
        let mut call = self.blob_call(repository, digest);
        call.range = Some(part.clone());
        let opened = match self.open(&call, part.start).await {
            Ok(opened) => opened,
            Err(error) if is_refusal(&error) => {
                tracing::info!("{error}; it is done without parts");
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        match opened {
            Some(Opened { rest, start, is_part: true }) if start == part.start => Ok(Some(Blob {
                registry: self,
                call,
                rest,
                at: part.start,
                wanted: part,
                whole: None,
                again: 0,
                received: 0,
                tries: 1,
            })),
            _ => Ok(None),
        }
    }

    fn blob_call<'a>(&'a self, repository: &'a Repository, digest: &Digest) -> Call<'a> {
        let mut call = self.call(Method::GET, repository, &format!("blobs/{digest}"), 0);
        call.follow = Follow::Anywhere;
        call.is_streamed = true;
        call
    }

    /// Opens a blob to be read from `from` on: what comes, and where in the blob it begins.
    async fn open(&self, call: &Call<'_>, from: u64) -> Result<Option<Opened>, RegistryError> {
        let Some(mut answer) = confirmed(call, self.wire.send(call).await?)? else {
            return Ok(None);
        };
        let is_part = answer.status == StatusCode::PARTIAL_CONTENT;
        let start = if is_part { range_start(&answer.headers) } else { Some(0) };
        match (answer.rest.take(), start) {
            (Some(rest), Some(start)) if start == from || start == 0 => Ok(Some(Opened { rest, start, is_part })),
            _ => Err(RegistryError::NotARegistry {
                request: call.line(),
                found: "another part of the blob than was asked for".to_owned(),
            }),
        }
    }
}

/// What comes of a blob.
struct Opened {
    rest: Rest,
    /// Where in the blob it begins.
    start: u64,
    /// Whether it is a part of the blob, and not all of it.
    is_part: bool,
}

/// Whether a registry does not give what was asked for, though it may give more.
fn is_refusal(error: &RegistryError) -> bool {
    matches!(
        error,
        RegistryError::Denied { .. }
            | RegistryError::StorageRefused { .. }
            | RegistryError::Failed { .. }
            | RegistryError::NotARegistry { .. }
    )
}

impl Blob<'_> {
    /// The next piece; `None` at the end. At the end of a whole blob its digest has been checked, and
    /// [`Blob::at`] is its size, which its descriptor may have wrong.
    ///
    /// # Errors
    ///
    /// - [`RegistryError::DigestMismatch`]: these are not the bytes that the digest names.
    /// - [`RegistryError::TooLarge`]: far more bytes come than the descriptor says.
    pub async fn next(&mut self) -> Result<Option<Bytes>, RegistryError> {
        loop {
            let piece = match self.receive().await {
                Ok(piece) => piece,
                Err(_) if self.at == self.wanted.end => None,
                Err(error) if self.at > self.wanted.end => return Err(error),
                Err(error) if error.may_pass() && self.tries < self.registry.wire.settings.retry.attempts => {
                    self.resume(&error).await?;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let Some(mut piece) = piece else {
                return self.finish().map(|()| None);
            };
            self.received += piece.len() as u64;
            let again = self.again.min(piece.len() as u64);
            self.again -= again;
            let fresh = piece.split_off(usize::try_from(again).unwrap_or(piece.len()));
            if fresh.is_empty() {
                continue;
            }
            self.at += fresh.len() as u64;
            let beyond = if self.whole.is_some() { MOST_BEYOND } else { 0 };
            if self.at > self.wanted.end.saturating_add(beyond) {
                let limit_bytes = self.wanted.end - self.wanted.start;
                return Err(RegistryError::TooLarge { request: self.call.line(), limit_bytes });
            }
            if let Some((_, hash)) = &mut self.whole {
                hash.update(&fresh);
            }
            return Ok(Some(fresh));
        }
    }

    /// How many bytes came so far, those that came twice counted twice.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// How far into the blob we are.
    pub fn at(&self) -> u64 {
        self.at
    }

    async fn receive(&mut self) -> Result<Option<Bytes>, RegistryError> {
        let (line, patience) = (self.call.line(), self.longest_silence());
        let piece = tokio::time::timeout(patience, self.rest.next(&line)).await;
        match piece {
            Ok(Ok(None)) if self.at < self.wanted.end && self.whole.is_none() => {
                Err(RegistryError::Unreachable { request: line, cause: "the answer ended early".to_owned() })
            }
            Ok(piece) => piece,
            Err(_) => Err(RegistryError::TimedOut { request: line, after: patience }),
        }
    }

    /// How long a body may be silent: as long as any answer may take to come.
    fn longest_silence(&self) -> Duration {
        self.registry.wire.settings.deadline / 2
    }

    async fn resume(&mut self, error: &RegistryError) -> Result<(), RegistryError> {
        let wait = self.registry.wire.settings.retry.pause(self.tries, false);
        tracing::info!(waits_ms = wait.as_millis(), attempt = self.tries, "{error}; going on at byte {}", self.at);
        tokio::time::sleep(wait).await;
        self.tries += 1;
        self.call.range = Some(self.at..self.wanted.end);
        let Some(Opened { rest, start, .. }) = self.registry.open(&self.call, self.at).await? else {
            let (request, cause) = (self.call.line(), "the blob is gone".to_owned());
            return Err(RegistryError::Unreachable { request, cause });
        };
        (self.rest, self.again) = (rest, self.at - start);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), RegistryError> {
        let Some((digest, hash)) = self.whole.take() else {
            return Ok(());
        };
        let found = Digest::from_hash(hash.finalize().into());
        if found == *digest {
            return Ok(());
        }
        Err(RegistryError::DigestMismatch { request: self.call.line(), expected: digest.to_string(), found })
    }
}

/// Where the part begins that an answer holds: `Content-Range: bytes 100-199/1000`.
fn range_start(headers: &HeaderMap) -> Option<u64> {
    let text = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    text.strip_prefix("bytes ")?.split('-').next()?.trim().parse().ok()
}
