//! What arrives at the admin listener: whole, short, and in time, or not at all.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::problem::Problem;

/// The longest request that anybody has a use for.
const LONGEST_BODY_BYTES: usize = 64 * 1024;
/// How long it may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads a request's body before anybody looks at it.
pub(super) async fn whole(request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    let (status, detail) = match tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, LONGEST_BODY_BYTES)).await {
        Ok(Ok(bytes)) => return next.run(Request::from_parts(head, Body::from(bytes))).await,
        Ok(Err(_)) => (StatusCode::PAYLOAD_TOO_LARGE, "the request has more than 64 KiB, or broke off"),
        Err(_) => (StatusCode::REQUEST_TIMEOUT, "the request did not arrive"),
    };
    Problem::new(status, detail).into_response()
}
