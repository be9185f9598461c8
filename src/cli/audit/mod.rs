//! `onetag audit`: how every plain tag stands, without writing.

mod json;
mod markdown;
mod matrix;
mod text;

use clap::{Args, ValueEnum};
use futures_util::StreamExt as _;

use super::console::Console;
use super::policy::Verify;
use super::publish::choices;
use super::settings::{MessageArgs, RegistryArgs};
use super::{Exit, Refused, cache, one_thread};
use crate::audit::{Audited, Auditor, Scheme, Subject, named};
use crate::model::version::{Summary, VersionState};
use crate::model::{Repository, Stated, Tag, Words};
use crate::plan::Policy;
use crate::plan::client::{self, Choice, select};
use crate::registry::{Access, Kind, Registry, RegistryError};
use crate::serve::settings::Rule;

/// Show which architectures each tag has, and whether what is published is still what was pushed
///
/// Reads and never writes. Every plain tag of the repository is looked at: its architecture tags,
/// what is published under it, and whether the registry still has each image that the index names.
///
/// Exit codes: 0 nothing wrong; 4 not allowed; 5 something could not be read; 7 problems were
/// found (see `--fail-on`).
#[derive(Args, Debug)]
pub(super) struct AuditArgs {
    #[command(flatten)]
    registry: RegistryArgs,

    /// Look at this plain tag only (repeatable)
    #[arg(short, long = "tag", value_name = "TAG")]
    tags: Vec<Tag>,

    /// Look at these architectures only; with `--tag`, saves listing the tags
    #[arg(long, value_name = "ARCH", value_delimiter = ',')]
    arch: Option<Vec<String>>,

    /// Architectures that every plain tag must have
    #[arg(long, value_name = "ARCH", value_delimiter = ',')]
    require: Vec<String>,

    /// What an image is checked by [default: config]
    #[arg(long, value_enum)]
    verify: Option<Verify>,

    /// States that exit with 7 [default: all but ok and unpublished]
    #[arg(long, value_name = "STATE", value_delimiter = ',', value_parser = state)]
    fail_on: Option<Vec<VersionState>>,

    /// Say which image this client picks from each index
    #[arg(long, value_enum, requires = "platform")]
    client: Option<Client>,

    /// The host on which `--client` runs, for example `linux/arm/v6`
    #[arg(long, value_name = "PLATFORM", requires = "client")]
    platform: Option<Stated>,

    /// Remember nothing about digests between runs, and believe nothing remembered
    #[arg(long)]
    no_cache: bool,

    /// A matrix for people, JSON for programs, or Markdown for a CI system's summary
    #[arg(long, value_enum, default_value_t, help_heading = "Output")]
    output: Output,

    #[command(flatten)]
    messages: MessageArgs,
}

/// The form of what is said on stdout.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Output {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
    /// For the summary of a CI job
    Markdown,
}

/// Whose way of choosing.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Client {
    /// containerd, BuildKit, and Docker with containerd's image store
    Containerd,
    /// podman, skopeo and CRI-O
    Podman,
    /// Docker before 20.10
    Docker,
    /// crane, ko and kaniko
    Crane,
}

impl From<Client> for client::Client {
    fn from(client: Client) -> client::Client {
        match client {
            Client::Containerd => client::Client::Containerd,
            Client::Podman => client::Client::Podman,
            Client::Docker => client::Client::Docker,
            Client::Crane => client::Client::Crane,
        }
    }
}

fn state(text: &str) -> Result<VersionState, String> {
    let names: Vec<&str> = VersionState::all().map(VersionState::as_str).collect();
    let known = VersionState::all().find(|state| state.as_str() == text);
    known.ok_or_else(|| format!("expected one of {}", names.join(", ")))
}

/// Tells of one plain tag after the other, in one of the forms.
trait Report {
    fn begin(&mut self, console: &Console, repository: &Repository);
    fn tell(&mut self, console: &Console, told: Told<'_>);
    fn end(&mut self, console: &Console, summary: &Summary, requests: u64);
}

/// One plain tag as it is told.
struct Told<'a> {
    audited: &'a Audited,
    /// Which image the client gets that was asked for; none where nobody asked.
    choice: Option<(client::Client, &'a Stated, Option<Choice>)>,
}

/// Audits what the arguments name.
pub(super) fn run(args: AuditArgs) -> Result<Exit, Refused> {
    let base = args.registry.base(Access::Read, &args.tags)?;
    let (words, pattern) = (args.registry.words(&base)?, args.registry.pattern(&base));
    let policy = args.policy(&words, base.rule.as_ref())?;
    let only = args.arch.as_deref().map(|arch| choices(arch, &words)).transpose()?;
    let settings = args.registry.settings(&base)?;
    let console = args.messages.start();
    base.warn();

    let repository = args.registry.repository.clone();
    let registry = Registry::new(repository.host(), settings).map_err(Refused::configuration)?;
    let facts = cache::facts(&repository, !args.no_cache);
    let scheme = Scheme { repository, pattern, words, policy, only };
    let auditor = Auditor::new(registry.clone(), scheme, facts);

    let runtime = one_thread()?;
    let exit = runtime.block_on(audit(&args, base.rule.as_ref(), &auditor, &registry, &console));
    console.finish();
    Ok(exit)
}

impl AuditArgs {
    fn policy(&self, words: &Words, rule: Option<&Rule>) -> Result<Policy, Refused> {
        let mut policy = rule.map(|rule| rule.policy.clone()).unwrap_or_default();
        policy.verify = self.verify.map_or(policy.verify, Into::into);
        let required = choices(&self.require, words)?;
        if !required.is_empty() {
            policy.required = required;
        }
        Ok(policy)
    }

    fn fails_on(&self) -> Vec<VersionState> {
        self.fail_on.clone().unwrap_or_else(|| VersionState::all().filter(|state| !state.is_fine()).collect())
    }

    /// What is to be looked at: the tags that were named, or all that the rule serves.
    async fn subjects(&self, rule: Option<&Rule>, auditor: &Auditor) -> Result<Vec<Subject>, RegistryError> {
        if self.arch.is_some() && !self.tags.is_empty() {
            return Ok(self.tags.iter().cloned().map(named).collect());
        }
        let mut subjects = auditor.subjects().await?;
        if self.tags.is_empty() {
            subjects.retain(|subject| rule.is_none_or(|rule| rule.serves(&subject.tag)));
            return Ok(subjects);
        }
        let listed = |tag: &Tag| subjects.iter().find(|subject| subject.tag == *tag).cloned();
        let asked = |tag: &Tag| Subject {
            is_guess: false,
            is_named: true,
            ..listed(tag).unwrap_or_else(|| named(tag.clone()))
        };
        Ok(self.tags.iter().map(asked).collect())
    }

    fn report(&self) -> Box<dyn Report> {
        match self.output {
            Output::Json => Box::new(json::Json::default()),
            Output::Markdown => Box::new(markdown::Markdown::default()),
            Output::Text => Box::new(text::Text::default()),
        }
    }
}

async fn audit(
    args: &AuditArgs,
    rule: Option<&Rule>,
    auditor: &Auditor,
    registry: &Registry,
    console: &Console,
) -> Exit {
    console.doing("audit", Some("listing the tags"));
    let subjects = match args.subjects(rule, auditor).await {
        Ok(subjects) => subjects,
        Err(error) => {
            console.error(&crate::model::text::with_causes(&error), error.hint());
            return exit_of(&error);
        }
    };
    let fails_on = args.fails_on();
    let client = args.client.map(client::Client::from).zip(args.platform.as_ref());
    let mut report = args.report();
    let (mut summary, mut failure, mut is_bad) = (Summary::default(), None, false);

    report.begin(console, &args.registry.repository);
    let mut versions = std::pin::pin!(auditor.audit(&subjects));
    while let Some(audited) = versions.next().await {
        summary.add(&audited.version);
        let done = format!("{} of {} tags", summary.versions, subjects.len());
        console.doing("audit", Some(&done));
        match &audited.failure {
            Some(error) => failure = failure.max(Some(exit_of(error))),
            None => is_bad |= audited.version.is_in(&fails_on),
        }
        let choice = client
            .map(|(client, host)| (client, host, audited.served.as_ref().map(|served| select(client, host, served))));
        report.tell(console, Told { audited: &audited, choice });
    }
    console.doing("audit", None);
    report.end(console, &summary, registry.requests());
    failure.unwrap_or(if is_bad { Exit::Problems } else { Exit::Done })
}

fn exit_of(error: &RegistryError) -> Exit {
    match error.kind() {
        Kind::NotAllowed => Exit::NotAllowed,
        Kind::Settings => Exit::Configuration,
        Kind::Failing => Exit::Failing,
    }
}
