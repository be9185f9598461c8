//! The parts of the service that run as long as it does.
//!
//! One that comes to an end before it was told to would leave a process that looks alive and does
//! not scan, or not publish. So its end is noticed, and the service ends with it: whoever started
//! it starts it again, and start and recovery are the same path.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use tokio::task::JoinSet;

/// Parts that run.
#[derive(Default)]
pub(super) struct Parts {
    running: JoinSet<&'static str>,
}

impl Parts {
    /// Starts one more; `name` is how it is called in a sentence.
    pub(super) fn start(&mut self, name: &'static str, part: impl Future<Output = ()> + Send + 'static) {
        self.running.spawn(async move {
            // The panic itself was told already, by the thread that it happened in.
            let _ = AssertUnwindSafe(part).catch_unwind().await;
            name
        });
    }

    /// Resolves once any of them ended, whatever ended it; never if none is left.
    pub(super) async fn first_to_end(&mut self) -> &'static str {
        match self.running.join_next().await {
            Some(Ok(name)) => name,
            // None is aborted, and panics end in the part.
            Some(Err(_)) | None => std::future::pending().await,
        }
    }

    /// Waits until all of them ended.
    pub(super) async fn all_to_end(&mut self) {
        while self.running.join_next().await.is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_part_that_panics_or_simply_returns_is_named() {
        let mut parts = Parts::default();
        parts.start("the work", std::future::pending());
        parts.start("the scan", async { panic!("a bug") });
        assert_eq!(parts.first_to_end().await, "the scan");
        parts.start("the upkeep", async {});
        assert_eq!(parts.first_to_end().await, "the upkeep");
        let still = tokio::time::timeout(Duration::from_millis(20), parts.first_to_end()).await;
        assert!(still.is_err(), "the work goes on");
    }

    #[tokio::test]
    async fn all_are_waited_for() {
        let mut parts = Parts::default();
        let (done, at_last) = tokio::sync::oneshot::channel();
        parts.start("the scan", async { panic!("a bug") });
        parts.start("the work", async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let _ = done.send(());
        });
        parts.all_to_end().await;
        assert_eq!(at_last.await, Ok(()));
    }
}
