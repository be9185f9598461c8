//! Deliveries from Azure Container Registry's own webhooks.
//!
//! One event of Distribution without its envelope. The sender is known by a header that the operator
//! chose.

use http::HeaderMap;
use serde::Deserialize;

use super::Rejection;
use super::json::{self, List, Object, Text};
use super::told::{Ignored, Outcome, Told};

/// An event, which Event Grid wraps as its data.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Event {
    id: Text,
    timestamp: Text,
    action: Text,
    target: Object<Target>,
    request: Object<Request>,
    /// Distribution's, of which this is one event alone.
    events: List<Text>,
}

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

/// Returns what became of the event.
pub(super) fn parse(_: &HeaderMap, body: &[u8]) -> Result<Vec<Outcome>, Rejection> {
    let event = json::read::<Object<Event>>(body)?.into_inner();
    if event.action.is_none() || event.events.is_there() {
        return Err(Rejection::unlike(body, "an object with `action` and without `events`"));
    }
    if !event.action.is("push") {
        return Ok(vec![Err(Ignored::other("action", event.action.as_deref()))]);
    }
    Ok(vec![event.into_told().check()])
}

impl Event {
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
            actor: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Format;
    use super::super::samples::{sample_text, told};
    use http::HeaderMap;

    #[test]
    fn pings_and_other_actions_are_ignored() {
        let acr = |body: String| told(Format::Acr, &HeaderMap::new(), body);
        assert_eq!(acr(sample_text("acr-ping.json")), ["ignored: action `ping`"]);
        let other = |action: &str| acr(sample_text("acr.json").replace(r#""push""#, action));
        assert_eq!(other(r#""chart_push""#), ["ignored: action `chart_push`"]);
        assert_eq!(other(r#""delete""#), ["ignored: action `delete`"]);
    }

    #[test]
    fn an_envelope_of_distribution_is_rejected() {
        let body = r#"{"action":"push","events":[]}"#;
        insta::assert_snapshot!(told(Format::Acr, &HeaderMap::new(), body).join("\n"), @"rejected: found an object with the keys `action` and `events`, expected an object with `action` and without `events`");
    }
}
