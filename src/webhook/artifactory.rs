//! Deliveries from JFrog Artifactory.
//!
//! The repository key is the first part of the path, as in path-style access; with a host name of
//! its own, or behind a virtual repository, the hook's settings have to say so. The test button
//! sends sample words, which are a push of a repository that nobody has.

use http::HeaderMap;
use serde::Deserialize;

use super::Rejection;
use super::json::{self, Object, Text};
use super::reference::host;
use super::told::{Ignored, Outcome, Told};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Delivery {
    domain: Text,
    event_type: Text,
    data: Object<Data>,
    jpd_origin: Text,
    source: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Data {
    repo_key: Text,
    image_name: Text,
    tag: Text,
    sha256: Text,
}

/// Returns what became of the event.
pub(super) fn parse(_: &HeaderMap, body: &[u8]) -> Result<Vec<Outcome>, Rejection> {
    let delivery = json::read::<Object<Delivery>>(body)?.into_inner();
    if delivery.domain.is_none() || delivery.event_type.is_none() {
        return Err(Rejection::unlike(body, "an object with `domain` and `event_type`"));
    }
    Ok(vec![delivery.into_push()])
}

impl Delivery {
    fn into_push(self) -> Outcome {
        if !self.domain.is("docker") {
            return Err(Ignored::other("domain", self.domain.as_deref()));
        }
        if !self.event_type.is("pushed") {
            return Err(Ignored::other("event type", self.event_type.as_deref()));
        }
        let data = self.data.into_inner();
        let repository = match (data.repo_key.0, data.image_name.0) {
            (Some(key), Some(name)) => Some(format!("{key}/{name}")),
            (_, name) => name,
        };
        // `jfrog/ci-armhf`: whose accounts, and which.
        let actor =
            self.source.0.map(|source| source.split_once('/').map_or(source.clone(), |(_, name)| name.to_owned()));
        Told {
            registry: self.jpd_origin.as_deref().and_then(host),
            repository,
            tag: data.tag.0,
            digest: data.sha256.0.map(|hex| format!("sha256:{hex}")),
            media_type: None,
            event_id: None,
            time: None,
            actor,
        }
        .check()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Format;
    use super::super::samples::{sample_text, told};
    use http::HeaderMap;

    fn artifactory(body: &str) -> Vec<String> {
        told(Format::Artifactory, &HeaderMap::new(), body)
    }

    #[test]
    fn an_index_is_pushed_like_an_image() {
        let body = sample_text("artifactory.json").replace("manifest.json", "list.manifest.json");
        assert_eq!(artifactory(&body), ["registry.example.com/docker-local/acme/ubuntu:armhf-xenial@sha256:5bb5b2"]);
    }

    #[test]
    fn without_a_base_url_the_registry_is_not_known() {
        let body = sample_text("artifactory.json").replace("https://registry.example.com", "");
        assert_eq!(artifactory(&body), ["docker-local/acme/ubuntu:armhf-xenial@sha256:5bb5b2"]);
    }

    #[test]
    fn the_test_button_pushes_to_a_repository_that_nobody_has_without_a_digest() {
        let body = r#"{"domain":"docker","event_type":"pushed","data":{"repo_key":"sample_repo","image_name":"sample_image",
            "name":"sample_manifest","sha256":"sample_checksum","size":0,"tag":"sample_tag","platforms":[]}}"#;
        assert_eq!(artifactory(body), ["sample_repo/sample_image:sample_tag"]);
    }

    #[test]
    fn other_domains_and_events_are_ignored() {
        let body = sample_text("artifactory.json");
        assert_eq!(artifactory(&body.replacen("docker", "artifact", 1)), ["ignored: domain `artifact`"]);
        assert_eq!(artifactory(&body.replacen("pushed", "deleted", 1)), ["ignored: event type `deleted`"]);
    }
}
