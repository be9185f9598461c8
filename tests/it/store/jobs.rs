//! Stories of jobs that hold on any database: wake-ups, leases, ends, lists.

use std::time::Duration;

use onetag::store::{Counts, End, List, Store, StoreError, Trigger, TroubleKind, Wake};

use super::{HOUR, claim, claim_one, deliver_at_last, digest, hinted, quiet, repository, tag, ubuntu, wake};

pub(crate) async fn wakes_of_one_tag_are_one_job_with_the_newest_hint_of_each_image(store: Store) {
    deliver_at_last(&store, vec![hinted("xenial", "amd64-xenial", "old"), hinted("xenial", "arm64-xenial", "arm")])
        .await;
    let newest = Wake { event_id: Some("e3".into()), ..hinted("xenial", "amd64-xenial", "new") };
    deliver_at_last(&store, vec![newest]).await;

    let job = claim_one(&store).await;
    assert_eq!((job.repository, job.tag), (ubuntu(), tag("xenial")));
    assert_eq!(job.hints, [(tag("amd64-xenial"), digest("new")), (tag("arm64-xenial"), digest("arm"))].into());
    assert_eq!((job.trigger, job.event_id), (Trigger::Hook("quay".into()), Some("e3".into())));
    assert!(job.woken_at_ms <= job.last_woken_at_ms);
    assert!(claim(&store).await.is_none(), "three wake-ups of one tag should be one job");
}

pub(crate) async fn one_event_a_thousand_times_is_one_job(store: Store) {
    let calls = (0..1000).map(|_| deliver_at_last(&store, vec![wake("xenial")]));
    futures_util::future::join_all(calls).await;
    assert_eq!(store.jobs(List::Active, 10).await.unwrap().len(), 1);
}

pub(crate) async fn ten_thousand_tags_in_one_delivery_are_as_many_jobs(store: Store) {
    deliver_at_last(&store, (0..10_000).map(|n| wake(&format!("v{n}"))).collect()).await;
    assert_eq!(store.counts().await.unwrap().waiting, 10_000);
}

pub(crate) async fn a_job_waits_for_quiet_and_each_wake_begins_it_anew(store: Store) {
    deliver_at_last(&store, vec![quiet("xenial", Duration::ZERO)]).await;
    deliver_at_last(&store, vec![quiet("xenial", HOUR)]).await;
    assert!(claim(&store).await.is_none());
    let due = store.next_due(&[]).await.unwrap().expect("a job waits");
    assert!(due > HOUR / 2 && due <= HOUR, "{due:?}");
}

pub(crate) async fn quiet_time_has_an_end_however_often_the_tag_is_woken(store: Store) {
    let impatient = Wake { longest: Duration::from_millis(1), ..quiet("xenial", HOUR) };
    deliver_at_last(&store, vec![impatient.clone()]).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    deliver_at_last(&store, vec![impatient]).await;
    assert_eq!(store.next_due(&[]).await.unwrap(), Some(Duration::ZERO));
    claim_one(&store).await;
}

pub(crate) async fn the_job_that_was_due_first_is_claimed_first(store: Store) {
    deliver_at_last(&store, vec![quiet("later", Duration::from_millis(2))]).await;
    deliver_at_last(&store, vec![wake("first")]).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    deliver_at_last(&store, vec![wake("last")]).await;
    let mut order = Vec::new();
    for _ in 0..3 {
        order.push(claim_one(&store).await.tag.to_string());
    }
    // The first two are as near as a millisecond: only the last is sure of its place.
    assert_eq!(order[2], "last");
    assert!(claim(&store).await.is_none());
}

pub(crate) async fn several_jobs_are_claimed_at_once_and_no_more_than_asked_for(store: Store) {
    deliver_at_last(&store, (0..5).map(|n| wake(&format!("v{n}"))).collect()).await;
    let elsewhere = Wake { repository: repository("ghcr.io/acme/app"), ..wake("v9") };
    tokio::time::sleep(Duration::from_millis(5)).await;
    deliver_at_last(&store, vec![elsewhere]).await;
    let first = store.claim(HOUR, &[], 3).await.unwrap();
    assert_eq!(first.len(), 3);
    assert!(first.iter().all(|job| job.repository == ubuntu()), "the oldest come first: {first:?}");
    let rest = store.claim(HOUR, &[], 100).await.unwrap();
    let mut tags: Vec<String> = first.iter().chain(&rest).map(|job| job.tag.to_string()).collect();
    tags.sort();
    assert_eq!(tags, ["v0", "v1", "v2", "v3", "v4", "v9"], "each is claimed once, whatever its registry");
    assert!(store.claim(HOUR, &[], 100).await.unwrap().is_empty());
}

pub(crate) async fn a_busy_registry_does_not_keep_the_others_waiting(store: Store) {
    let elsewhere = Wake { repository: repository("ghcr.io/acme/app"), ..wake("v1") };
    deliver_at_last(&store, vec![wake("xenial")]).await;
    deliver_at_last(&store, vec![elsewhere.clone()]).await;
    let busy = [ubuntu().host().clone()];
    let job = store.claim(HOUR, &busy, 1).await.unwrap().pop().expect("a job at the other registry");
    assert_eq!(job.repository, elsewhere.repository);
    assert!(store.claim(HOUR, &busy, 1).await.unwrap().is_empty());
    let next = store.next_due(&busy).await.unwrap().expect("the lease may end");
    assert!(next > HOUR / 2, "a job that may not run is not due: {next:?}");
    assert_eq!(claim_one(&store).await.tag, tag("xenial"));
}

pub(crate) async fn nothing_is_due_where_nothing_waits(store: Store) {
    assert!(claim(&store).await.is_none());
    assert_eq!(store.next_due(&[]).await.unwrap(), None);
    deliver_at_last(&store, Vec::new()).await;
    assert_eq!(store.counts().await.unwrap(), Counts::default());
}

pub(crate) async fn a_lost_lease_can_write_nothing(store: Store) {
    deliver_at_last(&store, vec![wake("xenial")]).await;
    let stale = claim_one(&store).await;
    assert!(store.extend(&stale, Duration::ZERO).await.unwrap(), "the lease is there, and ends now");
    assert!(!store.extend(&stale, HOUR).await.unwrap(), "a lease that ended cannot be extended");

    let fresh = claim_one(&store).await;
    assert_eq!((stale.starts, fresh.starts), (1, 2), "the first run never ended");
    let entry = super::entry(onetag::store::Act::Pushed, "stale");
    assert!(!store.finish(&stale, End::Done, Some(entry)).await.unwrap());
    assert_eq!(store.history(None, None, 10, None).await.unwrap(), []);
    assert!(!store.extend(&stale, HOUR).await.unwrap());
    assert!(store.extend(&fresh, HOUR).await.unwrap(), "the stale finish should not end the fresh lease");
    assert!(store.finish(&fresh, End::Done, None).await.unwrap());
}

pub(crate) async fn a_lost_lease_is_no_crash_if_its_process_says_so(store: Store) {
    deliver_at_last(&store, vec![wake("xenial")]).await;
    for _ in 0..3 {
        let job = claim_one(&store).await;
        assert_eq!(job.starts, 1);
        assert!(store.extend(&job, Duration::ZERO).await.unwrap(), "the lease is there, and ends now");
        store.survived(&job).await.unwrap();
    }
    let crashed = claim_one(&store).await;
    assert!(store.extend(&crashed, Duration::ZERO).await.unwrap(), "the lease is there, and ends now");
    assert_eq!(claim_one(&store).await.starts, 2);
}

pub(crate) async fn a_start_that_somebody_else_made_stays_counted(store: Store) {
    deliver_at_last(&store, vec![wake("xenial")]).await;
    let late = claim_one(&store).await;
    assert!(store.extend(&late, Duration::ZERO).await.unwrap(), "the lease is there, and ends now");
    let next = claim_one(&store).await;
    let end = End::Retry { after: Duration::ZERO, reason: "503".into() };
    assert!(store.finish(&next, end, None).await.unwrap());

    let crashed = claim_one(&store).await;
    assert_eq!(crashed.starts, 1);
    store.survived(&late).await.unwrap();
    assert!(store.extend(&crashed, Duration::ZERO).await.unwrap(), "the lease is there, and ends now");
    assert_eq!(claim_one(&store).await.starts, 2, "it was another's start that came to no end");
}

pub(crate) async fn a_run_ends_once(store: Store) {
    for end in [End::Done, End::Retry { after: Duration::ZERO, reason: "again".into() }] {
        deliver_at_last(&store, vec![wake("xenial")]).await;
        let job = claim_one(&store).await;
        assert!(store.finish(&job, end, None).await.unwrap());
        assert!(!store.finish(&job, End::Parked { reason: "late".into() }, None).await.unwrap());
        assert!(!store.extend(&job, HOUR).await.unwrap());
    }
    assert_eq!(store.counts().await.unwrap().parked, 0);
}

pub(crate) async fn runs_that_end_together_end_each_in_its_own_way(store: Store) {
    deliver_at_last(&store, (0..6).map(|n| wake(&format!("v{n}"))).collect()).await;
    let mut jobs = store.claim(HOUR, &[], 6).await.unwrap();
    jobs.sort_by(|a, b| a.tag.cmp(&b.tag));
    deliver_at_last(&store, vec![wake("v1")]).await;
    let reason = || "because".to_owned();
    let ends = [
        End::Done,
        End::Done,
        End::Retry { after: HOUR, reason: reason() },
        End::Wait { after: HOUR, reason: reason() },
        End::Held { reason: reason() },
        End::Parked { reason: reason() },
    ];
    let finish = |(job, end): (usize, End)| {
        let (store, job) = (store.clone(), jobs[job].clone());
        let entry = super::entry(onetag::store::Act::Pushed, job.tag.as_str());
        async move { store.finish(&job, end, Some(entry)).await.unwrap() }
    };
    // Each once more, by somebody who does not know that it is over.
    let twice = ends.iter().cloned().enumerate().chain(ends.iter().cloned().enumerate());
    let mut done = futures_util::future::join_all(twice.map(finish)).await;
    done.sort();
    assert_eq!(done, [vec![false; 6], vec![true; 6]].concat());

    let counts = store.counts().await.unwrap();
    assert_eq!((counts.waiting, counts.failing, counts.held, counts.parked), (3, 1, 1, 1));
    assert_eq!(claim_one(&store).await.tag, tag("v1"), "it was woken meanwhile");
    assert!(claim(&store).await.is_none());
    let told = store.history(None, None, 10, None).await.unwrap();
    for entry in &told {
        assert_eq!(entry.new_digest, Some(digest(entry.tag.as_str())), "each has its own entry");
    }
    assert_eq!(told.len(), 6);
}

pub(crate) async fn a_reserved_tag_is_nobody_elses_and_its_job_goes_on_as_it_was(store: Store) {
    deliver_at_last(&store, vec![hinted("xenial", "amd64-xenial", "one")]).await;
    let run = claim_one(&store).await;
    assert!(store.reserve_tag(&ubuntu(), &tag("xenial"), HOUR).await.unwrap().is_none(), "a run is under way");
    store.finish(&run, End::Retry { after: Duration::ZERO, reason: "503".into() }, None).await.unwrap();

    let reserved = store.reserve_tag(&ubuntu(), &tag("xenial"), HOUR).await.unwrap().expect("nobody has it");
    assert!(claim(&store).await.is_none(), "no run begins");
    assert!(store.reserve_tag(&ubuntu(), &tag("xenial"), HOUR).await.unwrap().is_none(), "nor anything else");
    assert!(!store.extend(&run, HOUR).await.unwrap());
    assert!(store.extend(&reserved, HOUR).await.unwrap());
    deliver_at_last(&store, vec![hinted("xenial", "arm64-xenial", "two")]).await;
    assert!(store.give_back(&reserved, None).await.unwrap());
    assert!(!store.give_back(&reserved, None).await.unwrap(), "it is over");

    let again = claim_one(&store).await;
    assert_eq!((again.starts, again.attempts, again.hints.len()), (1, 1, 2), "it was no run");
    assert_eq!((again.woken_at_ms, again.trigger), (run.woken_at_ms, run.trigger));
}

pub(crate) async fn a_tag_without_a_job_can_be_reserved_and_leaves_none(store: Store) {
    let reserved = store.reserve_tag(&ubuntu(), &tag("xenial"), HOUR).await.unwrap().expect("nobody has it");
    assert_eq!(store.counts().await.unwrap().waiting, 0);
    let entry = super::entry(onetag::store::Act::RolledBack, "before");
    assert!(store.give_back(&reserved, Some(entry)).await.unwrap());
    assert_eq!(store.job(&ubuntu(), &tag("xenial")).await.unwrap(), None);
    assert_eq!(store.history(None, None, 10, None).await.unwrap()[0].trigger, Trigger::Request);
    assert_eq!(store.next_due(&[]).await.unwrap(), None);

    let lost = store.reserve_tag(&ubuntu(), &tag("xenial"), Duration::ZERO).await.unwrap().expect("nobody has it");
    claim(&store).await.ok_or(()).expect_err("there is no job");
    let reserved = eventually_reserved(&store).await;
    assert!(!store.give_back(&lost, None).await.unwrap(), "its lease was lost");
    deliver_at_last(&store, vec![wake("xenial")]).await;
    assert!(claim(&store).await.is_none());
    assert!(store.give_back(&reserved, None).await.unwrap());
    assert_eq!(claim_one(&store).await.starts, 1);
}

pub(crate) async fn a_tag_that_was_reserved_is_not_forgotten(store: Store) {
    deliver_at_last(&store, vec![wake("xenial")]).await;
    let job = claim_one(&store).await;
    assert!(store.finish(&job, End::Held { reason: "an image is missing".into() }, None).await.unwrap());
    let reserved = eventually_reserved(&store).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    store.forget_before(0).await.unwrap();
    assert!(store.extend(&reserved, HOUR).await.unwrap());
    let entry = super::entry(onetag::store::Act::RolledBack, "before");
    assert!(store.give_back(&reserved, Some(entry)).await.unwrap(), "what was done is written down");
}

async fn eventually_reserved(store: &Store) -> onetag::store::Claimed {
    crate::support::eventually("the lost lease is over", async || {
        store.reserve_tag(&ubuntu(), &tag("xenial"), HOUR).await.unwrap()
    })
    .await
}

pub(crate) async fn a_finished_tag_that_comes_back_is_not_the_old_job(store: Store) {
    deliver_at_last(&store, vec![wake("xenial")]).await;
    let first = claim_one(&store).await;
    store.finish(&first, End::Done, None).await.unwrap();
    deliver_at_last(&store, vec![wake("xenial")]).await;
    claim_one(&store).await;
    assert!(!store.finish(&first, End::Done, None).await.unwrap());
}

pub(crate) async fn a_wake_during_a_run_makes_the_job_wait_again(store: Store) {
    deliver_at_last(&store, vec![hinted("xenial", "amd64-xenial", "one")]).await;
    let first = claim_one(&store).await;
    deliver_at_last(&store, vec![hinted("xenial", "arm64-xenial", "two")]).await;
    assert!(claim(&store).await.is_none(), "one tag is worked on by one");

    store.finish(&first, End::Done, None).await.unwrap();
    let second = claim_one(&store).await;
    assert_eq!(second.hints, [(tag("arm64-xenial"), digest("two"))].into(), "the first hint was served");
    assert!(second.woken_at_ms >= first.woken_at_ms);
    store.finish(&second, End::Done, None).await.unwrap();
    assert_eq!(store.counts().await.unwrap(), Counts::default());
}

pub(crate) async fn a_failed_run_comes_back_with_its_hints_and_its_first_wake(store: Store) {
    deliver_at_last(&store, vec![hinted("xenial", "amd64-xenial", "one")]).await;
    let first = claim_one(&store).await;
    let end = End::Retry { after: HOUR, reason: "503 Service\u{1b}[31m Unavailable".into() };
    store.finish(&first, end, None).await.unwrap();
    assert!(claim(&store).await.is_none(), "an hour is left");

    deliver_at_last(&store, vec![hinted("xenial", "arm64-xenial", "two")]).await;
    let second = claim_one(&store).await;
    assert_eq!(second.hints.len(), 2, "a wake-up brings a retry forward, and adds what it knows");
    assert_eq!((second.starts, second.attempts, second.woken_at_ms), (1, 1, first.woken_at_ms));

    let job = store.job(&ubuntu(), &tag("xenial")).await.unwrap().expect("it runs");
    let trouble = job.trouble.expect("it failed");
    assert_eq!((trouble.kind, trouble.reason.as_str()), (TroubleKind::Failing, "503 Service [31m Unavailable"));
    store.finish(&second, End::Retry { after: Duration::ZERO, reason: "again".into() }, None).await.unwrap();
    assert_eq!(claim_one(&store).await.attempts, 2);
}

pub(crate) async fn a_job_that_waits_for_more_is_in_no_trouble(store: Store) {
    deliver_at_last(&store, vec![hinted("xenial", "amd64-xenial", "one")]).await;
    let first = claim_one(&store).await;
    store.finish(&first, End::Retry { after: Duration::ZERO, reason: "503".into() }, None).await.unwrap();
    let again = claim_one(&store).await;
    store.finish(&again, End::Wait { after: HOUR, reason: "arm64 is required".into() }, None).await.unwrap();

    let job = store.job(&ubuntu(), &tag("xenial")).await.unwrap().expect("it waits");
    let waiting = job.trouble.expect("it is known what it waits for");
    assert_eq!((waiting.kind, waiting.reason.as_str()), (TroubleKind::Waiting, "arm64 is required"));
    assert_eq!(job.attempts, 0, "looking did not fail");
    assert!(job.due_in > Some(HOUR / 2), "{:?}", job.due_in);
    let counts = store.counts().await.unwrap();
    assert_eq!((counts.waiting, counts.failing, counts.held), (1, 0, 0));
    assert_eq!(store.jobs(List::Troubled, 10).await.unwrap(), []);
    assert_eq!(store.jobs(List::Active, 10).await.unwrap().len(), 1);

    deliver_at_last(&store, vec![hinted("xenial", "arm64-xenial", "two")]).await;
    let last = claim_one(&store).await;
    assert_eq!((last.hints.len(), last.woken_at_ms), (2, first.woken_at_ms), "the first push still waits");
}

pub(crate) async fn a_job_given_up_is_listed_and_waits_again_when_woken(store: Store) {
    deliver_at_last(&store, vec![wake("parked"), wake("held")]).await;
    for _ in 0..2 {
        let job = claim_one(&store).await;
        let reason = format!("{} it is", job.tag);
        let end = if job.tag == tag("held") { End::Held { reason } } else { End::Parked { reason } };
        store.finish(&job, end, None).await.unwrap();
    }
    let counts = store.counts().await.unwrap();
    assert_eq!((counts.waiting, counts.held, counts.parked), (0, 1, 1));
    assert_eq!(store.next_due(&[]).await.unwrap(), None);
    let troubled = store.jobs(List::Troubled, 10).await.unwrap();
    assert_eq!(troubled.len(), 2);
    assert!(troubled.iter().all(|job| job.due_in.is_none() && job.woken_at_ms.is_none()), "{troubled:?}");

    deliver_at_last(&store, vec![wake("parked")]).await;
    let view = store.job(&ubuntu(), &tag("parked")).await.unwrap().expect("it waits");
    assert_eq!(view.due_in, Some(Duration::ZERO));
    assert_eq!(view.trouble.expect("listed until a run is clean").reason, "parked it is");
    let job = claim_one(&store).await;
    assert_eq!((job.starts, job.attempts), (1, 0));
    store.finish(&job, End::Done, None).await.unwrap();
    assert_eq!(store.job(&ubuntu(), &tag("parked")).await.unwrap(), None);
}

pub(crate) async fn trouble_is_told_since_when_it_is_of_its_kind(store: Store) {
    let mut since = Vec::new();
    for reason in ["first", "second"] {
        deliver_at_last(&store, vec![wake("xenial")]).await;
        let job = claim_one(&store).await;
        store.finish(&job, End::Held { reason: reason.into() }, None).await.unwrap();
        let trouble = store.job(&ubuntu(), &tag("xenial")).await.unwrap().unwrap().trouble.unwrap();
        assert_eq!(trouble.reason, reason);
        since.push(trouble.since_ms);
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    assert_eq!(since[0], since[1]);
}

pub(crate) async fn lists_and_counts_tell_running_from_waiting(store: Store) {
    deliver_at_last(&store, vec![wake("running")]).await;
    let running = claim_one(&store).await;
    deliver_at_last(&store, vec![quiet("waiting", HOUR)]).await;

    let active = store.jobs(List::Active, 10).await.unwrap();
    let shown: Vec<_> = active.iter().map(|job| (job.tag.as_str(), job.is_running, job.due_in.is_some())).collect();
    assert_eq!(shown, [("running", true, false), ("waiting", false, true)]);
    let counts = store.counts().await.unwrap();
    assert_eq!((counts.running, counts.waiting), (1, 1));
    assert!(counts.oldest_waiting.is_some());
    assert_eq!(store.jobs(List::Active, 1).await.unwrap().len(), 1);

    store.finish(&running, End::Done, None).await.unwrap();
    assert_eq!(store.counts().await.unwrap().running, 0);
}

pub(crate) async fn whoever_listens_hears_of_wakes_and_releases(store: Store) {
    let mut changes = store.changes();
    deliver_at_last(&store, vec![wake("xenial")]).await;
    changes.next().await;
    let job = claim_one(&store).await;
    store.finish(&job, End::Retry { after: Duration::ZERO, reason: "again".into() }, None).await.unwrap();
    changes.next().await;
}

pub(crate) async fn what_cannot_be_used_is_kept_cut_and_counted(store: Store) {
    for n in 0..1100 {
        let body = if n == 1099 { vec![b'x'; 100_000] } else { n.to_string().into_bytes() };
        store.quarantine("quay", "not JSON", &body).await.unwrap();
    }
    assert_eq!(store.counts().await.unwrap().quarantined, 1000);
    let newest = store.quarantined(2).await.unwrap();
    assert_eq!((newest[0].size_bytes, newest[0].body.len()), (100_000, 64 * 1024));
    assert_eq!((newest[1].hook.as_str(), newest[1].body.as_slice()), ("quay", b"1098".as_slice()));
    assert!(newest[0].id > newest[1].id);
}

pub(crate) async fn everything_that_64_callers_were_told_is_stored_is_there(store: Store) {
    let caller = |caller: usize| {
        let store = store.clone();
        tokio::spawn(async move {
            for n in 0..20 {
                deliver_at_last(&store, vec![wake(&format!("c{caller}-{n}"))]).await;
                let found = store.job(&ubuntu(), &tag(&format!("c{caller}-{n}"))).await.unwrap();
                assert!(found.is_some(), "told that it is stored before it could be read");
            }
        })
    };
    let callers: Vec<_> = (0..64).map(caller).collect();
    futures_util::future::try_join_all(callers).await.unwrap();
    assert_eq!(store.jobs(List::Active, u32::MAX).await.unwrap().len(), 64 * 20);
}

pub(crate) async fn a_closed_store_says_so(store: Store) {
    deliver_at_last(&store, vec![wake("xenial")]).await;
    store.close().await;
    store.close().await;
    assert!(matches!(store.accept(vec![wake("xenial")]).await, Err(StoreError::Closed)));
    assert!(matches!(store.claim(HOUR, &[], 1).await, Err(StoreError::Closed)));
    assert!(matches!(store.counts().await, Err(StoreError::Closed)));
}
