//! The token server: what is asked of it, and what its answer is worth.
//!
//! Protocol: distribution's "Token Authentication Specification" (GET with a login) and its OAuth2
//! variant (POST with an identity token). Where a token server may be is decided in `url`.

use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use reqwest::{Method, StatusCode, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::auth::{LONGEST_LIFE, SHORTEST_LIFE, failed, secret_header};
use super::auth_error::AuthError;
use super::credentials::Credentials;
use super::error::{RegistryError, RequestLine, shown};
use super::patience::{Budget, Failure, retry_after};
use super::send::{Answer, Call, Wire};
use super::url::{check_realm, same_origin};
use super::wire::read_refusal;

/// The most bytes read of a token server's answer.
pub(super) const LONGEST_TOKEN_ANSWER: u64 = 128 * 1024;

/// What is asked of a token server.
pub(super) struct Asked<'a> {
    pub(super) wire: &'a Wire,
    /// The request that the token is for.
    pub(super) call: &'a Call<'a>,
    pub(super) realm: &'a Url,
    pub(super) service: Option<&'a str>,
    pub(super) scopes: &'a [String],
}

/// A token, and how long it is good for.
pub(super) struct Fetched {
    pub(super) secret: SecretString,
    pub(super) life: Duration,
}

/// A token server's answer; unknown keys are passed over.
#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<f64>,
}

impl Asked<'_> {
    /// Fetches a token; what may pass is tried again, within the time of one request.
    pub(super) async fn fetch(&self, credentials: &Credentials) -> Result<Fetched, RegistryError> {
        let budget = Budget::new(self.wire.settings.deadline);
        let line = || RequestLine::new(&Method::GET, self.realm);
        let once = || budget.within(line, self.once(credentials));
        self.wire.repeat(&budget, RegistryError::may_pass, once).await
    }

    async fn once(&self, credentials: &Credentials) -> Result<Fetched, Failure> {
        let Credentials::IdentityToken { username, token } = credentials else {
            return self.get(credentials).await;
        };
        // Not every server knows the OAuth2 way; these statuses are how they say so. The other way
        // needs a name, and going without would be asking as a stranger.
        match (self.post(token).await, username) {
            (Err(Failure { error, .. }), Some(username)) if is_unknown_way(&error) => {
                let login = Credentials::Basic { username: username.clone(), password: token.clone() };
                self.get(&login).await
            }
            (result, _) => result,
        }
    }

    async fn get(&self, credentials: &Credentials) -> Result<Fetched, Failure> {
        let (wire, call) = (self.wire, self.call);
        let basic = credentials.basic_header();
        let mut url = self.url_for_get(credentials);
        let mut home = true;
        for _ in 0..3 {
            let line = RequestLine::new(&Method::GET, &url);
            let client = wire.client(&url)?;
            let mut request = client.get(url.clone()).header(ACCEPT, "application/json");
            if let Some(basic) = basic.as_ref().filter(|_| home) {
                request = request.header(AUTHORIZATION, secret_header(call, basic.expose_secret())?);
            }
            let answer = wire.read(call, request, &line, &url, LONGEST_TOKEN_ANSWER).await.map_err(unreadable(call))?;
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
        Err(Failure::from(failed(call, AuthError::Unreadable { found: "one redirect after another".to_owned() })))
    }

    fn url_for_get(&self, credentials: &Credentials) -> Url {
        let mut url = self.realm.clone();
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
        drop(query);
        url
    }

    /// The OAuth2 way, which alone takes an identity token.
    async fn post(&self, identity: &SecretString) -> Result<Fetched, Failure> {
        let (wire, call) = (self.wire, self.call);
        let line = RequestLine::new(&Method::POST, self.realm);
        let mut form = Url::parse("form:").expect("a URL");
        form.query_pairs_mut()
            .append_pair("grant_type", "refresh_token")
            .append_pair("refresh_token", identity.expose_secret())
            .append_pair("service", self.service.unwrap_or(""))
            .append_pair("client_id", "onetag")
            .append_pair("scope", &self.scopes.join(" "));
        let body = form.query().unwrap_or("").to_owned();
        let client = wire.client(self.realm)?;
        let request = client
            .post(self.realm.clone())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json")
            .body(body);
        let answer =
            wire.read(call, request, &line, self.realm, LONGEST_TOKEN_ANSWER).await.map_err(unreadable(call))?;
        understand(call, &answer, true)
    }
}

/// Whether this is how a token server says that it knows no OAuth2.
fn is_unknown_way(error: &RegistryError) -> bool {
    match error {
        RegistryError::Auth { source: AuthError::Refused { refusal } | AuthError::Answer { refusal }, .. } => {
            matches!(refusal.status.as_u16(), 400 | 401 | 404 | 405)
        }
        _ => false,
    }
}

fn understand(call: &Call<'_>, answer: &Answer, with_login: bool) -> Result<Fetched, Failure> {
    let refusal = read_refusal(answer);
    match answer.status {
        StatusCode::OK => {}
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if with_login => {
            return Err(Failure::from(failed(call, AuthError::Refused { refusal })));
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            let host = call.url.host_str().unwrap_or("").to_owned();
            return Err(Failure::from(failed(call, AuthError::NoCredentials { host })));
        }
        _ => {
            let asked = retry_after(&answer.headers, std::time::SystemTime::now());
            return Err(Failure { asked, ..failed(call, AuthError::Answer { refusal }).into() });
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

/// An answer of the token server that is no answer; what may pass stays what it is.
fn unreadable(call: &Call<'_>) -> impl Fn(RegistryError) -> Failure {
    |error| match error {
        RegistryError::TooLarge { limit_bytes, .. } => {
            failed(call, AuthError::Unreadable { found: format!("more than {limit_bytes} bytes") }).into()
        }
        RegistryError::NotARegistry { found, .. } => failed(call, AuthError::Unreadable { found }).into(),
        error => error.into(),
    }
}

impl Answer {
    fn redirect_target(&self) -> Option<Url> {
        let location = self.headers.get(reqwest::header::LOCATION)?.to_str().ok()?;
        self.status.is_redirection().then(|| self.url.join(location).ok()).flatten()
    }
}
