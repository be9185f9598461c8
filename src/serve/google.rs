//! Google's keys: fetched when a token needs them, and remembered as long as their server says.
//!
//! Anybody may send tokens, so nothing is fetched for one that would be refused anyway, one fetch at
//! a time is enough for everybody, and the next one waits its turn. A token that cannot be judged
//! for want of keys is put off, never refused: its sender delivers again.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, SystemTime};

use futures_util::StreamExt as _;
use http::HeaderMap;
use http::header::{AGE, CACHE_CONTROL};
use reqwest::{Client, Url};
use tokio::time::Instant;

use super::gate::NotAdmitted;
use crate::model::text::with_causes;
use crate::registry::client_for;
use crate::webhook::oidc::{self, BadToken, Expected, Keys};

/// However long the keys' server says they are good for, it is this long.
const SHORTEST_LIFE: Duration = Duration::from_secs(5 * 60);
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 60 * 60);
/// How long nothing is fetched again while the keys are good, but one is not among them.
const PAUSE: Duration = Duration::from_secs(60);
/// How long nothing is fetched again after a failure, while no keys are good.
const PAUSE_WITHOUT_KEYS: Duration = Duration::from_secs(10);
/// How long a fetch may take. Pub/Sub waits 10 s for an answer, unless it is told otherwise.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Google's are of less than 4 KiB.
const LARGEST_KEYS_BYTES: usize = 256 * 1024;

/// The keys that one server has, as far as they are known.
pub(super) struct Keyring {
    url: Url,
    client: OnceLock<Client>,
    known: Mutex<Known>,
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Clone, Default)]
struct Known {
    keys: Arc<Keys>,
    good_until: Option<Instant>,
    last_try: Option<(Instant, Outcome)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Fetched,
    Failed,
}

impl Known {
    fn is_good(&self) -> bool {
        self.good_until.is_some_and(|until| Instant::now() < until)
    }

    /// What the last try came to, if it was too short a while ago for another one.
    fn settled(&self) -> Option<Outcome> {
        let (at, outcome) = self.last_try?;
        let pause = if self.is_good() { PAUSE } else { PAUSE_WITHOUT_KEYS };
        (at.elapsed() < pause).then_some(outcome)
    }
}

impl Keyring {
    /// The keys at `url`; nothing is fetched yet.
    pub(super) fn at(url: Url) -> Keyring {
        let (client, known) = (OnceLock::new(), Mutex::default());
        Keyring { url, client, known, fetching: tokio::sync::Mutex::new(()) }
    }

    /// Whether a token is Google's word for who is expected; keys are fetched for it if it is worth
    /// that.
    pub(super) async fn verify(self: &Arc<Self>, token: &str, expected: &Expected) -> Result<(), NotAdmitted> {
        let known = self.known();
        match verify(token, &known.keys, expected) {
            Ok(()) if known.is_good() => return Ok(()),
            Ok(()) | Err(BadToken::UnknownKey { .. }) => {}
            Err(bad) => return Err(refused(&bad)),
        }
        // On its own, so that a sender who hangs up does not end what others wait for.
        let keyring = Arc::clone(self);
        let renewal = tokio::spawn(async move { keyring.renew().await });
        let outcome = renewal.await.unwrap_or(Outcome::Failed);
        let known = self.known();
        match verify(token, &known.keys, expected) {
            Ok(()) if known.is_good() => Ok(()),
            Err(bad) if outcome == Outcome::Fetched => Err(refused(&bad)),
            Ok(()) | Err(_) => Err(NotAdmitted::NotNow),
        }
    }

    fn known(&self) -> Known {
        self.known.lock().expect("no panic happens while it is held").clone()
    }

    /// Fetches the keys, unless somebody else just did.
    async fn renew(&self) -> Outcome {
        let _alone = self.fetching.lock().await;
        if let Some(outcome) = self.known().settled() {
            return outcome;
        }
        let fetched = tokio::time::timeout(TIMEOUT, self.fetch()).await;
        let fetched = fetched.unwrap_or_else(|_| Err(format!("no answer within {} s", TIMEOUT.as_secs())));
        let mut known = self.known.lock().expect("no panic happens while it is held");
        let outcome = match fetched {
            Ok((keys, life)) => {
                tracing::debug!(life_secs = life.as_secs(), "Fetched the keys of tokens from {}", self.url);
                (known.keys, known.good_until) = (Arc::new(keys), Some(Instant::now() + life));
                Outcome::Fetched
            }
            Err(problem) => {
                tracing::warn!("The keys of tokens cannot be fetched from {}: {problem}", self.url);
                Outcome::Failed
            }
        };
        known.last_try = Some((Instant::now(), outcome));
        outcome
    }

    /// Wire: `GET <url>`, no redirects. Spec: RFC 7517, and RFC 9111 for how long it is good for.
    async fn fetch(&self) -> Result<(Keys, Duration), String> {
        let why = |error: reqwest::Error| with_causes(&error.without_url());
        let answer = self.client().map_err(why)?.get(self.url.clone()).send().await.map_err(why)?;
        if answer.status() != http::StatusCode::OK {
            return Err(format!("status {}, expected 200", answer.status().as_u16()));
        }
        let life = life(answer.headers());
        let mut body = Vec::new();
        let mut stream = answer.bytes_stream();
        while let Some(chunk) = stream.next().await {
            body.extend_from_slice(&chunk.map_err(why)?);
            if body.len() > LARGEST_KEYS_BYTES {
                return Err(format!("more than {LARGEST_KEYS_BYTES} bytes"));
            }
        }
        Ok((Keys::read(&body).map_err(|error| error.to_string())?, life))
    }

    /// Made when it is first needed: reading the system's certificates takes a while.
    fn client(&self) -> Result<&Client, reqwest::Error> {
        if self.client.get().is_none() {
            let _ = self.client.set(client_for(&self.url).build()?); // another thread may have been first
        }
        Ok(self.client.get().expect("it was set above"))
    }
}

/// [`oidc::verify`], now.
pub(super) fn verify(token: &str, keys: &Keys, expected: &Expected) -> Result<(), BadToken> {
    // A clock before 1970 makes every token one of the future.
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    oidc::verify(token, keys, expected, now)
}

pub(super) fn refused(bad: &BadToken) -> NotAdmitted {
    tracing::debug!("A token is refused: {bad}");
    NotAdmitted::Unproven
}

/// How long an answer is good for: its `max-age` less its `Age`, within our bounds.
fn life(headers: &HeaderMap) -> Duration {
    let texts = |name| headers.get_all(name).iter().filter_map(|value: &http::HeaderValue| value.to_str().ok());
    let max_age = texts(CACHE_CONTROL).flat_map(|text| text.split(',')).find_map(|directive| {
        let (name, value) = directive.split_once('=')?;
        let is_it = name.trim().eq_ignore_ascii_case("max-age");
        is_it.then(|| value.trim().trim_matches('"').parse::<u64>().ok()).flatten()
    });
    let age = texts(AGE).find_map(|text| text.trim().parse::<u64>().ok()).unwrap_or(0);
    let left = max_age.unwrap_or(0).saturating_sub(age);
    Duration::from_secs(left).clamp(SHORTEST_LIFE, LONGEST_LIFE)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was known `ago_secs` after a try that came to `outcome`, with keys that are still good or not.
    fn settled(outcome: Outcome, ago_secs: u64, is_good: bool) -> Option<Outcome> {
        let now = Instant::now();
        let at = now.checked_sub(Duration::from_secs(ago_secs)).expect("the machine runs for long enough");
        let good_until = is_good.then(|| now + Duration::from_secs(600));
        Known { good_until, last_try: Some((at, outcome)), ..Known::default() }.settled()
    }

    #[test]
    fn a_key_that_is_not_there_is_looked_for_once_a_minute_at_most() {
        use Outcome::{Failed, Fetched};
        assert_eq!(Known::default().settled(), None, "the first token asks for the keys");
        assert_eq!(settled(Fetched, 58, true), Some(Fetched));
        assert_eq!(settled(Fetched, 60, true), None);
        assert_eq!(settled(Failed, 58, true), Some(Failed));
        assert_eq!(settled(Failed, 60, true), None);
    }

    #[test]
    fn a_server_that_fails_is_asked_again_soon_but_not_by_every_token() {
        use Outcome::{Failed, Fetched};
        assert_eq!(settled(Failed, 8, false), Some(Failed));
        assert_eq!(settled(Failed, 10, false), None);
        assert_eq!(settled(Fetched, 300, false), None, "keys that are not good any more are fetched again");
    }

    #[test]
    fn keys_are_good_for_as_long_as_their_server_says_within_bounds() {
        let life = |pairs: &[(&'static str, &'static str)]| {
            let pair = |(name, value): &(&'static str, &'static str)| {
                (http::HeaderName::from_static(name), http::HeaderValue::from_static(value))
            };
            let mut headers = HeaderMap::new();
            for (name, value) in pairs.iter().map(pair) {
                headers.append(name, value);
            }
            life(&headers).as_secs()
        };
        assert_eq!(life(&[("cache-control", "public, max-age=24155, must-revalidate, no-transform")]), 24155);
        assert_eq!(life(&[("cache-control", "public, Max-Age = \"3600\""), ("age", "600")]), 3000);
        assert_eq!(life(&[("cache-control", "no-transform"), ("cache-control", "max-age=900")]), 900);
        for none in ["", "no-store", "max-age=0", "max-age=-1", "max-age=soon", "s-maxage=9000", "max-age"] {
            assert_eq!(life(&[("cache-control", none)]), 300, "{none}");
        }
        assert_eq!(life(&[("cache-control", "max-age=3600"), ("age", "9999999")]), 300);
        assert_eq!(life(&[("cache-control", "max-age=31536000")]), 86400);
        assert_eq!(life(&[]), 300);
    }
}
