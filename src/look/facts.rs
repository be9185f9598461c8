//! What digests are known to be: true for ever, so it is found out once.
//!
//! A fact is some bytes of a kind: `manifest-1`, `layer-1`. They are remembered in memory, and
//! beyond it by a [`Keeper`], if there is one: the service's database, or the user's cache folder.
//! What a keeper hands back is checked, since it may come from a damaged disk; whoever reads a fact
//! checks that it understands it, since an older program may have written it.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, Weak};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::OwnedMutexGuard;

use crate::model::Digest;

/// How many bytes of facts are held in memory; beyond, they are asked of the keeper or found out
/// again.
const MOST_BYTES: usize = 16 * 1024 * 1024;
/// What one fact costs beside its own bytes.
const OVERHEAD_BYTES: usize = 200;
/// The largest fact that is remembered: what a layer of some 300,000 files holds.
const LARGEST_FACT: usize = 2 * 1024 * 1024;
/// How many characters of a hash stand before a fact that is kept.
const SEAL: usize = 16;

/// Where facts outlive the process.
///
/// A keeper may lose facts and may hand back damaged ones; it must not fail or take long. It is
/// never asked what [`Facts`] has in memory.
pub trait Keeper: fmt::Debug + Send + Sync {
    /// What was kept about `digest`, if anything was.
    fn recall<'a>(&'a self, kind: &'static str, digest: &'a Digest) -> BoxFuture<'a, Option<Bytes>>;

    /// Keeps something about `digest`, now or a little later.
    fn learn(&self, kind: &'static str, digest: &Digest, kept: Vec<u8>);
}

/// Remembers facts; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    memory: Arc<Mutex<Memory>>,
    keeper: Option<Arc<dyn Keeper>>,
    turns: Arc<Mutex<HashMap<Digest, Weak<Turn>>>>,
}

/// Whose turn it is to find out about a digest.
type Turn = tokio::sync::Mutex<()>;

#[derive(Debug, Default)]
struct Memory {
    facts: HashMap<(&'static str, Digest), Bytes>,
    bytes: usize,
}

impl Facts {
    /// Facts that outlive the process where `keeper` keeps them.
    pub fn kept_by(keeper: Arc<dyn Keeper>) -> Facts {
        Facts { keeper: Some(keeper), ..Facts::default() }
    }

    /// What is known about `digest`, if anything is.
    pub async fn recall(&self, kind: &'static str, digest: &Digest) -> Option<Bytes> {
        if let Some(fact) = self.memory().facts.get(&(kind, digest.clone())).cloned() {
            return Some(fact);
        }
        let kept = self.keeper.as_ref()?.recall(kind, digest).await?;
        let fact = unsealed(kind, digest, &kept)?;
        self.memory().insert(kind, digest, fact.clone());
        Some(fact)
    }

    /// Remembers what was found out about `digest`.
    pub fn learn(&self, kind: &'static str, digest: &Digest, fact: Bytes) {
        if fact.len() > LARGEST_FACT {
            return;
        }
        if let Some(keeper) = &self.keeper {
            keeper.learn(kind, digest, sealed(kind, digest, &fact));
        }
        self.memory().insert(kind, digest, fact);
    }

    /// Waits until nobody else finds out about `digest`, and keeps others waiting for as long as what
    /// is returned is held: what is found out then is known to them.
    pub async fn turn(&self, digest: &Digest) -> OwnedMutexGuard<()> {
        self.turn_at(digest).lock_owned().await
    }

    /// The same without waiting; `None` if somebody else finds out about `digest`.
    pub fn turn_now(&self, digest: &Digest) -> Option<OwnedMutexGuard<()>> {
        self.turn_at(digest).try_lock_owned().ok()
    }

    fn turn_at(&self, digest: &Digest) -> Arc<Turn> {
        let mut turns = self.turns.lock().expect("no panic happens while it is held");
        turns.retain(|_, turn| turn.strong_count() > 0);
        turns.get(digest).and_then(Weak::upgrade).unwrap_or_else(|| {
            let turn = Arc::default();
            turns.insert(digest.clone(), Arc::downgrade(&turn));
            turn
        })
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.lock().expect("no panic happens while it is held")
    }
}

impl Memory {
    fn insert(&mut self, kind: &'static str, digest: &Digest, fact: Bytes) {
        let size = |fact: &Bytes| fact.len() + OVERHEAD_BYTES;
        if self.bytes + size(&fact) > MOST_BYTES {
            *self = Memory::default();
        }
        self.bytes += size(&fact);
        if let Some(before) = self.facts.insert((kind, digest.clone()), fact) {
            self.bytes -= size(&before);
        }
    }
}

/// A fact with a hash before it, of what it says and of what it is about.
fn sealed(kind: &str, digest: &Digest, fact: &[u8]) -> Vec<u8> {
    [seal(kind, digest, fact).as_bytes(), fact].concat()
}

/// The fact, if it is what was sealed.
fn unsealed(kind: &str, digest: &Digest, kept: &Bytes) -> Option<Bytes> {
    let (found, fact) = kept.split_at_checked(SEAL)?;
    (found == seal(kind, digest, fact).as_bytes()).then(|| kept.slice(SEAL..))
}

fn seal(kind: &str, digest: &Digest, fact: &[u8]) -> String {
    let whole = Digest::of(&[kind.as_bytes(), b"\0", digest.as_str().as_bytes(), b"\0", fact].concat());
    whole.as_str().trim_start_matches("sha256:").chars().take(SEAL).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keeps facts in a map that tests reach into.
    #[derive(Debug, Default)]
    struct Shelf(Mutex<HashMap<(String, Digest), Vec<u8>>>);

    impl Keeper for Shelf {
        fn recall<'a>(&'a self, kind: &'static str, digest: &'a Digest) -> BoxFuture<'a, Option<Bytes>> {
            let kept = self.0.lock().expect("a lock").get(&(kind.to_owned(), digest.clone())).cloned();
            Box::pin(async move { kept.map(Bytes::from) })
        }

        fn learn(&self, kind: &'static str, digest: &Digest, kept: Vec<u8>) {
            self.0.lock().expect("a lock").insert((kind.to_owned(), digest.clone()), kept);
        }
    }

    #[tokio::test]
    async fn what_is_kept_outlives_the_memory() {
        let shelf = Arc::new(Shelf::default());
        let digest = Digest::of(b"image");
        Facts::kept_by(shelf.clone()).learn("k-1", &digest, Bytes::from_static(b"a fact"));
        let later = Facts::kept_by(shelf);
        assert_eq!(later.recall("k-1", &digest).await.as_deref(), Some(&b"a fact"[..]));
        assert_eq!(later.recall("k-2", &digest).await, None, "another kind is another fact");
        assert_eq!(Facts::default().recall("k-1", &digest).await, None);
    }

    #[tokio::test]
    async fn every_bit_that_changes_on_the_shelf_makes_a_fact_unknown() {
        let shelf = Arc::new(Shelf::default());
        let (one, other) = (Digest::of(b"one"), Digest::of(b"other"));
        Facts::kept_by(shelf.clone()).learn("k-1", &one, Bytes::from_static(b"a fact"));
        let kept = shelf.recall("k-1", &one).await.expect("it is kept");
        for bit in 0..kept.len() * 8 {
            let mut damaged = kept.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            shelf.learn("k-1", &one, damaged);
            assert_eq!(Facts::kept_by(shelf.clone()).recall("k-1", &one).await, None, "bit {bit}");
        }
        shelf.learn("k-1", &other, kept.to_vec());
        assert_eq!(Facts::kept_by(shelf.clone()).recall("k-1", &other).await, None, "it is about another digest");
        shelf.learn("k-1", &one, kept[..SEAL - 1].to_vec());
        assert_eq!(Facts::kept_by(shelf).recall("k-1", &one).await, None, "cut off");
    }

    #[tokio::test]
    async fn memory_has_a_bound() {
        let facts = Facts::default();
        let fact = Bytes::from(vec![0; LARGEST_FACT]);
        for number in 0..64u8 {
            facts.learn("k-1", &Digest::of(&[number]), fact.clone());
            assert!(facts.memory().bytes <= MOST_BYTES);
        }
        facts.learn("k-1", &Digest::of(&[63]), fact);
        let (bytes, count) = {
            let memory = facts.memory();
            (memory.bytes, memory.facts.len())
        };
        assert_eq!(bytes, count * (LARGEST_FACT + OVERHEAD_BYTES));
        assert!(facts.recall("k-1", &Digest::of(&[63])).await.is_some());
    }
}
