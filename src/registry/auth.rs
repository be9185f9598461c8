//! From a challenge to an `Authorization` header: Basic, or a token from the registry's own token
//! server, fetched once for everything that this process wants to do in a repository.
//!
//! Nothing is asked beforehand. Where a login is known, the first request goes ahead alone, since
//! it will most likely be challenged, and the others wait for what it learns; otherwise all
//! requests go at once, and the first to be challenged fetches the token for all. A password is
//! shown to the registry by one request first, so that a wrong one is refused once and not many
//! times: accounts get locked for less.
//!
//! Protocol: distribution's "Token Authentication Specification". The token server is in `token`.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use reqwest::header::{HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Method, StatusCode, Url};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::{Mutex, MutexGuard};

use super::Access;
use super::auth_error::AuthError;
use super::challenge::{self, Challenge};
use super::credentials::{Credentials, Keychain};
use super::error::{Refusal, RegistryError, RequestLine, is_temporary, shown};
use super::patience::{Budget, Failure};
use super::scope::scopes;
use super::send::{Answer, Call, Wire};
use super::token::{Asked, LONGEST_TOKEN_ANSWER};
use super::url::check_realm;
use super::wire::read_refusal;
use crate::model::Host;

/// A refused login is not tried again for this long, so that no account gets locked.
const REFUSED_FOR: Duration = Duration::from_secs(300);
/// How long a token lives whose server does not say, or says less.
pub(super) const SHORTEST_LIFE: Duration = Duration::from_secs(60);
/// Nothing is kept longer, whatever its server says.
pub(super) const LONGEST_LIFE: Duration = Duration::from_secs(3600);
/// How long a password is used before its keeper is asked again: some hand out short-lived ones.
const PASSWORD_LIFE: Duration = Duration::from_secs(300);

/// Who we are to one registry.
#[derive(Debug)]
pub(super) struct Auth {
    host: Host,
    keychain: Keychain,
    access: Access,
    /// Held by the request that finds something out for all. Taken before `state`, never after.
    turn: Mutex<()>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    way: Way,
    /// Whether a request went ahead without a login to find the way.
    was_scouted: bool,
    /// Where there might be a login. Files are looked through once: they only decide who goes
    /// first, and a challenge is answered with what they hold by then.
    expects_login: HashMap<String, bool>,
    tokens: HashMap<String, Token>,
    refused: Vec<Refused>,
}

/// A login that was not taken.
#[derive(Debug)]
struct Refused {
    since: Instant,
    credentials: Credentials,
    /// The repository it was not taken for; `None` if it is wrong altogether.
    path: Option<String>,
    refusal: Refusal,
}

impl State {
    fn refusal(&self, credentials: &Credentials, path: &str) -> Option<&Refusal> {
        let is_it = |refused: &&Refused| {
            let is_here = refused.path.as_deref().is_none_or(|refused| refused == path);
            refused.since.elapsed() < REFUSED_FOR && is_here && refused.credentials == *credentials
        };
        self.refused.iter().find(is_it).map(|refused| &refused.refusal)
    }

    /// Remembers that a login was refused: with 401 because it is wrong, with 403 for this repository.
    fn refuse(&mut self, credentials: Credentials, path: &str, refusal: &Refusal) {
        let path = (refusal.status != StatusCode::UNAUTHORIZED).then(|| path.to_owned());
        self.refused.retain(|refused| refused.since.elapsed() < REFUSED_FOR);
        self.refused.push(Refused { since: Instant::now(), credentials, path, refusal: refusal.clone() });
    }
}

/// What the registry wants to see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Way {
    #[default]
    Unknown,
    Nothing,
    Basic,
    Bearer {
        realm: Url,
        service: Option<String>,
    },
}

/// What is known of a header. What was tried and not answered is not waited for a second time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Untried,
    Tried,
    Proven,
}

/// A header that gets us in, until when.
#[derive(Clone, Debug)]
struct Token {
    header: HeaderValue,
    /// What it was made from.
    credentials: Credentials,
    standing: Standing,
    /// What it was asked for, most important first.
    scopes: Vec<String>,
    renew_at: Instant,
}

/// What a request goes out with.
pub(super) struct Pass<'a> {
    authorization: Option<HeaderValue>,
    /// Held while the others wait for what becomes of this request.
    turn: Option<MutexGuard<'a, ()>>,
}

impl Pass<'_> {
    pub(super) fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }
}

impl Auth {
    pub(super) fn new(host: Host, keychain: Keychain, access: Access) -> Auth {
        Auth { host, keychain, access, turn: Mutex::new(()), state: Mutex::default() }
    }

    /// What to send `call` with, as far as is known by now; waits while another request finds out.
    pub(super) async fn pass(&self, wire: &Wire, call: &Call<'_>) -> Result<Pass<'_>, RegistryError> {
        let (authorization, standing) = self.known(wire, call).await?;
        if standing == Standing::Proven {
            return Ok(Pass { authorization, turn: None });
        }
        let turn = self.turn.lock().await;
        let (authorization, standing) = self.known(wire, call).await?;
        if standing != Standing::Untried {
            return Ok(Pass { authorization, turn: None });
        }
        let mut state = self.state.lock().await;
        match state.tokens.get_mut(call.path) {
            Some(token) => token.standing = Standing::Tried,
            None => state.was_scouted = true,
        }
        Ok(Pass { authorization, turn: Some(turn) })
    }

    /// The header to send `call` with, `None` for none, and how well it is known to do.
    async fn known(&self, wire: &Wire, call: &Call<'_>) -> Result<(Option<HeaderValue>, Standing), RegistryError> {
        let mut state = self.state.lock().await;
        match state.way.clone() {
            Way::Nothing => Ok((None, Standing::Proven)),
            Way::Unknown if state.was_scouted => Ok((None, Standing::Tried)),
            Way::Unknown => {
                let expects_login = match state.expects_login.get(call.path) {
                    Some(known) => *known,
                    None => {
                        let found = self.keychain.knows(self.host.as_str(), call.path).await;
                        *state.expects_login.entry(call.path.to_owned()).or_insert(found)
                    }
                };
                Ok((None, if expects_login { Standing::Untried } else { Standing::Proven }))
            }
            way => {
                let token = self.token(&mut state, &way, wire, call, Vec::new()).await?;
                Ok((Some(token.header), token.standing))
            }
        }
    }

    /// Finds something better to send `call` with, after the registry answered it with 401. Says
    /// whether there is anything: what was refused just now is not sent again.
    pub(super) async fn improve<'a>(
        &'a self,
        wire: &Wire,
        call: &Call<'_>,
        answer: &Answer,
        pass: &mut Pass<'a>,
    ) -> Result<bool, RegistryError> {
        if pass.turn.is_none() {
            pass.turn = Some(self.turn.lock().await);
        }
        let mut state = self.state.lock().await;
        let is_better = |token: &&Token| Some(&token.header) != pass.authorization() && token.renew_at > Instant::now();
        let token = match state.tokens.get(call.path).filter(is_better) {
            // Somebody got it while this request was under way.
            Some(token) => token.clone(),
            None => {
                let (way, demanded) = self.challenged(wire, call, answer).await?;
                if let (Way::Bearer { realm: old, .. }, Way::Bearer { realm: new, .. }) = (&state.way, &way)
                    && old != new
                {
                    tracing::warn!(old = %shown(old), new = %shown(new), "{} changed its token server", self.host);
                }
                state.way = way.clone();
                state.tokens.remove(call.path);
                self.token(&mut state, &way, wire, call, demanded).await?
            }
        };
        if Some(&token.header) == pass.authorization() {
            return Ok(false);
        }
        match state.tokens.get_mut(call.path) {
            Some(token) if token.standing == Standing::Untried => token.standing = Standing::Tried,
            _ => pass.turn = None,
        }
        pass.authorization = Some(token.header);
        Ok(true)
    }

    /// Takes note of what the registry made of a request's header, and lets the others follow.
    ///
    /// # Errors
    ///
    /// [`AuthError::Refused`]: the registry does not take this login.
    pub(super) async fn learn(&self, call: &Call<'_>, pass: Pass<'_>, answer: &Answer) -> Result<(), RegistryError> {
        let is_refused = answer.status == StatusCode::UNAUTHORIZED && answer.is_home;
        if is_temporary(answer.status) || (pass.turn.is_none() && !is_refused) {
            return Ok(());
        }
        let mut state = self.state.lock().await;
        match pass.authorization() {
            Some(_) if is_refused && state.way == Way::Basic => {
                let refusal = read_refusal(answer);
                if let Some(token) = state.tokens.remove(call.path) {
                    state.refuse(token.credentials, call.path, &refusal);
                }
                return Err(failed(call, AuthError::Refused { refusal }));
            }
            Some(header) => {
                let token = state.tokens.get_mut(call.path).filter(|token| token.header == *header);
                if let Some(token) = token.filter(|_| !is_refused) {
                    token.standing = Standing::Proven;
                }
            }
            None if state.way == Way::Unknown && !is_refused => state.way = Way::Nothing,
            None => {}
        }
        Ok(())
    }

    /// What the registry wants to see, and the scopes that it names.
    async fn challenged(
        &self,
        wire: &Wire,
        call: &Call<'_>,
        answer: &Answer,
    ) -> Result<(Way, Vec<String>), RegistryError> {
        let challenges = challenges_of(answer);
        let challenges = if challenges.is_empty() { self.ping(wire, call).await? } else { challenges };
        self.choose(wire, call, answer, &challenges)
    }

    /// The challenge of the API's root, for registries that send none with the refusal itself.
    async fn ping(&self, wire: &Wire, call: &Call<'_>) -> Result<Vec<Challenge>, RegistryError> {
        let url = &wire.url("");
        let line = &RequestLine::new(&Method::GET, url);
        let budget = &Budget::new(wire.settings.deadline);
        let once = || async move {
            let request = wire.clients.own()?.get(url.clone());
            let reading = wire.read(call, request, line, url, LONGEST_TOKEN_ANSWER);
            let root = budget.within(|| line.clone(), reading).await?;
            if is_temporary(root.status) {
                let refusal = read_refusal(&root);
                return Err(Failure::from(RegistryError::Failed { request: line.clone(), refusal }));
            }
            Ok(root)
        };
        let root = wire.repeat(budget, RegistryError::may_pass, once).await?;
        let challenges = challenges_of(&root);
        if challenges.is_empty() { Err(failed(call, AuthError::NoChallenge)) } else { Ok(challenges) }
    }

    /// The way to answer the challenges, and the scopes that they name.
    fn choose(
        &self,
        wire: &Wire,
        call: &Call<'_>,
        answer: &Answer,
        challenges: &[Challenge],
    ) -> Result<(Way, Vec<String>), RegistryError> {
        if let Some(bearer) = challenges.iter().find(|c| c.scheme == "bearer") {
            let text = bearer.params.get("realm").map_or("", String::as_str);
            let realm = if text.is_empty() { None } else { answer.url.join(text).ok() };
            let realm = realm.ok_or_else(|| failed(call, AuthError::NoRealm))?;
            check_realm(&wire.base, &wire.settings.token_realm_hosts, &realm).map_err(|why| {
                failed(call, AuthError::RealmRefused { realm: shown(&realm), host: self.host.to_string(), why })
            })?;
            let scope = bearer.params.get("scope").map_or("", String::as_str);
            let service = bearer.params.get("service").cloned();
            return Ok((Way::Bearer { realm, service }, scope.split_whitespace().map(str::to_owned).collect()));
        }
        if challenges.iter().any(|c| c.scheme == "basic") {
            return Ok((Way::Basic, Vec::new()));
        }
        let schemes = challenges.iter().map(|c| c.scheme.clone()).collect::<Vec<_>>().join(", ");
        Err(failed(call, AuthError::UnknownScheme { schemes: crate::model::text::clean(&schemes, 100) }))
    }

    /// A header for `call`: the one we have, or a new one. The state is locked meanwhile, so that
    /// one fetch is in flight and the others wait for it.
    async fn token(
        &self,
        state: &mut State,
        way: &Way,
        wire: &Wire,
        call: &Call<'_>,
        demanded: Vec<String>,
    ) -> Result<Token, RegistryError> {
        let known = state.tokens.get(call.path);
        if let Some(token) = known.filter(|token| token.renew_at > Instant::now()) {
            return Ok(token.clone());
        }
        let found = self.keychain.find(self.host.as_str(), call.path).await;
        let credentials = found.map_err(|source| failed(call, AuthError::Credentials(source)))?;
        if let Some(refusal) = state.refusal(&credentials, call.path) {
            return Err(failed(call, AuthError::Refused { refusal: refusal.clone() }));
        }
        let demanded = if demanded.is_empty() { known.map(|t| t.scopes.clone()).unwrap_or_default() } else { demanded };
        let scopes = scopes(&demanded, call.path, self.access);
        let (header, life) = match self.fetch(way, wire, call, &credentials, &scopes).await {
            Ok(fetched) => fetched,
            Err(error) => {
                if let RegistryError::Auth { source: AuthError::Refused { refusal }, .. } = &error {
                    state.refuse(credentials, call.path, refusal);
                }
                return Err(error);
            }
        };
        // A token server has judged the login already; a password is first shown by one request.
        let standing = match known.filter(|known| known.header == header) {
            Some(known) => known.standing,
            None if *way == Way::Basic => Standing::Untried,
            None => Standing::Proven,
        };
        let token = Token { header, credentials, standing, scopes, renew_at: Instant::now() + life.mul_f64(0.75) };
        state.tokens.insert(call.path.to_owned(), token.clone());
        Ok(token)
    }

    async fn fetch(
        &self,
        way: &Way,
        wire: &Wire,
        call: &Call<'_>,
        credentials: &Credentials,
        scopes: &[String],
    ) -> Result<(HeaderValue, Duration), RegistryError> {
        if let Credentials::RegistryToken(token) = credentials {
            return Ok((bearer(call, token)?, LONGEST_LIFE));
        }
        match way {
            Way::Bearer { realm, service } => {
                let asked = Asked { wire, call, realm, service: service.as_deref(), scopes };
                let token = asked.fetch(credentials).await?;
                Ok((bearer(call, &token.secret)?, token.life))
            }
            _ => match credentials.basic_header() {
                Some(header) => Ok((secret_header(call, header.expose_secret())?, PASSWORD_LIFE)),
                None => Err(failed(call, AuthError::NoCredentials { host: self.host.to_string() })),
            },
        }
    }
}

fn challenges_of(answer: &Answer) -> Vec<Challenge> {
    let lines = answer.headers.get_all(WWW_AUTHENTICATE).iter();
    lines.filter_map(|line| std::str::from_utf8(line.as_bytes()).ok()).flat_map(challenge::parse).collect()
}

fn bearer(call: &Call<'_>, token: &SecretString) -> Result<HeaderValue, RegistryError> {
    secret_header(call, &format!("Bearer {}", token.expose_secret()))
}

pub(super) fn secret_header(call: &Call<'_>, text: &str) -> Result<HeaderValue, RegistryError> {
    let mut header = HeaderValue::from_str(text)
        .map_err(|_| failed(call, AuthError::Unreadable { found: "a secret that no header can carry".to_owned() }))?;
    header.set_sensitive(true);
    Ok(header)
}

pub(super) fn failed(call: &Call<'_>, source: AuthError) -> RegistryError {
    RegistryError::Auth { request: call.line(), source }
}
