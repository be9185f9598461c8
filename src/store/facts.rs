//! What a digest is: true for ever, so it is asked once.

use std::collections::BTreeMap;

use super::{Database, Store, StoreError, ask};
use crate::model::Digest;

impl Store {
    /// What is known about these digests, as far as anything is. `kind` names what sort of fact and
    /// how it is written, `config-1`.
    pub async fn facts(&self, kind: &str, digests: &[Digest]) -> Result<BTreeMap<Digest, Vec<u8>>, StoreError> {
        if digests.is_empty() {
            return Ok(BTreeMap::new());
        }
        ask!(self, facts(kind, digests))
    }

    /// Remembers facts, all in one transaction.
    pub async fn put_facts(&self, kind: &str, facts: Vec<(Digest, Vec<u8>)>) -> Result<(), StoreError> {
        if facts.is_empty() {
            return Ok(());
        }
        ask!(self, put_facts(kind, facts))
    }
}
