//! Stories of the journal, of holds and of facts that hold on any database.

use std::time::Duration;

use onetag::model::Repository;
use onetag::store::{Act, End, Entry, Hold, Known, Store, Trigger, Wake};

use super::{claim, claim_one, deliver_at_last, digest, entry, record, repository, tag, ubuntu, wake};

/// Runs a job of this tag that ends with this entry.
async fn run(store: &Store, text: &str, entry: Entry) {
    deliver_at_last(store, vec![wake(text)]).await;
    let job = claim_one(store).await;
    assert!(store.finish(&job, End::Done, Some(entry)).await.unwrap());
}

fn without_index(act: Act) -> Entry {
    Entry { index: None, new_digest: None, ..entry(act, "") }
}

pub(crate) async fn an_entry_tells_what_was_done_for_whom_and_from_what(store: Store) {
    run(&store, "xenial", entry(Act::Pushed, "index")).await;
    let told = store.history(None, None, 10, None).await.unwrap().remove(0);
    assert_eq!((told.repository, told.tag, told.act), (ubuntu(), tag("xenial"), Act::Pushed));
    assert_eq!((told.old_digest, told.new_digest), (None, Some(digest("index"))));
    assert_eq!((told.trigger, told.requests), (Trigger::Hook("quay".into()), 8));
    assert_eq!(told.inputs, entry(Act::Pushed, "").inputs);
    assert!(told.woken_at_ms <= told.recorded_at_ms);
    assert!(told.has_index);
    assert_eq!(store.index(told.id).await.unwrap(), entry(Act::Pushed, "index").index);
    assert_eq!(store.index(told.id + 1).await.unwrap(), None);
}

pub(crate) async fn history_is_read_newest_first_page_by_page(store: Store) {
    for n in 0..5 {
        run(&store, "xenial", entry(Act::Pushed, &n.to_string())).await;
    }
    let mut seen = Vec::new();
    let mut before = None;
    loop {
        let page = store.history(None, None, 2, before).await.unwrap();
        let Some(last) = page.last() else { break };
        before = Some(last.id);
        seen.extend(page.into_iter().map(|entry| entry.new_digest.unwrap()));
    }
    assert_eq!(seen, ["4", "3", "2", "1", "0"].map(digest));
}

pub(crate) async fn history_is_that_of_a_repository_or_of_a_tag_too(store: Store) {
    run(&store, "xenial", entry(Act::Pushed, "x")).await;
    run(&store, "bionic", entry(Act::Pushed, "b")).await;
    let other = repository("ghcr.io/acme/app");
    record(&store, &other, "xenial", entry(Act::RolledBack, "o")).await;

    let count = async |of: Option<Repository>, text: Option<&str>| {
        let text = text.map(tag);
        store.history(of.as_ref(), text.as_ref(), 10, None).await.unwrap().len()
    };
    assert_eq!(count(None, None).await, 3);
    assert_eq!(count(Some(ubuntu()), None).await, 2);
    assert_eq!(count(None, Some("xenial")).await, 2);
    assert_eq!(count(Some(ubuntu()), Some("bionic")).await, 1);
    assert_eq!(count(Some(other), Some("bionic")).await, 0);
}

pub(crate) async fn the_last_publication_is_found_under_later_failures(store: Store) {
    assert_eq!(store.known(&ubuntu(), &tag("xenial")).await.unwrap(), Known::default());
    run(&store, "xenial", entry(Act::Pushed, "one")).await;
    run(&store, "xenial", entry(Act::RolledBack, "two")).await;
    run(&store, "xenial", without_index(Act::Held)).await;
    run(&store, "xenial", without_index(Act::Failed)).await;
    run(&store, "bionic", entry(Act::Pushed, "three")).await;
    deliver_at_last(&store, vec![wake("xenial")]).await;
    let known = store.known(&ubuntu(), &tag("xenial")).await.unwrap();
    let last = known.published.expect("it was published");
    assert_eq!((last.act, last.new_digest), (Act::RolledBack, Some(digest("two"))));
    assert_eq!(known.newest.expect("something was done").act, Act::Failed);
    assert!(known.job.is_some_and(|job| !job.is_running) && known.held.is_none());
}

pub(crate) async fn repositories_of_jobs_and_entries_are_known_once_each(store: Store) {
    assert_eq!(store.repositories().await.unwrap(), []);
    for text in ["xenial", "bionic"] {
        run(&store, text, entry(Act::Pushed, "x")).await;
        record(&store, &repository("ghcr.io/acme/app"), text, entry(Act::RolledBack, "o")).await;
    }
    let elsewhere = Wake { repository: repository("quay.io/acme/tool"), ..wake("v1") };
    deliver_at_last(&store, vec![wake("xenial"), wake("focal"), elsewhere]).await;
    let mut known = store.repositories().await.unwrap();
    known.sort();
    assert_eq!(known, ["ghcr.io/acme/app", "quay.io/acme/tool", "quay.io/multiarch/ubuntu"].map(repository));
}

pub(crate) async fn forgetting_keeps_the_newest_publication_of_each_tag(store: Store) {
    run(&store, "xenial", entry(Act::Pushed, "one")).await;
    run(&store, "xenial", entry(Act::Pushed, "two")).await;
    run(&store, "xenial", without_index(Act::Failed)).await;
    run(&store, "bionic", entry(Act::Unchanged, "three")).await;
    store.put_facts("config-1", vec![(digest("a"), b"fact".to_vec())]).await.unwrap();
    deliver_at_last(&store, vec![wake("parked")]).await;
    let parked = claim_one(&store).await;
    store.finish(&parked, End::Parked { reason: "no".into() }, None).await.unwrap();
    deliver_at_last(&store, vec![wake("waiting")]).await;

    assert_eq!(store.forget_before(1).await.unwrap(), 0, "nothing is a day old");
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(store.forget_before(0).await.unwrap(), 2);
    let kept = store.history(None, None, 10, None).await.unwrap();
    assert_eq!(kept.iter().map(|e| e.new_digest.clone().unwrap()).collect::<Vec<_>>(), ["three", "two"].map(digest));
    assert!(store.facts("config-1", &[digest("a")]).await.unwrap().is_empty());
    assert_eq!(store.counts().await.unwrap().parked, 0);
    assert_eq!(claim(&store).await.expect("what waits is not forgotten").tag, tag("waiting"));
}

pub(crate) async fn more_entries_than_one_statement_forgets_are_forgotten(store: Store) {
    for _ in 0..600 {
        record(&store, &ubuntu(), "xenial", without_index(Act::Failed)).await;
    }
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(store.forget_before(0).await.unwrap(), 600);
}

pub(crate) async fn a_hold_stands_until_it_is_replaced_or_released(store: Store) {
    let hold = Hold {
        repository: ubuntu(),
        tag: tag("xenial"),
        digest: digest("before"),
        images: [(tag("amd64-xenial"), digest("amd64"))].into(),
        reason: "broken libc".into(),
    };
    store.hold(Hold { reason: "a first word".into(), ..hold.clone() }).await.unwrap();
    store.hold(hold.clone()).await.unwrap();
    let held = store.held(&ubuntu(), &tag("xenial")).await.unwrap().expect("it is held");
    assert_eq!(held.hold, hold);
    assert_eq!(store.holds().await.unwrap(), [held]);
    assert_eq!(store.held(&ubuntu(), &tag("bionic")).await.unwrap(), None);

    assert!(store.release(&ubuntu(), &tag("xenial")).await.unwrap());
    assert!(!store.release(&ubuntu(), &tag("xenial")).await.unwrap());
    assert_eq!(store.holds().await.unwrap(), []);
}

pub(crate) async fn facts_are_known_by_kind_and_digest(store: Store) {
    let put = |value: &str| vec![(digest("a"), value.as_bytes().to_vec()), (digest("b"), b"bee".to_vec())];
    store.put_facts("config-1", put("old")).await.unwrap();
    store.put_facts("config-1", put("new")).await.unwrap();
    store.put_facts("elf-1", Vec::new()).await.unwrap();
    let known = store.facts("config-1", &[digest("a"), digest("c")]).await.unwrap();
    assert_eq!(known, [(digest("a"), b"new".to_vec())].into());
    assert!(store.facts("elf-1", &[digest("a")]).await.unwrap().is_empty());
    assert!(store.facts("config-1", &[]).await.unwrap().is_empty());
}
