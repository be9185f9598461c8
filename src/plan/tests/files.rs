//! What an image's files prove, and what becomes of the image.

use std::sync::Arc;

use super::*;
use crate::model::Original;

fn policy(on_mismatch: OnMismatch) -> Policy {
    Policy { verify: Verify::Entrypoint, on_mismatch, ..Policy::default() }
}

/// Two images, the second of which was built for arm on amd64 and is labelled after its builder.
fn mislabelled() -> [Observation; 2] {
    [
        starting(image("amd64-xenial", "linux/amd64"), "linux/amd64"),
        starting(image("armhf-xenial", "linux/amd64"), "linux/arm/v7"),
    ]
}

/// The same observation with what a copy is made of.
fn with_original(observation: Observation, vouchers: &[&str]) -> Observation {
    with(observation, |image| {
        let config = r#"{"architecture":"amd64","os":"linux"}"#;
        let manifest =
            format!(r#"{{"config":{{"digest":"{}","size":{}}}}}"#, Digest::of(config.as_bytes()), config.len());
        image.original = Some(Arc::new(Original {
            manifest: manifest.into(),
            config: config.into(),
            vouchers: vouchers.iter().map(|&voucher| voucher.to_owned()).collect(),
        }));
    })
}

#[test]
fn a_wrong_label_on_right_files_holds_and_says_which_of_the_two_is_wrong() {
    let plan = decide(&mislabelled(), &policy(OnMismatch::Hold));
    insta::assert_snapshot!(told(&plan), @r"
    hold
    no, config-arch-mismatch: armhf-xenial: the tag promises linux/arm/v7 but the image config says linux/amd64, /bin/sh is ELF arm: the label is wrong, the files are right
      hint: repair the label where the image is built, or publish with `--on-mismatch trust-tag` or `--on-mismatch rewrite`
    ");
    assert_eq!(verdicts(&plan), ["amd64-xenial verified linux/amd64", "armhf-xenial mismatch linux/amd64"]);
    insta::assert_snapshot!(told(&decide(&mislabelled(), &policy(OnMismatch::Skip))), @r"
    push xenial: linux/amd64
    note, config-arch-mismatch: armhf-xenial: the tag promises linux/arm/v7 but the image config says linux/amd64, /bin/sh is ELF arm: the label is wrong, the files are right; left out as asked
    ");
}

#[test]
fn a_tag_is_believed_where_the_files_prove_it() {
    let plan = decide(&mislabelled(), &policy(OnMismatch::TrustTag));
    insta::assert_snapshot!(told(&plan), @r"
    push xenial: linux/amd64 linux/arm/v7
    note, config-arch-mismatch: armhf-xenial: the tag promises linux/arm/v7 but the image config says linux/amd64, /bin/sh is ELF arm: the label is wrong, the files are right; published as the tag says, but clients may warn about the config
    ");
    assert_eq!(verdicts(&plan)[1], "armhf-xenial mismatch linux/arm/v7", "the verdict is not changed by belief");
}

#[test]
fn no_tag_is_believed_without_proof() {
    let unproved = image("armhf-xenial", "linux/amd64");
    let silent = with(unproved.clone(), |image| image.evidence = Some(Evidence::default()));
    let unreadable = with(unproved.clone(), |image| {
        image.evidence = Some(Evidence { gap: Some("a bomb".to_owned()), ..Evidence::default() })
    });
    let wrong = starting(unproved.clone(), "linux/amd64");
    let accepting = Doubts { mixed: OnDoubt::Accept, unverifiable: OnDoubt::Accept, data_only: OnDoubt::Accept };
    for observation in [unproved.clone(), silent, unreadable, wrong] {
        for on_mismatch in [OnMismatch::Hold, OnMismatch::TrustTag, OnMismatch::Rewrite] {
            let policy = Policy { doubts: accepting.clone(), ..policy(on_mismatch) };
            let observation = with_original(observation.clone(), &[]);
            assert!(holds(&decide(&[observation], &policy)).contains(&"config-arch-mismatch"), "{on_mismatch:?}");
        }
    }
    for on_mismatch in [OnMismatch::TrustTag, OnMismatch::Rewrite] {
        let policy = Policy { verify: Verify::Config, ..policy(on_mismatch) };
        let observation = with_original(starting(unproved.clone(), "linux/arm/v7"), &[]);
        assert_eq!(holds(&decide(&[observation], &policy)), ["config-arch-mismatch"], "the files are to be asked");
    }
}

#[test]
fn wrong_files_under_a_right_label_hold_whatever_is_believed() {
    let observed = [starting(image("arm64-xenial", "linux/arm64"), "linux/amd64")];
    insta::assert_snapshot!(told(&decide(&observed, &policy(OnMismatch::Hold))), @r"
    hold
    no, elf-mismatch: arm64-xenial: /bin/sh is ELF amd64; the tag promises linux/arm64; the image config says linux/arm64, so the files are wrong
      hint: push the right image under this tag, or see `--on-mismatch`
    ");
    for on_mismatch in [OnMismatch::TrustTag, OnMismatch::Rewrite] {
        assert_eq!(holds(&decide(&observed, &policy(on_mismatch))), ["elf-mismatch"]);
    }
    insta::assert_snapshot!(told(&decide(&observed, &policy(OnMismatch::Skip))), @r"
    hold
    note, elf-mismatch: arm64-xenial: /bin/sh is ELF amd64; the tag promises linux/arm64; the image config says linux/arm64, so the files are wrong; left out as asked
    no, nothing-found: every image for `xenial` was left out, so there is nothing to publish
      hint: push the right image under this tag, or see `--on-mismatch`
    ");
    assert_eq!(verdicts(&decide(&observed, &policy(OnMismatch::Hold))), ["arm64-xenial mismatch linux/arm64"]);
    let unasked = Policy { verify: Verify::Config, ..Policy::default() };
    assert_eq!(told(&decide(&observed, &unasked)), "push xenial: linux/arm64\n");
}

/// The same observation, whose program needs this level of arm.
fn needing(observation: Observation, level: u32) -> Observation {
    with(starting(observation, "linux/arm/v7"), |image| {
        let machine = &mut image.evidence.as_mut().expect("there is some").witnesses[0].machine;
        (machine.level, machine.shown) = (Some(level), format!("ELF arm, needs v{level}"));
    })
}

#[test]
fn a_label_below_the_tag_is_wrong_where_the_files_need_what_the_tag_says() {
    let observed = |word: &str| [with_original(needing(image(word, "linux/arm/v6"), 7), &[])];
    insta::assert_snapshot!(told(&decide(&observed("armhf-xenial"), &policy(OnMismatch::Hold))), @r"
    hold
    no, config-arch-mismatch: armhf-xenial: the tag promises linux/arm/v7 but the image config says linux/arm/v6, /bin/sh is ELF arm, needs v7: the label is wrong, the files are right
      hint: repair the label where the image is built, or publish with `--on-mismatch trust-tag` or `--on-mismatch rewrite`
    ");
    for word in ["armhf-xenial", "arm-xenial"] {
        let plan = decide(&observed(word), &policy(OnMismatch::TrustTag));
        assert_eq!(pushed(&plan).children()[0].1, "linux/arm/v7".parse().expect("a platform"), "{word}");
        assert!(matches!(decide(&observed(word), &policy(OnMismatch::Rewrite)).decision, Decision::Push(_)), "{word}");
    }
    let lower = [needing(image("armhf-xenial", "linux/arm/v6"), 6)];
    assert_eq!(
        pushed(&decide(&lower, &policy(OnMismatch::Hold))).children()[0].1,
        "linux/arm/v6".parse().expect("one")
    );
    let higher = [needing(image("armhf-xenial", "linux/arm/v6"), 8)];
    for on_mismatch in [OnMismatch::Hold, OnMismatch::TrustTag, OnMismatch::Rewrite] {
        assert_eq!(holds(&decide(&higher, &policy(on_mismatch))), ["elf-mismatch"], "{on_mismatch:?}");
    }
}

#[test]
fn a_level_that_only_the_config_names_is_not_called_the_tags() {
    let observed = [with(starting(image("amd64-xenial", "linux/amd64/v2"), "linux/amd64"), |image| {
        image.evidence.as_mut().expect("there is some").witnesses[0].machine.level = Some(3);
    })];
    insta::assert_snapshot!(told(&decide(&observed, &policy(OnMismatch::TrustTag))), @r"
    hold
    no, elf-mismatch: amd64-xenial: /bin/sh is ELF amd64; it needs v3, and its config promises that v2 is enough; the image config says linux/amd64/v2, so the files are wrong
      hint: push the right image under this tag, or see `--on-mismatch`
    ");
}

#[test]
fn an_image_of_another_architecture_is_wrong_in_both() {
    let observed = [starting(image("armhf-xenial", "linux/amd64"), "linux/amd64")];
    insta::assert_snapshot!(told(&decide(&observed, &policy(OnMismatch::TrustTag))), @r"
    hold
    no, config-arch-mismatch: armhf-xenial: the tag promises linux/arm/v7 but the image config says linux/amd64
      hint: push the right image under this tag, or see `--on-mismatch`
    no, elf-mismatch: armhf-xenial: /bin/sh is ELF amd64; the tag promises linux/arm/v7: the files are wrong, too
      hint: push the right image under this tag, or see `--on-mismatch`
    ");
}

#[test]
fn files_that_nobody_can_judge_hold_unless_that_is_accepted() {
    let gap = Evidence { gap: Some("entrypoint-not-found: /app".to_owned()), ..Evidence::default() };
    let observed = [
        starting(image("amd64-xenial", "linux/amd64"), "linux/amd64"),
        with(image("arm64-xenial", "linux/arm64"), |image| image.evidence = Some(gap)),
    ];
    let decide_by = |unverifiable| {
        let doubts = Doubts { unverifiable, ..Doubts::default() };
        decide(&observed, &Policy { doubts, ..policy(OnMismatch::Hold) })
    };
    insta::assert_snapshot!(told(&decide_by(OnDoubt::Hold)), @r"
    hold
    no, unverifiable: arm64-xenial: nobody can say what its files run on: entrypoint-not-found: /app
      hint: look at the image; if it is right, or can be spared, see `--on-unverifiable`
    ");
    insta::assert_snapshot!(told(&decide_by(OnDoubt::Accept)), @r"
    push xenial: linux/amd64 linux/arm64
    note, unverifiable: arm64-xenial: nobody can say what its files run on: entrypoint-not-found: /app; that is accepted
    ");
    insta::assert_snapshot!(told(&decide_by(OnDoubt::Skip)), @r"
    push xenial: linux/amd64
    note, unverifiable: arm64-xenial: nobody can say what its files run on: entrypoint-not-found: /app; left out as asked
    ");
    assert_eq!(verdicts(&decide_by(OnDoubt::Accept))[1], "arm64-xenial unverifiable linux/arm64");
}

#[test]
fn an_image_of_data_alone_is_accepted_unless_that_holds() {
    let observed = [with(image("arm64-xenial", "linux/arm64"), |image| image.evidence = Some(Evidence::default()))];
    let plan = decide(&observed, &policy(OnMismatch::Hold));
    insta::assert_snapshot!(told(&plan), @r"
    push xenial: linux/arm64
    note, data-only: arm64-xenial: there is no program in it, so its config alone says what it is; that is accepted
    ");
    assert_eq!(verdicts(&plan), ["arm64-xenial verified linux/arm64"]);
    let doubts = Doubts { data_only: OnDoubt::Hold, ..Doubts::default() };
    let plan = decide(&observed, &Policy { doubts, ..policy(OnMismatch::Hold) });
    insta::assert_snapshot!(told(&plan), @r"
    hold
    no, data-only: arm64-xenial: there is no program in it, so its config alone says what it is
      hint: look at the image; if it is right, or can be spared, see `--on-data-only`
    ");
    assert_eq!(verdicts(&plan), ["arm64-xenial unverifiable linux/arm64"]);
}

#[test]
fn what_is_left_out_is_missed_where_it_is_required() {
    let gap = Evidence { gap: Some("a bomb".to_owned()), ..Evidence::default() };
    let observed = [
        starting(image("amd64-xenial", "linux/amd64"), "linux/amd64"),
        with(image("arm64-xenial", "linux/arm64"), |image| image.evidence = Some(gap)),
    ];
    let doubts = Doubts { unverifiable: OnDoubt::Skip, ..Doubts::default() };
    let policy = Policy { required: vec![arch("arm64")], doubts, ..policy(OnMismatch::Hold) };
    assert_eq!(holds(&decide(&observed, &policy)), ["arch-missing"]);
}

#[test]
fn a_copy_with_the_right_label_takes_the_place_of_a_mislabelled_image() {
    let [amd64, armhf] = mislabelled();
    let observed = [amd64, with_original(armhf, &[])];
    let first = decide(&observed, &policy(OnMismatch::Rewrite));
    insta::assert_snapshot!(told(&first), @r"
    push xenial: linux/amd64 linux/arm/v7
    note, config-arch-mismatch: armhf-xenial: the tag promises linux/arm/v7 but the image config says linux/amd64, /bin/sh is ELF arm: the label is wrong, the files are right; a copy with the right label is published, sha256:76205602831f, and signatures of the image do not carry over to it
    ");
    let Decision::Push(push) = &first.decision else { panic!("it is pushed") };
    let copy = &push.rewritten[0];
    assert_eq!(copy.config, r#"{"architecture":"arm","variant":"v7","os":"linux"}"#);
    assert_eq!(push.index.children()[1].0, copy.descriptor.digest);
    assert_eq!(first.images[1].rewritten.as_ref(), Some(&copy.descriptor.digest));
    assert_eq!(verdicts(&first)[1], "armhf-xenial mismatch linux/arm/v7");

    let second = decide_over(served(&first), &observed, &policy(OnMismatch::Rewrite));
    assert!(matches!(second.decision, Decision::Keep(_)), "the same images give the same copies");
}

#[test]
fn an_image_that_somebody_vouches_for_is_not_copied() {
    let [_, armhf] = mislabelled();
    let signed = with_original(armhf.clone(), &["the signature `sha256-ab.sig`"]);
    insta::assert_snapshot!(told(&decide(&[signed], &policy(OnMismatch::Rewrite))), @r"
    hold
    note, config-arch-mismatch: armhf-xenial: the tag promises linux/arm/v7 but the image config says linux/amd64, /bin/sh is ELF arm: the label is wrong, the files are right
    no, not-rewritable: armhf-xenial: the label cannot be repaired in a copy: the signature `sha256-ab.sig` vouches for this very image and would not for a copy
      hint: repair the label where the image is built; `--on-mismatch trust-tag` publishes the image unchanged
    ");
    assert_eq!(holds(&decide(&[armhf], &policy(OnMismatch::Rewrite))), ["not-rewritable"]);
}

#[test]
fn a_tag_that_is_believed_takes_no_odd_words_from_the_config() {
    let [_, armhf] = mislabelled();
    let odd = with(armhf, |image| image.claim.os_version = Some("1\u{1b}[31m".to_owned()));
    let plan = decide(&[odd], &policy(OnMismatch::TrustTag));
    assert_eq!(pushed(&plan).children()[0].1, "linux/arm/v7".parse().expect("a platform"));
}

#[test]
fn belief_does_not_make_one_image_two() {
    let one = |tag| starting(image_like(tag, "linux/amd64", "one"), "linux/arm64");
    let observed = [one("amd64-xenial"), one("arm64-xenial")];
    assert_eq!(holds(&decide(&observed, &policy(OnMismatch::TrustTag))), ["elf-mismatch"]);
    let one = |tag| starting(image_like(tag, "linux/amd64", "one"), "linux/arm");
    let observed = [one("armhf-xenial"), one("armv6-xenial")];
    assert_eq!(holds(&decide(&observed, &policy(OnMismatch::TrustTag))), ["same-digest-two-arches"]);
}
