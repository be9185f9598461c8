//! Where deliveries come in: authenticated, stored, answered.
//!
//! Nothing is read before the sender may be who it says, nothing is answered with 2xx before it is
//! on stable storage, and no registry is asked anything here. Senders stop for good when they are
//! refused, so what is of no use is accepted and kept aside; refusals are for what the sender's
//! operator can repair.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::rejection::PathRejection;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::header::{ALLOW, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Router, http};
use futures_util::StreamExt as _;
use tokio::time::Instant;

use super::gate::{Gate, NotAdmitted};
use super::setup::{Door, Setup};
use super::shares::Share;
use super::{App, LONGEST_QUIET};
use crate::model::{Push, Repository};
use crate::store::{StoreError, Trigger, Wake};
use crate::webhook::{self, handshake};

/// How long a sender may take for its body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long it holds that something could be stored, or could not: asking costs nobody a write each.
const READINESS_AGE: Duration = Duration::from_secs(1);
/// A tag of which it is known what must be there is looked at as good as at once; but a flood of
/// pushes to it is one look a second, not one after the other.
const BREATH: Duration = Duration::from_millis(20);
const LONGEST_BREATH: Duration = Duration::from_secs(1);

pub(super) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/hooks/{name}", any(deliver))
        .route("/hooks/{name}/{secret}", any(deliver_with_secret))
        .route("/healthz", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .fallback(|| async { Refused::NoSuchHook })
        .with_state(app)
}

/// Able to store what is delivered: something is stored to find out.
async fn ready(State(app): State<Arc<App>>) -> Response {
    let mut readiness = app.readiness.lock().await;
    let known = readiness.take().filter(|(tried_at, _)| tried_at.elapsed() < READINESS_AGE);
    let (tried_at, result) = match known {
        Some(known) => known,
        None => {
            let result = app.store.assert_writable().await;
            if let Err(error) = &result {
                tracing::error!("Nothing can be stored: {error}");
            }
            (Instant::now(), result)
        }
    };
    let response = match &result {
        Ok(()) => "ready\n".into_response(),
        Err(_) => later("nothing can be stored\n"),
    };
    *readiness = Some((tried_at, result));
    response
}

type Sender = ConnectInfo<SocketAddr>;

async fn deliver(
    state: State<Arc<App>>,
    sender: Sender,
    name: Result<Path<String>, PathRejection>,
    request: http::Request<Body>,
) -> Response {
    // What is not even text is no hook's name.
    let name = name.map(|Path(name)| name).unwrap_or_default();
    answer(state.0, sender.ip(), &name, None, request).await
}

async fn deliver_with_secret(
    state: State<Arc<App>>,
    sender: Sender,
    path: Result<Path<(String, String)>, PathRejection>,
    request: http::Request<Body>,
) -> Response {
    let (name, secret) = path.map(|Path(path)| path).unwrap_or_default();
    answer(state.0, sender.ip(), &name, Some(&secret), request).await
}

async fn answer(
    app: Arc<App>,
    sender: IpAddr,
    name: &str,
    secret: Option<&str>,
    request: http::Request<Body>,
) -> Response {
    let setup = app.setup();
    let result = match setup.door(name) {
        Some(door) => take(&app, &setup, door, sender, secret, request).await,
        None => Err(Refused::NoSuchHook),
    };
    let (outcome, response) = match result {
        Ok(taken) => (taken.outcome(), taken.into_response()),
        Err(refused) => (refused.outcome(), refused.into_response()),
    };
    // Names that nobody configured would be a metric each.
    app.metrics.delivered(setup.door(name).map_or("unknown", |door| &door.hook.name), outcome);
    response
}

/// What was made of a delivery that was accepted.
enum Taken {
    /// Plain tags were woken.
    Stored,
    /// Nothing in it is of interest here.
    Ignored,
    /// It could not be read, and was kept aside.
    Quarantined,
    /// A handshake, with its answer.
    Greeted(Response),
}

async fn take(
    app: &App,
    setup: &Setup,
    door: &Door,
    sender: IpAddr,
    secret: Option<&str>,
    request: http::Request<Body>,
) -> Result<Taken, Refused> {
    let (head, body) = request.into_parts();
    let headers = &head.headers;
    if head.method == Method::OPTIONS && handshake::delivery_permission(headers).is_some() {
        return greet(door, secret, headers).await;
    }
    if head.method != Method::POST {
        return Err(Refused::Method);
    }
    if headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return Err(Refused::Encoded);
    }
    door.gate.admit_head(secret, headers).await?;
    // Those who may be anybody crowd nobody out but each other.
    let bodies = if door.gate.knows_by_head() { &app.bodies } else { &app.bodies_of_strangers };
    // The room is given back with the answer.
    let (body, _room) = read(bodies.of(sender), headers, body, door.hook.format.longest_body_bytes()).await?;
    door.gate.admit(secret, headers, &body)?;

    if let Some(validation) = handshake::validation_response(headers, &body) {
        let json = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
        return Ok(Taken::Greeted((StatusCode::OK, json, validation).into_response()));
    }
    let name = &door.hook.name;
    match webhook::parse(door.hook.format, headers, &body) {
        Ok(pushes) => {
            let wakes: Vec<Wake> = pushes.iter().filter_map(|push| wake(setup, door, push)).collect();
            tracing::debug!(hook = %name, pushes = pushes.len(), wakes = wakes.len(), "Took a delivery");
            if wakes.is_empty() {
                return Ok(Taken::Ignored);
            }
            app.store.accept(wakes).await.map_err(Refused::Store)?;
            Ok(Taken::Stored)
        }
        Err(rejection) => {
            tracing::warn!(hook = %name, "A delivery cannot be used: {rejection}");
            app.store.quarantine(name, &rejection.to_string(), &body).await.map_err(Refused::Store)?;
            Ok(Taken::Quarantined)
        }
    }
}

/// Tells a CloudEvents sender that it may deliver, if it knows the secret.
async fn greet(door: &Door, secret: Option<&str>, headers: &HeaderMap) -> Result<Taken, Refused> {
    let is_known = match &door.gate {
        Gate::Proof(webhook::auth::Proof::Url(_)) | Gate::Open => door.gate.admit_head(secret, headers).await.is_ok(),
        _ => false,
    };
    match handshake::delivery_permission(headers).filter(|_| is_known) {
        Some(permission) => Ok(Taken::Greeted((StatusCode::OK, permission).into_response())),
        None => Err(Refused::Method),
    }
}

/// Reads a body up to its format's limit, within the time that a body may take. The memory that all
/// of them take together has a bound, too.
async fn read(mut room: Share, headers: &HeaderMap, body: Body, limit_bytes: usize) -> Result<(Bytes, Share), Refused> {
    let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit_bytes as u64) {
        return Err(Refused::TooLarge);
    }
    let reading = async {
        let mut stream = body.into_data_stream();
        let mut bytes = Vec::new();
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|_| Refused::BrokenOff)?;
            if bytes.len() + chunk.len() > limit_bytes {
                return Err(Refused::TooLarge);
            }
            if !room.take(chunk.len()) {
                return Err(Refused::Crowded);
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok((Bytes::from(bytes), room))
    };
    tokio::time::timeout(BODY_TIMEOUT, reading).await.unwrap_or(Err(Refused::TooSlow))
}

/// The plain tag that a push is about, if a rule serves it. Only the repository, the tag and the
/// digest are taken from what was told; the registry is the one that the hook was set up for.
fn wake(setup: &Setup, door: &Door, push: &Push) -> Option<Wake> {
    let path = door.hook.path(push.repository.as_str())?;
    let repository: Repository = format!("{}/{path}", door.hook.registry).parse().ok()?;
    // A plain tag is ours most of the time: work that started from it would go round in circles.
    let (rule, arch_tag) = setup.settings.source(&repository, &push.tag)?;
    let tag = arch_tag.version;
    // Where it is known what must be there, the run itself sees whether more is to come.
    let (quiet, longest) = match rule.policy.required.is_empty() {
        true => (rule.quiet, LONGEST_QUIET),
        false => (BREATH, LONGEST_BREATH),
    };
    let digest = push.digest.as_ref().and_then(|digest| digest.checkable());
    let hint = digest.map(|digest| (push.tag.clone(), digest));
    let trigger = Trigger::Hook(door.hook.name.clone());
    Some(Wake { repository, tag, trigger, quiet, longest, hint, event_id: push.event_id.clone() })
}

impl Taken {
    fn outcome(&self) -> &'static str {
        match self {
            Taken::Stored => "stored",
            Taken::Ignored => "ignored",
            Taken::Quarantined => "quarantined",
            Taken::Greeted(_) => "greeted",
        }
    }
}

impl IntoResponse for Taken {
    fn into_response(self) -> Response {
        match self {
            Taken::Greeted(response) => response,
            _ => StatusCode::ACCEPTED.into_response(),
        }
    }
}

/// Why a delivery is not taken.
#[derive(Debug)]
enum Refused {
    NoSuchHook,
    Method,
    Unproven,
    /// The sender cannot be known now, and shall come again.
    NotNow,
    TooLarge,
    TooSlow,
    BrokenOff,
    Encoded,
    /// Too many bodies arrive at one time.
    Crowded,
    Store(StoreError),
}

impl From<NotAdmitted> for Refused {
    fn from(not_admitted: NotAdmitted) -> Refused {
        match not_admitted {
            NotAdmitted::Unproven => Refused::Unproven,
            NotAdmitted::NotNow => Refused::NotNow,
        }
    }
}

impl Refused {
    fn outcome(&self) -> &'static str {
        match self {
            Refused::NoSuchHook => "no-such-hook",
            Refused::Method => "method",
            Refused::Unproven => "unproven",
            Refused::NotNow => "not-now",
            Refused::TooLarge => "too-large",
            Refused::TooSlow | Refused::BrokenOff => "incomplete",
            Refused::Encoded => "encoded",
            Refused::Crowded => "crowded",
            Refused::Store(_) => "not-stored",
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        match self {
            Refused::NoSuchHook => (StatusCode::NOT_FOUND, "there is no such hook\n").into_response(),
            Refused::Method => {
                let allow = [(ALLOW, HeaderValue::from_static("POST"))];
                (StatusCode::METHOD_NOT_ALLOWED, allow, "deliveries are sent by POST\n").into_response()
            }
            Refused::Unproven => {
                (StatusCode::UNAUTHORIZED, "the secret or signature is missing or wrong\n").into_response()
            }
            Refused::NotNow => later("the token cannot be verified now; send it again\n"),
            Refused::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "the body is too large\n").into_response(),
            Refused::TooSlow | Refused::BrokenOff => {
                (StatusCode::REQUEST_TIMEOUT, "the body did not arrive\n").into_response()
            }
            Refused::Encoded => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "send the body as it is, not compressed\n").into_response()
            }
            Refused::Crowded => later("too many deliveries at once; send it again\n"),
            Refused::Store(error) => {
                tracing::error!("A delivery could not be stored: {error}");
                later("not stored; send it again\n")
            }
        }
    }
}

fn later(why: &'static str) -> Response {
    let later = [(RETRY_AFTER, HeaderValue::from_static("5"))];
    (StatusCode::SERVICE_UNAVAILABLE, later, why).into_response()
}
