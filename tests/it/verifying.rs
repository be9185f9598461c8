//! `onetag verify`: single images, and every right and wrong pairing of real programs.

use std::path::Path;

use onetag::look::{Lookout, Scope};
use onetag::model::{Dialect, Evidence, Found, Host, Pattern, Platform, Proof, Repository, Words};
use onetag::plan::{Policy, Verify};
use onetag::registry::{Access, Registry, Settings};
use serde_json::Value;

use crate::support::image::{OCI_INDEX, index};
use crate::support::{
    FakeRegistry, Image, Kind, Layer, NINE, Play, Ran, RealRegistry, When, debian, onetag, starting_busybox,
};

async fn verify(images: &[&str], options: &[&str]) -> Ran {
    onetag(["verify"].iter().chain(images).chain(options).copied()).run().await
}

async fn verify_json(image: &str, options: &[&str], code: i32) -> Value {
    let ran = onetag(["verify", image, "--output", "json"].iter().chain(options).copied()).run().await.expect(code);
    ran.json()
}

/// What the files of the image under this tag prove.
async fn evidence(registry: &FakeRegistry, tag: &str) -> Evidence {
    let host: Host = registry.host().parse().expect("a host");
    let settings = Settings { plain_http: true, ..Settings::new(Access::Read) };
    let client = Registry::new(&host, settings).expect("a registry");
    let repository: Repository = registry.repository("ubuntu").parse().expect("a repository");
    let policy = Policy { verify: Verify::Entrypoint, ..Policy::default() };
    let lookout = Lookout::new(repository, Pattern::default(), Words::of(Dialect::Debian), Scope::of(&policy));
    let found = lookout.images(&client, tag).await.expect("the registry answers").swap_remove(0).found;
    let Found::Image(image) = found else { panic!("{tag} is no image: {found:?}") };
    image.evidence.expect("its files were read")
}

/// Every right and every wrong pairing of the programs that `start` gives, by Debian's words; those
/// that are not told apart are named.
async fn pairings(words: &[&str], start: impl Fn(&str) -> Image) -> Vec<String> {
    let registry = FakeRegistry::start().await;
    let mut odd = Vec::new();
    for word in words {
        registry.push(&format!("ubuntu:{word}-xenial"), &start(word));
        let evidence = evidence(&registry, &format!("{word}-xenial")).await;
        for (other, platform) in &NINE {
            let platform: Platform = platform.parse().expect("a platform");
            match (evidence.judge(&platform), word == other) {
                (Proof::Match, true) | (Proof::Mismatch(_), false) => {}
                (proof, _) => odd.push(format!("{word} for {other}: {proof:?}")),
            }
        }
    }
    odd
}

/// An image of one layer as it is, which spares the test from packing it.
fn uncompressed(layer: Layer) -> Image {
    Image::new("linux/amd64").layers(vec![layer.plain()]).layer_media_type("application/vnd.oci.image.layer.v1.tar")
}

fn all() -> Vec<&'static str> {
    NINE.iter().map(|(word, _)| *word).collect()
}

#[tokio::test]
async fn static_programs_of_nine_architectures_are_told_apart() {
    let image = |word: &str| starting_busybox("linux/amd64", word);
    assert_eq!(pairings(&all(), image).await, Vec::<String>::new());
}

/// Debian's `dash`, with the loader that it names.
#[tokio::test]
async fn dynamic_programs_of_nine_architectures_are_told_apart() {
    let image =
        |word: &str| uncompressed(Layer::new().debian(word, "bin/dash").link("bin/sh", "dash").debian_loader(word));
    assert_eq!(pairings(&all(), image).await, Vec::<String>::new());
}

/// Go's programs state no float ABI: what was built for v5 runs where v7 is promised, too.
#[tokio::test]
async fn programs_written_in_go_are_told_apart_as_far_as_they_say() {
    let image = |word: &str| {
        let layer = Layer::new().file("app", debian(word, "usr/sbin/gosu"));
        uncompressed(layer).entrypoint(&["/app"])
    };
    assert_eq!(pairings(&all(), image).await, ["armel for armhf: Match"]);
}

#[tokio::test]
async fn programs_written_in_rust_are_told_apart() {
    let image = |word: &str| {
        let layer = Layer::new().debian(word, "usr/bin/rg").debian_loader(word);
        uncompressed(layer).entrypoint(&["rg"])
    };
    let words = ["amd64", "arm64", "armhf", "armel", "i386", "ppc64el", "s390x"];
    assert_eq!(pairings(&words, image).await, Vec::<String>::new());
}

/// Rust as for an empty image; compiled here, so for one architecture only.
#[tokio::test]
async fn a_static_program_written_in_rust_is_told_apart() {
    let image = |word: &str| uncompressed(Layer::new().file("app", debian(word, "rust-static"))).entrypoint(&["/app"]);
    assert_eq!(pairings(&["amd64"], image).await, Vec::<String>::new());
}

#[tokio::test]
async fn programs_linked_with_musl_are_told_apart() {
    for kind in ["static", "static-pie"] {
        let image = |word: &str| {
            uncompressed(Layer::new().file("app", debian(word, &format!("musl-{kind}")))).entrypoint(&["/app"])
        };
        assert_eq!(pairings(&all(), image).await, Vec::<String>::new(), "{kind}");
    }
}

/// With musl itself, which loads them and is a program, too.
#[tokio::test]
async fn dynamic_programs_linked_with_musl_are_told_apart() {
    let image = |word: &str| {
        let layer = Layer::new().file("app", debian(word, "musl-dynamic")).debian(word, &musl(word));
        uncompressed(layer).entrypoint(&["/app"])
    };
    assert_eq!(pairings(&all(), image).await, Vec::<String>::new());
}

/// Where programs linked with musl look for it, which loads them: `lib/ld-musl-armhf.so.1`.
fn musl(word: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/binaries").join(word).join("lib");
    let mut names =
        std::fs::read_dir(folder).expect("run `tests/binaries` first").map(|entry| entry.map(|e| e.file_name()));
    let name = names.find_map(|name| name.ok()?.into_string().ok().filter(|name| name.starts_with("ld-musl-")));
    format!("lib/{}", name.expect("musl is there"))
}

#[tokio::test]
async fn an_image_is_held_against_the_word_in_its_tag() {
    let registry = FakeRegistry::start().await;
    registry.push("ubuntu:armhf-xenial", &starting_busybox("linux/arm/v7", "armhf"));
    registry.push("ubuntu:armel-xenial", &starting_busybox("linux/arm/v5", "armhf"));
    registry.push("ubuntu:s390x-xenial", &starting_busybox("linux/amd64", "s390x"));
    let image = |tag: &str| format!("{}:{tag}", registry.repository("ubuntu"));

    let told = verify_json(&image("armhf-xenial"), &[], 0).await;
    assert_eq!((&told["verdict"], &told["image"]), (&"verified".into(), &image("armhf-xenial").into()));
    let line = &told["images"][0];
    assert_eq!(
        (&line["tag"], &line["arch"], &line["platform"]),
        (&"armhf-xenial".into(), &"armhf".into(), &"linux/arm/v7".into())
    );
    assert!(line["bytes_read"].as_u64().expect("a number") > 0, "{told:#}");
    assert_eq!(line["digest"], registry.digest("ubuntu:armhf-xenial").expect("it is there"));

    let told = verify_json(&image("armel-xenial"), &[], 6).await;
    assert_eq!(
        (&told["verdict"], &told["images"][0]["reasons"][0]["code"]),
        (&"mismatch".into(), &"elf-mismatch".into())
    );
    let told = verify_json(&image("s390x-xenial"), &[], 6).await;
    assert_eq!(told["images"][0]["reasons"][0]["code"], "config-arch-mismatch");

    verify(&[&image("armel-xenial")], &["--verify", "config"]).await.expect(0);
    verify(&[&image("armhf-xenial")], &["--names", "alpine"]).await.expect(6);
    let ran = verify(&[&image("armhf-xenial"), &image("armel-xenial")], &[]).await.expect(6);
    assert_eq!(ran.stdout.lines().count(), 2, "{}", ran.stdout);
    let mut lines = ran.stdout.lines();
    assert!(lines.next().expect("a line").ends_with("  verified"), "{}", ran.stdout);
    assert!(lines.next().expect("a line").contains("/bin/busybox is ELF 32-bit ARM"), "{}", ran.stdout);
    assert_eq!(registry.writes(), 0);
}

#[tokio::test]
async fn an_image_is_held_against_the_platform_that_the_user_names() {
    let registry = FakeRegistry::start().await;
    let digest = registry.push("ubuntu:build-17", &starting_busybox("linux/arm64", "arm64"));
    let image = format!("{}@{digest}", registry.repository("ubuntu"));
    verify(&[&image], &["--platform", "linux/arm64"]).await.expect(0);
    let told = verify_json(&image, &["--platform", "linux/arm/v7"], 6).await;
    let message = told["images"][0]["reasons"][0]["message"].as_str().expect("a message");
    assert_eq!(message, "`--platform` promises linux/arm/v7 but the image config says linux/arm64");
}

#[tokio::test]
async fn where_nobody_promises_anything_the_files_are_held_against_the_config() {
    let registry = FakeRegistry::start().await;
    registry.push("ubuntu:right", &starting_busybox("linux/arm64", "arm64"));
    registry.push("ubuntu:wrong", &starting_busybox("linux/arm64", "amd64"));
    registry.push("ubuntu:silent", &starting_busybox("linux/arm64", "arm64").without("architecture"));
    let image = |tag: &str| format!("{}:{tag}", registry.repository("ubuntu"));
    verify(&[&image("right")], &[]).await.expect(0);
    let told = verify_json(&image("wrong"), &[], 6).await;
    let message = told["images"][0]["reasons"][0]["message"].as_str().expect("a message");
    assert!(message.contains("; its config promises linux/arm64"), "{message}");
    let told = verify_json(&image("silent"), &[], 6).await;
    assert_eq!(told["verdict"], "unverifiable");
}

#[tokio::test]
async fn every_image_of_an_index_is_held_against_its_own_entry() {
    let registry = FakeRegistry::start().await;
    registry.push("ubuntu:a", &starting_busybox("linux/amd64", "amd64"));
    registry.push("ubuntu:b", &starting_busybox("linux/arm64", "amd64"));
    registry.push_index("ubuntu:1.0", &["ubuntu:a", "ubuntu:b"]);
    let image = format!("{}:1.0", registry.repository("ubuntu"));
    let told = verify_json(&image, &[], 6).await;
    let verdicts: Vec<&Value> = told["images"].as_array().expect("images").iter().map(|it| &it["verdict"]).collect();
    assert_eq!(verdicts, ["verified", "mismatch"]);
    assert!(told.to_string().contains("its index entry promises linux/arm64"), "{told:#}");
    verify(&[&image], &["--platform", "linux/amd64"]).await.expect(0);
    assert_eq!(verify_json(&image, &["--platform", "linux/s390x"], 6).await["verdict"], "missing");

    // The entry decides, not the image's own config.
    let mislabelled = registry.descriptor("ubuntu:a").to_string().replace("amd64", "s390x");
    let mislabelled = serde_json::from_str(&mislabelled).expect("JSON");
    registry.put_manifest("ubuntu:2.0", OCI_INDEX, index(OCI_INDEX, &[mislabelled]));
    let told = verify_json(&format!("{}:2.0", registry.repository("ubuntu")), &[], 6).await;
    assert_eq!(told["verdict"], "mismatch");

    let attested = crate::support::image::attested_index(&starting_busybox("linux/arm64", "arm64"));
    registry.push_built(&format!("ubuntu@{}", attested.image.digest), &attested.image);
    registry.push_built(&format!("ubuntu@{}", attested.attestation.digest), &attested.attestation);
    registry.push_built("ubuntu:arm64-3.0", &attested.index);
    verify(&[&format!("{}:arm64-3.0", registry.repository("ubuntu"))], &[]).await.expect(0);
}

#[tokio::test]
async fn what_is_no_image_or_not_there_is_wrong_and_a_failing_registry_is_neither() {
    let registry = FakeRegistry::start().await;
    registry.push_built("ubuntu:arm64-chart", &crate::support::image::helm_chart());
    let image = |tag: &str| format!("{}:{tag}", registry.repository("ubuntu"));
    assert_eq!(verify_json(&image("arm64-chart"), &[], 6).await["verdict"], "unreadable");
    assert_eq!(verify_json(&image("arm64-none"), &[], 6).await["verdict"], "missing");
    assert_eq!(verify_json(&image("x86-none"), &[], 6).await["verdict"], "missing");

    registry.on(When::kind(Kind::GetManifest), Play::error(403, "DENIED", "no"));
    let told = verify_json(&image("arm64-chart"), &[], 4).await;
    assert_eq!((&told["verdict"], &told["error"]["code"]), (&Value::Null, &"denied".into()));
    registry.stop().await;
    verify(&[&image("arm64-chart")], &["--timeout", "2s"]).await.expect(5);
}

#[tokio::test]
async fn an_image_that_publish_would_leave_out_is_not_fine() {
    let registry = FakeRegistry::start().await;
    let image = starting_busybox("linux/arm64", "arm64").entrypoint(&["/app/missing"]);
    registry.push("ubuntu:arm64-xenial", &image);
    let image = format!("{}:arm64-xenial", registry.repository("ubuntu"));
    for (choice, code) in [("hold", 6), ("skip", 6), ("accept", 0)] {
        let told = verify_json(&image, &["--on-unverifiable", choice], code).await;
        assert_eq!(told["verdict"], "unverifiable", "{choice}");
    }
}

#[tokio::test]
async fn an_image_must_be_named_in_full() {
    for (name, expected) in [
        ("registry.example.com/acme/ubuntu", "expected a tag or a digest"),
        ("localhost:5000/acme/ubuntu", "expected a tag or a digest"),
        ("registry.example.com/acme/ubuntu@sha512:00", "is not a digest"),
        ("registry.example.com/acme/ubuntu:a b", "a b"),
    ] {
        let ran = verify(&[name], &[]).await.expect(2);
        assert!(ran.stderr.contains(expected), "{name}: {}", ran.stderr);
    }
    verify(&[], &[]).await.expect(2);
}

#[tokio::test]
async fn a_build_job_verifies_on_a_registry_that_wants_a_login() {
    let registry = RealRegistry::start_with_password().await;
    registry.push("acme/ubuntu:armhf-xenial", &starting_busybox("linux/arm/v7", "armhf")).await;
    registry.push("acme/ubuntu:arm64-xenial", &starting_busybox("linux/arm64", "armhf")).await;
    let image = |tag: &str| format!("{}:{tag}", registry.repository("acme/ubuntu"));
    let run = |tag: &str| onetag(["verify", &image(tag), "--username", "user"]).env("ONETAG_PASSWORD", "secret").run();
    run("armhf-xenial").await.expect(0);
    run("arm64-xenial").await.expect(6);
    onetag(["verify", &image("armhf-xenial")]).run().await.expect(4);
}
