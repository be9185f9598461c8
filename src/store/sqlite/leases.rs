//! Who works on which job: in memory, and judged by the time that passes, not by the wall clock.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

#[derive(Debug, Default)]
pub(super) struct Leases(Mutex<HashMap<i64, Lease>>);

#[derive(Debug)]
struct Lease {
    generation: i64,
    until: Instant,
}

impl Leases {
    pub(super) fn grant(&self, id: i64, generation: i64, lease: Duration) {
        self.live().insert(id, Lease { generation, until: Instant::now() + lease });
    }

    /// False: the lease has ended, or the job was claimed again.
    pub(super) fn extend(&self, id: i64, generation: i64, lease: Duration) -> bool {
        let mut live = self.live();
        let found = live.get_mut(&id).filter(|found| found.generation == generation);
        found.is_some_and(|found| {
            found.until = Instant::now() + lease;
            true
        })
    }

    pub(super) fn end(&self, id: i64, generation: i64) {
        let mut live = self.live();
        if live.get(&id).is_some_and(|found| found.generation == generation) {
            live.remove(&id);
        }
    }

    /// The jobs under lease, as a JSON array for a statement.
    pub(super) fn ids(&self) -> String {
        serde_json::to_string(&self.live().keys().collect::<Vec<_>>()).expect("numbers are JSON")
    }

    /// How long until the next of them ends by itself.
    pub(super) fn next_end(&self) -> Option<Duration> {
        self.live().values().map(|lease| lease.until.saturating_duration_since(Instant::now())).min()
    }

    /// The leases that have not ended.
    fn live(&self) -> MutexGuard<'_, HashMap<i64, Lease>> {
        let mut leases = self.0.lock().expect("nothing panics while it holds the leases");
        let now = Instant::now();
        leases.retain(|_, lease| lease.until > now);
        leases
    }
}
