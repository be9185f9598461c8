//! A connection that is lost at the commit: neither lost nor done twice.

use onetag::store::{Act, End, List, Store};

use super::super::{HOUR, claim_one, deliver_at_last, entry, tag, ubuntu, wake};
use crate::support::{Cut, Moment, Postgres, eventually};

async fn behind_a_cut() -> (Store, Store, Cut) {
    let server = Postgres::shared();
    let address = server.database().await;
    let cut = Cut::before(server.port()).await;
    let through = address.replace(&format!(":{}/", server.port()), &format!(":{}/", cut.port()));
    (Store::open(&through).await.unwrap(), Store::open(&address).await.unwrap(), cut)
}

const MOMENTS: [Moment; 2] = [Moment::Before, Moment::After];

#[tokio::test]
async fn a_delivery_is_stored_once() {
    let (store, other, cut) = behind_a_cut().await;
    for (number, moment) in MOMENTS.into_iter().enumerate() {
        cut.arm(moment, 2);
        store.quarantine("quay", "not JSON", b"x").await.expect("it is stored in the end");
        assert!(cut.is_done());
        assert_eq!(other.quarantined(10).await.unwrap().len(), number + 1, "{moment:?}");

        cut.arm(moment, 2);
        let text = format!("v{number}");
        store.accept(vec![wake(&text)]).await.expect("it is stored in the end");
        assert_eq!(other.jobs(List::Active, 10).await.unwrap().len(), number + 1, "{moment:?}");
    }
}

#[tokio::test]
async fn a_job_is_claimed_once_and_is_the_claimants() {
    let (store, other, cut) = behind_a_cut().await;
    for moment in MOMENTS {
        deliver_at_last(&other, vec![wake("xenial")]).await;
        cut.arm(moment, 1);
        let job = store.claim(HOUR, &[], 1).await.unwrap().pop().expect("a job is due");
        assert!(cut.is_done());
        assert_eq!(job.starts, 1, "{moment:?}: what was not committed was no start");
        assert!(other.claim(HOUR, &[], 1).await.unwrap().is_empty());
        assert!(store.finish(&job, End::Done, None).await.unwrap());
    }
}

#[tokio::test]
async fn a_run_ends_once_and_with_one_entry() {
    let (store, other, cut) = behind_a_cut().await;
    for (number, moment) in MOMENTS.into_iter().enumerate() {
        for end in [End::Done, End::Retry { after: std::time::Duration::ZERO, reason: "again".into() }] {
            deliver_at_last(&other, vec![wake("xenial")]).await;
            let job = claim_one(&store).await;
            cut.arm(moment, 1);
            assert!(store.finish(&job, end, Some(entry(Act::Pushed, "x"))).await.unwrap(), "{moment:?}: it is ours");
            assert!(cut.is_done());
            assert!(!store.finish(&job, End::Done, None).await.unwrap(), "{moment:?}: it is over");
        }
        let again = claim_one(&store).await;
        assert!(store.finish(&again, End::Done, None).await.unwrap());
        assert_eq!(other.history(None, None, 10, None).await.unwrap().len(), 2 * (number + 1), "{moment:?}");
    }
}

#[tokio::test]
async fn what_a_person_did_is_written_down_once() {
    let (store, other, cut) = behind_a_cut().await;
    for (number, moment) in MOMENTS.into_iter().enumerate() {
        let reserved = store.reserve_tag(&ubuntu(), &tag("xenial"), HOUR).await.unwrap().expect("nobody has it");
        cut.arm(moment, 1);
        assert!(store.give_back(&reserved, Some(entry(Act::RolledBack, "x"))).await.unwrap(), "{moment:?}");
        assert!(cut.is_done());
        assert_eq!(other.history(None, None, 10, None).await.unwrap().len(), number + 1, "{moment:?}");
    }
}

#[tokio::test]
async fn a_start_is_taken_back_once() {
    let (store, other, cut) = behind_a_cut().await;
    for moment in MOMENTS {
        deliver_at_last(&other, vec![wake("xenial")]).await;
        let crashed = claim_one(&other).await;
        assert!(other.extend(&crashed, std::time::Duration::ZERO).await.unwrap());
        let job = claim_one(&store).await;
        assert_eq!(job.starts, 2);
        cut.arm(moment, 1);
        store.survived(&job).await.unwrap();
        assert!(cut.is_done());
        assert!(other.extend(&job, std::time::Duration::ZERO).await.unwrap());
        let last = claim_one(&other).await;
        assert_eq!(last.starts, 2, "{moment:?}: the first did crash");
        assert!(other.finish(&last, End::Done, None).await.unwrap());
    }
}

/// Hears until it has heard all there was to hear.
async fn settled(store: &Store) -> onetag::store::Changes {
    let mut changes = store.changes();
    while tokio::time::timeout(std::time::Duration::from_secs(1), changes.next()).await.is_ok() {}
    changes
}

const SOON: std::time::Duration = std::time::Duration::from_secs(30);

#[tokio::test]
async fn a_word_that_is_lost_on_its_way_is_not_the_last() {
    let (store, other, cut) = behind_a_cut().await;
    let mut changes = settled(&other).await;
    cut.swallow_a_word();
    deliver_at_last(&store, vec![wake("xenial")]).await;
    eventually("nobody was told", async || cut.is_done().then_some(())).await;
    deliver_at_last(&store, vec![wake("bionic")]).await;
    tokio::time::timeout(SOON, changes.next()).await.expect("the next is told");
}

#[tokio::test]
async fn a_connection_that_falls_silent_is_not_listened_to_for_ever() {
    let (store, other, cut) = behind_a_cut().await;
    let mut changes = settled(&store).await;
    cut.silence();
    deliver_at_last(&other, vec![wake("xenial")]).await;
    tokio::time::timeout(SOON, changes.next()).await.expect("it is heard of on another connection");
}

/// Deliveries, claims and ends while every few commits are cut: as if nothing had been.
#[tokio::test]
async fn two_hundred_lost_commits_lose_and_double_nothing() {
    let (store, other, cut) = behind_a_cut().await;
    for number in 0..100 {
        let text = format!("v{number}");
        let moment = MOMENTS[number % 2];
        cut.arm(moment, 1);
        deliver_at_last(&store, vec![wake(&text)]).await;
        assert!(cut.is_done());
        let job = claim_one(&store).await;
        assert_eq!((job.tag.as_str(), job.starts), (text.as_str(), 1));
        cut.arm(moment, 1);
        assert!(store.finish(&job, End::Done, Some(entry(Act::Pushed, &text))).await.unwrap());
    }
    assert_eq!(other.history(None, None, 1000, None).await.unwrap().len(), 100);
    assert_eq!(other.jobs(List::Active, 10).await.unwrap(), []);
}
