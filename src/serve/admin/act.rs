//! What operators may change, each with the admin token: look now, put an earlier index back, and
//! let go of one that was put back.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use futures_util::future::try_join_all;
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde_json::json;
use subtle::ConstantTimeEq as _;
use utoipa::ToSchema;

use super::problem::{Details, Problem};
use super::view::{Asked, Released, RolledBack};
use crate::model::text::with_causes;
use crate::model::{Digest, Index, Platform, Repository, Tag};
use crate::publish::Known;
use crate::registry::{Kind, Registry, RegistryError};
use crate::serve::{App, lease, wake_now};
use crate::store::{Act, Claimed, Entry, Hold, Recorded, StoreError, StoredIndex, Trigger};

/// How long a run of the same tag that is under way is waited for.
const LONGEST_RUN: Duration = Duration::from_secs(120);

/// A plain tag of a repository.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Request {
    /// The repository, `quay.io/acme/ubuntu`.
    #[schema(pattern = r"^[A-Za-z0-9\[][A-Za-z0-9._:/\[\]-]*$")]
    repository: String,
    /// The plain tag.
    #[schema(pattern = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$")]
    tag: String,
    /// For a roll-back: the digest to return to; without it the newest that is not served now.
    #[schema(pattern = r"^sha256:[0-9a-f]{64}$")]
    to: Option<String>,
}

/// A plain tag that a rule serves, as a request names it.
pub(in crate::serve) struct Target {
    pub(in crate::serve) repository: Repository,
    pub(in crate::serve) tag: Tag,
}

type Answer<T> = Result<(StatusCode, Json<T>), Problem>;

/// Look at a tag now
///
/// Wakes the tag's job, whatever held it.
#[utoipa::path(post, path = "/api/v1/publish", tag = "changing", request_body = Request,
    security(("admin_token" = [])), responses(
    (status = 202, body = Asked),
    (status = "4XX", content_type = "application/problem+json", body = Details),
    (status = 503, content_type = "application/problem+json", body = Details),
))]
pub(super) async fn publish(State(app): State<Arc<App>>, headers: HeaderMap, body: Bytes) -> Answer<Asked> {
    let (target, _) = read(&app, &headers, &body)?;
    wake(&app, &target).await?;
    let asked = Asked { repository: target.repository.to_string(), tag: target.tag.to_string() };
    Ok((StatusCode::ACCEPTED, Json(asked)))
}

/// End a roll-back
///
/// The tag follows its images again.
#[utoipa::path(post, path = "/api/v1/release", tag = "changing", request_body = Request,
    security(("admin_token" = [])), responses(
    (status = 202, body = Released),
    (status = "4XX", content_type = "application/problem+json", body = Details),
    (status = 503, content_type = "application/problem+json", body = Details),
))]
pub(super) async fn release(State(app): State<Arc<App>>, headers: HeaderMap, body: Bytes) -> Answer<Released> {
    let (target, _) = read(&app, &headers, &body)?;
    let was_held = app.store.release(&target.repository, &target.tag).await?;
    wake(&app, &target).await?;
    let released = Released { repository: target.repository.to_string(), tag: target.tag.to_string(), was_held };
    Ok((StatusCode::ACCEPTED, Json(released)))
}

/// Put an earlier index back
///
/// Under the tag and what goes with it; the tag is held there until its images change or it is
/// released.
// On its own, since it may be stopped nowhere between the hold and the journal: whoever asked may
// hang up, and a tag would be held at an index that it never got.
#[utoipa::path(post, path = "/api/v1/rollback", tag = "changing", request_body = Request,
    security(("admin_token" = [])), responses(
    (status = 200, body = RolledBack),
    (status = "4XX", content_type = "application/problem+json", body = Details),
    (status = "5XX", content_type = "application/problem+json", body = Details),
))]
pub(super) async fn rollback(State(app): State<Arc<App>>, headers: HeaderMap, body: Bytes) -> Answer<RolledBack> {
    let (target, to) = read(&app, &headers, &body)?;
    let acts = app.acts.clone();
    let put_back = acts.spawn(async move { put_back(&app, target, to).await });
    let panicked = |_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "putting it back panicked, a bug of ours");
    let rolled_back = put_back.await.map_err(panicked)??;
    Ok((StatusCode::OK, Json(rolled_back)))
}

/// The hold is stored first: from then on no run that begins writes the tag. One that is under way is
/// waited for, and the tag is leased as for a run, so that there is one writer at a time.
async fn put_back(app: &App, Target { repository, tag }: Target, to: Option<Digest>) -> Result<RolledBack, Problem> {
    let setup = app.setup();
    let (rule, publisher) = setup.publisher(&repository, &tag).ok_or_else(|| unserved(&repository, &tag))?;
    let registry = publisher.registry.counting_anew();
    let failed = |error: RegistryError| {
        let status = match error.kind() {
            Kind::NotAllowed => StatusCode::FORBIDDEN,
            Kind::Settings | Kind::Failing => StatusCode::BAD_GATEWAY,
        };
        Problem::new(status, error)
    };

    publisher.lookout.forget_listing();
    let job = rule.job(&repository, &tag);
    let seen = publisher.lookout.look(&registry, &job, &Known::default()).await.map_err(failed)?;
    let served = seen.published.get(&tag).map(|published| published.digest.clone());
    let (entry, index) = earlier(app, &repository, &tag, to.as_ref(), served.as_ref()).await?;
    if let Some((digest, platform)) = first_lost(&registry, &repository, &index).await.map_err(failed)? {
        let detail = format!(
            "the registry does not have the image {digest} ({platform}) any more, which the index {} names; \
             push it again, or put another index back with `to`",
            index.digest()
        );
        return Err(Problem::new(StatusCode::CONFLICT, detail));
    }

    let hold = Hold {
        repository: repository.clone(),
        tag: tag.clone(),
        digest: index.digest().clone(),
        images: seen.sources(),
        reason: "rolled back".to_owned(),
    };
    app.store.hold(hold).await?;
    let reserved = match reserve(app, &repository, &tag).await {
        Ok(reserved) => reserved,
        Err(problem) => {
            app.store.release(&repository, &tag).await?;
            return Err(problem);
        }
    };
    let registry = registry.gated(lease::gate(app, &reserved));
    let names = job.tags().filter(|name| *name == &tag || seen.published.contains_key(name));
    let put = async {
        let mut left = Vec::new();
        for name in names {
            match registry.put_index(&repository, name, &index).await {
                Ok(()) => {}
                Err(error) if *name == tag => return Err(error),
                Err(error) => left.push(format!("`{name}` ({})", with_causes(&error))),
            }
        }
        Ok(left)
    };
    let left = match lease::while_kept(app, &reserved, put).await {
        Some(Ok(left)) => left,
        Some(Err(error)) => {
            app.store.release(&repository, &tag).await?;
            app.store.give_back(&reserved, None).await?;
            return Err(failed(error));
        }
        None => return Err(lost()),
    };
    let record = Entry {
        act: Act::RolledBack,
        old_digest: served.clone(),
        new_digest: Some(index.digest().clone()),
        index: Some(StoredIndex { media_type: index.kind().media_type().into(), bytes: index.bytes().to_vec() }),
        inputs: entry.inputs,
        reasons: json!([]),
        requests: registry.requests(),
    };
    if !app.store.give_back(&reserved, Some(record)).await? {
        return Err(lost());
    }
    tracing::info!(%repository, %tag, index.digest = %index.digest(), "Put `{repository}:{tag}` back to an earlier index");
    if !left.is_empty() {
        let (digest, left) = (index.digest(), left.join(", "));
        let detail = format!("`{tag}` was put back, but not {left}; put it back again with `--to {digest}`");
        return Err(Problem::new(StatusCode::BAD_GATEWAY, detail));
    }
    Ok(RolledBack {
        repository: repository.to_string(),
        tag: tag.to_string(),
        digest: index.digest().to_string(),
        previous: served.as_ref().map(Digest::to_string),
    })
}

/// The index to return to: the one that was asked for, or the newest that is not served now.
async fn earlier(
    app: &App,
    repository: &Repository,
    tag: &Tag,
    to: Option<&Digest>,
    served: Option<&Digest>,
) -> Result<(Recorded, Index), Problem> {
    let mut before = None;
    loop {
        let page = app.store.history(Some(repository), Some(tag), 100, before).await?;
        let Some(last) = page.last() else {
            let what = to.map_or("no earlier index".to_owned(), |to| format!("no index {to}"));
            let detail = format!("the journal has {what} of `{repository}:{tag}`");
            return Err(Problem::new(StatusCode::NOT_FOUND, detail));
        };
        before = Some(last.id);
        let is_wanted = |entry: &Recorded| match to {
            Some(_) => entry.new_digest.as_ref() == to,
            None => entry.new_digest.is_some() && entry.new_digest.as_ref() != served,
        };
        let Some(entry) = page.into_iter().find(|entry| entry.has_index && is_wanted(entry)) else {
            continue;
        };
        let stored = app.store.index(entry.id).await?;
        let index = stored.and_then(|stored| Index::written_before(&stored.media_type, stored.bytes));
        return match index {
            Some(index) if Some(index.digest()) == entry.new_digest.as_ref() => Ok((entry, index)),
            _ => Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the stored index is damaged")),
        };
    }
}

/// The first image of an index that the registry does not have: clean-ups take what no tag names, and
/// not every registry looks at what an index names.
async fn first_lost<'i>(
    registry: &Registry,
    repository: &Repository,
    index: &'i Index,
) -> Result<Option<&'i (Digest, Platform)>, RegistryError> {
    let asked = index.children().iter().map(|(digest, _)| registry.resolve(repository, digest.as_str()));
    let found = try_join_all(asked).await?;
    Ok(index.children().iter().zip(found).find(|(_, found)| found.is_none()).map(|(image, _)| image))
}

/// Leases the tag, whose run that is under way is waited for: nobody else writes it then.
async fn reserve(app: &App, repository: &Repository, tag: &Tag) -> Result<Claimed, Problem> {
    let reserved = async {
        loop {
            match app.store.reserve_tag(repository, tag, app.lease).await? {
                Some(reserved) => return Ok(reserved),
                None => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    };
    tokio::time::timeout(LONGEST_RUN, reserved)
        .await
        .unwrap_or_else(|_| Err(Problem::new(StatusCode::CONFLICT, "the tag is being written just now")))
}

/// Whoever has the tag now leaves it as the hold says.
fn lost() -> Problem {
    let detail = "this took so long that the tag was given to somebody else; look what it holds, and ask again";
    Problem::new(StatusCode::CONFLICT, detail)
}

/// The tag that a request names, and the digest, if its sender may ask for anything.
fn read(app: &App, headers: &HeaderMap, body: &[u8]) -> Result<(Target, Option<Digest>), Problem> {
    let given =
        headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|v| v.strip_prefix("Bearer "));
    authorize(app, given)?;
    let request: Request = serde_json::from_slice(body).map_err(Problem::bad)?;
    let target = Target::read(app, &request.repository, &request.tag)?;
    let to = request.to.map(|to| to.parse::<Digest>()).transpose().map_err(Problem::bad)?;
    Ok((target, to))
}

impl Target {
    /// The plain tag of these names, if a rule serves it.
    pub(in crate::serve) fn read(app: &App, repository: &str, tag: &str) -> Result<Target, Problem> {
        let repository: Repository = repository.parse().map_err(Problem::bad)?;
        let tag: Tag = tag.parse().map_err(Problem::bad)?;
        match app.setup().settings.rule_for(&repository, &tag) {
            Some(_) => Ok(Target { repository, tag }),
            None => Err(unserved(&repository, &tag)),
        }
    }
}

fn unserved(repository: &Repository, tag: &Tag) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, format!("no rule serves `{repository}:{tag}`"))
}

/// Wakes a tag's job, whatever held it.
pub(in crate::serve) async fn wake(app: &App, target: &Target) -> Result<(), StoreError> {
    app.store.accept(vec![wake_now(target.repository.clone(), target.tag.clone(), Trigger::Request)]).await
}

/// Nothing may be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::serve) enum Unauthorized {
    /// By nobody.
    #[error("this needs an `admin_token`, and none is set")]
    NoToken,
    /// By whoever asked.
    #[error("the admin token is missing or wrong")]
    WrongToken,
}

impl From<Unauthorized> for Problem {
    fn from(error: Unauthorized) -> Problem {
        let status = match error {
            Unauthorized::NoToken => StatusCode::FORBIDDEN,
            Unauthorized::WrongToken => StatusCode::UNAUTHORIZED,
        };
        Problem::new(status, error)
    }
}

/// Lets in who knows the admin token; nobody where none is set.
pub(in crate::serve) fn authorize(app: &App, given: Option<&str>) -> Result<(), Unauthorized> {
    let setup = app.setup();
    let token = setup.settings.admin_token.as_ref().ok_or(Unauthorized::NoToken)?;
    let is_right = given.is_some_and(|given| given.as_bytes().ct_eq(token.expose_secret().as_bytes()).into());
    if is_right { Ok(()) } else { Err(Unauthorized::WrongToken) }
}
