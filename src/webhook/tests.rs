//! Every sample against what the specification expects of it, and every format against nonsense.

use std::sync::LazyLock;

use http::HeaderMap;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::samples::{headers, sample};
use super::*;

/// One request of `requests.json`.
struct Request {
    file: String,
    format: Format,
    headers: HeaderMap,
    body: Vec<u8>,
    expect: Value,
}

static REQUESTS: LazyLock<Vec<Request>> = LazyLock::new(|| {
    let file: Value = serde_json::from_slice(&sample("requests.json")).expect("JSON");
    let requests = file["requests"].as_array().expect("an array");
    requests.iter().map(request).collect()
});

fn request(request: &Value) -> Request {
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let pairs: Vec<(String, String)> = request["headers"]
        .as_object()
        .expect("an object")
        .iter()
        .map(|(name, value)| (name.clone(), text(value)))
        .collect();
    let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let file = text(&request["file"]);
    let format = match request["format"].as_str().expect("text") {
        "github" => Format::Ghcr,
        name => name.parse().expect("a format"),
    };
    Request { format, headers: headers(&pairs), body: sample(&file), expect: request["expect"].clone(), file }
}

fn all_of(push: &Push) -> Value {
    json!({
        "registry": push.registry,
        "repository": push.repository,
        "tag": push.tag,
        "digest": push.digest.as_ref().map(|digest| digest.as_str()),
        "media_type": push.media_type,
        "event_id": push.event_id,
        "time": push.time,
        "actor": push.actor,
    })
}

#[test]
fn every_sample_is_read_as_the_specification_has_it() {
    assert!(REQUESTS.len() >= 33, "some samples are missing");
    for Request { file, format, headers, body, expect } in REQUESTS.iter() {
        let delivery = read(*format, headers, body).unwrap_or_else(|rejection| panic!("{file}: {rejection}"));
        let pushes: Vec<Value> = delivery.pushes.iter().map(all_of).collect();
        assert_eq!(Value::from(pushes), expect["pushes"], "{file}");
        let ignored = expect["ignored"].as_array().map_or(0, Vec::len);
        assert_eq!(delivery.ignored.len(), ignored, "{file}: {:#?}", delivery.ignored);
    }
}

#[test]
fn every_answer_that_the_specification_asks_for_is_known() {
    for Request { file, headers, body, expect, .. } in REQUESTS.iter() {
        let answer = handshake::validation_response(headers, body);
        let expected = expect["response"]["body_file"].as_str().map(sample);
        let answer = answer.map(|answer| serde_json::from_str::<Value>(&answer).expect("JSON"));
        let expected = expected.map(|body| serde_json::from_slice::<Value>(&body).expect("JSON"));
        assert_eq!(answer, expected, "{file}");
    }
}

#[test]
fn every_sample_looks_like_what_it_is() {
    for Request { file, format, headers, body, .. } in REQUESTS.iter() {
        let detected = detect(headers, body).unwrap_or_else(|| panic!("{file} looks like nothing"));
        assert!(detected.reads_like(*format), "{file} looks like {detected}");
    }
}

#[test]
fn a_sample_is_no_push_to_any_format_but_its_own() {
    for Request { file, format: own, headers, body, .. } in REQUESTS.iter() {
        for format in Format::ALL.into_iter().filter(|format| !format.reads_like(*own)) {
            let pushes = parse(format, headers, body).unwrap_or_default();
            assert!(pushes.is_empty(), "{file} as {format}: {pushes:#?}");
        }
    }
}

/// Every place in a document, as the path of keys and positions that leads there.
fn places(value: &Value) -> Vec<String> {
    let below = |key: String, value: &Value| {
        places(value).into_iter().map(move |place| format!("/{}{place}", key.replace('~', "~0").replace('/', "~1")))
    };
    let mut all = vec![String::new()];
    match value {
        Value::Object(fields) => all.extend(fields.iter().flat_map(|(key, value)| below(key.clone(), value))),
        Value::Array(elements) => {
            all.extend(elements.iter().enumerate().flat_map(|(n, value)| below(n.to_string(), value)));
        }
        _ => {}
    }
    all
}

#[test]
fn a_value_of_another_type_counts_as_absent_wherever_it_stands() {
    let odd = [json!(null), json!(""), json!(0), json!([{}])];
    for Request { file, format, headers, body, .. } in REQUESTS.iter() {
        let whole: Value = serde_json::from_slice(body).expect("JSON");
        let most = read(*format, headers, body).expect("a delivery").pushes.len();
        for place in places(&whole) {
            for value in &odd {
                let mut changed = whole.clone();
                *changed.pointer_mut(&place).expect("the place exists") = value.clone();
                let changed = serde_json::to_vec(&changed).expect("JSON");
                match read(*format, headers, &changed) {
                    Ok(delivery) => assert!(delivery.pushes.len() <= most, "{file} {place}"),
                    Err(Rejection::Unlike { .. }) => {}
                    Err(other) => panic!("{file} with {value} at {place}: {other}"),
                }
            }
        }
    }
}

#[test]
fn unknown_keys_change_nothing() {
    fn enlarge(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                fields.values_mut().for_each(enlarge);
                fields.insert("x-unknown".to_owned(), json!({"tag": ["deep", {"er": null}]}));
            }
            Value::Array(elements) => elements.iter_mut().for_each(enlarge),
            _ => {}
        }
    }
    for Request { file, format, headers, body, .. } in REQUESTS.iter() {
        let mut larger: Value = serde_json::from_slice(body).expect("JSON");
        enlarge(&mut larger);
        let larger = serde_json::to_vec(&larger).expect("JSON");
        assert_eq!(read(*format, headers, &larger), read(*format, headers, body), "{file}");
    }
}

#[test]
fn what_is_not_json_is_rejected_by_every_format_and_none_is_fooled_by_depth() {
    let every = headers(&[("X-GitHub-Event", "package"), ("X-Gitea-Event", "package")]);
    let deep = format!("{}{}", r#"{"events":"#.repeat(10_000), "}".repeat(10_000));
    for format in Format::ALL {
        let headers = if format == Format::Ghcr { headers(&[("X-GitHub-Event", "package")]) } else { every.clone() };
        for body in ["", "<html>", "{", "{} {}", "payload=%7B%7D", "\u{feff}", "{\"a\":NaN}"] {
            let rejection = read(format, &headers, body.as_bytes()).expect_err("not JSON");
            assert!(matches!(rejection, Rejection::NotJson { .. }), "{format} {body:?}: {rejection}");
        }
        assert!(matches!(read(format, &headers, b"{\"a\":\"\xff\"}"), Err(Rejection::NotJson { .. })), "{format}");
        assert!(matches!(read(format, &headers, deep.as_bytes()), Err(Rejection::TooDeep { .. })), "{format}");
    }
}

fn any_format() -> impl Strategy<Value = Format> {
    proptest::sample::select(Format::ALL.to_vec())
}

/// Headers that some format looks at, with any values.
fn any_headers() -> impl Strategy<Value = HeaderMap> {
    let names = proptest::sample::select(vec![
        "content-type",
        "content-encoding",
        "ce-type",
        "ce-id",
        "ce-time",
        "x-github-event",
        "x-gitea-event",
        "x-forgejo-event",
        "x-hub-signature-256",
        "x-gitea-signature",
        "x-nexus-webhook-id",
        "x-nexus-webhook-signature",
        "x-jfrog-event-auth",
        "aeg-event-type",
        "x-goog-pubsub-message-id",
    ]);
    let known = proptest::sample::select(vec![
        &b"package"[..],
        b"application/x-www-form-urlencoded",
        b"zotregistry.image.updated",
        b"harbor.artifact.pushed",
        b"SubscriptionValidation",
        b"sha256=00",
    ]);
    let values = prop_oneof![known.prop_map(<[u8]>::to_vec), proptest::collection::vec(any::<u8>(), 0..40)];
    proptest::collection::vec((names, values), 0..6).prop_map(|pairs| {
        let value = |bytes: Vec<u8>| http::HeaderValue::from_bytes(&bytes).ok();
        let pairs =
            pairs.into_iter().filter_map(|(name, bytes)| Some((http::HeaderName::from_static(name), value(bytes)?)));
        let mut headers = HeaderMap::new();
        pairs.for_each(|(name, value)| {
            headers.append(name, value);
        });
        headers
    })
}

/// Everything there is to do with a delivery.
fn handle(format: Format, headers: &HeaderMap, body: &[u8]) {
    use auth::{Proof, Secrets, Signature};
    let _ = read(format, headers, body);
    let _ = detect(headers, body);
    let _ = handshake::validation_response(headers, body);
    let _ = handshake::delivery_permission(headers);
    for signature in [Signature::GitHub, Signature::Gitea, Signature::Artifactory, Signature::Nexus] {
        let secrets = Secrets::new(vec!["a secret".into()]).expect("a secret");
        assert!(Proof::Signature(signature, secrets).verify(None, headers, body).is_err());
    }
}

proptest! {
    #[test]
    fn no_bytes_and_no_headers_make_any_format_panic(
        format in any_format(),
        headers in any_headers(),
        body in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        handle(format, &headers, &body);
    }

    #[test]
    fn no_damage_to_a_sample_makes_any_format_panic(
        format in any_format(),
        own in any::<bool>(),
        headers in any_headers(),
        request in any::<proptest::sample::Index>(),
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8),
        length in any::<proptest::sample::Index>(),
    ) {
        let request = request.get(&REQUESTS);
        let mut body = request.body.clone();
        for (place, byte) in damage {
            let place = place.index(body.len());
            body[place] = byte;
        }
        let length = length.index(body.len() * 4).min(body.len());
        let (format, headers) = if own { (request.format, request.headers.clone()) } else { (format, headers) };
        handle(format, &headers, &body[..length]);
    }
}
