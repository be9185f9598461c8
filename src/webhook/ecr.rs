//! Deliveries from Amazon ECR: through EventBridge as it is, or made CloudEvents on the way by a
//! widely copied input transformer.
//!
//! The registry's name is made of account and region. The event's `id` is the same when it is sent
//! again.

use http::HeaderMap;
use serde::Deserialize;

use super::json::{self, Object, Text};
use super::told::{Ignored, Outcome, Told};
use super::{Rejection, cloud_event};

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct BridgeEvent {
    id: Text,
    detail_type: Text,
    source: Text,
    account: Text,
    region: Text,
    time: Text,
    detail: Object<Detail>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Detail {
    action_type: Text,
    result: Text,
    repository_name: Text,
    image_tag: Text,
    image_digest: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct CloudData {
    repository_name: Text,
    image_tag: Text,
    image_digest: Text,
    registry_id: Text,
}

/// Returns what became of the event.
pub(super) fn parse(headers: &HeaderMap, body: &[u8]) -> Result<Vec<Outcome>, Rejection> {
    let cloud_event = cloud_event::read::<CloudData>(headers, body)?;
    if let Some(event) = cloud_event.filter(|event| event.kind.begins("com.amazon.ecr.")) {
        return Ok(vec![into_push(event)]);
    }
    let event = json::read::<Object<BridgeEvent>>(body)?.into_inner();
    if event.detail_type.is_none() {
        let expected =
            "an object with `detail-type` and `detail`, or a CloudEvent of a type that begins with `com.amazon.ecr.`";
        return Err(Rejection::unlike(body, expected));
    }
    Ok(vec![event.into_push()])
}

impl BridgeEvent {
    fn into_push(self) -> Outcome {
        if !self.source.is("aws.ecr") {
            return Err(Ignored::other("source", self.source.as_deref()));
        }
        if !self.detail_type.is("ECR Image Action") {
            return Err(Ignored::other("detail-type", self.detail_type.as_deref()));
        }
        let detail = self.detail.into_inner();
        if !detail.action_type.is("PUSH") {
            return Err(Ignored::other("action-type", detail.action_type.as_deref()));
        }
        if !detail.result.is("SUCCESS") {
            return Err(Ignored::other("result", detail.result.as_deref()));
        }
        Told {
            registry: registry(self.account.as_deref(), self.region.as_deref()),
            repository: detail.repository_name.0,
            tag: detail.image_tag.0,
            digest: detail.image_digest.0,
            media_type: None,
            event_id: self.id.0,
            time: self.time.0,
            actor: None,
        }
        .check()
    }
}

fn into_push(event: cloud_event::CloudEvent<CloudData>) -> Outcome {
    if !event.kind.is("com.amazon.ecr.image.push") {
        return Err(Ignored::other("event type", event.kind.as_deref()));
    }
    let data = event.data.into_inner();
    // urn:aws:ecr:<region>:<account>:repository/<name>
    let region = event.source.as_deref().and_then(|source| source.split(':').nth(3));
    Told {
        registry: registry(data.registry_id.as_deref(), region),
        repository: data.repository_name.0,
        tag: data.image_tag.0,
        digest: data.image_digest.0,
        media_type: None,
        event_id: event.id.0,
        time: event.time.0,
        actor: None,
    }
    .check()
}

fn registry(account: Option<&str>, region: Option<&str>) -> Option<String> {
    let (account, region) = (account?, region?);
    let is_account = !account.is_empty() && account.bytes().all(|b| b.is_ascii_digit());
    let is_region = !region.is_empty() && region.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    (is_account && is_region).then(|| format!("{account}.dkr.ecr.{region}.{domain}"))
}

#[cfg(test)]
mod tests {
    use super::super::Format;
    use super::super::samples::{sample_text, told};
    use http::HeaderMap;

    const PUSHED: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/acme/ubuntu:armhf-xenial@sha256:5bb5b2";

    fn ecr(body: &str) -> Vec<String> {
        told(Format::Ecr, &HeaderMap::new(), body)
    }

    #[test]
    fn both_forms_tell_the_same() {
        assert_eq!(ecr(&sample_text("ecr-eventbridge.json")), [PUSHED]);
        assert_eq!(ecr(&sample_text("ecr-cloudevents.json")), [PUSHED]);
    }

    #[test]
    fn china_has_a_domain_of_its_own() {
        for file in ["ecr-eventbridge.json", "ecr-cloudevents.json"] {
            let body = sample_text(file).replace("eu-west-1", "cn-north-1");
            assert_eq!(
                ecr(&body),
                ["123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/acme/ubuntu:armhf-xenial@sha256:5bb5b2"]
            );
        }
    }

    #[test]
    fn a_registry_that_cannot_be_named_is_left_out() {
        let body = sample_text("ecr-eventbridge.json").replace("eu-west-1", "evil.example/x");
        assert_eq!(ecr(&body), ["acme/ubuntu:armhf-xenial@sha256:5bb5b2"]);
    }

    #[test]
    fn deletions_failures_scans_and_other_services_are_ignored() {
        let other = |from: &str, to: &str| ecr(&sample_text("ecr-eventbridge.json").replace(from, to)).join("");
        assert_eq!(other(r#""PUSH""#, r#""DELETE""#), "ignored: action-type `DELETE`");
        assert_eq!(other("SUCCESS", "FAILURE"), "ignored: result `FAILURE`");
        assert_eq!(other("ECR Image Action", "ECR Image Scan"), "ignored: detail-type `ECR Image Scan`");
        assert_eq!(other("aws.ecr", "aws.s3"), "ignored: source `aws.s3`");
        let untagged = other(r#""image-tag": "armhf-xenial""#, r#""other": 1"#);
        assert_eq!(untagged, "ignored: no tag: a manifest pushed by its digest");
        let cloud = sample_text("ecr-cloudevents.json").replace("ecr.image.push", "ecr.image.delete");
        assert_eq!(ecr(&cloud), ["ignored: event type `com.amazon.ecr.image.delete`"]);
    }
}
