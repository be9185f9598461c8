//! Audits that the service makes by itself.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::support::real::free_address;
use crate::support::service::NOTIFY_SECRET;
use crate::support::{Answer, Elsewhere, FakeRegistry, Image, Play, Service, When, eventually};

/// A service that audits every second, scans never, and hears of no push.
async fn auditing(registry: &FakeRegistry, more: &str) -> Service {
    let keys = "quiet = \"100ms\"\npoll = \"1h\"\naudit = \"1s\"";
    let rule = format!("[[repository]]\nregistry = \"{}\"\nname = \"ubuntu\"\n{keys}\n{more}", registry.host());
    Service::start_raw(&free_address(), &rule, &[("NOTIFY_SECRET", NOTIFY_SECRET)]).await
}

async fn two_architectures() -> FakeRegistry {
    FakeRegistry::with_ubuntu(&[("amd64-xenial", "linux/amd64"), ("arm64-xenial", "linux/arm64")]).await
}

/// The tag as the API lists it.
async fn version(service: &Service, registry: &FakeRegistry) -> Option<Value> {
    let path = format!("/api/v1/versions?repository={}", registry.repository("ubuntu").replace('/', "%2F"));
    service.json(&path).await["versions"].as_array()?.iter().find(|version| version["tag"] == "xenial").cloned()
}

async fn stands(service: &Service, registry: &FakeRegistry, state: &str) -> Value {
    eventually(state, async || version(service, registry).await.filter(|version| version["state"] == state)).await
}

/// Waits until the tag was looked at anew.
async fn audited_again(service: &Service, registry: &FakeRegistry) {
    let looked = async || version(service, registry).await.map(|version| version["checked_at_ms"].clone());
    let before = looked().await;
    eventually("it is audited again", async || (looked().await != before).then_some(())).await;
}

#[tokio::test]
async fn a_stale_tag_is_published_anew_by_its_job_and_a_hold_stands() {
    let registry = two_architectures().await;
    let service = auditing(&registry, "").await;
    let first = stands(&service, &registry, "ok").await["digest"].clone();
    service.idle().await;

    registry.push("ubuntu:arm64-xenial", &Image::new("linux/arm64").label("is", "second"));
    let second = eventually("it is published anew", async || {
        registry.digest("ubuntu:xenial").filter(|digest| first != digest.as_str())
    })
    .await;
    stands(&service, &registry, "ok").await;
    service.idle().await;
    let entry = service.history().await.remove(0);
    assert_eq!((&entry["trigger"], &entry["digest"]), (&json!("audit"), &json!(second)));

    let repository = registry.repository("ubuntu");
    service.operator(&["rollback", "-r", &repository, "-t", "xenial"]).run().await.expect(0);
    stands(&service, &registry, "stale").await;
    audited_again(&service, &registry).await;
    service.idle().await;
    assert_eq!(json!(registry.digest("ubuntu:xenial")), first, "a person put it back");
    assert_eq!(service.history().await[0]["act"], "rolled-back");
    assert_eq!(registry.writes(), 3, "two publications and a roll-back");
}

#[tokio::test]
async fn a_lost_image_is_told_once_in_every_place() {
    let told: Arc<Mutex<Vec<Value>>> = Arc::default();
    let kept = told.clone();
    let receiver = Elsewhere::answering(move |request| {
        kept.lock().expect("no panic").push(request.json());
        Answer::new(204)
    })
    .await;
    let notify = format!(
        "[[notify]]\nurl = \"{}\"\nsecret = {{ env = \"NOTIFY_SECRET\" }}\nevents = [\"problem\"]\n",
        receiver.url("/told")
    );
    let registry = two_architectures().await;
    let service = auditing(&registry, &notify).await;
    stands(&service, &registry, "ok").await;
    service.idle().await;
    let arm64 = registry.digest("ubuntu:arm64-xenial").expect("it was pushed");

    registry.delete("ubuntu:arm64-xenial");
    registry.delete_manifest(&arm64);
    let version = stands(&service, &registry, "dangling").await;
    assert_eq!(version["problems"][0]["code"], "dangling", "{version}");
    assert!(version["problems"][0]["remedy"].is_string());
    for _ in 0..2 {
        audited_again(&service, &registry).await;
    }
    let events = told.lock().expect("no panic").clone();
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0]["type"], "onetag.tag.problem.v1");
    assert_eq!((&events[0]["subject"], &events[0]["data"]["state"]), (&json!("xenial"), &json!("dangling")));
    assert_eq!(events[0]["data"]["problems"][0]["code"], "dangling");
    assert_eq!(service.log().matches("is dangling: ").count(), 1, "{}", service.log());
    let repository = registry.repository("ubuntu");
    assert_eq!(service.metric("onetag_problems_found_total{code=\"dangling\"}").await, 1.0);
    let gauge = format!("onetag_versions{{repository=\"{repository}\",state=\"dangling\"}}");
    assert_eq!(service.metric(&gauge).await, 1.0, "{}", service.get("/metrics").await);
}

#[tokio::test]
async fn a_tag_that_is_gone_is_forgotten_and_a_registry_that_fails_changes_nothing() {
    let registry = two_architectures().await;
    registry.push_image("ubuntu:amd64-bionic", "linux/amd64");
    let service = auditing(&registry, "").await;
    stands(&service, &registry, "ok").await;
    let path = format!("/api/v1/versions?repository={}", registry.repository("ubuntu").replace('/', "%2F"));
    let tags = async || -> Vec<String> {
        let answer = service.json(&path).await;
        answer["versions"].as_array().expect("versions").iter().map(|it| it["tag"].to_string()).collect()
    };
    eventually("both are listed", async || (tags().await.len() == 2).then_some(())).await;
    registry.delete("ubuntu:amd64-bionic");
    registry.delete("ubuntu:bionic");
    eventually("one is gone", async || (tags().await == ["\"xenial\""]).then_some(())).await;

    registry.on(When::any(), Play::status(503));
    eventually("an audit failed", async || {
        let metric = format!("onetag_audit_failures_total{{registry=\"{}\"}}", registry.host());
        (service.metric(&metric).await > 0.0).then_some(())
    })
    .await;
    assert_eq!(version(&service, &registry).await.expect("it is listed")["state"], "ok");
}
