//! Deliveries from Quay.
//!
//! A list of tags and no digest, some seconds after they were written. The sender proves nothing: a
//! secret in the URL is all there is. After three failures in a row a notification is switched off
//! until somebody switches it on again. The test button sends the real repository and the tags
//! `latest` and `foo`, which are pushes like any other and of no architecture.

use http::HeaderMap;
use serde::Deserialize;

use super::Rejection;
use super::json::{self, List, Object, Text};
use super::reference::host;
use super::told::{Ignored, Outcome, Told};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Delivery {
    repository: Text,
    docker_url: Text,
    updated_tags: List<Text>,
}

/// Returns what became of each tag.
pub(super) fn parse(_: &HeaderMap, body: &[u8]) -> Result<Vec<Outcome>, Rejection> {
    let delivery = json::read::<Object<Delivery>>(body)?.into_inner();
    if delivery.docker_url.is_none() && !delivery.updated_tags.is_there() {
        return Err(Rejection::unlike(body, "an object with `docker_url` and `updated_tags`"));
    }
    let (registry, repository) = (delivery.docker_url.as_deref().and_then(host), delivery.repository.0);
    let tags = delivery.updated_tags.into_events()?;
    if tags.is_empty() {
        return Ok(vec![Err(Ignored::because("no updated tags"))]);
    }
    let into_push = |tag: Text| {
        let (registry, repository) = (registry.clone(), repository.clone());
        Told { registry, repository, tag: tag.0, ..Told::default() }.check()
    };
    Ok(tags.into_iter().map(into_push).collect())
}

#[cfg(test)]
mod tests {
    use super::super::Format;
    use super::super::samples::{sample_text, told};
    use http::HeaderMap;

    fn quay(body: &str) -> Vec<String> {
        told(Format::Quay, &HeaderMap::new(), body)
    }

    #[test]
    fn a_scheme_before_the_registry_is_left_out() {
        let body = sample_text("quay.json").replace(r#""docker_url": ""#, r#""docker_url": "https://"#);
        assert_eq!(quay(&body), ["registry.example.com/acme/ubuntu:armhf-xenial"]);
    }

    #[test]
    fn other_notifications_of_quay_have_no_tags_and_are_ignored() {
        let build =
            r#"{"repository":"acme/ubuntu","docker_url":"quay.io/acme/ubuntu","build_id":"1","docker_tags":["x"]}"#;
        assert_eq!(quay(build), ["ignored: no updated tags"]);
        assert_eq!(quay(r#"{"repository":"acme/ubuntu","updated_tags":[]}"#), ["ignored: no updated tags"]);
    }

    #[test]
    fn a_tag_that_is_none_spoils_no_other() {
        let body = r#"{"repository":"acme/ubuntu","updated_tags":["armhf-xenial",7,"","a b","arm64-xenial"]}"#;
        let told = quay(body);
        assert_eq!(told[..2], ["acme/ubuntu:armhf-xenial", "acme/ubuntu:arm64-xenial"]);
        assert_eq!(told.len(), 5);
    }
}
