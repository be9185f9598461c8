//! Architecture tags beside the entries of the index: which belong together, and how each stands.

use super::Ground;
use super::problems::Finding;
use crate::model::image::Content;
use crate::model::{
    Fate, ImageRow, ImageState, Job, Meaning, Platform, Promise, Published, Seen, Served, ServedChild, Tag,
};
use crate::plan::{Code, Plan, Verdict, Weighed};

/// One architecture with what there is to say about it.
pub(super) struct Row {
    pub(super) row: ImageRow,
    /// For the order of rows, and for what depends on the platform.
    pub(super) platform: Option<Platform>,
    /// What is wrong about it, if nothing of the plan's reasons says so.
    pub(super) finding: Finding,
}

/// Every architecture of a plain tag, in the order of platforms.
pub(super) fn rows(ground: &Ground<'_>, job: &Job, seen: &Seen, plan: &Plan, served: Option<&Served>) -> Vec<Row> {
    let published = seen.published.get(&job.tag);
    let entries: Vec<&ServedChild> = served.iter().flat_map(|s| &s.children).filter(|c| c.attests.is_none()).collect();
    let matched = matches(plan, seen, &entries);

    let mut rows: Vec<Row> = Vec::new();
    for (image, entry) in plan.images.iter().zip(&matched) {
        let entry = entry.map(|place| entries[place]);
        let double = match entry {
            Some(entry) if is_crowded(entry, &entries) => Some(Finding::Duplicate),
            _ => is_doubled(plan, image).then_some(Finding::Doubled),
        };
        rows.extend(of_tag(ground, image, seen, entry, published, double));
    }
    for (place, entry) in entries.iter().enumerate() {
        let is_told = matched.contains(&Some(place));
        let repeats =
            entries[..place].iter().any(|e| e.descriptor.digest == entry.descriptor.digest && slot(e) == slot(entry));
        if !is_told && !repeats && is_meant(ground, entry) {
            rows.push(of_entry(ground, entry, is_crowded(entry, &entries)));
        }
    }
    missing(ground, &mut rows);
    attestations(served, &entries, &mut rows);
    rows.sort_by(|a, b| {
        let key =
            |row: &Row| (row.platform.is_none(), row.platform.clone(), row.row.tag.is_none(), row.row.tag.clone());
        key(a).cmp(&key(b))
    });
    rows
}

/// The entry of each image: the one with its digest, or else the one with its platform.
fn matches(plan: &Plan, seen: &Seen, entries: &[&ServedChild]) -> Vec<Option<usize>> {
    let by_digest = |image: &Weighed| {
        let is_it = |entry: &&ServedChild| image.is(&entry.descriptor.digest);
        let same_slot = |entry: &&ServedChild| is_it(entry) && slot(entry) == slot_of(image, seen);
        entries.iter().position(same_slot).or_else(|| entries.iter().position(is_it))
    };
    let mut matched: Vec<Option<usize>> = plan.images.iter().map(by_digest).collect();
    for (number, image) in plan.images.iter().enumerate() {
        if matched[number].is_none() {
            let taken = matched.clone();
            let mut free = entries.iter().enumerate().filter(|(place, _)| !taken.contains(&Some(*place)));
            matched[number] =
                free.find(|(_, e)| slot(e).is_some() && slot(e) == slot_of(image, seen)).map(|(place, _)| place);
        }
    }
    matched
}

fn slot(entry: &ServedChild) -> Option<String> {
    entry.descriptor.platform.as_ref().map(Platform::slot)
}

/// What the index would say of an image; for one that does not fit, what its tag promises.
fn slot_of(image: &Weighed, seen: &Seen) -> Option<String> {
    let promised = || promise(&image.tag, seen).map(|promise| &promise.platform);
    let platform = if standing(image) == Verdict::Verified { image.platform.as_ref() } else { promised() };
    platform.or_else(promised).map(Platform::slot)
}

fn promise<'a>(tag: &Tag, seen: &'a Seen) -> Option<&'a Promise> {
    match &seen.observed.iter().find(|o| o.arch_tag.tag == *tag)?.arch_tag.meaning {
        Meaning::Promise(promise) => Some(promise),
        Meaning::Ambiguous => None,
    }
}

/// Whether the plan says that an image has a double: another for its platform, or another platform
/// for it.
fn is_doubled(plan: &Plan, image: &Weighed) -> bool {
    let slot = |image: &Weighed| image.platform.as_ref().map(Platform::slot);
    plan.reasons.iter().any(|reason| {
        let other = plan.images.iter().find(|other| Some(&other.tag) == reason.tag.as_ref());
        match (reason.code, other) {
            (Code::DuplicatePlatform, Some(other)) => slot(other) == slot(image),
            (Code::SameDigestTwoArches, Some(other)) => other.image.is_some() && other.image == image.image,
            _ => false,
        }
    })
}

/// Whether another entry is for the same platform.
fn is_crowded(entry: &ServedChild, entries: &[&ServedChild]) -> bool {
    let same = |other: &&&ServedChild| slot(other).is_some() && slot(other) == slot(entry);
    entries.iter().filter(same).count() > 1
}

/// Whether an entry is of an architecture that was looked for.
fn is_meant(ground: &Ground<'_>, entry: &ServedChild) -> bool {
    let is_it = |platform: &Platform| slot(entry) == Some(platform.slot());
    ground.only.is_none_or(|only| only.iter().any(|choice| is_it(&choice.promise.platform)))
}

/// The verdict about an image, as far as it matters to who publishes it: one that is accepted all the
/// same, or whose copy is, stands as if it were right.
fn standing(image: &Weighed) -> Verdict {
    if image.is_accepted { Verdict::Verified } else { image.verdict }
}

/// One architecture tag. None for one that was looked for, is not there, and need not be.
fn of_tag(
    ground: &Ground<'_>,
    image: &Weighed,
    seen: &Seen,
    entry: Option<&ServedChild>,
    published: Option<&Published>,
    double: Option<Finding>,
) -> Option<Row> {
    let is_lost = entry.is_some_and(|entry| entry.fate == Fate::Lost);
    let is_required = ground
        .policy
        .required
        .iter()
        .any(|choice| choice.word == image.arch || promise(&image.tag, seen) == Some(&choice.promise));
    let same_digest = entry.is_some_and(|entry| image.is(&entry.descriptor.digest));
    let holds_it = published.is_some_and(|p| p.content == Content::Image && image.is(&p.digest));
    let finding = match (standing(image), double) {
        (Verdict::Missing, double) if !is_required => {
            return entry.map(|entry| of_entry(ground, entry, double.is_some()));
        }
        _ if is_lost => Finding::Dangling,
        (Verdict::Missing, _) => Finding::Missing,
        (Verdict::Mismatch, _) => Finding::Mismatch,
        (Verdict::Unreadable | Verdict::Unverifiable, _) => Finding::Unreadable,
        (Verdict::Verified, Some(double)) => double,
        (Verdict::Verified, None) => match entry {
            Some(entry) if same_digest => of_same(entry, image),
            Some(_) => Finding::Stale,
            None if holds_it => Finding::Bare,
            None => Finding::Unpublished { is_all: published.is_none() },
        },
    };
    let entry_digest = entry.map(|entry| entry.descriptor.digest.to_string());
    let promised = || promise(&image.tag, seen).map(|promise| promise.platform.clone());
    let platform = image.platform.clone().filter(|_| standing(image) == Verdict::Verified).or_else(promised);
    let row = ImageRow {
        arch: Some(image.arch.clone()),
        tag: Some(image.tag.to_string()).filter(|_| image.verdict != Verdict::Missing),
        platform: platform.as_ref().map(shown),
        state: finding.state(),
        digest: image.image.as_ref().or(image.digest.as_ref()).map(ToString::to_string),
        published: entry_digest.or_else(|| published.filter(|_| holds_it).map(|p| p.digest.to_string())),
        detail: finding.detail(entry),
    };
    Some(Row { row, platform, finding })
}

/// An image that is in the index: does the entry say what it is?
fn of_same(entry: &ServedChild, image: &Weighed) -> Finding {
    if let Fate::Unfit(unfit) = &entry.fate {
        return Finding::Unfit(unfit.clone());
    }
    let Some(stated) = &entry.descriptor.platform else {
        return Finding::NoPlatform;
    };
    match &image.platform {
        Some(platform) if platform.slot() == stated.slot() => Finding::Ok,
        Some(platform) if !is_lower(platform, stated) => Finding::EntryMismatch(shown(platform)),
        platform => Finding::Reworded(platform.as_ref().map(shown).unwrap_or_default()),
    }
}

/// Whether what an image needs is less than what its entry says: then it runs there, too.
fn is_lower(needed: &Platform, stated: &Platform) -> bool {
    let level = |platform: &Platform| platform.variant().map_or(Some(0), |v| v.strip_prefix('v')?.parse::<u32>().ok());
    (needed.os(), needed.architecture()) == (stated.os(), stated.architecture())
        && level(needed).zip(level(stated)).is_some_and(|(needed, stated)| needed <= stated)
}

/// An entry that no architecture tag stands for.
fn of_entry(ground: &Ground<'_>, entry: &ServedChild, is_crowded: bool) -> Row {
    let claimed = entry.claimed().map(|claimed| claimed.platform());
    let platform = entry.descriptor.platform.clone();
    let finding = match (&entry.fate, &platform, &claimed) {
        (Fate::Lost, _, _) => Finding::Dangling,
        _ if !entry.is_image() => Finding::NoImage(entry.descriptor.media_type.clone()),
        (_, None, _) => Finding::NoPlatform,
        (_, Some(stated), Some(claimed)) if !is_lower(claimed, stated) && claimed.slot() != stated.slot() => {
            Finding::EntryMismatch(shown(claimed))
        }
        _ if is_crowded => Finding::Duplicate,
        (Fate::Unfit(unfit), _, _) => Finding::Unfit(unfit.clone()),
        _ => Finding::Orphan,
    };
    let platform = platform.or(claimed);
    let word = platform.as_ref().and_then(|platform| ground.words.choose(&plain(platform)).ok());
    let row = ImageRow {
        arch: word.map(|choice| choice.word),
        tag: None,
        platform: platform.as_ref().map(shown),
        state: finding.state(),
        digest: None,
        published: Some(entry.descriptor.digest.to_string()),
        detail: finding.detail(Some(entry)),
    };
    Row { row, platform, finding }
}

/// `linux/arm/v7`, as a person would ask for it.
fn plain(platform: &Platform) -> String {
    let variant = platform.variant().map(|variant| format!("/{variant}")).unwrap_or_default();
    format!("{}/{}{variant}", platform.os(), platform.architecture())
}

/// A platform as rows have it, whoever stated it.
fn shown(platform: &Platform) -> String {
    crate::model::text::clean(&platform.to_string(), 60)
}

/// What is required and has no row: no tag could be it, or only the index has it.
fn missing(ground: &Ground<'_>, rows: &mut Vec<Row>) {
    for choice in &ground.policy.required {
        let answers = |row: &Row| {
            let same_platform = row.platform.as_ref() == Some(&choice.promise.platform);
            let same_family =
                row.platform.as_ref().is_some_and(|p| p.architecture() == choice.promise.platform.architecture());
            let is_it = same_platform || !choice.promise.names_variant && same_family;
            is_it && (row.row.tag.is_some() || row.row.state == ImageState::Missing)
                || row.row.arch.as_ref() == Some(&choice.word) && row.row.state != ImageState::Orphan
        };
        if rows.iter().any(answers) {
            continue;
        }
        let of_index = rows.iter_mut().find(|row| row.platform.as_ref() == Some(&choice.promise.platform));
        if let Some(row) = of_index.filter(|row| row.row.state == ImageState::Orphan) {
            row.finding = Finding::Missing;
            row.row.state = ImageState::Missing;
            row.row.detail = Finding::Missing.detail(None);
            continue;
        }
        let row = ImageRow {
            arch: Some(choice.word.clone()),
            tag: None,
            platform: Some(shown(&choice.promise.platform)),
            state: ImageState::Missing,
            digest: None,
            published: None,
            detail: Finding::Missing.detail(None),
        };
        rows.push(Row { row, platform: Some(choice.promise.platform.clone()), finding: Finding::Missing });
    }
}

/// Rows for attestations that are lost, or that speak of an image which is.
fn attestations(served: Option<&Served>, entries: &[&ServedChild], rows: &mut Vec<Row>) {
    for child in served.iter().flat_map(|served| &served.children) {
        let Some(subject) = &child.attests else { continue };
        let subject_is_there = entries.iter().any(|e| e.descriptor.digest.as_str() == subject && e.fate != Fate::Lost);
        let finding = match (&child.fate, subject_is_there) {
            (Fate::Lost, _) => Finding::LostAttestation(subject.clone()),
            (_, false) => Finding::IdleAttestation(subject.clone()),
            (_, true) => continue,
        };
        let row = ImageRow {
            arch: None,
            tag: None,
            platform: None,
            state: finding.state(),
            digest: None,
            published: Some(child.descriptor.digest.to_string()),
            detail: finding.detail(Some(child)),
        };
        rows.push(Row { row, platform: None, finding });
    }
}
