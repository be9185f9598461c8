//! Deliveries from Mirantis Secure Registry, formerly Docker Trusted Registry.
//!
//! The sender proves nothing: a secret in the URL is all there is. `contents.architecture` is the
//! registry's reading of the image and is not asked for.

use http::HeaderMap;
use serde::Deserialize;

use super::Rejection;
use super::json::{self, Object, Text};
use super::reference::host;
use super::told::{Ignored, Outcome, Told};

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Delivery {
    #[serde(rename = "type")]
    kind: Text,
    created_at: Text,
    contents: Object<Contents>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Contents {
    namespace: Text,
    repository: Text,
    tag: Text,
    digest: Text,
    image_name: Text,
    author: Text,
}

/// Returns what became of the event.
pub(super) fn parse(_: &HeaderMap, body: &[u8]) -> Result<Vec<Outcome>, Rejection> {
    let delivery = json::read::<Object<Delivery>>(body)?.into_inner();
    if delivery.kind.is_none() || !delivery.contents.is_there() {
        return Err(Rejection::unlike(body, "an object with `type` and `contents`"));
    }
    if !delivery.kind.is("TAG_PUSH") {
        return Ok(vec![Err(Ignored::other("event type", delivery.kind.as_deref()))]);
    }
    let contents = delivery.contents.into_inner();
    let repository = contents.namespace.0.zip(contents.repository.0);
    let told = Told {
        registry: contents.image_name.as_deref().and_then(host),
        repository: repository.map(|(namespace, name)| format!("{namespace}/{name}")),
        tag: contents.tag.0,
        digest: contents.digest.0,
        media_type: None,
        event_id: None,
        time: delivery.created_at.0,
        actor: contents.author.0,
    };
    Ok(vec![told.check()])
}

#[cfg(test)]
mod tests {
    use super::super::Format;
    use super::super::samples::{sample_text, told};
    use http::HeaderMap;

    fn msr(body: &str) -> Vec<String> {
        told(Format::Msr, &HeaderMap::new(), body)
    }

    #[test]
    fn a_registry_that_does_not_know_its_own_name_leaves_it_out() {
        let body = sample_text("msr-tag-push.json").replace("registry.example.com/acme", "/acme");
        assert_eq!(msr(&body), ["acme/ubuntu:armhf-xenial@sha256:5bb5b2"]);
    }

    #[test]
    fn other_events_are_ignored() {
        let body = sample_text("msr-tag-push.json").replace("TAG_PUSH", "SCAN_COMPLETED");
        assert_eq!(msr(&body), ["ignored: event type `SCAN_COMPLETED`"]);
    }
}
