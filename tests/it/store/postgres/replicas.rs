//! Several processes on one database: leases, clocks, news, turns.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use onetag::store::{End, Store, Turn, Turns};

use super::super::{HOUR, claim, claim_one, deliver_at_last, quiet, tag, ubuntu, wake};
use super::two;
use crate::support::postgres::{connect, execute};
use crate::support::{Postgres, eventually};

/// As if the server's clock had stepped by this much since.
async fn step(address: &str, millis: i64) {
    let mut db = connect(address).await;
    let sql = format!(
        "UPDATE onetag.job SET due_at = due_at - {millis}, set_at = set_at - {millis}, burst_at = burst_at - {millis},
             leased_until = leased_until - {millis}"
    );
    execute(&mut db, sql).await;
}

const DAY_MS: i64 = 86_400_000;

#[tokio::test]
async fn a_job_is_one_processs_until_its_lease_ends_even_if_it_is_gone() {
    let (one, two, address) = two().await;
    deliver_at_last(&one, vec![wake("xenial")]).await;
    let lost = claim_one(&one).await;
    assert!(claim(&two).await.is_none());
    assert!(two.job(&ubuntu(), &tag("xenial")).await.unwrap().unwrap().is_running);
    assert_eq!(two.counts().await.unwrap().running, 1);
    one.close().await;

    assert!(two.next_due(&[]).await.unwrap().expect("the lease ends") > HOUR / 2);
    let next = eventually("the lease has ended", async || {
        step(&address, DAY_MS).await;
        claim(&two).await
    })
    .await;
    assert_eq!(next.starts, 2);
    assert!(!two.finish(&lost, End::Done, None).await.unwrap());
    assert!(two.finish(&next, End::Done, None).await.unwrap());
}

#[tokio::test]
async fn a_lease_that_the_clock_ended_leaves_its_holder_time_to_end_a_write() {
    let (one, two, address) = two().await;
    deliver_at_last(&one, vec![wake("xenial")]).await;
    let held = claim_one(&one).await;
    step(&address, DAY_MS).await;
    assert!(claim(&two).await.is_none(), "a write that was begun in time may be under way");
    assert!(!one.extend(&held, HOUR).await.unwrap(), "no further one begins");
    let next = two.next_due(&[]).await.unwrap().expect("it will be free");
    assert!(next > HOUR / 5 && next <= HOUR / 4, "a quarter of the lease: {next:?}");
    step(&address, DAY_MS).await;
    assert_eq!(claim_one(&two).await.starts, 2);
}

/// Its holder is gone, and it was woken meanwhile: the quiet time counts.
#[tokio::test]
async fn a_job_whose_lease_was_revoked_is_not_due_before_its_quiet_time_is_over() {
    let (one, two, address) = two().await;
    deliver_at_last(&one, vec![wake("xenial")]).await;
    claim_one(&one).await;
    deliver_at_last(&one, vec![quiet("xenial", HOUR)]).await;
    let mut db = connect(&address).await;
    for _ in ["the lease ends", "it is free"] {
        execute(&mut db, format!("UPDATE onetag.job SET leased_until = leased_until - {DAY_MS}")).await;
        assert!(claim(&two).await.is_none());
    }
    let next = two.next_due(&[]).await.unwrap().expect("it waits");
    assert!(next > HOUR / 2, "whoever looks again {next:?} from now looks in vain");
}

#[tokio::test]
async fn a_clock_that_steps_back_makes_jobs_due_and_leases_no_longer() {
    let (one, two, address) = two().await;
    deliver_at_last(&one, vec![wake("leased")]).await;
    let held = claim_one(&one).await;
    deliver_at_last(&one, vec![quiet("xenial", HOUR)]).await;
    assert!(claim(&two).await.is_none());
    step(&address, -DAY_MS).await;
    assert_eq!(claim_one(&two).await.tag, tag("xenial"), "nobody knows how long it still had to wait");
    let next = two.next_due(&[]).await.unwrap().expect("leases end");
    assert!(next <= HOUR, "{next:?}");
    assert!(one.extend(&held, HOUR).await.unwrap(), "it was not lost");
}

#[tokio::test]
async fn everything_due_is_claimed_once_however_many_claim() {
    let address = Postgres::shared().database().await;
    let stores = futures_util::future::join_all((0..3).map(|_| Store::open(&address))).await;
    let stores: Vec<Store> = stores.into_iter().map(Result::unwrap).collect();
    deliver_at_last(&stores[0], (0..200).map(|n| wake(&format!("v{n}"))).collect()).await;
    // Some that are due may be passed over, since another is just taking them.
    let count = Arc::new(AtomicUsize::new(0));
    let claimant = |store: Store, count: Arc<AtomicUsize>| async move {
        let mut tags = Vec::new();
        while count.load(Ordering::SeqCst) < 200 {
            let Some(job) = claim(&store).await else { continue };
            count.fetch_add(1, Ordering::SeqCst);
            tags.push(job.tag.to_string());
        }
        tags
    };
    let claimants = (0..12).map(|n| tokio::spawn(claimant(stores[n % 3].clone(), count.clone())));
    let mut claimed = futures_util::future::try_join_all(claimants).await.unwrap().concat();
    claimed.sort();
    claimed.dedup();
    assert_eq!(claimed.len(), 200);
    assert_eq!(stores[0].counts().await.unwrap().running, 200, "none was claimed twice");
}

#[tokio::test]
async fn processes_that_store_the_same_tags_do_not_stop_each_other() {
    let (one, two, _) = two().await;
    let flood = |store: Store, is_reversed: bool| async move {
        for _ in 0..40 {
            let mut wakes: Vec<_> = (0..50).map(|n| wake(&format!("v{n}"))).collect();
            if is_reversed {
                wakes.reverse();
            }
            deliver_at_last(&store, wakes).await;
        }
    };
    tokio::join!(flood(one.clone(), false), flood(two, true));
    assert_eq!(one.counts().await.unwrap().waiting, 50);
}

#[tokio::test]
async fn what_one_process_stores_the_others_hear() {
    let (one, two, _) = two().await;
    let mut changes = two.changes();
    deliver_at_last(&one, vec![wake("xenial")]).await;
    changes.next().await;
    let job = loop {
        match claim(&two).await {
            Some(job) => break job,
            None => changes.next().await,
        }
    };
    let mut changes = one.changes();
    two.finish(&job, End::Done, None).await.unwrap();
    while one.job(&ubuntu(), &tag("xenial")).await.unwrap().is_some() {
        changes.next().await;
    }
}

#[tokio::test]
async fn a_turn_is_one_processs_until_it_is_due_again() {
    let (one, two, address) = two().await;
    let take = async |store: &Store, subject: &str| store.take_turn("scan", subject, HOUR).await.unwrap();
    assert_eq!(take(&one, "a").await, Turn::Mine);
    let told = take(&two, "a").await;
    assert!(matches!(told, Turn::UnderWay { for_another, before: None } if for_another <= HOUR), "{told:?}");
    assert_eq!(take(&two, "b").await, Turn::Mine);
    one.end_turn("scan", "a", HOUR, Some("all well".into())).await.unwrap();
    let told = take(&two, "a").await;
    assert!(matches!(&told, Turn::Others(done) if done.ago < HOUR), "{told:?}");
    assert!(matches!(told, Turn::Others(done) if done.result.as_deref() == Some("all well")));

    // Whoever had it is gone, or the clock stepped back: somebody else does it.
    for now in ["next_at - 3600000", "next_at + 86400000"] {
        execute(&mut connect(&address).await, format!("UPDATE onetag.turn SET next_at = {now}")).await;
        assert!(matches!(take(&two, "a").await, Turn::Mine), "{now}");
        let told = take(&one, "a").await;
        assert!(matches!(&told, Turn::UnderWay { before: Some(done), .. } if done.result.is_some()), "{told:?}");
    }
}

#[tokio::test]
async fn processes_ask_a_registry_no_faster_together_than_one_would() {
    let (one, two, _) = two().await;
    let turns = Turns { count: 5, interval: Duration::from_secs(100), burst: Duration::from_secs(1000) };
    let first = one.reserve(ubuntu().host(), &turns).await.unwrap().expect("it is shared");
    assert!(first.late > Duration::from_secs(800) && first.first_in.is_zero(), "a burst is left: {first:?}");
    let second = two.reserve(ubuntu().host(), &turns).await.unwrap().expect("it is shared");
    let apart = first.late - second.late;
    assert!(apart > Duration::from_secs(490) && apart <= Duration::from_secs(500), "{first:?} {second:?}");
    let third = one.reserve(ubuntu().host(), &turns).await.unwrap().expect("it is shared");
    assert!(third.first_in > Duration::from_secs(90) && third.first_in <= Duration::from_secs(100), "{third:?}");
}

#[tokio::test]
async fn a_registry_that_asks_one_process_for_quiet_asks_all() {
    let (one, two, _) = two().await;
    assert_eq!(two.quiet().await.unwrap(), []);
    one.keep_quiet(ubuntu().host(), Duration::from_secs(60)).await.unwrap();
    two.keep_quiet(ubuntu().host(), Duration::from_secs(5)).await.unwrap();
    let (host, wait) = two.quiet().await.unwrap().remove(0);
    assert!(host == *ubuntu().host() && wait > Duration::from_secs(50), "the longer counts: {wait:?}");
}
