//! How an audit is told: the matrix, Markdown, and text that a stranger chose.

use serde_json::json;

use super::publish_all;
use crate::support::image::{OCI_INDEX, index};
use crate::support::{Cli, FakeRegistry, onetag};

/// Several states at once.
async fn motley() -> FakeRegistry {
    let registry = FakeRegistry::start().await;
    publish_all(&registry, &["bionic", "focal", "trusty", "xenial"]).await;
    registry.push_image("ubuntu:armhf-xenial", "linux/arm/v7");
    registry.delete("ubuntu:armhf-trusty");
    registry.push_image("ubuntu:arm64-bionic", "linux/amd64");
    registry.push_image("ubuntu:s390x-focal", "linux/s390x");
    registry.push_image("ubuntu:amd64-jammy", "linux/amd64");
    registry
}

fn audit(registry: &FakeRegistry) -> Cli {
    onetag(["audit", "-r", &registry.repository("ubuntu")]).env("LANG", "C.UTF-8")
}

/// The text with what differs from run to run replaced.
fn steady(registry: &FakeRegistry, text: &str) -> String {
    let mut steady = text.replace(&registry.host(), "registry.example.com");
    for part in text.split("sha256:").skip(1) {
        let digest: String = part.chars().take_while(char::is_ascii_hexdigit).collect();
        steady = steady.replace(&digest, &"0".repeat(digest.len()));
    }
    steady
}

#[tokio::test]
async fn the_matrix_shows_every_state_with_its_remedy() {
    let registry = motley().await;
    let ran = audit(&registry).env("COLUMNS", "90").run().await.expect(7);
    assert_eq!(ran.stderr, "");
    insta::assert_snapshot!(steady(&registry, &ran.stdout), @"");
}

#[tokio::test]
async fn a_narrow_terminal_gets_a_line_for_each_state() {
    let registry = motley().await;
    registry.push_image("ubuntu:amd64-a-tag-that-is-much-longer-than-anybody-would-like-it", "linux/amd64");
    let options = ["--fail-on", "foreign"];
    let ran = audit(&registry).args(&options).env("COLUMNS", "40").run().await.expect(0);
    let widest = ran.stdout.lines().map(|line| line.chars().count()).max();
    let table: String = ran.stdout.lines().skip(2).take(11).map(|line| format!("{line}\n")).collect();
    insta::assert_snapshot!(table, @"");
    assert!(widest <= Some(80), "only words that are longer stick out: {widest:?}\n{}", ran.stdout);
}

#[tokio::test]
async fn markdown_is_a_table_and_nothing_else_is_markup() {
    let registry = motley().await;
    let ran = audit(&registry).args(&["--output", "markdown"]).run().await.expect(7);
    insta::assert_snapshot!(steady(&registry, &ran.stdout), @"");
}

#[tokio::test]
async fn what_a_stranger_wrote_steers_no_terminal_and_no_page() {
    let registry = FakeRegistry::start().await;
    let evil = "x\u{1b}[31m\u{202e}<img src=x onerror=alert(1)>|`\n";
    registry.push_image("ubuntu:amd64-xenial", "linux/amd64");
    let mut entry = registry.descriptor("ubuntu:amd64-xenial");
    entry["platform"] = json!({ "os": "linux", "architecture": evil });
    registry.put_manifest("ubuntu:xenial", OCI_INDEX, index(OCI_INDEX, &[entry]));
    for output in ["text", "json", "markdown"] {
        let host = ["--client", "crane", "--platform", "linux/amd64"];
        let ran = audit(&registry).args(&["--output", output]).args(&host).run().await.expect(7);
        assert!(crate::support::is_printable(&ran.stdout), "{}", ran.stdout);
        assert!(output != "markdown" || !ran.stdout.contains("<img"), "{}", ran.stdout);
    }
}

#[tokio::test]
async fn colours_are_asked_for_or_not_there() {
    let registry = motley().await;
    let plain = audit(&registry).run().await.expect(7);
    assert!(!plain.stdout.contains('\u{1b}'));
    let colored = audit(&registry).args(&["--color", "always"]).run().await.expect(7);
    assert!(colored.stdout.contains('\u{1b}'));
    let stripped = anstream::adapter::strip_str(&colored.stdout).to_string();
    assert_eq!(steady(&registry, &stripped).lines().count(), plain.stdout.lines().count());
}

#[tokio::test]
async fn many_problems_of_a_kind_are_counted_and_not_all_told() {
    let registry = FakeRegistry::start().await;
    for version in 0..30 {
        registry.push_image(&format!("ubuntu:amd64-{version}"), "linux/arm64");
    }
    let ran = audit(&registry).run().await.expect(7);
    assert!(ran.stdout.contains("and 20 more"), "{}", ran.stdout);
    assert!(ran.stdout.contains("30 tags: 30 mismatch"), "{}", ran.stdout);
}
