//! The flow for one plain tag: look, decide, act, look again.
//!
//! No registry offers compare-and-swap on a tag. So the index is read back after it was written,
//! and so is every architecture tag: if one of them moved meanwhile, everything starts again from
//! what is there now, a bounded number of times.

mod copies;
mod error;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::{try_join, try_join_all};
use tokio_util::sync::CancellationToken;

pub use crate::look::Known;
use crate::look::Lookout;
use crate::model::{Digest, Index, Job, Seen, Tag};
use crate::plan::{Code, Decision, Plan, Policy, Push, Reason, Verdict, plan};
use crate::registry::{Refusal, Registry, RegistryError};
pub use error::PublishError;

/// How often everything starts again because something moved.
const MOST_RUNS: u32 = 6;

/// How long to wait, again and again, for a tag to stand for what was said to be pushed.
const HINT_PAUSES_MS: &[u64] = &[30, 70, 150, 300, 500, 1_000, 2_000, 4_000];
/// How many of these pauses are made for a tag that has moved already since it was last published:
/// most likely what it stands for is newer than what was said.
const PAUSES_ONCE_MOVED: usize = 3;

/// How plain tags of one repository are brought up to date.
pub struct Publisher {
    /// Where the images are.
    pub registry: Registry,
    /// What looks at them.
    pub lookout: Lookout,
    /// What must hold before anything is written.
    pub policy: Policy,
    /// How it is gone about.
    pub options: Options,
    /// Ends looking and waiting early; writing that has begun is finished.
    pub stop: CancellationToken,
    /// Told what is being done.
    pub progress: Progress,
}

/// Hears what is being done.
pub type Progress = Arc<dyn Fn(&Tag, Stage) + Send + Sync>;

/// How publishing is gone about.
#[derive(Clone, Debug)]
pub struct Options {
    /// Decide, but write nothing.
    pub dry_run: bool,
    /// How long to wait for what is required.
    pub wait: Option<Duration>,
    /// The first pause between two looks; it doubles.
    pub pause: Duration,
    /// How long a registry may go on serving what was replaced.
    pub settle: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options { dry_run: false, wait: None, pause: Duration::from_millis(500), settle: Duration::from_secs(120) }
    }
}

/// What is being done for a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Reading tags, manifests and configs.
    Looking,
    /// Waiting for these architecture tags.
    Waiting(Vec<String>),
    /// Writing the index.
    Writing,
    /// Reading back what was written.
    ReadingBack,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// The decision, and its reasons.
    pub plan: Plan,
    /// What was done.
    pub action: Action,
    /// The index that is served now, or would be.
    pub index: Option<Index>,
    /// What the plain tag held before.
    pub previous: Option<Digest>,
    /// What was seen before anything was done.
    pub seen: Seen,
}

/// What was done about a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The index was written (or would have been) and is served.
    Pushed,
    /// It was served already.
    Unchanged,
    /// Nothing was written.
    Held,
}

/// What became of one tag.
enum Written {
    Served,
    Moved(String),
    Immutable(Refusal),
}

/// One attempt's end: done, or something moved.
enum Acted {
    Done(Box<Outcome>),
    Moved(String),
}

impl Publisher {
    /// Brings one tag up to date: look, decide, act, look again.
    ///
    /// Safe to run at any time, any number of times: a run that finds nothing new writes nothing.
    ///
    /// # Errors
    ///
    /// [`PublishError`]: something could not be read or written. What is published is as it was,
    /// unless the error says that this is not known.
    #[tracing::instrument(skip_all, fields(repository = %job.repository, tag = %job.tag))]
    pub async fn publish(&self, registry: &Registry, job: &Job, known: &Known) -> Result<Outcome, PublishError> {
        let give_up_waiting = self.options.wait.map(|wait| Instant::now() + wait);
        let mut moved = String::new();
        let mut awaited = known.hints.clone();
        self.lookout.expect(&awaited);
        for run in 0..MOST_RUNS {
            if run > 0 {
                tracing::info!("{moved}; looking again");
                self.lookout.forget_listing();
                tokio::time::sleep(self.options.pause * run * run / 2).await;
            }
            let (seen, plan) = tokio::select! {
                // Boxed, since futures that hold futures tire the compiler of whoever calls this.
                planned = Box::pin(self.look_and_plan(registry, job, known, &mut awaited, give_up_waiting)) => planned?,
                // Later runs may follow a write, which is not left half done.
                () = self.stop.cancelled(), if run == 0 => return Err(PublishError::Interrupted),
            };
            match self.act(registry, job, &seen, plan).await? {
                Acted::Done(outcome) => return Ok(*outcome),
                Acted::Moved(what) => moved = what,
            }
        }
        Err(PublishError::Moving { tag: job.tag.clone(), what: moved })
    }

    /// Looks and decides; while something required is missing, again and again, ever more slowly.
    async fn look_and_plan(
        &self,
        registry: &Registry,
        job: &Job,
        known: &Known,
        awaited: &mut BTreeMap<Tag, Digest>,
        give_up: Option<Instant>,
    ) -> Result<(Seen, Plan), RegistryError> {
        let mut pause = self.options.pause;
        loop {
            (self.progress)(&job.tag, Stage::Looking);
            let seen = self.look_until_settled(registry, job, known, awaited).await?;
            let plan = plan(job, &seen, &self.policy);
            let lacks = plan.reasons.iter().any(|reason| reason.code == Code::ArchMissing && reason.forbids());
            let left = give_up.map(|give_up| give_up.saturating_duration_since(Instant::now()));
            let Some(left) = left.filter(|left| lacks && !left.is_zero()) else {
                return Ok((seen, plan));
            };
            let missing = plan.images.iter().filter(|image| image.verdict == Verdict::Missing);
            let mut missing: Vec<String> = missing.map(|image| image.tag.to_string()).collect();
            if missing.is_empty() {
                missing.push("what is required".to_owned());
            }
            tracing::info!(waits_ms = pause.as_millis(), "Waiting for {}", missing.join(", "));
            (self.progress)(&job.tag, Stage::Waiting(missing));
            tokio::time::sleep(pause.min(left)).await;
            pause = (pause * 3 / 2).min(Duration::from_secs(30));
            self.lookout.forget_listing();
        }
    }

    /// Looks, and where somebody was said to have pushed what is not there yet, once more after a
    /// moment: some registries tell of a push before they write the tag. What is there in the end
    /// counts. What was there once is not awaited any more: a newer push has won since.
    async fn look_until_settled(
        &self,
        registry: &Registry,
        job: &Job,
        known: &Known,
        awaited: &mut BTreeMap<Tag, Digest>,
    ) -> Result<Seen, RegistryError> {
        for number in 0.. {
            let seen = self.lookout.look(registry, job, known).await?;
            let is_there = |tag: &Tag, digest: &Digest| {
                seen.observed.iter().any(|o| o.arch_tag.tag == *tag && o.digest.as_ref() == Some(digest))
            };
            awaited.retain(|tag, digest| !is_there(tag, digest));
            let before = |tag| known.last.as_ref().and_then(|last| last.sources.get(tag));
            let has_moved = |tag| before(tag).is_some_and(|before| !is_there(tag, before));
            let most = if awaited.keys().all(has_moved) { PAUSES_ONCE_MOVED } else { HINT_PAUSES_MS.len() };
            match HINT_PAUSES_MS[..most].get(number) {
                Some(pause) if !awaited.is_empty() => tokio::time::sleep(Duration::from_millis(*pause)).await,
                _ => {
                    awaited.clear();
                    return Ok(seen);
                }
            }
        }
        unreachable!("there is always one more number")
    }

    async fn act(&self, registry: &Registry, job: &Job, seen: &Seen, plan: Plan) -> Result<Acted, PublishError> {
        let previous = seen.published.get(&job.tag).map(|published| published.digest.clone());
        let done = |plan, action, index| {
            let (previous, seen) = (previous.clone(), seen.clone());
            Ok(Acted::Done(Box::new(Outcome { plan, action, index, previous, seen })))
        };
        let mut push = match &plan.decision {
            Decision::Hold => return done(plan, Action::Held, None),
            Decision::Keep(index) => {
                let index = Some(index.clone());
                return done(plan, Action::Unchanged, index);
            }
            Decision::Push(push) => push.clone(),
        };
        if self.options.dry_run {
            return done(plan, Action::Pushed, Some(push.index));
        }
        if let Some(what) = self.write_copies(registry, job, &push.rewritten).await? {
            return Ok(Acted::Moved(what));
        }
        let mut plan = plan;
        let mut written: Vec<String> = Vec::new();
        for tag in push.tags.clone() {
            let before = seen.published.get(&tag).map(|published| &published.digest);
            match self.write(registry, job, seen, &tag, &mut push, before).await {
                Ok(Written::Served) => {
                    self.lookout.wrote(&tag, &push.index);
                    written.push(format!("`{tag}`"));
                }
                Ok(Written::Moved(what)) => return Ok(Acted::Moved(what)),
                Ok(Written::Immutable(refusal)) => {
                    let message = format!("the registry does not let `{tag}` change ({refusal})");
                    let remedy = "let it change in the registry's settings, or publish another tag";
                    plan.reasons.push(Reason::hold(Code::ImmutableTag, Some(&tag), message).remedy(remedy));
                    return match written.as_slice() {
                        _ if tag == job.tag => done(plan, Action::Held, None),
                        [] => done(plan, Action::Unchanged, Some(push.index)),
                        _ => done(plan, Action::Pushed, Some(push.index)),
                    };
                }
                Err(error) if written.is_empty() => return Err(error),
                Err(error) => {
                    return Err(PublishError::Partly { written: written.join(", "), source: Box::new(error) });
                }
            }
            tracing::info!(index.digest = %push.index.digest(), "Published `{}:{tag}`", job.repository);
        }
        done(plan, Action::Pushed, Some(push.index))
    }

    /// Writes the index under one tag and reads it back.
    async fn write(
        &self,
        registry: &Registry,
        job: &Job,
        seen: &Seen,
        tag: &Tag,
        push: &mut Push,
        before: Option<&Digest>,
    ) -> Result<Written, PublishError> {
        (self.progress)(&job.tag, Stage::Writing);
        match self.put(registry, job, tag, push).await {
            Ok(()) => {}
            Err(RegistryError::MissingImage { .. }) => {
                return Ok(Written::Moved(format!("the registry does not know an image of `{tag}` yet or any more")));
            }
            Err(RegistryError::Immutable { refusal, .. }) => return Ok(Written::Immutable(refusal)),
            Err(error) => return Err(self.after_failure(registry, tag, before, error).await),
        }
        (self.progress)(&job.tag, Stage::ReadingBack);
        match self.read_back(registry, seen, tag, push.index.digest(), before).await? {
            Some(what) => Ok(Written::Moved(what)),
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
    async fn put(&self, registry: &Registry, job: &Job, tag: &Tag, push: &mut Push) -> Result<(), RegistryError> {
        if registry.wants_docker_lists()
            && let Some(fallback) = push.fallback.take()
        {
            push.index = fallback;
        }
        let result = registry.put_index(&job.repository, tag, &push.index).await;
        match (result, push.fallback.take()) {
            (Err(RegistryError::IndexRefused { refusal, .. }), Some(fallback)) => {
                tracing::info!("{} takes no OCI index ({refusal}); writing a Docker list", job.repository.host());
                registry.put_index(&job.repository, tag, &fallback).await?;
                registry.remember_docker_lists();
                push.index = fallback;
                Ok(())
            }
            (result, fallback) => {
                push.fallback = fallback;
                result
            }
        }
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
