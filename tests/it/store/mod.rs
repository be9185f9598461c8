//! The store: what it promises on any database, and what the file of one may suffer.

#![allow(clippy::unwrap_used, reason = "nothing is expected to fail here but what a story is about")]

mod child;
mod crash;
mod faults;
mod jobs;
mod journal;
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
                super::super::$module::$story(store).await;
            })*
        }
    )*};
}
pub(crate) use stories;

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

/// A delivery so large that a machine with other work may need more than the time it has: then its
/// sender comes again.
async fn deliver_at_last(store: &Store, wakes: Vec<Wake>) {
    for _ in 0..20 {
        match store.accept(wakes.clone()).await {
            Err(StoreError::Slow) => {}
            stored => return stored.unwrap(),
        }
    }
    panic!("it was never stored");
}

/// The next job, leased for an hour.
async fn claim(store: &Store) -> Option<Claimed> {
    store.claim(HOUR, &[]).await.expect("claim")
}

async fn claim_one(store: &Store) -> Claimed {
    claim(store).await.expect("a job is due")
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

fn address(path: &Path) -> String {
    format!("sqlite://{}", path.display())
}
