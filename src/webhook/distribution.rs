//! Deliveries from a CNCF Distribution registry, from GitLab's, and from whoever posts its envelope.
//!
//! One delivery is an envelope of events: one in practice, any number by contract. Only `push`
//! events that name a tag matter; the same action is told of every blob. The format carries no
//! signature, so the sender is known by a header set in the registry's own configuration. A refused
//! delivery is sent again for ever and blocks all later ones.

use http::HeaderMap;
use serde::Deserialize;

use super::Rejection;
use super::json::{self, List, Object, Text};
use super::told::{Ignored, Outcome, Told};

const BLOB: &str = "application/octet-stream";

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Envelope {
    events: List<Object<Event>>,
}

/// An event, which Azure sends alone or in an envelope of its own.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Event {
    id: Text,
    timestamp: Text,
    pub(super) action: Text,
    target: Object<Target>,
    request: Object<Request>,
    actor: Object<Actor>,
}

/// Version 3 writes `""` where 2 leaves a key out. `url` is of no use: it may even be relative.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Target {
    repository: Text,
    tag: Text,
    digest: Text,
    media_type: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Request {
    host: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Actor {
    name: Text,
}

/// Returns what became of each event, oldest first.
pub(super) fn parse(_: &HeaderMap, body: &[u8]) -> Result<Vec<Outcome>, Rejection> {
    let envelope = json::read::<Object<Envelope>>(body)?.into_inner();
    if !envelope.events.is_there() {
        return Err(Rejection::unlike(body, "an object with an array `events`"));
    }
    let events = envelope.events.into_events()?;
    Ok(events.into_iter().map(|event| event.into_inner().into_push()).collect())
}

/// Whether a body has an array `events`.
pub(super) fn is_envelope(body: &[u8]) -> Result<bool, Rejection> {
    Ok(json::read::<Object<Envelope>>(body)?.into_inner().events.is_there())
}

impl Event {
    fn into_push(self) -> Outcome {
        if !self.action.is("push") {
            return Err(Ignored::other("action", self.action.as_deref()));
        }
        let told = self.into_told();
        if told.media_type.as_deref() == Some(BLOB) {
            return Err(Ignored::because("a blob"));
        }
        told.check()
    }

    pub(super) fn into_told(self) -> Told {
        let target = self.target.into_inner();
        Told {
            registry: self.request.into_inner().host.0,
            repository: target.repository.0,
            tag: target.tag.0,
            digest: target.digest.0,
            media_type: target.media_type.0,
            event_id: self.id.0,
            time: self.timestamp.0,
            actor: self.actor.into_inner().name.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Format;
    use super::super::samples::{headers, sample, told};
    use http::HeaderMap;

    fn events(events: &str) -> Vec<String> {
        told(Format::Distribution, &HeaderMap::new(), format!(r#"{{"events":[{events}]}}"#))
    }

    const PUSH: &str = r#"{"action":"push","target":{"repository":"acme/ubuntu","tag":"armhf-xenial"}}"#;

    #[test]
    fn a_batch_tells_its_pushes_and_why_the_rest_is_ignored() {
        insta::assert_snapshot!(told(Format::Gitlab, &HeaderMap::new(), sample("distribution-batch.json")).join("\n"), @r"
        registry.example.com/acme/ubuntu:armhf-xenial@sha256:5bb5b2
        registry.example.com/acme/ubuntu:xenial@sha256:146933
        registry.example.com/acme/ubuntu:amd64-xenial@sha256:8f0762
        ignored: a blob
        ignored: action `mount`
        ignored: no tag: a manifest pushed by its digest
        ignored: action `pull`
        ignored: action `delete`
        ");
    }

    #[test]
    fn a_ci_job_may_post_an_envelope_with_no_more_than_repository_and_tag() {
        assert_eq!(events(PUSH), ["acme/ubuntu:armhf-xenial"]);
    }

    #[test]
    fn one_odd_event_never_spoils_the_delivery() {
        let odd =
            format!(r#"{PUSH},null,7,"text",[],{{}},{{"action":"push","target":[]}},{{"action":["push"]}},{PUSH}"#);
        let told = events(&odd);
        assert_eq!(told.iter().filter(|line| *line == "acme/ubuntu:armhf-xenial").count(), 2, "{told:#?}");
        assert_eq!(told.len(), 9);
    }

    #[test]
    fn a_doubled_key_spoils_nothing_and_the_last_one_counts() {
        let doubled = r#"{"action":"pull","action":"push","target":{"repository":"acme/ubuntu","tag":"a","tag":"b"}}"#;
        assert_eq!(events(doubled), ["acme/ubuntu:b"]);
    }

    #[test]
    fn the_content_type_does_not_matter_where_the_envelope_is_right() {
        for content_type in ["text/plain", "application/json", "application/vnd.docker.distribution.events.v9+json"] {
            let headers = headers(&[("Content-Type", content_type)]);
            assert_eq!(
                told(Format::Distribution, &headers, format!(r#"{{"events":[{PUSH}]}}"#)),
                ["acme/ubuntu:armhf-xenial"]
            );
        }
    }

    #[test]
    fn empty_strings_of_version_3_are_absent() {
        let event = r#"{"action":"push","target":{"repository":"acme/ubuntu","tag":"xenial","digest":"","mediaType":"","size":0},"actor":{"name":""}}"#;
        assert_eq!(events(event), ["acme/ubuntu:xenial"]);
    }

    #[test]
    fn an_url_in_the_payload_leads_nowhere() {
        let event = r#"{"action":"push","target":{"repository":"acme/ubuntu","tag":"xenial","url":"http://169.254.169.254/v2/evil/manifests/latest"}}"#;
        assert_eq!(events(event), ["acme/ubuntu:xenial"]);
    }

    #[test]
    fn any_date_will_do() {
        for time in ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "yesterday", ""] {
            let event = format!(r#"{{"timestamp":"{time}","action":"push","target":{{"repository":"a","tag":"b"}}}}"#);
            assert_eq!(events(&event), ["a:b"]);
        }
    }

    #[test]
    fn an_envelope_without_events_is_told_apart_from_something_else() {
        assert_eq!(events(""), Vec::<String>::new());
        let body = r#"{"action":"push","target":{}}"#;
        assert_eq!(
            told(Format::Distribution, &HeaderMap::new(), body),
            [
                "rejected: found an object with the keys `action` and `target`, expected an object with an array `events`"
            ]
        );
    }
}
