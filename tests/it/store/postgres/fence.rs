//! A server that lost its latest commits: whoever was given a lease by one of them has it no more.
//!
//! A standby that nobody waited for goes on from an earlier state, and gives the same row again.

use onetag::store::{Act, End, Store};

use super::super::{HOUR, claim_one, deliver_at_last, entry, tag, ubuntu, wake};
use super::two;
use crate::support::eventually;
use crate::support::postgres::{connect, execute};

async fn remember(address: &str) {
    execute(&mut connect(address).await, "CREATE TABLE before AS SELECT * FROM onetag.job").await;
}

/// As the standby has it: the rows, and the numbers that are given to new ones.
async fn lose_what_was_done_since(address: &str) {
    let lost = "BEGIN; LOCK TABLE onetag.job;
                DELETE FROM onetag.job;
                ALTER TABLE onetag.job ALTER COLUMN id RESTART;
                INSERT INTO onetag.job OVERRIDING SYSTEM VALUE SELECT * FROM before;
                COMMIT";
    execute(&mut connect(address).await, lost).await;
}

async fn reserve(store: &Store) -> onetag::store::Claimed {
    eventually("the tag can be reserved", async || store.reserve_tag(&ubuntu(), &tag("xenial"), HOUR).await.unwrap())
        .await
}

#[tokio::test]
async fn a_claim_that_was_lost_is_not_the_next_one() {
    let (one, two, address) = two().await;
    deliver_at_last(&one, vec![wake("xenial")]).await;
    remember(&address).await;
    let lost = claim_one(&one).await;
    lose_what_was_done_since(&address).await;
    let next = claim_one(&two).await;

    assert!(!one.extend(&lost, HOUR).await.unwrap(), "two would write one tag");
    assert!(!one.finish(&lost, End::Done, Some(entry(Act::Pushed, "x"))).await.unwrap());
    assert!(two.extend(&next, HOUR).await.unwrap());
    assert!(two.finish(&next, End::Done, None).await.unwrap());
    assert_eq!(two.history(None, None, 10, None).await.unwrap(), []);
}

#[tokio::test]
async fn a_reservation_that_was_lost_is_not_the_next_one() {
    let (one, two, address) = two().await;
    remember(&address).await;
    let lost = reserve(&one).await;
    lose_what_was_done_since(&address).await;
    let next = reserve(&two).await;
    assert!(!one.extend(&lost, HOUR).await.unwrap(), "the tag has the same number, and is another's");
    assert!(two.give_back(&next, None).await.unwrap());
}

#[tokio::test]
async fn a_lost_reservation_of_a_tag_that_waits_is_not_the_next_one() {
    let (one, two, address) = two().await;
    deliver_at_last(&one, vec![wake("xenial")]).await;
    remember(&address).await;
    let lost = reserve(&one).await;
    lose_what_was_done_since(&address).await;
    let next = reserve(&two).await;
    assert!(!one.extend(&lost, HOUR).await.unwrap());
    assert!(two.give_back(&next, None).await.unwrap());
}
