//! Facts in the service's database, so that a restart does not find everything out again.
//!
//! What is learned is written a little later and together; what is lost because the process ended
//! or the database was slow is found out again.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::look::{Facts, Keeper};
use crate::model::Digest;
use crate::store::Store;

/// How many facts wait to be written; more are not kept.
const MOST_WAITING: usize = 4_096;
/// How many facts are written in one transaction.
const MOST_TOGETHER: usize = 256;

/// The database as a keeper of facts.
#[derive(Debug)]
struct Shelf {
    store: Store,
    learned: mpsc::Sender<Learned>,
}

type Learned = (&'static str, Digest, Vec<u8>);

/// Facts that `store` keeps. They are written for as long as any clone of them lives.
pub(super) fn kept_in(store: &Store) -> Facts {
    let (learned, waiting) = mpsc::channel(MOST_WAITING);
    tokio::spawn(write(store.clone(), waiting));
    Facts::kept_by(Arc::new(Shelf { store: store.clone(), learned }))
}

impl Keeper for Shelf {
    fn recall<'a>(&'a self, kind: &'static str, digest: &'a Digest) -> BoxFuture<'a, Option<Bytes>> {
        Box::pin(async move {
            let facts = self.store.facts(kind, std::slice::from_ref(digest)).await;
            let facts = facts.inspect_err(|error| tracing::debug!("No facts can be read: {error}"));
            facts.ok()?.remove(digest).map(Bytes::from)
        })
    }

    fn learn(&self, kind: &'static str, digest: &Digest, kept: Vec<u8>) {
        if self.learned.try_send((kind, digest.clone(), kept)).is_err() {
            tracing::debug!("A fact was not kept: the database is busy");
        }
    }
}

async fn write(store: Store, mut waiting: mpsc::Receiver<Learned>) {
    let mut some = Vec::new();
    while waiting.recv_many(&mut some, MOST_TOGETHER).await > 0 {
        let mut by_kind: BTreeMap<&'static str, Vec<(Digest, Vec<u8>)>> = BTreeMap::new();
        for (kind, digest, kept) in some.drain(..) {
            by_kind.entry(kind).or_default().push((digest, kept));
        }
        for (kind, facts) in by_kind {
            if let Err(error) = store.put_facts(kind, facts).await {
                tracing::debug!("Facts could not be kept: {error}");
            }
        }
    }
}
