//! The flow for one plain tag: look, decide, act, look again.
//!
//! No registry offers compare-and-swap on a tag. So an index is written soon after looking or not
//! at all; then it is read back, and so is every architecture tag. If one of them moved meanwhile,
//! everything starts again from what is there now, a bounded number of times.

mod copies;
mod error;
mod write;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

pub use crate::look::Known;
use crate::look::Lookout;
use crate::model::{Digest, Index, Job, Seen, Tag};
use crate::plan::{Code, Decision, Plan, Policy, Reason, Verdict, changes, plan};
use crate::registry::{Registry, RegistryError};
pub use error::PublishError;
use write::Written;

/// The longest wait for what is required; nobody lives to see its end.
const LONGEST_WAIT: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
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
    /// How long after looking a write may begin; four times as long after each time it could not,
    /// so that a slow registry is written to in the end.
    pub fresh: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            dry_run: false,
            wait: None,
            pause: Duration::from_millis(500),
            settle: Duration::from_secs(120),
            fresh: Duration::from_secs(30),
        }
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

/// What was seen and decided.
struct Looked {
    /// When the look began.
    since: Instant,
    seen: Seen,
    plan: Plan,
}

/// One attempt's end.
enum Acted {
    Done(Box<Outcome>),
    /// Something moved; what had been written by then, if anything.
    Moved(String, Option<Box<Outcome>>),
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
        let give_up_waiting = self.options.wait.map(|wait| Instant::now() + wait.min(LONGEST_WAIT));
        let mut moved = String::new();
        let mut awaited = known.hints.clone();
        self.lookout.expect(&awaited);
        let mut earlier: Option<Outcome> = None;
        for run in 0..MOST_RUNS {
            if run > 0 {
                tracing::info!("{moved}; looking again");
                self.lookout.forget_listing();
                tokio::time::sleep(self.options.pause * run * run / 2).await;
            }
            let looked = tokio::select! {
                // Boxed, since futures that hold futures tire the compiler of whoever calls this.
                looked = Box::pin(self.look_and_plan(registry, job, known, &mut awaited, give_up_waiting)) => looked,
                // What was written is not left as it happens to be.
                () = self.stop.cancelled(), if earlier.is_none() => return Err(PublishError::Interrupted),
            };
            let acted = match looked {
                Ok(looked) => {
                    let until = looked.since + self.options.fresh.saturating_mul(4u32.pow(run));
                    self.act(registry, job, looked, until).await
                }
                Err(error) => Err(error.into()),
            };
            match acted {
                Ok(Acted::Done(outcome)) => return Ok(outcome.after(earlier, &job.tag)),
                Ok(Acted::Moved(what, written)) => {
                    moved = what;
                    if let Some(written) = written {
                        earlier = Some(written.after(earlier, &job.tag));
                    }
                }
                Err(error) => return Err(error.after(earlier.and_then(|earlier| earlier.index), &job.tag)),
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
    ) -> Result<Looked, RegistryError> {
        let mut pause = self.options.pause;
        loop {
            (self.progress)(&job.tag, Stage::Looking);
            let (since, seen) = self.look_until_settled(registry, job, known, awaited).await?;
            let plan = plan(job, &seen, &self.policy);
            let lacks = plan.reasons.iter().any(|reason| reason.code == Code::ArchMissing && reason.forbids());
            let left = give_up.map(|give_up| give_up.saturating_duration_since(Instant::now()));
            let Some(left) = left.filter(|left| lacks && !left.is_zero()) else {
                return Ok(Looked { since, seen, plan });
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
    ) -> Result<(Instant, Seen), RegistryError> {
        for number in 0.. {
            let since = Instant::now();
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
                    return Ok((since, seen));
                }
            }
        }
        unreachable!("there is always one more number")
    }

    /// Does what was decided, if it can begin by `until`.
    async fn act(&self, registry: &Registry, job: &Job, looked: Looked, until: Instant) -> Result<Acted, PublishError> {
        let Looked { since, seen, mut plan } = looked;
        let previous = seen.published.get(&job.tag).map(|published| published.digest.clone());
        let done = |plan, action, index| {
            let (previous, seen) = (previous.clone(), seen.clone());
            Outcome { plan, action, index, previous, seen }
        };
        let finished = |plan, action, index| Ok(Acted::Done(Box::new(done(plan, action, index))));
        let mut push = match &plan.decision {
            Decision::Hold => return finished(plan, Action::Held, None),
            Decision::Keep(index) => {
                let index = Some(index.clone());
                return finished(plan, Action::Unchanged, index);
            }
            Decision::Push(push) => push.clone(),
        };
        if self.options.dry_run {
            return finished(plan, Action::Pushed, Some(push.index));
        }
        if let Some(lost) = self.lookout.lost_since(registry, &seen, since).await? {
            return Ok(Acted::Moved(format!("the registry does not know {} any more", lost.short()), None));
        }
        if let Some(what) = self.write_copies(registry, job, &push.rewritten).await? {
            return Ok(Acted::Moved(what, None));
        }
        let mut written: Vec<String> = Vec::new();
        for tag in push.tags.clone() {
            match self.write(registry, job, &seen, &tag, &mut push, until).await {
                Ok(Written::Served) => {
                    self.lookout.wrote(&tag, &push.index);
                    written.push(format!("`{tag}`"));
                }
                Ok(Written::NotYet(what)) if written.is_empty() => return Ok(Acted::Moved(what, None)),
                Ok(Written::NotYet(what) | Written::Overtaken(what)) => {
                    return Ok(Acted::Moved(what, Some(Box::new(done(plan, Action::Pushed, Some(push.index))))));
                }
                Ok(Written::Immutable(refusal)) => {
                    let message = format!("the registry does not let `{tag}` change ({refusal})");
                    let remedy = "let it change in the registry's settings, or publish another tag";
                    plan.reasons.push(Reason::hold(Code::ImmutableTag, Some(&tag), message).remedy(remedy));
                    return match written.as_slice() {
                        _ if tag == job.tag => finished(plan, Action::Held, None),
                        [] => finished(plan, Action::Unchanged, Some(push.index)),
                        _ => finished(plan, Action::Pushed, Some(push.index)),
                    };
                }
                Err(error) if written.is_empty() => return Err(error),
                Err(error) => {
                    return Err(PublishError::Partly { written: written.join(", "), source: Box::new(error) });
                }
            }
            tracing::info!(index.digest = %push.index.digest(), "Published `{}:{tag}`", job.repository);
        }
        finished(plan, Action::Pushed, Some(push.index))
    }
}

impl Outcome {
    /// The outcome in all, where an earlier run had written something before everything started again.
    fn after(mut self, earlier: Option<Outcome>, tag: &Tag) -> Outcome {
        let Some(mut earlier) = earlier else { return self };
        let written = earlier.index.as_ref().map(Index::digest);
        match self.action {
            // What was written stands, and must not be replaced now.
            Action::Held if self.previous.as_ref() == written => {
                earlier.plan.reasons.extend(self.plan.reasons.into_iter().filter(Reason::forbids));
                return Outcome { seen: self.seen, ..earlier };
            }
            Action::Held => return self,
            Action::Unchanged if self.index.as_ref().map(Index::digest) == written => self.action = Action::Pushed,
            Action::Unchanged | Action::Pushed => {}
        }
        self.previous = earlier.previous;
        self.seen.published = earlier.seen.published;
        if let Some(index) = &self.index {
            self.plan.changes = changes(self.seen.published.get(tag), index);
        }
        self
    }
}
