//! The service beside a registry that nobody here wrote, which tells it of every push.

use std::time::Duration;

use crate::support::real::free_address;
use crate::support::service::HOOK_SECRET;
use crate::support::{RealRegistry, Service, eventually};

/// A registry that tells the service at this address.
async fn registry_telling(listen: &str) -> RealRegistry {
    let yaml = format!(
        "notifications:\n  endpoints:\n    - name: onetag\n      url: http://{listen}/hooks/main\n      \
         headers:\n        Authorization: [\"{HOOK_SECRET}\"]\n      timeout: 2s\n      threshold: 3\n      backoff: 200ms\n"
    );
    RealRegistry::start_with(&yaml).await
}

fn rule(registry: &RealRegistry, keys: &str) -> String {
    format!("[[repository]]\nregistry = \"{}\"\nname = \"acme/ubuntu\"\n{keys}\n", registry.host())
}

/// How often the plain tag was written, by the registry's own account.
fn puts(registry: &RealRegistry) -> usize {
    let is_put = |line: &&str| line.contains("http.request.method=PUT") && line.contains("manifests/xenial ");
    registry.log().lines().filter(is_put).filter(|line| line.contains("http.response.status=201")).count()
}

async fn index_has(registry: &RealRegistry, digests: &[&String]) {
    eventually("the index holds exactly these images", async || {
        let index = registry.manifest("acme/ubuntu:xenial").await?.json();
        let entries = index["manifests"].as_array().expect("entries");
        let found: Vec<&str> = entries.iter().filter_map(|entry| entry["digest"].as_str()).collect();
        (found == digests.iter().map(|digest| digest.as_str()).collect::<Vec<_>>()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn architectures_pushed_at_one_moment_are_one_index_and_our_own_pushes_cause_no_loop() {
    let listen = free_address();
    let registry = registry_telling(&listen).await;
    let rule = rule(&registry, "require = [\"amd64\", \"arm64\", \"armhf\"]\nquiet = \"20s\"");
    let service = Service::start_at(&listen, &registry.host(), &rule).await;
    let (armhf, amd64, arm64) = tokio::join!(
        registry.push_image("acme/ubuntu:armhf-xenial", "linux/arm/v7"),
        registry.push_image("acme/ubuntu:amd64-xenial", "linux/amd64"),
        registry.push_image("acme/ubuntu:arm64-xenial", "linux/arm64"),
    );
    index_has(&registry, &[&amd64, &arm64, &armhf]).await;
    assert_eq!(registry.platforms("acme/ubuntu:xenial").await, ["linux/amd64", "linux/arm64", "linux/arm/v7"]);

    let newer = registry.push_image("acme/ubuntu:arm64-xenial", "linux/arm64").await;
    index_has(&registry, &[&amd64, &newer, &armhf]).await;

    service.idle().await;
    let heard = service.metric("onetag_deliveries_total{hook=\"main\",outcome=\"stored\"}").await;
    assert!(heard >= 4.0, "our own pushes are told, too: {heard}");
    tokio::time::sleep(Duration::from_millis(700)).await; // a loop would go on writing meanwhile
    service.idle().await;
    assert_eq!(puts(&registry), 2, "{}", service.log());
    assert_eq!(service.acts().await, ["pushed", "pushed"]);
    let newest = service.history().await.swap_remove(0);
    assert_eq!(newest["trigger"], "hook:main");
    assert_eq!(newest["images"]["arm64-xenial"]["digest"], newer);
}

#[tokio::test]
async fn nothing_is_lost_when_either_side_ends_in_the_middle() {
    let listen = free_address();
    let mut registry = registry_telling(&listen).await;
    let rule = rule(&registry, "require = [\"amd64\", \"arm64\", \"armhf\"]\nquiet = \"500ms\"\npoll = \"2s\"");
    let mut service = Service::start_at(&listen, &registry.host(), &rule).await;

    let amd64 = registry.push_image("acme/ubuntu:amd64-xenial", "linux/amd64").await;
    service.kill().await;
    let arm64 = registry.push_image("acme/ubuntu:arm64-xenial", "linux/arm64").await;
    service.resume().await;
    service.trouble_of("held").await;
    let armhf = registry.push_image("acme/ubuntu:armhf-xenial", "linux/arm/v7").await;
    assert_eq!(service.stop().await.code, 0);
    registry.restart().await; // whatever it had not told by now, it never will
    service.resume().await;
    index_has(&registry, &[&amd64, &arm64, &armhf]).await;

    // At several points of a run: while it looks, while it writes, and just after.
    let mut newest = arm64;
    for wait_ms in [0, 8, 20, 45] {
        newest = registry.push_image("acme/ubuntu:arm64-xenial", "linux/arm64").await;
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        service.kill().await;
        service.resume().await;
    }
    index_has(&registry, &[&amd64, &newest, &armhf]).await;
    eventually("the journal knows what is served", async || {
        let served = registry.digest("acme/ubuntu:xenial").await;
        let known = service.history().await.into_iter().find(|entry| entry["digest"].is_string())?;
        (known["digest"].as_str() == served.as_deref()).then_some(())
    })
    .await;
    assert!(!service.log().contains("panicked"), "{}", service.log());
}
