//! What operators read: versions, history, jobs, unusable deliveries, metrics.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::IntoParams;

use super::problem::{Details, Problem};
use super::view::{Entry, History, Jobs, Quarantine, Repositories, RepositoryView, Versions};
use crate::model::{Repository, Tag};
use crate::serve::App;
use crate::store::{Filter, List, Place, Standing};

/// The most entries that one answer holds.
const MOST_ENTRIES: u32 = 500;
/// How many it holds when nobody says.
const ENTRIES: u32 = 100;

/// How long whoever scrapes waits for the database: they give up after ten seconds, mostly.
const LONGEST_COUNT: Duration = Duration::from_secs(3);

/// Counters and gauges
///
/// In OpenMetrics' text format, for Prometheus. What is of all replicas is left out while the database does
/// not tell it; `onetag_database_answers` is 0 then.
#[utoipa::path(get, path = "/metrics", tag = "reading", responses(
    (status = 200, content_type = "application/openmetrics-text", body = String),
))]
pub(super) async fn metrics(State(app): State<Arc<App>>) -> Response {
    let whole = async { tokio::try_join!(app.store.counts(), app.store.overview()).ok() };
    let text = app.metrics.text(tokio::time::timeout(LONGEST_COUNT, whole).await.ok().flatten());
    ([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response()
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct HistoryQuery {
    /// Only this repository, `quay.io/acme/ubuntu`.
    #[param(pattern = r"^[A-Za-z0-9\[][A-Za-z0-9._:/\[\]-]*$")]
    repository: Option<String>,
    /// Only this plain tag.
    #[param(pattern = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$")]
    tag: Option<String>,
    /// Only what is older than the entry of this id.
    before: Option<i64>,
    /// How many entries at most: 1 to 500, usually 100.
    limit: Option<u32>,
}

/// What was published, and what kept from it
#[utoipa::path(get, path = "/api/v1/history", tag = "reading", params(HistoryQuery), responses(
    (status = 200, body = History),
    (status = "4XX", content_type = "application/problem+json", body = Details),
    (status = 503, content_type = "application/problem+json", body = Details),
))]
pub(super) async fn history(
    State(app): State<Arc<App>>,
    Query(query): Query<HistoryQuery>,
) -> Result<Json<History>, Problem> {
    let repository = query.repository.map(|text| text.parse::<Repository>()).transpose().map_err(Problem::bad)?;
    let tag = query.tag.map(|text| text.parse::<Tag>()).transpose().map_err(Problem::bad)?;
    let most = query.limit.unwrap_or(ENTRIES).clamp(1, MOST_ENTRIES);
    let entries = app.store.history(repository.as_ref(), tag.as_ref(), most, query.before).await?;
    Ok(Json(History { history: entries.into_iter().map(Entry::from).collect() }))
}

/// Plain tags that wait, run or are in trouble
#[utoipa::path(get, path = "/api/v1/jobs", tag = "reading", responses(
    (status = 200, body = Jobs),
    (status = 503, content_type = "application/problem+json", body = Details),
))]
pub(super) async fn jobs(State(app): State<Arc<App>>) -> Result<Json<Jobs>, Problem> {
    let active = app.store.jobs(List::Active, MOST_ENTRIES).await?.into_iter().map(Into::into).collect();
    let troubled = app.store.jobs(List::Troubled, MOST_ENTRIES).await?.into_iter().map(Into::into).collect();
    Ok(Json(Jobs { active, troubled }))
}

/// Deliveries that could not be used
#[utoipa::path(get, path = "/api/v1/quarantine", tag = "reading", responses(
    (status = 200, body = Quarantine),
    (status = 503, content_type = "application/problem+json", body = Details),
))]
pub(super) async fn quarantine(State(app): State<Arc<App>>) -> Result<Json<Quarantine>, Problem> {
    let deliveries = app.store.quarantined(MOST_ENTRIES).await?.into_iter().map(Into::into).collect();
    Ok(Json(Quarantine { deliveries }))
}

/// The repositories that have plain tags
#[utoipa::path(get, path = "/api/v1/repositories", tag = "reading", responses(
    (status = 200, body = Repositories),
    (status = 503, content_type = "application/problem+json", body = Details),
))]
pub(super) async fn repositories(State(app): State<Arc<App>>) -> Result<Json<Repositories>, Problem> {
    let repositories = app.store.overview().await?.into_iter().map(RepositoryView::from).collect();
    Ok(Json(Repositories { repositories }))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct VersionsQuery {
    /// The repository, `quay.io/acme/ubuntu`.
    #[param(pattern = r"^[A-Za-z0-9\[][A-Za-z0-9._:/\[\]-]*$")]
    repository: String,
    /// Only versions in this state: `ok`, `stale`, …, `foreign`; `held`, `parked`, `failing`; or
    /// `attention` for whatever is not as it should be. With `arch`, those of which this
    /// architecture is in this state.
    state: Option<String>,
    /// Only versions that have this architecture: a word (`armhf`) or a platform (`linux/arm/v7`).
    arch: Option<String>,
    /// Only versions whose tag has this in it.
    name: Option<String>,
    /// `next` of the page before.
    after: Option<String>,
    /// How many versions at most: 1 to 500, usually 100.
    limit: Option<u32>,
}

/// Versions and their architectures, as they were last found
///
/// What needs attention comes first.
#[utoipa::path(get, path = "/api/v1/versions", tag = "reading", params(VersionsQuery), responses(
    (status = 200, body = Versions),
    (status = "4XX", content_type = "application/problem+json", body = Details),
    (status = 503, content_type = "application/problem+json", body = Details),
))]
pub(super) async fn versions(
    State(app): State<Arc<App>>,
    Query(query): Query<VersionsQuery>,
) -> Result<Json<Versions>, Problem> {
    let repository: Repository = query.repository.parse().map_err(Problem::bad)?;
    let after = query.after.map(|text| text.parse::<Place>()).transpose().map_err(Problem::bad)?;
    let filter = Filter { state: query.state.as_deref().map(Standing::from), arch: query.arch, name: query.name };
    let most = query.limit.unwrap_or(ENTRIES).clamp(1, MOST_ENTRIES);
    let listed = app.store.versions(&repository, &filter, after.as_ref(), most).await?;
    let tally = app.store.tally(&repository, &filter).await?;
    Ok(Json(Versions::page(&repository, listed, tally, most as usize)))
}
