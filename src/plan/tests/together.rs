//! All images of a version together: doubled, missing, not of one build, not as expected.

use super::*;

fn required(words: &[&str]) -> Policy {
    Policy { required: words.iter().map(|word| arch(word)).collect(), ..Policy::default() }
}

fn expecting(word: &str, digest: Digest) -> Policy {
    Policy { expected: vec![(arch(word), digest)], ..Policy::default() }
}

#[test]
fn nothing_to_publish_is_said_with_what_to_do() {
    insta::assert_snapshot!(told(&decide(&[], &Policy::default())), @r"
    hold
    no, nothing-found: registry.example.com/acme/ubuntu has no image of any architecture for `xenial`
      hint: push an image under a tag that names its architecture, or say by `--pattern` and `--names` how tags are made
    ");
}

#[test]
fn two_words_for_one_platform_are_one_image_or_a_contradiction() {
    let one = [image_like("amd64-xenial", "linux/amd64", "one"), image_like("x86_64-xenial", "linux/amd64", "one")];
    let plan = decide(&one, &Policy::default());
    assert_eq!(told(&plan), "push xenial: linux/amd64\n");
    assert_eq!(verdicts(&plan).len(), 2, "both tags were looked at");

    let two = [image("amd64-xenial", "linux/amd64"), image("x86_64-xenial", "linux/amd64")];
    insta::assert_snapshot!(told(&decide(&two, &Policy::default())), @r"
    hold
    no, duplicate-platform: x86_64-xenial: `amd64-xenial` (sha256:d3475b6b29ea) and `x86_64-xenial` (sha256:1e8ba5e4d22e) are different images for linux/amd64
      hint: delete the tag that is out of date, or choose one by `--arch`
    ");
}

#[test]
fn one_image_cannot_be_two_architectures() {
    let observed = [image_like("armel-xenial", "linux/arm", "one"), image_like("armhf-xenial", "linux/arm", "one")];
    insta::assert_snapshot!(told(&decide(&observed, &Policy::default())), @r"
    hold
    no, same-digest-two-arches: armel-xenial: `armhf-xenial` and `armel-xenial` are one image (sha256:7692c3ad3540), though they promise linux/arm/v7 and linux/arm/v5
      hint: one of the two tags holds the other's image: push the right one there
    ");
}

#[test]
fn a_word_that_leaves_the_variant_open_takes_its_images() {
    let same = [image_like("arm-xenial", "linux/arm/v5", "one"), image_like("armel-xenial", "linux/arm/v5", "one")];
    assert_eq!(told(&decide(&same, &Policy::default())), "push xenial: linux/arm/v5\n");

    let apart = [image("arm-xenial", "linux/arm/v5"), image("armhf-xenial", "linux/arm/v7")];
    assert_eq!(told(&decide(&apart, &Policy::default())), "push xenial: linux/arm/v7 linux/arm/v5\n");
}

#[test]
fn two_images_that_turn_out_to_be_for_one_platform_are_refused() {
    let observed = [image("armhf-xenial", "linux/arm/v6"), image("armv6-xenial", "linux/arm/v6")];
    assert_eq!(holds(&decide(&observed, &Policy::default())), ["duplicate-platform"]);
}

#[test]
fn what_is_required_must_be_there() {
    let observed = [image("amd64-xenial", "linux/amd64"), missing("arm64-xenial")];
    insta::assert_snapshot!(told(&decide(&observed, &required(&["amd64", "arm64"]))), @r"
    hold
    no, arch-missing: arm64-xenial: arm64 is required, but there is no such tag
      hint: push what is missing, or wait for it with `--wait`
    ");
    insta::assert_snapshot!(told(&decide(&observed[..1], &required(&["arm64"]))), @r"
    hold
    no, arch-missing: arm64 is required, but `xenial` has no image for it
      hint: push what is missing, or wait for it with `--wait`
    ");
    assert_eq!(told(&decide(&observed[..1], &required(&["amd64"]))), "push xenial: linux/amd64\n");
}

#[test]
fn what_was_only_looked_for_may_be_missing() {
    let observed = [image("amd64-xenial", "linux/amd64"), missing("arm64-xenial")];
    insta::assert_snapshot!(told(&decide(&observed, &Policy::default())), @r"
    push xenial: linux/amd64
    note, arch-missing: arm64-xenial: there is no such tag; the index goes without it
    ");
}

#[test]
fn another_word_for_what_is_required_will_do() {
    let observed = [missing("arm64-xenial"), image("arm64v8-xenial", "linux/arm64")];
    let plan = decide(&observed, &required(&["arm64"]));
    assert_eq!(told(&plan), "push xenial: linux/arm64\n");
    assert_eq!(verdicts(&plan), ["arm64v8-xenial verified linux/arm64"], "nobody misses the other tag");
}

#[test]
fn a_lower_arm_under_an_open_word_is_not_what_was_required() {
    let observed = [image("arm-xenial", "linux/arm/v5"), missing("armhf-xenial")];
    assert_eq!(holds(&decide(&observed, &required(&["armhf"]))), ["arch-missing"]);
    assert_eq!(told(&decide(&observed[..1], &required(&["arm"]))), "push xenial: linux/arm/v5\n");
    let observed = [image("arm-xenial", "linux/arm/v7"), missing("armhf-xenial")];
    assert_eq!(told(&decide(&observed, &required(&["armhf"]))), "push xenial: linux/arm/v7\n");
}

#[test]
fn what_is_required_but_wrong_is_told_once() {
    let observed = [image("amd64-xenial", "linux/arm64")];
    assert_eq!(holds(&decide(&observed, &required(&["amd64"]))), ["config-arch-mismatch"]);

    let skipping = Policy { on_mismatch: OnMismatch::Skip, ..required(&["amd64"]) };
    let observed = [image("amd64-xenial", "linux/arm64"), image("arm64-xenial", "linux/arm64")];
    insta::assert_snapshot!(told(&decide(&observed, &skipping)), @r"
    hold
    note, config-arch-mismatch: amd64-xenial: the tag promises linux/amd64 but the image config says linux/arm64; left out as asked
    no, arch-missing: amd64-xenial: amd64 is required, but this image was left out
      hint: push the right image under this tag, or see `--on-mismatch`
    ");
}

#[test]
fn a_label_must_have_one_value_where_that_was_asked() {
    let policy = Policy { same_labels: vec!["org.opencontainers.image.revision".to_owned()], ..Policy::default() };
    let amd64 = |value| labelled(image("amd64-xenial", "linux/amd64"), "org.opencontainers.image.revision", value);
    let arm64 = |value| labelled(image("arm64-xenial", "linux/arm64"), "org.opencontainers.image.revision", value);
    assert_eq!(told(&decide(&[amd64("4f2"), arm64("4f2")], &policy)), "push xenial: linux/amd64 linux/arm64\n");

    let unlabelled = [image("amd64-xenial", "linux/amd64"), image("arm64-xenial", "linux/arm64")];
    assert_eq!(holds(&decide(&unlabelled, &policy)), ["label-differs"], "what nobody says is not the same");

    let observed = [amd64("4f2"), arm64("9c1\u{1b}[31m"), image("armhf-xenial", "linux/arm/v7")];
    insta::assert_snapshot!(told(&decide(&observed, &policy)), @r"
    hold
    no, label-differs: label `org.opencontainers.image.revision` should be the same in all images: not set in armhf-xenial; `4f2` in amd64-xenial; `9c1 [31m` in arm64-xenial
      hint: wait until every architecture is built from the same source
    ");
}

#[test]
fn an_image_must_be_the_expected_one() {
    let observed = [attested(image("amd64-xenial", "linux/amd64"))];
    let index = observed[0].digest.clone().expect("a tag that is there");
    for expected in [digest("amd64-xenial"), index] {
        let plan = decide(&observed, &expecting("amd64", expected));
        assert_eq!(told(&plan), "push xenial: linux/amd64\n", "the image's digest will do, and so will its index's");
    }
    insta::assert_snapshot!(told(&decide(&[image("amd64-xenial", "linux/amd64")], &expecting("amd64", digest("other")))), @r"
    hold
    no, digest-not-expected: amd64-xenial: it is sha256:d3475b6b29ea5e5ea51b98fc438a5119f6136c4d214496fe1ea7fcde4944988a, but sha256:d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa was expected
      hint: somebody pushed another image under this tag since: push the expected one again, or expect the new one
    ");
    let plan = decide(&[missing("arm64-xenial")], &expecting("arm64", digest("other")));
    assert_eq!(holds(&plan), ["arch-missing"], "what is expected is required, too");
}

#[test]
fn an_index_has_so_many_entries_and_no_more() {
    let words = Words::of(Dialect::Debian);
    let platforms: Vec<(String, String)> = words
        .iter()
        .filter_map(|(word, _)| words.choose(word).ok())
        .map(|choice| (choice.promise.platform.to_string(), format!("{}-xenial", choice.word)))
        .collect();
    let by_platform: BTreeMap<String, String> = platforms.into_iter().collect();
    let mut observed: Vec<Observation> = by_platform.iter().map(|(platform, tag)| image(tag, platform)).collect();
    let attest = |observed: &mut Vec<Observation>, count: usize| {
        observed[0] = with(observed[0].clone(), |image| {
            let attestation = |i: usize| Descriptor::new(OCI_MANIFEST.to_owned(), Digest::of(&i.to_le_bytes()), 1);
            image.attestations = (0..count).map(attestation).collect();
        });
    };
    let room = 64 - observed.len();
    attest(&mut observed, room);
    assert!(holds(&decide(&observed, &Policy::default())).is_empty());
    attest(&mut observed, room + 1);
    insta::assert_snapshot!(told(&decide(&observed, &Policy::default())), @r"
    hold
    no, too-large: the index would have 65 entries; at most 64 are written
      hint: choose by `--arch`, or publish with `--attestations drop`
    ");
    let dropping = Policy { drop_attestations: true, ..Policy::default() };
    assert!(holds(&decide(&observed, &dropping)).is_empty());
}

#[test]
fn an_index_that_no_registry_would_take_is_not_written() {
    let long = with(image("amd64-xenial", "linux/amd64"), |image| {
        drop(image.manifest.annotations.insert("a".to_owned(), "b".repeat(1024 * 1024)));
    });
    assert_eq!(holds(&decide(&[long], &Policy::default())), ["too-large"]);
}

#[test]
fn attestations_stand_behind_their_image_unless_they_are_dropped() {
    let observed = [attested(image("arm64-xenial", "linux/arm64")), attested(image("amd64-xenial", "linux/amd64"))];
    let media_types = |policy| {
        let plan = decide(&observed, &policy);
        let index: serde_json::Value = serde_json::from_slice(pushed(&plan).bytes()).expect("JSON");
        let entries = index["manifests"].as_array().cloned().unwrap_or_default();
        entries
            .iter()
            .map(|entry| entry["platform"]["architecture"].as_str().unwrap_or("-").to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(media_types(Policy::default()), ["amd64", "unknown", "arm64", "unknown"]);
    assert_eq!(media_types(Policy { drop_attestations: true, ..Policy::default() }), ["amd64", "arm64"]);
}

#[test]
fn the_kind_of_index_is_oci_unless_asked_otherwise() {
    let mixed = [docker(image("amd64-xenial", "linux/amd64")), image("arm64-xenial", "linux/arm64")];
    let both_docker = [mixed[0].clone(), docker(image("arm64-xenial", "linux/arm64"))];
    let of = |observed: &[Observation], index_type| {
        let plan = decide(observed, &Policy { index_type, ..Policy::default() });
        match &plan.decision {
            Decision::Push(push) => {
                let fallback = push.fallback.as_ref().map(|index| index.kind());
                format!("{:?}, else {fallback:?}", push.index.kind())
            }
            _ => told(&plan),
        }
    };
    assert_eq!(of(&mixed, IndexType::Auto), "Oci, else None");
    assert_eq!(of(&both_docker, IndexType::Auto), "Oci, else Some(Docker)");
    assert_eq!(of(&both_docker, IndexType::Oci), "Oci, else None");
    assert_eq!(of(&both_docker, IndexType::Docker), "Docker, else None");
    insta::assert_snapshot!(of(&mixed, IndexType::Docker), @r"
    hold
    no, index-type: a Docker manifest list holds Docker schema 2 images only, and neither attestations nor annotations
      hint: publish with `--index-type auto`
    ");
}
