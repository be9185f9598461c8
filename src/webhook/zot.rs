//! Deliveries from zot, as CloudEvents.
//!
//! The data embeds the whole manifest as text, which is skipped. Each tag of a push is an event of
//! its own, and a push that changes nothing is none. zot sends nothing a second time.

use http::HeaderMap;
use serde::Deserialize;

use super::json::{Object, Text};
use super::told::{Ignored, Outcome, Told};
use super::{Rejection, cloud_event};

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Image {
    name: Text,
    /// The tag, or the digest if there was none.
    reference: Text,
    digest: Text,
    media_type: Text,
    actor: Object<Actor>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Actor {
    name: Text,
}

/// Returns what became of the event.
pub(super) fn parse(headers: &HeaderMap, body: &[u8]) -> Result<Vec<Outcome>, Rejection> {
    let event = cloud_event::read::<Image>(headers, body)?.filter(|event| event.kind.begins("zotregistry."));
    let Some(event) = event else {
        let expected = "a CloudEvent of a type that begins with `zotregistry.`, told by the header `Ce-Type` or by a body with \
                        `specversion` and `type`";
        return Err(Rejection::unlike(body, expected));
    };
    if !event.kind.is("zotregistry.image.updated") {
        return Ok(vec![Err(Ignored::other("event type", event.kind.as_deref()))]);
    }
    let image = event.data.into_inner();
    let told = Told {
        registry: None,
        repository: image.name.0,
        tag: image.reference.0,
        digest: image.digest.0,
        media_type: image.media_type.0,
        event_id: event.id.0,
        time: event.time.0,
        actor: image.actor.into_inner().name.0,
    };
    Ok(vec![told.check()])
}

#[cfg(test)]
mod tests {
    use super::super::Format;
    use super::super::samples::{headers, sample, sample_text, told};
    use http::HeaderMap;

    #[test]
    fn data_without_its_headers_is_not_taken_for_an_event() {
        let told = told(Format::Zot, &HeaderMap::new(), sample("zot-cloudevents-binary.json"));
        insta::assert_snapshot!(told.join("\n"), @"rejected: found an object with the keys `actor`, `digest`, `manifest`, `mediaType`, `name`, `reference` and `request`, expected a CloudEvent of a type that begins with `zotregistry.`, told by the header `Ce-Type` or by a body with `specversion` and `type`");
    }

    #[test]
    fn other_events_of_zot_are_ignored_and_those_of_others_rejected() {
        let other = |kind: &str| {
            let headers = headers(&[("Ce-Type", kind), ("Ce-Specversion", "1.0")]);
            told(Format::Zot, &headers, sample("zot-cloudevents-binary.json"))
        };
        assert_eq!(other("zotregistry.image.deleted"), ["ignored: event type `zotregistry.image.deleted`"]);
        assert!(other("harbor.artifact.pushed")[0].starts_with("rejected: "));
    }

    #[test]
    fn a_manifest_of_megabytes_is_skipped() {
        let manifest = r#"\"[{"#.repeat(500_000);
        let body = sample_text("zot-cloudevents-structured.json")
            .replace(r#""manifest": ""#, &format!(r#""manifest": "{manifest}"#));
        assert!(body.len() > 2_000_000);
        assert_eq!(told(Format::Zot, &HeaderMap::new(), body), ["acme/ubuntu:armhf-xenial@sha256:5bb5b2"]);
    }
}
