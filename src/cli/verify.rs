//! `onetag verify`: single images, before their push is announced.

use std::str::FromStr;

use clap::Args;
use serde::Serialize;

use super::cache;
use super::console::{Console, GREEN, RED};
use super::policy::{DoubtArgs, Verify};
use super::report::{self, ImageLine, ReasonLine};
use super::settings::{AccessArgs, Output, OutputArgs};
use super::{Exit, Refused, one_thread};
use crate::look::{Candidate, Lookout, Scope};
use crate::model::text::{clean, with_causes};
use crate::model::{Digest, Found, Meaning, Platform, Repository, Tag, Unfit};
use crate::plan::{Policy, Promiser, Proved, prove_alone};
use crate::registry::{Registry, RegistryError};

/// Check that images are what their tags say, by the files that they start
///
/// For build jobs, before a push is announced. An image is held against the word in its tag
/// (`armhf-xenial`), against `--platform`, each image of an index against its own entry, and
/// where nobody else says what it should run on, its files against its config.
#[derive(Args, Debug)]
pub(super) struct VerifyArgs {
    /// Image by tag or digest, for example `registry.example.com/acme/ubuntu:armhf-xenial`
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<Reference>,

    /// What the image should run on, for example `linux/arm/v7`; of an index, the image for it
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,

    /// What an image is checked by
    #[arg(long, value_enum, default_value_t = Verify::Entrypoint)]
    verify: Verify,

    /// Remember nothing about digests between runs, and believe nothing remembered
    #[arg(long)]
    no_cache: bool,

    #[command(flatten)]
    doubts: DoubtArgs,

    #[command(flatten)]
    access: AccessArgs,

    #[command(flatten)]
    output: OutputArgs,
}

/// An image as a user names it.
#[derive(Clone, Debug)]
struct Reference {
    repository: Repository,
    tag: Option<Tag>,
    digest: Option<Digest>,
    text: String,
}

impl FromStr for Reference {
    type Err = String;

    fn from_str(s: &str) -> Result<Reference, String> {
        let (named, digest) = match s.split_once('@') {
            Some((named, digest)) => (named, Some(digest.parse::<Digest>().map_err(|error| error.to_string())?)),
            None => (s, None),
        };
        let (repository, tag) = match named.rsplit_once(':') {
            // What has a slash in it is a path, and the colon before it a port's.
            Some((repository, tag)) if !tag.contains('/') => {
                (repository, Some(tag.parse::<Tag>().map_err(|error| error.to_string())?))
            }
            _ => (named, None),
        };
        if tag.is_none() && digest.is_none() {
            return Err("expected a tag or a digest behind the repository, as in `acme/ubuntu:armhf-xenial`".to_owned());
        }
        let repository = repository.parse::<Repository>().map_err(|error| error.to_string())?;
        Ok(Reference { repository, tag, digest, text: s.to_owned() })
    }
}

impl Reference {
    /// What is asked for: the digest, where there is one.
    fn asked(&self) -> &str {
        self.digest.as_ref().map(Digest::as_str).or(self.tag.as_ref().map(Tag::as_str)).unwrap_or("")
    }
}

/// How one reference was found.
struct Verified {
    /// The architecture word in its tag.
    word: Option<String>,
    images: Vec<(Candidate, Proved)>,
}

/// Verifies what the arguments name.
pub(super) fn run(args: VerifyArgs) -> Result<Exit, Refused> {
    let console = args.output.messages.start();
    let runtime = one_thread()?;
    let mut exit = Exit::Done;
    let mut registries: Vec<(String, Registry)> = Vec::new();
    for reference in &args.images {
        let base = args.access.base_of_image(&reference.repository, reference.tag.as_ref())?;
        let host = reference.repository.host();
        let registry = match registries.iter().find(|(known, _)| known == host.as_str()) {
            Some((_, registry)) => registry.counting_anew(),
            None => {
                let registry = Registry::new(host, args.access.settings(&base)?).map_err(Refused::configuration)?;
                registries.push((host.as_str().to_owned(), registry.clone()));
                registry
            }
        };
        base.warn();
        let (words, pattern) = (args.access.words(&base)?, args.access.pattern(&base));
        let doubts = base.rule.as_ref().map(|rule| rule.policy.doubts.clone()).unwrap_or_default();
        let policy = Policy { verify: args.verify.into(), doubts: args.doubts.over(&doubts), ..Policy::default() };
        let arch_tag = reference.tag.as_ref().and_then(|tag| pattern.read(tag, &words));
        let word = arch_tag.as_ref().map(|arch_tag| arch_tag.word.clone());
        let meaning = arch_tag.map(|arch_tag| arch_tag.meaning);
        let facts = cache::facts(&reference.repository, !args.no_cache);
        let lookout = Lookout::new(reference.repository.clone(), pattern, words, Scope::of(&policy)).remembering(facts);
        console.doing(&reference.text, Some("reading the image"));
        let found = runtime.block_on(lookout.images(&registry, reference.asked()));
        console.doing(&reference.text, None);
        let result = found.map(|found| Verified { word, images: args.judge(found, meaning.as_ref(), &policy) });
        exit = exit.max(show(&console, args.output.output, reference, &result, registry.requests()));
    }
    console.finish();
    Ok(exit)
}

impl VerifyArgs {
    fn judge(&self, found: Vec<Candidate>, meaning: Option<&Meaning>, policy: &Policy) -> Vec<(Candidate, Proved)> {
        let promised = match (&self.platform, meaning) {
            (Some(platform), _) => Some(Promiser::User(platform.clone())),
            (None, Some(Meaning::Promise(promise))) => Some(Promiser::Tag(promise.clone())),
            (None, Some(Meaning::Ambiguous) | None) => None,
        };
        let is_ambiguous = promised.is_none() && meaning.is_some();
        let missing = Candidate { digest: None, entry: None, found: Found::Missing };
        let candidates = match (found.as_slice(), &promised) {
            ([], _) => vec![missing],
            _ if is_ambiguous => vec![Candidate { found: Found::Unfit(Unfit::AmbiguousWord), ..missing }],
            ([_], _) | (_, None) => found,
            (several, Some(Promiser::User(platform))) => {
                let is_it = |entry: &&Candidate| entry.entry.as_ref().is_some_and(|e| e.slot() == platform.slot());
                let chosen: Vec<Candidate> = several.iter().filter(is_it).cloned().collect();
                if chosen.is_empty() { vec![missing] } else { chosen }
            }
            (several, Some(_)) => {
                let platforms = several.iter().filter_map(|c| Some(c.entry.as_ref()?.to_string())).collect();
                vec![Candidate { found: Found::Unfit(Unfit::SeveralImages(platforms)), ..missing }]
            }
        };
        let judge = |candidate: Candidate| {
            let itself = || candidate.entry.clone().map_or(Promiser::Itself, Promiser::Entry);
            let promiser = promised.clone().unwrap_or_else(itself);
            let proved = prove_alone(&candidate.found, &promiser, policy);
            (candidate, proved)
        };
        candidates.into_iter().map(judge).collect()
    }
}

/// One line of JSON about a reference.
#[derive(Serialize)]
struct Document<'a> {
    image: &'a str,
    /// The worst of its images'; absent where they could not be read.
    verdict: Option<&'static str>,
    images: Vec<VerifiedLine<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ReasonLine<'a>>,
    requests: u64,
}

#[derive(Serialize)]
struct VerifiedLine<'a> {
    #[serde(flatten)]
    image: ImageLine<'a>,
    reasons: Vec<ReasonLine<'a>>,
}

/// Whether publishing would not take the image: it holds the tag, or is left out of it.
fn is_refused(proved: &Proved) -> bool {
    !proved.is_accepted
}

fn show(
    console: &Console,
    output: Output,
    reference: &Reference,
    result: &Result<Verified, RegistryError>,
    requests: u64,
) -> Exit {
    match output {
        Output::Json => console.data(&json(reference, result, requests)),
        Output::Text => console.report(&text(reference, result)),
    }
    match result {
        Ok(verified) if verified.images.iter().any(|(_, proved)| is_refused(proved)) => Exit::Held,
        Ok(_) => Exit::Done,
        Err(error) => {
            console.error(&with_causes(error), error.hint());
            report::exit_of(error.kind())
        }
    }
}

fn text(reference: &Reference, result: &Result<Verified, RegistryError>) -> String {
    let images = result.as_ref().map(|verified| verified.images.as_slice()).unwrap_or_default();
    let lines = images.iter().map(|(candidate, proved)| {
        let platform = proved.platform.as_ref().map_or("-".to_owned(), |platform| clean(&platform.to_string(), 60));
        let digest = candidate.digest.as_ref().map_or("-", Digest::short);
        let style = if is_refused(proved) { RED } else { GREEN };
        let verdict = proved.verdict.as_str();
        let about: Vec<String> = proved.reasons.iter().map(|reason| clean(&reason.message, 400)).collect();
        let about = if about.is_empty() { String::new() } else { format!(": {}", about.join("; ")) };
        format!("{}  {platform}  {digest:19}  {style}{verdict}{style:#}{about}\n", reference.text)
    });
    lines.collect()
}

fn json(reference: &Reference, result: &Result<Verified, RegistryError>, requests: u64) -> String {
    let mut document = Document { image: &reference.text, verdict: None, images: Vec::new(), error: None, requests };
    match result {
        Ok(verified) => {
            let is_wrong = |(_, proved): &&(Candidate, Proved)| is_refused(proved);
            let worst = verified.images.iter().find(is_wrong).or(verified.images.first());
            document.verdict = worst.map(|(_, proved)| proved.verdict.as_str());
            document.images = verified.images.iter().map(|image| line(reference, verified, image)).collect();
        }
        Err(error) => {
            let (message, weight) = (with_causes(error), "hold");
            document.error = Some(ReasonLine { code: error.code(), tag: None, message, weight, remedy: error.hint() });
        }
    }
    report::json_line(&document)
}

fn line<'a>(reference: &'a Reference, verified: &'a Verified, image: &'a (Candidate, Proved)) -> VerifiedLine<'a> {
    let (candidate, proved) = image;
    let effort = match &candidate.found {
        Found::Image(image) => image.effort(),
        Found::Missing | Found::Unfit(_) => None,
    };
    let image = ImageLine {
        tag: reference.tag.as_ref().map(Tag::as_str),
        arch: verified.word.as_deref(),
        digest: candidate.digest.as_ref(),
        platform: proved.platform.as_ref().map(|platform| clean(&platform.to_string(), 60)),
        verdict: proved.verdict.as_str(),
        rewritten: None,
        effort,
    };
    VerifiedLine { image, reasons: proved.reasons.iter().map(report::reason_line).collect() }
}
