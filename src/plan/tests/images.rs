//! One image at a time: does it keep its tag's promise?

use super::*;

fn policy(on_mismatch: OnMismatch) -> Policy {
    Policy { on_mismatch, ..Policy::default() }
}

/// What becomes of one image under `tag` whose config says `platform`: what is published, or why not.
fn outcome(tag: &str, platform: &str) -> String {
    let plan = decide(&[image(tag, platform)], &Policy::default());
    let codes: Vec<&str> = plan.reasons.iter().map(|reason| reason.code.as_str()).collect();
    match &plan.decision {
        Decision::Push(push) => format!("{} {}", push.index.children()[0].1, codes.join(" ")).trim_end().to_owned(),
        _ => codes.join(" "),
    }
}

#[test]
fn an_image_that_contradicts_its_tag_holds_all_of_them() {
    let observed = [image("amd64-xenial", "linux/amd64"), image("armhf-xenial", "linux/amd64")];
    let plan = decide(&observed, &policy(OnMismatch::Hold));
    insta::assert_snapshot!(told(&plan), @r"
    hold
    no, config-arch-mismatch: armhf-xenial: the tag promises linux/arm/v7 but the image config says linux/amd64
      hint: push the right image under this tag, or see `--on-mismatch`
    ");
    assert_eq!(verdicts(&plan), ["amd64-xenial verified linux/amd64", "armhf-xenial mismatch linux/amd64"]);
}

#[test]
fn an_image_that_contradicts_its_tag_may_be_left_out() {
    let observed = [image("amd64-xenial", "linux/amd64"), image("armhf-xenial", "linux/amd64")];
    insta::assert_snapshot!(told(&decide(&observed, &policy(OnMismatch::Skip))), @r"
    push xenial: linux/amd64
    note, config-arch-mismatch: armhf-xenial: the tag promises linux/arm/v7 but the image config says linux/amd64; left out as asked
    ");
    insta::assert_snapshot!(told(&decide(&observed[1..], &policy(OnMismatch::Skip))), @r"
    hold
    note, config-arch-mismatch: armhf-xenial: the tag promises linux/arm/v7 but the image config says linux/amd64; left out as asked
    no, nothing-found: every image for `xenial` was left out, so there is nothing to publish
      hint: push the right image under this tag, or see `--on-mismatch`
    ");
}

#[test]
fn a_config_in_another_dialect_is_refused_with_what_it_may_mean() {
    insta::assert_snapshot!(told(&decide(&[image("armhf-xenial", "linux/arm32v7")], &Policy::default())), @r"
    hold
    no, config-arch-mismatch: armhf-xenial: the tag promises linux/arm/v7 but the image config says linux/arm32v7 (did its builder mean linux/arm/v7?)
      hint: push the right image under this tag, or see `--on-mismatch`
    ");
}

#[test]
fn a_config_that_says_too_little_is_refused() {
    let without = |change: fn(&mut Claim)| with(image("amd64-xenial", "linux/amd64"), |image| change(&mut image.claim));
    let silent = without(|claim| claim.architecture = None);
    insta::assert_snapshot!(told(&decide(&[silent], &Policy::default())), @r"
    hold
    no, config-arch-mismatch: amd64-xenial: the tag promises linux/amd64 but the image config names no architecture
      hint: push the right image under this tag, or see `--on-mismatch`
    ");
    let silent = without(|claim| claim.os = None);
    insta::assert_snapshot!(told(&decide(&[silent], &Policy::default())), @r"
    hold
    no, config-arch-mismatch: amd64-xenial: the tag promises linux/amd64 but the image config names no operating system
      hint: push the right image under this tag, or see `--on-mismatch`
    ");
}

#[test]
fn a_variant_is_written_as_the_image_has_it_where_it_runs_there() {
    for (tag, config, expected) in [
        ("armhf-xenial", "linux/arm/v7", "linux/arm/v7"),
        ("armhf-xenial", "linux/arm/7", "linux/arm/v7"),
        ("armhf-xenial", "linux/arm", "linux/arm/v7"),
        ("armhf-xenial", "linux/arm/v6", "linux/arm/v6 lower-variant"),
        ("armhf-xenial", "linux/arm/v8", "config-arch-mismatch"),
        ("armel-xenial", "linux/arm", "linux/arm/v5"),
        ("armel-xenial", "linux/arm/v7", "config-arch-mismatch"),
        ("arm-xenial", "linux/arm", "linux/arm/v7"),
        ("arm-xenial", "linux/arm/v5", "linux/arm/v5"),
        ("arm-xenial", "linux/arm/v6", "linux/arm/v6"),
        ("arm-xenial", "linux/arm/v8", "config-arch-mismatch"),
        ("arm64-xenial", "linux/arm64/v8", "linux/arm64"),
        ("arm64-xenial", "linux/arm64", "linux/arm64"),
        ("arm64-xenial", "linux/arm64/v9", "linux/arm64/v9"),
        ("arm64-xenial", "linux/arm64/v8.2", "linux/arm64/v8.2"),
        ("arm64-xenial", "linux/arm64/v10", "config-arch-mismatch"),
        ("amd64-xenial", "linux/amd64/v1", "linux/amd64"),
        ("amd64-xenial", "linux/amd64/v2", "linux/amd64/v2"),
        ("amd64-xenial", "linux/amd64/v4", "linux/amd64/v4"),
        ("amd64-xenial", "linux/amd64/v99", "config-arch-mismatch"),
        ("amd64-xenial", "windows/amd64", "config-arch-mismatch"),
        ("ppc64el-xenial", "linux/ppc64le", "linux/ppc64le"),
        ("ppc64el-xenial", "linux/ppc64", "config-arch-mismatch"),
        ("windows-amd64-xenial", "windows/amd64", "windows/amd64"),
        ("amd64-xenial", "linux/amd64/v2\u{1b}[31m", "config-arch-mismatch"),
    ] {
        assert_eq!(outcome(tag, config), expected, "{tag} whose config says {config}");
    }
}

#[test]
fn an_image_that_needs_less_than_promised_is_published_as_what_it_is() {
    insta::assert_snapshot!(told(&decide(&[image("armhf-xenial", "linux/arm/v6")], &Policy::default())), @r"
    push xenial: linux/arm/v6
    note, lower-variant: armhf-xenial: the tag promises linux/arm/v7, the image needs only linux/arm/v6 and is published as that
    ");
    insta::assert_snapshot!(told(&decide(&[image("armel-xenial", "linux/arm/v7")], &Policy::default())), @r"
    hold
    no, config-arch-mismatch: armel-xenial: the tag promises linux/arm/v5 but the image config says linux/arm/v7, which does not run there
      hint: push the right image under this tag, or see `--on-mismatch`
    ");
}

#[test]
fn the_version_and_features_of_windows_come_from_the_config() {
    let windows = with(image("windows-amd64-1.2", "windows/amd64"), |image| {
        image.claim.os_version = Some("10.0.20348.2700".to_owned());
        image.claim.os_features = vec!["win32k".to_owned()];
    });
    let mut job = job(&[]);
    job.tag = tag("1.2");
    let plan = plan(&job, &Seen { observed: vec![windows], ..Seen::default() }, &Policy::default());
    let bytes = String::from_utf8_lossy(pushed(&plan).bytes());
    let platform =
        r#""platform":{"os":"windows","architecture":"amd64","os.version":"10.0.20348.2700","os.features":["win32k"]}"#;
    assert!(bytes.contains(platform), "{bytes}");
}

#[test]
fn layers_from_elsewhere_are_worth_a_note() {
    let foreign = with(image("amd64-xenial", "linux/amd64"), |image| image.has_foreign_layers = true);
    insta::assert_snapshot!(told(&decide(&[foreign], &Policy::default())), @r"
    push xenial: linux/amd64
    note, foreign-layers: amd64-xenial: a layer must be fetched from outside the registry; clients that cannot reach it there cannot run the image
    ");
}

#[test]
fn what_is_no_usable_image_holds_and_says_what_it_is() {
    let all = [
        Unfit::UnsupportedMediaType("a Docker image of schema 1".to_owned()),
        Unfit::NotAnImage("an artifact with a config of type `application/vnd.cncf.helm.config.v1+json`".to_owned()),
        Unfit::SeveralImages(vec!["linux/amd64".to_owned(), "linux/arm64".to_owned()]),
        Unfit::AmbiguousManifest("the key `digest` stands twice in one object".to_owned()),
        Unfit::Malformed("it is not JSON: expected value at line 1 column 1".to_owned()),
        Unfit::TooLarge("an image of 5000 layers; at most 512 are read".to_owned()),
        Unfit::DigestMismatch { expected: Digest::of(b"a").to_string(), found: Digest::of(b"b") },
        Unfit::SizeMismatch { expected: 100, found: 101 },
        Unfit::SizeMismatch { expected: 100, found: 99 },
        Unfit::ContentMissing("its config".to_owned()),
        Unfit::AttestationMissing(Digest::of(b"a")),
    ];
    let told: Vec<String> = all
        .map(|what| {
            let plan = decide(&[unfit("amd64-xenial", what)], &Policy::default());
            assert_eq!(verdicts(&plan), ["amd64-xenial unreadable linux/amd64"]);
            told(&plan).replace("hold\nno, ", "").replace("amd64-xenial: ", "")
        })
        .to_vec();
    insta::assert_snapshot!(told.concat(), @r"
    unsupported-media-type: it is a Docker image of schema 1, which no index should hold
      hint: build and push the image again with a current builder
    not-an-image: it is no image but an artifact with a config of type `application/vnd.cncf.helm.config.v1+json`
      hint: push an image under this tag, or delete the tag
    ambiguous-arch-tag: it is an index of 2 images (linux/amd64, linux/arm64), where one image was expected
      hint: build and push this tag for one platform
    ambiguous-manifest: two readers of it could see different images: the key `digest` stands twice in one object
      hint: build and push the image again; no known builder makes such a document
    malformed: it cannot be read: it is not JSON: expected value at line 1 column 1
      hint: build and push the image again
    too-large: it is too large: an image of 5000 layers; at most 512 are read
    digest-mismatch: the registry announced sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb but sent bytes of sha256:3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d
      hint: the registry, or a proxy before it, returns wrong content: have it repaired, and trust nothing from it until then
    size-mismatch: a part of it should have 100 bytes, but the registry sent 101 or more
      hint: build and push the image again
    size-mismatch: a part of it should have 100 bytes, but the registry sent 99
      hint: build and push the image again
    content-missing: the registry does not have its config any more
      hint: push the image again; a clean-up may have deleted what it consists of
    attestation-missing: the registry does not have its attestation sha256:ca978112ca1b any more
      hint: push the image again, or publish with `--attestations drop`
    ");
}

#[test]
fn a_word_that_builders_disagree_on_holds_until_somebody_says_what_it_means() {
    let plan = decide(&[unfit("x86-xenial", Unfit::AmbiguousWord)], &Policy::default());
    insta::assert_snapshot!(told(&plan), @r"
    hold
    no, ambiguous-word: x86-xenial: `x86` means 386 to some builders and amd64 to others
      hint: say which it is here: `--word x86=linux/386` or `--word x86=linux/amd64`
    ");
    assert_eq!(verdicts(&plan), ["x86-xenial unverifiable -"]);
}
