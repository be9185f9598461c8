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
    insta::assert_snapshot!(steady(&registry, &ran.stdout), @r"
    registry.example.com/ubuntu

              amd64  arm64  arm/v7  s390x
    bionic    +      !      +              mismatch
    focal     +      +      +       -      unpublished
    jammy     -                            unpublished
    trusty    +      +      o              orphan
    xenial    +      +      ~              stale

    + ok, - not in the index, ~ stale (older in the index), o orphan (no tag for it),
    ! mismatch

    config-arch-mismatch
      `arm64-bionic`: the tag promises linux/arm64 but the image config says linux/amd64
      -> push the right image under this tag, or see `--on-mismatch`

    unpublished
      `s390x-focal` (linux/s390x) is not in the index of `focal`
      nothing is published under `jammy` yet
      -> publish it: `onetag publish --tag focal`
      -> publish it: `onetag publish --tag jammy`

    orphan
      `trusty` serves sha256:000000000000 for linux/arm/v7, and no architecture tag stands for
      it: clean-ups of untagged images may take it
      -> push its architecture tag again, or publish without it by `--allow-removal`

    stale
      `armhf-xenial` is sha256:000000000000 now, and `xenial` still serves sha256:000000000000
      for linux/arm/v7
      -> publish it: `onetag publish --tag xenial`

    5 tags: 2 unpublished, 1 stale, 1 orphan, 1 mismatch; 5 problems; 55 requests
    ");
}

#[tokio::test]
async fn a_narrow_terminal_gets_a_line_for_each_state() {
    let registry = motley().await;
    registry.push_image("ubuntu:amd64-a-tag-that-is-much-longer-than-anybody-would-like-it", "linux/amd64");
    let options = ["--fail-on", "foreign"];
    let ran = audit(&registry).args(&options).env("COLUMNS", "40").run().await.expect(0);
    let widest = ran.stdout.lines().map(|line| line.chars().count()).max();
    let table: String = ran.stdout.lines().skip(2).take(15).map(|line| format!("{line}\n")).collect();
    insta::assert_snapshot!(table, @r"
    a-tag-tha...-like-it  unpublished
      - amd64
    bionic                mismatch
      + amd64 arm/v7
      ! arm64
    focal                 unpublished
      + amd64 arm64 arm/v7
      - s390x
    jammy                 unpublished
      - amd64
    trusty                orphan
      + amd64 arm64
      o arm/v7
    xenial                stale
      + amd64 arm64
    ");
    assert!(widest <= Some(80), "only words that are longer stick out: {widest:?}\n{}", ran.stdout);
}

#[tokio::test]
async fn markdown_is_a_table_and_nothing_else_is_markup() {
    let registry = motley().await;
    let ran = audit(&registry).args(&["--output", "markdown"]).run().await.expect(7);
    insta::assert_snapshot!(steady(&registry, &ran.stdout), @r"
    ### registry.example.com/ubuntu

    5 tags: 2 unpublished, 1 stale, 1 orphan, 1 mismatch; 5 problems; 55 requests

    | tag | state | amd64 | arm64 | arm/v7 | s390x |
    | --- | --- | --- | --- | --- | --- |
    | bionic | mismatch | ok | mismatch | ok |  |
    | focal | unpublished | ok | ok | ok | unpublished |
    | jammy | unpublished | unpublished |  |  |  |
    | trusty | orphan | ok | ok | orphan |  |
    | xenial | stale | ok | ok | stale |  |

    **config-arch-mismatch**

    - \`arm64-bionic\`: the tag promises linux/arm64 but the image config says linux/amd64
    - → push the right image under this tag, or see \`--on-mismatch\`

    **unpublished**

    - \`s390x-focal\` \(linux/s390x\) is not in the index of \`focal\`
    - nothing is published under \`jammy\` yet
    - → publish it: \`onetag publish --tag focal\`
    - → publish it: \`onetag publish --tag jammy\`

    **orphan**

    - \`trusty\` serves sha256:000000000000 for linux/arm/v7, and no architecture tag stands for it: clean-ups of untagged images may take it
    - → push its architecture tag again, or publish without it by \`--allow-removal\`

    **stale**

    - \`armhf-xenial\` is sha256:000000000000 now, and \`xenial\` still serves sha256:000000000000 for linux/arm/v7
    - → publish it: \`onetag publish --tag xenial\`
    ");
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
        registry.push_image(&format!("ubuntu:amd64-{version}"), "linux/amd64");
        registry.push_image(&format!("ubuntu:arm64-wrong-{version}"), "linux/amd64");
    }
    let ran = audit(&registry).run().await.expect(7);
    let told = ran.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(told.contains("and 20 more: `--output json` has them all"), "{}", ran.stdout);
    assert!(told.contains("`arm64-wrong-4` and 25 more: the tag promises linux/arm64"), "{}", ran.stdout);
    assert!(told.contains("60 tags: 30 unpublished, 30 mismatch"), "{}", ran.stdout);
}
