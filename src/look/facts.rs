//! What digests are known to be: true for ever, so it is found out once.
//!
//! A fact is some bytes of a kind: `config-1`, `layer-1`. Whoever reads one checks it, since it may
//! have been kept by an older program or on a damaged disk.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use crate::model::Digest;

/// How many bytes of facts are kept in memory; beyond, they are found out again.
const MOST_BYTES: usize = 32 * 1024 * 1024;

/// Remembers facts; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    memory: Arc<Mutex<Memory>>,
}

#[derive(Debug, Default)]
struct Memory {
    facts: HashMap<(&'static str, Digest), Bytes>,
    bytes: usize,
}

impl Facts {
    /// What is known about `digest`, if anything is.
    pub async fn recall(&self, kind: &'static str, digest: &Digest) -> Option<Bytes> {
        self.memory().facts.get(&(kind, digest.clone())).cloned()
    }

    /// Remembers what was found out about `digest`.
    pub fn learn(&self, kind: &'static str, digest: &Digest, fact: Bytes) {
        let mut memory = self.memory();
        if memory.bytes + fact.len() > MOST_BYTES {
            *memory = Memory::default();
        }
        memory.bytes += fact.len();
        memory.facts.insert((kind, digest.clone()), fact);
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.lock().expect("no panic happens while it is held")
    }
}
