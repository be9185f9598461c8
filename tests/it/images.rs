//! What an architecture tag may hold, and what becomes of it: the corpus of odd images.
//!
//! Unless something is published, nothing is written and the plain tag stays what it was.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::support::image::{self, Built, DOCKER_LIST, DOCKER_MANIFEST, Image, OCI_INDEX, OCI_LAYER, OCI_MANIFEST};
use crate::support::{FakeRegistry, Kind, Play, RefuseOciIndex, When, onetag, publish};

/// An image manifest of `arm64` with its blobs, to be changed by hand.
fn arm64() -> Built {
    Image::new("linux/arm64").file("etc/image", "by hand").build()
}

/// Pushes `built` as `ubuntu:arm64-xenial` with its manifest's text changed.
fn push_changed(registry: &FakeRegistry, built: &Built, change: impl Fn(String) -> String) {
    let text = String::from_utf8(built.bytes.to_vec()).expect("a manifest is text");
    let changed = change(text.clone());
    assert_ne!(changed, text, "the change should change something");
    registry.push_built("ubuntu:arm64-xenial", &Built::new(&built.media_type, changed, built.blobs.clone()));
}

#[tokio::test]
async fn an_image_whose_config_contradicts_its_tag_holds_everything() {
    let registry = FakeRegistry::with_xenial().await;
    registry.push_image("ubuntu:armhf-xenial", "linux/amd64");
    let told = registry.expect_refusal("config-arch-mismatch", &[]).await;
    assert_eq!(told.images(), ["amd64-xenial verified linux/amd64", "armhf-xenial mismatch linux/amd64"]);
    assert_eq!(told.json["reasons"][0]["tag"], "armhf-xenial");
    assert_eq!(told.messages(), "the tag promises linux/arm/v7 but the image config says linux/amd64");
    assert_eq!(told.json["previous"], registry.digest("ubuntu:xenial").expect("it was published"));
}

#[tokio::test]
async fn a_mismatch_may_be_left_out() {
    let registry = FakeRegistry::with_xenial().await;
    registry.push_image("ubuntu:arm64-xenial", "linux/arm64");
    registry.push_image("ubuntu:armhf-xenial", "linux/amd64");
    let told = publish(&registry, &["--on-mismatch", "skip"]).await.expect_pushed();
    assert_eq!(registry.platforms("ubuntu:xenial"), ["linux/amd64", "linux/arm64"]);
    assert_eq!(told.codes("note"), ["config-arch-mismatch"]);
}

#[tokio::test]
async fn a_word_that_is_no_architecture_of_go_is_refused_with_what_it_may_mean() {
    let registry = FakeRegistry::with_xenial().await;
    registry.push("ubuntu:armhf-xenial", &Image::new("linux/arm32v7"));
    let told = registry.expect_refusal("config-arch-mismatch", &[]).await;
    assert!(told.messages().ends_with("(did its builder mean linux/arm/v7?)"), "{}", told.messages());
}

#[tokio::test]
async fn a_config_without_architecture_or_system_is_refused() {
    for image in [
        Image::new("linux/arm64").without("architecture"),
        Image::new("linux/arm64").without("os"),
        Image::new("linux/arm64").set_config("architecture", json!("")),
        Image::new("windows/arm64").os_version("10.0.26100.1"),
        Image::new("linux/arm64").set_config("variant", json!("v9\u{1b}[31m")),
    ] {
        let registry = FakeRegistry::with_xenial().await;
        registry.push("ubuntu:arm64-xenial", &image);
        registry.expect_refusal("config-arch-mismatch", &[]).await;
    }
}

#[tokio::test]
async fn a_windows_image_is_published_with_its_version_under_a_windows_word() {
    let registry = FakeRegistry::with_xenial().await;
    let windows = Image::new("windows/amd64").os_version("10.0.20348.2700").os_features(&["win32k"]);
    registry.push("ubuntu:windows-amd64-xenial", &windows);
    publish(&registry, &[]).await.expect_pushed();
    let platform = &registry.json("ubuntu:xenial")["manifests"][1]["platform"];
    let expected = json!({
        "os": "windows", "architecture": "amd64", "os.version": "10.0.20348.2700", "os.features": ["win32k"],
    });
    assert_eq!(*platform, expected);
}

#[tokio::test]
async fn schema_1_charts_signatures_and_artifacts_are_no_images() {
    let chart = Image::new("linux/arm64").config_media_type("application/vnd.cncf.helm.config.v1+json").build();
    for (built, code) in [
        (image::schema1("arm64"), "unsupported-media-type"),
        (chart, "not-an-image"),
        (image::helm_chart(), "not-an-image"),
        (image::cosign_signature(&image::sha256(b"something")), "not-an-image"),
        (image::artifact("application/spdx+json"), "not-an-image"),
    ] {
        let registry = FakeRegistry::with_xenial().await;
        registry.push_built("ubuntu:arm64-xenial", &built);
        let told = registry.expect_refusal(code, &[]).await;
        assert_eq!(told.images()[1], "arm64-xenial unreadable linux/arm64");
    }
}

#[tokio::test]
async fn what_buildx_pushes_is_opened_and_its_attestation_carried_along() {
    let registry = FakeRegistry::with_xenial().await;
    let attested = registry.push_attested("ubuntu:arm64-xenial", "linux/arm64");
    let told = publish(&registry, &[]).await.expect_pushed();
    assert_eq!(registry.platforms("ubuntu:xenial"), ["linux/amd64", "linux/arm64", "unknown/unknown"]);
    let manifests = &registry.json("ubuntu:xenial")["manifests"];
    assert_eq!(manifests[1]["digest"], attested.image);
    assert_eq!(manifests[2], registry.json("ubuntu:arm64-xenial")["manifests"][1], "it is carried unchanged");
    assert_eq!(told.json["images"][1]["digest"], attested.index, "the tag stands for the index");

    registry.forget_requests();
    assert_eq!(publish(&registry, &[]).await.json["decision"], "unchanged");
    assert_eq!(registry.writes(), 0);
}

#[tokio::test]
async fn attestations_may_be_dropped_and_are_not_even_looked_for_then() {
    let registry = FakeRegistry::with_xenial().await;
    let attested = registry.push_attested("ubuntu:arm64-xenial", "linux/arm64");
    registry.delete_manifest(&attested.attestation);
    publish(&registry, &["--attestations", "drop"]).await.expect_pushed();
    assert_eq!(registry.platforms("ubuntu:xenial"), ["linux/amd64", "linux/arm64"]);
}

#[tokio::test]
async fn an_attestation_that_is_gone_holds() {
    let registry = FakeRegistry::with_xenial().await;
    let attested = registry.push_attested("ubuntu:arm64-xenial", "linux/arm64");
    registry.delete_manifest(&attested.attestation);
    registry.expect_refusal("attestation-missing", &[]).await;
}

#[tokio::test]
async fn an_attestation_about_another_image_is_dropped() {
    let registry = FakeRegistry::with_xenial().await;
    let attested = registry.push_attested("ubuntu:arm64-xenial", "linux/arm64");
    let other = image::sha256(b"another image");
    let text = registry.json("ubuntu:arm64-xenial").to_string();
    let about_it = format!(r#""vnd.docker.reference.digest":"{}""#, attested.image);
    let about_another = text.replace(&about_it, &format!(r#""vnd.docker.reference.digest":"{other}""#));
    assert_ne!(about_another, text);
    registry.put_manifest("ubuntu:arm64-xenial", OCI_INDEX, about_another);
    publish(&registry, &[]).await.expect_pushed();
    assert_eq!(registry.platforms("ubuntu:xenial"), ["linux/amd64", "linux/arm64"]);
}

#[tokio::test]
async fn an_attestation_is_never_carried_along_as_something_that_might_run() {
    let registry = FakeRegistry::with_xenial().await;
    let attested = registry.push_attested("ubuntu:arm64-xenial", "linux/arm64");
    // In truth it is an image, which clients take where an index has nothing else for them.
    let smuggled = registry.push_image("ubuntu:smuggled", "linux/riscv64");
    let mut entries = registry.json("ubuntu:arm64-xenial")["manifests"].as_array().expect("entries").clone();
    let mut attestation = registry.descriptor("ubuntu:smuggled");
    attestation["annotations"] = entries[1]["annotations"].clone();
    attestation.as_object_mut().expect("a descriptor").remove("platform");
    entries[1] = attestation;
    registry.put_manifest("ubuntu:arm64-xenial", OCI_INDEX, image::index(OCI_INDEX, &entries));
    publish(&registry, &[]).await.expect_pushed();
    assert_eq!(registry.platforms("ubuntu:xenial"), ["linux/amd64", "linux/arm64", "unknown/unknown"]);
    assert_eq!(registry.children("ubuntu:xenial")[1..], [attested.image, smuggled]);
}

#[tokio::test]
async fn an_image_inside_an_index_must_be_what_its_tag_says_too() {
    let registry = FakeRegistry::with_xenial().await;
    registry.push_attested("ubuntu:arm64-xenial", "linux/amd64");
    registry.expect_refusal("config-arch-mismatch", &[]).await;
}

#[tokio::test]
async fn an_index_must_hold_one_image_that_is_there_and_is_an_image() {
    let registry = FakeRegistry::with_xenial().await;
    registry.push_image("ubuntu:one", "linux/arm64");
    registry.push_image("ubuntu:two", "linux/arm/v7");

    registry.push_index("ubuntu:arm64-xenial", &["ubuntu:one", "ubuntu:two"]);
    let told = registry.expect_refusal("ambiguous-arch-tag", &[]).await;
    assert!(told.messages().contains("2 images (linux/arm64, linux/arm/v7)"), "{}", told.messages());

    registry.push_index("ubuntu:arm64-xenial", &[]);
    registry.expect_refusal("not-an-image", &[]).await;

    registry.push_index("ubuntu:inner", &["ubuntu:one"]);
    registry.push_index("ubuntu:arm64-xenial", &["ubuntu:inner"]);
    registry.expect_refusal("unsupported-media-type", &[]).await;

    let gone = registry.push_image("ubuntu:gone", "linux/arm64");
    registry.push_index("ubuntu:arm64-xenial", &["ubuntu:gone"]);
    registry.delete_manifest(&gone);
    registry.expect_refusal("content-missing", &[]).await;

    let mut wrong_size = registry.descriptor("ubuntu:one");
    wrong_size["size"] = json!(7);
    registry.put_manifest("ubuntu:arm64-xenial", OCI_INDEX, image::index(OCI_INDEX, &[wrong_size]));
    registry.expect_refusal("size-mismatch", &[]).await;

    let mut wrong_type = registry.descriptor("ubuntu:one");
    wrong_type["mediaType"] = json!(DOCKER_MANIFEST);
    registry.put_manifest("ubuntu:arm64-xenial", OCI_INDEX, image::index(OCI_INDEX, &[wrong_type]));
    registry.expect_refusal("ambiguous-manifest", &[]).await;
}

#[tokio::test]
async fn bytes_that_are_not_those_that_were_named_are_refused_after_a_second_try() {
    let registry = FakeRegistry::with_xenial().await;
    registry.push_image("ubuntu:arm64-xenial", "linux/arm64");
    registry.on(When::kind(Kind::GetManifest).tag("arm64-xenial"), Play::WrongBytes);
    registry.expect_refusal("digest-mismatch", &[]).await;
    let tries = registry.requests_of(Kind::GetManifest);
    let tries = tries.iter().filter(|it| it.reference.as_deref() == Some("arm64-xenial")).count();
    assert_eq!(tries, 2, "once more, and no more");

    registry.behave();
    registry.on(When::kind(Kind::GetManifest).tag("arm64-xenial").once(), Play::WrongBytes);
    publish(&registry, &[]).await.expect_pushed();
}

#[tokio::test]
async fn wrong_bytes_of_an_image_inside_an_index_or_of_a_config_are_refused() {
    let registry = FakeRegistry::with_xenial().await;
    let attested = registry.push_attested("ubuntu:arm64-xenial", "linux/arm64");
    registry.on(When::kind(Kind::GetManifest).tag(&attested.image), Play::WrongBytes);
    registry.expect_refusal("digest-mismatch", &[]).await;

    registry.behave();
    let image = registry.json(&format!("ubuntu@{}", attested.image));
    let config = image["config"]["digest"].as_str().expect("a config");
    registry.on(When::kind(Kind::Blob).tag(config), Play::WrongBytes);
    registry.expect_refusal("digest-mismatch", &[]).await;
}

#[tokio::test]
async fn a_config_that_is_shorter_longer_or_gone_is_refused() {
    let registry = FakeRegistry::with_xenial().await;
    let built = arm64();
    registry.push_built("ubuntu:arm64-xenial", &built);
    let config = image::sha256(&built.blobs[0]);
    for bytes in [built.blobs[0].slice(1..), Bytes::from([&built.blobs[0][..], b"\n"].concat())] {
        registry.put_blob_as("ubuntu", &config, bytes);
        registry.expect_refusal("size-mismatch", &[]).await;
    }
    registry.delete_blob("ubuntu", &config);
    registry.expect_refusal("content-missing", &[]).await;
}

#[tokio::test]
async fn a_config_of_many_bytes_is_read_no_further_than_it_should_go() {
    let registry = FakeRegistry::with_xenial().await;
    let built = arm64();
    registry.push_built("ubuntu:arm64-xenial", &built);
    registry.put_blob_as("ubuntu", &image::sha256(&built.blobs[0]), vec![b' '; 64 * 1024 * 1024]);
    registry.expect_refusal("size-mismatch", &[]).await;
}

#[tokio::test]
async fn more_than_any_image_needs_is_not_read() {
    let too_long = Image::new("linux/arm64").annotation("a", &"b".repeat(4 * 1024 * 1024)).build();
    let layers = vec![json!({ "mediaType": OCI_LAYER, "digest": image::sha256(b"x"), "size": 1 }); 5_000];
    let many_layers = Image::new("linux/arm64").set_manifest("layers", json!(layers)).build();
    let nested = "[".repeat(10_000) + &"]".repeat(10_000);
    let text = String::from_utf8(arm64().bytes.to_vec()).expect("text");
    let deep = Built::new(OCI_MANIFEST, text.replacen('{', &format!(r#"{{"deep":{nested},"#), 1), Vec::new());
    let config = format!(r#"{{"os":"linux","architecture":"arm64","deep":{nested}}}"#);
    let deep_config = Image::new("linux/arm64").config_bytes(config).build();
    for built in [too_long.clone(), many_layers, deep, deep_config] {
        let registry = FakeRegistry::with_xenial().await;
        registry.push_built("ubuntu:arm64-xenial", &built);
        registry.expect_refusal("too-large", &[]).await;
    }

    let registry = FakeRegistry::with_xenial().await;
    registry.push_built("ubuntu:inner", &too_long);
    registry.push_index("ubuntu:arm64-xenial", &["ubuntu:inner"]);
    registry.expect_refusal("too-large", &[]).await;
}

#[tokio::test]
async fn the_kind_of_a_manifest_is_what_header_and_body_agree_on() {
    let registry = FakeRegistry::with_xenial().await;
    registry.push_image("ubuntu:arm64-xenial", "linux/arm64");
    let says = |content_type: &str| {
        registry.behave();
        let when = When::kind(Kind::GetManifest).tag("arm64-xenial");
        registry.on(when, Play::ContentType(content_type.to_owned()));
    };
    says(DOCKER_MANIFEST);
    registry.expect_refusal("ambiguous-manifest", &[]).await;
    says(OCI_INDEX);
    registry.expect_refusal("ambiguous-manifest", &[]).await;
    for content_type in ["application/json", &format!("{OCI_MANIFEST}; charset=utf-8")] {
        says(content_type);
        assert_eq!(publish(&registry, &["--dry-run"]).await.json["decision"], "pushed", "{content_type}");
    }

    let silent = Image::new("linux/arm64").set_manifest("mediaType", Value::Null);
    registry.push("ubuntu:arm64-xenial", &silent);
    says("application/json");
    registry.expect_refusal("ambiguous-manifest", &[]).await;
}

#[tokio::test]
async fn documents_that_readers_understand_differently_are_refused() {
    let registry = FakeRegistry::with_xenial().await;
    let built = arm64();
    push_changed(&registry, &built, |text| text.replacen('{', r#"{"layers":[],"#, 1));
    registry.expect_refusal("ambiguous-manifest", &[]).await;
    push_changed(&registry, &built, |text| text.replacen('{', r#"{"Config":{},"#, 1));
    registry.expect_refusal("ambiguous-manifest", &[]).await;
    push_changed(&registry, &built, |text| text.replacen('{', r#"{"manifests":[],"#, 1));
    registry.expect_refusal("ambiguous-manifest", &[]).await;

    for config in [
        r#"{"os":"linux","architecture":"amd64","architecture":"arm64"}"#,
        r#"{"os":"linux","architecture":"arm64","Architecture":"amd64"}"#,
        r#"{"os":"linux","architecture":"arm64","o\u017f":"windows"}"#,
    ] {
        registry.push("ubuntu:arm64-xenial", &Image::new("linux/arm64").config_bytes(config));
        registry.expect_refusal("ambiguous-manifest", &[]).await;
    }
}

#[tokio::test]
async fn odd_numbers_and_digests_are_refused_and_never_asked_for() {
    let registry = FakeRegistry::with_xenial().await;
    let built = arm64();
    let config = image::sha256(&built.blobs[0]);
    let size = format!(r#""size":{}"#, built.blobs[0].len());
    for odd in ["-1", "1.5", "1e3", "9007199254740993", "99999999999999999999"] {
        push_changed(&registry, &built, |text| text.replace(&size, &format!(r#""size":{odd}"#)));
        registry.expect_refusal("malformed", &[]).await;
    }
    registry.forget_requests();
    for odd in [format!("sha512:{}", "ab".repeat(64)), config.to_uppercase(), "sha256:../../x".to_owned()] {
        push_changed(&registry, &built, |text| text.replace(&config, &odd));
        registry.expect_refusal("malformed", &[]).await;
    }
    let blobs = registry.requests_of(Kind::Blob);
    let asked = |it: &crate::support::Recorded| it.path.contains("..") || it.path.contains("sha512");
    assert!(!blobs.iter().any(asked), "{blobs:?}");

    registry.put_manifest("ubuntu:arm64-xenial", OCI_MANIFEST, "not JSON");
    registry.expect_refusal("malformed", &[]).await;
    registry.push("ubuntu:arm64-xenial", &Image::new("linux/arm64").config_bytes("not JSON"));
    registry.expect_refusal("malformed", &[]).await;
}

#[tokio::test]
async fn docker_and_oci_images_stand_together_in_an_oci_index_as_what_they_are() {
    let registry = FakeRegistry::start().await;
    registry.push("ubuntu:amd64-xenial", &Image::new("linux/amd64").docker());
    registry.push("ubuntu:arm64-xenial", &Image::new("linux/arm64"));
    let told = publish(&registry, &[]).await.expect_pushed();
    assert_eq!(told.json["media_type"], OCI_INDEX);
    let index = registry.json("ubuntu:xenial");
    let kinds = [&index["mediaType"], &index["manifests"][0]["mediaType"], &index["manifests"][1]["mediaType"]];
    assert_eq!(kinds, [OCI_INDEX, DOCKER_MANIFEST, OCI_MANIFEST]);
    registry.expect_refusal("index-type", &["--index-type", "docker"]).await;
}

#[tokio::test]
async fn a_registry_that_takes_no_oci_index_gets_a_docker_list_and_is_not_asked_twice() {
    for refusal in [RefuseOciIndex::UnsupportedMediaType, RefuseOciIndex::ManifestInvalid] {
        let registry = FakeRegistry::builder().refuse_oci_index(refusal).start().await;
        registry.push("ubuntu:amd64-xenial", &Image::new("linux/amd64").docker());
        registry.push("ubuntu:arm64-xenial", &Image::new("linux/arm64").docker());
        let told = publish(&registry, &["--also", "16.04", "--also", "lts"]).await.expect_pushed();
        assert_eq!(told.json["media_type"], DOCKER_LIST);
        assert_eq!(told.json["digest"], registry.digest("ubuntu:xenial").expect("it was published"));
        assert_eq!(registry.manifest("ubuntu:lts").expect("it was published").media_type, DOCKER_LIST);
        assert_eq!(registry.platforms("ubuntu:16.04"), ["linux/amd64", "linux/arm64"]);
        let types: Vec<String> = registry.written().iter().filter_map(|it| it.header("content-type")).collect();
        assert_eq!(types, [OCI_INDEX, DOCKER_LIST, DOCKER_LIST, DOCKER_LIST], "refused once, then remembered");

        registry.forget_requests();
        let told = publish(&registry, &["--also", "16.04", "--also", "lts"]).await;
        assert_eq!((told.ran.code, &told.json["decision"]), (0, &"unchanged".into()));
        assert_eq!(registry.writes(), 0, "an idle run writes nothing");
    }
}

#[tokio::test]
async fn a_registry_that_takes_no_oci_index_cannot_have_oci_images() {
    let registry = FakeRegistry::builder().refuse_oci_index(RefuseOciIndex::UnsupportedMediaType).start().await;
    registry.push_image("ubuntu:amd64-xenial", "linux/amd64");
    let told = publish(&registry, &[]).await;
    assert_eq!(told.ran.code, 5);
    assert_eq!(told.codes("hold"), ["index-refused"]);
    assert_eq!(registry.digest("ubuntu:xenial"), None);
    assert_eq!(registry.writes(), 1, "nothing else was tried");
}

#[tokio::test]
async fn text_of_images_and_registries_steers_no_terminal() {
    let registry = FakeRegistry::with_xenial().await;
    let escape = "\u{1b}[2J\u{1b}]0;owned\u{7}\u{202e}";
    let long = format!("{escape}{}", "x".repeat(1024 * 1024));
    let image = |platform: &str, value: &str| Image::new(platform).label("org.example.revision", value);
    registry.push("ubuntu:amd64-xenial", &image("linux/amd64", &long));
    registry.push("ubuntu:arm64-xenial", &image("linux/arm64", escape));
    let told = registry.expect_refusal("label-differs", &["--same", "org.example.revision"]).await;
    assert!(told.ran.stdout.len() < 4_000, "long values are cut");
    publish(&registry, &[]).await.expect_pushed();

    registry.push("ubuntu:arm64-xenial", &Image::new(&format!("linux/{escape}")));
    let repository = registry.repository("ubuntu");
    for output in ["json", "text"] {
        let options = ["publish", "-r", &repository, "--tag", "xenial", "--output", output];
        let ran = onetag(options).run().await.expect(6);
        assert!(crate::support::is_printable(&(ran.stdout.clone() + &ran.stderr)), "{}{}", ran.stdout, ran.stderr);
    }

    registry.on(When::kind(Kind::Tags), Play::error(403, &format!("DENIED{escape}"), &long[..9_000]));
    let told = publish(&registry, &[]).await;
    assert_eq!(told.ran.code, 4);
    assert!(told.ran.stderr.contains("owned"), "what the registry says is shown: {}", told.ran.stderr);
    assert!(told.ran.stderr.len() < 2_000, "and cut");
}

#[tokio::test]
async fn annotations_of_a_carried_image_are_escaped_where_they_are_shown() {
    let registry = FakeRegistry::with_xenial().await;
    registry.push_image("ubuntu:inner", "linux/arm64");
    let mut entry = registry.descriptor("ubuntu:inner");
    entry["annotations"] = json!({ "note": "\u{9b}31m\u{202e}café" });
    registry.put_manifest("ubuntu:arm64-xenial", OCI_INDEX, image::index(OCI_INDEX, &[entry]));
    let repository = registry.repository("ubuntu");
    let ran = onetag(["publish", "-r", &repository, "--tag", "xenial", "--dry-run"]).run().await.expect(0);
    assert!(crate::support::is_printable(&ran.stdout), "{}", ran.stdout);
    assert!(ran.stdout.contains(r#""note":"\u009b31m\u202ecafé""#), "{}", ran.stdout);
    publish(&registry, &[]).await.expect_pushed();
    assert_eq!(registry.json("ubuntu:xenial")["manifests"][1]["annotations"]["note"], "\u{9b}31m\u{202e}café");
}

#[tokio::test]
async fn layers_elsewhere_are_noted_and_never_fetched() {
    let registry = FakeRegistry::with_xenial().await;
    let mut layer = image::descriptor("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", b"layer");
    layer["urls"] = json!([registry.url("/elsewhere")]);
    registry.push("ubuntu:arm64-xenial", &Image::new("linux/arm64").set_manifest("layers", json!([layer])));
    let told = publish(&registry, &[]).await.expect_pushed();
    assert_eq!(told.codes("note"), ["foreign-layers"]);
    assert!(!registry.requests().iter().any(|it| it.path == "/elsewhere"));
}

#[tokio::test]
async fn layers_of_any_compression_make_an_image_and_are_not_read() {
    let registry = FakeRegistry::with_xenial().await;
    for media_type in [
        "application/vnd.oci.image.layer.v1.tar+zstd",
        "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    ] {
        let image = Image::new("linux/arm64").layer_media_type(media_type);
        registry.push("ubuntu:arm64-xenial", &image);
        registry.forget_requests();
        publish(&registry, &[]).await.expect_pushed();
        let configs = registry.requests_of(Kind::Blob).len();
        assert_eq!(configs, 2, "{media_type}: two configs and no layer");
    }
}
