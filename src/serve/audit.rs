//! Audits: how every plain tag stands, kept for the page, and told where it is worse than before.
//!
//! A run of a job keeps what it saw, so that a push changes the page at once; an audit also finds
//! what no run looks at, such as images that the registry has lost. It never writes to a registry:
//! a tag that can be put right is left to its job.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::SystemTime;

use futures_util::StreamExt as _;
use serde_json::json;

use super::App;
use super::notify::Notice;
use super::settings::{Event, Rule};
use super::setup::Setup;
use super::wake_now;
use crate::audit::{self, Audited, Auditor, Scheme, Subject};
use crate::look::Facts;
use crate::model::text::{clean, with_causes};
use crate::model::version::Problem;
use crate::model::{ImageRow, ImageState, Job, Repository, Tag, Version};
use crate::publish::{Outcome, Publisher};
use crate::registry::{Registry, RegistryError};
use crate::store::{Difference, StoreError, Trigger};

/// How many plain tags are looked at before what was found of them is kept.
const CHUNK: usize = 50;

/// An audit came to no end.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Audits a repository, and forgets the plain tags that it no longer has.
#[tracing::instrument(name = "audit", skip_all, fields(%repository))]
pub(super) async fn run(app: Arc<App>, setup: Arc<Setup>, repository: Repository) {
    let Some(registry) = setup.registry(repository.host()) else {
        return;
    };
    match audit(&app, &setup, registry, &repository).await {
        Ok(versions) => tracing::debug!(versions, "Audited `{repository}`"),
        Err(error) => {
            app.metrics.audit_failed(repository.host());
            tracing::warn!("`{repository}` could not be audited: {}", with_causes(&error));
        }
    }
}

/// Returns how many plain tags there are.
async fn audit(app: &App, setup: &Setup, registry: &Registry, repository: &Repository) -> Result<usize, Broken> {
    let mut gone = app.store.found_tags(repository).await?;
    let mut versions = 0;
    for rule in setup.settings.rules_for(repository) {
        let auditor = auditor(registry, rule, repository, setup.facts().clone());
        let is_ours = |subject: &Subject| {
            setup.settings.rule_for(repository, &subject.tag).is_some_and(|serving| std::ptr::eq(serving, rule))
        };
        let subjects: Vec<Subject> = auditor.subjects().await?.into_iter().filter(is_ours).collect();
        for some in subjects.chunks(CHUNK) {
            versions += audit_some(app, &auditor, repository, some, &mut gone).await?;
        }
    }
    app.store.forget_versions(repository, &gone).await?;
    gone.iter().for_each(|tag| app.live.tell(repository, tag.as_str(), None));
    Ok(versions)
}

fn auditor(registry: &Registry, rule: &Rule, repository: &Repository, facts: Facts) -> Auditor {
    let scheme = Scheme {
        repository: repository.clone(),
        pattern: rule.pattern.clone(),
        words: rule.words.clone(),
        policy: rule.policy.clone(),
        only: None,
    };
    Auditor::new(registry.clone(), scheme, facts)
}

/// Forgets what was found in repositories that no rule is about any more.
pub(super) async fn forget_unserved(app: &App) -> Result<(), StoreError> {
    let setup = app.setup();
    for overview in app.store.overview().await? {
        if setup.settings.rules_for(&overview.repository).next().is_none() {
            let gone = app.store.found_tags(&overview.repository).await?;
            app.store.forget_versions(&overview.repository, &gone).await?;
        }
    }
    Ok(())
}

/// Looks at some plain tags and keeps what was found. What a job found in the meantime is newer and
/// stays.
async fn audit_some(
    app: &App,
    auditor: &Auditor,
    repository: &Repository,
    subjects: &[Subject],
    gone: &mut BTreeSet<Tag>,
) -> Result<usize, Broken> {
    let began_at_ms = app.store.now_ms().await?;
    let mut found = Vec::new();
    let mut audited = pin!(auditor.audit(subjects));
    while let Some(Audited { version, failure, .. }) = audited.next().await {
        let was_known = version.tag.parse::<Tag>().is_ok_and(|tag| gone.remove(&tag));
        // What could not be asked is as it was, as far as anybody knows.
        if !(was_known && failure.is_some_and(|failure| failure.may_pass())) {
            found.push(version);
        }
    }
    let count = found.len();
    for difference in app.store.put_versions(repository, found, Some(began_at_ms)).await? {
        app.live.tell(repository, &difference.version.tag, Some(difference.version.state.as_str()));
        act_on(app, repository, &difference).await?;
    }
    Ok(count)
}

/// Tells of new problems, and lets the tag's job see to what it can put right. A job that is under
/// way sees to it anyway, and a person's hold stands.
async fn act_on(app: &App, repository: &Repository, difference: &Difference) -> Result<(), StoreError> {
    let version = &difference.version;
    let Ok(tag) = version.tag.parse::<Tag>() else {
        return Ok(());
    };
    if version.state.is_fine() {
        return Ok(());
    }
    let job = app.store.job(repository, &tag).await?;
    let is_under_way = job.as_ref().is_some_and(|job| job.is_running || job.due_in.is_some());
    if is_under_way || app.store.held(repository, &tag).await?.is_some() {
        return Ok(());
    }
    let problems = new_problems(difference);
    if !problems.is_empty() {
        problems.iter().for_each(|problem| app.metrics.problem_found(&problem.code));
        let first = clean(&problems[0].message, 300);
        tracing::warn!(%tag, problems = problems.len(), "`{repository}:{tag}` is {}: {first}", version.state);
        app.tell(vec![notice(repository, &tag, version, &problems)]);
    }
    if job.is_none() && can_be_published_anew(version) {
        app.store.accept(vec![wake_now(repository.clone(), tag, Trigger::Audit)]).await?;
    }
    Ok(())
}

/// The problems that were not there before.
fn new_problems(difference: &Difference) -> Vec<Problem> {
    let known = difference.before.iter().flat_map(|before| &before.problems);
    let known: BTreeSet<_> = known.map(|problem| (&problem.code, &problem.tag)).collect();
    let problems = difference.version.problems.iter();
    problems.filter(|problem| !known.contains(&(&problem.code, &problem.tag))).cloned().collect()
}

fn notice(repository: &Repository, tag: &Tag, version: &Version, problems: &[Problem]) -> Notice {
    let codes: Vec<&str> = problems.iter().map(|problem| problem.code.as_str()).collect();
    let digest = version.digest.as_deref();
    Notice {
        event: Event::Problem,
        id: format!("{repository}:{tag}@{}-problem-{}", digest.unwrap_or("nothing"), codes.join(",")),
        repository: repository.clone(),
        tag: tag.clone(),
        at: SystemTime::now(),
        data: json!({ "state": version.state, "digest": digest, "problems": problems }),
    }
}

/// Whether something published is out of date or lost, and nothing pushed is in doubt.
fn can_be_published_anew(version: &Version) -> bool {
    use ImageState::{Dangling, Ok, Stale, Unpublished};
    let is_amiss = |image: &ImageRow| matches!(image.state, Stale | Dangling);
    // A lost image that no tag stands for cannot be had any more.
    let is_there =
        |image: &ImageRow| image.digest.is_some() && matches!(image.state, Ok | Unpublished | Stale | Dangling);
    version.images.iter().any(is_amiss) && version.images.iter().all(is_there)
}

/// Keeps what a run of a job saw, unless it saw what was known: an audit knows more of that.
pub(super) async fn keep(app: &App, publisher: &Publisher, job: &Job, outcome: &Outcome, known: Option<&Version>) {
    let version = audit::after(publisher, job, outcome);
    if known.is_some_and(|known| is_same_sight(known, &version)) {
        return;
    }
    match app.store.put_versions(&job.repository, vec![version], None).await {
        Ok(differences) => differences.iter().for_each(|difference| {
            app.live.tell(&job.repository, &difference.version.tag, Some(difference.version.state.as_str()));
        }),
        Err(error) => tracing::error!("What was found of `{}` could not be kept: {error}", job.tag),
    }
}

/// Whether the same index is published, and the same images are pushed.
fn is_same_sight(known: &Version, seen: &Version) -> bool {
    let pushed = |version: &Version| -> BTreeSet<(String, Option<String>)> {
        let images = version.images.iter().filter(|image| image.digest.is_some());
        images.filter_map(|image| Some((image.tag.clone()?, image.digest.clone()))).collect()
    };
    known.digest == seen.digest && pushed(known) == pushed(seen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::version::VersionState;

    fn version(states: &[ImageState], problems: &[&str]) -> Version {
        let image = |state: &ImageState| ImageRow {
            arch: None,
            tag: Some(format!("{}-xenial", state.as_str())),
            platform: None,
            state: *state,
            digest: Some("sha256:0".to_owned()),
            published: None,
            detail: None,
        };
        let problem =
            |code: &&str| Problem { code: (*code).to_owned(), tag: None, message: String::new(), remedy: None };
        Version {
            tag: "xenial".to_owned(),
            state: VersionState::Images(states.iter().copied().max().unwrap_or(ImageState::Ok)),
            digest: Some("sha256:1".to_owned()),
            images: states.iter().map(image).collect(),
            problems: problems.iter().map(problem).collect(),
        }
    }

    #[test]
    fn only_problems_that_were_not_there_are_news() {
        let codes = |before: Option<&[&str]>, now: &[&str]| -> Vec<String> {
            let before = before.map(|codes| version(&[ImageState::Stale], codes));
            let difference = Difference { version: version(&[ImageState::Stale], now), before };
            new_problems(&difference).into_iter().map(|problem| problem.code).collect()
        };
        assert_eq!(codes(None, &["stale"]), ["stale"]);
        assert_eq!(codes(Some(&["stale"]), &["stale"]), [""; 0]);
        assert_eq!(codes(Some(&["stale"]), &["stale", "dangling"]), ["dangling"]);
        assert_eq!(codes(Some(&["stale"]), &[]), [""; 0]);
    }

    #[test]
    fn what_is_lost_is_published_anew_where_nothing_pushed_is_in_doubt() {
        use ImageState::{Dangling, Mismatch, Missing, Ok, Stale, Unpublished};
        for good in [&[Ok, Stale][..], &[Dangling, Ok], &[Stale, Unpublished]] {
            assert!(can_be_published_anew(&version(good, &[])), "{good:?}");
        }
        for bad in [&[Ok][..], &[Stale, Mismatch], &[Dangling, Missing], &[Unpublished]] {
            assert!(!can_be_published_anew(&version(bad, &[])), "{bad:?}");
        }
        let mut gone = version(&[Dangling, Ok], &[]);
        gone.images[0].digest = None;
        assert!(!can_be_published_anew(&gone), "no tag stands for it");
    }

    #[test]
    fn a_run_that_saw_what_is_known_changes_nothing() {
        let known = version(&[ImageState::Ok, ImageState::Dangling], &["dangling"]);
        let mut seen = known.clone();
        seen.images[1].state = ImageState::Ok;
        assert!(is_same_sight(&known, &seen), "that an image is lost only an audit sees");
        seen.images[1].digest = Some("sha256:2".to_owned());
        assert!(!is_same_sight(&known, &seen));
        assert!(!is_same_sight(&known, &Version { digest: None, ..known.clone() }));
    }
}
