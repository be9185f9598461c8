//! What a command found and did, as lines for people and as JSON for programs.

use std::fmt::Write as _;

use serde::Serialize;

use super::Exit;
use super::console::{DIM, GREEN, RED, YELLOW};
use crate::model::image::Effort;
use crate::model::text::{clean, with_causes};
use crate::model::{Digest, Job, Platform};
use crate::plan::{Code, Reason, Rewritten, Verdict, Weighed};
use crate::publish::{Action, Outcome, PublishError};
use crate::registry::Kind;

/// One plain tag that is done with.
pub(super) struct Finished<'a> {
    pub(super) job: &'a Job,
    pub(super) result: &'a Result<Outcome, PublishError>,
    pub(super) requests: u64,
    pub(super) dry_run: bool,
}

/// How it ended, as scripts see it.
pub(super) fn exit(finished: &Finished<'_>) -> Exit {
    match finished.result {
        Ok(outcome) if outcome.plan.reasons.iter().any(Reason::forbids) => Exit::Held,
        Ok(_) => Exit::Done,
        Err(PublishError::Interrupted) => Exit::Interrupted,
        Err(error) => exit_of(error.kind()),
    }
}

/// How a run ends that the world failed.
pub(super) fn exit_of(kind: Kind) -> Exit {
    match kind {
        Kind::Settings => Exit::Configuration,
        Kind::NotAllowed => Exit::NotAllowed,
        Kind::Failing => Exit::Failing,
    }
}

/// What can be done about what was found, each once.
pub(super) fn remedies(finished: &Finished<'_>) -> Vec<String> {
    let Ok(outcome) = finished.result else {
        return Vec::new();
    };
    let mut remedies: Vec<String> = Vec::new();
    for remedy in outcome.plan.reasons.iter().filter_map(|reason| reason.remedy.clone()) {
        if !remedies.contains(&remedy) {
            remedies.push(remedy);
        }
    }
    remedies
}

/// One line an image, the reasons that are about no single image, and the decision.
pub(super) fn text(finished: &Finished<'_>) -> String {
    let mut text = String::new();
    let Ok(outcome) = finished.result else {
        return text;
    };
    let images = &outcome.plan.images;
    let platform = |image: &Weighed| image.platform.as_ref().map_or("-".to_owned(), |p| clean(&p.to_string(), 60));
    let tag_width = images.iter().map(|image| image.tag.as_str().len()).max().unwrap_or(0);
    let platform_width = images.iter().map(|image| platform(image).chars().count()).max().unwrap_or(0);
    for image in images {
        let digest = image.digest.as_ref().map_or("-", Digest::short);
        let style = match image.verdict {
            Verdict::Verified => GREEN,
            Verdict::Missing => YELLOW,
            Verdict::Mismatch | Verdict::Unreadable | Verdict::Unverifiable => RED,
        };
        let _ = write!(
            text,
            "{:tag_width$}  {:platform_width$}  {digest:19}  {style}{}{style:#}",
            image.tag.as_str(),
            platform(image),
            image.verdict.as_str()
        );
        let about: Vec<String> = reasons_about(outcome, image).map(|reason| clean(&reason.message, 400)).collect();
        let _ = if about.is_empty() { writeln!(text) } else { writeln!(text, ": {}", about.join("; ")) };
    }
    for reason in outcome.plan.reasons.iter().filter(|reason| !is_about_one_image(outcome, reason)) {
        let style = if reason.forbids() { RED } else { YELLOW };
        let _ = writeln!(text, "{style}{}{style:#}: {}", reason.code, clean(&reason.message, 400));
    }
    text + &decision(finished, outcome)
}

/// Whether a reason stands on an image's own line.
fn is_about_one_image(outcome: &Outcome, reason: &Reason) -> bool {
    let names_others = matches!(reason.code, Code::DuplicatePlatform | Code::SameDigestTwoArches | Code::SelfFeeding);
    !names_others && outcome.plan.images.iter().any(|image| Some(&image.tag) == reason.tag.as_ref())
}

fn reasons_about<'a>(outcome: &'a Outcome, image: &'a Weighed) -> impl Iterator<Item = &'a Reason> {
    let reasons = outcome.plan.reasons.iter();
    reasons.filter(|reason| reason.tag.as_ref() == Some(&image.tag) && is_about_one_image(outcome, reason))
}

fn decision(finished: &Finished<'_>, outcome: &Outcome) -> String {
    let tags: Vec<&str> = finished.job.tags().map(|tag| tag.as_str()).collect();
    let tags = tags.join(", ");
    let digest = outcome.index.as_ref().map_or("", |index| index.digest().as_str());
    match outcome.action {
        Action::Held => {
            let tag = &finished.job.tag;
            let still = match &outcome.previous {
                Some(previous) => format!("`{tag}` is still {previous}"),
                None => format!("there is still no `{tag}`"),
            };
            format!("{RED}held{RED:#} {tags}: nothing was written, {still}\n")
        }
        Action::Unchanged => {
            format!("{GREEN}unchanged{GREEN:#} {tags} {digest} {DIM}({}){DIM:#}\n", changes(outcome))
        }
        Action::Pushed => {
            let verb = if finished.dry_run { "would push" } else { "pushed" };
            format!("{GREEN}{verb}{GREEN:#} {tags} {digest} {DIM}({}){DIM:#}\n", changes(outcome))
        }
    }
}

/// The bytes that a real run would push, if this was a rehearsal of one, in the order of writing:
/// config and manifest of each copy, and the index.
pub(super) fn rehearsed(finished: &Finished<'_>) -> Option<String> {
    let outcome = finished.result.as_ref().ok()?;
    let index = outcome.index.as_ref().filter(|_| finished.dry_run)?;
    let copies = outcome.plan.copies().iter().flat_map(|copy| [&copy.config, &copy.manifest]);
    Some(copies.chain([index.bytes()]).map(|bytes| format!("{}\n", String::from_utf8_lossy(bytes))).collect())
}

fn changes(outcome: &Outcome) -> String {
    let count = outcome.index.as_ref().map_or(0, |index| index.children().len());
    let changes = &outcome.plan.changes;
    let mut parts = vec![format!("{count} platform{}", if count == 1 { "" } else { "s" })];
    for (word, platforms) in [("added", &changes.added), ("updated", &changes.updated), ("removed", &changes.removed)] {
        // All of a new index is added; saying so tells nothing.
        if !platforms.is_empty() && (word != "added" || platforms.len() < count) {
            let names: Vec<String> = platforms.iter().map(|platform| clean(&platform.to_string(), 60)).collect();
            parts.push(format!("{word} {}", names.join(", ")));
        }
    }
    parts.join("; ")
}

#[derive(Serialize)]
struct Document<'a> {
    repository: String,
    tag: &'a str,
    decision: Option<&'static str>,
    digest: Option<&'a Digest>,
    media_type: Option<&'static str>,
    tags: Vec<&'a str>,
    previous: Option<&'a Digest>,
    images: Vec<ImageLine<'a>>,
    reasons: Vec<ReasonLine<'a>>,
    changes: ChangeLine,
    dry_run: bool,
    requests: u64,
    /// Copies of images with a repaired label, which are written before the index.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    copies: Vec<CopyLine<'a>>,
    /// The exact bytes that a real run would push, as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<String>,
}

#[derive(Serialize)]
struct CopyLine<'a> {
    digest: &'a Digest,
    /// The image that it is a copy of.
    of: &'a Digest,
    /// The exact bytes that a real run would push, as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    manifest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<String>,
}

/// An image and what was made of it, as programs see it.
#[derive(Serialize)]
pub(super) struct ImageLine<'a> {
    pub(super) tag: Option<&'a str>,
    pub(super) arch: Option<&'a str>,
    pub(super) digest: Option<&'a Digest>,
    pub(super) platform: Option<String>,
    pub(super) verdict: &'static str,
    /// The copy with a repaired label that takes its place in the index.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rewritten: Option<&'a Digest>,
    /// What it cost to look into its files; absent where they were not asked.
    #[serde(flatten)]
    pub(super) effort: Option<Effort>,
}

/// A reason, as programs see it.
#[derive(Serialize)]
pub(super) struct ReasonLine<'a> {
    pub(super) code: &'static str,
    pub(super) tag: Option<&'a str>,
    pub(super) message: String,
    /// `hold` or `note`.
    pub(super) weight: &'static str,
    pub(super) remedy: Option<&'a str>,
}

#[derive(Default, Serialize)]
struct ChangeLine {
    added: Vec<String>,
    removed: Vec<String>,
    updated: Vec<String>,
}

/// One JSON object on one line.
pub(super) fn json(finished: &Finished<'_>) -> String {
    let Finished { job, result, requests, dry_run } = *finished;
    let mut document = Document {
        repository: job.repository.to_string(),
        tag: job.tag.as_str(),
        decision: None,
        digest: None,
        media_type: None,
        tags: job.tags().map(|tag| tag.as_str()).collect(),
        previous: None,
        images: Vec::new(),
        reasons: Vec::new(),
        changes: ChangeLine::default(),
        dry_run,
        requests,
        copies: Vec::new(),
        index: None,
    };
    match result {
        Ok(outcome) => fill(&mut document, outcome),
        Err(error) => {
            document.decision = error.left_the_tag_alone().then_some("held");
            document.reasons = vec![ReasonLine {
                code: error.code(),
                tag: None,
                message: with_causes(error),
                weight: "hold",
                remedy: error.hint(),
            }];
        }
    }
    json_line(&document)
}

/// A document of strings and numbers as one line.
pub(super) fn json_line(document: &impl Serialize) -> String {
    serde_json::to_string(document).expect("strings and numbers always serialize") + "\n"
}

fn fill<'a>(document: &mut Document<'a>, outcome: &'a Outcome) {
    let platforms = |platforms: &[Platform]| platforms.iter().map(|p| clean(&p.to_string(), 60)).collect();
    document.decision = Some(match outcome.action {
        Action::Pushed => "pushed",
        Action::Unchanged => "unchanged",
        Action::Held => "held",
    });
    document.digest = outcome.index.as_ref().map(|index| index.digest());
    document.media_type = outcome.index.as_ref().map(|index| index.kind().media_type());
    document.previous = outcome.previous.as_ref();
    document.images = outcome.plan.images.iter().map(image_line).collect();
    document.reasons = outcome.plan.reasons.iter().map(reason_line).collect();
    document.changes = ChangeLine {
        added: platforms(&outcome.plan.changes.added),
        removed: platforms(&outcome.plan.changes.removed),
        updated: platforms(&outcome.plan.changes.updated),
    };
    let rehearsed = |bytes: &[u8]| document.dry_run.then(|| String::from_utf8_lossy(bytes).into_owned());
    let copy = |copy: &'a Rewritten| CopyLine {
        digest: &copy.descriptor.digest,
        of: &copy.of,
        manifest: rehearsed(&copy.manifest),
        config: rehearsed(&copy.config),
    };
    document.copies = outcome.plan.copies().iter().map(copy).collect();
    document.index = outcome.index.as_ref().and_then(|index| rehearsed(index.bytes()));
}

fn image_line(image: &Weighed) -> ImageLine<'_> {
    ImageLine {
        tag: Some(image.tag.as_str()),
        arch: Some(&image.arch),
        digest: image.digest.as_ref(),
        platform: image.platform.as_ref().map(|platform| clean(&platform.to_string(), 60)),
        verdict: image.verdict.as_str(),
        rewritten: image.rewritten.as_ref(),
        effort: image.effort,
    }
}

/// A reason as programs see it.
pub(super) fn reason_line(reason: &Reason) -> ReasonLine<'_> {
    ReasonLine {
        code: reason.code.as_str(),
        tag: reason.tag.as_ref().map(|tag| tag.as_str()),
        message: clean(&reason.message, 600),
        weight: if reason.forbids() { "hold" } else { "note" },
        remedy: reason.remedy.as_deref(),
    }
}
