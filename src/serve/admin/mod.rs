//! What operators see and say: metrics, history, jobs, "look now" and "put it back".
//!
//! Reading is open on this listener, which is the machine's own by default; changing something
//! needs the admin token.

mod act;
mod problem;

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::App;
use crate::model::text::clean;
use crate::model::{Digest, Repository, Tag};
use crate::store::{JobView, List, Recorded, Trouble, TroubleKind};
use problem::Problem;

/// The most entries that one answer holds.
const MOST_ENTRIES: u32 = 500;
/// The longest request that anybody has a use for.
const LONGEST_BODY_BYTES: usize = 64 * 1024;

pub(super) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/api/v1/history", get(history))
        .route("/api/v1/jobs", get(jobs))
        .route("/api/v1/quarantine", get(quarantine))
        .route("/api/v1/publish", post(act::publish))
        .route("/api/v1/rollback", post(act::rollback))
        .route("/api/v1/release", post(act::release))
        .fallback(|| async { Problem::new(StatusCode::NOT_FOUND, "there is nothing at this address") })
        .method_not_allowed_fallback(|| async { Problem::new(StatusCode::METHOD_NOT_ALLOWED, "not this way") })
        .layer(DefaultBodyLimit::max(LONGEST_BODY_BYTES))
        .layer(map_response(problem::everywhere))
        .with_state(app)
}

async fn metrics(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    let text = app.metrics.text(&app.store.counts().await?);
    Ok(([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response())
}

#[derive(Deserialize)]
struct HistoryQuery {
    repository: Option<String>,
    tag: Option<String>,
    before: Option<i64>,
    limit: Option<u32>,
}

async fn history(State(app): State<Arc<App>>, Query(query): Query<HistoryQuery>) -> Result<Json<Value>, Problem> {
    let repository = query.repository.map(|text| text.parse::<Repository>()).transpose().map_err(Problem::bad)?;
    let tag = query.tag.map(|text| text.parse::<Tag>()).transpose().map_err(Problem::bad)?;
    let most = query.limit.unwrap_or(100).clamp(1, MOST_ENTRIES);
    let entries = app.store.history(repository.as_ref(), tag.as_ref(), most, query.before).await?;
    Ok(Json(json!({ "history": entries.iter().map(entry).collect::<Vec<_>>() })))
}

fn entry(entry: &Recorded) -> Value {
    json!({
        "id": entry.id,
        "repository": entry.repository.to_string(),
        "tag": entry.tag.as_str(),
        "act": entry.act.code(),
        "previous": entry.old_digest.as_ref().map(Digest::as_str),
        "digest": entry.new_digest.as_ref().map(Digest::as_str),
        "can_return": entry.has_index,
        "trigger": entry.trigger.to_string(),
        "event_id": entry.event_id,
        "images": entry.inputs,
        "reasons": entry.reasons,
        "requests": entry.requests,
        "woken_at_ms": entry.woken_at_ms,
        "recorded_at_ms": entry.recorded_at_ms,
    })
}

async fn jobs(State(app): State<Arc<App>>) -> Result<Json<Value>, Problem> {
    let active = app.store.jobs(List::Active, MOST_ENTRIES).await?;
    let troubled = app.store.jobs(List::Troubled, MOST_ENTRIES).await?;
    let of = |jobs: &[JobView]| jobs.iter().map(job).collect::<Vec<_>>();
    Ok(Json(json!({ "active": of(&active), "troubled": of(&troubled) })))
}

fn job(job: &JobView) -> Value {
    let is_waiting = |trouble: &&Trouble| trouble.kind == TroubleKind::Waiting;
    let waits_for = job.trouble.as_ref().filter(is_waiting).map(|trouble| clean(&trouble.reason, 600));
    let trouble = job.trouble.as_ref().filter(|trouble| !is_waiting(trouble)).map(|trouble| {
        let kind = match trouble.kind {
            TroubleKind::Waiting => "waiting",
            TroubleKind::Failing => "failing",
            TroubleKind::Held => "held",
            TroubleKind::Parked => "parked",
        };
        json!({ "kind": kind, "reason": clean(&trouble.reason, 600), "since_ms": trouble.since_ms })
    });
    json!({
        "repository": job.repository.to_string(),
        "tag": job.tag.as_str(),
        "trigger": job.trigger.to_string(),
        "is_running": job.is_running,
        "due_in_ms": job.due_in.map(|due| u64::try_from(due.as_millis()).unwrap_or(u64::MAX)),
        "woken_at_ms": job.woken_at_ms,
        "attempts": job.attempts,
        "waits_for": waits_for,
        "trouble": trouble,
    })
}

async fn quarantine(State(app): State<Arc<App>>) -> Result<Json<Value>, Problem> {
    let kept = app.store.quarantined(MOST_ENTRIES).await?;
    let shown = kept.iter().map(|delivery| {
        json!({
            "id": delivery.id,
            "hook": delivery.hook,
            "received_at_ms": delivery.received_at_ms,
            "reason": clean(&delivery.reason, 600),
            "size_bytes": delivery.size_bytes,
            "beginning": clean(&String::from_utf8_lossy(&delivery.body), 600),
        })
    });
    Ok(Json(json!({ "deliveries": shown.collect::<Vec<_>>() })))
}
