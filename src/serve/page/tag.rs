//! `/tag`: one plain tag: its images, what is wrong, what was done to it, and a button to look now.

use std::sync::Arc;

use axum::Form;
use axum::extract::rejection::{FormRejection, QueryRejection};
use axum::extract::{Query, State as Shared};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::frame::{Failure, Page};
use super::history::{self, ENTRIES};
use super::words::{self, State};
use crate::model::text::about;
use crate::model::version::{ImageRow, Version};
use crate::model::{Repository, Tag};
use crate::serve::App;
use crate::serve::admin::{self, Problem, Target, Unauthorized};
use crate::store::Listed;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct TagQuery {
    /// The repository.
    repository: String,
    /// The plain tag.
    tag: String,
    /// Only what is older than the entry of this id.
    before: Option<i64>,
    /// Whether the reader just asked for it to be looked at.
    asked: Option<bool>,
}

/// The page: one tag, its images and its history
#[utoipa::path(get, path = "/tag", tag = "page", params(TagQuery), responses(
    (status = 200, content_type = "text/html", body = String),
    (status = 400, content_type = "text/html", body = String, description = "This is no tag"),
    (status = 503, description = "No database"),
))]
pub(super) async fn tag(
    Shared(app): Shared<Arc<App>>,
    query: Result<Query<TagQuery>, QueryRejection>,
) -> Result<Response, Failure> {
    let Query(query) = query?;
    let repository: Repository = query.repository.parse().map_err(Problem::bad)?;
    let tag: Tag = query.tag.parse().map_err(Problem::bad)?;
    let notice = query.asked.unwrap_or_default().then_some(Notice::Asked);
    page(&app, &repository, &tag, query.before, notice).await
}

/// What the page's button sends.
#[derive(Deserialize, ToSchema)]
pub(super) struct ReconcileForm {
    repository: String,
    tag: String,
    /// The admin token.
    token: String,
}

/// The page's button: look at a tag now
///
/// The token comes with the form and is kept nowhere, so that no other site can send it along.
#[utoipa::path(post, path = "/reconcile", tag = "page",
    request_body(content = ReconcileForm, content_type = "application/x-www-form-urlencoded"), responses(
    (status = 303, description = "It will be looked at: back to the tag"),
    (status = "4XX", content_type = "text/html", body = String),
    (status = 503, description = "No database"),
))]
pub(super) async fn reconcile(
    Shared(app): Shared<Arc<App>>,
    form: Result<Form<ReconcileForm>, FormRejection>,
) -> Result<Response, Failure> {
    let Form(form) = form?;
    let target = Target::read(&app, &form.repository, &form.tag)?;
    if let Err(refusal) = admin::authorize(&app, Some(&form.token)) {
        return page(&app, &target.repository, &target.tag, None, Some(Notice::Refused(refusal))).await;
    }
    admin::wake(&app, &target).await?;
    let query = [("repository", &*form.repository), ("tag", &*form.tag), ("asked", "true")];
    Ok(Redirect::to(&words::address("/tag", &query)).into_response())
}

/// What the reader's last step led to.
#[derive(Clone, Copy)]
enum Notice {
    Asked,
    Refused(Unauthorized),
}

async fn page(
    app: &App,
    repository: &Repository,
    tag: &Tag,
    before: Option<i64>,
    notice: Option<Notice>,
) -> Result<Response, Failure> {
    let listed = app.store.version(repository, tag).await?;
    // One more than is shown: what the last one changed.
    let entries = app.store.history(Some(repository), Some(tag), ENTRIES + 1, before).await?;
    let is_served = app.setup().settings.rule_for(repository, tag).is_some();
    let live = html! {
        @match &listed {
            Some(listed) => (standing(listed)),
            None => section class="empty" {
                h2 { "Nothing is known of this tag" }
                p { "It was not found by the last audit, and nothing was published under it." }
            },
        }
        (history::section(repository, tag, &entries, before.is_some()))
    };
    let fixed = html! {
        h1 { (tag) }
        p class="where" { (words::path(repository)) ":" (tag) }
        @if is_served { (button(app, repository, tag, notice)) }
    };
    let title = format!("{tag} · {repository}");
    let trail = html! {
        a href="/" { "Repositories" }
        span aria-hidden="true" { " / " }
        a href=(words::repository_link(repository)) { (repository) }
    };
    let status = match notice {
        Some(Notice::Refused(_)) => StatusCode::FORBIDDEN,
        Some(Notice::Asked) | None => StatusCode::OK,
    };
    Ok(Page { title: &title, trail, repository: Some(repository), fixed, live, below: html! {} }.answer(status))
}

fn button(app: &App, repository: &Repository, tag: &Tag, notice: Option<Notice>) -> Markup {
    let has_token = app.setup().settings.admin_token.is_some();
    let refusal = match notice {
        Some(Notice::Refused(refusal)) => Some(refusal.to_string()),
        Some(Notice::Asked) | None => None,
    };
    html! {
        @if matches!(notice, Some(Notice::Asked)) {
            p class="notice good" role="status" { "It will be looked at now; what comes of it appears below." }
        }
        @if has_token {
            form class="reconcile" method="post" action="/reconcile" {
                input type="hidden" name="repository" value=(repository);
                input type="hidden" name="tag" value=(tag);
                // For password managers, which keep a token under a name.
                input type="text" name="username" value="admin" autocomplete="username" hidden;
                label { "Admin token"
                    input type="password" name="token" required autocomplete="current-password"
                        aria-invalid[refusal.is_some()] aria-describedby=[refusal.is_some().then_some("refusal")];
                }
                button type="submit" { "Reconcile now" }
                @if let Some(refusal) = refusal { p id="refusal" class="notice bad" role="alert" { (refusal) } }
            }
        } @else {
            p class="quiet" { "To reconcile from here, set " code { "admin_token" } " in the configuration." }
        }
    }
}

/// How the tag stands now.
fn standing(listed: &Listed) -> Markup {
    let state = State(words::standing(listed));
    let version = listed.found.as_ref().map(|found| &found.version);
    html! {
        section aria-labelledby="now" {
            h2 id="now" { "Now " (state) }
            @if let Some(held) = &listed.hold {
                div class="notice bad" {
                    p { (words::text(&held.hold.reason)) ": it stays at " (words::short_digest(held.hold.digest.as_str()))
                        " until one of its images changes, or it is released." }
                    p class="quiet" { "since " (words::moment(held.since_ms)) }
                }
            }
            @if let Some(trouble) = &listed.trouble {
                div class={ "notice " (State(trouble.kind.as_str()).tone()) } {
                    p { (words::text(&trouble.reason)) }
                    p class="quiet" { (trouble.kind.as_str()) " since " (words::moment(trouble.since_ms)) }
                }
            }
            @if let Some(version) = version {
                (problems(version, listed.trouble.as_ref().map_or("", |trouble| &trouble.reason)))
                (images(version))
            }
            @if let Some(found) = &listed.found {
                p class="quiet" { "Looked at " (words::moment(found.checked_at_ms)) }
            }
        }
    }
}

/// What is wrong, and what can be done about it; what is `said` already is not said again.
fn problems(version: &Version, said: &str) -> Markup {
    html! {
        @if !version.problems.is_empty() {
            ul class="problems" {
                @for problem in &version.problems {
                    li {
                        p {
                            code { (words::text(&problem.code)) } " "
                            @if !said.contains(&problem.message) {
                                (words::text(&about(problem.tag.as_deref(), &problem.message)))
                            } @else if let Some(tag) = &problem.tag {
                                code { (words::text(tag)) }
                            }
                        }
                        @if let Some(remedy) = &problem.remedy { p class="remedy" { (words::text(remedy)) } }
                    }
                }
            }
        }
    }
}

fn images(version: &Version) -> Markup {
    html! {
        dl class="facts" {
            div {
                dt { "Published" }
                dd { @match &version.digest { Some(digest) => code class="whole" { (words::text(digest)) }, None => "nothing" } }
            }
        }
        @if !version.images.is_empty() {
            div class="scroll" id="images" tabindex="0" role="region" aria-label="Images" {
                table class="images" {
                    caption class="unseen" { "Its architectures" }
                    thead {
                        tr {
                            th scope="col" { "Architecture" }
                            th scope="col" { "State" }
                            th scope="col" { "Pushed" }
                            th scope="col" { "Published" }
                            th scope="col" { "Note" }
                        }
                    }
                    tbody { @for image in &version.images { (image_row(image)) } }
                }
            }
        }
    }
}

fn image_row(image: &ImageRow) -> Markup {
    let digest = |digest: &Option<String>| match digest {
        Some(digest) => words::short_digest(digest),
        None => html! { span class="quiet" { "none" } },
    };
    html! {
        tr {
            th scope="row" {
                (words::text(image.name()))
                @if let Some(platform) = &image.platform { span class="quiet under" { (words::text(platform)) } }
            }
            td { (State(image.state.as_str())) }
            td {
                (digest(&image.digest))
                @if let Some(tag) = &image.tag { span class="quiet under" { (words::text(tag)) } }
            }
            td { (digest(&image.published)) }
            td class="note" { @if let Some(detail) = &image.detail { (words::text(detail)) } }
        }
    }
}
