//! Handshakes: questions that a sender asks before it sends anything, and what to answer.
//!
//! An answer is only for a request that proved its sender. The values are here, HTTP is elsewhere.

use http::header::ALLOW;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::eventgrid;
use super::message::header;

/// The deliveries a minute that a CloudEvents sender may make; the number is the README's.
const RATE_PER_MINUTE: HeaderValue = HeaderValue::from_static("120");

/// The JSON to answer with **200** (a 202 is not accepted) if this is the question with which Event
/// Grid begins a subscription in its own schema.
///
/// The `validationUrl` beside the code is never fetched.
pub fn validation_response(headers: &HeaderMap, body: &[u8]) -> Option<String> {
    let is_question = header(headers, "aeg-event-type")?.eq_ignore_ascii_case("SubscriptionValidation");
    let code = eventgrid::validation_code(body).filter(|_| is_question)?;
    Some(serde_json::json!({ "validationResponse": code }).to_string())
}

/// The headers to answer with 200 to an `OPTIONS` request that asks, as CloudEvents senders do,
/// whether it may deliver here. None, and so 405, if it does not ask.
///
/// Spec: "HTTP 1.1 Web Hooks for Event Delivery" 1.0, section 4.
pub fn delivery_permission(headers: &HeaderMap) -> Option<HeaderMap> {
    let origin = headers.get("webhook-request-origin").filter(|origin| !origin.is_empty())?;
    Some(HeaderMap::from_iter([
        (HeaderName::from_static("webhook-allowed-origin"), origin.clone()),
        (HeaderName::from_static("webhook-allowed-rate"), RATE_PER_MINUTE),
        (ALLOW, HeaderValue::from_static("POST")),
    ]))
}

#[cfg(test)]
mod tests {
    use super::super::samples::{headers, sample};
    use super::*;

    #[test]
    fn event_grid_gets_its_code_back() {
        let question = headers(&[("aeg-event-type", "SubscriptionValidation")]);
        let answer = validation_response(&question, &sample("acr-eventgrid-validation.json")).expect("an answer");
        assert_eq!(answer.as_bytes(), sample("acr-eventgrid-validation-response.json").trim_ascii_end());
    }

    #[test]
    fn nothing_else_is_answered_as_a_handshake() {
        let question = headers(&[("aeg-event-type", "SubscriptionValidation")]);
        let notification = headers(&[("aeg-event-type", "Notification")]);
        let validation = sample("acr-eventgrid-validation.json");
        assert_eq!(validation_response(&notification, &validation), None);
        assert_eq!(validation_response(&HeaderMap::new(), &validation), None);
        assert_eq!(validation_response(&question, &sample("acr-eventgrid.json")), None);
        for body in ["", "[]", "{}", r#"[{"eventType":"Microsoft.EventGrid.SubscriptionValidationEvent"}]"#] {
            assert_eq!(validation_response(&question, body.as_bytes()), None, "{body}");
        }
    }

    #[test]
    fn a_code_with_quotes_in_it_stays_one_text() {
        let question = headers(&[("aeg-event-type", "SubscriptionValidation")]);
        let body = r#"[{"eventType":"Microsoft.EventGrid.SubscriptionValidationEvent","data":{"validationCode":"a\",\"b\":\"c"}}]"#;
        let answer = validation_response(&question, body.as_bytes()).expect("an answer");
        assert_eq!(answer, r#"{"validationResponse":"a\",\"b\":\"c"}"#);
    }

    #[test]
    fn a_cloud_events_sender_that_asks_may_deliver() {
        let permission = delivery_permission(&headers(&[("WebHook-Request-Origin", "eventgrid.azure.net")]));
        let expected = headers(&[
            ("WebHook-Allowed-Origin", "eventgrid.azure.net"),
            ("WebHook-Allowed-Rate", "120"),
            ("Allow", "POST"),
        ]);
        assert_eq!(permission, Some(expected));
        assert_eq!(delivery_permission(&headers(&[("Origin", "https://evil.example")])), None);
        assert_eq!(delivery_permission(&headers(&[("WebHook-Request-Origin", "")])), None);
    }
}
