//! The end of one request on the wire: its answer, read as far as it is wanted, or why there is none.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use reqwest::header::CONTENT_ENCODING;
use reqwest::{Response, Url};
use tokio::sync::OwnedSemaphorePermit;

use super::error::{RegistryError, RequestLine};
use super::send::Answer;
use crate::model::text::first_cause;

/// A body that is still coming.
#[derive(Debug)]
pub(super) struct Rest {
    response: Response,
    /// Its place among the requests under way.
    pub(super) permit: Option<OwnedSemaphorePermit>,
}

impl Rest {
    /// The next piece of the body; `None` at its end.
    pub(super) async fn next(&mut self, line: &RequestLine) -> Result<Option<Bytes>, RegistryError> {
        self.response.chunk().await.map_err(|error| failure(line, error))
    }
}

/// Sends a prepared request and reads its answer up to `limit_bytes`.
pub(super) async fn read(
    counter: &AtomicU64,
    request: reqwest::RequestBuilder,
    line: &RequestLine,
    url: &Url,
    limit_bytes: u64,
) -> Result<Answer, RegistryError> {
    collect(begin(counter, request, line).await?, line, url, limit_bytes).await
}

/// Sends a prepared request and leaves the body of a good answer to be read.
pub(super) async fn open(
    counter: &AtomicU64,
    request: reqwest::RequestBuilder,
    line: &RequestLine,
    url: &Url,
) -> Result<Answer, RegistryError> {
    let response = begin(counter, request, line).await?;
    if !response.status().is_success() {
        return collect(response, line, url, 0).await;
    }
    let (status, headers) = (response.status(), response.headers().clone());
    let rest = Some(Rest { response, permit: None });
    Ok(Answer { status, headers, body: Bytes::new(), rest, url: url.clone(), is_home: true })
}

async fn begin(
    counter: &AtomicU64,
    request: reqwest::RequestBuilder,
    line: &RequestLine,
) -> Result<Response, RegistryError> {
    counter.fetch_add(1, Ordering::Relaxed);
    let response = request.send().await.map_err(|error| failure(line, error))?;
    tracing::debug!(status = response.status().as_u16(), "answered");
    if response.headers().get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        let found = "an encoded body, which was not asked for".to_owned();
        return Err(RegistryError::NotARegistry { request: line.clone(), found });
    }
    Ok(response)
}

async fn collect(
    mut response: Response,
    line: &RequestLine,
    url: &Url,
    limit_bytes: u64,
) -> Result<Answer, RegistryError> {
    let (status, headers) = (response.status(), response.headers().clone());
    // Of a refusal only the beginning is of interest.
    let (limit, is_capped) = if status.is_success() { (limit_bytes, true) } else { (64 * 1024, false) };
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| failure(line, error))? {
        body.extend_from_slice(&chunk);
        if body.len() as u64 > limit {
            if is_capped {
                return Err(RegistryError::TooLarge { request: line.clone(), limit_bytes });
            }
            break;
        }
    }
    Ok(Answer { status, headers, body: body.freeze(), rest: None, url: url.clone(), is_home: true })
}

/// Why there is no answer, without the URL (it may be signed).
fn failure(line: &RequestLine, error: reqwest::Error) -> RegistryError {
    let error = error.without_url();
    let request = line.clone();
    let cause = first_cause(&error);
    if error.is_timeout() && !error.is_connect() {
        return RegistryError::Unreachable { request, cause: "the connection timed out".to_owned() };
    }
    if is_about_trust(&error) {
        return RegistryError::Tls { request, cause };
    }
    let cause = if error.is_timeout() { "connecting timed out".to_owned() } else { cause };
    RegistryError::Unreachable { request, cause }
}

/// Whether TLS itself failed, which no repetition mends.
fn is_about_trust(error: &reqwest::Error) -> bool {
    std::iter::successors(std::error::Error::source(error), |e| e.source()).any(is_tls_error)
}

/// TLS errors travel inside I/O errors, sometimes one within another.
fn is_tls_error(error: &(dyn std::error::Error + 'static)) -> bool {
    let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    error.is::<rustls::Error>() || inner.is_some_and(|inner| is_tls_error(inner))
}
