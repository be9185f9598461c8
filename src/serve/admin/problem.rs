//! Errors of the API: `application/problem+json` (RFC 9457).

use axum::body::to_bytes;
use axum::http::header::{ALLOW, CONTENT_TYPE, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::model::text::clean;
use crate::store::StoreError;

const PROBLEM: &str = "application/problem+json";
const LONGEST_DETAIL_BYTES: usize = 1000;

/// Why a request was not carried out.
#[derive(Debug)]
pub(in crate::serve) struct Problem {
    status: StatusCode,
    detail: String,
}

/// A problem as it is written: RFC 9457.
#[derive(Serialize, ToSchema)]
#[schema(as = ProblemDetails)]
pub(super) struct Details {
    /// `about:blank`: the status says what kind of problem it is.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: &'static str,
    /// The status of the answer.
    status: u16,
    /// What is wrong with this request.
    detail: String,
}

impl Problem {
    pub(in crate::serve) fn new(status: StatusCode, detail: impl ToString) -> Problem {
        Problem { status, detail: detail.to_string() }
    }

    pub(in crate::serve) fn status(&self) -> StatusCode {
        self.status
    }

    pub(in crate::serve) fn detail(&self) -> &str {
        &self.detail
    }

    /// What was sent makes no sense.
    pub(in crate::serve) fn bad(detail: impl ToString) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, detail)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Problem {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, error)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Problem { status, detail } = self;
        let title = status.canonical_reason().unwrap_or("Error");
        let details = Details { kind: "about:blank", title, status: status.as_u16(), detail };
        let body = serde_json::to_string(&details).expect("texts and numbers are JSON");
        (status, [(CONTENT_TYPE, PROBLEM), (X_CONTENT_TYPE_OPTIONS, "nosniff")], body).into_response()
    }
}

/// Makes a problem of refusals that the framework words itself, and tells browsers not to guess.
pub(super) async fn everywhere(response: Response) -> Response {
    let (status, media_type) = (response.status(), response.headers().get(CONTENT_TYPE));
    let is_refusal = status.is_client_error() || status.is_server_error();
    let mut response = match is_refusal && media_type.is_none_or(|found| found != PROBLEM) {
        true => {
            let (head, body) = response.into_parts();
            let detail = to_bytes(body, LONGEST_DETAIL_BYTES).await.unwrap_or_default();
            let detail = clean(&String::from_utf8_lossy(&detail), LONGEST_DETAIL_BYTES);
            let mut problem = Problem::new(status, detail).into_response();
            if let Some(allow) = head.headers.get(ALLOW) {
                problem.headers_mut().insert(ALLOW, allow.clone());
            }
            problem
        }
        false => response,
    };
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}
