//! The store: what it promises on any database, and what the file of one may suffer.

#![allow(clippy::unwrap_used, reason = "nothing is expected to fail here but what a story is about")]

mod child;
mod crash;
mod faults;
mod jobs;
mod journal;
mod postgres;
mod sqlite;
mod versions;

use std::path::Path;
use std::time::Duration;

use onetag::model::{Digest, Repository, Tag};
use onetag::store::{Act, Claimed, Entry, Store, StoreError, StoredIndex, Trigger, Wake};

const HOUR: Duration = Duration::from_secs(3600);

/// Each story of the suite as a test of its own, on an empty store that `$open` makes.
macro_rules! stories {
    ($open:path: $($module:ident { $($story:ident,)* })*) => {$(
        mod $module {
            $(#[tokio::test]
            async fn $story() {
                let (store, _kept) = $open().await;
                crate::store::$module::$story(store).await;
            })*
        }
    )*};
}
pub(crate) use stories;

/// Every story that holds on any database, on empty stores that `$open` makes.
macro_rules! suite {
    ($open:path) => {
        crate::store::stories! { $open:
            jobs {
                wakes_of_one_tag_are_one_job_with_the_newest_hint_of_each_image,
                one_event_a_thousand_times_is_one_job,
                ten_thousand_tags_in_one_delivery_are_as_many_jobs,
                a_job_waits_for_quiet_and_each_wake_begins_it_anew,
                quiet_time_has_an_end_however_often_the_tag_is_woken,
                the_job_that_was_due_first_is_claimed_first,
                several_jobs_are_claimed_at_once_and_no_more_than_asked_for,
                a_busy_registry_does_not_keep_the_others_waiting,
                nothing_is_due_where_nothing_waits,
                a_lost_lease_can_write_nothing,
                a_lost_lease_is_no_crash_if_its_process_says_so,
                a_start_that_somebody_else_made_stays_counted,
                a_run_ends_once,
                runs_that_end_together_end_each_in_its_own_way,
                a_reserved_tag_is_nobody_elses_and_its_job_goes_on_as_it_was,
                a_tag_without_a_job_can_be_reserved_and_leaves_none,
                a_tag_that_was_reserved_is_not_forgotten,
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
                repositories_of_jobs_and_entries_are_known_once_each,
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
    };
}
pub(crate) use suite;

fn repository(text: &str) -> Repository {
    text.parse().expect("a repository")
}

fn ubuntu() -> Repository {
    repository("quay.io/multiarch/ubuntu")
}

fn tag(text: &str) -> Tag {
    text.parse().expect("a tag")
}

fn digest(of: &str) -> Digest {
    Digest::of(of.as_bytes())
}

/// A wake-up of one of ubuntu's tags, due at once.
fn wake(text: &str) -> Wake {
    Wake {
        repository: ubuntu(),
        tag: tag(text),
        trigger: Trigger::Hook("quay".to_owned()),
        quiet: Duration::ZERO,
        longest: HOUR,
        hint: None,
        event_id: None,
    }
}

fn hinted(text: &str, arch_tag: &str, content: &str) -> Wake {
    Wake { hint: Some((tag(arch_tag), digest(content))), ..wake(text) }
}

fn quiet(text: &str, quiet: Duration) -> Wake {
    Wake { quiet, ..wake(text) }
}

/// A delivery for which a machine with other work may need more than the time it has, or during which a
/// server ends a transaction that stands still: then its sender comes again.
async fn deliver_at_last(store: &Store, wakes: Vec<Wake>) {
    for _ in 0..20 {
        match store.accept(wakes.clone()).await {
            Err(StoreError::Slow | StoreError::Unreachable { .. }) => {}
            stored => return stored.unwrap(),
        }
    }
    panic!("it was never stored");
}

/// The next job, leased for an hour.
async fn claim(store: &Store) -> Option<Claimed> {
    store.claim(HOUR, &[], 1).await.expect("claim").pop()
}

/// A job that is due. On a server, whoever looks after leases may have its row just now.
async fn claim_one(store: &Store) -> Claimed {
    crate::support::eventually("a job is due", async || claim(store).await).await
}

fn entry(act: Act, content: &str) -> Entry {
    Entry {
        act,
        old_digest: None,
        new_digest: Some(digest(content)),
        index: Some(StoredIndex {
            media_type: "application/vnd.oci.image.index.v1+json".into(),
            bytes: content.into(),
        }),
        inputs: serde_json::json!({"amd64-xenial": digest("amd64")}),
        reasons: serde_json::json!([]),
        requests: 8,
    }
}

/// Writes down something that was no run of a job.
async fn record(store: &Store, repository: &Repository, text: &str, entry: Entry) {
    let reserved = store.reserve_tag(repository, &tag(text), HOUR).await.unwrap().expect("nobody has it");
    assert!(store.give_back(&reserved, Some(entry)).await.unwrap());
}

fn address(path: &Path) -> String {
    format!("sqlite://{}", path.display())
}
