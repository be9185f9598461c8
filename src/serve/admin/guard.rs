//! Against other sites' pages in an operator's browser: names that were made to lead here (DNS
//! rebinding), and forms that another site sends.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::problem::Problem;
use crate::serve::App;
use crate::serve::settings::Settings;

/// Answers only under names that can only mean this service, and changes only what its own page or
/// no page at all asks for.
pub(super) async fn host_and_origin(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let setup = app.setup();
    let authority = authority(&request);
    if let Some(authority) = &authority
        && !is_ours(authority, &setup.settings)
    {
        let detail = "this service does not answer under this name: add it to `admin_hosts`, or use its IP address";
        return Problem::new(StatusCode::MISDIRECTED_REQUEST, detail).into_response();
    }
    let is_reading = matches!(*request.method(), Method::GET | Method::HEAD);
    if !is_reading && !is_from_here(request.headers(), authority.as_deref(), &setup.settings) {
        return Problem::new(StatusCode::FORBIDDEN, "another site's page asked for this").into_response();
    }
    next.run(request).await
}

/// What the client calls this service; browsers always say.
fn authority(request: &Request) -> Option<String> {
    let host = request.headers().get(HOST).map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned());
    host.or_else(|| Some(request.uri().authority()?.to_string()))
}

/// Whether nobody else can have made this name lead here: it is an address, this machine's own
/// name, or was said to be ours. On a listener that others reach anyway, every name is good as
/// long as none was said.
fn is_ours(authority: &str, settings: &Settings) -> bool {
    let name = name(authority);
    let is_open = !settings.admin.ip().is_loopback() && settings.admin_hosts.is_empty();
    is_address(name) || is_local(name) || is_named(name, settings) || is_open
}

/// Whether a request that changes something comes from our own page, or from no page.
fn is_from_here(headers: &HeaderMap, authority: Option<&str>, settings: &Settings) -> bool {
    let text = |name: &str| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let is_same_site = text("sec-fetch-site").is_none_or(|site| matches!(&*site, "same-origin" | "none"));
    let is_same_origin = text(ORIGIN.as_str()).is_none_or(|origin| match origin.split_once("://") {
        Some((_, from)) => Some(from) == authority || is_named(name(from), settings),
        None => false,
    });
    is_same_site && is_same_origin
}

fn is_address(name: &str) -> bool {
    name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok()
}

fn is_local(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

fn is_named(name: &str, settings: &Settings) -> bool {
    settings.admin_hosts.iter().any(|ours| ours.eq_ignore_ascii_case(name))
}

/// An authority without its port.
fn name(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(admin: &str, hosts: &[&str]) -> Settings {
        Settings {
            listen: "127.0.0.1:8470".parse().expect("an address"),
            admin: admin.parse().expect("an address"),
            admin_hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            admin_token: None,
            database: "sqlite://onetag.db".into(),
            lease: std::time::Duration::from_secs(120),
            journal_days: 90,
            registries: Vec::new(),
            rules: Vec::new(),
            hooks: Vec::new(),
            notify: Vec::new(),
        }
    }

    #[test]
    fn a_name_that_somebody_else_made_lead_here_is_refused() {
        let own = settings("127.0.0.1:8471", &["onetag.example.com"]);
        for good in ["127.0.0.1:8471", "[::1]:8471", "[::1]", "localhost", "Localhost:1", "OneTag.example.com:443"] {
            assert!(is_ours(good, &own), "{good}");
        }
        for bad in ["evil.example", "127.0.0.1.evil.example:8471", "localhost.evil.example", "", ":", "a@127.0.0.1"] {
            assert!(!is_ours(bad, &own), "{bad}");
        }
        assert!(is_ours("onetag.monitoring.svc:8471", &settings("0.0.0.0:8471", &[])));
        assert!(!is_ours("onetag.monitoring.svc:8471", &settings("0.0.0.0:8471", &["onetag.example.com"])));
    }

    #[test]
    fn only_our_own_page_or_no_page_changes_anything() {
        let asks = |headers: &[(&'static str, &str)]| {
            let pairs = headers
                .iter()
                .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().expect("a header's value")));
            let named = settings("127.0.0.1:8471", &["onetag.example.com"]);
            is_from_here(&pairs.collect(), Some("127.0.0.1:8471"), &named)
        };
        assert!(asks(&[]), "a program");
        assert!(asks(&[("origin", "http://127.0.0.1:8471"), ("sec-fetch-site", "same-origin")]));
        assert!(asks(&[("origin", "https://onetag.example.com")]), "a proxy stands before us");
        for other in ["http://evil.example", "http://127.0.0.1:8472", "null", "", "https://onetag.example.com.evil"] {
            assert!(!asks(&[("origin", other)]), "{other}");
        }
        assert!(!asks(&[("sec-fetch-site", "cross-site")]));
        assert!(!asks(&[("sec-fetch-site", "same-site")]));
    }
}
