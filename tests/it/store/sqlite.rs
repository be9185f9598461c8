//! The suite on SQLite, and what only a file can show.

use std::os::unix::fs::PermissionsExt;

use onetag::store::{End, Store, StoreError};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, SqliteConnection};
use std::path::Path;
use tempfile::TempDir;

use super::{address, claim, claim_one, stories, ubuntu, wake};

async fn empty() -> (Store, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(&address(&folder.path().join("onetag.db"))).await.expect("it opens");
    (store, folder)
}

stories! { super::super::sqlite::empty:
    jobs {
        wakes_of_one_tag_are_one_job_with_the_newest_hint_of_each_image,
        one_event_a_thousand_times_is_one_job,
        ten_thousand_tags_in_one_delivery_are_as_many_jobs,
        a_job_waits_for_quiet_and_each_wake_begins_it_anew,
        quiet_time_has_an_end_however_often_the_tag_is_woken,
        the_job_that_was_due_first_is_claimed_first,
        a_busy_registry_does_not_keep_the_others_waiting,
        nothing_is_due_where_nothing_waits,
        a_lost_lease_can_write_nothing,
        a_run_ends_once,
        a_finished_tag_that_comes_back_is_not_the_old_job,
        a_wake_during_a_run_makes_the_job_wait_again,
        a_failed_run_comes_back_with_its_hints_and_its_first_wake,
        a_job_that_waits_for_more_is_in_no_trouble,
        a_job_given_up_is_listed_and_waits_again_when_woken,
        trouble_is_told_since_when_it_is_of_its_kind,
        lists_and_counts_tell_running_from_waiting,
        whoever_listens_hears_of_wakes_and_releases,
        what_cannot_be_used_is_kept_cut_and_counted,
        everything_that_64_callers_were_told_is_stored_is_there,
        a_closed_store_says_so,
    }
    journal {
        an_entry_tells_what_was_done_for_whom_and_from_what,
        history_is_read_newest_first_page_by_page,
        history_is_that_of_a_repository_or_of_a_tag_too,
        the_last_publication_is_found_under_later_failures,
        forgetting_keeps_the_newest_publication_of_each_tag,
        more_entries_than_one_statement_forgets_are_forgotten,
        a_hold_stands_until_it_is_replaced_or_released,
        facts_are_known_by_kind_and_digest,
    }
    versions {
        what_was_found_is_listed_as_it_was_kept,
        only_what_differs_is_told_and_since_is_that_of_the_state,
        held_and_given_up_come_first_then_what_is_not_right,
        a_list_is_filtered_by_state_architecture_and_name,
        a_long_list_is_read_page_by_page,
        tags_that_are_gone_are_forgotten,
    }
}

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
    assert_eq!(claim_one(&store).await.starts, 2);
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
async fn a_row_that_no_version_wrote_is_told_and_nothing_of_it_is_claimed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("onetag.db");
    let store = Store::open(&address(&path)).await.unwrap();
    store.accept(vec![wake("xenial")]).await.unwrap();
    run(&mut other_program(&path).await, "UPDATE job SET tag = '../etc'").await;
    let error = store.claim(super::HOUR, &[]).await.expect_err("no such tag");
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    store.accept(vec![wake("xenial")]).await.expect("deliveries are still stored");
}
