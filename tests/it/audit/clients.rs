//! Which image a client gets: our answer, and that of the client itself where it is installed.

use serde_json::Value;

use super::run;
use crate::support::image::{OCI_INDEX, index, platform_json};
use crate::support::{FakeRegistry, RealRegistry, skopeo};

/// Indexes with the oddities on which clients differ, by tag.
const INDEXES: &[(&str, &[&str])] = &[
    ("arm", &["linux/amd64", "linux/arm/v5", "linux/arm/v7", "linux/arm/v6"]),
    ("bare", &["linux/arm", "linux/arm/v6", "linux/386"]),
    ("both", &["linux/arm64", "linux/arm64/v8", "linux/amd64"]),
    ("v8", &["linux/amd64", "linux/arm64/v8"]),
    ("levels", &["linux/amd64/v3", "linux/amd64", "linux/amd64/v2"]),
    ("lesser", &["linux/386", "linux/arm/v7"]),
];

/// Hosts as skopeo can be told to be one: architecture and variant.
const HOSTS: &[(&str, &str)] = &[
    ("amd64", ""),
    ("386", ""),
    ("arm64", ""),
    ("arm64", "v8"),
    ("arm", ""),
    ("arm", "v5"),
    ("arm", "v6"),
    ("arm", "v7"),
    ("amd64", "v2"),
    ("s390x", ""),
];

/// The architecture and variant of the image that we say podman gets; none where it gets none.
async fn ours(repository: &str, tag: &str, host: &str) -> Option<String> {
    let options = ["--tag", tag, "--client", "podman", "--platform", host, "--fail-on", "foreign"];
    let document = run(repository, &options).await.expect(0).json();
    let digest = &document["versions"][0]["choice"]["digest"];
    digest.as_str().map(str::to_owned)
}

#[tokio::test]
async fn podman_gets_what_we_say_it_gets() {
    let registry = RealRegistry::start().await;
    for (tag, platforms) in INDEXES {
        let mut entries = Vec::new();
        for platform in *platforms {
            let digest = registry.push_image(&format!("ubuntu:source-{tag}"), platform).await;
            let stored = registry.manifest(&format!("ubuntu@{digest}")).await.expect("it is there");
            entries.push(serde_json::json!({
                "mediaType": stored.media_type, "digest": digest, "size": stored.bytes.len(),
                "platform": platform_json(platform),
            }));
        }
        registry.put_manifest(&format!("ubuntu:{tag}"), OCI_INDEX, index(OCI_INDEX, &entries)).await;
    }
    let mut differences = Vec::new();
    for (tag, _) in INDEXES {
        for (architecture, variant) in HOSTS {
            let host = format!("linux/{architecture}/{variant}");
            let ours = ours(&registry.repository("ubuntu"), tag, host.trim_end_matches('/')).await;
            let theirs = theirs(&registry, tag, architecture, variant).await;
            if ours != theirs {
                differences.push(format!("{tag} on {host}: we say {ours:?}, skopeo {theirs:?}"));
            }
        }
    }
    assert_eq!(differences, Vec::<String>::new());
}

/// The digest of the image that skopeo picks for a host; none where it finds none.
async fn theirs(registry: &RealRegistry, tag: &str, architecture: &str, variant: &str) -> Option<String> {
    let image = format!("docker://{}:{tag}", registry.repository("ubuntu"));
    let overrides = ["--override-os", "linux", "--override-arch", architecture, "--override-variant", variant];
    let overrides = if variant.is_empty() { &overrides[..4] } else { &overrides[..] };
    let ran = skopeo(&[overrides, &["inspect", "--tls-verify=false", "--config", "--raw", &image]].concat()).await;
    if ran.code != 0 {
        assert!(ran.stderr.contains("no image found"), "{}", ran.stderr);
        return None;
    }
    // The config tells which image it is: each is like no other.
    let config = crate::support::image::sha256(ran.stdout.trim_end_matches('\n').as_bytes());
    let index = registry.json(&format!("ubuntu:{tag}")).await;
    for entry in index["manifests"].as_array().expect("entries") {
        let digest = entry["digest"].as_str().expect("a digest");
        let manifest: Value = registry.json(&format!("ubuntu@{digest}")).await;
        if manifest["config"]["digest"] == config.as_str() {
            return Some(digest.to_owned());
        }
    }
    panic!("skopeo answered with a config of no image: {}", ran.stdout);
}

#[tokio::test]
async fn the_choice_of_a_client_is_told_with_its_reason() {
    let registry = FakeRegistry::start().await;
    registry.push_image("ubuntu:i386-xenial", "linux/386");
    super::publish(&registry, "xenial").await;
    let options = ["--client", "containerd", "--platform", "linux/amd64"];
    let document = super::audit(&registry, &options, 0).await;
    let expected = serde_json::json!({
        "client": "containerd", "host": "linux/amd64", "platform": "linux/386",
        "digest": registry.digest("ubuntu:i386-xenial"),
        "why": "there is no entry for linux/amd64, and linux/386 runs there, too",
    });
    assert_eq!(document["versions"][0]["choice"], expected);
    let none = super::audit(&registry, &["--client", "podman", "--platform", "linux/amd64"], 0).await;
    assert_eq!(none["versions"][0]["choice"]["digest"], Value::Null);
}
