//! Facts in the service's database, so that a restart does not find everything out again.
//!
//! What is learned or asked for while a transaction is under way shares the next one; what is lost
//! because the process ended or the database was slow is found out again.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::look::{Facts, Keeper};
use crate::model::Digest;
use crate::store::Store;

/// How many facts wait to be written, or to be read; more are not kept, or not asked for.
const MOST_WAITING: usize = 4_096;
/// How many facts are written, or read, in one transaction.
const MOST_TOGETHER: usize = 256;

/// The database as a keeper of facts.
#[derive(Debug)]
struct Shelf {
    learned: mpsc::Sender<Learned>,
    asked: mpsc::Sender<Asked>,
}

type Learned = (&'static str, Digest, Vec<u8>);
type Asked = (&'static str, Digest, oneshot::Sender<Bytes>);

/// Facts that `store` keeps. They are written for as long as any clone of them lives.
pub(super) fn kept_in(store: &Store) -> Facts {
    let (learned, to_write) = mpsc::channel(MOST_WAITING);
    let (asked, to_read) = mpsc::channel(MOST_WAITING);
    tokio::spawn(write(store.clone(), to_write));
    tokio::spawn(read(store.clone(), to_read));
    Facts::kept_by(Arc::new(Shelf { learned, asked }))
}

impl Keeper for Shelf {
    fn recall<'a>(&'a self, kind: &'static str, digest: &'a Digest) -> BoxFuture<'a, Option<Bytes>> {
        Box::pin(async move {
            let (answer, fact) = oneshot::channel();
            self.asked.try_send((kind, digest.clone(), answer)).ok()?;
            fact.await.ok()
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

async fn read(store: Store, mut waiting: mpsc::Receiver<Asked>) {
    let mut some = Vec::new();
    while waiting.recv_many(&mut some, MOST_TOGETHER).await > 0 {
        let mut by_kind: BTreeMap<&'static str, Vec<(Digest, oneshot::Sender<Bytes>)>> = BTreeMap::new();
        for (kind, digest, answer) in some.drain(..) {
            by_kind.entry(kind).or_default().push((digest, answer));
        }
        for (kind, asked) in by_kind {
            let digests: Vec<Digest> = asked.iter().map(|(digest, _)| digest.clone()).collect();
            let facts = store.facts(kind, &digests).await;
            let facts = facts.inspect_err(|error| tracing::debug!("No facts can be read: {error}")).unwrap_or_default();
            for (digest, answer) in asked {
                if let Some(fact) = facts.get(&digest) {
                    let _ = answer.send(Bytes::from(fact.clone()));
                }
            }
        }
    }
}
