//! `onetag publish`: one plain tag, or several, from their architecture tags.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use tokio_util::sync::CancellationToken;

use super::console::Console;
use super::policy::{Attestations, DoubtArgs, IndexType, OnMismatch, Verify, contradiction};
use super::report::{self, Finished};
use super::settings::{Output, OutputArgs, RegistryArgs, duration};
use super::{Exit, Refused, cache, one_thread};
use crate::look::{Lookout, Scope};
use crate::model::text::with_causes;
use crate::model::{ArchChoice, Digest, Job, Tag, Words};
use crate::plan::Policy;
use crate::publish::{Known, Options, Publisher, Stage};
use crate::registry::{Access, Registry};
use crate::serve::settings::Rule;

/// Combine a version's architecture images and push them under its plain tag
///
/// Reads every `<arch>-<tag>` image and stops if one is not what its tag says. Pushes nothing when
/// the registry already serves the same index.
#[derive(Args, Debug)]
pub(super) struct PublishArgs {
    #[command(flatten)]
    registry: RegistryArgs,

    /// Plain tag to publish (repeatable, each on its own)
    #[arg(short, long = "tag", value_name = "TAG", required = true)]
    tags: Vec<Tag>,

    /// Put the same index under this tag, too, after the main one succeeded (repeatable)
    #[arg(long, value_name = "TAG")]
    also: Vec<Tag>,

    /// Look at these architectures only; saves listing the tags
    #[arg(long, value_name = "ARCH", value_delimiter = ',')]
    arch: Option<Vec<String>>,

    /// Hold unless all of these are there
    #[arg(long, value_name = "ARCH", value_delimiter = ',')]
    require: Vec<String>,

    /// Wait for what is required, at most this long
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    wait: Option<Duration>,

    /// What an image is checked by [default: config]
    #[arg(long, value_enum)]
    verify: Option<Verify>,

    /// What an image that contradicts its tag leads to [default: hold]
    #[arg(long, value_enum)]
    on_mismatch: Option<OnMismatch>,

    #[command(flatten)]
    doubts: DoubtArgs,

    /// Hold unless this label has one value in all images (repeatable)
    #[arg(long, value_name = "LABEL")]
    same: Vec<String>,

    /// Hold unless this architecture is exactly this image (repeatable)
    #[arg(long, value_name = "ARCH=DIGEST", value_parser = arch_digest)]
    expect: Vec<(String, String)>,

    /// Let an architecture drop out that is published now and has no tag any more
    #[arg(long)]
    allow_removal: bool,

    /// Replace a plain tag that holds something onetag would not have made
    #[arg(long)]
    take_over: bool,

    /// Which kind of index is written [default: auto]
    #[arg(long, value_enum)]
    index_type: Option<IndexType>,

    /// What becomes of attestations (provenance, SBOM) that stand beside an image [default: keep]
    #[arg(long, value_enum)]
    attestations: Option<Attestations>,

    /// Annotate the index (repeatable)
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    annotation: Vec<(String, String)>,

    /// Do everything but write; print the bytes that would be pushed
    #[arg(long)]
    dry_run: bool,

    /// Remember nothing about digests between runs, and believe nothing remembered
    #[arg(long)]
    no_cache: bool,

    #[command(flatten)]
    output: OutputArgs,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}

fn arch_digest(text: &str) -> Result<(String, String), String> {
    pair(text).map_err(|_| "expected ARCH=DIGEST, for example `arm64=sha256:...`".to_owned())
}

/// What the arguments ask for, checked as a whole.
struct Request {
    jobs: Vec<Job>,
    scope: Scope,
    policy: Policy,
    options: Options,
}

impl PublishArgs {
    fn request(&self, words: &Words, rule: Option<&Rule>) -> Result<Request, Refused> {
        let only = self.arch.as_deref().map(|arch| choices(arch, words)).transpose()?;
        let mut policy = self.policy(words, rule)?;
        if self.wait.is_some() && policy.required.is_empty() && policy.expected.is_empty() {
            policy.required = only.clone().ok_or_else(|| {
                Refused::usage("`--wait` waits for what is required: name it with `--require` or `--arch`")
            })?;
        }
        let expected = policy.expected.iter().map(|(choice, _)| choice);
        let scope =
            Scope { only, expected: policy.required.iter().chain(expected).cloned().collect(), ..Scope::of(&policy) };
        let options = Options { dry_run: self.dry_run, wait: self.wait, ..Options::default() };
        Ok(Request { jobs: self.jobs(rule)?, scope, policy, options })
    }

    /// What the options say, and where they say nothing the rule.
    fn policy(&self, words: &Words, rule: Option<&Rule>) -> Result<Policy, Refused> {
        let base = rule.map(|rule| rule.policy.clone()).unwrap_or_default();
        let required = choices(&self.require, words)?;
        let policy = Policy {
            required: if required.is_empty() { base.required } else { required },
            verify: self.verify.map_or(base.verify, Into::into),
            on_mismatch: self.on_mismatch.map_or(base.on_mismatch, Into::into),
            doubts: self.doubts.over(&base.doubts),
            same_labels: if self.same.is_empty() { base.same_labels } else { self.same.clone() },
            expected: self.expected(words)?,
            allow_removal: self.allow_removal || base.allow_removal,
            take_over: self.take_over || base.take_over,
            index_type: self.index_type.map_or(base.index_type, Into::into),
            drop_attestations: self.attestations.map_or(base.drop_attestations, |a| a == Attestations::Drop),
            annotations: base.annotations.into_iter().chain(self.annotation.iter().cloned()).collect(),
        };
        match contradiction(&policy, "--verify entrypoint") {
            Some(message) => Err(Refused::usage(message)),
            None => Ok(policy),
        }
    }

    fn jobs(&self, rule: Option<&Rule>) -> Result<Vec<Job>, Refused> {
        let mut tags = self.tags.clone();
        let mut seen = std::collections::BTreeSet::new();
        tags.retain(|tag| seen.insert(tag.clone()));
        if !self.also.is_empty() && tags.len() != 1 {
            return Err(Refused::usage("`--also` needs exactly one `--tag`: it names further tags for the same index"));
        }
        let mut also = self.also.clone();
        also.retain(|tag| seen.insert(tag.clone()));
        let repository = &self.registry.repository;
        let job = |tag: Tag| match rule {
            Some(rule) if also.is_empty() => rule.job(repository, &tag),
            _ => Job { repository: repository.clone(), tag, also: also.clone() },
        };
        Ok(tags.into_iter().map(job).collect())
    }

    fn expected(&self, words: &Words) -> Result<Vec<(ArchChoice, Digest)>, Refused> {
        let expected = self.expect.iter().map(|(arch, digest)| {
            let choice = words.choose(arch).map_err(Refused::usage)?;
            Ok((choice, digest.parse().map_err(Refused::usage)?))
        });
        expected.collect()
    }
}

pub(super) fn choices(texts: &[String], words: &Words) -> Result<Vec<ArchChoice>, Refused> {
    let texts = texts.iter().map(|text| text.trim()).filter(|text| !text.is_empty());
    texts.map(|text| words.choose(text).map_err(Refused::usage)).collect()
}

/// Publishes what the arguments ask for.
pub(super) fn run(args: PublishArgs) -> Result<Exit, Refused> {
    let access = if args.dry_run { Access::Read } else { Access::Publish };
    let base = args.registry.base(access, &args.tags)?;
    let (words, pattern) = (args.registry.words(&base)?, args.registry.pattern(&base));
    let Request { jobs, scope, policy, options } = args.request(&words, base.rule.as_ref())?;
    let settings = args.registry.settings(&base)?;
    let console = args.output.messages.start();
    base.warn();

    let registry = Registry::new(args.registry.repository.host(), settings).map_err(Refused::configuration)?;
    let facts = cache::facts(&args.registry.repository, !args.no_cache);
    let lookout = Lookout::new(args.registry.repository.clone(), pattern, words, scope).remembering(facts);
    let stop = CancellationToken::new();
    let progress = {
        let console = console.clone();
        Arc::new(move |tag: &Tag, stage: Stage| match stage {
            Stage::Waiting(_) => console.waiting(tag.as_str(), &say(&stage)),
            _ => console.doing(tag.as_str(), Some(&say(&stage))),
        })
    };
    let publisher = Publisher { registry, lookout, policy, options, stop: stop.clone(), progress };
    let finish = |finished: Finished<'_>| show(&console, args.output.output, &finished);

    let runtime = one_thread()?;
    let exit = runtime.block_on(async {
        tokio::spawn(stop_when_told(stop));
        publish_all(&publisher, &jobs, finish).await
    });
    console.finish();
    Ok(exit)
}

/// Publishes all at once over the same connections; tells of each in the order of the arguments.
async fn publish_all(publisher: &Publisher, jobs: &[Job], finish: impl Fn(Finished<'_>) -> Exit) -> Exit {
    let mut running: FuturesOrdered<_> = jobs
        .iter()
        .map(|job| async move {
            let registry = publisher.registry.counting_anew();
            let result = publisher.publish(&registry, job, &Known::default()).await;
            (job, result, registry.requests())
        })
        .collect();
    let mut exit = Exit::Done;
    while let Some((job, result, requests)) = running.next().await {
        let dry_run = publisher.options.dry_run;
        exit = exit.max(finish(Finished { job, result: &result, requests, dry_run }));
    }
    exit
}

fn show(console: &Console, output: Output, finished: &Finished<'_>) -> Exit {
    console.doing(finished.job.tag.as_str(), None);
    match output {
        Output::Json => console.data(&report::json(finished)),
        Output::Text => {
            console.report(&report::text(finished));
            if let Some(bytes) = report::rehearsed(finished) {
                console.data(&bytes);
            }
        }
    }
    if let Err(error) = finished.result {
        console.error(&with_causes(error), error.hint());
    }
    for remedy in report::remedies(finished) {
        console.hint(&remedy);
    }
    report::exit(finished)
}

fn say(stage: &Stage) -> String {
    match stage {
        Stage::Looking => "reading the images".to_owned(),
        Stage::Waiting(missing) => format!("waiting for {}", missing.join(", ")),
        Stage::Writing => "writing the index".to_owned(),
        Stage::ReadingBack => "reading back".to_owned(),
    }
}

/// The first signal ends looking and waiting, the second everything.
async fn stop_when_told(stop: CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return;
    };
    loop {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if stop.is_cancelled() {
            std::process::exit(Exit::Interrupted as i32);
        }
        stop.cancel();
    }
}
