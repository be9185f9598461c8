//! The main stories on a registry that nobody here wrote, with readers that nobody here wrote.

use oci_spec::image::{ImageIndex, ImageManifest};
use serde_json::Value;

use crate::support::image::{DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, sha256};
use crate::support::{Image, Ran, RealRegistry, onetag, skopeo};

/// Seven architectures: a word of Debian, its platform, and how skopeo asks for it.
const SEVEN: [(&str, &str, &str); 7] = [
    ("amd64", "linux/amd64", "amd64"),
    ("arm64", "linux/arm64", "arm64"),
    ("armhf", "linux/arm/v7", "arm v7"),
    ("armel", "linux/arm/v5", "arm v5"),
    ("i386", "linux/386", "386"),
    ("ppc64el", "linux/ppc64le", "ppc64le"),
    ("s390x", "linux/s390x", "s390x"),
];

async fn publish(registry: &RealRegistry, options: &[&str]) -> Ran {
    let repository = registry.repository("acme/ubuntu");
    let fixed = ["publish", "-r", &repository, "--tag", "xenial", "--output", "json"];
    onetag(fixed.iter().chain(options).copied()).run().await
}

/// A registry with an `acme/ubuntu` whose images of seven architectures are labelled by them.
async fn seven_architectures() -> RealRegistry {
    let registry = RealRegistry::start().await;
    for (word, platform, _) in SEVEN {
        let image = Image::new(platform).label("word", word);
        registry.push(&format!("acme/ubuntu:{word}-xenial"), &image).await;
    }
    registry
}

/// How many manifests were written so far, by the registry's own account.
fn puts(registry: &RealRegistry) -> usize {
    let log = registry.log();
    log.lines().filter(|line| line.contains("http.request.method=PUT") && line.contains("/manifests/")).count()
}

/// What skopeo, as a client of this architecture, finds under `xenial`.
async fn skopeo_config(registry: &RealRegistry, client: &str) -> Value {
    let mut client = client.split(' ');
    let architecture = client.next().unwrap_or_default();
    let variant: Vec<String> = client.map(|variant| format!("--override-variant={variant}")).collect();
    let image = format!("docker://{}:xenial", registry.repository("acme/ubuntu"));
    let architecture = format!("--override-arch={architecture}");
    let mut arguments = vec!["--override-os=linux", &architecture];
    arguments.extend(variant.iter().map(String::as_str));
    arguments.extend(["inspect", "--config", "--tls-verify=false", &image]);
    skopeo(&arguments).await.expect(0).json()
}

#[tokio::test]
async fn seven_architectures_are_one_tag_that_every_client_finds_its_own_image_under() {
    let registry = seven_architectures().await;
    let told = publish(&registry, &["--require", "amd64,arm64,armhf,armel,i386,ppc64el,s390x"]).await.expect(0).json();

    let stored = registry.manifest("acme/ubuntu:xenial").await.expect("it was published");
    assert_eq!((stored.media_type.as_str(), &told["digest"]), (OCI_INDEX, &stored.digest.as_str().into()));
    assert_eq!(sha256(&stored.bytes), stored.digest);
    let index = ImageIndex::from_reader(&stored.bytes[..]).expect("an index by oci-spec's reading");
    let entries: Vec<String> = index
        .manifests()
        .iter()
        .map(|entry| {
            let platform = entry.platform().as_ref().expect("a platform");
            let variant = platform.variant().as_ref().map(|variant| format!("/{variant}")).unwrap_or_default();
            format!("{}/{}{variant}", platform.os(), platform.architecture())
        })
        .collect();
    let expected =
        ["linux/amd64", "linux/arm64", "linux/386", "linux/arm/v7", "linux/arm/v5", "linux/ppc64le", "linux/s390x"];
    assert_eq!(entries, expected);
    for entry in index.manifests() {
        let child = registry.manifest(&format!("acme/ubuntu@{}", entry.digest())).await.expect("the child is there");
        assert_eq!((child.bytes.len() as u64, child.media_type.as_str()), (entry.size(), entry.media_type().as_ref()));
        ImageManifest::from_reader(&child.bytes[..]).expect("an image by oci-spec's reading");
    }

    for (word, _, client) in SEVEN {
        let config = skopeo_config(&registry, client).await;
        assert_eq!(config["config"]["Labels"]["word"], word, "what {client} finds");
    }
    let image = format!("docker://{}:xenial", registry.repository("acme/ubuntu"));
    let raw = skopeo(&["inspect", "--raw", "--tls-verify=false", &image]).await.expect(0).stdout;
    assert_eq!(raw.as_bytes(), &stored.bytes[..]);
}

#[tokio::test]
async fn the_whole_index_can_be_copied_by_a_client() {
    let registry = seven_architectures().await;
    registry.push_attested("acme/ubuntu:arm64-xenial", "linux/arm64").await;
    publish(&registry, &[]).await.expect(0);
    let directory = tempfile::TempDir::new().expect("a temporary directory");
    let image = format!("docker://{}:xenial", registry.repository("acme/ubuntu"));
    let target = format!("dir:{}", directory.path().display());
    skopeo(&["copy", "--all", "--src-tls-verify=false", &image, &target]).await.expect(0);
    let copied = std::fs::read(directory.path().join("manifest.json")).expect("the copied index");
    let stored = registry.manifest("acme/ubuntu:xenial").await.expect("it was published");
    assert_eq!(copied, &stored.bytes[..]);
    let manifests = std::fs::read_dir(directory.path())
        .expect("a directory")
        .filter(|file| file.as_ref().is_ok_and(|file| file.file_name().to_string_lossy().ends_with(".manifest.json")));
    assert_eq!(manifests.count(), 8, "seven images and an attestation");

    let one = tempfile::TempDir::new().expect("a temporary directory");
    let target = format!("dir:{}", one.path().display());
    let client = ["--override-os=linux", "--override-arch=arm", "--override-variant=v7"];
    let copy = ["copy", "--src-tls-verify=false", &image, &target];
    skopeo(&[&client[..], &copy[..]].concat()).await.expect(0);
    let copied = std::fs::read(one.path().join("manifest.json")).expect("the copied image");
    assert_eq!(registry.digest("acme/ubuntu:armhf-xenial").await, Some(sha256(&copied)));
}

#[tokio::test]
async fn a_mislabelled_image_holds_the_tag_until_it_is_repaired() {
    let registry = seven_architectures().await;
    publish(&registry, &[]).await.expect(0);
    let before = registry.digest("acme/ubuntu:xenial").await;
    registry.push("acme/ubuntu:armhf-xenial", &Image::new("linux/amd64").label("word", "wrong")).await;
    let written = puts(&registry);
    let told = publish(&registry, &[]).await.expect(6).json();
    assert_eq!(told["reasons"][0]["code"], "config-arch-mismatch");
    assert_eq!((registry.digest("acme/ubuntu:xenial").await, puts(&registry)), (before.clone(), written));

    registry.push("acme/ubuntu:armhf-xenial", &Image::new("linux/arm/v7").label("word", "repaired")).await;
    let told = publish(&registry, &[]).await.expect(0).json();
    assert_eq!(told["previous"], before.expect("it was published"));
    assert_eq!(told["changes"]["updated"], serde_json::json!(["linux/arm/v7"]));
    assert_eq!(skopeo_config(&registry, "arm v7").await["config"]["Labels"]["word"], "repaired");
    assert_eq!(skopeo_config(&registry, "amd64").await["config"]["Labels"]["word"], "amd64");
}

#[tokio::test]
async fn a_second_run_writes_nothing() {
    let registry = seven_architectures().await;
    let before = puts(&registry);
    publish(&registry, &["--also", "16.04"]).await.expect(0);
    assert_eq!(puts(&registry), before + 2, "the index under its two tags, and nothing else");
    let told = publish(&registry, &["--also", "16.04"]).await.expect(0).json();
    assert_eq!(told["decision"], "unchanged");
    assert_eq!(puts(&registry), before + 2);
    assert_eq!(registry.digest("acme/ubuntu:16.04").await, registry.digest("acme/ubuntu:xenial").await);
}

#[tokio::test]
async fn an_attestation_stays_behind_its_image() {
    let registry = RealRegistry::start().await;
    registry.push_image("acme/ubuntu:amd64-xenial", "linux/amd64").await;
    let attested = registry.push_attested("acme/ubuntu:arm64-xenial", "linux/arm64").await;
    publish(&registry, &[]).await.expect(0);
    let index = registry.json("acme/ubuntu:xenial").await;
    let digests: Vec<&str> =
        index["manifests"].as_array().expect("entries").iter().filter_map(|entry| entry["digest"].as_str()).collect();
    assert_eq!(digests[1..], [attested.image.as_str(), attested.attestation.as_str()]);

    publish(&registry, &["--attestations", "drop"]).await.expect(0);
    assert_eq!(registry.platforms("acme/ubuntu:xenial").await, ["linux/amd64", "linux/arm64"]);
}

#[tokio::test]
async fn docker_images_go_into_either_kind_of_index() {
    let registry = RealRegistry::start().await;
    for (word, platform, _) in SEVEN {
        let image = Image::new(platform).docker().label("word", word);
        registry.push(&format!("acme/ubuntu:{word}-xenial"), &image).await;
    }
    for (options, kind) in [(&[][..], OCI_INDEX), (&["--index-type", "docker"][..], DOCKER_LIST)] {
        publish(&registry, options).await.expect(0);
        let stored = registry.manifest("acme/ubuntu:xenial").await.expect("it was published");
        assert_eq!(stored.media_type, kind);
        assert!(
            stored.json()["manifests"].as_array().expect("entries").iter().all(|it| it["mediaType"] == DOCKER_MANIFEST)
        );
        assert_eq!(skopeo_config(&registry, "s390x").await["config"]["Labels"]["word"], "s390x");
        assert_eq!(skopeo_config(&registry, "arm v5").await["config"]["Labels"]["word"], "armel");
    }
    let told = publish(&registry, &[]).await.expect(0).json();
    assert_eq!(told["decision"], "unchanged", "what is served in the other form is as good");
}

#[tokio::test]
async fn an_architecture_whose_image_was_deleted_drops_out_only_when_allowed() {
    let registry = seven_architectures().await;
    publish(&registry, &[]).await.expect(0);
    let before = registry.digest("acme/ubuntu:xenial").await;
    let gone = registry.digest("acme/ubuntu:s390x-xenial").await.expect("it was pushed");
    registry.delete_manifest(&format!("acme/ubuntu@{gone}")).await;
    let told = publish(&registry, &[]).await.expect(6).json();
    assert_eq!(told["reasons"][0]["code"], "removal");
    assert_eq!(registry.digest("acme/ubuntu:xenial").await, before);

    publish(&registry, &["--allow-removal"]).await.expect(0);
    assert_eq!(registry.platforms("acme/ubuntu:xenial").await.len(), 6);
    assert_eq!(skopeo_config(&registry, "ppc64le").await["config"]["Labels"]["word"], "ppc64el");
}
