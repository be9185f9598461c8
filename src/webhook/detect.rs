//! Detect: whose delivery this looks like.
//!
//! A hint for people whose settings do not fit, and for nothing else: the format that is configured
//! decides how a delivery is read and what proves its sender. A request may not choose an easier
//! proof by looking like another format.

use http::HeaderMap;
use serde::Deserialize;

use super::Format;
use super::json::{self, List, Object, Text};
use super::message::{header, payload};

/// Headers that only one sender has, in an order that matters: Gitea also sends GitHub's.
const HEADERS: [(&str, Format); 6] = [
    ("x-forgejo-event", Format::Forgejo),
    ("x-gitea-event", Format::Gitea),
    ("x-github-event", Format::Ghcr),
    ("x-nexus-webhook-id", Format::Nexus),
    ("aeg-event-type", Format::EventGrid),
    ("x-jfrog-event-auth", Format::Artifactory),
];

/// How the types of CloudEvents begin.
const CLOUD_EVENTS: [(&str, Format); 4] = [
    ("zotregistry.", Format::Zot),
    ("harbor.", Format::Harbor),
    ("Microsoft.", Format::EventGrid),
    ("com.amazon.ecr.", Format::Ecr),
];

/// What tells the formats apart.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Shape {
    specversion: Text,
    #[serde(rename = "type")]
    kind: Text,
    #[serde(rename = "eventType")]
    event_type: Text,
    events: List<Object<Empty>>,
    event_data: Object<Empty>,
    updated_tags: List<Text>,
    docker_url: Text,
    push_data: Object<Empty>,
    repository: Object<Repository>,
    #[serde(rename = "detail-type")]
    detail_type: Text,
    message: Object<Message>,
    action: Text,
    tag: Text,
    digest: Text,
    contents: Object<Empty>,
    domain: Text,
    #[serde(rename = "event_type")]
    artifactory_type: Text,
    #[serde(rename = "repositoryName")]
    repository_name: Text,
}

#[derive(Debug, Default, Deserialize)]
struct Empty {}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Repository {
    repo_full_name: Text,
    region: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Message {
    data: Text,
}

/// The format that a delivery looks like; the first sign counts.
pub fn detect(headers: &HeaderMap, body: &[u8]) -> Option<Format> {
    let named = HEADERS.into_iter().find(|(name, _)| headers.contains_key(*name));
    named.map(|(_, format)| format).or_else(|| of_content_type(headers)).or_else(|| of_body(headers, body))
}

fn of_content_type(headers: &HeaderMap) -> Option<Format> {
    let content_type = header(headers, "content-type")?;
    content_type.starts_with("application/vnd.docker.distribution.events.").then_some(Format::Distribution)
}

fn of_body(headers: &HeaderMap, body: &[u8]) -> Option<Format> {
    let body = payload(headers, body).ok()?;
    let shape: Object<Shape> = json::read(&body).ok()?;
    if !shape.is_there() {
        let events = json::read::<List<Object<Shape>>>(&body).ok()?.into_events().ok()?;
        return events.first()?.is_microsoft().then_some(Format::EventGrid);
    }
    let cloud_type = header(headers, "ce-type").or(shape.kind.as_deref().filter(|_| shape.specversion.is_some()));
    match cloud_type {
        Some(kind) => CLOUD_EVENTS.into_iter().find(|(prefix, _)| kind.starts_with(prefix)).map(|(_, format)| format),
        None => shape.of_keys(),
    }
}

impl Shape {
    fn is_microsoft(&self) -> bool {
        self.event_type.begins("Microsoft.") || self.kind.begins("Microsoft.")
    }

    fn of_keys(&self) -> Option<Format> {
        let is_alibaba = self.repository.repo_full_name.is_some() || self.repository.region.is_some();
        let is_insert = self.action.is("INSERT") || self.action.is("DELETE");
        let signs = [
            (self.events.is_there(), Format::Distribution),
            (self.event_data.is_there(), Format::Harbor),
            (self.updated_tags.is_there() || self.docker_url.is_some(), Format::Quay),
            (self.push_data.is_there() && is_alibaba, Format::Alibaba),
            (self.push_data.is_there(), Format::DockerHub),
            (self.detail_type.is_some(), Format::Ecr),
            (self.message.data.is_some(), Format::Gar),
            (is_insert && (self.tag.is_some() || self.digest.is_some()), Format::Gar),
            (self.contents.is_there(), Format::Msr),
            (self.domain.is_some() && self.artifactory_type.is_some(), Format::Artifactory),
            (self.repository_name.is_some(), Format::Nexus),
            (self.action.is_some(), Format::Acr),
        ];
        signs.into_iter().find(|(is_seen, _)| *is_seen).map(|(_, format)| format)
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{headers, sample};
    use super::*;

    fn of(body: &str) -> Option<Format> {
        detect(&HeaderMap::new(), body.as_bytes())
    }

    #[test]
    fn gitea_is_not_taken_for_github_whose_headers_it_sends_too() {
        let github = ("X-GitHub-Event", "package");
        assert_eq!(detect(&headers(&[github]), b"{}"), Some(Format::Ghcr));
        assert_eq!(detect(&headers(&[github, ("X-Gitea-Event", "package")]), b"{}"), Some(Format::Gitea));
        let forgejo = [github, ("X-Gitea-Event", "package"), ("X-Forgejo-Event", "package")];
        assert_eq!(detect(&headers(&forgejo), b"{}"), Some(Format::Forgejo));
    }

    #[test]
    fn most_bodies_tell_by_themselves() {
        for (file, format) in [
            ("distribution-v2.json", Format::Distribution),
            ("zot-cloudevents-structured.json", Format::Zot),
            ("harbor-legacy.json", Format::Harbor),
            ("harbor-cloudevents.json", Format::Harbor),
            ("quay-test.json", Format::Quay),
            ("dockerhub.json", Format::DockerHub),
            ("alibaba-acr.json", Format::Alibaba),
            ("acr-ping.json", Format::Acr),
            ("acr-eventgrid-validation.json", Format::EventGrid),
            ("acr-eventgrid-cloudevents.json", Format::EventGrid),
            ("ecr-eventbridge.json", Format::Ecr),
            ("ecr-cloudevents.json", Format::Ecr),
            ("gar-pubsub.json", Format::Gar),
            ("gar-pubsub-unwrapped.json", Format::Gar),
            ("artifactory.json", Format::Artifactory),
            ("nexus-asset.json", Format::Nexus),
            ("msr-tag-push.json", Format::Msr),
        ] {
            assert_eq!(detect(&HeaderMap::new(), &sample(file)), Some(format), "{file}");
        }
    }

    #[test]
    fn what_nobody_sends_is_nobodys() {
        for body in ["", "<html>", "{}", "[]", "[{}]", "7", r#"{"specversion":"1.0","type":"com.example.x"}"#] {
            assert_eq!(of(body), None, "{body}");
        }
    }
}
