//! README's first command, as a new user runs it.

use crate::support::Cli;

#[tokio::test]
async fn the_demo_tells_its_story_to_the_end() {
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/docker/demo");
    let ran =
        Cli::program(demo, Vec::<String>::new()).env("ONETAG", env!("CARGO_BIN_EXE_onetag")).run().await.expect(0);
    let told =
        ["held 1.0: nothing was written", "manifest unknown", "pushed 1.0, latest sha256:", "unchanged 1.0, latest"];
    let mut rest = ran.stdout.as_str();
    for sentence in told {
        let at = rest.find(sentence).unwrap_or_else(|| panic!("`{sentence}` is missing or too early:\n{}", ran.stdout));
        rest = &rest[at..];
    }
    let by_itself = ["held         127.0.0.1", "the tag promises linux/arm/v7", "pushed       127.0.0.1"];
    assert!(by_itself.iter().all(|told| rest.contains(told)), "the service did not tell its part:\n{rest}");
    for word in ["amd64", "arm64", "armhf", "armel", "i386", "ppc64el", "s390x"] {
        assert!(rest.contains(&format!("I am the {word} image")), "{word} got something else:\n{rest}");
    }
}
