//! Waiting for what is required, and being told to stop.

use std::time::Duration;

use crate::support::{FakeRegistry, Kind, Play, When, eventually, onetag, publish};

#[tokio::test]
async fn an_architecture_that_arrives_while_waited_for_is_published() {
    let registry = FakeRegistry::with_xenial().await;
    let repository = registry.repository("ubuntu");
    let options = ["publish", "-r", &repository, "-t", "xenial", "--require", "amd64,arm64", "--wait", "1m"];
    let running = onetag(options).spawn();
    running.wait_for("xenial: waiting for arm64-xenial").await;
    eventually("it looks again", async || (registry.count(Kind::Tags) >= 3).then_some(())).await;
    registry.push_image("ubuntu:arm64-xenial", "linux/arm64");
    let ran = running.wait().await.expect(0);
    assert_eq!(registry.platforms("ubuntu:xenial"), ["linux/amd64", "linux/arm64"]);
    assert_eq!(ran.stderr, "xenial: waiting for arm64-xenial\n", "a log is told once what is waited for");
}

#[tokio::test]
async fn what_arrives_under_another_word_is_noticed_too() {
    let registry = FakeRegistry::with_xenial().await;
    let repository = registry.repository("ubuntu");
    let options = ["publish", "-r", &repository, "-t", "xenial", "--require", "arm64", "--wait", "1m"];
    let running = onetag(options).spawn();
    running.wait_for("waiting for arm64-xenial").await;
    registry.push_image("ubuntu:arm64v8-xenial", "linux/arm64");
    running.wait().await.expect(0);
    assert_eq!(registry.platforms("ubuntu:xenial"), ["linux/amd64", "linux/arm64"]);
}

#[tokio::test]
async fn waiting_ends_and_says_what_is_still_missing() {
    let registry = FakeRegistry::with_xenial().await;
    let options = ["--arch", "amd64,arm64", "--wait", "1s"];
    let told = registry.expect_refusal("arch-missing", &options).await;
    assert_eq!(told.messages(), "arm64 is required, but there is no such tag");
}

#[tokio::test]
async fn waiting_for_what_is_there_but_left_out_asks_no_faster_than_for_anything_else() {
    let registry = FakeRegistry::with_xenial().await;
    registry.push_image("ubuntu:arm64-xenial", "linux/amd64");
    let options = ["--require", "arm64", "--on-mismatch", "skip", "--wait", "1s"];
    registry.expect_refusal("arch-missing", &options).await;
    assert!(registry.requests().len() < 40, "{} requests in one second", registry.requests().len());
}

#[tokio::test]
async fn waiting_ends_at_once_where_something_is_wrong_and_nothing_is_missing() {
    let registry = FakeRegistry::with_xenial().await;
    registry.push_image("ubuntu:arm64-xenial", "linux/amd64");
    registry.expect_refusal("config-arch-mismatch", &["--require", "arm64", "--wait", "1h"]).await;
}

#[tokio::test]
async fn an_interrupt_while_waiting_writes_nothing() {
    let registry = FakeRegistry::with_xenial().await;
    let repository = registry.repository("ubuntu");
    for output in ["text", "json"] {
        let options =
            ["publish", "-r", &repository, "-t", "xenial", "--require", "s390x", "--wait", "1h", "--output", output];
        let running = onetag(options).spawn();
        running.wait_for("waiting for s390x-xenial").await;
        running.signal("INT").await;
        let ran = running.wait().await.expect(130);
        assert!(ran.stderr.ends_with("error: interrupted; nothing was written\n"), "{}", ran.stderr);
        match output {
            "json" => assert_eq!(ran.json()["reasons"][0]["code"], "interrupted"),
            _ => assert_eq!(ran.stdout, ""),
        }
    }
    assert_eq!(registry.writes(), 0);
}

#[tokio::test]
async fn an_interrupt_while_writing_lets_the_writing_finish() {
    let registry = FakeRegistry::with_xenial().await;
    registry.push_image("ubuntu:arm64-xenial", "linux/arm64");
    registry.on(When::kind(Kind::PutManifest), Play::Late(Duration::from_millis(500)));
    let repository = registry.repository("ubuntu");
    let running = onetag(["publish", "-r", &repository, "-t", "xenial", "--also", "lts"]).spawn();
    eventually("it writes", async || (registry.count(Kind::PutManifest) > 0).then_some(())).await;
    running.signal("TERM").await;
    let ran = running.wait().await.expect(0);
    assert!(ran.stdout.contains("pushed xenial, lts sha256:"), "{}", ran.stdout);
    assert_eq!(registry.platforms("ubuntu:xenial"), ["linux/amd64", "linux/arm64"]);
    assert_eq!(registry.digest("ubuntu:lts"), registry.digest("ubuntu:xenial"));
}

#[tokio::test]
async fn several_tags_wait_each_for_its_own() {
    let registry = FakeRegistry::with_xenial().await;
    registry.push_image("ubuntu:amd64-bionic", "linux/amd64");
    registry.push_image("ubuntu:arm64-xenial", "linux/arm64");
    let repository = registry.repository("ubuntu");
    let options = ["publish", "-r", &repository, "-t", "bionic", "-t", "xenial", "--require", "arm64", "--wait", "1m"];
    let running = onetag(options).spawn();
    running.wait_for("bionic: waiting for arm64-bionic").await;
    registry.push_image("ubuntu:arm64-bionic", "linux/arm64");
    running.wait().await.expect(0);
    assert_eq!(registry.platforms("ubuntu:bionic"), ["linux/amd64", "linux/arm64"]);
    assert_eq!(publish(&registry, &[]).await.json["decision"], "unchanged");
}
