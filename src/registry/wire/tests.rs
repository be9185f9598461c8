//! Documents as registries send them, written by hand, and what is read in them.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::model::{Digest, Platform};

const SCHEMA_1: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";

fn descriptor(media_type: &str, content: &str) -> Value {
    json!({ "mediaType": media_type, "digest": Digest::of(content.as_bytes()), "size": content.len() })
}

/// An OCI image manifest with one layer.
fn image() -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(IMAGE_CONFIGS[0], "config"),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar+gzip", "layer")],
    })
}

/// An OCI index of one image.
fn index() -> Value {
    let mut entry = descriptor(OCI_MANIFEST, "image");
    entry["platform"] = json!({ "os": "linux", "architecture": "arm", "variant": "v7" });
    json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry] })
}

/// The same document with `key` set, or taken away by `null`.
fn set(mut document: Value, key: &str, value: Value) -> Value {
    let object = document.as_object_mut().expect("an object");
    match value {
        Value::Null => drop(object.remove(key)),
        value => drop(object.insert(key.to_owned(), value)),
    }
    document
}

/// What a document is read as, in one line.
fn read(content_type: Option<&str>, document: &Value) -> String {
    told(read_manifest(content_type, document.to_string().as_bytes()))
}

fn told(read: Result<(String, Document), Unfit>) -> String {
    match read {
        Ok((_, Document::Image { has_foreign_layers: true, .. })) => "an image with foreign layers".to_owned(),
        Ok((_, Document::Image { .. })) => "an image".to_owned(),
        Ok((_, Document::Index { manifests })) => format!("an index of {}", manifests.len()),
        Err(unfit) => format!("{unfit:?}"),
    }
}

#[test]
fn images_and_indexes_are_known_by_header_or_by_what_they_call_themselves() {
    for (header, document, expected) in [
        (Some(OCI_MANIFEST), image(), "an image"),
        (Some(OCI_INDEX), index(), "an index of 1"),
        (Some("application/vnd.oci.image.manifest.v1+json; charset=utf-8"), image(), "an image"),
        (Some("Application/Vnd.OCI.Image.Manifest.v1+JSON"), image(), "an image"),
        (Some(OCI_MANIFEST), set(image(), "mediaType", Value::Null), "an image"),
        (Some("application/json"), image(), "an image"),
        (Some("application/json; charset=utf-8"), index(), "an index of 1"),
        (Some("text/plain"), image(), "an image"),
        (Some(""), image(), "an image"),
        (None, index(), "an index of 1"),
        (Some(OCI_INDEX), set(index(), "manifests", json!([])), "an index of 0"),
        (Some(OCI_INDEX), set(index(), "manifests", Value::Null), "an index of 0"),
        (Some(OCI_MANIFEST), set(image(), "layers", json!([])), "an image"),
        (Some(OCI_MANIFEST), set(image(), "artifactType", json!(IMAGE_CONFIGS[0])), "an image"),
    ] {
        assert_eq!(read(header, &document), expected, "{header:?} {document}");
    }
}

#[test]
fn docker_documents_are_read_alike() {
    let image = json!({
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": descriptor(IMAGE_CONFIGS[1], "config"),
        "layers": [descriptor("application/vnd.docker.image.rootfs.diff.tar.gzip", "layer")],
    });
    assert_eq!(read(Some(DOCKER_MANIFEST), &image), "an image");
    let list = set(index(), "mediaType", json!(DOCKER_LIST));
    assert_eq!(read(Some(DOCKER_LIST), &list), "an index of 1");
}

#[test]
fn header_and_body_must_agree_and_one_of_them_must_speak() {
    insta::assert_snapshot!(
        [
            read(Some(OCI_INDEX), &image()),
            read(Some(DOCKER_MANIFEST), &image()),
            read(Some("application/octet-stream"), &image()),
            read(Some("application/json"), &set(image(), "mediaType", Value::Null)),
            read(None, &set(index(), "mediaType", Value::Null)),
        ].join("\n"), @r#"
    AmbiguousManifest("the registry sends it as `application/vnd.oci.image.index.v1+json`, it calls itself `application/vnd.oci.image.manifest.v1+json`")
    AmbiguousManifest("the registry sends it as `application/vnd.docker.distribution.manifest.v2+json`, it calls itself `application/vnd.oci.image.manifest.v1+json`")
    AmbiguousManifest("the registry sends it as `application/octet-stream`, it calls itself `application/vnd.oci.image.manifest.v1+json`")
    AmbiguousManifest("neither the registry nor it itself says what it is")
    AmbiguousManifest("neither the registry nor it itself says what it is")
    "#);
}

#[test]
fn a_document_with_the_keys_of_two_kinds_is_refused() {
    insta::assert_snapshot!(
        [
            read(Some(OCI_INDEX), &set(index(), "layers", json!([]))),
            read(Some(OCI_INDEX), &set(index(), "config", descriptor(IMAGE_CONFIGS[0], "config"))),
            read(Some(OCI_MANIFEST), &set(image(), "manifests", json!([]))),
        ].join("\n"), @r#"
    AmbiguousManifest("it is an index that has an image's keys, too")
    AmbiguousManifest("it is an index that has an image's keys, too")
    AmbiguousManifest("it is an image that has an index's keys, too")
    "#);
}

#[test]
fn schemas_of_other_times_are_refused() {
    let schema_1 = json!({ "schemaVersion": 1, "fsLayers": [], "history": [] });
    insta::assert_snapshot!(
        [
            read(Some(SCHEMA_1), &schema_1),
            read(None, &schema_1),
            read(Some(OCI_MANIFEST), &set(image(), "schemaVersion", json!(1))),
            read(Some(OCI_MANIFEST), &set(image(), "schemaVersion", json!(3))),
            read(Some(OCI_MANIFEST), &set(image(), "schemaVersion", json!("2"))),
            read(Some("application/vnd.example.thing"), &set(image(), "mediaType", Value::Null)),
        ].join("\n"), @r#"
    UnsupportedMediaType("a Docker image of schema 1")
    UnsupportedMediaType("a Docker image of schema 1")
    UnsupportedMediaType("a Docker image of schema 1")
    UnsupportedMediaType("a manifest of schema 3")
    Malformed("invalid type: string \"2\", expected u64 at line 1 column 398")
    UnsupportedMediaType("a manifest of type `application/vnd.example.thing`")
    "#);
}

#[test]
fn artifacts_are_no_images_however_much_they_look_like_one() {
    let config = |media_type: &str| set(image(), "config", descriptor(media_type, "{}"));
    let layer = |media_type: &str| set(image(), "layers", json!([descriptor(media_type, "x")]));
    insta::assert_snapshot!(
        [
            read(Some(OCI_MANIFEST), &config("application/vnd.cncf.helm.config.v1+json")),
            read(Some(OCI_MANIFEST), &config("application/vnd.oci.empty.v1+json")),
            read(Some(OCI_MANIFEST), &layer("application/vnd.dev.cosign.simplesigning.v1+json")),
            read(Some(OCI_MANIFEST), &layer("application/vnd.in-toto+json")),
            read(Some(OCI_MANIFEST), &set(image(), "artifactType", json!("application/spdx+json\u{1b}[31m"))),
            read(Some(OCI_INDEX), &set(index(), "artifactType", json!("application/x"))),
        ].join("\n"), @r#"
    NotAnImage("an artifact with a config of type `application/vnd.cncf.helm.config.v1+json`")
    NotAnImage("an artifact with a config of type `application/vnd.oci.empty.v1+json`")
    NotAnImage("an artifact with a layer of type `application/vnd.dev.cosign.simplesigning.v1+json`")
    NotAnImage("an artifact with a layer of type `application/vnd.in-toto+json`")
    NotAnImage("an artifact of type `application/spdx+json [31m`")
    NotAnImage("an artifact of type `application/x`")
    "#);
}

#[test]
fn layers_of_all_kinds_make_an_image() {
    for media_type in [
        "application/vnd.oci.image.layer.v1.tar",
        "application/vnd.oci.image.layer.v1.tar+zstd",
        "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
    ] {
        let layers = json!([descriptor(media_type, "x")]);
        assert_eq!(read(Some(OCI_MANIFEST), &set(image(), "layers", layers)), "an image", "{media_type}");
    }
    let mut foreign = descriptor("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "x");
    foreign["urls"] = json!(["https://example.com/layer"]);
    assert_eq!(read(Some(OCI_MANIFEST), &set(image(), "layers", json!([foreign]))), "an image with foreign layers");
}

#[test]
fn sizes_are_whole_and_not_negative_wherever_they_stand() {
    let text = image().to_string();
    for (what, from) in [("a config", r#""size":6"#), ("a layer", r#""size":5"#)] {
        for size in ["-1", "6.0", "1e3", "9007199254740993", "99999999999999999999", "\"6\"", "null"] {
            let odd = text.replace(from, &format!(r#""size":{size}"#));
            assert_ne!(odd, text);
            let found = told(read_manifest(Some(OCI_MANIFEST), odd.as_bytes()));
            assert!(found.starts_with("Malformed("), "{what} of size {size}: {found}");
        }
    }
}

#[test]
fn digests_that_cannot_be_checked_are_refused_before_anything_is_asked_for() {
    let hex = "0123456789abcdef".repeat(8);
    for digest in [
        format!("sha512:{hex}"),
        format!("md5:{}", &hex[..32]),
        format!("sha256:{}", hex[..64].to_uppercase()),
        format!("sha256:{}", &hex[..63]),
        format!("sha256:../{}", &hex[..61]),
        String::new(),
    ] {
        let mut config = image()["config"].clone();
        config["digest"] = json!(digest);
        let found = read(Some(OCI_MANIFEST), &set(image(), "config", config));
        assert!(found.starts_with("Malformed("), "{digest}: {found}");
        let mut entry = index()["manifests"][0].clone();
        entry["digest"] = json!(digest);
        let found = read(Some(OCI_INDEX), &set(index(), "manifests", json!([entry])));
        assert!(found.starts_with("Malformed("), "{digest}: {found}");
    }
}

#[test]
fn more_than_any_image_has_is_too_large() {
    let layers = vec![descriptor("application/vnd.oci.image.layer.v1.tar", "x"); 5_000];
    let entries = vec![index()["manifests"][0].clone(); 257];
    let mut config = image()["config"].clone();
    config["size"] = json!(8 * 1024 * 1024 + 1);
    let deep = format!(r#"{{"mediaType":"{OCI_MANIFEST}","a":{}1{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    insta::assert_snapshot!(
        [
            read(Some(OCI_MANIFEST), &set(image(), "layers", json!(layers))),
            read(Some(OCI_INDEX), &set(index(), "manifests", json!(entries))),
            read(Some(OCI_MANIFEST), &set(image(), "config", config)),
            told(read_manifest(Some(OCI_MANIFEST), deep.as_bytes())),
        ].join("\n"), @r#"
    TooLarge("an image of 5000 layers; at most 512 are read")
    TooLarge("an index of 257 entries; at most 256 are read")
    TooLarge("a config of 8388609 bytes; at most 8388608 are read")
    TooLarge("it is nested more than 32 levels deep")
    "#);
}

#[test]
fn an_image_without_a_config_is_malformed() {
    insta::assert_snapshot!(
        read(Some(OCI_MANIFEST), &set(image(), "config", Value::Null)),
        @r#"Malformed("the image manifest names no config")"#
    );
}

#[test]
fn keys_that_stand_twice_or_in_other_letters_are_refused() {
    let twice = image().to_string().replacen('{', r#"{"layers":[],"#, 1);
    let nested = index().to_string().replace(r#""os":"#, r#""os":"windows","os":"#);
    let other = image().to_string().replacen('{', r#"{"Config":{},"#, 1);
    insta::assert_snapshot!(
        [twice, nested, other].map(|text| told(read_manifest(None, text.as_bytes()))).join("\n"), @r#"
    AmbiguousManifest("the key `layers` stands twice in one object")
    AmbiguousManifest("the key `os` stands twice in one object")
    AmbiguousManifest("the key `Config` is `config` to some readers and unknown to others")
    "#);
}

#[test]
fn an_attestation_is_known_by_its_annotation_and_by_having_no_platform() {
    let entry = |platform: Value, kind: &str| {
        let mut entry = descriptor(OCI_MANIFEST, "attestation");
        entry["platform"] = platform;
        entry["annotations"] = json!({ "vnd.docker.reference.type": kind, "vnd.docker.reference.digest": "sha256:x" });
        serde_json::from_value::<Descriptor>(entry).expect("a descriptor")
    };
    let unknown = json!({ "os": "unknown", "architecture": "unknown" });
    assert!(is_attestation(&entry(unknown.clone(), "attestation-manifest")));
    assert!(is_attestation(&entry(Value::Null, "attestation-manifest")));
    assert!(!is_attestation(&entry(unknown.clone(), "something-else")));
    let arm = json!({ "os": "linux", "architecture": "arm64" });
    assert!(!is_attestation(&entry(arm, "attestation-manifest")), "an image is not hidden by an annotation");
    assert_eq!(attested(&entry(unknown, "attestation-manifest")), Some("sha256:x"));
}

#[test]
fn a_config_claims_what_it_says_and_no_more() {
    let config = json!({
        "os": "windows", "architecture": "amd64", "variant": "", "os.version": "10.0.20348.2700",
        "os.features": ["win32k"],
        "config": { "Labels": { "version": "1", "OS": "x", "odd": 7 } },
        "rootfs": { "type": "layers", "diff_ids": [] },
    });
    let claim = read_claim(config.to_string().as_bytes()).expect("a config");
    assert_eq!(claim.os.as_deref(), Some("windows"));
    assert_eq!(claim.variant, None, "an empty word is no word");
    assert_eq!(claim.os_version.as_deref(), Some("10.0.20348.2700"));
    assert_eq!(claim.os_features, ["win32k"]);
    let labels: Vec<&str> = claim.labels.keys().map(String::as_str).collect();
    assert_eq!(labels, ["OS", "version"]);
    assert_eq!(read_claim(b"{}"), Ok(Claim::default()));
    assert_eq!(read_claim(br#"{"config":null,"os.features":null}"#), Ok(Claim::default()));
}

#[test]
fn a_config_that_readers_understand_differently_is_refused() {
    let deep = format!(r#"{{"a":{}1{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    let claims = [
        r#"{"os":"linux","architecture":"arm","architecture":"amd64"}"#,
        r#"{"os":"linux","Architecture":"amd64"}"#,
        r#"{"os":7}"#,
        "[]",
        "",
        &deep,
    ];
    insta::assert_snapshot!(claims.map(|text| format!("{:?}", read_claim(text.as_bytes()).expect_err(text))).join("\n"), @r#"
    AmbiguousManifest("in its config, the key `architecture` stands twice in one object")
    AmbiguousManifest("in its config, the key `Architecture` is `architecture` to some readers and unknown to others")
    Malformed("in its config, invalid type: integer `7`, expected a string at line 1 column 7")
    Malformed("its config is not a JSON object")
    Malformed("its config is not JSON: EOF while parsing a value at line 1 column 0")
    TooLarge("its config is nested more than 32 levels deep")
    "#);
}

#[test]
fn what_is_published_is_never_an_error() {
    let published = |document: &Value| read_published(None, document.to_string().as_bytes());
    assert_eq!(published(&image()), Content::Image);
    let arm: Platform = "linux/arm/v7".parse().expect("a platform");
    let child = Child { digest: Digest::of(b"image"), platform: Some(arm), is_image: true };
    assert_eq!(published(&index()), Content::Index(vec![child]));

    let mut unknown = index();
    unknown["manifests"][0]["platform"] = json!({ "os": "unknown", "architecture": "unknown" });
    let child = Child { digest: Digest::of(b"image"), platform: None, is_image: true };
    assert_eq!(published(&unknown), Content::Index(vec![child]), "unknown is no platform");
    unknown["manifests"][0]["annotations"] = json!({ "vnd.docker.reference.type": "attestation-manifest" });
    assert_eq!(published(&unknown), Content::Index(Vec::new()), "an attestation is no image");

    let mut nested = index();
    nested["manifests"][0]["mediaType"] = json!(OCI_INDEX);
    assert!(matches!(published(&nested), Content::Index(children) if !children[0].is_image));

    let others = [json!({ "schemaVersion": 1, "fsLayers": [] }), set(image(), "artifactType", json!("x")), json!([])];
    insta::assert_snapshot!(others.map(|other| format!("{:?}", published(&other))).join("\n"), @r#"
    Other("a Docker image of schema 1")
    Other("an artifact of type `x`")
    Other("a manifest that cannot be read")
    "#);
}

/// Documents that are nearly right: one value somewhere is another, or one byte is.
fn nearly_right() -> impl Strategy<Value = Vec<u8>> {
    let value = prop_oneof![
        Just(json!(null)),
        Just(json!(-1)),
        Just(json!("")),
        Just(json!([])),
        Just(json!({})),
        Just(json!([{}])),
        any::<u64>().prop_map(|number| json!(number)),
        "\\PC{0,8}".prop_map(|text| json!(text)),
    ];
    let key = proptest::sample::select(vec![
        "schemaVersion",
        "mediaType",
        "artifactType",
        "config",
        "layers",
        "manifests",
        "annotations",
        "fsLayers",
        "subject",
        "architecture",
        "os",
        "os.features",
        "variant",
    ]);
    (any::<bool>(), key, value, proptest::option::of((any::<prop::sample::Index>(), any::<u8>()))).prop_map(
        |(is_index, key, value, flip)| {
            let document = set(if is_index { index() } else { image() }, key, value);
            let mut bytes = document.to_string().into_bytes();
            if let Some((at, byte)) = flip {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes
        },
    )
}

proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic_and_all_are_read_alike_twice(
        bytes in prop_oneof![proptest::collection::vec(any::<u8>(), 0..200), nearly_right()],
        content_type in proptest::option::of(proptest::sample::select(vec![
            OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST, "application/json", SCHEMA_1, ";", "\u{0}",
        ])),
    ) {
        let first = read_manifest(content_type, &bytes);
        prop_assert_eq!(&first, &read_manifest(content_type, &bytes));
        prop_assert_eq!(read_published(content_type, &bytes), read_published(content_type, &bytes));
        prop_assert_eq!(read_claim(&bytes), read_claim(&bytes));
        if let Err(unfit) = first {
            let shown = format!("{unfit:?}");
            prop_assert!(shown.len() < 1_000 && !shown.contains('\u{1b}'), "{shown}");
        }
    }
}
