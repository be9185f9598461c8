//! Waiting for what becomes true by itself.

use std::time::{Duration, Instant};

/// Nothing is waited for longer than this.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks again and again until there is an answer.
#[track_caller]
pub fn eventually<T>(what: &str, ask: impl AsyncFn() -> Option<T>) -> impl Future<Output = T> {
    let place = std::panic::Location::caller();
    async move {
        let started = Instant::now();
        loop {
            if let Some(found) = ask().await {
                return found;
            }
            assert!(started.elapsed() < PATIENCE, "{place}: this never came true: {what}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
