//! What people and programs are told: the text of a CI job's log, and the fields of the JSON.

use serde_json::{Value, json};

use crate::support::image::{OCI_INDEX, sha256};
use crate::support::{FakeRegistry, Kind, Ran, onetag, publish};

/// Both outputs, with digests and ports that differ from run to run made alike.
fn log(registry: &FakeRegistry, ran: &Ran) -> String {
    let text = format!("{}{}", ran.stdout, ran.stderr).replace(&registry.host(), "registry.example.com");
    let mut parts = text.split("sha256:");
    let mut log = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let hex = part.len() - part.trim_start_matches(|c: char| c.is_ascii_hexdigit()).len();
        let shown = if hex == 64 { "<64 digits>" } else { "123456789abc" };
        log.push_str(&format!("sha256:{shown}{}", &part[hex..]));
    }
    log
}

async fn publish_text(registry: &FakeRegistry, options: &[&str]) -> Ran {
    let repository = registry.repository("ubuntu");
    let fixed = ["publish", "-r", &repository, "--tag", "xenial"];
    onetag(fixed.iter().chain(options).copied()).run().await
}

async fn three_architectures() -> FakeRegistry {
    let platforms =
        [("amd64-xenial", "linux/amd64"), ("arm64-xenial", "linux/arm64"), ("armhf-xenial", "linux/arm/v7")];
    FakeRegistry::with_ubuntu(&platforms).await
}

#[tokio::test]
async fn a_publication_is_a_line_an_image_and_one_for_the_decision() {
    let registry = three_architectures().await;
    let ran = publish_text(&registry, &["--also", "16.04"]).await.expect(0);
    insta::assert_snapshot!(log(&registry, &ran), @r"
    amd64-xenial  linux/amd64   sha256:123456789abc  verified
    arm64-xenial  linux/arm64   sha256:123456789abc  verified
    armhf-xenial  linux/arm/v7  sha256:123456789abc  verified
    pushed xenial, 16.04 sha256:<64 digits> (3 platforms)
    ");
    assert_eq!(ran.stderr, "");

    let ran = publish_text(&registry, &["--also", "16.04"]).await.expect(0);
    insta::assert_snapshot!(log(&registry, &ran), @r"
    amd64-xenial  linux/amd64   sha256:123456789abc  verified
    arm64-xenial  linux/arm64   sha256:123456789abc  verified
    armhf-xenial  linux/arm/v7  sha256:123456789abc  verified
    unchanged xenial, 16.04 sha256:<64 digits> (3 platforms)
    ");
}

#[tokio::test]
async fn an_update_says_what_changed() {
    let registry = three_architectures().await;
    publish_text(&registry, &["--arch", "amd64,arm64"]).await.expect(0);
    registry.push_image("ubuntu:amd64-xenial", "linux/amd64");
    registry.push_image("ubuntu:armhf-xenial", "linux/arm/v6");
    let ran = publish_text(&registry, &[]).await.expect(0);
    insta::assert_snapshot!(log(&registry, &ran), @r"
    amd64-xenial  linux/amd64   sha256:123456789abc  verified
    arm64-xenial  linux/arm64   sha256:123456789abc  verified
    armhf-xenial  linux/arm/v6  sha256:123456789abc  verified: the tag promises linux/arm/v7, the image needs only linux/arm/v6 and is published as that
    pushed xenial sha256:<64 digits> (3 platforms; added linux/arm/v6; updated linux/amd64)
    ");
}

#[tokio::test]
async fn a_mismatch_is_told_on_its_own_line() {
    let registry = three_architectures().await;
    registry.push_image("ubuntu:armhf-xenial", "linux/amd64");
    let ran = publish_text(&registry, &["--require", "amd64,armhf,s390x"]).await.expect(6);
    insta::assert_snapshot!(log(&registry, &ran), @r"
    amd64-xenial  linux/amd64  sha256:123456789abc  verified
    arm64-xenial  linux/arm64  sha256:123456789abc  verified
    armhf-xenial  linux/amd64  sha256:123456789abc  mismatch: the tag promises linux/arm/v7 but the image config says linux/amd64
    s390x-xenial  linux/s390x  -                    missing: s390x is required, but there is no such tag
    held xenial: nothing was written, there is still no `xenial`
    hint: push the right image under this tag, or see `--on-mismatch`
    hint: push what is missing, or wait for it with `--wait`
    ");
}

#[tokio::test]
async fn a_removal_and_a_foreign_tag_are_told_with_the_way_out() {
    let registry = three_architectures().await;
    publish_text(&registry, &[]).await.expect(0);
    registry.delete("ubuntu:arm64-xenial");
    let ran = publish_text(&registry, &[]).await.expect(6);
    insta::assert_snapshot!(log(&registry, &ran), @r"
    amd64-xenial  linux/amd64   sha256:123456789abc  verified
    armhf-xenial  linux/arm/v7  sha256:123456789abc  verified
    removal: `xenial` serves linux/arm64 now, and would no longer
    held xenial: nothing was written, `xenial` is still sha256:<64 digits>
    hint: push the missing architecture again, or publish with `--allow-removal`
    ");

    registry.push_image("ubuntu:xenial", "linux/s390x");
    let ran = publish_text(&registry, &[]).await.expect(6);
    insta::assert_snapshot!(log(&registry, &ran), @r"
    amd64-xenial  linux/amd64   sha256:123456789abc  verified
    armhf-xenial  linux/arm/v7  sha256:123456789abc  verified
    foreign-tag: `xenial` holds a single image that no architecture tag holds (sha256:123456789abc), which would be replaced
    held xenial: nothing was written, `xenial` is still sha256:<64 digits>
    hint: look at what the tag holds; if it may go, publish with `--take-over`
    ");
}

#[tokio::test]
async fn what_was_looked_for_and_is_missing_has_a_line() {
    let registry = three_architectures().await;
    let ran = publish_text(&registry, &["--arch", "amd64,s390x"]).await.expect(0);
    insta::assert_snapshot!(log(&registry, &ran), @r"
    amd64-xenial  linux/amd64  sha256:123456789abc  verified
    s390x-xenial  linux/s390x  -                    missing: there is no such tag; the index goes without it
    pushed xenial sha256:<64 digits> (1 platform)
    ");
}

#[tokio::test]
async fn nothing_found_says_where_it_looked() {
    let registry = FakeRegistry::start().await;
    let ran = publish_text(&registry, &[]).await.expect(6);
    insta::assert_snapshot!(log(&registry, &ran), @r"
    nothing-found: registry.example.com/ubuntu has no image of any architecture for `xenial`
    held xenial: nothing was written, there is still no `xenial`
    hint: push an image under a tag that names its architecture, or say by `--pattern` and `--names` how tags are made
    ");
}

#[tokio::test]
async fn a_rehearsal_prints_the_bytes_that_a_real_run_pushes() {
    let registry = three_architectures().await;
    registry.push_attested("ubuntu:arm64-xenial", "linux/arm64");
    let options = ["--annotation", "org.opencontainers.image.title=Caf\u{e9}", "--annotation", "a=b=c"];
    let rehearsal = publish_text(&registry, &[&options[..], &["--dry-run"]].concat()).await.expect(0);
    insta::assert_snapshot!(log(&registry, &rehearsal), @r#"
    amd64-xenial  linux/amd64   sha256:123456789abc  verified
    arm64-xenial  linux/arm64   sha256:123456789abc  verified
    armhf-xenial  linux/arm/v7  sha256:123456789abc  verified
    would push xenial sha256:<64 digits> (3 platforms)
    {"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:<64 digits>","size":401,"platform":{"os":"linux","architecture":"amd64"}},{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:<64 digits>","size":401,"platform":{"os":"linux","architecture":"arm64"}},{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:<64 digits>","size":465,"platform":{"os":"unknown","architecture":"unknown"},"annotations":{"vnd.docker.reference.digest":"sha256:<64 digits>","vnd.docker.reference.type":"attestation-manifest"}},{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:<64 digits>","size":401,"platform":{"os":"linux","architecture":"arm","variant":"v7"}}],"annotations":{"a":"b=c","org.opencontainers.image.title":"Café"}}
    "#);
    let told = publish(&registry, &[&options[..], &["--dry-run"]].concat()).await;
    assert_eq!(registry.writes(), 0);
    assert_eq!(registry.digest("ubuntu:xenial"), None);

    publish_text(&registry, &options).await.expect(0);
    let pushed = registry.manifest("ubuntu:xenial").expect("it was published");
    let pushed_text = String::from_utf8(pushed.bytes.to_vec()).expect("text");
    assert_eq!(rehearsal.stdout.lines().last(), Some(pushed_text.as_str()), "to the byte");
    assert_eq!(told.json["index"], pushed_text.as_str());
    assert_eq!((&told.json["digest"], &told.json["dry_run"]), (&pushed.digest.as_str().into(), &true.into()));
    assert!(rehearsal.stdout.contains(&pushed.digest));
    assert_eq!(pushed.json()["annotations"], json!({ "a": "b=c", "org.opencontainers.image.title": "Caf\u{e9}" }));
}

#[tokio::test]
async fn json_has_these_fields_and_these_kinds_of_values() {
    let registry = three_architectures().await;
    registry.push_image("ubuntu:armhf-xenial", "linux/arm/v6");
    let told = publish(&registry, &["--also", "16.04", "--arch", "amd64,armhf,s390x"]).await.expect_pushed();
    let digest = |tag: &str| Value::from(registry.digest(&format!("ubuntu:{tag}")).expect("it is there"));
    let expected = json!({
        "repository": registry.repository("ubuntu"),
        "tag": "xenial",
        "decision": "pushed",
        "digest": digest("xenial"),
        "media_type": OCI_INDEX,
        "tags": ["xenial", "16.04"],
        "previous": null,
        "images": [
            { "tag": "amd64-xenial", "arch": "amd64", "digest": digest("amd64-xenial"), "platform": "linux/amd64", "verdict": "verified" },
            { "tag": "armhf-xenial", "arch": "armhf", "digest": digest("armhf-xenial"), "platform": "linux/arm/v6", "verdict": "verified" },
            { "tag": "s390x-xenial", "arch": "s390x", "digest": null, "platform": "linux/s390x", "verdict": "missing" },
        ],
        "reasons": [
            {
                "code": "lower-variant", "tag": "armhf-xenial", "weight": "note", "remedy": null,
                "message": "the tag promises linux/arm/v7, the image needs only linux/arm/v6 and is published as that",
            },
            {
                "code": "arch-missing", "tag": "s390x-xenial", "weight": "note", "remedy": null,
                "message": "there is no such tag; the index goes without it",
            },
        ],
        "changes": { "added": ["linux/amd64", "linux/arm/v6"], "removed": [], "updated": [] },
        "dry_run": false,
        "requests": registry.requests().len(),
    });
    assert_eq!(told.json, expected);
    assert_eq!(told.ran.stderr, "", "notes are in the data");
}

#[tokio::test]
async fn json_is_whole_when_held_and_when_the_world_fails() {
    let registry = FakeRegistry::with_xenial().await;
    registry.push_image("ubuntu:arm64-xenial", "linux/amd64");
    let held = publish(&registry, &[]).await.expect_held("config-arch-mismatch");
    assert_eq!(held.json["digest"], Value::Null);
    assert_eq!(held.json["changes"], json!({ "added": [], "removed": [], "updated": [] }));
    assert_eq!(held.ran.stderr, "hint: push the right image under this tag, or see `--on-mismatch`\n");
    let keys = |json: &Value| json.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();

    registry.stop().await;
    let failed = publish(&registry, &["--timeout", "1s"]).await;
    assert_eq!(failed.ran.code, 5);
    assert_eq!(keys(&failed.json), keys(&held.json));
    assert_eq!(failed.codes("hold"), ["unreachable"]);
    assert!(failed.ran.stderr.starts_with("error: "), "{}", failed.ran.stderr);
}

#[tokio::test]
async fn several_tags_are_told_in_the_order_they_were_asked_for() {
    let registry = FakeRegistry::start().await;
    for version in ["xenial", "bionic", "focal"] {
        registry.push_image(&format!("ubuntu:amd64-{version}"), "linux/amd64");
    }
    registry.push_image("ubuntu:arm64-bionic", "linux/amd64");
    let repository = registry.repository("ubuntu");
    let options =
        ["publish", "-r", &repository, "-t", "focal", "-t", "bionic", "-t", "xenial", "-t", "focal", "-t", "jammy"];
    let ran = onetag(options.iter().copied().chain(["--output", "json"])).run().await.expect(6);
    let lines = ran.json_lines();
    let told: Vec<String> = lines.iter().map(|line| format!("{} {}", line["tag"], line["decision"])).collect();
    let expected = [r#""focal" "pushed""#, r#""bionic" "held""#, r#""xenial" "pushed""#, r#""jammy" "held""#];
    assert_eq!(told, expected, "one is not stopped by another");
    assert_eq!(registry.count(Kind::Tags), 1, "the tags are listed for all at once");
    let requests: u64 = lines.iter().filter_map(|line| line["requests"].as_u64()).sum();
    assert_eq!(requests as usize, registry.requests().len());

    let ran = onetag(options).run().await.expect(6);
    insta::assert_snapshot!(log(&registry, &ran), @r"
    amd64-focal  linux/amd64  sha256:123456789abc  verified
    unchanged focal sha256:<64 digits> (1 platform)
    amd64-bionic  linux/amd64  sha256:123456789abc  verified
    arm64-bionic  linux/amd64  sha256:123456789abc  mismatch: the tag promises linux/arm64 but the image config says linux/amd64
    held bionic: nothing was written, there is still no `bionic`
    amd64-xenial  linux/amd64  sha256:123456789abc  verified
    unchanged xenial sha256:<64 digits> (1 platform)
    nothing-found: registry.example.com/ubuntu has no image of any architecture for `jammy`
    held jammy: nothing was written, there is still no `jammy`
    hint: push the right image under this tag, or see `--on-mismatch`
    hint: push an image under a tag that names its architecture, or say by `--pattern` and `--names` how tags are made
    ");
}

#[tokio::test]
async fn a_failed_request_is_told_with_what_can_be_done() {
    let registry = three_architectures().await;
    registry.on(crate::support::When::kind(Kind::Tags), crate::support::Play::error(403, "DENIED", "not for you"));
    let ran = publish_text(&registry, &[]).await.expect(4);
    insta::assert_snapshot!(log(&registry, &ran), @r"
    error: GET http://registry.example.com/v2/ubuntu/tags/list was refused (403 DENIED: not for you): the account needs `pull,push` on ubuntu
    hint: run `docker login`, or set ONETAG_USERNAME and ONETAG_PASSWORD
    ");
    assert_eq!(ran.stdout, "");
}

#[tokio::test]
async fn quiet_leaves_the_data_and_the_errors() {
    let registry = three_architectures().await;
    let digest = sha256(b"other");
    let expect = format!("amd64={digest}");
    let ran = publish_text(&registry, &["--quiet", "--expect", &expect]).await.expect(6);
    assert!(ran.stdout.contains("held xenial"), "{}", ran.stdout);
    assert_eq!(ran.stderr, "");
}
