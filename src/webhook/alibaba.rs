//! Deliveries from Alibaba Cloud Container Registry.
//!
//! Docker Hub's words with a digest, and without the registry's name: only its region. The sender
//! proves nothing: a secret in the URL is all there is. The date has no time zone and is left out.

use http::HeaderMap;
use serde::Deserialize;

use super::Rejection;
use super::json::{self, Object, Text};
use super::told::{Outcome, Told};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Delivery {
    push_data: Object<PushData>,
    repository: Object<Repository>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PushData {
    tag: Text,
    digest: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Repository {
    repo_full_name: Text,
    region: Text,
}

/// Returns what became of the push.
pub(super) fn parse(_: &HeaderMap, body: &[u8]) -> Result<Vec<Outcome>, Rejection> {
    let delivery = json::read::<Object<Delivery>>(body)?.into_inner();
    let repository = delivery.repository.into_inner();
    let is_named = repository.repo_full_name.is_some() || repository.region.is_some();
    if !delivery.push_data.is_there() || !is_named {
        return Err(Rejection::unlike(body, "an object with `push_data` and `repository.repo_full_name`"));
    }
    let push = delivery.push_data.into_inner();
    let told =
        Told { repository: repository.repo_full_name.0, tag: push.tag.0, digest: push.digest.0, ..Told::default() };
    Ok(vec![told.check()])
}

#[cfg(test)]
mod tests {
    use super::super::Format;
    use super::super::samples::{sample_text, told};
    use http::HeaderMap;

    #[test]
    fn a_delivery_of_docker_hub_looks_alike_and_is_rejected() {
        insta::assert_snapshot!(told(Format::Alibaba, &HeaderMap::new(), sample_text("dockerhub.json")).join("\n"), @"rejected: found an object with the keys `callback_url`, `push_data` and `repository`, expected an object with `push_data` and `repository.repo_full_name`");
    }

    #[test]
    fn a_region_without_a_repository_is_alibabas_and_of_no_use() {
        let body = r#"{"push_data":{"tag":"armhf-xenial"},"repository":{"region":"cn-hangzhou"}}"#;
        assert_eq!(told(Format::Alibaba, &HeaderMap::new(), body), ["ignored: no repository"]);
    }
}
