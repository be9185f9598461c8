//! The message around a delivery: its headers, its length, and the form it may come in.

use std::borrow::Cow;

use http::HeaderMap;

use super::{Format, Rejection};
use crate::model::text::clean;

/// Refuses what is longer than any delivery, or encoded.
pub(super) fn check(format: Format, headers: &HeaderMap, body: &[u8]) -> Result<(), Rejection> {
    let longest_bytes = format.longest_body_bytes();
    if body.len() > longest_bytes {
        return Err(Rejection::TooLong { longest_bytes });
    }
    match header(headers, "content-encoding") {
        Some(encoding) if !encoding.eq_ignore_ascii_case("identity") => {
            Err(Rejection::Encoded { encoding: clean(encoding, 60) })
        }
        _ => Ok(()),
    }
}

/// A header's text, unless it is empty.
pub(super) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim).filter(|text| !text.is_empty())
}

/// [`header`], to keep.
pub(super) fn header_text(headers: &HeaderMap, name: &str) -> Option<String> {
    header(headers, name).map(str::to_owned)
}

/// The JSON of a delivery that may be a form with the JSON in its field `payload`.
pub(super) fn payload<'a>(headers: &HeaderMap, body: &'a [u8]) -> Result<Cow<'a, [u8]>, Rejection> {
    if !is_form(headers) {
        return Ok(Cow::Borrowed(body));
    }
    let field = form_urlencoded::parse(body).find(|(name, _)| name == "payload");
    let (_, json) = field.ok_or(Rejection::NoPayload)?;
    Ok(Cow::Owned(json.into_owned().into_bytes()))
}

fn is_form(headers: &HeaderMap) -> bool {
    let content_type = header(headers, "content-type").unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::webhook::samples::headers;

    #[test]
    fn a_form_holds_the_json_in_its_payload() {
        let form = headers(&[("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")]);
        let json = |body: &'static str| {
            payload(&form, body.as_bytes()).map(|json| String::from_utf8_lossy(&json).into_owned())
        };
        assert_eq!(json("a=b&payload=%7B%22a%22%3A%22b+c%22%7D").as_deref(), Ok(r#"{"a":"b c"}"#));
        assert_eq!(json("payload="), Ok(String::new()));
        assert_eq!(json("a=b"), Err(Rejection::NoPayload));

        let plain = headers(&[("Content-Type", "application/json")]);
        assert_eq!(payload(&plain, b"payload=1").as_deref(), Ok(b"payload=1".as_slice()));
    }

    #[test]
    fn an_encoded_body_is_refused_before_it_is_read() {
        let refusal = |encoding| check(Format::Quay, &headers(&[("Content-Encoding", encoding)]), b"");
        assert_eq!(refusal("gzip"), Err(Rejection::Encoded { encoding: "gzip".to_owned() }));
        assert_eq!(refusal("identity"), Ok(()));
    }

    #[test]
    fn each_format_has_a_longest_body() {
        for (format, longest) in [(Format::Distribution, 1), (Format::EventGrid, 2), (Format::Zot, 8)] {
            let longest_bytes = longest * 1024 * 1024;
            let body = vec![b' '; longest_bytes + 1];
            assert_eq!(check(format, &HeaderMap::new(), &body[1..]), Ok(()));
            assert_eq!(check(format, &HeaderMap::new(), &body), Err(Rejection::TooLong { longest_bytes }));
        }
    }
}
