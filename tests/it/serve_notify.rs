//! Receivers of notices when the service stops, and receivers behind TLS.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::real::free_address;
use crate::support::tls::Ca;
use crate::support::{Answer, Elsewhere, FakeRegistry, Service, eventually};

const TAGS: [&str; 3] = ["v1", "v2", "v3"];

fn sections(registry: &FakeRegistry, receiver: &Elsewhere) -> String {
    let (host, url) = (registry.host(), receiver.url("/path-canary-88f2"));
    format!(
        "[[repository]]\nregistry = \"{host}\"\nname = \"ubuntu\"\nquiet = \"50ms\"\n\
         [[notify]]\nurl = \"{url}\"\nsecret = {{ env = \"NOTIFY_SECRET\" }}\n"
    )
}

/// A receiver that fails until it is told not to.
async fn failing() -> (Elsewhere, Arc<AtomicBool>) {
    let is_well = Arc::new(AtomicBool::new(false));
    let well = is_well.clone();
    let answer = move |_: &_| Answer::new(if well.load(Ordering::SeqCst) { 204 } else { 500 });
    (Elsewhere::answering(answer).await, is_well)
}

/// A service that has three tags to tell of, and was refused four times: its next pause is long.
async fn with_much_to_tell(receiver: &Elsewhere) -> Service {
    let registry = FakeRegistry::start().await;
    TAGS.iter().for_each(|tag| drop(registry.push_image(&format!("ubuntu:amd64-{tag}"), "linux/amd64")));
    let service = Service::start(&registry.host(), &sections(&registry, receiver)).await;
    eventually("all is published", async || {
        TAGS.iter().all(|tag| registry.digest(&format!("ubuntu:{tag}")).is_some()).then_some(())
    })
    .await;
    service.idle().await;
    eventually("it was refused four times", async || (receiver.requests().len() >= 4).then_some(())).await;
    service
}

fn told(receiver: &Elsewhere) -> Vec<String> {
    let well = receiver.requests().into_iter().filter(|request| request.status == Some(204));
    let mut tags: Vec<_> = well.map(|it| it.json()["subject"].as_str().expect("a tag").to_owned()).collect();
    tags.sort();
    tags
}

#[tokio::test]
async fn what_is_still_to_be_told_is_told_before_the_service_stops() {
    let (receiver, is_well) = failing().await;
    let mut service = with_much_to_tell(&receiver).await;
    is_well.store(true, Ordering::SeqCst);
    let ran = service.stop().await.expect(0);
    assert_eq!(told(&receiver), TAGS);
    assert!(!ran.stderr.contains("was not told"), "{}", ran.stderr);
}

#[tokio::test]
async fn what_nobody_would_hear_is_named_when_the_service_stops() {
    let (receiver, _) = failing().await;
    let mut service = with_much_to_tell(&receiver).await;
    let ran = service.stop().await.expect(0);
    for tag in TAGS {
        let lost = format!("`{}` was not told that `", receiver.url(""));
        let line = ran.stderr.lines().find(|line| line.contains(&lost) && line.contains(&format!("ubuntu:{tag}`")));
        assert!(line.is_some_and(|line| line.contains("is published")), "{tag} in\n{}", ran.stderr);
    }
    assert!(!ran.stderr.contains("path-canary-88f2"), "{}", ran.stderr);
}

#[tokio::test]
async fn a_receiver_behind_tls_is_told_only_if_its_certificate_is_trusted() {
    let ca = Ca::new("the company");
    let folder = tempfile::TempDir::new().expect("a temporary directory");
    let bundle = folder.path().join("ca.pem");
    std::fs::write(&bundle, &ca.certificate_pem).expect("a bundle");
    let bundle = bundle.to_str().expect("a path");
    let of = async |ca: &Ca| Elsewhere::answering_tls(&ca.issue("127.0.0.1"), None, |_| Answer::new(204)).await;
    let (known, unknown) = (of(&ca).await, of(&Ca::new("somebody")).await);

    let registry = FakeRegistry::start().await;
    let sections = [&known, &unknown].map(|receiver| sections(&registry, receiver));
    let (_, only_notify) = sections[1].split_once("[[notify]]").expect("a receiver");
    let sections = format!("{}[[notify]]{only_notify}", sections[0]);
    let trust = [("SSL_CERT_FILE", bundle), ("SSL_CERT_DIR", "/nonexistent")];
    let service = Service::start_raw(&free_address(), &sections, &trust).await;
    registry.push_image("ubuntu:amd64-v1", "linux/amd64");
    service.reload().await; // which scans at once
    eventually("it was told", async || (told(&known) == ["v1"]).then_some(())).await;
    let refused = format!("`{}` could not be told of `v1`: ", unknown.url(""));
    eventually("the other is not", async || service.log().contains(&refused).then_some(())).await;
    assert_eq!(unknown.requests().len(), 0, "nothing was said to somebody unknown");
}
