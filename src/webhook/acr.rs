//! Deliveries from Azure Container Registry's own webhooks.
//!
//! One event of Distribution without its envelope. The sender is known by a header that the operator
//! chose.

use http::HeaderMap;

use super::json::{self, Object};
use super::told::{Ignored, Outcome};
use super::{Rejection, distribution};

/// Returns what became of the event.
pub(super) fn parse(_: &HeaderMap, body: &[u8]) -> Result<Vec<Outcome>, Rejection> {
    let event = json::read::<Object<distribution::Event>>(body)?.into_inner();
    if event.action.is_none() || distribution::is_envelope(body)? {
        return Err(Rejection::unlike(body, "an object with `action` and without `events`"));
    }
    if !event.action.is("push") {
        return Ok(vec![Err(Ignored::other("action", event.action.as_deref()))]);
    }
    Ok(vec![event.into_told().check()])
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
