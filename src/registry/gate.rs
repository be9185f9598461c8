//! Whether something may still be written: asked right before it is sent.
//!
//! A process may be stopped for any time between any two steps, and somebody else may have gone on
//! meanwhile. So whoever writes under a lease is asked as late as possible and says until when, and
//! what was not sent by then is not sent any more.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use futures_util::future::{BoxFuture, poll_fn};

/// Until when a write may be under way, or why it may not begin.
pub type Permission = Result<Instant, String>;

/// Who is asked before anything is written. Nobody by default.
#[derive(Clone, Default)]
pub struct Gate(Option<Arc<dyn Fn() -> BoxFuture<'static, Permission> + Send + Sync>>);

impl Gate {
    /// Asks `ask` before every write, and before every repetition of one.
    pub fn new(ask: Arc<dyn Fn() -> BoxFuture<'static, Permission> + Send + Sync>) -> Gate {
        Gate(Some(ask))
    }

    /// Does `write` if it may begin, and as long as it may be under way. None: its time was over.
    pub(super) async fn pass<T>(&self, write: impl Future<Output = T>) -> Result<Option<T>, String> {
        let Some(ask) = &self.0 else { return Ok(Some(write.await)) };
        let until = ask().await?;
        let mut write = pin!(write);
        let mut over = pin!(tokio::time::sleep_until(until.into()));
        // The time is looked at first, every time: this process may have been stopped meanwhile.
        let before_end = poll_fn(|cx| match Instant::now() < until {
            false => Poll::Ready(None),
            true => match write.as_mut().poll(cx) {
                Poll::Ready(done) => Poll::Ready(Some(done)),
                Poll::Pending => over.as_mut().poll(cx).map(|()| None),
            },
        });
        Ok(before_end.await)
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Gate" } else { "Gate(open)" })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn gate(permission: Permission) -> Gate {
        Gate::new(Arc::new(move || {
            let permission = permission.clone();
            Box::pin(async move { permission })
        }))
    }

    #[tokio::test]
    async fn nothing_begins_without_permission_or_after_its_time() {
        let write = async { panic!("it is not begun") };
        assert_eq!(gate(Err("the lease was lost".to_owned())).pass(write).await, Err("the lease was lost".to_owned()));
        let past = Instant::now().checked_sub(Duration::from_millis(1)).expect("the machine runs for a while");
        let write = async { panic!("it is not begun") };
        assert_eq!(gate(Ok(past)).pass(write).await, Ok(None));
        assert_eq!(Gate::default().pass(async { 7 }).await, Ok(Some(7)));
    }

    #[tokio::test]
    async fn what_a_stopped_process_had_begun_does_not_go_on() {
        let until = Instant::now() + Duration::from_millis(20);
        let write = async {
            tokio::task::yield_now().await;
            panic!("it went on after its time");
        };
        let gate = gate(Ok(until));
        let mut stopped = pin!(gate.pass(write));
        assert!(futures_util::poll!(&mut stopped).is_pending());
        std::thread::sleep(Duration::from_millis(40));
        let none: Result<Option<()>, String> = stopped.await;
        assert_eq!(none, Ok(None));
    }
}
