//! `/repository`: one repository's versions down, architectures across, what needs attention first.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State as Shared};
use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;
use utoipa::IntoParams;

use super::frame::{Failure, Page};
use super::words::{self, STATES, State};
use crate::model::text::about;
use crate::model::version::{ImageRow, Problem as Found};
use crate::model::{Platform, Repository};
use crate::serve::App;
use crate::serve::admin::Problem;
use crate::store::{Architecture, Filter, Listed, Place, Standing, Tally};

/// How many versions stand on one page.
const VERSIONS: u32 = 50;
/// How many architectures have a column; a repository with more has tags that mean something else.
const MOST_COLUMNS: usize = 40;
/// How many problems of a version are told here.
const MOST_PROBLEMS: usize = 2;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct MatrixQuery {
    /// The repository.
    repository: String,
    /// As in `/api/v1/versions`.
    #[serde(default)]
    state: String,
    /// As in `/api/v1/versions`.
    #[serde(default)]
    arch: String,
    /// As in `/api/v1/versions`.
    #[serde(default)]
    name: String,
    /// As in `/api/v1/versions`.
    #[serde(default)]
    after: String,
}

impl MatrixQuery {
    fn filter(&self) -> Filter {
        let given = |text: &String| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        Filter {
            state: given(&self.state).map(|text| Standing::from(text.as_str())),
            arch: given(&self.arch),
            name: given(&self.name),
        }
    }

    /// The address of the same list, beginning elsewhere.
    fn from(&self, after: &str) -> String {
        let MatrixQuery { repository, state, arch, name, .. } = self;
        let query = [("repository", repository), ("state", state), ("arch", arch), ("name", name)]
            .map(|(k, v)| (k, v.as_str()));
        words::address("/repository", &[&query[..], &[("after", after)]].concat())
    }

    /// The address of the whole list in this state.
    fn in_state(&self, state: &str) -> String {
        words::address("/repository", &[("repository", &self.repository), ("state", state)])
    }
}

/// The page: one repository's versions and architectures
#[utoipa::path(get, path = "/repository", tag = "page", params(MatrixQuery), responses(
    (status = 200, content_type = "text/html", body = String),
    (status = 400, content_type = "text/html", body = String, description = "This is no repository"),
    (status = 503, description = "No database"),
))]
pub(super) async fn matrix(
    Shared(app): Shared<Arc<App>>,
    query: Result<Query<MatrixQuery>, QueryRejection>,
) -> Result<Response, Failure> {
    let Query(query) = query?;
    let repository: Repository = query.repository.parse().map_err(Problem::bad)?;
    let filter = query.filter();
    let after = Some(&query.after).filter(|text| !text.is_empty()).map(|text| text.parse::<Place>());
    let after = after.transpose().map_err(Problem::bad)?;
    let listed = app.store.versions(&repository, &filter, after.as_ref(), VERSIONS).await?;
    let (all, left) =
        (app.store.tally(&repository, &Filter::default()).await?, app.store.tally(&repository, &filter).await?);
    let columns = columns(app.store.architectures(&repository).await?);

    let live = html! {
        (summary(&query, &all))
        @if all.versions == 0 {
            (no_versions(&app, &repository))
        } @else if listed.is_empty() {
            section class="empty" {
                h2 { "No version is like that" }
                p { a href=(words::repository_link(&repository)) { "Show all " (words::grouped(all.versions)) } }
            }
        } @else {
            (table(&repository, &columns, &listed))
            (pages(&query, &listed, &left))
        }
    };
    let fixed = html! {
        h1 { (words::path(&repository)) }
        @if all.versions > 0 { (form(&query, &columns)) }
    };
    let title = repository.to_string();
    let trail = html! { a href="/" { "Repositories" } };
    let page = Page { title: &title, trail, repository: Some(&repository), fixed, live, below: legend() };
    Ok(page.answer(StatusCode::OK))
}

/// In the order of platforms, what is none last.
fn columns(mut architectures: Vec<Architecture>) -> Vec<Architecture> {
    let order = |architecture: &Architecture| {
        let platform = architecture.platform.as_ref().and_then(|text| text.parse::<Platform>().ok());
        (platform.is_none(), platform, architecture.name.clone())
    };
    architectures.sort_by_cached_key(order);
    architectures.truncate(MOST_COLUMNS);
    architectures
}

fn summary(query: &MatrixQuery, all: &Tally) -> Markup {
    html! {
        ul class="summary" aria-label="Versions by how they stand" {
            li { a href=(query.in_state("")) { b { (words::grouped(all.versions)) } " in all" } }
            @for (state, tone, count) in counts(all) {
                li {
                    a href=(query.in_state(state)) class=(tone) {
                        // They are counted by what was found of them, too.
                        b { (words::grouped(count)) } @if is_of_runs(state) { " of them " } @else { " " } (state)
                    }
                }
            }
        }
    }
}

/// The states that there are, those that need attention first.
fn counts(all: &Tally) -> Vec<(&'static str, &'static str, u64)> {
    let count = |state: &str| all.states.get(state).copied().unwrap_or_default();
    let known = STATES.iter().rev().map(|(state, _, tone, _)| (*state, *tone, count(state)));
    known.filter(|(.., count)| *count > 0).collect()
}

/// Whether a state is about the last run of a version's job, and not about what was found of it.
fn is_of_runs(state: &str) -> bool {
    matches!(state, "held" | "parked" | "failing")
}

fn form(query: &MatrixQuery, columns: &[Architecture]) -> Markup {
    html! {
        form class="filter" method="get" action="/repository" role="search" aria-label="Versions" {
            input type="hidden" name="repository" value=(query.repository);
            label { "State"
                select name="state" {
                    option value="" { "any" }
                    option value="attention" selected[query.state == "attention"] { "needs attention" }
                    @for (state, ..) in STATES.iter().filter(|(state, ..)| *state != "new") {
                        option value=(state) selected[query.state == *state] { (state) }
                    }
                }
            }
            label { "Architecture"
                select name="arch" {
                    option value="" { "any" }
                    @for column in columns {
                        option value=(column.name) selected[query.arch == column.name] { (words::text(&column.name)) }
                    }
                }
            }
            label { "Name has"
                input type="search" name="name" value=(query.name) placeholder="24.04" autocomplete="off" spellcheck="false" maxlength="128";
            }
            button type="submit" { "Filter" }
        }
    }
}

fn table(repository: &Repository, columns: &[Architecture], listed: &[Listed]) -> Markup {
    html! {
        div class="scroll" id="matrix" tabindex="0" role="region" aria-label="Versions and their architectures" {
            table class="matrix" {
                caption class="unseen" { "Versions down, architectures across: how each stands" }
                thead {
                    tr {
                        th scope="col" { "Version" }
                        @for column in columns {
                            th scope="col" title=[column.platform.as_deref()] { (words::text(&column.name)) }
                        }
                    }
                }
                @for version in listed { (rows(repository, columns, version)) }
            }
        }
    }
}

/// A version's row, and beneath it why it is not as it should be.
fn rows(repository: &Repository, columns: &[Architecture], listed: &Listed) -> Markup {
    let state = State(words::standing(listed));
    let images: &[ImageRow] = listed.found.as_ref().map_or(&[], |found| &found.version.images);
    let reasons = reasons(listed);
    html! {
        tbody class=(state.tone()) {
            tr {
                th scope="row" {
                    a id={ "v-" (listed.tag) } href=(words::tag_link(repository, &listed.tag)) { (listed.tag) }
                    (state)
                }
                @for column in columns { (cell(column, images)) }
            }
            @if let Some((reasons, since)) = reasons {
                tr class="why" {
                    td colspan=(columns.len() + 1) {
                        div {
                            @for reason in reasons { p { (words::text(&reason)) } }
                            @if let Some(since) = since { p class="quiet" { "since " (words::moment(since)) } }
                        }
                    }
                }
            }
        }
    }
}

/// Why a version needs attention, and since when; nothing for one that needs none.
fn reasons(listed: &Listed) -> Option<(Vec<String>, Option<i64>)> {
    if let Some(held) = &listed.hold {
        let reason = format!("{}: it stays until one of its images changes, or it is released", held.hold.reason);
        return Some((vec![reason], Some(held.since_ms)));
    }
    if let Some(trouble) = &listed.trouble {
        return Some((vec![trouble.reason.clone()], Some(trouble.since_ms)));
    }
    let found = listed.found.as_ref().filter(|found| !found.version.state.is_fine())?;
    let problems = &found.version.problems;
    let told = |problem: &Found| about(problem.tag.as_deref(), &problem.message);
    let mut told: Vec<String> = problems.iter().take(MOST_PROBLEMS).map(told).collect();
    if problems.len() > told.len() {
        told.push(format!("and {} more", problems.len() - told.len()));
    }
    Some((told, Some(found.since_ms)))
}

/// What one version has of one architecture: the worst where there are several.
fn cell(column: &Architecture, images: &[ImageRow]) -> Markup {
    let images = images.iter().filter(|image| image.name() == column.name);
    let Some(image) = images.max_by_key(|image| image.state) else {
        return html! { td class="none" { span aria-hidden="true" { "·" } span class="unseen" { "none" } } };
    };
    let state = State(image.state.as_str());
    html! {
        td class=(state.tone()) {
            span class="mark" aria-hidden="true" { (state.mark()) }
            @if state.0 == "ok" { span class="unseen" { "ok " } } @else { span class="word" { (state.0) " " } }
            @if let Some(digest) = image.digest.as_ref().or(image.published.as_ref()) { (words::short_digest(digest)) }
        }
    }
}

fn pages(query: &MatrixQuery, listed: &[Listed], left: &Tally) -> Markup {
    let next = listed.last().filter(|_| listed.len() == VERSIONS as usize);
    html! {
        nav class="pages" aria-label="Pages" {
            span { (words::grouped(listed.len() as u64)) " of " (words::count(left.versions, "version")) }
            @if !query.after.is_empty() { a id="first" href=(query.from("")) { "First page" } }
            @if let Some(last) = next {
                a id="next" rel="next" href=(query.from(&last.place.to_string())) { "Next page" }
            }
        }
    }
}

fn no_versions(app: &App, repository: &Repository) -> Markup {
    let setup = app.setup();
    let rule = setup.settings.rules_for(repository).next();
    html! {
        section class="empty" {
            @match rule {
                None => {
                    h2 { "This repository is not served" }
                    p { "No " code { "[[repository]]" } " of the configuration is about it." }
                }
                Some(rule) => {
                    h2 { "No versions yet" }
                    p { "Push an image for one architecture under a tag like " code { (rule.pattern) } ", for example:" }
                    pre { "docker push " (repository) ":amd64-1.0" }
                    p { "It appears here when the registry tells of it, or after the next scan: every "
                        (humantime::format_duration(rule.poll)) "." }
                }
            }
        }
    }
}

fn legend() -> Markup {
    html! {
        details class="legend" {
            summary { "What the marks mean" }
            dl {
                @for (state, _, _, meaning) in &STATES {
                    div { dt { (State(state)) } dd { (meaning) } }
                }
            }
        }
    }
}
