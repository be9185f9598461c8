//! What is served now, and whether it may be replaced.

use super::*;
use crate::model::Last;

fn both() -> [Observation; 2] {
    [image("amd64-xenial", "linux/amd64"), image("arm64-xenial", "linux/arm64")]
}

fn removing() -> Policy {
    Policy { allow_removal: true, ..Policy::default() }
}

fn taking_over() -> Policy {
    Policy { take_over: true, ..Policy::default() }
}

fn platforms(platforms: &[Platform]) -> Vec<String> {
    platforms.iter().map(Platform::to_string).collect()
}

#[test]
fn an_equal_index_is_kept_so_planning_twice_pushes_once() {
    let first = decide(&both(), &Policy::default());
    let second = decide_over(served(&first), &both(), &Policy::default());
    assert_eq!(told(&second), "keep: linux/amd64 linux/arm64\n");
    assert_eq!(second.changes, Changes::default());
}

#[test]
fn a_docker_list_of_the_same_images_is_kept_where_the_registry_took_no_other() {
    let observed = both().map(docker);
    let Decision::Push(push) = decide(&observed, &Policy::default()).decision else { panic!("nothing is published") };
    let list = push.fallback.expect("all images are Docker's");
    let published = Published { digest: list.digest().clone(), content: index_of(&["linux/amd64"]).content };
    let plan = decide_over(published, &observed, &Policy::default());
    assert_eq!(plan.decision, Decision::Keep(list));
}

#[test]
fn an_index_is_replaced_by_one_with_more() {
    let plan = decide_over(index_of(&["linux/amd64"]), &both(), &Policy::default());
    assert_eq!(told(&plan), "push xenial: linux/amd64 linux/arm64\n");
    assert_eq!(platforms(&plan.changes.added), ["linux/arm64"]);
    assert_eq!(platforms(&plan.changes.updated), ["linux/amd64"]);
    assert!(plan.changes.removed.is_empty());
}

#[test]
fn a_published_architecture_does_not_drop_out_unnoticed() {
    let published = index_of(&["linux/amd64", "linux/arm64", "linux/arm/v7", "linux/s390x"]);
    let plan = decide_over(published.clone(), &both(), &Policy::default());
    insta::assert_snapshot!(told(&plan), @r"
    hold
    no, removal: xenial: `xenial` serves linux/arm/v7, linux/s390x now, and would no longer
      hint: push the missing architecture again, or publish with `--allow-removal`
    ");
    assert_eq!(plan.changes, Changes::default(), "nothing changes where nothing is written");

    let plan = decide_over(published, &both(), &removing());
    insta::assert_snapshot!(told(&plan), @r"
    push xenial: linux/amd64 linux/arm64
    note, removal: xenial: `xenial` serves linux/arm/v7, linux/s390x now, and would no longer; that is allowed
    ");
    assert_eq!(platforms(&plan.changes.removed), ["linux/arm/v7", "linux/s390x"]);
}

#[test]
fn what_is_lacking_for_a_reason_that_was_told_is_no_removal_as_well() {
    let published = || index_of(&["linux/amd64", "linux/arm/v7"]);
    let wrong = [image("amd64-xenial", "linux/amd64"), image("armhf-xenial", "linux/amd64")];
    assert_eq!(holds(&decide_over(published(), &wrong, &Policy::default())), ["config-arch-mismatch"]);
    let odd = [wrong[0].clone(), unfit("armhf-xenial", Unfit::ContentMissing("its config".to_owned()))];
    assert_eq!(holds(&decide_over(published(), &odd, &Policy::default())), ["content-missing"]);
    let requiring = Policy { required: vec![arch("armhf")], ..Policy::default() };
    assert_eq!(holds(&decide_over(published(), &wrong[..1], &requiring)), ["arch-missing"]);

    let skipping = Policy { on_mismatch: OnMismatch::Skip, ..Policy::default() };
    assert_eq!(
        holds(&decide_over(published(), &wrong, &skipping)),
        ["removal"],
        "leaving out is not a reason to lose it"
    );
    let lower = [wrong[0].clone(), image("armhf-xenial", "linux/arm/v6")];
    assert_eq!(holds(&decide_over(published(), &lower, &requiring)), ["removal"], "v6 is no v7");
}

#[test]
fn the_other_spelling_of_a_platform_is_the_same_platform() {
    let published = Published {
        digest: digest("an index"),
        content: Content::Index(
            [("linux", "arm64", Some("v8")), ("linux", "arm", None)]
                .map(|(os, architecture, variant)| Child {
                    digest: digest("old"),
                    platform: Some(Platform::new(os, architecture, variant)),
                    is_image: true,
                })
                .to_vec(),
        ),
    };
    let observed = [image("arm64-xenial", "linux/arm64"), image("armhf-xenial", "linux/arm/v7")];
    let plan = decide_over(published, &observed, &Policy::default());
    assert_eq!(told(&plan), "push xenial: linux/arm64 linux/arm/v7\n");
    assert_eq!(platforms(&plan.changes.updated), ["linux/arm64", "linux/arm/v7"]);
}

#[test]
fn a_newer_build_of_the_same_windows_is_an_update() {
    let windows = |version: &str| {
        with(image("windows-amd64-xenial", "windows/amd64"), |image| image.claim.os_version = Some(version.to_owned()))
    };
    let published = served(&decide(&[windows("10.0.20348.2700")], &Policy::default()));
    let plan = decide_over(published.clone(), &[windows("10.0.20348.2762")], &Policy::default());
    assert_eq!(platforms(&plan.changes.updated), ["windows(10.0.20348.2762)/amd64"]);
    assert_eq!(holds(&decide_over(published, &[windows("10.0.26100.1")], &Policy::default())), ["removal"]);
}

#[test]
fn a_single_image_that_is_a_source_gives_way_and_any_other_does_not() {
    let source = Published { digest: digest("amd64-xenial"), content: Content::Image };
    assert_eq!(told(&decide_over(source, &both(), &Policy::default())), "push xenial: linux/amd64 linux/arm64\n");

    let other = Published { digest: digest("other"), content: Content::Image };
    insta::assert_snapshot!(told(&decide_over(other.clone(), &both(), &Policy::default())), @r"
    hold
    no, foreign-tag: xenial: `xenial` holds a single image that no architecture tag holds (sha256:d9298a10d1b0), which would be replaced
      hint: look at what the tag holds; if it may go, publish with `--take-over`
    ");
    insta::assert_snapshot!(told(&decide_over(other, &both(), &taking_over())), @r"
    push xenial: linux/amd64 linux/arm64
    note, foreign-tag: xenial: `xenial` holds a single image that no architecture tag holds (sha256:d9298a10d1b0), which is replaced as asked
    ");
}

#[test]
fn the_image_inside_an_attested_source_gives_way_too() {
    let observed = both().map(attested);
    for digest in [observed[0].digest.clone().expect("a tag that is there"), digest("amd64-xenial")] {
        let plan = decide_over(Published { digest, content: Content::Image }, &observed, &Policy::default());
        assert!(holds(&plan).is_empty(), "{}", told(&plan));
    }
}

#[test]
fn what_onetag_would_not_have_made_is_left_alone() {
    let child = |platform: Option<&str>, is_image| Child {
        digest: digest("child"),
        platform: platform.map(|text| text.parse().expect("a platform")),
        is_image,
    };
    let told_of = |content| {
        let plan = decide_over(Published { digest: digest("other"), content }, &both(), &Policy::default());
        plan.reasons.into_iter().map(|reason| reason.message).collect::<Vec<_>>().join("\n")
    };
    insta::assert_snapshot!(
        [
            told_of(Content::Index(vec![child(Some("linux/amd64"), true), child(None, true)])),
            told_of(Content::Index(vec![child(Some("linux/amd64"), false)])),
            told_of(Content::Other("an artifact with a config of type `x`".to_owned())),
        ].join("\n"), @r"
    `xenial` holds an index with an entry without a platform (sha256:d9298a10d1b0), which would be replaced
    `xenial` holds an index with an entry that is no image (sha256:d9298a10d1b0), which would be replaced
    `xenial` holds an artifact with a config of type `x` (sha256:d9298a10d1b0), which would be replaced
    ");
    assert_eq!(told_of(Content::Index(Vec::new())), "", "an empty index serves nobody");
}

#[test]
fn further_tags_are_written_only_where_they_differ() {
    let first = decide(&both(), &Policy::default());
    let seen = |tags: &[&str]| Seen {
        observed: both().to_vec(),
        published: tags.iter().map(|text| (tag(text), served(&first))).collect(),
        ..Seen::default()
    };
    let job = job(&["16.04", "lts"]);
    let of = |tags: &[&str]| told(&plan(&job, &seen(tags), &Policy::default()));
    assert_eq!(of(&[]), "push xenial 16.04 lts: linux/amd64 linux/arm64\n");
    assert_eq!(of(&["xenial", "lts"]), "push 16.04: linux/amd64 linux/arm64\n");
    assert_eq!(of(&["xenial", "16.04", "lts"]), "keep: linux/amd64 linux/arm64\n");
}

#[test]
fn a_further_tag_is_protected_like_the_plain_one() {
    let published = BTreeMap::from([(tag("lts"), index_of(&["linux/amd64", "linux/arm64", "linux/s390x"]))]);
    let plan = plan(
        &job(&["lts"]),
        &Seen { observed: both().to_vec(), published, last: None, frozen: None },
        &Policy::default(),
    );
    insta::assert_snapshot!(told(&plan), @r"
    hold
    no, removal: lts: `lts` serves linux/s390x now, and would no longer
      hint: push the missing architecture again, or publish with `--allow-removal`
    ");
}

#[test]
fn an_index_never_replaces_what_it_is_made_of() {
    let published =
        BTreeMap::from([(tag("amd64-xenial"), Published { digest: digest("amd64-xenial"), content: Content::Image })]);
    let plan = plan(
        &job(&["amd64-xenial"]),
        &Seen { observed: both().to_vec(), published, last: None, frozen: None },
        &taking_over(),
    );
    insta::assert_snapshot!(told(&plan), @r"
    hold
    no, self-feeding: amd64-xenial: `amd64-xenial` is one of the architecture tags that the index is made of
      hint: publish under another tag
    ");
}

#[test]
fn a_roll_back_by_hand_stands_until_an_image_changes() {
    let first = decide(&both(), &Policy::default());
    let mut newer = both().to_vec();
    newer[0] = image_like("amd64-xenial", "linux/amd64", "another amd64");
    let second = decide(&newer, &Policy::default());
    let Decision::Push(push) = &second.decision else { panic!("two images are pushed") };
    let sources = newer.iter().filter_map(|o| Some((o.arch_tag.tag.clone(), o.digest.clone()?))).collect();
    let last = Some(Last { digest: push.index.digest().clone(), sources });

    let back = |observed: &[Observation]| {
        let published = BTreeMap::from([(tag("xenial"), served(&first))]);
        let seen = Seen { observed: observed.to_vec(), published, last: last.clone(), frozen: None };
        told(&plan(&job(&[]), &seen, &Policy::default()))
    };
    insta::assert_snapshot!(back(&newer), @r"
    hold
    no, rolled-back: xenial: `xenial` was put back to sha256:c635724f815a, and its images are still those that sha256:b91eb3fe292b is made of
      hint: push a new image, or release the tag
    ");
    let mut newest = newer.clone();
    newest[1] = image_like("arm64-xenial", "linux/arm64", "another arm64");
    assert_eq!(back(&newest), "push xenial: linux/amd64 linux/arm64\n");
    let another_word = [&newer[..], &[image_like("x86_64-xenial", "linux/amd64", "another amd64")]].concat();
    assert_eq!(back(&another_word), "push xenial: linux/amd64 linux/arm64\n", "somebody pushed a tag since");
}

#[test]
fn a_roll_back_that_a_person_asked_for_stands_until_an_image_changes() {
    let older = decide(&[both()[0].clone()], &Policy::default());
    let whole = decide(&both(), &Policy::default());
    let frozen = Some(both().iter().filter_map(|o| Some((o.arch_tag.tag.clone(), o.digest.clone()?))).collect());
    let decide = |serving: &Plan, observed: &[Observation]| {
        let published = BTreeMap::from([(tag("xenial"), served(serving))]);
        let seen = Seen { observed: observed.to_vec(), published, last: None, frozen: frozen.clone() };
        plan(&job(&[]), &seen, &Policy::default()).decision
    };
    assert_eq!(decide(&older, &both()), Decision::Hold);
    let newer = [both()[0].clone(), image_like("arm64-xenial", "linux/arm64", "another arm64")];
    assert!(matches!(decide(&older, &newer), Decision::Push(_)));
    assert!(matches!(decide(&whole, &both()), Decision::Keep(_)), "what is right already needs no release");
}
