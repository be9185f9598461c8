//! What all pages have in common: their head, their foot, and what is sent along.

use axum::extract::rejection::{FormRejection, QueryRejection};
use axum::http::StatusCode;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};

use super::assets::{SCRIPT, SIGN, STYLE};
use super::words;
use crate::model::Repository;
use crate::serve::admin::Problem;
use crate::store::StoreError;

/// Nothing but the page's own files, nothing inline, in nobody's frame.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// A page: what stands in it, and what it is about.
pub(super) struct Page<'p> {
    pub(super) title: &'p str,
    /// What the reader went through to come here.
    pub(super) trail: Markup,
    /// Whose changes the page shows; all where there is none.
    pub(super) repository: Option<&'p Repository>,
    /// What does not change while the page is open, such as forms.
    pub(super) fixed: Markup,
    /// What is replaced when something changes.
    pub(super) live: Markup,
    /// What comes after it and does not change.
    pub(super) below: Markup,
}

impl Page<'_> {
    /// The page as an answer with this status.
    pub(super) fn answer(self, status: StatusCode) -> Response {
        let is_live = status == StatusCode::OK;
        let events = words::address(
            "/events",
            &[("repository", &self.repository.map_or_else(String::new, Repository::to_string))],
        );
        let markup = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    title { (self.title) " · onetag" }
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    meta name="robots" content="noindex";
                    link rel="icon" type="image/svg+xml" href=(SIGN.address());
                    link rel="stylesheet" href=(STYLE.address());
                    @if is_live { script src=(SCRIPT.address()) defer data-events=(events) {} }
                }
                body {
                    a class="skip" href="#content" { "Skip to the content" }
                    header class="top" {
                        a class="name" href="/" { img src=(SIGN.address()) alt="" width="28" height="28"; "onetag" }
                        nav aria-label="Where you are" { (self.trail) }
                        p id="liveness" class="liveness" hidden { span class="dot" aria-hidden="true" {} span id="liveness-text" {} }
                    }
                    main id="content" tabindex="-1" {
                        (self.fixed)
                        div id="live" { (self.live) }
                        (self.below)
                    }
                    p id="news" class="unseen" role="status" aria-live="polite" {}
                    footer class="foot" {
                        span { "onetag " (env!("CARGO_PKG_VERSION")) }
                        a href="/api/openapi.json" { "API" }
                        a href="/metrics" { "Metrics" }
                    }
                }
            }
        };
        let headers = [(CONTENT_TYPE, "text/html; charset=utf-8"), (CACHE_CONTROL, "no-store")];
        (status, headers, markup.into_string()).into_response()
    }
}

/// A page that says why there is no other.
pub(super) struct Failure(StatusCode, String);

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Failure {
        Failure(problem.status(), problem.detail().to_owned())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        Problem::from(error).into()
    }
}

impl From<QueryRejection> for Failure {
    fn from(rejection: QueryRejection) -> Failure {
        Failure(rejection.status(), rejection.body_text())
    }
}

impl From<FormRejection> for Failure {
    fn from(rejection: FormRejection) -> Failure {
        Failure(rejection.status(), rejection.body_text())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let Failure(status, detail) = self;
        let title = status.canonical_reason().unwrap_or("Error");
        let fixed = html! {
            h1 { (title) }
            p class="lead" { (words::text(&detail)) }
            p { a href="/" { "All repositories" } }
        };
        let nothing = || html! {};
        Page { title, trail: nothing(), repository: None, fixed, live: nothing(), below: nothing() }.answer(status)
    }
}

/// Tells browsers what this page may do, and whom it may tell of itself.
pub(super) async fn protected(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // Not `no-referrer`: then browsers would hide from us, too, that a form is our own.
        (REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
