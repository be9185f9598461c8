//! Deliveries from Harbor and from what is derived from it, in Harbor's own form and as CloudEvents.
//!
//! A push is told some seconds after the tag was written. There is no id, no media type and no test
//! delivery.

use http::HeaderMap;
use serde::Deserialize;

use super::json::{self, List, Object, Text, UnixTime};
use super::reference::host;
use super::told::{Ignored, Outcome, Told};
use super::{Rejection, cloud_event};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Delivery {
    #[serde(rename = "type")]
    kind: Text,
    occur_at: UnixTime,
    operator: Text,
    event_data: Object<Data>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Data {
    resources: List<Object<Resource>>,
    repository: Object<Repository>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Resource {
    /// The tag, or the digest if there was none.
    tag: Text,
    digest: Text,
    resource_url: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Repository {
    repo_full_name: Text,
}

/// What both forms tell beside the resources.
#[derive(Debug)]
struct Envelope {
    event_id: Text,
    time: Option<String>,
    operator: Text,
}

/// Returns what became of each resource.
pub(super) fn parse(headers: &HeaderMap, body: &[u8]) -> Result<Vec<Outcome>, Rejection> {
    let cloud_event = cloud_event::read::<Data>(headers, body)?.filter(|event| event.kind.begins("harbor."));
    if let Some(event) = cloud_event {
        if !event.kind.is("harbor.artifact.pushed") {
            return Ok(vec![Err(Ignored::other("event type", event.kind.as_deref()))]);
        }
        return pushes(&Envelope { event_id: event.id, time: event.time.0, operator: event.operator }, event.data);
    }
    let delivery = json::read::<Object<Delivery>>(body)?.into_inner();
    if delivery.kind.is_none() || !delivery.event_data.is_there() {
        let expected = "an object with `type` and `event_data`, or a CloudEvent of a type that begins with `harbor.`";
        return Err(Rejection::unlike(body, expected));
    }
    // `pushImage` was 1.x, and is what derived services still say.
    if !delivery.kind.is("PUSH_ARTIFACT") && !delivery.kind.is("pushImage") {
        return Ok(vec![Err(Ignored::other("event type", delivery.kind.as_deref()))]);
    }
    let envelope = Envelope { event_id: Text(None), time: delivery.occur_at.0, operator: delivery.operator };
    pushes(&envelope, delivery.event_data)
}

fn pushes(envelope: &Envelope, data: Object<Data>) -> Result<Vec<Outcome>, Rejection> {
    let data = data.into_inner();
    let repository = data.repository.into_inner().repo_full_name;
    let into_push = |resource: Object<Resource>| {
        let resource = resource.into_inner();
        Told {
            registry: resource.resource_url.as_deref().and_then(host),
            repository: repository.0.clone(),
            tag: resource.tag.0,
            digest: resource.digest.0,
            media_type: None,
            event_id: envelope.event_id.0.clone(),
            time: envelope.time.clone(),
            actor: envelope.operator.0.clone(),
        }
        .check()
    };
    Ok(data.resources.into_events()?.into_iter().map(into_push).collect())
}

#[cfg(test)]
mod tests {
    use super::super::Format;
    use super::super::samples::{sample_text, told};
    use http::HeaderMap;

    fn harbor(body: &str) -> Vec<String> {
        told(Format::Harbor, &HeaderMap::new(), body)
    }

    #[test]
    fn a_scheme_before_the_registry_is_left_out() {
        let body = sample_text("harbor.json").replace("registry.example.com/", "https://registry.example.com:8443/");
        assert_eq!(harbor(&body), ["registry.example.com:8443/acme/ubuntu:armhf-xenial@sha256:5bb5b2"]);
    }

    #[test]
    fn other_events_are_ignored_in_both_forms() {
        let pull = sample_text("harbor.json").replace("PUSH_ARTIFACT", "PULL_ARTIFACT");
        assert_eq!(harbor(&pull), ["ignored: event type `PULL_ARTIFACT`"]);
        let scanned = sample_text("harbor-cloudevents.json").replace("artifact.pushed", "scan.completed");
        assert_eq!(harbor(&scanned), ["ignored: event type `harbor.scan.completed`"]);
    }

    #[test]
    fn every_resource_of_an_event_counts_and_one_without_a_tag_spoils_none() {
        let resources = r#"{"type":"PUSH_ARTIFACT","event_data":{"repository":{"repo_full_name":"acme/ubuntu"},
            "resources":[{"tag":"amd64-xenial"},{"tag":"sha256:00"},null,{"tag":"armhf-xenial"}]}}"#;
        let untagged = "ignored: no tag: a manifest pushed by its digest";
        assert_eq!(harbor(resources), ["acme/ubuntu:amd64-xenial", "acme/ubuntu:armhf-xenial", untagged, untagged]);
    }

    #[test]
    fn a_date_that_is_none_is_no_error() {
        let body = sample_text("harbor.json").replace("1741080074", r#""soon""#);
        assert_eq!(harbor(&body), ["registry.example.com/acme/ubuntu:armhf-xenial@sha256:5bb5b2"]);
    }

    #[test]
    fn a_cloud_event_of_another_sender_is_rejected() {
        let body =
            sample_text("harbor-cloudevents.json").replace("harbor.artifact.pushed", "com.amazon.ecr.image.push");
        insta::assert_snapshot!(harbor(&body).join("\n"), @"rejected: found a CloudEvent of the type `com.amazon.ecr.image.push`, expected an object with `type` and `event_data`, or a CloudEvent of a type that begins with `harbor.`");
    }
}
