//! How long a request may take, how long to wait before it is tried again, and when to give up.

use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use reqwest::header::{HeaderMap, RETRY_AFTER};

use super::Retry;
use super::error::{RegistryError, RequestLine};

/// The longest that a registry may make one request wait, all its askings together.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// An attempt that failed.
pub(super) struct Failure {
    pub(super) error: Box<RegistryError>,
    /// How long the server asks us to wait.
    pub(super) asked: Option<Duration>,
    /// Whether another attempt may be made; not after one that made several itself.
    pub(super) is_final: bool,
}

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Failure {
        Failure { error: Box::new(error), asked: None, is_final: false }
    }
}

impl Failure {
    pub(super) fn last(error: RegistryError) -> Failure {
        Failure { is_final: true, ..Failure::from(error) }
    }

    /// How long the server asks us to wait, if that is any time at all.
    pub(super) fn wait_asked(&self) -> Option<Duration> {
        self.asked.filter(|wait| !wait.is_zero())
    }
}

impl Retry {
    /// How long to wait after try `number`, of which `failure` came; `None` if that was the last.
    ///
    /// `left` is what is left of our own time, and `patience` what is left for waits that the
    /// server asks for.
    pub(super) fn wait_after(
        &self,
        number: u32,
        failure: &Failure,
        left: Duration,
        patience: Duration,
    ) -> Option<Duration> {
        if failure.is_final || number >= self.attempts || left.is_zero() {
            return None;
        }
        match failure.wait_asked() {
            Some(asked) => (asked <= patience).then_some(asked),
            None => {
                let wait = self.pause(number, matches!(*failure.error, RegistryError::RateLimited { .. }));
                (wait < left).then_some(wait)
            }
        }
    }
}

/// The time that one request may take, over all its tries.
#[derive(Debug)]
pub(super) struct Budget {
    whole: Duration,
    left: Mutex<Duration>,
}

impl Budget {
    pub(super) fn new(whole: Duration) -> Budget {
        Budget { whole, left: Mutex::new(whole) }
    }

    pub(super) fn left(&self) -> Duration {
        *self.left.lock().expect("no panic happens while it is held")
    }

    pub(super) fn spend(&self, time: Duration) {
        let mut left = self.left.lock().expect("no panic happens while it is held");
        *left = left.saturating_sub(time);
    }

    /// Does `work` in what is left, and in no more than half of the whole: one answer that never
    /// comes leaves time for another try.
    pub(super) async fn within<T, E: From<RegistryError>>(
        &self,
        line: impl Fn() -> RequestLine,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let allowed = self.left().min(self.whole / 2);
        let started = Instant::now();
        let result = tokio::time::timeout(allowed, work).await;
        self.spend(started.elapsed());
        result.unwrap_or_else(|_| {
            let after = if self.left().is_zero() { self.whole } else { allowed };
            let after = Duration::from_millis(u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
            Err(RegistryError::TimedOut { request: line(), after }.into())
        })
    }
}

/// How long the registry asks us to wait: `Retry-After` in seconds or as a date (RFC 9110,
/// section 10.2.3), an hour at most. A date gone by, or text, asks for nothing.
pub(super) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(now).ok()?,
    };
    Some(wait.min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use reqwest::Method;
    use reqwest::header::HeaderValue;

    proptest! {
        #[test]
        fn no_text_asks_for_more_than_an_hour(text in r"[ -~]{0,40}|[0-9]{1,40}|(Sun, )?[0-9]{2} Nov 9999 [0-9:]{8} GMT") {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_str(&text).expect("a header"))]);
            let wait = retry_after(&headers, SystemTime::UNIX_EPOCH);
            prop_assert!(wait.unwrap_or_default() <= LONGEST_WAIT);
        }
    }

    #[test]
    fn a_registry_may_ask_for_a_wait_in_seconds_or_by_date_but_not_for_ever() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").expect("a date");
        let wait = |text: &str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_str(text).expect("a header"))]);
            retry_after(&headers, now).map(|wait| wait.as_secs())
        };
        assert_eq!(wait("120"), Some(120));
        assert_eq!(wait("0"), Some(0));
        assert_eq!(wait("Sun, 06 Nov 1994 08:50:37 GMT"), Some(60));
        assert_eq!(wait("999999999"), Some(3600));
        assert_eq!(wait("Sun, 06 Nov 1994 08:48:37 GMT"), None, "a date in the past");
        assert_eq!(wait("-5"), None);
        assert_eq!(wait("soon"), None);
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn a_registry_may_ask_for_an_hour_and_not_for_an_hour_after_every_try() {
        let retry = Retry { first: Duration::from_millis(100), ..Retry::default() };
        let request = RequestLine::new(&Method::GET, &"https://r.example.com/v2/".parse().expect("a URL"));
        let secs = Duration::from_secs;
        let failure = |asked| Failure {
            asked,
            ..Failure::from(RegistryError::Unreachable { request: request.clone(), cause: String::new() })
        };
        let hour = failure(Some(secs(3600)));
        assert_eq!(retry.wait_after(1, &hour, secs(1), LONGEST_WAIT), Some(secs(3600)), "it is not our time");
        assert_eq!(retry.wait_after(2, &hour, secs(1), Duration::ZERO), None);
        assert_eq!(retry.wait_after(5, &failure(Some(secs(1))), secs(1), LONGEST_WAIT), None, "five tries were made");
        assert_eq!(retry.wait_after(1, &hour, Duration::ZERO, LONGEST_WAIT), None, "our own time is up");

        for asked in [None, Some(Duration::ZERO)] {
            let wait = retry.wait_after(1, &failure(asked), secs(9), LONGEST_WAIT).expect("another try");
            assert!(wait <= Duration::from_millis(100), "{wait:?}");
        }
    }
}
