//! What is wrong with a plain tag, in sentences, and what can be done about it.

use super::reach;
use super::rows::Row;
use crate::model::text::clean;
use crate::model::version::Problem;
use crate::model::{ImageRow, ImageState, Job, Published, Served, ServedChild, Tag, Unfit};
use crate::plan::{Code, Decision, Plan, Reason};

/// What was found about one architecture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    Ok,
    /// The plain tag is this very image, and no index.
    Bare,
    /// It is not in the index, or there is no index at all.
    Unpublished {
        is_all: bool,
    },
    /// Its tag has a word that nobody knows.
    Stranger,
    /// The index has another image for its platform.
    Stale,
    /// The index has this image, and describes it in other words than would be written now.
    Reworded(String),
    Orphan,
    /// An attestation of an image that is not there.
    IdleAttestation(String),
    Missing,
    /// The index has several entries for its platform.
    Duplicate,
    /// Its tag has a double; the plan says which.
    Doubled,
    /// What the architecture tag holds; the plan says why.
    Unreadable,
    /// What the index names.
    Unfit(Unfit),
    /// The index names something of this media type.
    NoImage(String),
    /// The image contradicts its tag; the plan says how.
    Mismatch,
    /// The config claims this, and the index another platform.
    EntryMismatch(String),
    NoPlatform,
    Dangling,
    LostAttestation(String),
}

impl Finding {
    pub(super) fn state(&self) -> ImageState {
        match self {
            Finding::Ok => ImageState::Ok,
            Finding::Bare | Finding::Unpublished { .. } | Finding::Stranger => ImageState::Unpublished,
            Finding::Stale | Finding::Reworded(_) => ImageState::Stale,
            Finding::Orphan | Finding::IdleAttestation(_) => ImageState::Orphan,
            Finding::Missing => ImageState::Missing,
            Finding::Duplicate | Finding::Doubled => ImageState::Duplicate,
            Finding::Unreadable | Finding::Unfit(_) | Finding::NoImage(_) => ImageState::Unreadable,
            Finding::Mismatch | Finding::EntryMismatch(_) | Finding::NoPlatform => ImageState::Mismatch,
            Finding::Dangling | Finding::LostAttestation(_) => ImageState::Dangling,
        }
    }

    /// What there is to say beside the state, `entry` being what the index has.
    pub(super) fn detail(&self, entry: Option<&ServedChild>) -> Option<String> {
        let stated = || {
            let platform = entry.and_then(|entry| entry.descriptor.platform.as_ref());
            platform.map_or("nothing".to_owned(), |platform| clean(&platform.to_string(), 60))
        };
        let text = match self {
            Finding::Ok | Finding::Unpublished { .. } | Finding::Mismatch | Finding::Unreadable => return None,
            Finding::Bare => "the plain tag holds this image itself, and no index".to_owned(),
            Finding::Stranger => "nobody knows its architecture word".to_owned(),
            Finding::Stale => "the index has an older image".to_owned(),
            Finding::Reworded(platform) => format!("the index calls it {}, and would call it {platform}", stated()),
            Finding::Orphan => "no architecture tag stands for it".to_owned(),
            Finding::IdleAttestation(subject) => format!("an attestation of {}, which is gone", short(subject)),
            Finding::Missing => "it is required, and there is no such tag".to_owned(),
            Finding::Duplicate => "the index has several entries for this platform".to_owned(),
            Finding::Doubled => "another tag has an image for this platform, or has this one".to_owned(),
            Finding::Unfit(unfit) => said_of(unfit),
            Finding::NoImage(media_type) => format!("the entry is no image but `{}`", clean(media_type, 100)),
            Finding::EntryMismatch(claimed) => format!("the index says {}, its config says {claimed}", stated()),
            Finding::NoPlatform => "the index does not say what it runs on".to_owned(),
            Finding::Dangling => "the registry no longer has it".to_owned(),
            Finding::LostAttestation(subject) => {
                format!("an attestation of {}, which the registry no longer has", short(subject))
            }
        };
        Some(text)
    }
}

/// The row of a tag whose word nobody knows.
pub(super) fn stranger(tag: &Tag) -> Row {
    let row = ImageRow {
        arch: None,
        tag: Some(tag.to_string()),
        platform: None,
        state: ImageState::Unpublished,
        digest: None,
        published: None,
        detail: Finding::Stranger.detail(None),
    };
    Row { row, platform: None, finding: Finding::Stranger }
}

/// Everything that is wrong with a plain tag, the worst first.
pub(super) fn of(
    job: &Job,
    published: Option<&Published>,
    plan: &Plan,
    served: Option<&Served>,
    rows: &[Row],
) -> Vec<Problem> {
    let mut problems: Vec<(ImageState, Problem)> = Vec::new();
    for reason in plan.reasons.iter().filter(|reason| is_told(reason, rows, published)) {
        let tag = reason.tag.as_ref().map(|tag| tag.to_string());
        let state = rows.iter().find(|row| row.row.tag == tag && tag.is_some()).map(|row| row.row.state);
        let foreign = ImageState::Dangling;
        problems.push((state.unwrap_or(foreign), from_reason(reason)));
    }
    let is_held = plan.decision == Decision::Hold;
    for row in rows {
        let is_told = plan.reasons.iter().any(|reason| {
            reason.forbids() && reason.tag.is_some() && reason.tag.as_ref().map(|tag| tag.to_string()) == row.row.tag
        });
        let own = (!is_told || row.finding == Finding::Dangling).then(|| about(job, row, is_held)).flatten();
        problems.extend(own.map(|problem| (row.row.state, problem)));
    }
    if published.is_none() && !is_held && !rows.is_empty() {
        let message = format!("nothing is published under `{}` yet", job.tag);
        problems.push((ImageState::Unpublished, problem("unpublished", Some(&job.tag), message, Some(publish(job)))));
    }
    problems.extend(served.map(|served| reach::problems(job, served)).unwrap_or_default());
    problems.sort_by_key(|(state, _)| std::cmp::Reverse(*state));
    problems.into_iter().map(|(_, problem)| problem).collect()
}

/// Whether a reason of the plan is a problem by itself: it holds, and no row says the same.
fn is_told(reason: &Reason, rows: &[Row], published: Option<&Published>) -> bool {
    match reason.code {
        // What is required and what would be removed have rows.
        Code::Removal | Code::ArchMissing => false,
        Code::NothingFound => reason.forbids() && rows.is_empty() && published.is_none(),
        _ => reason.forbids(),
    }
}

fn from_reason(reason: &Reason) -> Problem {
    Problem {
        code: reason.code.as_str().to_owned(),
        tag: reason.tag.as_ref().map(|tag| tag.to_string()),
        message: clean(&reason.message, 600),
        remedy: reason.remedy.clone(),
    }
}

pub(super) fn problem(code: &str, tag: Option<&Tag>, message: String, remedy: Option<String>) -> Problem {
    Problem { code: code.to_owned(), tag: tag.map(ToString::to_string), message: clean(&message, 600), remedy }
}

fn publish(job: &Job) -> String {
    format!("publish it: `onetag publish --tag {}`", job.tag)
}

/// The sentence about one row; none where it is as it should be, or is told otherwise.
fn about(job: &Job, row: &Row, is_held: bool) -> Option<Problem> {
    let ImageRow { tag, digest, published, detail, .. } = &row.row;
    let plain = &job.tag;
    let platform = row.row.platform.as_deref().unwrap_or("an unknown platform");
    let published = published.as_deref().map_or("nothing", short);
    let digest = digest.as_deref().map_or("nothing", short);
    let name = tag.as_deref().unwrap_or(plain.as_str());
    let detail = detail.clone().unwrap_or_default();
    let publish = (!is_held).then(|| publish(job));
    let (code, message, remedy) = match &row.finding {
        Finding::Ok
        | Finding::Doubled
        | Finding::Mismatch
        | Finding::Unreadable
        | Finding::Unpublished { is_all: true } => return None,
        Finding::Unpublished { is_all: false } => {
            ("unpublished", format!("`{name}` ({platform}) is not in the index of `{plain}`"), publish)
        }
        Finding::Bare => {
            ("not-an-index", format!("`{plain}` is no index but the image of `{name}` ({platform}) alone"), publish)
        }
        Finding::Stranger => {
            let message = format!("nobody knows the architecture word of `{name}`, so it takes no part in `{plain}`");
            let remedy = "say what the word means, `--word WORD=PLATFORM`, or delete the tag";
            ("unknown-word", message, Some(remedy.to_owned()))
        }
        Finding::Stale => {
            let message = format!("`{name}` is {digest} now, and `{plain}` still serves {published} for {platform}");
            ("stale", message, publish)
        }
        Finding::Reworded(_) => ("stale", format!("of `{name}`, {detail}"), publish),
        Finding::Orphan => {
            let message = format!(
                "`{plain}` serves {published} for {platform}, and no architecture tag stands for it: clean-ups of untagged images may take it"
            );
            let remedy = "push its architecture tag again, or publish without it by `--allow-removal`";
            ("orphan", message, Some(remedy.to_owned()))
        }
        Finding::IdleAttestation(_) | Finding::LostAttestation(_) => {
            let code =
                if row.finding.state() == ImageState::Dangling { "attestation-lost" } else { "attestation-idle" };
            let remedy = "push the image again with its attestations, then publish";
            (code, format!("`{plain}` names {published}: {detail}"), Some(remedy.to_owned()))
        }
        Finding::Missing => {
            let message = format!("{platform} is required, and no tag of `{plain}` is for it");
            ("arch-missing", message, Some("push what is missing".to_owned()))
        }
        Finding::Duplicate => {
            let message = format!(
                "`{plain}` names several images for {platform}, one of them {published}: clients disagree which they take"
            );
            (
                "duplicate-platform",
                message,
                publish.or_else(|| Some("leave one tag for each platform, then publish".to_owned())),
            )
        }
        Finding::Unfit(_) | Finding::NoImage(_) => {
            let message = format!("`{plain}` names {published} for {platform}: {detail}");
            ("unreadable", message, publish)
        }
        Finding::EntryMismatch(_) => {
            let message = format!("`{plain}` names {published}: {detail}");
            ("entry-mismatch", message, publish.or_else(|| Some("push the right image, then publish".to_owned())))
        }
        Finding::NoPlatform => {
            let remedy = "publish with `--take-over`, so that every entry says what it runs on";
            ("no-platform", format!("`{plain}` names {published}, and {detail}"), Some(remedy.to_owned()))
        }
        Finding::Dangling => {
            let message = format!(
                "`{plain}` names {published} for {platform}, which the registry no longer has: pulling it there fails"
            );
            let remedy = match tag {
                Some(_) => publish,
                None => Some("push the image again and publish; keep clean-ups from what an index names".to_owned()),
            };
            ("dangling", message, remedy)
        }
    };
    Some(Problem {
        code: code.to_owned(),
        tag: tag.clone().or_else(|| Some(plain.to_string())),
        message: clean(&message, 600),
        remedy,
    })
}

fn said_of(unfit: &Unfit) -> String {
    clean(&Reason::unfit(None, unfit).message, 400)
}

/// `sha256:` and twelve digits of a digest's text.
pub(super) fn short(digest: &str) -> &str {
    digest.get(..19).unwrap_or(digest)
}
