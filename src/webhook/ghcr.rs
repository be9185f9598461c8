//! Deliveries from GitHub's container registry.
//!
//! Hooks of repositories and organisations send the event `package`, those of apps
//! `registry_package`; both say the same. The owner keeps its capitals, the image path has none.
//! One of several tags pushed at once may be all that is told, and nothing is sent twice.

use http::HeaderMap;
use serde::Deserialize;

use super::Rejection;
use super::json::{self, Object, Text};
use super::message::{header, header_text, payload};
use super::reference::Reference;
use super::told::{Ignored, Outcome, Told};
use crate::model::RepositoryPath;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Delivery {
    action: Text,
    package: Object<Package>,
    registry_package: Object<Package>,
    sender: Object<Sender>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Package {
    name: Text,
    namespace: Text,
    ecosystem: Text,
    package_type: Text,
    package_version: Object<Version>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Version {
    version: Text,
    package_url: Text,
    container_metadata: Object<Metadata>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Metadata {
    tag: Object<TagPart>,
    manifest: Object<Manifest>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct TagPart {
    name: Text,
    digest: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Manifest {
    digest: Text,
    media_type: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Sender {
    login: Text,
}

/// Returns what became of the event.
pub(super) fn parse(headers: &HeaderMap, body: &[u8]) -> Result<Vec<Outcome>, Rejection> {
    let event = header(headers, "x-github-event").ok_or(Rejection::NoHeader { name: "X-GitHub-Event" })?;
    let body = payload(headers, body)?;
    let delivery = json::read::<Object<Delivery>>(&body)?;
    // Gitea signs, names and fills its deliveries in another way, and sends GitHub's headers too.
    if headers.contains_key("x-gitea-event") || headers.contains_key("x-forgejo-event") {
        let found = "the header `X-Gitea-Event` or `X-Forgejo-Event`".to_owned();
        return Err(Rejection::Unlike { found, expected: "a delivery of GitHub, which has neither" });
    }
    if event != "package" && event != "registry_package" {
        return Ok(vec![Err(Ignored::other("event", Some(event)))]);
    }
    let delivery = delivery.into_inner();
    let package = [delivery.package, delivery.registry_package].into_iter().find(Object::is_there);
    let Some(package) = package else {
        return Err(Rejection::unlike(&body, "an object with `package` or `registry_package`"));
    };
    if !delivery.action.is("published") && !delivery.action.is("updated") {
        return Ok(vec![Err(Ignored::other("action", delivery.action.as_deref()))]);
    }
    let package = package.into_inner();
    if !package.is_container() {
        let kind = package.package_type.as_deref().or(package.ecosystem.as_deref());
        return Ok(vec![Err(Ignored::other("package type", kind))]);
    }
    let told = Told {
        event_id: header_text(headers, "x-github-delivery"),
        actor: delivery.sender.into_inner().login.0,
        ..package.into_told()
    };
    Ok(vec![told.check()])
}

impl Package {
    fn is_container(&self) -> bool {
        let is_image = |kind: &&str| kind.eq_ignore_ascii_case("container") || kind.eq_ignore_ascii_case("docker");
        [&self.package_type, &self.ecosystem].into_iter().any(|kind| kind.as_deref().filter(is_image).is_some())
    }

    /// The image's path. The source repository may have another name and is not asked.
    fn repository(&self) -> Option<String> {
        let url = self.package_version.package_url.as_deref();
        let path = url.map(|url| Reference::read(url).path.to_lowercase());
        let is_path = |path: &String| path.parse::<RepositoryPath>().is_ok();
        let named = || Some(format!("{}/{}", self.namespace.as_deref()?, self.name.as_deref()?).to_lowercase());
        path.filter(is_path).or_else(named)
    }

    fn into_told(self) -> Told {
        let repository = self.repository();
        let version = self.package_version.into_inner();
        let metadata = version.container_metadata.into_inner();
        let (tag, manifest) = (metadata.tag.into_inner(), metadata.manifest.into_inner());
        Told {
            registry: Some("ghcr.io".to_owned()),
            repository,
            tag: tag.name.0,
            digest: manifest.digest.0.or(tag.digest.0).or(version.version.0),
            media_type: manifest.media_type.0,
            ..Told::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Format;
    use super::super::samples::{headers, sample_text, told};

    const PUSHED: &str = "ghcr.io/acme/ubuntu:armhf-xenial@sha256:5bb5b2";

    fn ghcr(event: &str, body: &str) -> Vec<String> {
        told(Format::Ghcr, &headers(&[("X-GitHub-Event", event)]), body)
    }

    #[test]
    fn the_path_is_lowercase_and_comes_from_the_package_not_from_the_repository() {
        let body = sample_text("ghcr-package.json")
            .replace("ghcr.io/acme/ubuntu:armhf-xenial", "ghcr.io/Acme/base/Ubuntu:armhf-xenial")
            .replace(r#""full_name": "Acme/ubuntu""#, r#""full_name": "Acme/dockerfiles""#);
        assert_eq!(ghcr("package", &body), ["ghcr.io/acme/base/ubuntu:armhf-xenial@sha256:5bb5b2"]);
    }

    #[test]
    fn without_its_url_a_package_goes_by_its_owner_and_name() {
        for url in [r#""""#, "null", r#""ghcr.io""#, r#""https://""#] {
            let body = sample_text("ghcr-package.json").replace(r#""ghcr.io/acme/ubuntu:armhf-xenial""#, url);
            assert_eq!(ghcr("package", &body), [PUSHED], "{url}");
        }
    }

    #[test]
    fn an_update_is_a_push_too_and_a_deletion_is_none() {
        let action = |action| sample_text("ghcr-package.json").replace(r#""published""#, action);
        assert_eq!(ghcr("package", &action(r#""updated""#)), [PUSHED]);
        assert_eq!(ghcr("package", &action(r#""deleted""#)), ["ignored: action `deleted`"]);
    }

    #[test]
    fn either_name_of_the_kind_will_do_in_any_letters_and_other_packages_are_ignored() {
        let kinds = |kind: &str, ecosystem: &str| {
            let body = sample_text("ghcr-package.json")
                .replace(r#""package_type": "CONTAINER""#, &format!(r#""package_type": "{kind}""#))
                .replace(r#""ecosystem": "CONTAINER""#, &format!(r#""ecosystem": "{ecosystem}""#));
            ghcr("package", &body)
        };
        for (kind, ecosystem) in [("container", ""), ("Docker", ""), ("", "docker"), ("", "Container")] {
            assert_eq!(kinds(kind, ecosystem), [PUSHED]);
        }
        assert_eq!(kinds("npm", "npm"), ["ignored: package type `npm`"]);
    }

    #[test]
    fn the_digest_is_taken_from_where_there_is_one() {
        let digest = "sha256:5bb5b2b35f761632ba65255358877abb85876261664f013b6c3a489844f2429c";
        let other = format!("sha256:{}", "0".repeat(64));
        let body = sample_text("ghcr-package.json");
        let (before, after) = body.split_at(body.find(r#""container_metadata""#).expect("it is there"));
        let without_manifest = format!("{before}{}", after.replacen(r#""manifest": {"#, r#""other": {"#, 1));
        assert_eq!(ghcr("package", &without_manifest), [PUSHED]);
        let only_version = format!("{}{}", before.replace(digest, &other), after.replace(digest, ""));
        assert_eq!(ghcr("package", &only_version), ["ghcr.io/acme/ubuntu:armhf-xenial@sha256:000000"]);
    }

    #[test]
    fn a_form_is_read_like_the_json_in_it() {
        let form: String = form_urlencoded::Serializer::new(String::new())
            .append_pair("payload", &sample_text("ghcr-package.json"))
            .finish();
        let headers = headers(&[("X-GitHub-Event", "package"), ("Content-Type", "application/x-www-form-urlencoded")]);
        assert_eq!(told(Format::Ghcr, &headers, form), [PUSHED]);
    }

    #[test]
    fn a_ping_and_a_push_of_git_are_ignored() {
        assert_eq!(ghcr("ping", &sample_text("github-ping.json")), ["ignored: event `ping`"]);
        assert_eq!(ghcr("push", r#"{"ref":"refs/heads/main"}"#), ["ignored: event `push`"]);
    }

    #[test]
    fn what_github_did_not_send_is_rejected() {
        let body = sample_text("ghcr-package.json");
        assert_eq!(
            told(Format::Ghcr, &headers(&[]), &body),
            ["rejected: the header `X-GitHub-Event` is missing, which tells what the delivery is about"]
        );
        let gitea = headers(&[("X-GitHub-Event", "package"), ("X-Gitea-Event", "package")]);
        insta::assert_snapshot!(told(Format::Ghcr, &gitea, &body).join("\n"), @"rejected: found the header `X-Gitea-Event` or `X-Forgejo-Event`, expected a delivery of GitHub, which has neither");
        insta::assert_snapshot!(ghcr("package", r#"{"action":"published"}"#).join("\n"), @"rejected: found an object with the key `action`, expected an object with `package` or `registry_package`");
    }
}
