//! `/`: the repositories, and which tags stand still in any of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State as Shared;
use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};

use super::frame::{Failure, Page};
use super::words::{self, State};
use crate::model::Repository;
use crate::serve::App;
use crate::serve::settings::{Rule, Settings};
use crate::store::{JobView, List, Overview, Tally, TroubleKind};

/// How many tags that stand still are named here.
const MOST_NAMED: usize = 12;

/// The page: all repositories
#[utoipa::path(get, path = "/", tag = "page",
    responses((status = 200, content_type = "text/html", body = String), (status = 503, description = "No database")))]
pub(super) async fn overview(Shared(app): Shared<Arc<App>>) -> Result<Response, Failure> {
    let setup = app.setup();
    let mut repositories: BTreeMap<Repository, Overview> = BTreeMap::new();
    let empty = |repository: Repository| Overview { repository, tally: Tally::default(), checked_at_ms: None };
    for repository in setup.settings.rules.iter().filter_map(Rule::repository) {
        repositories.insert(repository.clone(), empty(repository));
    }
    for overview in app.store.overview().await? {
        repositories.insert(overview.repository.clone(), overview);
    }
    let stopped: Vec<JobView> = app.store.jobs(List::Troubled, 500).await?;
    let stopped: Vec<JobView> = stopped.into_iter().filter(is_stopped).collect();
    let live = html! {
        @if !stopped.is_empty() { (standing_still(&stopped)) }
        @if repositories.is_empty() { (nothing_yet(&setup.settings)) } @else { (table(repositories.values())) }
    };
    let fixed = html! { h1 { "Repositories" } };
    let page = Page { title: "Repositories", trail: html! {}, repository: None, fixed, live, below: html! {} };
    Ok(page.answer(StatusCode::OK))
}

fn is_stopped(job: &JobView) -> bool {
    job.trouble.as_ref().is_some_and(|trouble| trouble.kind != TroubleKind::Failing)
}

fn standing_still(stopped: &[JobView]) -> Markup {
    html! {
        section class="attention" aria-labelledby="still" {
            h2 id="still" { "Held and parked" }
            ul class="cards" {
                @for job in &stopped[..stopped.len().min(MOST_NAMED)] {
                    @if let Some(trouble) = &job.trouble {
                        li {
                            p class="card-head" {
                                a href=(words::tag_link(&job.repository, &job.tag)) { b { (job.tag) } }
                                (State(trouble.kind.as_str()))
                            }
                            p class="where" { (words::path(&job.repository)) }
                            p { (words::text(&trouble.reason)) }
                            p class="quiet" { "since " (words::moment(trouble.since_ms)) }
                        }
                    }
                }
            }
            @if stopped.len() > MOST_NAMED {
                p class="quiet" { "and " (stopped.len() - MOST_NAMED) " more: see each repository" }
            }
        }
    }
}

fn table<'o>(repositories: impl Iterator<Item = &'o Overview>) -> Markup {
    html! {
        div class="scroll" tabindex="0" role="region" aria-label="Repositories" {
            table class="overview" {
                caption class="unseen" { "Repositories, and how their versions stand" }
                thead {
                    tr {
                        th scope="col" { "Repository" }
                        th scope="col" { "Versions in order" }
                        th scope="col" class="number" { "Need attention" }
                        th scope="col" class="number" { "Held or parked" }
                        th scope="col" { "Last looked at" }
                    }
                }
                tbody { @for overview in repositories { (row(overview)) } }
            }
        }
    }
}

fn row(overview: &Overview) -> Markup {
    let tally = &overview.tally;
    let fine = tally.versions - tally.attention;
    let link = words::repository_link(&overview.repository);
    let anchor = format!("r-{}", overview.repository);
    html! {
        tr {
            th scope="row" { a id=(anchor) href=(link) { (words::path(&overview.repository)) } }
            td {
                @if tally.versions > 0 { (bar(fine, tally)) } @else { span class="quiet" { "no versions yet" } }
            }
            td class={ "number" @if tally.attention > 0 { " warn" } } { (words::grouped(tally.attention)) }
            td class={ "number" @if tally.stopped > 0 { " bad" } } { (words::grouped(tally.stopped)) }
            td class="quiet" {
                @match overview.checked_at_ms { Some(at) => (words::moment(at)), None => "not yet" }
            }
        }
    }
}

/// How much is in order, as a length; the numbers say the same.
fn bar(fine: u64, tally: &Tally) -> Markup {
    let parts = [fine, tally.attention - tally.stopped, tally.stopped];
    let share = |part: u64| part * 1000 / tally.versions.max(1);
    html! {
        span class="share" {
            svg class="bar" viewBox="0 0 1000 60" preserveAspectRatio="none" aria-hidden="true" {
                rect class="all" width="1000" height="60" {}
                rect class="good" width=(share(parts[0])) height="60" {}
                rect class="warn" x=(share(parts[0])) width=(share(parts[1])) height="60" {}
                rect class="bad" x=(share(parts[0]) + share(parts[1])) width=(share(parts[2])) height="60" {}
            }
            span { (words::grouped(fine)) " of " (words::grouped(tally.versions)) }
        }
    }
}

fn nothing_yet(settings: &Settings) -> Markup {
    html! {
        section class="empty" {
            h2 { "Nothing has been found yet" }
            p { "Repositories appear here as soon as somebody pushes an architecture tag to one of them. These are served:" }
            ul {
                @for rule in &settings.rules {
                    li { code { (rule.host) "/" (rule.name) } ", tags like " code { (rule.pattern) } }
                }
            }
            @if settings.hooks.is_empty() {
                p { "No " code { "[[hook]]" } " is configured, so pushes are only found in repositories that a rule names in full." }
            }
        }
    }
}
