//! What happens while the page is open: pushes, the button, the end of the service.

use serde_json::json;

use crate::support::browser::Browser;
use crate::support::service::ADMIN_TOKEN;
use crate::support::{FakeRegistry, Image, Kind, Service, eventually};

const KEYS: &str = "quiet = \"100ms\"\npoll = \"1h\"\naudit = \"1h\"";

/// A service whose `ubuntu:xenial` was published from one image, and where its matrix is.
async fn published() -> (FakeRegistry, Service, String) {
    let registry = FakeRegistry::start().await;
    registry.push_image("ubuntu:amd64-xenial", "linux/amd64");
    let rule = format!("[[repository]]\nregistry = \"{}\"\nname = \"ubuntu\"\n{KEYS}\n", registry.host());
    let service = Service::start(&registry.host(), &rule).await;
    eventually("it is published", async || registry.digest("ubuntu:xenial")).await;
    service.idle().await;
    let query = format!("repository={}", registry.repository("ubuntu").replace('/', "%2F"));
    (registry, service, query)
}

#[tokio::test]
async fn a_push_changes_the_page_without_a_reload() {
    let (registry, service, query) = published().await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/repository?{query}", service.origin())).await;
    browser.wait_for("#liveness", "Live").await;
    assert_eq!(browser.texts("table.matrix thead th").await, ["Version", "amd64"]);
    browser.value("window.kept = true; document.getElementById('v-xenial').focus()", &[]).await;

    let digest = registry.push_image("ubuntu:arm64-xenial", "linux/arm64");
    service.tell("ubuntu", "arm64-xenial", &digest).await;
    browser.wait_for("table.matrix thead", "arm64").await;
    browser.wait_for("table.matrix tbody td:nth-child(3)", &digest[7..14]).await;
    assert_eq!(browser.value("return window.kept", &[]).await, true, "the page was loaded anew");
    assert_eq!(browser.value("return document.activeElement.id", &[]).await, "v-xenial", "the focus is lost");
    browser.wait_for("#news", "xenial: ").await;

    registry.push("ubuntu:arm64-xenial", &Image::new("linux/amd64"));
    let wrong = registry.digest("ubuntu:arm64-xenial").expect("it was pushed");
    service.tell("ubuntu", "arm64-xenial", &wrong).await;
    browser.wait_for("table.matrix tbody th", "held").await;
    browser.wait_for(".why", "the tag promises linux/arm64").await;
    assert_eq!(browser.value("return window.kept", &[]).await, true);
    browser.assert_calm(&service.origin()).await;
}

#[tokio::test]
async fn the_button_looks_again_for_who_knows_the_token_and_for_nobody_else() {
    let (registry, service, query) = published().await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/tag?{query}&tag=xenial", service.origin())).await;
    browser.wait_for("#liveness", "Live").await;
    let asked = || registry.count(Kind::HeadManifest) + registry.count(Kind::GetManifest);
    let before = asked();
    // Nobody tells of it, and no scan is due.
    registry.push_image("ubuntu:arm64-xenial", "linux/arm64");

    browser.type_into("input[name=token]", "wrong").await;
    browser.click("form.reconcile button").await;
    browser.wait_for("#refusal", "the admin token is missing or wrong").await;
    assert_eq!(
        browser.value("return document.activeElement && document.querySelector('input[name=token]').value", &[]).await,
        ""
    );
    assert_eq!(asked(), before, "the registry was asked");
    let console = browser.console().await;
    assert!(console.len() == 1 && console[0].contains("403"), "{console:?}");
    assert_eq!(service.history().await.len(), 1);

    browser.type_into("input[name=token]", ADMIN_TOKEN).await;
    browser.click("form.reconcile button").await;
    browser.wait_for(".notice.good", "It will be looked at now").await;
    browser.wait_for(".history .changes", "added arm64-xenial").await;
    assert!(browser.text(".history > li").await.contains("asked for by a person"));
    assert!(!browser.address().await.contains(ADMIN_TOKEN));
    assert_eq!(service.history().await[0]["trigger"], "request");
    assert!(!service.log().contains(ADMIN_TOKEN));
    browser.assert_calm(&service.origin()).await;
}

#[tokio::test]
async fn an_open_page_does_not_keep_the_service_from_ending_and_finds_it_again() {
    let (registry, mut service, query) = published().await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/repository?{query}", service.origin())).await;
    browser.wait_for("#liveness", "Live").await;
    assert_eq!(service.stop().await.code, 0);
    browser.wait_for("#liveness", "Not connected").await;
    registry.push_image("ubuntu:arm64-xenial", "linux/arm64");
    service.resume().await;
    browser.wait_for("#liveness", "Live").await;
    browser.wait_for("table.matrix thead", "arm64").await;
}

#[tokio::test]
async fn events_are_told_to_those_who_listen_to_the_repository() {
    let (registry, service, query) = published().await;
    let mut events = service.ask("GET", &format!("/events?{query}")).send().await.expect("it answers");
    assert_eq!(events.headers()["content-type"], "text/event-stream");
    assert_eq!(events.headers()["cache-control"], "no-store");
    let digest = registry.push_image("ubuntu:arm64-xenial", "linux/arm64");
    service.tell("ubuntu", "arm64-xenial", &digest).await;
    let mut told = String::new();
    while !told.contains("\n\n") {
        told.push_str(&String::from_utf8_lossy(&events.chunk().await.expect("it goes on").expect("an event")));
    }
    let data = told.strip_prefix("event: change\ndata: ").and_then(|rest| rest.lines().next()).expect(&told);
    let expected = json!({ "repository": registry.repository("ubuntu"), "tag": "xenial", "state": "ok" });
    assert_eq!(serde_json::from_str::<serde_json::Value>(data).expect("JSON"), expected);
}
