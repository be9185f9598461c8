//! Deliveries from Google Artifact Registry and Container Registry, through Pub/Sub.
//!
//! Pub/Sub wraps the registry's few words in base64, unless the subscription unwraps them; then the
//! envelope's words are headers, if the subscription writes them. Tag and digest are whole
//! references. The sender is known by a token that Google signed.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::HeaderMap;
use serde::Deserialize;

use super::Rejection;
use super::json::{self, Object, Text};
use super::message::header_text;
use super::reference::{Reference, host};
use super::told::{Ignored, Outcome, Told};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Envelope {
    message: Object<Message>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Message {
    data: Text,
    message_id: Text,
    publish_time: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Event {
    action: Text,
    tag: Text,
    digest: Text,
}

/// Returns what became of the event.
pub(super) fn parse(headers: &HeaderMap, body: &[u8]) -> Result<Vec<Outcome>, Rejection> {
    let message = json::read::<Object<Envelope>>(body)?.into_inner().message.into_inner();
    let Some(data) = message.data.0 else {
        let id = header_text(headers, "x-goog-pubsub-message-id");
        let time = header_text(headers, "x-goog-pubsub-publish-time");
        return Ok(vec![event(body)?.into_push(id, time)]);
    };
    let data = BASE64_STANDARD.decode(data).map_err(|error| Rejection::Unlike {
        found: format!("`message.data` that is not base64 ({error})"),
        expected: "the registry's event in it",
    })?;
    Ok(vec![event(&data)?.into_push(message.message_id.0, message.publish_time.0)])
}

fn event(body: &[u8]) -> Result<Event, Rejection> {
    let unlike =
        || Rejection::unlike(body, "an object with `action`, and `tag` or `digest`, as it is or in `message.data`");
    let event = json::read::<Object<Event>>(body).map_err(|rejection| match rejection {
        Rejection::NotJson { .. } => unlike(), // the body is JSON, so this is what is in it
        other => other,
    })?;
    let event = event.into_inner();
    if event.action.is_none() || (event.tag.is_none() && event.digest.is_none()) {
        return Err(unlike());
    }
    Ok(event)
}

impl Event {
    fn into_push(self, event_id: Option<String>, time: Option<String>) -> Outcome {
        if !self.action.is("INSERT") {
            return Err(Ignored::other("action", self.action.as_deref()));
        }
        let tag = self.tag.as_deref();
        let references = [tag.filter(|tag| tag.contains('/')), self.digest.as_deref()];
        let reference = references.into_iter().flatten().next();
        Told {
            registry: reference.and_then(host),
            repository: reference.map(|text| Reference::read(text).path.to_owned()),
            tag: tag.and_then(bare_tag).map(str::to_owned),
            digest: self.digest.as_deref().and_then(|text| Reference::read(text).digest).map(str::to_owned),
            media_type: None,
            event_id,
            time,
            actor: None,
        }
        .check()
    }
}

/// The tag of a reference, or text that is no reference, as it is.
fn bare_tag(text: &str) -> Option<&str> {
    if text.contains('/') { Reference::read(text).tag } else { Some(text) }
}

#[cfg(test)]
mod tests {
    use super::super::Format;
    use super::super::samples::{sample_text, told};
    use super::*;

    const PUSHED: &str = "europe-west1-docker.pkg.dev/acme-project/acme/ubuntu:armhf-xenial@sha256:5bb5b2";
    const TAG: &str = "europe-west1-docker.pkg.dev/acme-project/acme/ubuntu:armhf-xenial";

    fn gar(body: &str) -> Vec<String> {
        told(Format::Gar, &HeaderMap::new(), body)
    }

    fn wrapped(data: &str) -> String {
        format!(r#"{{"message":{{"data":"{}","messageId":"1"}},"subscription":"s"}}"#, BASE64_STANDARD.encode(data))
    }

    #[test]
    fn wrapped_or_not_the_event_is_the_same() {
        let event = sample_text("gar-pubsub-unwrapped.json");
        assert_eq!(gar(&event), [PUSHED]);
        assert_eq!(gar(&wrapped(&event)), [PUSHED]);
    }

    #[test]
    fn a_bare_tag_goes_with_the_path_of_the_digest() {
        assert_eq!(gar(&sample_text("gar-pubsub-unwrapped.json").replace(TAG, "armhf-xenial")), [PUSHED]);
    }

    #[test]
    fn a_tag_without_a_digest_is_enough() {
        let body = format!(r#"{{"action":"INSERT","tag":"{TAG}"}}"#);
        assert_eq!(gar(&body), ["europe-west1-docker.pkg.dev/acme-project/acme/ubuntu:armhf-xenial"]);
    }

    #[test]
    fn deletions_and_untagged_manifests_are_ignored() {
        let event = sample_text("gar-pubsub-unwrapped.json");
        assert_eq!(gar(&event.replace("INSERT", "DELETE")), ["ignored: action `DELETE`"]);
        let untagged = event.replace(r#""tag""#, r#""other""#);
        assert_eq!(gar(&untagged), ["ignored: no tag: a manifest pushed by its digest"]);
    }

    #[test]
    fn messages_of_other_topics_are_rejected() {
        insta::assert_snapshot!(gar(&wrapped(r#"{"kind":"storage#object"}"#)).join("\n"), @"rejected: found an object with the key `kind`, expected an object with `action`, and `tag` or `digest`, as it is or in `message.data`");
        insta::assert_snapshot!(gar(&wrapped("hello")).join("\n"), @"rejected: found no JSON, expected an object with `action`, and `tag` or `digest`, as it is or in `message.data`");
        insta::assert_snapshot!(gar(r#"{"message":{"data":"%%%"}}"#).join("\n"), @"rejected: found `message.data` that is not base64 (Invalid symbol 37, offset 0.), expected the registry's event in it");
        insta::assert_snapshot!(gar(r#"{"message":{"attributes":{}}}"#).join("\n"), @"rejected: found an object with the key `message`, expected an object with `action`, and `tag` or `digest`, as it is or in `message.data`");
    }
}
