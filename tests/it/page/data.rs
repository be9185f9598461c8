//! A collection of images as one might find it: many versions, many architectures, some trouble.

use std::collections::BTreeMap;
use std::time::Duration;

use onetag::model::version::{Foreign, ImageRow, ImageState, Problem, Version, VersionState};
use onetag::model::{Digest, Repository, Tag};
use onetag::store::{Act, End, Entry, Hold, Store, StoredIndex, Trigger, Wake};
use serde_json::{Value, json};

/// Words and platforms, as Debian has them.
pub(super) const ARCHITECTURES: [(&str, &str); 10] = [
    ("amd64", "linux/amd64"),
    ("i386", "linux/386"),
    ("armel", "linux/arm/v5"),
    ("armhf", "linux/arm/v7"),
    ("arm64", "linux/arm64"),
    ("mips64el", "linux/mips64le"),
    ("ppc64el", "linux/ppc64le"),
    ("riscv64", "linux/riscv64"),
    ("s390x", "linux/s390x"),
    ("loong64", "linux/loong64"),
];

pub(super) fn repository(text: &str) -> Repository {
    text.parse().expect("a repository")
}

pub(super) fn digest(of: &str) -> String {
    Digest::of(of.as_bytes()).to_string()
}

/// A version with these architectures, those named in a state of their own.
pub(super) fn version(tag: &str, words: &[&str], odd: &[(&str, ImageState)]) -> Version {
    let state_of = |word: &str| odd.iter().find(|(odd, _)| *odd == word).map_or(ImageState::Ok, |(_, state)| *state);
    let known = ARCHITECTURES.iter().filter(|(word, _)| words.contains(word));
    let images: Vec<ImageRow> = known.map(|(word, platform)| image(tag, word, platform, state_of(word))).collect();
    let problems =
        images.iter().filter(|image| image.state != ImageState::Ok).filter_map(|image| problem(tag, image)).collect();
    let state = images.iter().map(|image| image.state).max().unwrap_or(ImageState::Ok);
    let digest = Some(digest(&format!("index {tag}")));
    Version { tag: tag.to_owned(), state: VersionState::Images(state), digest, images, problems }
}

fn image(tag: &str, word: &str, platform: &str, state: ImageState) -> ImageRow {
    let pushed = digest(&format!("{word}-{tag}"));
    let before = digest(&format!("{word}-{tag} before"));
    let has_tag = !matches!(state, ImageState::Missing | ImageState::Orphan);
    ImageRow {
        arch: Some(word.to_owned()),
        tag: has_tag.then(|| format!("{word}-{tag}")),
        platform: Some(platform.to_owned()),
        state,
        digest: has_tag.then(|| pushed.clone()),
        published: match state {
            ImageState::Missing | ImageState::Unpublished => None,
            ImageState::Stale | ImageState::Mismatch | ImageState::Dangling => Some(before),
            _ => Some(pushed),
        },
        detail: match state {
            ImageState::Mismatch => Some("the image config says linux/amd64".to_owned()),
            ImageState::Dangling => Some("deleted while its index was still served".to_owned()),
            _ => None,
        },
    }
}

/// What an audit says of it.
fn problem(plain: &str, image: &ImageRow) -> Option<Problem> {
    let platform = image.platform.as_ref()?;
    let short =
        |digest: &Option<String>| digest.as_ref().map_or("nothing".to_owned(), |digest| digest[..19].to_owned());
    let (pushed, published) = (short(&image.digest), short(&image.published));
    let (code, message, remedy) = match image.state {
        ImageState::Stale => (
            "stale",
            format!("`{}` is {pushed} now, and `{plain}` still serves {published} for {platform}", image.tag.as_ref()?),
            "publish it: `onetag publish`",
        ),
        ImageState::Missing => (
            "arch-missing",
            format!("{platform} is required, and no tag of `{plain}` is for it"),
            "push what is missing",
        ),
        ImageState::Mismatch => (
            "config-arch-mismatch",
            format!("the tag promises {platform} but the image config says linux/amd64"),
            "push the right image under this tag, or see `--on-mismatch`",
        ),
        ImageState::Dangling => (
            "dangling",
            format!(
                "`{plain}` names {published} for {platform}, which the registry no longer has: pulling it there fails"
            ),
            "push the image again and publish; keep clean-ups from what an index names",
        ),
        ImageState::Orphan => (
            "orphan",
            format!("`{plain}` serves {published} for {platform}, and no architecture tag stands for it"),
            "push its architecture tag again, or publish without it by `--allow-removal`",
        ),
        _ => return None,
    };
    Some(Problem { code: code.to_owned(), tag: image.tag.clone(), message, remedy: Some(remedy.to_owned()) })
}

/// Ends a run of a tag's job like this.
pub(super) async fn run(store: &Store, of: &Repository, tag: &str, trigger: Trigger, end: End, entry: Option<Entry>) {
    let tag: Tag = tag.parse().expect("a tag");
    let (quiet, longest) = (Duration::ZERO, Duration::ZERO);
    let wake = Wake { repository: of.clone(), tag, trigger, quiet, longest, hint: None, event_id: None };
    store.accept(vec![wake]).await.expect("it is stored");
    let claimed = store.claim(Duration::from_secs(60), &[], 1).await.expect("it is claimed").pop().expect("a job");
    assert!(store.finish(&claimed, end, entry).await.expect("it ends"));
}

/// A publication of these architecture tags, each with what it stood for.
pub(super) fn pushed(before: Option<&str>, name: &str, images: &[(&str, &str)]) -> Entry {
    let inputs: BTreeMap<&str, Value> = images
        .iter()
        .map(|(tag, of)| (*tag, json!({ "digest": digest(of), "platform": "linux/amd64", "verdict": "verified" })))
        .collect();
    let parsed = |of: &str| digest(of).parse().expect("a digest");
    Entry {
        act: Act::Pushed,
        old_digest: before.map(parsed),
        new_digest: Some(parsed(name)),
        index: Some(StoredIndex {
            media_type: "application/vnd.oci.image.index.v1+json".to_owned(),
            bytes: name.as_bytes().to_vec(),
        }),
        inputs: json!(inputs),
        reasons: json!([]),
        requests: 14,
    }
}

pub(super) fn held(code: &str, message: &str) -> Entry {
    let reasons = json!([{ "code": code, "tag": null, "message": message, "weight": "hold" }]);
    Entry { act: Act::Held, new_digest: None, index: None, reasons, requests: 9, ..pushed(None, "", &[]) }
}

/// Ubuntu and Debian, as `multiarch` once had them, with everything that can go wrong.
pub(super) async fn collection(store: &Store) {
    let all: Vec<&str> = ARCHITECTURES.iter().map(|(word, _)| *word).collect();
    let old = ["amd64", "i386", "armel", "armhf", "arm64", "ppc64el"];
    let new = ["amd64", "armhf", "arm64", "ppc64el", "riscv64", "s390x"];
    let ubuntu = repository("registry.example.com/multiarch/ubuntu");
    let mut versions = vec![
        version("24.04", &new, &[("arm64", ImageState::Mismatch)]),
        version("25.10", &new, &[("riscv64", ImageState::Missing)]),
        version("22.04", &new, &[("armhf", ImageState::Stale)]),
        version("16.04", &old, &[("armel", ImageState::Dangling), ("ppc64el", ImageState::Orphan)]),
        version("26.04", &new, &[("s390x", ImageState::Unpublished)]),
    ];
    for tag in ["14.04", "18.04", "20.04", "bionic", "trusty", "xenial"] {
        versions.push(version(tag, &old, &[]));
    }
    for tag in ["23.10", "24.10", "25.04", "focal", "jammy", "noble", "oracular", "plucky"] {
        versions.push(version(tag, &new, &[]));
    }
    let mut latest = version("latest", &["amd64"], &[]);
    latest.state = VersionState::Foreign(Foreign::Foreign);
    latest.problems.push(Problem {
        code: "foreign-tag".to_owned(),
        tag: None,
        message: "the tag holds a single image that no architecture tag stands for".to_owned(),
        remedy: Some("`take_over = true` replaces it".to_owned()),
    });
    versions.push(latest);
    store.put_versions(&ubuntu, versions, None).await.expect("kept");

    let debian = repository("registry.example.com/multiarch/debian");
    let names = ["bookworm", "bullseye", "buster", "forky", "sid", "trixie", "stable", "testing", "unstable"];
    let mut versions: Vec<Version> = names.iter().map(|name| version(name, &all, &[])).collect();
    versions.push(version("jessie", &old, &[("armel", ImageState::Stale)]));
    store.put_versions(&debian, versions, None).await.expect("kept");
    let alpine = repository("registry.example.com/multiarch/alpine");
    let versions = ["3.20", "3.21", "3.22", "edge"].map(|name| version(name, &new, &[])).to_vec();
    store.put_versions(&alpine, versions, None).await.expect("kept");

    let hook = || Trigger::Hook("quay".to_owned());
    let mismatch = "`arm64-24.04`: the tag promises linux/arm64 but the image config says linux/amd64";
    let images = |arm64, armhf| [("amd64-24.04", "a1"), ("arm64-24.04", arm64), ("armhf-24.04", armhf)];
    let first = &images("b1", "c1")[..2];
    run(store, &ubuntu, "24.04", hook(), End::Done, Some(pushed(None, "index 1", first))).await;
    let second = pushed(Some("index 1"), "index 2", &images("b1", "c1"));
    run(store, &ubuntu, "24.04", hook(), End::Done, Some(second)).await;
    let third =
        pushed(Some("index 2"), "index 3", &[("amd64-24.04", "a1"), ("arm64-24.04", "b2"), ("s390x-24.04", "d")]);
    run(store, &ubuntu, "24.04", Trigger::Scan, End::Done, Some(third)).await;
    let entry = Some(held("config-arch-mismatch", mismatch));
    run(store, &ubuntu, "24.04", hook(), End::Held { reason: mismatch.to_owned() }, entry).await;
    let missing = "`riscv64-25.10`: riscv64 is required, but there is no such tag".to_owned();
    run(store, &ubuntu, "25.10", Trigger::Scan, End::Held { reason: missing }, None).await;
    let denied = "PUT /v2/multiarch/debian/manifests/buster was refused (DENIED): the account needs `push`".to_owned();
    run(store, &debian, "buster", hook(), End::Parked { reason: denied }, None).await;
    let jammy: Tag = "jammy".parse().expect("a tag");
    let kept = digest("index jammy").parse().expect("a digest");
    let hold = Hold {
        repository: ubuntu,
        tag: jammy,
        digest: kept,
        images: BTreeMap::new(),
        reason: "rolled back".to_owned(),
    };
    store.hold(hold).await.expect("held");
}
