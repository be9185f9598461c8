//! The page: repositories, one repository's matrix, one tag's history. Rendered here, without a
//! script needed to read it; a few lines of our own make it live.
//!
//! Whatever came from a registry is cleaned and escaped where it is shown; nothing inline is
//! allowed to run or to style.

mod assets;
mod frame;
mod history;
mod matrix;
mod overview;
mod tag;
mod words;

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, RETRY_AFTER};
use axum::middleware::map_response;
use axum::response::sse::{KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::live::Change;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(overview::overview))
        .routes(routes!(matrix::matrix))
        .routes(routes!(tag::tag))
        .routes(routes!(tag::reconcile))
        .routes(routes!(assets::asset))
        .routes(routes!(events))
        .layer(map_response(frame::protected))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct EventsQuery {
    /// Only changes in this repository.
    repository: Option<String>,
}

/// What changes, as it happens
///
/// Server-sent events. `change` tells which tag stands differently; `reload` that more changed than
/// could be told.
#[utoipa::path(get, path = "/events", tag = "page", params(EventsQuery), responses(
    (status = 200, content_type = "text/event-stream", body = Change),
    (status = 400, description = "A repository is named twice"),
    (status = 503, description = "Too many listen already"),
))]
async fn events(State(app): State<Arc<App>>, Query(query): Query<EventsQuery>) -> Response {
    match app.live.listen(query.repository) {
        Some(changes) => {
            ([(CACHE_CONTROL, "no-store")], Sse::new(changes).keep_alive(KeepAlive::new())).into_response()
        }
        None => (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "30")], "too many listen already\n").into_response(),
    }
}
