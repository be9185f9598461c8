//! What operators see and say: the page, the API and its documentation.
//!
//! Reading is open on this listener, which is the machine's own by default; changing something
//! needs the admin token. Every route is registered together with its description.

mod act;
mod arrival;
mod guard;
mod problem;
mod read;
mod view;

use std::sync::Arc;

use axum::http::StatusCode;
use axum::middleware::{from_fn, from_fn_with_state, map_response};
use axum::{Json, Router};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Components, Info, License, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{App, page};
pub(super) use act::{Target, Unauthorized, authorize, wake};
pub(super) use problem::Problem;
pub(super) use view::{Reason, SeenImage};

pub(super) fn router(app: Arc<App>) -> Router {
    let api = Router::from(api())
        .fallback(|| async { Problem::new(StatusCode::NOT_FOUND, "there is nothing at this address") })
        .method_not_allowed_fallback(|| async { Problem::new(StatusCode::METHOD_NOT_ALLOWED, "not this way") })
        .layer(map_response(problem::everywhere));
    Router::from(page::routes())
        .merge(api)
        .layer(from_fn(arrival::whole))
        .layer(from_fn_with_state(app.clone(), guard::host_and_origin))
        .with_state(app)
}

fn api() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(read::metrics))
        .routes(routes!(read::repositories))
        .routes(routes!(read::versions))
        .routes(routes!(read::history))
        .routes(routes!(read::jobs))
        .routes(routes!(read::quarantine))
        .routes(routes!(act::publish))
        .routes(routes!(act::rollback))
        .routes(routes!(act::release))
        .routes(routes!(openapi))
}

/// This document
#[utoipa::path(get, path = "/api/openapi.json", tag = "reading", responses((status = 200, body = Object)))]
async fn openapi() -> Json<OpenApi> {
    Json(document())
}

/// What all routes say of themselves, with whose they are and what the admin token is.
fn document() -> OpenApi {
    let mut document = api().into_openapi().merge_from(page::routes().into_openapi());
    let about = "What a running `onetag serve` knows and does. Reading is open on the admin listener; \
                 changing something needs the admin token. Errors are `application/problem+json` (RFC 9457).";
    document.info = Info::new("onetag", env!("CARGO_PKG_VERSION"));
    document.info.description = Some(about.to_owned());
    document.info.license = Some(License::new(env!("CARGO_PKG_LICENSE")));
    let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("`admin_token`")).build();
    let components = document.components.get_or_insert_with(Components::new);
    components.add_security_scheme("admin_token", SecurityScheme::Http(token));
    document
}
