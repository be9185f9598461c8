//! How fast one registry is asked, by this process or by several together, and who is told of its
//! answers.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;

/// So many requests in so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub requests: u32,
    /// In how long.
    pub per: Duration,
}

/// Something that happened on the way to a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observed {
    /// A request was answered with this status; 0 where no answer came.
    Answer(u16),
    /// A request was held back this long by the rate limit.
    Waited(Duration),
}

/// Is told of every request, for statistics. None by default.
#[derive(Clone, Default)]
pub struct Observer(Option<Arc<dyn Fn(Observed) + Send + Sync>>);

impl Observer {
    /// Tells `tell`.
    pub fn new(tell: Arc<dyn Fn(Observed) + Send + Sync>) -> Observer {
        Observer(Some(tell))
    }

    pub(super) fn tell(&self, observed: Observed) {
        if let Some(tell) = &self.0 {
            tell(observed);
        }
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Observer" } else { "Observer(nobody)" })
    }
}

impl PartialEq for Observer {
    /// Who is told makes no difference to how a registry is talked to.
    fn eq(&self, _: &Observer) -> bool {
        true
    }
}

/// What several processes that ask one registry have in common.
pub trait Shared: Send + Sync {
    /// Takes so many turns one after another, each `interval` long, making up for at most `burst` of
    /// time that nobody used. Answers when the first is; none if this process is to keep the pace
    /// alone.
    fn reserve(&self, count: u32, interval: Duration, burst: Duration) -> BoxFuture<'_, Option<Instant>>;

    /// The registry asked to be left alone this long.
    fn keep_quiet(&self, wait: Duration);
}

/// Who shares a registry with this process. Nobody by default.
#[derive(Clone, Default)]
pub struct Together(pub(super) Option<Arc<dyn Shared>>);

impl Together {
    /// Shares it through `shared`.
    pub fn with(shared: Arc<dyn Shared>) -> Together {
        Together(Some(shared))
    }
}

impl fmt::Debug for Together {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Together" } else { "Together(alone)" })
    }
}

impl PartialEq for Together {
    /// Who else asks makes no difference to how a registry is talked to.
    fn eq(&self, _: &Together) -> bool {
        true
    }
}

/// Turns of all processes are taken for this long at once, so that few are asked for.
const SLICE: Duration = Duration::from_secs(1);

/// Spreads requests: each takes its turn, and a tenth of a period's may go at once.
#[derive(Debug)]
pub(super) struct Pace {
    interval: Duration,
    burst: Duration,
    /// When the next request would go, if none went at once.
    next: Mutex<Option<Instant>>,
    /// Turns that were taken together with other processes.
    slice: tokio::sync::Mutex<Slice>,
}

/// Turns not yet used, and when the next is.
#[derive(Debug, Default)]
struct Slice {
    left: u32,
    next: Option<Instant>,
}

impl Pace {
    pub(super) fn new(rate: Rate) -> Pace {
        let interval = rate.per / rate.requests.max(1);
        Pace {
            interval,
            burst: interval * (rate.requests / 10).max(1),
            next: Mutex::default(),
            slice: Default::default(),
        }
    }

    /// How long a request must wait so that all processes together keep the pace; its turn is taken.
    pub(super) async fn turn_of(&self, together: &Together) -> Duration {
        let Some(shared) = &together.0 else { return self.turn(Instant::now()) };
        let mut slice = self.slice.lock().await;
        loop {
            let now = Instant::now();
            while let (Some(next), true) = (slice.next, slice.left > 0) {
                slice.left -= 1;
                slice.next = Some(next + self.interval);
                // A turn that was long ago is lost.
                if next + self.burst >= now {
                    return next.saturating_duration_since(now);
                }
            }
            let count = (SLICE.as_secs_f64() / self.interval.as_secs_f64()).clamp(1.0, 100.0) as u32;
            match shared.reserve(count, self.interval, self.burst).await {
                Some(first) => *slice = Slice { left: count, next: Some(first) },
                None => return self.turn(Instant::now()),
            }
        }
    }

    /// How long a request that comes at `now` must wait; its turn is taken.
    pub(super) fn turn(&self, now: Instant) -> Duration {
        let mut next = self.next.lock().expect("no panic happens while it is held");
        // What was not used is kept up to the burst.
        let earliest = now.checked_sub(self.burst).unwrap_or(now);
        let turn = next.map_or(earliest, |next| next.max(earliest)) + self.interval;
        *next = Some(turn);
        turn.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a database would do for any number of processes.
    struct Ledger(Mutex<Instant>);

    impl Shared for Ledger {
        fn reserve(&self, count: u32, interval: Duration, burst: Duration) -> BoxFuture<'_, Option<Instant>> {
            let mut next = self.0.lock().expect("no panic happens while it is held");
            let first = (*next).max(Instant::now().checked_sub(burst).expect("a while ago")) + interval;
            *next = first + interval * (count - 1);
            Box::pin(async move { Some(first) })
        }

        fn keep_quiet(&self, _: Duration) {}
    }

    #[tokio::test]
    async fn two_processes_together_are_no_faster_than_one() {
        let together = Together::with(Arc::new(Ledger(Mutex::new(Instant::now() + Duration::from_secs(3600)))));
        let paces = [(); 2].map(|()| Pace::new(Rate { requests: 2, per: Duration::from_secs(1) }));
        let mut waits = Vec::new();
        for turn in 0..8 {
            waits.push(paces[turn % 2].turn_of(&together).await);
        }
        waits.sort();
        let apart = waits.windows(2).map(|pair| pair[1].saturating_sub(pair[0]));
        assert!(apart.into_iter().all(|apart| apart > Duration::from_millis(450)), "{waits:?}");
    }

    #[test]
    fn a_burst_goes_at_once_and_the_rest_in_turn() {
        let pace = Pace::new(Rate { requests: 60, per: Duration::from_secs(60) });
        let now = Instant::now();
        let waits: Vec<u64> = (0..9).map(|_| pace.turn(now).as_secs()).collect();
        assert_eq!(waits, [0, 0, 0, 0, 0, 0, 1, 2, 3]);
        assert_eq!(pace.turn(now + Duration::from_secs(60)).as_secs(), 0, "a minute's rest gives a burst again");
    }
}
