//! Scans: what they leave to the others, and what a reload makes of them.

use std::time::Duration;

use crate::support::{FakeRegistry, Kind, Play, Service, When, eventually};

/// One rule for each of so many repositories.
fn rules(registry: &FakeRegistry, count: usize) -> String {
    let host = registry.host();
    let section = format!("[[registry]]\nhost = \"{host}\"\nconcurrency = 16\n");
    let rule = |number| {
        format!("[[repository]]\nregistry = \"{host}\"\nname = \"acme/r{number}\"\npoll = \"1h\"\nquiet = \"0s\"\n")
    };
    section + &(0..count).map(rule).collect::<String>()
}

#[tokio::test]
async fn a_push_is_published_while_many_repositories_are_still_to_be_scanned() {
    let registry = FakeRegistry::builder().delay(Duration::from_millis(100)).start().await;
    let service = Service::start(&registry.host(), &rules(&registry, 400)).await;
    eventually("the scans are under way", async || (registry.count(Kind::Tags) >= 20).then_some(())).await;
    let digest = registry.push_image("acme/r0:amd64-xenial", "linux/amd64");
    service.tell("acme/r0", "amd64-xenial", &digest).await;
    eventually("it is published", async || registry.digest("acme/r0:xenial")).await;
    let scans = registry.count(Kind::Tags);
    assert!(scans < 300, "it had to wait for {scans} of 400 scans");
    eventually("every repository was scanned", async || (registry.count(Kind::Tags) >= 400).then_some(())).await;
}

#[tokio::test]
async fn a_reload_during_a_scan_is_followed_by_another_scan() {
    let registry = FakeRegistry::start().await;
    registry.push_image("acme/r0:amd64-xenial", "linux/amd64");
    registry.on(When::kind(Kind::Tags).once(), Play::Delay(Duration::from_secs(3)));
    let service = Service::start(&registry.host(), &rules(&registry, 1)).await;
    eventually("a scan is under way", async || (registry.count(Kind::Tags) == 1).then_some(())).await;
    registry.push_image("acme/r0:amd64-bionic", "linux/amd64");
    service.reload().await;
    eventually("what the first scan did not list is published", async || registry.digest("acme/r0:bionic")).await;
}
