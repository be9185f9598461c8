//! What a run comes to, without a registry.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::before::leaves_held;
use super::news::notices;
use std::time::UNIX_EPOCH;

use super::*;
use crate::model::Digest;
use crate::plan::{Code, Decision, Plan, Reason};
use crate::publish::{Outcome, PublishError};
use crate::serve::settings::Event;
use crate::store::{Entry, Recorded, Store, Wake};

/// A job as the store hands it out.
async fn claimed() -> Claimed {
    let folder = tempfile::TempDir::new().expect("a temporary directory");
    let store = Store::open(&format!("sqlite://{}/onetag.db", folder.path().display())).await.expect("a store");
    let wake = Wake {
        repository: "r.example.com/acme/ubuntu".parse().expect("a repository"),
        tag: "xenial".parse().expect("a tag"),
        trigger: Trigger::Scan,
        quiet: Duration::ZERO,
        longest: Duration::ZERO,
        hint: None,
        event_id: None,
    };
    store.accept(vec![wake]).await.expect("it is stored");
    store.claim(Duration::from_secs(120), &[], 1).await.expect("it can be claimed").pop().expect("a job")
}

fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

fn recorded(act: Act, weight: Option<Weight>) -> Recorded {
    Recorded {
        id: 1,
        repository: "r.example.com/acme/ubuntu".parse().expect("a repository"),
        tag: "xenial".parse().expect("a tag"),
        act,
        old_digest: None,
        new_digest: None,
        has_index: false,
        trigger: Trigger::Scan,
        event_id: None,
        inputs: json!({}),
        reasons: weight.map_or(json!([]), |weight| json!([{ "weight": weight.as_str() }])),
        requests: 0,
        woken_at_ms: 0,
        recorded_at_ms: 0,
    }
}

fn held(code: Code) -> Outcome {
    let reasons = vec![Reason::hold(code, None, "arm64 is required".to_owned())];
    let plan = Plan { decision: Decision::Hold, images: Vec::new(), reasons, changes: Default::default() };
    Outcome { plan, action: Action::Held, index: None, previous: Some(digest("served")), seen: Default::default() }
}

#[tokio::test]
async fn waits_double_up_to_ten_minutes() {
    let mut claimed = claimed().await;
    for (attempts, bound) in [(0, 2), (1, 4), (5, 64), (9, 600), (4_000_000, 600)] {
        claimed.attempts = attempts;
        let End::Retry { after, .. } = retry(&claimed, String::new()) else { panic!("it is tried again") };
        let bound = Duration::from_secs(bound);
        assert!(after <= bound && after * 2 >= bound, "{attempts}: {after:?}");
    }
}

#[tokio::test]
async fn a_panic_is_tried_again_a_few_times() {
    let mut claimed = claimed().await;
    assert!(matches!(retry_or_park(&claimed, String::new()), End::Retry { .. }));
    claimed.attempts = MOST_STARTS - 1;
    assert!(matches!(retry_or_park(&claimed, String::new()), End::Parked { .. }));
}

#[tokio::test]
async fn a_hold_is_told_once_and_so_is_its_end() {
    let claimed = claimed().await;
    let events = |was_held, end: &End, entry: Option<&Entry>| -> Vec<Event> {
        let notices = notices(&claimed, was_held, end, entry, UNIX_EPOCH);
        notices.into_iter().map(|notice| notice.event).collect()
    };
    let hold = End::Held { reason: String::new() };
    assert_eq!(events(false, &hold, None), [Event::Held]);
    assert_eq!(events(true, &hold, None), []);
    assert_eq!(events(true, &retry(&claimed, String::new()), None), []);
    assert_eq!(events(true, &End::Done, None), [Event::Recovered]);
    assert_eq!(events(false, &End::Done, None), []);

    let mut entry = failure("", "", Weight::Note, 0);
    entry.act = Act::Pushed;
    assert_eq!(events(true, &End::Done, Some(&entry)), [Event::Published, Event::Recovered]);
    entry = Entry { act: Act::Unchanged, new_digest: Some(digest("new")), ..entry };
    assert_eq!(events(false, &End::Done, Some(&entry)), [], "it was like that before we came");
    entry.old_digest = Some(digest("old"));
    assert_eq!(events(false, &End::Done, Some(&entry)), [Event::Published], "it was written and not written down");
}

#[test]
fn what_is_missing_is_no_news_before_the_quiet_time_is_over() {
    let decide = |code, quiet_secs, was_held| {
        let before = Before { was_held, newest: None };
        decided(&before, Duration::from_secs(quiet_secs), &Known::default(), &held(code), 0)
    };
    assert!(matches!(decide(Code::ArchMissing, 2, false), (End::Wait { .. }, None)));
    assert!(matches!(decide(Code::ArchMissing, 0, false), (End::Held { .. }, Some(_))));
    assert!(matches!(decide(Code::ArchMissing, 2, true), (End::Held { .. }, Some(_))), "that is told already");
    assert!(matches!(decide(Code::ConfigArchMismatch, 2, false), (End::Held { .. }, Some(_))));
}

#[test]
fn a_tag_of_which_there_is_nothing_is_looked_for_more_and_more_rarely_and_then_forgotten() {
    let outcome = Outcome { previous: None, ..held(Code::NothingFound) };
    assert!(is_absent(&Known::default(), &outcome));
    let after = |was_held, quiet_secs, absent_secs| {
        let before = Before { was_held, newest: None };
        let (quiet, absent_for) = (Duration::from_secs(quiet_secs), Duration::from_secs(absent_secs));
        match absent(&before, quiet, absent_for, &outcome) {
            (End::Wait { after, .. }, None) => Some(after.as_secs()),
            (End::Done, None) => None,
            other => panic!("{other:?}"),
        }
    };
    let waits = [0, 4, 6, 100, 3599].map(|absent_secs| after(false, 0, absent_secs));
    assert_eq!(waits, [Some(5), Some(5), Some(6), Some(100), Some(600)]);
    assert_eq!((after(false, 2, 100), after(false, 0, 3600)), (Some(2), None));
    assert_eq!(after(true, 0, 0), None, "what held it is gone");

    assert!(!is_absent(&Known::default(), &held(Code::NothingFound)), "something is published");
    let last = Some(Last { digest: digest("served"), sources: BTreeMap::new() });
    assert!(!is_absent(&Known { last, ..Known::default() }, &outcome), "what was published is gone: that is news");
}

#[tokio::test]
async fn what_used_up_its_starts_is_left_alone_for_a_while_unless_somebody_asks() {
    let mut claimed = claimed().await;
    let while_ms = 15 * 60 * 1000;
    let mut newest = recorded(Act::Failed, None);
    newest.reasons = json!([{ "code": "never-ended" }]);
    newest.recorded_at_ms = claimed.last_woken_at_ms - while_ms + 1;
    let left_alone = |newest: &Recorded, claimed: &Claimed| {
        Before { was_held: true, newest: Some(newest.clone()) }.is_left_alone(claimed)
    };
    assert!(left_alone(&newest, &claimed), "a scan asks");
    assert!(!left_alone(&Recorded { recorded_at_ms: newest.recorded_at_ms - 1, ..newest.clone() }, &claimed));
    assert!(!left_alone(&Recorded { reasons: json!([{ "code": "denied" }]), ..newest.clone() }, &claimed));
    assert!(!left_alone(&Recorded { act: Act::Pushed, ..newest.clone() }, &claimed));
    claimed.hints = BTreeMap::from([("amd64-xenial".parse().expect("a tag"), digest("new"))]);
    assert!(!left_alone(&newest, &claimed), "a delivery came before the scan");
    claimed.hints.clear();
    claimed.trigger = Trigger::Request;
    assert!(!left_alone(&newest, &claimed), "a person asks");
}

#[test]
fn what_a_run_wrote_before_it_died_is_written_down_with_what_was_there() {
    let plan = Plan { decision: Decision::Hold, images: Vec::new(), reasons: Vec::new(), changes: Default::default() };
    let outcome = Outcome { plan, action: Action::Unchanged, previous: None, ..held(Code::ArchMissing) };
    let last = Some(Last { digest: digest("old"), sources: BTreeMap::new() });
    let known = Known { last, ..Known::default() };
    let (end, entry) = decided(&Before::default(), Duration::ZERO, &known, &outcome, 0);
    let entry = entry.expect("it is news");
    assert_eq!((end, entry.act, entry.old_digest), (End::Done, Act::Unchanged, Some(digest("old"))));
}

#[test]
fn a_hold_that_is_written_down_is_not_written_down_again() {
    let outcome = held(Code::ConfigArchMismatch);
    let (_, entry) = decided(&Before::default(), Duration::ZERO, &Known::default(), &outcome, 0);
    let Entry { old_digest, inputs, reasons, .. } = entry.expect("it is news");
    let newest = Recorded { old_digest, inputs, reasons, ..recorded(Act::Held, None) };
    let mut before = Before { was_held: true, newest: Some(newest) };
    assert_eq!(decided(&before, Duration::ZERO, &Known::default(), &outcome, 7).1, None);
    before.newest = Some(recorded(Act::Pushed, None));
    assert!(decided(&before, Duration::ZERO, &Known::default(), &outcome, 7).1.is_some());
}

#[tokio::test]
async fn what_a_restart_interrupts_is_no_failure() {
    let (end, entry) = failed(&claimed().await, &Before::default(), &PublishError::Interrupted, 3);
    assert!(matches!(end, End::Retry { after: Duration::ZERO, .. }) && entry.is_none());
}

#[test]
fn the_journal_knows_whether_a_tag_is_held() {
    assert_eq!(leaves_held(&recorded(Act::Held, Some(Weight::Hold))), Some(true));
    assert_eq!(leaves_held(&recorded(Act::Failed, Some(Weight::Hold))), Some(true), "it was given up");
    assert_eq!(leaves_held(&recorded(Act::Failed, Some(Weight::Note))), None, "it was tried again");
    assert_eq!(leaves_held(&recorded(Act::Pushed, Some(Weight::Note))), Some(false));
    assert_eq!(leaves_held(&recorded(Act::Pushed, Some(Weight::Hold))), Some(true), "a further tag was not written");
    assert_eq!(leaves_held(&recorded(Act::Unchanged, None)), Some(false));
}

#[test]
fn sources_are_the_digests_of_an_entry_and_nothing_else() {
    let amd64 = digest("amd64");
    let inputs = json!({
        "amd64-xenial": { "digest": amd64.as_str(), "verdict": "verified" },
        "arm64-xenial": { "digest": null },
        "not a tag": { "digest": amd64.as_str() },
        "armhf-xenial": "odd",
    });
    assert_eq!(sources(&inputs), BTreeMap::from([("amd64-xenial".parse().expect("a tag"), amd64)]));
    assert_eq!(sources(&Value::Null), BTreeMap::new());
}
