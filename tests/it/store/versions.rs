//! Stories of plain tags as they were found that hold on any database.

use std::collections::{BTreeMap, BTreeSet};

use onetag::model::version::{Foreign, ImageRow, ImageState, Problem, Version, VersionState};
use onetag::store::{End, Filter, Hold, Listed, Standing, Store};

use super::{claim_one, deliver_at_last, digest, repository, tag, ubuntu, wake};

fn image(arch: &str, platform: &str, state: ImageState) -> ImageRow {
    ImageRow {
        arch: Some(arch.to_owned()),
        tag: None,
        platform: Some(platform.to_owned()),
        state,
        digest: None,
        published: None,
        detail: None,
    }
}

/// A version of an amd64 image in order and an armhf image in this state.
fn version(name: &str, armhf: ImageState) -> Version {
    Version {
        tag: name.to_owned(),
        state: VersionState::Images(armhf),
        digest: Some(digest(name).to_string()),
        images: vec![image("amd64", "linux/amd64", ImageState::Ok), image("armhf", "linux/arm/v7", armhf)],
        problems: Vec::new(),
    }
}

async fn list(store: &Store, filter: &Filter) -> Vec<Listed> {
    store.versions(&ubuntu(), filter, None, 1000).await.unwrap()
}

async fn names(store: &Store, filter: &Filter) -> Vec<String> {
    list(store, filter).await.into_iter().map(|listed| listed.tag.to_string()).collect()
}

fn state(text: &str) -> Filter {
    Filter { state: Some(Standing::from(text)), ..Filter::default() }
}

async fn end(store: &Store, name: &str, end: End) {
    deliver_at_last(store, vec![wake(name)]).await;
    let job = claim_one(store).await;
    assert!(store.finish(&job, end, None).await.unwrap());
}

pub(crate) async fn what_was_found_is_listed_as_it_was_kept(store: Store) {
    let mut odd = version("xenial", ImageState::Dangling);
    odd.problems.push(Problem {
        code: "dangling".to_owned(),
        tag: Some("armhf-xenial".to_owned()),
        message: "gone <b>\u{202e}".to_owned(),
        remedy: Some("push it again".to_owned()),
    });
    store.put_versions(&ubuntu(), vec![odd.clone()], None).await.unwrap();
    let listed = store.version(&ubuntu(), &tag("xenial")).await.unwrap().unwrap();
    let found = listed.found.unwrap();
    assert_eq!(found.version, odd);
    assert!(found.since_ms > 0 && found.since_ms <= found.checked_at_ms);
    assert_eq!((listed.trouble, listed.hold), (None, None));
    assert_eq!(store.version(&ubuntu(), &tag("bionic")).await.unwrap(), None);
    assert_eq!(store.version(&repository("quay.io/acme/other"), &tag("xenial")).await.unwrap(), None);
}

pub(crate) async fn only_what_differs_is_told_and_since_is_that_of_the_state(store: Store) {
    let fine = version("xenial", ImageState::Ok);
    let first = store.put_versions(&ubuntu(), vec![fine.clone()], None).await.unwrap();
    assert_eq!(first.len(), 1);
    assert_eq!(first[0].before, None);
    let since = async || list(&store, &Filter::default()).await.remove(0).found.unwrap();
    let began = since().await;

    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    assert_eq!(store.put_versions(&ubuntu(), vec![fine.clone()], None).await.unwrap(), []);
    let again = since().await;
    assert_eq!(again.since_ms, began.since_ms);
    assert!(again.checked_at_ms > began.checked_at_ms);

    let other = Version { digest: None, ..fine.clone() };
    let told = store.put_versions(&ubuntu(), vec![other.clone()], None).await.unwrap();
    assert_eq!((&told[0].version, told[0].before.as_ref()), (&other, Some(&fine)));
    assert_eq!(since().await.since_ms, began.since_ms, "it is another index in the same state");

    store.put_versions(&ubuntu(), vec![version("xenial", ImageState::Stale)], None).await.unwrap();
    assert!(since().await.since_ms > began.since_ms);
}

pub(crate) async fn held_and_given_up_come_first_then_what_is_not_right(store: Store) {
    let versions = [("a", ImageState::Ok), ("b", ImageState::Stale), ("c", ImageState::Ok), ("d", ImageState::Ok)];
    let versions = versions.map(|(name, state)| version(name, state)).to_vec();
    store.put_versions(&ubuntu(), versions, None).await.unwrap();
    end(&store, "c", End::Held { reason: "arm64 is missing".to_owned() }).await;
    end(&store, "z", End::Parked { reason: "may not push".to_owned() }).await;
    let images = BTreeMap::new();
    let (repository, name) = (ubuntu(), tag("d"));
    let hold = Hold { repository, tag: name, digest: digest("d"), images, reason: "rolled back".to_owned() };
    store.hold(hold).await.unwrap();

    assert_eq!(names(&store, &Filter::default()).await, ["c", "d", "z", "b", "a"]);
    let listed = list(&store, &Filter::default()).await;
    assert_eq!(listed[0].trouble.as_ref().unwrap().reason, "arm64 is missing");
    assert_eq!(listed[1].hold.as_ref().unwrap().hold.reason, "rolled back");
    assert_eq!(listed[2].found, None, "nobody could look at it");
    assert_eq!(names(&store, &state("held")).await, ["c", "d"]);
    assert_eq!(names(&store, &state("parked")).await, ["z"]);
    assert_eq!(names(&store, &state("attention")).await, ["c", "d", "z", "b"]);
    assert_eq!(store.version(&ubuntu(), &tag("d")).await.unwrap().unwrap().hold, listed[1].hold);

    let tally = store.tally(&ubuntu(), &Filter::default()).await.unwrap();
    assert_eq!((tally.versions, tally.stopped, tally.attention), (5, 3, 4));
    let states: Vec<_> = tally.states.iter().map(|(state, count)| (state.as_str(), *count)).collect();
    assert_eq!(states, [("held", 2), ("ok", 3), ("parked", 1), ("stale", 1)]);
}

pub(crate) async fn a_list_is_filtered_by_state_architecture_and_name(store: Store) {
    let mut foreign = version("Xenial-Old", ImageState::Ok);
    foreign.state = VersionState::Foreign(Foreign::Foreign);
    foreign.images.truncate(1);
    let versions = vec![version("xenial", ImageState::Stale), version("bionic", ImageState::Missing), foreign];
    store.put_versions(&ubuntu(), versions, None).await.unwrap();

    assert_eq!(names(&store, &state("stale")).await, ["xenial"]);
    assert_eq!(names(&store, &state("foreign")).await, ["Xenial-Old"]);
    assert_eq!(names(&store, &state("ok")).await, [""; 0]);
    let of = |arch: &str, state: Option<&str>| Filter {
        arch: Some(arch.to_owned()),
        state: state.map(Standing::from),
        ..Filter::default()
    };
    assert_eq!(names(&store, &of("armhf", None)).await, ["bionic", "xenial"]);
    assert_eq!(names(&store, &of("linux/arm/v7", None)).await, ["bionic", "xenial"]);
    assert_eq!(names(&store, &of("armhf", Some("missing"))).await, ["bionic"]);
    assert_eq!(names(&store, &of("amd64", Some("missing"))).await, [""; 0], "it is armhf that is missing");
    let named = |part: &str| Filter { name: Some(part.to_owned()), ..Filter::default() };
    assert_eq!(names(&store, &named("XENIAL")).await, ["Xenial-Old", "xenial"]);
    assert_eq!(names(&store, &named("%")).await, [""; 0]);
    assert_eq!(store.tally(&ubuntu(), &named("xenial")).await.unwrap().versions, 2);

    let architectures = store.architectures(&ubuntu()).await.unwrap();
    let shown: Vec<_> = architectures.iter().map(|it| (&*it.name, it.platform.as_deref(), it.versions)).collect();
    assert_eq!(shown, [("amd64", Some("linux/amd64"), 3), ("armhf", Some("linux/arm/v7"), 2)]);
}

pub(crate) async fn a_long_list_is_read_page_by_page(store: Store) {
    let state = |n: usize| if n.is_multiple_of(100) { ImageState::Dangling } else { ImageState::Ok };
    let versions = (0..1000).map(|n| version(&format!("v{n:04}"), state(n))).collect();
    store.put_versions(&ubuntu(), versions, None).await.unwrap();
    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let page = store.versions(&ubuntu(), &Filter::default(), after.as_ref(), 300).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.place.to_string().parse().unwrap());
        seen.extend(page.into_iter().map(|listed| listed.tag.to_string()));
    }
    assert_eq!(seen.len(), 1000);
    assert_eq!(BTreeSet::from_iter(&seen).len(), 1000);
    assert_eq!((&*seen[9], &*seen[10]), ("v0900", "v0001"), "what is wrong comes first");
    assert!(["", "1", ":", "x:xenial", "0:-"].iter().all(|text| text.parse::<onetag::store::Place>().is_err()));
}

pub(crate) async fn tags_that_are_gone_are_forgotten(store: Store) {
    let versions = ["a", "b", "c"].map(|name| version(name, ImageState::Ok)).to_vec();
    store.put_versions(&ubuntu(), versions.clone(), None).await.unwrap();
    let other = repository("quay.io/acme/other");
    store.put_versions(&other, versions, None).await.unwrap();
    assert_eq!(store.found_tags(&ubuntu()).await.unwrap(), BTreeSet::from(["a", "b", "c"].map(tag)));
    store.forget_versions(&ubuntu(), &BTreeSet::from(["a", "c", "never"].map(tag))).await.unwrap();
    assert_eq!(names(&store, &Filter::default()).await, ["b"]);
    assert_eq!(store.architectures(&ubuntu()).await.unwrap()[0].versions, 1);

    let overview = store.overview().await.unwrap();
    let counts: Vec<_> = overview.iter().map(|it| (it.repository.to_string(), it.tally.versions)).collect();
    assert_eq!(counts, [("quay.io/acme/other".to_owned(), 3), ("quay.io/multiarch/ubuntu".to_owned(), 1)]);
    assert!(overview.iter().all(|it| it.checked_at_ms.is_some()));
}
