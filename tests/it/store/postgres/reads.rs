//! What reading costs: the server, and those who do not read.

use std::time::Duration;

use onetag::store::{Store, StoreError};

use super::super::{HOUR, claim_one, deliver_at_last, digest, ubuntu, wake};
use super::two;
use crate::support::eventually;
use crate::support::postgres::{connect, execute};

/// As many old entries as this: of tags that were pushed once, then of tags that never were.
async fn fill_journal(address: &str, publications: u32, failures: u32) {
    let sql = format!(
        "INSERT INTO onetag.journal (repository, tag, act, cause, inputs, reasons, requests, woken_at, recorded_at)
         SELECT 'quay.io/multiarch/ubuntu', 'v' || n, CASE WHEN n > {publications} THEN 'failed' ELSE 'pushed' END,
                'scan', '{{}}', '[]', 1, 1, 1
         FROM generate_series(1, {publications} + {failures}) AS n;
         ANALYZE onetag.journal"
    );
    execute(&mut connect(address).await, sql).await;
}

/// How many rows of the journal were read by sessions that are over.
async fn rows_read(address: &str) -> i64 {
    let mut db = connect(address).await;
    eventually("the sessions are over", async || {
        let sql =
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'onetag'";
        let count: i64 = sqlx::query_scalar(sql).fetch_one(&mut connect(address).await).await.ok()?;
        (count == 0).then_some(())
    })
    .await;
    let sql = "SELECT seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_user_tables WHERE relname = 'journal'";
    sqlx::query_scalar(sql).fetch_one(&mut db).await.unwrap()
}

#[tokio::test]
async fn a_long_journal_is_not_read_to_learn_of_its_repositories() {
    let (one, two, address) = two().await;
    two.close().await;
    fill_journal(&address, 5000, 0).await;
    assert_eq!(one.repositories().await.unwrap(), [ubuntu()]);
    one.close().await;
    let read = rows_read(&address).await;
    assert!(read < 100, "{read} rows were read");
}

/// Those that stay stand before those that go.
#[tokio::test]
async fn forgetting_reads_what_stays_once() {
    let (one, two, address) = two().await;
    two.close().await;
    fill_journal(&address, 6000, 6000).await;
    assert_eq!(one.forget_before(0).await.unwrap(), 6000);
    one.close().await;
    let read = rows_read(&address).await;
    assert!(read < 70_000, "{read} rows were read");
}

#[tokio::test]
async fn what_is_old_is_forgotten_by_one_process_for_all() {
    let (one, two, address) = two().await;
    fill_journal(&address, 0, 700).await;
    // Another is at it.
    execute(&mut connect(&address).await, "INSERT INTO onetag.turn VALUES ('forget', '0', 4e12, 4e12)").await;
    assert_eq!(two.forget_before(0).await.unwrap(), 0);
    execute(&mut connect(&address).await, "DELETE FROM onetag.turn").await;
    assert_eq!(one.forget_before(0).await.unwrap(), 700);
}

/// Holds a table so that nobody can read it until the connection is closed.
async fn held(address: &str, table: &str) -> sqlx::PgConnection {
    let mut db = connect(address).await;
    execute(&mut db, format!("BEGIN; LOCK TABLE onetag.{table}")).await;
    db
}

#[tokio::test]
async fn a_read_that_nobody_waits_for_any_more_ends_on_the_server_too() {
    let (one, _two, address) = two().await;
    let _held = held(&address, "fact").await;
    let read = one.facts("config-1", &[digest("a")]).await;
    assert!(matches!(read, Err(StoreError::Slow)), "{read:?}");
    eventually("no statement is left", async || {
        let sql = "SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock' AND state = 'active'";
        let count: i64 = sqlx::query_scalar(sql).fetch_one(&mut connect(&address).await).await.ok()?;
        (count == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn reads_that_take_long_hold_up_neither_deliveries_nor_leases() {
    let (one, _two, address) = two().await;
    deliver_at_last(&one, vec![wake("xenial")]).await;
    let job = claim_one(&one).await;
    let _held = held(&address, "version").await;
    let reads = (0..20).map(|_| {
        let one: Store = one.clone();
        tokio::spawn(async move { one.found_tags(&ubuntu()).await })
    });
    let reads: Vec<_> = reads.collect();
    eventually("many read at one time", async || {
        let sql = "SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock' AND state = 'active'";
        let count: i64 = sqlx::query_scalar(sql).fetch_one(&mut connect(&address).await).await.ok()?;
        (count >= 5).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    deliver_at_last(&one, vec![wake("bionic")]).await;
    assert!(one.extend(&job, HOUR).await.unwrap());
    assert!(!reads[0].is_finished(), "it was stored and kept while they read");
}
