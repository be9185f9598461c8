//! The suite on SQLite, and what only a file can show.

use std::os::unix::fs::PermissionsExt;

use onetag::store::{End, Filter, List, Store, StoreError};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, SqliteConnection};
use std::path::Path;
use tempfile::TempDir;

use super::{address, claim, claim_one, digest, suite, ubuntu, wake};

pub(crate) async fn empty() -> (Store, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(&address(&folder.path().join("onetag.db"))).await.expect("it opens");
    (store, folder)
}

suite!(crate::store::sqlite::empty);

/// Another program at the same file.
pub(super) async fn other_program(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(path).create_if_missing(true).connect().await.expect("it connects")
}

pub(super) async fn run(db: &mut SqliteConnection, sql: &'static str) {
    sqlx::raw_sql(sql).execute(db).await.expect(sql);
}

#[tokio::test]
async fn a_job_of_a_process_that_is_gone_is_due_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("onetag.db");
    let store = Store::open(&address(&path)).await.unwrap();
    store.accept(vec![wake("xenial")]).await.unwrap();
    let lost = claim_one(&store).await;
    store.close().await;

    let store = Store::open(&address(&path)).await.unwrap();
    assert_eq!(claim(&store).await.expect("it is due at once").starts, 2);
    assert!(!store.finish(&lost, End::Done, None).await.unwrap());
}

#[tokio::test]
async fn the_files_are_for_this_user_alone() {
    let (store, folder) = empty().await;
    store.accept(vec![wake("xenial")]).await.unwrap();
    let files: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap()).collect();
    assert_eq!(files.len(), 4, "the database, its log, the log's index and the lock");
    for file in files {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", file.path());
    }
}

#[tokio::test]
async fn a_clock_that_steps_makes_jobs_due_rather_than_late() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("onetag.db");
    let store = Store::open(&address(&path)).await.unwrap();
    store.accept(vec![super::quiet("xenial", super::HOUR)]).await.unwrap();
    assert!(claim(&store).await.is_none());

    // As if the clock had been a day ahead when the delivery came.
    let mut other = other_program(&path).await;
    run(&mut other, "UPDATE job SET due_at = due_at + 86400000, set_at = set_at + 86400000").await;
    run(&mut other, "UPDATE job SET burst_at = burst_at + 86400000").await;
    assert_eq!(store.next_due(&[]).await.unwrap(), Some(std::time::Duration::ZERO));
    claim_one(&store).await;

    // A wake-up counts from now, whatever the burst's beginning says.
    store.accept(vec![super::quiet("bionic", super::HOUR)]).await.unwrap();
    run(&mut other, "UPDATE job SET burst_at = burst_at + 86400000 WHERE tag = 'bionic'").await;
    store.accept(vec![super::quiet("bionic", super::HOUR)]).await.unwrap();
    let bionic = store.job(&ubuntu(), &super::tag("bionic")).await.unwrap().unwrap();
    assert!(bionic.due_in.is_some_and(|due| due <= super::HOUR), "{bionic:?}");
}

#[tokio::test]
async fn a_file_has_one_store_and_is_free_again_without_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("onetag.db");
    let first = Store::open(&address(&path)).await.unwrap();
    let second = Store::open(&address(&path)).await.expect_err("it is in use");
    assert!(matches!(second, StoreError::InUse { .. }), "{second}");
    assert_eq!(second.hint(), Some("stop the other one, or give this one a database of its own"));
    let link = folder.path().join("link.db");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let linked = Store::open(&address(&link)).await.expect_err("it is the same file");
    assert!(matches!(linked, StoreError::InUse { .. }), "{linked}");
    first.close().await;
    Store::open(&address(&path)).await.expect("it is free");
}

#[tokio::test]
async fn a_file_of_the_first_version_is_brought_up_to_date_with_all_that_is_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("onetag.db");
    let mut first = other_program(&path).await;
    run(&mut first, include_str!("../../../src/store/sqlite/schema/1.sql")).await;
    run(&mut first, "PRAGMA application_id = 1869505908; PRAGMA user_version = 1").await;
    let (amd64, index) = (digest("amd64"), digest("index"));
    let rows = format!(
        "INSERT INTO job (host, repository, tag, due_at, set_at, woken_at, burst_at, last_woken_at, quiet_ms, longest_ms,
             wakes, cause, event_id, hints, attempts, trouble, reason, troubled_at)
         VALUES ('quay.io', 'quay.io/multiarch/ubuntu', 'xenial', 1000, 1000, 900, 900, 1000, 0, 0, 2, 'hook:quay', 'e1',
             '{{\"amd64-xenial\": \"{amd64}\"}}', 3, 'failing', '503', 950);
         INSERT INTO quarantined (received_at, hook, reason, size, body) VALUES (1000, 'quay', 'not JSON', 1, x'78');
         INSERT INTO journal (repository, tag, act, new_digest, cause, inputs, reasons, requests, woken_at, recorded_at,
             media_type, index_bytes)
         VALUES ('quay.io/multiarch/ubuntu', 'xenial', 'pushed', '{index}', 'scan', '{{}}', '[]', 8, 900, 1000,
             'application/vnd.oci.image.index.v1+json', x'78');
         INSERT INTO hold (repository, tag, digest, images, reason, since)
         VALUES ('quay.io/multiarch/ubuntu', 'bionic', '{index}', '{{}}', 'broken libc', 1000);
         INSERT INTO fact VALUES ('config-1', '{amd64}', x'78', 1000);"
    );
    let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
    for table in sqlx::query_scalar::<_, String>(tables).fetch_all(&mut first).await.unwrap() {
        assert!(rows.contains(&format!("INTO {table} ")), "nothing in `{table}`");
    }
    sqlx::raw_sql(sqlx::AssertSqlSafe(rows)).execute(&mut first).await.unwrap();
    sqlx::Connection::close(first).await.unwrap();

    let store = Store::open(&address(&path)).await.expect("it is brought up to date");
    let version: i64 =
        sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut other_program(&path).await).await.unwrap();
    let schemas = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/sqlite/schema");
    assert_eq!(version, std::fs::read_dir(schemas).unwrap().count() as i64);
    assert_eq!(store.jobs(List::Troubled, 10).await.unwrap()[0].attempts, 3);
    let job = claim_one(&store).await;
    assert_eq!((job.tag.as_str(), job.event_id.as_deref(), job.woken_at_ms), ("xenial", Some("e1"), 900));
    assert_eq!(job.hints.values().collect::<Vec<_>>(), [&amd64]);
    assert_eq!(store.quarantined(10).await.unwrap()[0].body, b"x");
    let entry = store.history(None, None, 10, None).await.unwrap().remove(0);
    assert_eq!((entry.new_digest.as_ref(), entry.has_index), (Some(&index), true));
    assert_eq!(store.index(entry.id).await.unwrap().unwrap().bytes, b"x");
    assert_eq!(store.holds().await.unwrap()[0].hold.reason, "broken libc");
    assert_eq!(store.facts("config-1", &[amd64]).await.unwrap().len(), 1);
    assert_eq!(
        store.versions(&ubuntu(), &Filter::default(), None, 10).await.unwrap().len(),
        2,
        "the job's and the hold's"
    );
}

#[tokio::test]
async fn a_row_that_no_version_wrote_is_told_and_nothing_of_it_is_claimed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("onetag.db");
    let store = Store::open(&address(&path)).await.unwrap();
    store.accept(vec![wake("xenial")]).await.unwrap();
    run(&mut other_program(&path).await, "UPDATE job SET tag = '../etc'").await;
    let error = store.claim(super::HOUR, &[], 1).await.expect_err("no such tag");
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    store.accept(vec![wake("xenial")]).await.expect("deliveries are still stored");
}
