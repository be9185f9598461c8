//! What a copy differs in, byte for byte.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::model::image::Effort;
use crate::model::index::OCI_MANIFEST;
use crate::model::{Claim, Original};

fn platform(text: &str) -> Platform {
    text.parse().expect("a platform")
}

fn manifest_of(config: &str) -> String {
    let digest = Digest::of(config.as_bytes());
    format!(
        r#"{{ "schemaVersion": 2,  "config": {{"size":{}, "digest": "{digest}","mediaType":"x"}},"layers":[{{"digest":"{digest}","size":1}}] }}"#,
        config.len()
    )
}

fn image(manifest: &str, config: &str) -> Image {
    let original = Original {
        manifest: Bytes::from(manifest.to_owned()),
        config: Bytes::from(config.to_owned()),
        vouchers: Vec::new(),
    };
    let digest = Digest::of(manifest.as_bytes());
    Image {
        manifest: Descriptor::new(OCI_MANIFEST.to_owned(), digest, manifest.len() as u64),
        claim: Claim { os: Some("linux".to_owned()), ..Claim::default() },
        attestations: Vec::new(),
        has_foreign_layers: false,
        evidence: None,
        effort: Effort::default(),
        original: Some(Arc::new(original)),
    }
}

/// The config of the copy for `platform`, or why there is none.
fn config(config: &str, target: &str) -> String {
    match rewrite(&image(&manifest_of(config), config), &platform(target)) {
        Ok(rewritten) => String::from_utf8_lossy(&rewritten.config).into_owned(),
        Err(why) => format!("no: {why}"),
    }
}

#[test]
fn the_config_differs_in_architecture_and_variant_only() {
    for (before, target, after) in [
        (r#"{"architecture":"amd64","os":"linux"}"#, "linux/arm64", r#"{"architecture":"arm64","os":"linux"}"#),
        (
            "{\n   \"os\": \"linux\",\n   \"architecture\" : \"amd64\" ,\n   \"z\": 1.50, \"a\": \"\\u00e9\"\n}\n",
            "linux/arm/v7",
            "{\n   \"os\": \"linux\",\n   \"architecture\" : \"arm\",\"variant\":\"v7\" ,\n   \"z\": 1.50, \"a\": \"\\u00e9\"\n}\n",
        ),
        (r#"{"variant":"v3","architecture":"amd64"}"#, "linux/arm/v5", r#"{"variant":"v5","architecture":"arm"}"#),
        (r#"{"variant": null,"architecture":"amd64"}"#, "linux/arm/v5", r#"{"variant": "v5","architecture":"arm"}"#),
        (r#"{"architecture":"arm","variant":"v7"}"#, "linux/arm64", r#"{"architecture":"arm64"}"#),
        (r#"{ "variant" : "v7" , "architecture":"arm"}"#, "linux/arm64", r#"{ "architecture":"arm64"}"#),
        (
            r#"{"os":"linux" , "variant":"v7","architecture":"arm"}"#,
            "linux/arm64",
            r#"{"os":"linux" ,"architecture":"arm64"}"#,
        ),
        (
            r#"{"config":{"architecture":"mine","Labels":{"variant":"x"}},"architecture":"amd64"}"#,
            "linux/s390x",
            r#"{"config":{"architecture":"mine","Labels":{"variant":"x"}},"architecture":"s390x"}"#,
        ),
    ] {
        assert_eq!(config(before, target), after, "{before} for {target}");
    }
}

#[test]
fn the_manifest_differs_in_the_configs_digest_and_size_only() {
    let config = r#"{"architecture":"amd64","os":"linux"}"#;
    let manifest = manifest_of(config);
    let image = image(&manifest, config);
    let rewritten = rewrite(&image, &platform("linux/arm/v7")).expect("a copy");

    let expected = manifest
        .replacen(Digest::of(config.as_bytes()).as_str(), Digest::of(&rewritten.config).as_str(), 1)
        .replacen("37", &rewritten.config.len().to_string(), 1);
    assert_eq!(String::from_utf8_lossy(&rewritten.manifest), expected);
    assert_eq!(rewritten.config_digest, Digest::of(&rewritten.config));
    assert_eq!(rewritten.descriptor.digest, Digest::of(&rewritten.manifest));
    assert_eq!(rewritten.descriptor.size, rewritten.manifest.len() as u64);
    assert_eq!(rewritten.descriptor.media_type, image.manifest.media_type);
    assert_eq!(rewritten.of, image.manifest.digest);
    assert_eq!(super::rewritten(&image, &platform("linux/arm/v7")), Some(rewritten.descriptor.digest));
}

#[test]
fn what_cannot_be_edited_safely_is_left_alone() {
    insta::assert_snapshot!(config("[]", "linux/arm64"), @"no: it is not a JSON object");
    insta::assert_snapshot!(config(r#"{"os":"linux"}"#, "linux/arm64"), @"no: its config has no `architecture` that could be changed");
    insta::assert_snapshot!(config(r#"{"architecture":"amd64"}"#, "windows/amd64"), @"no: its config does not say that it is for windows");
    insta::assert_snapshot!(config(r#"{"v\u0061riant":"v7","architecture":"arm"}"#, "linux/arm64"), @"no: its `variant` is written in a way that cannot be edited safely");

    let text = r#"{"architecture":"amd64","os":"linux"}"#;
    let embedding = manifest_of(text).replace(r#""mediaType":"x""#, r#""data":"e30=""#);
    let why = |image: &Image| rewrite(image, &platform("linux/arm64")).expect_err("no copy");
    insta::assert_snapshot!(why(&image(&embedding, text)), @"its manifest holds the config itself as well");
    let mut signed = image(&manifest_of(text), text);
    let vouchers = vec!["the signature `sha256-ab.sig`".to_owned()];
    signed.original = signed.original.map(|original| Arc::new(Original { vouchers, ..(*original).clone() }));
    insta::assert_snapshot!(why(&signed), @"the signature `sha256-ab.sig` vouches for this very image and would not for a copy");
    signed.original = None;
    insta::assert_snapshot!(why(&signed), @"its manifest and config were not kept");
}

proptest! {
    /// Whatever stands around them, only the two keys change, and every other byte stays.
    #[test]
    fn every_other_byte_stays(
        before in "[ \n]{0,3}",
        after in "[ \n]{0,3}",
        other in "[a-z\\PC]{0,12}",
        has_variant: bool,
        is_first: bool,
        target in prop_oneof![Just("linux/arm/v7"), Just("linux/arm64"), Just("linux/s390x")],
    ) {
        let pair = |key: &str, value: &str| format!("{before}{}{after}:{before}{}{after}", quoted(key), quoted(value));
        let other = pair("x", &other);
        let variant = if has_variant { format!("{},", pair("variant", "v9")) } else { String::new() };
        let architecture = pair("architecture", "amd64");
        let text = match is_first {
            true => format!("{{{variant}{architecture},{other}}}"),
            false => format!("{{{other},{variant}{architecture}}}"),
        };
        let changed = config(&text, target);
        let target = platform(target);
        let mut expected: Value = serde_json::from_str(&text).expect("JSON");
        expected["architecture"] = json!(target.architecture());
        match target.variant() {
            Some(variant) => expected["variant"] = json!(variant),
            None => drop(expected.as_object_mut().expect("an object").remove("variant")),
        }
        prop_assert_eq!(serde_json::from_str::<Value>(&changed).expect("JSON"), expected);
        prop_assert!(changed.contains(&other), "{} lost {}", changed, other);
        prop_assert_eq!(config(&changed, "linux/mips"), config(&config(&text, "linux/mips"), "linux/mips"));
    }

    #[test]
    fn no_bytes_make_it_panic(manifest in "\\PC{0,80}", config in "\\PC{0,80}") {
        let _ = rewrite(&image(&manifest, &config), &platform("linux/arm/v7"));
    }
}
