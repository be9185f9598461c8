//! Deliveries from Sonatype Nexus, about components and about assets.
//!
//! No digest is told. `repositoryName` is a connector or a part of the path, which only the hook's
//! settings can say, and so is left out. Nothing is sent twice.

use http::HeaderMap;
use serde::Deserialize;

use super::Rejection;
use super::json::{self, Object, Text};
use super::message::{header, header_text};
use super::told::{Ignored, Outcome, Told};

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Delivery {
    timestamp: Text,
    initiator: Text,
    repository_name: Text,
    action: Text,
    component: Object<Component>,
    asset: Object<Asset>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Component {
    format: Text,
    name: Text,
    /// The tag, or the digest if there was none.
    version: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Asset {
    format: Text,
    name: Text,
}

/// Returns what became of the event.
pub(super) fn parse(headers: &HeaderMap, body: &[u8]) -> Result<Vec<Outcome>, Rejection> {
    let delivery = json::read::<Object<Delivery>>(body)?.into_inner();
    let event = header(headers, "x-nexus-webhook-id");
    if event.is_none() && delivery.repository_name.is_none() {
        let expected = "the header `X-Nexus-Webhook-ID`, or an object with `repositoryName`";
        return Err(Rejection::unlike(body, expected));
    }
    let is_image = delivery.component.is_there() || delivery.asset.is_there();
    if !is_image {
        return Ok(vec![Err(Ignored::other("event", event))]);
    }
    Ok(vec![delivery.into_push(header_text(headers, "x-nexus-webhook-delivery"))])
}

impl Delivery {
    fn into_push(self, event_id: Option<String>) -> Outcome {
        if !self.action.is("CREATED") && !self.action.is("UPDATED") {
            return Err(Ignored::other("action", self.action.as_deref()));
        }
        let told = match self.component.is_there() {
            true => self.component.into_inner().into_told()?,
            false => self.asset.into_inner().into_told()?,
        };
        // `ci-armhf/198.51.100.23`: who, and from where.
        let actor = self.initiator.0.map(|who| who.split('/').next().unwrap_or_default().to_owned());
        Told { event_id, time: self.timestamp.0, actor, ..told }.check()
    }
}

impl Component {
    fn into_told(self) -> Result<Told, Ignored> {
        if !self.format.is("docker") {
            return Err(Ignored::other("format", self.format.as_deref()));
        }
        Ok(Told { repository: self.name.0, tag: self.version.0, ..Told::default() })
    }
}

impl Asset {
    /// Blobs are assets too. Whether a path begins with `/` depends on Nexus' database.
    fn into_told(self) -> Result<Told, Ignored> {
        if !self.format.is("docker") {
            return Err(Ignored::other("format", self.format.as_deref()));
        }
        let path = self.name.as_deref().unwrap_or_default();
        let path = path.strip_prefix('/').unwrap_or(path).strip_prefix("v2/");
        let (repository, tag) = path
            .and_then(|path| path.rsplit_once("/manifests/"))
            .ok_or_else(|| Ignored::other("asset", self.name.as_deref()))?;
        Ok(Told { repository: Some(repository.to_owned()), tag: Some(tag.to_owned()), ..Told::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{headers, sample_text, told};
    use super::super::{Format, parse};
    use http::HeaderMap;

    fn nexus(body: &str) -> Vec<String> {
        told(Format::Nexus, &HeaderMap::new(), body)
    }

    #[test]
    fn a_path_with_or_without_its_first_slash_is_the_same() {
        let asset = sample_text("nexus-asset.json");
        assert_eq!(nexus(&asset), ["acme/ubuntu:armhf-xenial"]);
        assert_eq!(nexus(&asset.replace("/v2/", "v2/")), ["acme/ubuntu:armhf-xenial"]);
    }

    #[test]
    fn blobs_and_manifests_by_digest_are_ignored() {
        let asset = |path: &str| {
            nexus(&sample_text("nexus-asset.json").replace("/v2/acme/ubuntu/manifests/armhf-xenial", path))
        };
        assert_eq!(asset("/v2/-/blobs/sha256:00"), ["ignored: asset `/v2/-/blobs/sha256:00`"]);
        let untagged = "ignored: no tag: a manifest pushed by its digest";
        assert_eq!(asset("/v2/acme/ubuntu/manifests/sha256:00"), [untagged]);
        let component = sample_text("nexus-component.json").replace("armhf-xenial", "sha256:00");
        assert_eq!(nexus(&component), [untagged]);
    }

    #[test]
    fn other_formats_actions_and_events_are_ignored() {
        let component = sample_text("nexus-component.json");
        assert_eq!(nexus(&component.replace(r#""docker""#, r#""maven2""#)), ["ignored: format `maven2`"]);
        assert_eq!(nexus(&component.replace("CREATED", "DELETED")), ["ignored: action `DELETED`"]);
        let audit = headers(&[("X-Nexus-Webhook-Id", "rm:audit")]);
        assert_eq!(told(Format::Nexus, &audit, r#"{"audit":{"domain":"tasks"}}"#), ["ignored: event `rm:audit`"]);
    }

    #[test]
    fn dates_are_kept_in_nexus_own_words() {
        let body = sample_text("nexus-component.json").replace("+00:00", "+0000");
        let pushes = parse(Format::Nexus, &HeaderMap::new(), body.as_bytes()).expect("a delivery");
        assert_eq!(pushes[0].time.as_deref(), Some("2025-03-04T09:21:14.512+0000"));
    }
}
