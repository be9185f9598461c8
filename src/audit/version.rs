//! One plain tag: what was seen, decided and looked for, put together into how it stands.

use super::rows::rows;
use super::{Subject, problems};
use crate::model::image::{Child, Content};
use crate::model::text::clean;
use crate::model::version::{Problem, Version, VersionState};
use crate::model::{
    ArchChoice, Descriptor, Fate, ImageRow, ImageState, Index, Job, Meaning, Platform, Published, Seen, Served,
    ServedChild, Words,
};
use crate::plan::{Code, Plan, Policy, plan};
use crate::publish::{Action, Outcome};
use crate::registry::{RegistryError, read_published, read_served};

/// What every plain tag of a repository is measured by.
#[derive(Clone, Copy, Debug)]
pub struct Ground<'a> {
    /// The repository's own words, for platforms that no tag stands for.
    pub words: &'a Words,
    /// What is required.
    pub policy: &'a Policy,
    /// The architectures that were looked for, where not all were; nothing is said of others.
    pub only: Option<&'a [ArchChoice]>,
}

/// How a plain tag stands, given what was seen, what would be done about it, and what became of
/// the images that its index names.
pub fn version(
    ground: &Ground<'_>,
    subject: &Subject,
    job: &Job,
    seen: &Seen,
    plan: &Plan,
    served: Option<&Served>,
) -> Version {
    let published = seen.published.get(&job.tag);
    let roughly = published.filter(|_| served.is_none()).and_then(roughly);
    let served = served.or(roughly.as_ref());
    let mut rows = rows(ground, job, seen, plan, served);
    rows.extend(subject.strangers.iter().map(problems::stranger));

    let is_foreign = plan.reasons.iter().any(|r| r.code == Code::ForeignTag && r.tag.as_ref() == Some(&job.tag));
    let worst = rows.iter().map(|row| row.row.state).max();
    let state = match worst {
        _ if is_foreign => VersionState::FOREIGN,
        Some(worst) => VersionState::Images(worst),
        // Somebody expects it to exist.
        None if published.is_none() && subject.is_named => VersionState::Images(ImageState::Missing),
        None => VersionState::Images(ImageState::Unpublished),
    };
    let problems = problems::of(job, published, plan, served, &rows);
    Version {
        tag: job.tag.to_string(),
        state,
        digest: published.map(|published| published.digest.to_string()),
        images: rows.into_iter().map(|row| row.row).collect(),
        problems,
    }
}

/// How a plain tag stands after a run that looked and perhaps wrote.
pub(super) fn after(ground: &Ground<'_>, job: &Job, outcome: &Outcome) -> Version {
    let subject = super::named(job.tag.clone());
    let Some(index) = outcome.index.as_ref().filter(|_| outcome.action != Action::Held) else {
        return version(ground, &subject, job, &outcome.seen, &outcome.plan, None);
    };
    let mut seen = outcome.seen.clone();
    let content = read_published(Some(index.kind().media_type()), index.bytes());
    seen.published.insert(job.tag.clone(), Published { digest: index.digest().clone(), content });
    let plan = plan(job, &seen, ground.policy);
    version(ground, &subject, job, &seen, &plan, served(index).as_ref())
}

fn served(index: &Index) -> Option<Served> {
    let children = read_served(Some(index.kind().media_type()), index.bytes())?;
    Some(Served { digest: index.digest().clone(), children })
}

/// The index as far as a decision knows it.
fn roughly(published: &Published) -> Option<Served> {
    let Content::Index(children) = &published.content else {
        return None;
    };
    let child = |child: &Child| {
        let media_type = if child.is_image { crate::model::index::OCI_MANIFEST } else { "" };
        let platform = child.platform.clone();
        let stated = platform.as_ref().map(|platform| crate::model::Stated {
            os: platform.os().to_owned(),
            architecture: platform.architecture().to_owned(),
            variant: platform.variant().unwrap_or_default().to_owned(),
            os_version: platform.os_version().unwrap_or_default().to_owned(),
        });
        let descriptor = Descriptor { platform, ..Descriptor::new(media_type.to_owned(), child.digest.clone(), 0) };
        ServedChild { descriptor, stated, fate: Fate::Unknown, attests: None }
    };
    Some(Served { digest: published.digest.clone(), children: children.iter().map(child).collect() })
}

/// A plain tag that could not be looked at: it is not known how it stands.
pub fn unread(subject: &Subject, error: &RegistryError, ground: &Ground<'_>) -> Version {
    let mut arch_tags: Vec<_> = subject.arch_tags.iter().collect();
    let platform = |meaning: &Meaning| match meaning {
        Meaning::Promise(promise) => Some(promise.platform.clone()),
        Meaning::Ambiguous => None,
    };
    let is_meant = |p: &Option<Platform>| {
        ground.only.is_none_or(|only| only.iter().any(|c| Some(&c.promise.platform) == p.as_ref()))
    };
    arch_tags.retain(|tag| is_meant(&platform(&tag.meaning)));
    arch_tags.sort_by_key(|tag| (platform(&tag.meaning), tag.tag.clone()));
    let row = |tag: &crate::model::ArchTag| ImageRow {
        arch: Some(tag.word.clone()),
        tag: Some(tag.tag.to_string()),
        platform: platform(&tag.meaning).map(|platform| platform.to_string()),
        state: ImageState::Unreadable,
        digest: None,
        published: None,
        detail: None,
    };
    let problem = Problem {
        code: error.code().to_owned(),
        tag: None,
        message: clean(&whole(error), 600),
        remedy: error.hint().map(str::to_owned),
    };
    Version {
        tag: subject.tag.to_string(),
        state: VersionState::Images(ImageState::Unreadable),
        digest: None,
        images: arch_tags.into_iter().map(row).collect(),
        problems: vec![problem],
    }
}

/// An error with its causes.
fn whole(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", whole(cause)),
        None => error.to_string(),
    }
}
