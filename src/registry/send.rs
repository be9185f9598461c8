//! One request, done properly: where it may go, who we say we are, how long it may take, how much
//! of the answer is read, what is done again, and what may be written down about it.
//!
//! Everything that leaves this program for a registry passes through [`Wire::send`].

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use futures_util::FutureExt as _;
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, RANGE,
};
use reqwest::{Method, StatusCode, Url};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::Instrument as _;

use super::Settings;
use super::auth::Auth;
use super::client::Clients;
use super::error::{RegistryError, RequestLine, is_temporary};
use super::gate::Gate;
use super::pace::{Observed, Pace};
use super::patience::{Budget, Failure, LONGEST_WAIT, retry_after};
use super::receive::{self, Rest};
use super::url::{check_given, same_origin};
use super::wire::read_refusal;
use crate::model::Host;

/// Whoever waits this long wants to be told.
const NOTABLE_WAIT: Duration = Duration::from_secs(5);
/// The most hops from the registry to where the bytes are.
const MOST_REDIRECTS: usize = 5;

/// The connection to one registry, shared by everything that talks to it.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) host: Host,
    pub(super) base: Url,
    pub(super) clients: Clients,
    auth: Auth,
    /// Found out apart: for the list of repositories some registries want another kind of login, and
    /// one that may not read it is still right for everything else.
    catalog_auth: Auth,
    pub(super) settings: Settings,
    permits: Arc<Semaphore>,
    /// Until when the registry asked to be left alone.
    quiet_until: Mutex<Option<Instant>>,
    /// How fast it may be asked.
    pace: Option<Pace>,
    /// Whether it refused an OCI index and took a Docker list instead.
    pub(super) wants_docker_lists: AtomicBool,
}

/// A request to the registry.
#[derive(Clone, Debug)]
pub(super) struct Call<'a> {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) accept: &'static str,
    /// What is sent, and its media type.
    pub(super) body: Option<(Bytes, &'static str)>,
    /// Counts what is sent for it: tokens, redirects and repetitions included.
    pub(super) sent: &'a AtomicU64,
    /// The repository that it is about, empty for the list of all; what a token is asked for.
    pub(super) path: &'a str,
    /// The most bytes that are read of the answer.
    pub(super) limit_bytes: u64,
    pub(super) follow: Follow,
    /// Whether caches on the way must ask the registry itself.
    pub(super) fresh: bool,
    /// Who is asked before it is sent, if it changes something.
    pub(super) gate: Option<&'a Gate>,
    /// From when on it is not sent any more, if it must not be late.
    pub(super) until: Option<Instant>,
    /// The bytes that are wanted, where that is not all of them.
    pub(super) range: Option<Range<u64>>,
    /// Whether a good answer's body is left to be read by the caller, piece by piece.
    pub(super) is_streamed: bool,
}

/// Where an answer may send us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Follow {
    Nowhere,
    /// Manifests stay with their registry.
    SameOrigin,
    /// Blobs are often kept in object storage.
    Anywhere,
}

/// A complete answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// What is still to be read of it, where that was asked for.
    pub(super) rest: Option<Rest>,
    /// The URL that answered, after redirects.
    pub(super) url: Url,
    /// Whether the registry itself answered, and no redirect led away from it on the way.
    pub(super) is_home: bool,
}

impl Call<'_> {
    pub(super) fn line(&self) -> RequestLine {
        RequestLine::new(&self.method, &self.url)
    }

    /// A request that changes something is repeated only by those who looked first whether it
    /// was carried out; one that was put off (429) was not carried out.
    fn may_repeat(&self, error: &RegistryError) -> bool {
        error.may_pass() && (self.body.is_none() || matches!(error, RegistryError::RateLimited { .. }))
    }
}

impl Wire {
    pub(super) fn new(host: &Host, settings: Settings) -> Result<Wire, RegistryError> {
        let scheme = if settings.plain_http { "http" } else { "https" };
        let base: Url = format!("{scheme}://{}/", host.api())
            .parse()
            .map_err(|e| RegistryError::Settings(format!("`{host}` makes no URL ({e})")))?;
        Ok(Wire {
            clients: Clients::new(&base, settings.trust.clone(), &settings.token_realm_hosts),
            auth: Auth::new(host.clone(), settings.keychain.clone(), settings.access),
            catalog_auth: Auth::new(host.clone(), settings.keychain.clone(), settings.access),
            permits: Arc::new(Semaphore::new(settings.concurrency.max(1))),
            quiet_until: Mutex::new(None),
            pace: settings.rate.map(Pace::new),
            wants_docker_lists: AtomicBool::new(false),
            host: host.clone(),
            settings,
            base,
        })
    }

    /// A URL below the registry's API. Names are checked types, so that nothing needs escaping.
    pub(super) fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("/v2/{path}"));
        debug_assert_eq!(url.path(), format!("/v2/{path}"), "names never change a URL's path");
        url
    }

    /// Sends a request until it is answered for good.
    ///
    /// Answers are final, other than 401, 429 and the statuses of a registry that is unwell: those
    /// become errors once repeating did not help. 404 is an answer.
    pub(super) async fn send(&self, call: &Call<'_>) -> Result<Answer, RegistryError> {
        let span = tracing::debug_span!("request", method = %call.method, url = %super::error::shown(&call.url));
        let budget = Budget::new(self.settings.deadline);
        let attempt = || self.once(call, &budget);
        // Many are under way at once within what one job awaits: on the stack they would be too much,
        // and their types too deep.
        self.repeat(&budget, |error| call.may_repeat(error), attempt).instrument(span).boxed().await
    }

    /// Does `attempt` until it succeeds, fails for good, or has used up its tries or its time.
    ///
    /// Waits between tries are drawn at random up to a bound that doubles (full jitter), or as
    /// long as the server asks (`Retry-After`), which does not count as our time.
    pub(super) async fn repeat<T, F>(
        &self,
        budget: &Budget,
        may_repeat: impl Fn(&RegistryError) -> bool,
        attempt: impl Fn() -> F,
    ) -> Result<T, RegistryError>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let mut patience = LONGEST_WAIT;
        for number in 1.. {
            let failure = match attempt().await {
                Ok(value) => return Ok(value),
                Err(failure) => failure,
            };
            let wait = match self.settings.retry.wait_after(number, &failure, budget.left(), patience) {
                Some(wait) if may_repeat(&failure.error) => wait,
                _ => return Err(*failure.error),
            };
            match failure.wait_asked() {
                Some(_) => patience -= wait,
                None => budget.spend(wait),
            }
            let error = failure.error;
            if wait >= NOTABLE_WAIT {
                tracing::warn!(waits_ms = wait.as_millis(), attempt = number, "{error}; trying again in {wait:.0?}");
            } else {
                tracing::info!(waits_ms = wait.as_millis(), attempt = number, "{error}; trying again");
            }
            tokio::time::sleep(wait).await;
        }
        unreachable!("there is always one more number")
    }

    pub(super) fn keep_quiet(&self, wait: Duration) {
        let until = Instant::now() + wait;
        let mut quiet = self.quiet_until.lock().expect("no panic happens while it is held");
        *quiet = Some(quiet.map_or(until, |known| known.max(until)));
    }

    fn quiet_until(&self) -> Option<Instant> {
        *self.quiet_until.lock().expect("no panic happens while it is held")
    }

    /// A place among the requests under way, once the registry may be asked again.
    async fn permit(&self) -> OwnedSemaphorePermit {
        loop {
            if let Some(until) = self.quiet_until() {
                tokio::time::sleep_until(until.into()).await;
            }
            let permit = self.permits.clone().acquire_owned().await.expect("the semaphore is never closed");
            if self.quiet_until().is_none_or(|until| until <= Instant::now()) {
                return permit;
            }
        }
    }

    /// One attempt: authorised as far as we know how, and once more if the registry wants more.
    async fn once(&self, call: &Call<'_>, budget: &Budget) -> Result<Answer, Failure> {
        let auth = if call.path.is_empty() { &self.catalog_auth } else { &self.auth };
        let mut pass = auth.pass(self, call).await.map_err(Failure::last)?;
        let mut answer = self.follow_within(budget, call, pass.authorization()).await?;

        if answer.status == StatusCode::UNAUTHORIZED && answer.is_home {
            let is_better = auth.improve(self, call, &answer, &mut pass).await.map_err(Failure::last)?;
            if is_better {
                answer = self.follow_within(budget, call, pass.authorization()).await?;
            }
        }
        auth.learn(call, pass, &answer).await.map_err(Failure::last)?;
        self.judge(call, answer)
    }

    fn judge(&self, call: &Call<'_>, answer: Answer) -> Result<Answer, Failure> {
        let request = call.line();
        let refusal = read_refusal(&answer);
        let error = match answer.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if !answer.is_home => {
                RegistryError::StorageRefused { request, refusal }
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if !refusal.is_immutable() => {
                let (needed, repository) = match call.path {
                    "" => ("*", "the list of repositories".to_owned()),
                    path => (self.settings.access.as_str(), path.to_owned()),
                };
                RegistryError::Denied { request, refusal, needed, repository }
            }
            StatusCode::TOO_MANY_REQUESTS => RegistryError::RateLimited { request, refusal },
            status if is_temporary(status) => RegistryError::Failed { request, refusal },
            _ => return Ok(answer),
        };
        let asked = retry_after(&answer.headers, SystemTime::now()).filter(|_| error.may_pass());
        if let Some(wait) = asked.filter(|_| answer.is_home) {
            self.keep_quiet(wait);
            if let Some(shared) = &self.settings.together.0 {
                shared.keep_quiet(wait);
            }
        }
        Err(Failure { asked, ..Failure::from(error) })
    }

    async fn follow_within(
        &self,
        budget: &Budget,
        call: &Call<'_>,
        authorization: Option<&HeaderValue>,
    ) -> Result<Answer, RegistryError> {
        let permit = self.permit().await;
        self.wait_for_turn().await;
        let started = Instant::now();
        if call.until.is_some_and(|until| until <= started) {
            return Err(RegistryError::Late { request: call.line() });
        }
        let following = budget.within(|| call.line(), self.follow(call, authorization));
        let mut answer = match call.gate {
            None => following.await?,
            Some(gate) => match gate.pass(following).await {
                Ok(Some(answer)) => answer?,
                Ok(None) => return Err(RegistryError::TimedOut { request: call.line(), after: started.elapsed() }),
                Err(why) => return Err(RegistryError::NotSent { request: call.line(), why }),
            },
        };
        if let Some(rest) = &mut answer.rest {
            rest.permit = Some(permit);
        }
        Ok(answer)
    }

    /// Sends a request and goes where the answer sends us, as far as that is allowed.
    ///
    /// Only the registry itself gets `Authorization`; once a redirect has left it, nobody does.
    async fn follow(&self, call: &Call<'_>, authorization: Option<&HeaderValue>) -> Result<Answer, RegistryError> {
        let mut url = call.url.clone();
        let mut at_home = true;
        for _ in 0..=MOST_REDIRECTS {
            let answer = self.exchange(call, url.clone(), authorization.filter(|_| at_home)).await?;
            let Some(location) = redirection(&answer) else {
                return Ok(Answer { is_home: at_home, ..answer });
            };
            let refused = |target: String, why| RegistryError::RedirectRefused { request: call.line(), target, why };
            let target = url.join(&location).map_err(|_| refused("nowhere".to_owned(), "that is not a URL"))?;
            let shown = super::error::shown(&target);
            let stays = same_origin(&self.base, &target);
            if let Err(why) = check_given(&self.base, self.clients.reach(), &target) {
                return Err(refused(shown, why));
            }
            match call.follow {
                Follow::Nowhere => return Err(refused(shown, "what is written must not be sent elsewhere")),
                Follow::SameOrigin if !stays => return Err(refused(shown, self.why_at_home(&target))),
                Follow::SameOrigin | Follow::Anywhere => {}
            }
            at_home &= stays;
            url = target;
        }
        let target = super::error::shown(&url);
        Err(RegistryError::RedirectRefused { request: call.line(), target, why: "there were too many before it" })
    }

    fn why_at_home(&self, target: &Url) -> &'static str {
        if self.base.scheme() == "http" && target.scheme() == "https" && self.base.host_str() == target.host_str() {
            "the registry is at home behind TLS; do not ask for plain HTTP"
        } else {
            "tags and manifests come from the registry itself"
        }
    }

    /// The client for a URL: the registry's own, or the one for wherever it sends us.
    pub(super) fn client(&self, url: &Url) -> Result<&reqwest::Client, RegistryError> {
        if same_origin(&self.base, url) { self.clients.own() } else { self.clients.foreign() }
    }

    /// One request and its answer, read up to the limit.
    async fn exchange(
        &self,
        call: &Call<'_>,
        url: Url,
        authorization: Option<&HeaderValue>,
    ) -> Result<Answer, RegistryError> {
        let mut request =
            self.client(&url)?.request(call.method.clone(), url.clone()).header(ACCEPT_ENCODING, "identity");
        if !call.accept.is_empty() {
            request = request.header(ACCEPT, call.accept);
        }
        if call.fresh {
            request = request.header(CACHE_CONTROL, "no-cache");
        }
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        if let Some(range) = &call.range {
            request = request.header(RANGE, format!("bytes={}-{}", range.start, range.end.saturating_sub(1)));
        }
        if let Some((body, media_type)) = &call.body {
            request = request.header(CONTENT_TYPE, *media_type).body(body.clone());
        }
        if call.is_streamed {
            let result = receive::open(call.sent, request, &call.line(), &url).await;
            self.tell(&result);
            return result;
        }
        self.read(call, request, &call.line(), &url, call.limit_bytes).await
    }

    /// Sends a prepared request for `call`, reads its answer up to `limit_bytes`, and tells who wants to know.
    pub(super) async fn read(
        &self,
        call: &Call<'_>,
        request: reqwest::RequestBuilder,
        line: &RequestLine,
        url: &Url,
        limit_bytes: u64,
    ) -> Result<Answer, RegistryError> {
        let result = receive::read(call.sent, request, line, url, limit_bytes).await;
        self.tell(&result);
        result
    }

    fn tell(&self, result: &Result<Answer, RegistryError>) {
        let status = result.as_ref().map_or(0, |answer| answer.status.as_u16());
        self.settings.observer.tell(Observed::Answer(status));
    }

    /// Waits for this request's turn, where the registry is to be asked only so often.
    async fn wait_for_turn(&self) {
        let Some(pace) = &self.pace else { return };
        let wait = pace.turn_of(&self.settings.together).await;
        if !wait.is_zero() {
            self.settings.observer.tell(Observed::Waited(wait));
            tokio::time::sleep(wait).await;
        }
    }
}

fn redirection(answer: &Answer) -> Option<String> {
    let is_redirection = matches!(answer.status.as_u16(), 301 | 302 | 303 | 307 | 308);
    let location = answer.headers.get(LOCATION)?.to_str().ok()?;
    is_redirection.then(|| location.to_owned())
}
