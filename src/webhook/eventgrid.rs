//! Deliveries from Azure Container Registry through Event Grid, in both of its schemas.
//!
//! An array of events, or a single one as a CloudEvent; their data is an event of Distribution. The array may hold thousands. A new
//! subscription begins with a question that [`super::handshake`] answers.

use http::HeaderMap;
use serde::Deserialize;

use super::json::{self, List, Object, Text};
use super::told::{Ignored, Outcome, Told};
use super::{Rejection, distribution};

const PUSHED: &str = "Microsoft.ContainerRegistry.ImagePushed";
const VALIDATION: &str = "Microsoft.EventGrid.SubscriptionValidationEvent";

/// Both schemas at once: the own one has `eventType`, CloudEvents has `type`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, bound = "T: Deserialize<'de> + Default")]
struct Event<T> {
    id: Text,
    #[serde(rename = "eventType")]
    event_type: Text,
    #[serde(rename = "type")]
    kind: Text,
    data: Object<T>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Validation {
    validation_code: Text,
}

/// Returns what became of each event.
pub(super) fn parse(headers: &HeaderMap, body: &[u8]) -> Result<Vec<Outcome>, Rejection> {
    let events = events::<distribution::Event>(body)?;
    let is_told = headers.contains_key("aeg-event-type") && events.is_some();
    let is_microsoft = |event: &Event<_>| event.kind().is_some_and(|kind| kind.starts_with("Microsoft."));
    let events = events.unwrap_or_default();
    if !is_told && !events.iter().any(is_microsoft) {
        let expected = "events whose `eventType` or `type` begins with `Microsoft.`, in an array or one alone";
        return Err(Rejection::unlike(body, expected));
    }
    Ok(events.into_iter().map(Event::into_push).collect())
}

/// The code to answer with, if this is the question that begins a subscription.
pub(super) fn validation_code(body: &[u8]) -> Option<String> {
    let events = events::<Validation>(body).ok()??;
    let question = events.into_iter().find(|event| event.kind() == Some(VALIDATION))?;
    question.data.into_inner().validation_code.0
}

/// The events of an array, or the one that there is; none if the body is neither.
fn events<'de, T: Deserialize<'de> + Default>(body: &'de [u8]) -> Result<Option<Vec<Event<T>>>, Rejection> {
    let single = json::read::<Object<Event<T>>>(body)?;
    if single.is_there() {
        return Ok(Some(vec![single.into_inner()]));
    }
    let several = json::read::<List<Object<Event<T>>>>(body)?;
    if !several.is_there() {
        return Ok(None);
    }
    Ok(Some(several.into_events()?.into_iter().map(Object::into_inner).collect()))
}

impl<T> Event<T> {
    fn kind(&self) -> Option<&str> {
        self.event_type.as_deref().or(self.kind.as_deref())
    }
}

impl Event<distribution::Event> {
    fn into_push(self) -> Outcome {
        match self.kind() {
            Some(PUSHED) => Told { event_id: self.id.0, ..self.data.into_inner().into_told() }.check(),
            Some(VALIDATION) => Err(Ignored::because("a handshake, to be answered with its code")),
            other => Err(Ignored::other("event type", other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Format;
    use super::super::samples::{headers, sample_text, told};
    use http::HeaderMap;

    const PUSHED: &str = "acme.azurecr.io/acme/ubuntu:armhf-xenial@sha256:5bb5b2";

    fn eventgrid(body: &str) -> Vec<String> {
        told(Format::EventGrid, &HeaderMap::new(), body)
    }

    #[test]
    fn several_events_come_in_one_array_in_either_schema() {
        let own = sample_text("acr-eventgrid.json");
        let own = own.trim().trim_start_matches('[').trim_end_matches(']');
        let cloud = sample_text("acr-eventgrid-cloudevents.json");
        let told = eventgrid(&format!("[{own},null,{cloud},{}]", own.replace("ImagePushed", "ImageDeleted")));
        assert_eq!(told[..2], [PUSHED, PUSHED]);
        assert_eq!(
            told[2..],
            ["ignored: no event type", "ignored: event type `Microsoft.ContainerRegistry.ImageDeleted`"]
        );
    }

    #[test]
    fn a_handshake_is_no_push() {
        assert_eq!(
            eventgrid(&sample_text("acr-eventgrid-validation.json")),
            ["ignored: a handshake, to be answered with its code"]
        );
    }

    #[test]
    fn what_says_nothing_of_microsoft_needs_event_grids_header() {
        let notification = headers(&[("aeg-event-type", "Notification")]);
        let body = r#"[{"eventType":"Acme.Custom","data":{}}]"#;
        assert_eq!(told(Format::EventGrid, &notification, body), ["ignored: event type `Acme.Custom`"]);
        assert_eq!(told(Format::EventGrid, &notification, "[]"), Vec::<String>::new());
        insta::assert_snapshot!(eventgrid(body).join("\n"), @"rejected: found an array, expected events whose `eventType` or `type` begins with `Microsoft.`, in an array or one alone");
        insta::assert_snapshot!(told(Format::EventGrid, &notification, "7").join("\n"), @"rejected: found a single value, expected events whose `eventType` or `type` begins with `Microsoft.`, in an array or one alone");
    }
}
