//! Deliveries from Docker Hub.
//!
//! One tag, no digest, no id. The sender proves nothing: a secret in the URL is all there is.
//! `callback_url` is never called; Docker Hub no longer answers there.

use http::HeaderMap;
use serde::Deserialize;

use super::Rejection;
use super::json::{self, Object, Text, UnixTime};
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
    media_type: Text,
    pushed_at: UnixTime,
    pusher: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Repository {
    repo_name: Text,
}

/// Returns what became of the push.
pub(super) fn parse(_: &HeaderMap, body: &[u8]) -> Result<Vec<Outcome>, Rejection> {
    let delivery = json::read::<Object<Delivery>>(body)?.into_inner();
    let repository = delivery.repository.into_inner().repo_name;
    if !delivery.push_data.is_there() || repository.is_none() {
        return Err(Rejection::unlike(body, "an object with `push_data` and `repository.repo_name`"));
    }
    let push = delivery.push_data.into_inner();
    let told = Told {
        registry: Some("docker.io".to_owned()),
        repository: repository.0,
        tag: push.tag.0,
        digest: None,
        media_type: push.media_type.0,
        event_id: None,
        time: push.pushed_at.0,
        actor: push.pusher.0,
    };
    Ok(vec![told.check()])
}

#[cfg(test)]
mod tests {
    use super::super::samples::{sample_text, told};
    use super::super::{Format, parse};
    use http::HeaderMap;

    #[test]
    fn the_date_may_be_whole_or_have_a_fraction_or_be_nonsense() {
        let time = |number: &str| {
            let body = sample_text("dockerhub.json").replace("1741080074", number);
            let pushes = parse(Format::DockerHub, &HeaderMap::new(), body.as_bytes()).expect("a delivery");
            pushes[0].time.clone()
        };
        assert_eq!(time("1741080074.0").as_deref(), Some("2025-03-04T09:21:14Z"));
        assert_eq!(time("1.741080074e9").as_deref(), Some("2025-03-04T09:21:14Z"));
        assert_eq!(time(r#""today""#), None);
    }

    #[test]
    fn a_delivery_of_alibaba_looks_alike_and_is_rejected() {
        insta::assert_snapshot!(told(Format::DockerHub, &HeaderMap::new(), sample_text("alibaba-acr.json")).join("\n"), @"rejected: found an object with the keys `push_data` and `repository`, expected an object with `push_data` and `repository.repo_name`");
    }

    #[test]
    fn a_push_without_a_tag_is_ignored() {
        let body = sample_text("dockerhub.json").replace(r#""armhf-xenial""#, "null");
        assert_eq!(
            told(Format::DockerHub, &HeaderMap::new(), body),
            ["ignored: no tag: a manifest pushed by its digest"]
        );
    }
}
