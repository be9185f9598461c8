//! `--on-mismatch rewrite`: a copy with a repaired label takes the place of a mislabelled image.

use serde_json::{Value, json};

use crate::support::image::{self, DOCKER_MANIFEST, OCI_EMPTY, sha256};
use crate::support::{
    Elsewhere, FakeRegistry, Image, Kind, Play, RealRegistry, Recorded, Service, Told, When, eventually, onetag,
    publish, skopeo, starting_busybox,
};

const REWRITE: [&str; 4] = ["--verify", "entrypoint", "--on-mismatch", "rewrite"];

/// Armhf files under the label of the amd64 machine that they were built on.
fn mislabelled() -> Image {
    starting_busybox("linux/amd64", "armhf")
}

/// Publishes with `rewrite`.
async fn rewrite(registry: &FakeRegistry) -> Told {
    publish(registry, &REWRITE).await
}

/// The writes, without what differs from run to run.
fn writes(registry: &FakeRegistry) -> Vec<String> {
    let line = |request: &Recorded| format!("{} {:?}", request.method, request.kind);
    registry.written().iter().map(line).collect()
}

#[tokio::test]
async fn the_copy_differs_in_architecture_and_variant_only_and_shares_all_layers() {
    let registry = FakeRegistry::with_mislabelled_armhf().await;
    let original = registry.manifest("ubuntu:armhf-xenial").expect("it was pushed");
    let told = rewrite(&registry).await.expect_pushed();
    assert_eq!(registry.platforms("ubuntu:xenial"), ["linux/amd64", "linux/arm/v7"]);

    let copy = registry.children("ubuntu:xenial").swap_remove(1);
    assert_eq!(told.json["images"][1]["rewritten"], copy);
    assert_eq!(told.json["images"][1]["digest"], original.digest);
    assert_eq!(told.codes("note"), ["config-arch-mismatch"]);
    assert!(told.messages().contains("signatures of the image do not carry over"), "{}", told.messages());

    let stored = registry.manifest(&format!("ubuntu@{copy}")).expect("the copy is there");
    let config = |manifest: &Value| {
        let digest = manifest["config"]["digest"].as_str().expect("a digest").to_owned();
        String::from_utf8(registry.blob("ubuntu", &digest).expect("the config is there").to_vec()).expect("text")
    };
    let (before, after) = (config(&original.json()), config(&stored.json()));
    assert_eq!(after, before.replacen(r#""architecture":"amd64""#, r#""architecture":"arm","variant":"v7""#, 1));
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    let expected = text(&original.bytes)
        .replace(&sha256(before.as_bytes()), &sha256(after.as_bytes()))
        .replace(&format!(r#""size":{}"#, before.len()), &format!(r#""size":{}"#, after.len()));
    assert_eq!(text(&stored.bytes), expected);
    assert_eq!(stored.media_type, original.media_type);
    assert_eq!(registry.digest("ubuntu:armhf-xenial"), Some(original.digest), "the tag stays with its image");
}

/// Debian's busybox for armhf needs v7.
#[tokio::test]
async fn a_label_below_what_the_files_need_is_repaired_too() {
    let registry = FakeRegistry::start().await;
    registry.push("ubuntu:armhf-xenial", &starting_busybox("linux/arm/v6", "armhf"));
    let told = rewrite(&registry).await.expect_pushed();
    assert_eq!(registry.platforms("ubuntu:xenial"), ["linux/arm/v7"]);
    assert!(told.messages().contains("the image config says linux/arm/v6, /bin/busybox is"), "{}", told.messages());
}

#[tokio::test]
async fn the_copy_is_written_before_the_index_and_never_twice() {
    let registry = FakeRegistry::with_mislabelled_armhf().await;
    rewrite(&registry).await.expect_pushed();
    let expected = ["POST Upload", "PUT Upload", "PUT PutManifest", "PUT PutManifest"];
    assert_eq!(writes(&registry), expected);
    assert_eq!(registry.written()[3].reference.as_deref(), Some("xenial"));

    registry.forget_requests();
    let told = rewrite(&registry).await;
    assert_eq!((told.ran.code, &told.json["decision"]), (0, &"unchanged".into()));
    assert_eq!(writes(&registry), Vec::<String>::new());

    // The copy stays what it is when something else changes.
    registry.push("ubuntu:arm64-xenial", &starting_busybox("linux/arm64", "arm64"));
    let before = registry.children("ubuntu:xenial");
    rewrite(&registry).await.expect_pushed();
    assert_eq!(writes(&registry), ["PUT PutManifest"]);
    assert!(registry.children("ubuntu:xenial").contains(&before[1]));
}

#[tokio::test]
async fn a_copy_that_is_not_served_yet_is_waited_for_before_an_index_names_it() {
    let registry = FakeRegistry::with_mislabelled_armhf().await;
    // Before it is written, and when it is read back.
    let head = When::kind(Kind::HeadManifest).containing("sha256:");
    registry.on(head.times(2), Play::error(404, "MANIFEST_UNKNOWN", "manifest unknown"));
    rewrite(&registry).await.expect_pushed();
    let copy = registry.children("ubuntu:xenial").swap_remove(1);
    let asked = registry.requests_of(Kind::HeadManifest).into_iter().filter(|head| head.path.ends_with(&copy));
    assert!(asked.count() > 2, "it was named by an index before it was seen");
}

#[tokio::test]
async fn a_rehearsal_shows_every_byte_that_would_be_written() {
    let registry = FakeRegistry::with_mislabelled_armhf().await;
    let options: Vec<&str> = REWRITE.iter().copied().chain(["--dry-run"]).collect();
    let told = publish(&registry, &options).await.expect_pushed();
    assert_eq!(registry.writes(), 0);
    let copy = &told.json["copies"][0];
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    assert_eq!(sha256(text(&copy["manifest"]).as_bytes()), text(&copy["digest"]));
    assert!(text(&copy["config"]).contains(r#""architecture":"arm","variant":"v7""#), "{copy}");
    assert!(text(&told.json["index"]).contains(&text(&copy["digest"])));

    let repository = registry.repository("ubuntu");
    let fixed = ["publish", "-r", &repository, "-t", "xenial"];
    let shown = onetag(fixed.into_iter().chain(options)).run().await.expect(0).stdout;
    let [config, manifest, index] = [&copy["config"], &copy["manifest"], &told.json["index"]].map(text);
    assert!(shown.ends_with(&format!("{config}\n{manifest}\n{index}\n")), "{shown}");

    let pushed = rewrite(&registry).await.expect_pushed();
    assert_eq!(pushed.json["digest"], told.json["digest"]);
    assert_eq!(registry.children("ubuntu:xenial")[1], text(&copy["digest"]));
}

#[tokio::test]
async fn nothing_is_copied_that_somebody_vouches_for() {
    let digest = mislabelled().build().digest;
    let tag = |ending: &str| format!("ubuntu:{}{ending}", digest.replace(':', "-"));
    for ending in [".sig", ".att", ""] {
        let registry = FakeRegistry::with_mislabelled_armhf().await;
        registry.push_built(&tag(ending), &image::cosign_signature(&digest));
        let told = registry.expect_refusal("not-rewritable", &REWRITE).await;
        assert!(told.messages().contains("vouches for this very image"), "{}", told.messages());
        assert!(told.ran.stderr.is_empty() || told.ran.stderr.contains("trust-tag"), "{}", told.ran.stderr);
    }

    let registry = FakeRegistry::with_mislabelled_armhf().await;
    let referrer = json!({ "mediaType": OCI_EMPTY, "digest": digest, "size": 2 });
    let list = json!({ "schemaVersion": 2, "manifests": [referrer] }).to_string();
    registry
        .on(When::any().containing("/referrers/"), Play::Status { code: 200, headers: Vec::new(), body: list.into() });
    registry.expect_refusal("not-rewritable", &REWRITE).await;

    for options in [vec![], vec!["--attestations", "drop"]] {
        let registry = FakeRegistry::with_mislabelled_armhf().await;
        let attested = image::attested_index(&mislabelled());
        registry.push_built(&format!("ubuntu@{}", attested.image.digest), &attested.image);
        registry.push_built(&format!("ubuntu@{}", attested.attestation.digest), &attested.attestation);
        registry.push_built("ubuntu:armhf-xenial", &attested.index);
        let options: Vec<&str> = REWRITE.into_iter().chain(options).collect();
        registry.expect_refusal("not-rewritable", &options).await;
    }
}

#[tokio::test]
async fn a_registry_that_does_not_say_who_vouches_for_an_image_stops_it() {
    let registry = FakeRegistry::with_mislabelled_armhf().await;
    registry.on(When::any().containing("/referrers/"), Play::status(503));
    let told = rewrite(&registry).await;
    assert_eq!(told.ran.code, 5, "{}", told.ran.stderr);
    assert_eq!((registry.writes(), registry.digest("ubuntu:xenial")), (0, None));
}

#[tokio::test]
async fn wrong_files_are_never_copied_under_a_right_label() {
    let registry = FakeRegistry::start().await;
    registry.push("ubuntu:armhf-xenial", &starting_busybox("linux/amd64", "amd64"));
    let told = rewrite(&registry).await;
    assert_eq!((told.ran.code, told.codes("hold")), (6, vec!["config-arch-mismatch", "elf-mismatch"]));
    registry.push("ubuntu:armhf-xenial", &Image::new("linux/amd64").entrypoint(&[]));
    registry.expect_refusal("config-arch-mismatch", &REWRITE).await;
    assert_eq!(registry.writes(), 0);
}

#[tokio::test]
async fn a_docker_image_stays_a_docker_image() {
    let registry = FakeRegistry::start().await;
    registry.push("ubuntu:armhf-xenial", &mislabelled().docker());
    rewrite(&registry).await.expect_pushed();
    let copy = registry.children("ubuntu:xenial").swap_remove(0);
    let stored = registry.manifest(&format!("ubuntu@{copy}")).expect("the copy is there");
    assert_eq!((stored.media_type.as_str(), &stored.json()["mediaType"]), (DOCKER_MANIFEST, &DOCKER_MANIFEST.into()));
}

#[tokio::test]
async fn an_upload_whose_answer_is_lost_is_looked_for_and_not_believed_in() {
    let plays: [fn() -> Play; 3] = [|| Play::ApplyThenReset, || Play::Reset, || Play::status(502)];
    for play in plays {
        for kind in [Kind::Upload, Kind::PutManifest] {
            let registry = FakeRegistry::with_mislabelled_armhf().await;
            registry.on(When::kind(kind).once(), play());
            rewrite(&registry).await.expect_pushed();
            assert_eq!(registry.platforms("ubuntu:xenial"), ["linux/amd64", "linux/arm/v7"]);
        }
    }
}

#[tokio::test]
async fn an_upload_goes_to_the_registry_itself_and_nowhere_else() {
    let elsewhere = Elsewhere::start(Vec::new()).await;
    for location in [elsewhere.url("/upload"), "http://169.254.169.254/".to_owned(), "//[".to_owned(), String::new()] {
        let registry = FakeRegistry::with_mislabelled_armhf().await;
        let headers = vec![("Location".to_owned(), location.clone())];
        registry.on(When::kind(Kind::Upload), Play::Status { code: 202, headers, body: Vec::new() });
        let told = rewrite(&registry).await;
        assert_eq!((told.ran.code, &told.json["reasons"][0]["code"]), (5, &"redirect-refused".into()), "{location}");
        assert_eq!(registry.digest("ubuntu:xenial"), None);
    }
    assert_eq!(elsewhere.requests().len(), 0);
}

#[tokio::test]
async fn who_may_not_push_a_blob_leaves_the_tag_alone() {
    let registry = FakeRegistry::with_mislabelled_armhf().await;
    registry.on(When::kind(Kind::Upload), Play::error(403, "DENIED", "no"));
    let told = rewrite(&registry).await;
    assert_eq!((told.ran.code, &told.json["decision"]), (4, &"held".into()), "{}", told.ran.stderr);
    assert_eq!(registry.digest("ubuntu:xenial"), None);
}

#[tokio::test]
async fn the_copy_is_what_clients_of_a_real_registry_get() {
    let registry = RealRegistry::start().await;
    registry.push("acme/ubuntu:amd64-xenial", &starting_busybox("linux/amd64", "amd64")).await;
    registry.push("acme/ubuntu:armhf-xenial", &mislabelled()).await;
    let repository = registry.repository("acme/ubuntu");
    let run = async || {
        let fixed = ["publish", "-r", &repository, "-t", "xenial", "--output", "json"];
        onetag(fixed.into_iter().chain(REWRITE)).run().await.expect(0).json()
    };
    assert_eq!(run().await["decision"], "pushed");
    assert_eq!(registry.platforms("acme/ubuntu:xenial").await, ["linux/amd64", "linux/arm/v7"]);
    let image = format!("docker://{repository}:xenial");
    let arguments =
        ["--override-arch=arm", "--override-variant=v7", "inspect", "--config", "--tls-verify=false", &image];
    let config = skopeo(&arguments).await.expect(0).json();
    assert_eq!((&config["architecture"], &config["variant"]), (&"arm".into(), &"v7".into()));
    assert_eq!(run().await["decision"], "unchanged");

    let verify = onetag(["verify", &format!("{repository}:xenial")]).run().await.expect(0);
    assert_eq!(verify.stdout.lines().count(), 2, "{}", verify.stdout);
}

#[tokio::test]
async fn the_service_publishes_copies_by_its_rule() {
    let registry = FakeRegistry::with_mislabelled_armhf().await;
    let rule = format!(
        "[[repository]]\nregistry = \"{}\"\nname = \"ubuntu\"\nverify = \"entrypoint\"\non_mismatch = \"rewrite\"\n\
         quiet = \"0s\"\npoll = \"1s\"\n",
        registry.host()
    );
    let service = Service::start(&registry.host(), &rule).await;
    eventually("it is published", async || registry.digest("ubuntu:xenial")).await;
    assert_eq!(registry.platforms("ubuntu:xenial"), ["linux/amd64", "linux/arm/v7"]);
    service.idle().await;
    registry.forget_requests();
    service.tell("ubuntu", "armhf-xenial", &registry.digest("ubuntu:armhf-xenial").expect("it is there")).await;
    eventually("it looks again", async || (registry.requests().len() > 3).then_some(())).await;
    service.idle().await;
    assert_eq!(registry.writes(), 0, "{}", service.log());

    // Who signs the image later is heard all the same.
    let armhf = registry.digest("ubuntu:armhf-xenial").expect("it is there");
    registry.push_built(&format!("ubuntu:{}.sig", armhf.replace(':', "-")), &image::cosign_signature(&armhf));
    registry.push("ubuntu:amd64-xenial", &starting_busybox("linux/amd64", "amd64").label("build", "2"));
    service.trouble_of("held").await;
    assert_eq!(registry.writes(), 0, "{}", service.log());
}
