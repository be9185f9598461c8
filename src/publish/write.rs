//! Writing the index under one tag, and reading back what came of it.
//!
//! A lost answer says nothing about what was done. So whatever fails, the tag is looked at before
//! anything is said about it.

use std::time::{Duration, Instant};

use futures_util::future::{try_join, try_join_all};
use reqwest::StatusCode;

use super::{PublishError, Publisher, Stage};
use crate::model::{Digest, Index, Job, Seen, Tag};
use crate::plan::Push;
use crate::registry::{Decided, Refusal, Registry, RegistryError};

/// What became of one tag.
pub(super) enum Written {
    /// It serves the index.
    Served,
    /// It was not written, because something moved.
    NotYet(String),
    /// It was written, and something moved meanwhile.
    Overtaken(String),
    /// It must not change.
    Immutable(Refusal),
}

impl Publisher {
    /// Writes the index under one tag and reads it back.
    pub(super) async fn write(
        &self,
        registry: &Registry,
        job: &Job,
        seen: &Seen,
        tag: &Tag,
        push: &mut Push,
        until: Instant,
    ) -> Result<Written, PublishError> {
        let before = seen.published.get(tag).map(|published| &published.digest);
        (self.progress)(&job.tag, Stage::Writing);
        match self.put(registry, job, tag, push, Decided { before, until }).await {
            Ok(()) => {}
            Err(RegistryError::MissingImage { .. }) => {
                self.lookout.forget_inner(seen);
                return Ok(Written::NotYet(format!("the registry does not know an image of `{tag}` yet or any more")));
            }
            Err(RegistryError::Late { .. }) => {
                return Ok(Written::NotYet(format!("`{tag}` could not be written soon after looking")));
            }
            Err(RegistryError::Immutable { refusal, .. }) => return Ok(Written::Immutable(refusal)),
            Err(error) => return Err(self.after_failure(registry, tag, before, error).await),
        }
        (self.progress)(&job.tag, Stage::ReadingBack);
        match self.read_back(registry, seen, tag, push.index.digest(), before).await? {
            Some(what) => Ok(Written::Overtaken(what)),
            None => Ok(Written::Served),
        }
    }

    /// Looks what a write that failed has left behind. Some registries drop the tag then (zot), and
    /// a proxy may fail what the registry did.
    async fn after_failure(
        &self,
        registry: &Registry,
        tag: &Tag,
        before: Option<&Digest>,
        error: RegistryError,
    ) -> PublishError {
        let is_known = matches!(
            error,
            RegistryError::Denied { .. }
                | RegistryError::Auth { .. }
                | RegistryError::Tls { .. }
                | RegistryError::Settings(_)
                | RegistryError::NotSent { .. }
                | RegistryError::OutcomeUnknown { .. }
        );
        if is_known {
            return error.into();
        }
        match self.lookout.resolve(registry, tag).await {
            Ok(served) if served.as_ref() == before => error.into(),
            Ok(served) => {
                PublishError::Changed { tag: tag.clone(), before: before.cloned(), served, source: Box::new(error) }
            }
            Err(_) => PublishError::Unknown { tag: tag.clone(), source: Box::new(error) },
        }
    }

    /// Writes the index; as a Docker list from now on, if the registry takes only that.
    async fn put(
        &self,
        registry: &Registry,
        job: &Job,
        tag: &Tag,
        push: &mut Push,
        decided: Decided<'_>,
    ) -> Result<(), RegistryError> {
        if registry.wants_docker_lists()
            && let Some(fallback) = push.fallback.take()
        {
            push.index = fallback;
        }
        let put = |index| registry.replace_index(&job.repository, tag, index, decided);
        let (refused, refusal) = match put(&push.index).await {
            Err(RegistryError::IndexRefused { request, refusal }) => (request, refusal),
            result => return result,
        };
        // Some registries (Quay, zot) say the same of an index whose image they do not have.
        if refusal.status == StatusCode::BAD_REQUEST && self.lacks_an_image(registry, job, &push.index).await? {
            return Err(RegistryError::MissingImage { request: refused, refusal });
        }
        let Some(fallback) = push.fallback.take() else {
            return Err(RegistryError::IndexRefused { request: refused, refusal });
        };
        tracing::info!("{} takes no OCI index ({refusal}); writing a Docker list", job.repository.host());
        put(&fallback).await?;
        registry.remember_docker_lists();
        push.index = fallback;
        Ok(())
    }

    async fn lacks_an_image(&self, registry: &Registry, job: &Job, index: &Index) -> Result<bool, RegistryError> {
        let images = index.children().iter().map(|(digest, _)| registry.resolve(&job.repository, digest.as_str()));
        Ok(try_join_all(images).await?.iter().any(Option::is_none))
    }

    /// Looks whether the tag serves what was written, and whether every architecture tag still
    /// stands for what went into it. Says what moved, if anything did.
    async fn read_back(
        &self,
        registry: &Registry,
        seen: &Seen,
        tag: &Tag,
        written: &Digest,
        before: Option<&Digest>,
    ) -> Result<Option<String>, PublishError> {
        let sources = seen.observed.iter().filter_map(|observed| {
            let digest = observed.digest.as_ref()?;
            Some(async move {
                let now = self.lookout.resolve(registry, &observed.arch_tag.tag).await?;
                Ok::<_, RegistryError>((now.as_ref() != Some(digest)).then_some(&observed.arch_tag.tag))
            })
        });
        let all = try_join(self.lookout.resolve(registry, tag), try_join_all(sources));
        let (served, moved) = all.await.map_err(not_read_back(tag, written))?;
        if let Some(moved) = moved.into_iter().flatten().next() {
            return Ok(Some(format!("`{moved}` moved while `{tag}` was being written")));
        }
        let served = self.wait_until_served(registry, tag, written, before, served).await?;
        Ok((served.as_ref() != Some(written)).then(|| format!("somebody else wrote `{tag}`")))
    }

    /// Caches may serve the older index for a while; nothing is written again because of them.
    async fn wait_until_served(
        &self,
        registry: &Registry,
        tag: &Tag,
        written: &Digest,
        before: Option<&Digest>,
        mut served: Option<Digest>,
    ) -> Result<Option<Digest>, PublishError> {
        let give_up = Instant::now() + self.options.settle;
        let mut pause = self.options.pause / 2;
        let is_older = |served: &Option<Digest>| served.is_none() || served.as_ref() == before;
        while served.as_ref() != Some(written) && is_older(&served) {
            let left = give_up.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(PublishError::NotServed { tag: tag.clone(), expected: written.clone(), served });
            }
            tokio::time::sleep(pause.min(left)).await;
            pause = (pause * 2).min(Duration::from_secs(10));
            served = self.lookout.resolve(registry, tag).await.map_err(not_read_back(tag, written))?;
        }
        Ok(served)
    }
}

fn not_read_back<'a>(tag: &'a Tag, written: &'a Digest) -> impl Fn(RegistryError) -> PublishError + 'a {
    |source| PublishError::NotReadBack { tag: tag.clone(), written: written.clone(), source: Box::new(source) }
}
