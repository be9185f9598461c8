//! From a challenge to an `Authorization` header: Basic, or a token from the registry's own token
//! server, fetched once for everything that this process wants to do in a repository.
//!
//! Nothing is asked beforehand. Where a login is known, the first request goes ahead alone, since
//! it will most likely be challenged, and the others wait for what it learns; otherwise all
//! requests go at once, and the first to be challenged fetches the token for all.
//!
//! Protocol: distribution's "Token Authentication Specification" and its OAuth2 variant.

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Method, StatusCode, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use tokio::sync::{Mutex, MutexGuard};

use super::Access;
use super::challenge::{self, Challenge};
use super::credentials::{Credentials, CredentialsError, Keychain};
use super::error::{Kind, Refusal, RegistryError, RequestLine, is_temporary, shown};
use super::send::{Answer, Call, Failure, Wire, read, retry_after};
use super::url::{check_realm, same_origin};
use super::wire::read_refusal;
use crate::model::Host;

/// The most bytes read of a token server's answer.
const LONGEST_TOKEN_ANSWER: u64 = 128 * 1024;
/// A refused login is not tried again for this long, so that no account gets locked.
const REFUSED_FOR: Duration = Duration::from_secs(300);
/// How long a token lives whose server does not say, or says less.
const SHORTEST_LIFE: Duration = Duration::from_secs(60);
/// Nothing is kept longer, whatever its server says.
const LONGEST_LIFE: Duration = Duration::from_secs(3600);

/// Who we are to one registry.
#[derive(Debug)]
pub(super) struct Auth {
    host: Host,
    keychain: Keychain,
    access: Access,
    /// Held by the request that finds out what the registry wants to see.
    scout: Mutex<()>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    way: Way,
    tokens: HashMap<String, Token>,
    refused: HashMap<String, (Instant, String)>,
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

/// A header that gets us in, until when.
#[derive(Clone, Debug)]
struct Token {
    header: HeaderValue,
    /// What it was asked for, most important first.
    scopes: Vec<String>,
    renew_at: Instant,
}

/// What a request goes out with.
pub(super) struct Pass<'a> {
    authorization: Option<HeaderValue>,
    scout: Option<(MutexGuard<'a, ()>, &'a Mutex<State>)>,
}

impl Pass<'_> {
    pub(super) fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }

    /// The request was let in. If it went ahead to find that out, the others may follow.
    pub(super) async fn was_enough(self) {
        if let Some((_guard, state)) = self.scout {
            let mut state = state.lock().await;
            if state.way == Way::Unknown {
                state.way = Way::Nothing;
            }
        }
    }
}

impl Auth {
    pub(super) fn new(host: Host, keychain: Keychain, access: Access) -> Auth {
        Auth { host, keychain, access, scout: Mutex::new(()), state: Mutex::default() }
    }

    /// What to send `call` with, as far as is known by now.
    pub(super) async fn pass(
        &self,
        wire: &Wire,
        counter: &AtomicU64,
        call: &Call<'_>,
    ) -> Result<Pass<'_>, RegistryError> {
        let open = || Ok(Pass { authorization: None, scout: None });
        if self.state.lock().await.way == Way::Unknown {
            if !self.keychain.knows(self.host.as_str(), call.path).await {
                return open();
            }
            let guard = self.scout.lock().await;
            if self.state.lock().await.way == Way::Unknown {
                return Ok(Pass { authorization: None, scout: Some((guard, &self.state)) });
            }
        }
        let mut state = self.state.lock().await;
        match state.way.clone() {
            Way::Unknown | Way::Nothing => open(),
            way => {
                let token = self.token(&mut state, &way, wire, counter, call, Vec::new()).await?;
                Ok(Pass { authorization: Some(token), scout: None })
            }
        }
    }

    /// What to send `call` with after the registry answered it with 401.
    pub(super) async fn answer(
        &self,
        wire: &Wire,
        counter: &AtomicU64,
        call: &Call<'_>,
        answer: &Answer,
        pass: Pass<'_>,
    ) -> Result<HeaderValue, RegistryError> {
        let mut state = self.state.lock().await;
        // Somebody may have got a better one while this request was under way.
        if let Some(token) = state.tokens.get(call.path)
            && Some(&token.header) != pass.authorization()
            && token.renew_at > Instant::now()
        {
            return Ok(token.header.clone());
        }
        let mut challenges = challenges_of(answer);
        if challenges.is_empty() {
            challenges = self.ping(wire, counter, call).await?;
        }
        let (way, demanded) = self.choose(wire, call, answer, &challenges)?;
        if let (Way::Bearer { realm: old, .. }, Way::Bearer { realm: new, .. }) = (&state.way, &way)
            && old != new
        {
            tracing::warn!(old = %shown(old), new = %shown(new), "{} changed its token server", self.host);
        }
        state.way = way.clone();
        state.tokens.remove(call.path);
        self.token(&mut state, &way, wire, counter, call, demanded).await
    }

    /// The challenge of the API's root, for registries that send none with the refusal itself.
    async fn ping(&self, wire: &Wire, counter: &AtomicU64, call: &Call<'_>) -> Result<Vec<Challenge>, RegistryError> {
        let url = wire.url("");
        let line = RequestLine::new(&Method::GET, &url);
        let request = wire.clients.own()?.get(url.clone());
        let root = read(counter, request, &line, &url, LONGEST_TOKEN_ANSWER).await?;
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
        counter: &AtomicU64,
        call: &Call<'_>,
        demanded: Vec<String>,
    ) -> Result<HeaderValue, RegistryError> {
        let known = state.tokens.get(call.path);
        if let Some(token) = known.filter(|token| token.renew_at > Instant::now()) {
            return Ok(token.header.clone());
        }
        if let Some((since, message)) = state.refused.get(call.path)
            && since.elapsed() < REFUSED_FOR
        {
            return Err(failed(call, AuthError::Refused { message: message.clone() }));
        }
        let demanded = if demanded.is_empty() { known.map(|t| t.scopes.clone()).unwrap_or_default() } else { demanded };
        let scopes = scopes(&demanded, call.path, self.access);
        let fetched = self.fetch(way, wire, counter, call, &scopes).await;
        let (header, life) = match fetched {
            Ok(fetched) => fetched,
            Err(error) => {
                if let RegistryError::Auth { source: AuthError::Refused { message }, .. } = &error {
                    state.refused.insert(call.path.to_owned(), (Instant::now(), message.clone()));
                }
                return Err(error);
            }
        };
        let renew_at = Instant::now() + life.mul_f64(0.75);
        state.tokens.insert(call.path.to_owned(), Token { header: header.clone(), scopes, renew_at });
        Ok(header)
    }

    async fn fetch(
        &self,
        way: &Way,
        wire: &Wire,
        counter: &AtomicU64,
        call: &Call<'_>,
        scopes: &[String],
    ) -> Result<(HeaderValue, Duration), RegistryError> {
        let credentials = self
            .keychain
            .find(self.host.as_str(), call.path)
            .await
            .map_err(|source| failed(call, AuthError::Credentials(source)))?;
        if let Credentials::RegistryToken(token) = &credentials {
            return Ok((bearer(call, token)?, LONGEST_LIFE));
        }
        match way {
            Way::Bearer { realm, service } => {
                let asked = Asked { realm, service: service.as_deref(), scopes };
                let token = asked.fetch(wire, counter, call, &credentials).await?;
                Ok((bearer(call, &token.secret)?, token.life))
            }
            _ => match credentials.basic_header() {
                Some(header) => Ok((secret_header(call, header.expose_secret())?, SHORTEST_LIFE * 5)),
                None => Err(failed(call, AuthError::NoCredentials { host: self.host.to_string() })),
            },
        }
    }
}

/// What is asked of a token server.
struct Asked<'a> {
    realm: &'a Url,
    service: Option<&'a str>,
    scopes: &'a [String],
}

struct Fetched {
    secret: SecretString,
    life: Duration,
}

/// A token server's answer; unknown keys are passed over.
#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<f64>,
}

impl Asked<'_> {
    async fn fetch(
        &self,
        wire: &Wire,
        counter: &AtomicU64,
        call: &Call<'_>,
        credentials: &Credentials,
    ) -> Result<Fetched, RegistryError> {
        wire.repeat(RegistryError::may_pass, |within| async move {
            let timed_out = || {
                let request = RequestLine::new(&Method::GET, self.realm);
                Failure::from(RegistryError::TimedOut { request, after: within })
            };
            let once = self.once(wire, counter, call, credentials);
            tokio::time::timeout(within, once).await.unwrap_or_else(|_| Err(timed_out()))
        })
        .await
    }

    async fn once(
        &self,
        wire: &Wire,
        counter: &AtomicU64,
        call: &Call<'_>,
        credentials: &Credentials,
    ) -> Result<Fetched, Failure> {
        if let Credentials::IdentityToken { token, .. } = credentials {
            // Not every server knows the OAuth2 way; these statuses are how they say so.
            match self.post(wire, counter, call, token).await {
                Err(Failure { error: RegistryError::Auth { source: AuthError::Answer { refusal }, .. }, .. })
                    if matches!(refusal.status.as_u16(), 400 | 401 | 404 | 405) => {}
                result => return result,
            }
        }
        self.get(wire, counter, call, credentials).await
    }

    async fn get(
        &self,
        wire: &Wire,
        counter: &AtomicU64,
        call: &Call<'_>,
        credentials: &Credentials,
    ) -> Result<Fetched, Failure> {
        let mut url = self.realm.clone();
        {
            let mut query = url.query_pairs_mut();
            if let Some(service) = self.service {
                query.append_pair("service", service);
            }
            for scope in self.scopes {
                query.append_pair("scope", scope);
            }
            if let Credentials::Basic { username, .. } = credentials {
                query.append_pair("account", username);
            }
        }
        let basic = match credentials {
            Credentials::IdentityToken { username: Some(username), token } => {
                Credentials::Basic { username: username.clone(), password: token.clone() }.basic_header()
            }
            other => other.basic_header(),
        };
        let mut home = true;
        for _ in 0..3 {
            let line = RequestLine::new(&Method::GET, &url);
            let client = if same_origin(&wire.base, &url) { wire.clients.own() } else { wire.clients.foreign() };
            let mut request = client?.get(url.clone()).header(ACCEPT, "application/json");
            if let Some(basic) = basic.as_ref().filter(|_| home) {
                request = request.header(AUTHORIZATION, secret_header(call, basic.expose_secret())?);
            }
            let answer = read(counter, request, &line, &url, LONGEST_TOKEN_ANSWER).await.map_err(unreadable(call))?;
            let Some(target) = answer.redirect_target() else {
                return understand(call, &answer, basic.is_some());
            };
            let realm_refused = |why| {
                let host = wire.base.host_str().unwrap_or("").to_owned();
                Failure::from(failed(call, AuthError::RealmRefused { realm: shown(&target), host, why }))
            };
            check_realm(&wire.base, &wire.settings.token_realm_hosts, &target).map_err(realm_refused)?;
            home &= same_origin(&url, &target);
            url = target;
        }
        Err(Failure::from(failed(call, AuthError::Unreadable { found: "too many redirects".to_owned() })))
    }

    /// The OAuth2 way, which alone takes an identity token.
    async fn post(
        &self,
        wire: &Wire,
        counter: &AtomicU64,
        call: &Call<'_>,
        identity: &SecretString,
    ) -> Result<Fetched, Failure> {
        let line = RequestLine::new(&Method::POST, self.realm);
        let mut form = Url::parse("form:").expect("a URL");
        form.query_pairs_mut()
            .append_pair("grant_type", "refresh_token")
            .append_pair("refresh_token", identity.expose_secret())
            .append_pair("service", self.service.unwrap_or(""))
            .append_pair("client_id", "onetag")
            .append_pair("scope", &self.scopes.join(" "));
        let body = form.query().unwrap_or("").to_owned();
        let client = if same_origin(&wire.base, self.realm) { wire.clients.own()? } else { wire.clients.foreign()? };
        let request = client
            .post(self.realm.clone())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json")
            .body(body);
        let answer = read(counter, request, &line, self.realm, LONGEST_TOKEN_ANSWER).await.map_err(unreadable(call))?;
        match answer.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(Failure::from(failed(call, AuthError::Answer { refusal: read_refusal(&answer) })))
            }
            _ => understand(call, &answer, true),
        }
    }
}

fn understand(call: &Call<'_>, answer: &Answer, with_login: bool) -> Result<Fetched, Failure> {
    let refusal = || read_refusal(answer);
    match answer.status {
        StatusCode::OK => {}
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if with_login => {
            return Err(Failure::from(failed(call, AuthError::Refused { message: refusal().to_string() })));
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            let host = call.url.host_str().unwrap_or("").to_owned();
            return Err(Failure::from(failed(call, AuthError::NoCredentials { host })));
        }
        _ => {
            let asked = retry_after(&answer.headers, std::time::SystemTime::now());
            return Err(Failure { asked, ..failed(call, AuthError::Answer { refusal: refusal() }).into() });
        }
    }
    let unreadable = |found: &str| Failure::from(failed(call, AuthError::Unreadable { found: found.to_owned() }));
    let token: TokenAnswer =
        serde_json::from_slice(&answer.body).map_err(|_| unreadable("something that is not a token in JSON"))?;
    let given = [token.access_token, token.token].into_iter().flatten().find(|token| !token.is_empty());
    let secret = SecretString::from(given.ok_or_else(|| unreadable("an answer without a token"))?);
    let stated = token.expires_in.unwrap_or(0.0).clamp(0.0, LONGEST_LIFE.as_secs_f64());
    Ok(Fetched { secret, life: Duration::from_secs_f64(stated).max(SHORTEST_LIFE) })
}

impl Answer {
    fn redirect_target(&self) -> Option<Url> {
        let location = self.headers.get(reqwest::header::LOCATION)?.to_str().ok()?;
        self.status.is_redirection().then(|| self.url.join(location).ok()).flatten()
    }
}

fn challenges_of(answer: &Answer) -> Vec<Challenge> {
    let lines = answer.headers.get_all(WWW_AUTHENTICATE).iter();
    lines.filter_map(|line| std::str::from_utf8(line.as_bytes()).ok()).flat_map(challenge::parse).collect()
}

/// What to ask for: what the registry demands first (some token servers read only that), with
/// everything that this process wants to do in the repository, one scope for each resource.
fn scopes(demanded: &[String], path: &str, access: Access) -> Vec<String> {
    let ours = format!("repository:{path}:");
    let mut actions: Vec<&str> = access.as_str().split(',').collect();
    let mut scopes: Vec<String> = Vec::new();
    let mut is_asked = false;
    for scope in demanded {
        match scope.strip_prefix(&ours) {
            None => scopes.push(scope.clone()),
            Some(more) => {
                actions.extend(more.split(',').filter(|a| !a.is_empty()).filter(|a| !access.as_str().contains(*a)));
                if !is_asked {
                    scopes.push(String::new());
                }
                is_asked = true;
            }
        }
    }
    actions.dedup();
    let own = format!("{ours}{}", actions.join(","));
    match scopes.iter_mut().find(|scope| scope.is_empty()) {
        Some(place) => *place = own,
        None => scopes.push(own),
    }
    scopes.truncate(8);
    scopes
}

fn bearer(call: &Call<'_>, token: &SecretString) -> Result<HeaderValue, RegistryError> {
    secret_header(call, &format!("Bearer {}", token.expose_secret()))
}

fn secret_header(call: &Call<'_>, text: &str) -> Result<HeaderValue, RegistryError> {
    let mut header = HeaderValue::from_str(text)
        .map_err(|_| failed(call, AuthError::Unreadable { found: "a secret that no header can carry".to_owned() }))?;
    header.set_sensitive(true);
    Ok(header)
}

fn failed(call: &Call<'_>, source: AuthError) -> RegistryError {
    RegistryError::Auth { request: call.line(), source }
}

/// An answer of the token server that is no answer; what may pass stays what it is.
fn unreadable(call: &Call<'_>) -> impl Fn(RegistryError) -> Failure {
    |error| match error {
        RegistryError::TooLarge { .. } | RegistryError::NotARegistry { .. } => {
            Failure::from(failed(call, AuthError::Unreadable { found: error.to_string() }))
        }
        error => error.into(),
    }
}

/// Why there is no header that gets us in.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// A login file or helper is broken.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The registry wants a login and there is none for it.
    #[error("there is no login for {host}")]
    NoCredentials {
        /// The registry.
        host: String,
    },
    /// The login was not accepted.
    #[error("the login was refused ({message})")]
    Refused {
        /// What the token server said.
        message: String,
    },
    /// The registry answered 401 and did not say what it wants to see.
    #[error("the registry refuses without saying what login it expects")]
    NoChallenge,
    /// A Bearer challenge that names no token server.
    #[error("the registry asks for a token without saying where to get one")]
    NoRealm,
    /// A scheme that is not supported, such as Negotiate.
    #[error("the registry accepts only `{schemes}`; expected Basic or Bearer")]
    UnknownScheme {
        /// What it accepts.
        schemes: String,
    },
    /// The token server is somewhere our login must not be sent.
    #[error("{host} asks to send the login to {realm}, which is refused: {why}")]
    RealmRefused {
        /// Where the registry points to.
        realm: String,
        /// The registry.
        host: String,
        /// Why it is refused.
        why: &'static str,
    },
    /// The token server says no, or is unwell.
    #[error("the token server failed ({refusal})")]
    Answer {
        /// What it said.
        refusal: Refusal,
    },
    /// The token server's answer makes no sense.
    #[error("the token server sent {found}")]
    Unreadable {
        /// What came.
        found: String,
    },
}

impl AuthError {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Credentials(_) => Kind::Settings,
            Self::Answer { refusal } if is_temporary(refusal.status) => Kind::Failing,
            _ => Kind::NotAllowed,
        }
    }

    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Credentials(_) => "credentials",
            Self::NoCredentials { .. } => "no-credentials",
            Self::RealmRefused { .. } => "realm-refused",
            _ => "auth-failed",
        }
    }

    pub(super) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Credentials(source) => source.hint(),
            Self::NoCredentials { .. } | Self::Refused { .. } => {
                Some("run `docker login`, or set ONETAG_USERNAME and ONETAG_PASSWORD")
            }
            Self::RealmRefused { .. } => Some("if that host is the registry's own, name it with `--token-realm-host`"),
            _ => None,
        }
    }

    pub(super) fn may_pass(&self) -> bool {
        matches!(self, Self::Answer { refusal } if is_temporary(refusal.status))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(demanded: &[&str], access: Access) -> String {
        let demanded: Vec<String> = demanded.iter().map(|s| (*s).to_owned()).collect();
        scopes(&demanded, "a/b", access).join(" ")
    }

    #[test]
    fn one_scope_for_all_that_is_done_in_a_repository() {
        assert_eq!(asked(&["repository:a/b:pull"], Access::Publish), "repository:a/b:pull,push");
        assert_eq!(asked(&["repository:a/b:pull"], Access::Read), "repository:a/b:pull");
        assert_eq!(asked(&[], Access::Publish), "repository:a/b:pull,push");
        assert_eq!(asked(&["repository:a/b:*"], Access::Publish), "repository:a/b:pull,push,*");
    }

    #[test]
    fn what_the_registry_demands_comes_first() {
        assert_eq!(
            asked(&["repository:c/d:pull", "repository:a/b:pull"], Access::Publish),
            "repository:c/d:pull repository:a/b:pull,push"
        );
        assert_eq!(asked(&["registry:catalog:*"], Access::Read), "registry:catalog:* repository:a/b:pull");
    }
}
