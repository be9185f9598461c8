//! For tests: deliveries as registries send them, and their outcome in short.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Format, read};
use crate::model::Push;

/// A file of `testdata/webhooks`.
pub(super) fn sample(name: &str) -> Vec<u8> {
    let path = format!("{}/testdata/webhooks/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// [`sample`] as text, to make another one of it.
pub(super) fn sample_text(name: &str) -> String {
    String::from_utf8(sample(name)).expect("samples are text")
}

/// Headers of a delivery.
pub(super) fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let pair = |(name, value): &(&str, &str)| {
        let name: HeaderName = name.parse().expect("a header's name");
        (name, HeaderValue::from_str(value).expect("a header's value"))
    };
    let mut headers = HeaderMap::new();
    for (name, value) in pairs.iter().map(pair) {
        headers.append(name, value);
    }
    headers
}

/// What a delivery holds, one line an event: pushes, then `ignored: …`; or why it is rejected.
pub(super) fn told(format: Format, headers: &HeaderMap, body: impl AsRef<[u8]>) -> Vec<String> {
    match read(format, headers, body.as_ref()) {
        Ok(delivery) => {
            let ignored = delivery.ignored.iter().map(|ignored| format!("ignored: {ignored}"));
            delivery.pushes.iter().map(line).chain(ignored).collect()
        }
        Err(rejection) => vec![format!("rejected: {rejection}")],
    }
}

/// `registry/repository:tag@digest`, with the digest's first digits only.
fn line(push: &Push) -> String {
    let registry = push.registry.as_ref().map(|registry| format!("{registry}/")).unwrap_or_default();
    let digest = push.digest.as_ref().map(|digest| format!("@{:.13}", digest.as_str())).unwrap_or_default();
    format!("{registry}{}:{}{digest}", push.repository, push.tag)
}
