//! Deliveries from Gitea and Forgejo.
//!
//! No digest is told: the version is the tag, or the digest if there was none. Image names are
//! lower-cased, and so are tags in the versions looked at. `repository` is always null for packages.
//! Both also send GitHub's headers, and Forgejo sends Gitea's. Nothing is sent twice.

use http::HeaderMap;
use serde::Deserialize;

use super::Rejection;
use super::json::{self, Object, Text};
use super::message::{header, header_text, payload};
use super::reference::host;
use super::told::{Ignored, Outcome, Told};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Delivery {
    action: Text,
    package: Object<Package>,
    sender: Object<User>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Package {
    #[serde(rename = "type")]
    kind: Text,
    owner: Object<User>,
    name: Text,
    version: Text,
    html_url: Text,
    created_at: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct User {
    login: Text,
}

/// Returns what became of the event.
pub(super) fn parse(headers: &HeaderMap, body: &[u8]) -> Result<Vec<Outcome>, Rejection> {
    let either = |forgejo, gitea| header(headers, forgejo).or_else(|| header(headers, gitea));
    let event = either("x-forgejo-event", "x-gitea-event").ok_or(Rejection::NoHeader { name: "X-Gitea-Event" })?;
    let body = payload(headers, body)?;
    let delivery = json::read::<Object<Delivery>>(&body)?.into_inner();
    if event != "package" {
        return Ok(vec![Err(Ignored::other("event", Some(event)))]);
    }
    if !delivery.package.is_there() {
        return Err(Rejection::unlike(&body, "an object with `action` and `package`"));
    }
    if !delivery.action.is("created") {
        return Ok(vec![Err(Ignored::other("action", delivery.action.as_deref()))]);
    }
    let package = delivery.package.into_inner();
    if !package.kind.is("container") {
        return Ok(vec![Err(Ignored::other("package type", package.kind.as_deref()))]);
    }
    let forgejo_id = header_text(headers, "x-forgejo-delivery");
    let told = Told {
        event_id: forgejo_id.or_else(|| header_text(headers, "x-gitea-delivery")),
        actor: delivery.sender.into_inner().login.0,
        ..package.into_told()
    };
    Ok(vec![told.check()])
}

impl Package {
    fn into_told(self) -> Told {
        let path = self.owner.into_inner().login.0.zip(self.name.0);
        Told {
            registry: self.html_url.as_deref().and_then(host),
            repository: path.map(|(owner, name)| format!("{owner}/{name}").to_lowercase()),
            tag: self.version.0,
            time: self.created_at.0,
            ..Told::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{headers, sample_text, told};
    use super::super::{Format, parse};

    const PUSHED: &str = "registry.example.com/acme/ubuntu:armhf-xenial";

    fn gitea(event: &str, body: &str) -> Vec<String> {
        told(Format::Gitea, &headers(&[("X-Gitea-Event", event)]), body)
    }

    #[test]
    fn the_owner_loses_its_capitals() {
        let body = sample_text("gitea-package.json").replace(r#""login": "acme""#, r#""login": "Acme""#);
        assert_eq!(gitea("package", &body), [PUSHED]);
    }

    #[test]
    fn other_packages_and_deletions_are_ignored() {
        let body = sample_text("gitea-package.json");
        let npm = body.replace(r#""type": "container""#, r#""type": "npm""#);
        assert_eq!(gitea("package", &npm), ["ignored: package type `npm`"]);
        let deleted = body.replace(r#""created","#, r#""deleted","#);
        assert_eq!(gitea("package", &deleted), ["ignored: action `deleted`"]);
    }

    #[test]
    fn the_test_button_sends_a_push_of_git_which_is_ignored() {
        assert_eq!(gitea("push", r#"{"ref":"refs/heads/main","commits":[]}"#), ["ignored: event `push`"]);
    }

    #[test]
    fn a_form_is_read_like_the_json_in_it() {
        let body = sample_text("gitea-package.json");
        let form = form_urlencoded::Serializer::new(String::new()).append_pair("payload", &body).finish();
        let headers = headers(&[("X-Gitea-Event", "package"), ("Content-Type", "application/x-www-form-urlencoded")]);
        assert_eq!(told(Format::Gitea, &headers, form), [PUSHED]);
    }

    #[test]
    fn forgejo_goes_by_its_own_headers_first_and_by_giteas_else() {
        let id = |pairs: &[(&str, &str)]| {
            let body = sample_text("gitea-package.json");
            parse(Format::Forgejo, &headers(pairs), body.as_bytes()).expect("a delivery")[0].event_id.clone()
        };
        let gitea = [("X-Gitea-Event", "package"), ("X-Gitea-Delivery", "2")];
        assert_eq!(id(&gitea).as_deref(), Some("2"));
        let both = [gitea[0], gitea[1], ("X-Forgejo-Event", "package"), ("X-Forgejo-Delivery", "1")];
        assert_eq!(id(&both).as_deref(), Some("1"));
    }

    #[test]
    fn github_alone_is_not_gitea() {
        let body = sample_text("ghcr-package.json");
        assert_eq!(
            told(Format::Gitea, &headers(&[("X-GitHub-Event", "package")]), body),
            ["rejected: the header `X-Gitea-Event` is missing, which tells what the delivery is about"]
        );
    }
}
