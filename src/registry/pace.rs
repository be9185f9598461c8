//! How fast one registry is asked, and who is told of its answers.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

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

/// Spreads requests: each takes its turn, and a tenth of a period's may go at once.
#[derive(Debug)]
pub(super) struct Pace {
    interval: Duration,
    burst: Duration,
    /// When the next request would go, if none went at once.
    next: Mutex<Option<Instant>>,
}

impl Pace {
    pub(super) fn new(rate: Rate) -> Pace {
        let interval = rate.per / rate.requests.max(1);
        Pace { interval, burst: interval * (rate.requests / 10).max(1), next: Mutex::default() }
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

    #[test]
    fn a_burst_goes_at_once_and_the_rest_in_turn() {
        let pace = Pace::new(Rate { requests: 60, per: Duration::from_secs(60) });
        let now = Instant::now();
        let waits: Vec<u64> = (0..9).map(|_| pace.turn(now).as_secs()).collect();
        assert_eq!(waits, [0, 0, 0, 0, 0, 0, 1, 2, 3]);
        assert_eq!(pace.turn(now + Duration::from_secs(60)).as_secs(), 0, "a minute's rest gives a burst again");
    }
}
