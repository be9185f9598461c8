//! Does each image keep its tag's promise, and is anything missing, doubled or not as expected?

use std::collections::{BTreeMap, BTreeSet};

use super::prove::{PUSH_RIGHT, Proved, prove};
use super::rewrite::Rewritten;
use super::{Code, Policy, Reason};
use crate::model::image::Effort;
use crate::model::index::DOCKER_MANIFEST;
use crate::model::text::clean;
use crate::model::{ArchChoice, Digest, Entry, Found, Image, Job, Meaning, Observation, Platform, Promise, Tag};

/// What to do about an architecture that is not there.
const PUSH_MISSING: &str = "push what is missing, or wait for it with `--wait`";

/// One architecture tag, and what was made of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Weighed {
    /// The tag, `armhf-xenial`.
    pub tag: Tag,
    /// Its architecture word, `armhf`.
    pub arch: String,
    /// What the tag stood for; none where it is missing.
    pub digest: Option<Digest>,
    /// The image's own digest, where the tag led to one.
    pub image: Option<Digest>,
    /// What the index says it runs on, or would have, had the image been fit.
    pub platform: Option<Platform>,
    /// What was made of it.
    pub verdict: Verdict,
    /// Whether an index may hold it, whatever the verdict is.
    pub is_accepted: bool,
    /// The copy with a repaired label that takes its place in the index.
    pub rewritten: Option<Digest>,
    /// What it cost to look into its files; none where they were not asked.
    pub effort: Option<Effort>,
}

impl Weighed {
    /// Whether its tag, its image or the copy of that has this digest.
    pub fn is(&self, digest: &Digest) -> bool {
        [&self.digest, &self.image, &self.rewritten].into_iter().any(|own| own.as_ref() == Some(digest))
    }
}

/// What was made of one architecture tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The image is what its tag says.
    Verified,
    /// The image's config or its files contradict its tag.
    Mismatch,
    /// There is no such tag.
    Missing,
    /// What the tag holds cannot be read as an image.
    Unreadable,
    /// Nothing could be said about it.
    Unverifiable,
}

impl Verdict {
    /// The verdict as scripts see it.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Verified => "verified",
            Verdict::Mismatch => "mismatch",
            Verdict::Missing => "missing",
            Verdict::Unreadable => "unreadable",
            Verdict::Unverifiable => "unverifiable",
        }
    }
}

/// What came of weighing all of them.
pub(super) struct Weighing {
    pub(super) images: Vec<Weighed>,
    /// What the index is made of.
    pub(super) entries: Vec<Entry>,
    /// The copies among them, which must be written first.
    pub(super) rewritten: Vec<Rewritten>,
    pub(super) reasons: Vec<Reason>,
    /// Platforms that the index lacks for a reason that holds already.
    pub(super) lacking: Vec<Platform>,
}

/// An image that goes into the index, as its tag promises it or its config says.
struct Accepted<'a> {
    observation: &'a Observation,
    promise: &'a Promise,
    image: &'a Image,
    platform: Platform,
    rewritten: Option<Rewritten>,
}

impl Accepted<'_> {
    /// What its tag came to promise: a word that leaves the variant open takes its image's.
    fn promised(&self) -> &Platform {
        if self.promise.names_variant { &self.promise.platform } else { &self.platform }
    }

    /// Whether it is the architecture that somebody asked for.
    fn answers(&self, choice: &ArchChoice) -> bool {
        *self.promise == choice.promise || *self.promised() == choice.promise.platform
    }
}

/// Weighs every architecture tag by itself, then all of them together.
pub(super) fn weigh(job: &Job, observed: &[Observation], policy: &Policy) -> Weighing {
    let mut observed: Vec<&Observation> = observed.iter().collect();
    observed.sort_by_key(|o| (promised(o).map(|promise| promise.platform.clone()), o.arch_tag.tag.clone()));

    let mut reasons = Vec::new();
    let mut accepted: Vec<Accepted<'_>> = Vec::new();
    let mut lacking = Vec::new();
    let mut images = Vec::new();
    for observation in &observed {
        let known = (accepted.len(), reasons.len());
        images.push(weigh_one(observation, policy, &mut accepted, &mut reasons));
        let is_held = accepted.len() == known.0 && reasons[known.1..].iter().any(Reason::forbids);
        lacking.extend(promised(observation).filter(|_| is_held).map(|promise| promise.platform.clone()));
    }
    // A tag that was only looked for is not missed where another word's tag has its platform.
    let is_answered = |o: &Observation| {
        let choice = promised(o).map(|p| ArchChoice { word: o.arch_tag.word.clone(), promise: p.clone() });
        o.found == Found::Missing && choice.is_some_and(|choice| accepted.iter().any(|a| a.answers(&choice)))
    };
    let answered: BTreeSet<&Tag> =
        observed.iter().filter(|o| is_answered(o)).map(|observation| &observation.arch_tag.tag).collect();
    observed.retain(|observation| !answered.contains(&observation.arch_tag.tag));
    images.retain(|image| !answered.contains(&image.tag));

    doubled(&accepted, &mut reasons);
    required(job, &observed, &accepted, policy, &mut lacking, &mut reasons);
    expected(&accepted, policy, &mut reasons);
    labels(&accepted, policy, &mut reasons);
    if accepted.is_empty() && !reasons.iter().any(Reason::forbids) {
        reasons.push(nothing_found(job, &images));
    }
    let rewritten = accepted.iter().filter_map(|one| one.rewritten.clone()).collect();
    Weighing { images, entries: entries(accepted, policy), rewritten, reasons, lacking }
}

fn nothing_found(job: &Job, images: &[Weighed]) -> Reason {
    if images.iter().any(|image| image.image.is_some()) {
        let message = format!("every image for `{}` was left out, so there is nothing to publish", job.tag);
        return Reason::hold(Code::NothingFound, None, message).remedy(PUSH_RIGHT);
    }
    let message = format!("{} has no image of any architecture for `{}`", job.repository, job.tag);
    Reason::hold(Code::NothingFound, None, message).remedy(
        "push an image under a tag that names its architecture, or say by `--pattern` and `--names` how tags are made",
    )
}

fn promised(observation: &Observation) -> Option<&Promise> {
    match &observation.arch_tag.meaning {
        Meaning::Promise(promise) => Some(promise),
        Meaning::Ambiguous => None,
    }
}

fn weigh_one<'a>(
    observation: &'a Observation,
    policy: &Policy,
    accepted: &mut Vec<Accepted<'a>>,
    reasons: &mut Vec<Reason>,
) -> Weighed {
    let arch_tag = &observation.arch_tag;
    let weighed = |image: Option<&Image>, platform: Option<Platform>, verdict| Weighed {
        tag: arch_tag.tag.clone(),
        arch: arch_tag.word.clone(),
        digest: observation.digest.clone(),
        image: image.map(|image| image.manifest.digest.clone()),
        platform,
        verdict,
        is_accepted: false,
        rewritten: None,
        effort: image.and_then(Image::effort),
    };
    let Some(promise) = promised(observation) else {
        reasons.push(Reason::ambiguous_word(&arch_tag.tag, &arch_tag.word));
        return weighed(None, None, Verdict::Unverifiable);
    };
    match &observation.found {
        Found::Missing => weighed(None, Some(promise.platform.clone()), Verdict::Missing),
        Found::Unfit(unfit) => {
            reasons.push(Reason::unfit(Some(&arch_tag.tag), unfit));
            weighed(None, Some(promise.platform.clone()), Verdict::Unreadable)
        }
        Found::Image(image) => {
            let Proved { verdict, is_accepted, platform, rewritten, reasons: found } =
                prove(promise, "the tag", image, policy);
            reasons.extend(found.into_iter().map(|reason| Reason { tag: Some(arch_tag.tag.clone()), ..reason }));
            let mut weighed = weighed(Some(image), platform.clone(), verdict);
            weighed.is_accepted = is_accepted;
            weighed.rewritten = rewritten.as_ref().map(|copy| copy.descriptor.digest.clone());
            if let Some(platform) = platform.filter(|_| is_accepted) {
                accepted.push(Accepted { observation, promise, image, platform, rewritten });
            }
            weighed
        }
    }
}

/// Two images where clients expect one, and one image where they expect two.
fn doubled(accepted: &[Accepted<'_>], reasons: &mut Vec<Reason>) {
    for (i, one) in accepted.iter().enumerate() {
        for other in &accepted[i + 1..] {
            let same_image = one.image.manifest.digest == other.image.manifest.digest;
            let (tag, other_tag) = (&one.observation.arch_tag.tag, &other.observation.arch_tag.tag);
            if same_image && one.promised() != other.promised() {
                let message = format!(
                    "`{tag}` and `{other_tag}` are one image ({}), though they promise {} and {}",
                    one.image.manifest.digest.short(),
                    one.promised(),
                    other.promised()
                );
                reasons.push(
                    Reason::hold(Code::SameDigestTwoArches, Some(other_tag), message)
                        .remedy("one of the two tags holds the other's image: push the right one there"),
                );
            } else if !same_image && one.platform.slot() == other.platform.slot() {
                let message = format!(
                    "`{tag}` ({}) and `{other_tag}` ({}) are different images for {}",
                    one.image.manifest.digest.short(),
                    other.image.manifest.digest.short(),
                    one.platform
                );
                reasons.push(
                    Reason::hold(Code::DuplicatePlatform, Some(other_tag), message)
                        .remedy("delete the tag that is out of date, or choose one by `--arch`"),
                );
            }
        }
    }
}

fn required(
    job: &Job,
    observed: &[&Observation],
    accepted: &[Accepted<'_>],
    policy: &Policy,
    lacking: &mut Vec<Platform>,
    reasons: &mut Vec<Reason>,
) {
    let is = |observation: &Observation, choice: &ArchChoice| {
        promised(observation).is_some_and(|promise| promise.platform == choice.promise.platform)
    };
    let mut wanted: Vec<&ArchChoice> = policy.required.iter().chain(policy.expected.iter().map(|(c, _)| c)).collect();
    wanted.sort_by(|a, b| (&a.promise.platform, &a.word).cmp(&(&b.promise.platform, &b.word)));
    wanted.dedup_by(|a, b| a.promise.platform == b.promise.platform);

    for choice in &wanted {
        if accepted.iter().any(|accepted| accepted.answers(choice)) {
            continue;
        }
        let is_accepted = |o: &Observation| accepted.iter().any(|a| a.observation.arch_tag.tag == o.arch_tag.tag);
        let unfit = observed.iter().find(|o| is(o, choice) && o.found != Found::Missing && !is_accepted(o));
        let absent = observed.iter().find(|o| is(o, choice) && o.found == Found::Missing);
        let is_held = |o: &Observation| reasons.iter().any(|r| r.forbids() && r.tag.as_ref() == Some(&o.arch_tag.tag));
        let (tag, message, remedy) = match (unfit, absent) {
            (Some(o), _) if !is_held(o) => {
                let tag = Some(&o.arch_tag.tag);
                (tag, format!("{choice} is required, but this image was left out"), PUSH_RIGHT)
            }
            (Some(_), _) => continue, // what is wrong with it holds already
            (None, Some(o)) => {
                let message = format!("{choice} is required, but there is no such tag");
                (Some(&o.arch_tag.tag), message, PUSH_MISSING)
            }
            (None, None) => {
                (None, format!("{choice} is required, but `{}` has no image for it", job.tag), PUSH_MISSING)
            }
        };
        lacking.push(choice.promise.platform.clone());
        reasons.push(Reason::hold(Code::ArchMissing, tag, message).remedy(remedy));
    }
    for observation in observed.iter().filter(|o| o.found == Found::Missing) {
        if !wanted.iter().any(|choice| is(observation, choice)) {
            let message = "there is no such tag; the index goes without it".to_owned();
            reasons.push(Reason::note(Code::ArchMissing, Some(&observation.arch_tag.tag), message));
        }
    }
}

fn expected(accepted: &[Accepted<'_>], policy: &Policy, reasons: &mut Vec<Reason>) {
    for (choice, digest) in &policy.expected {
        for one in accepted.iter().filter(|one| one.answers(choice)) {
            let found = one.observation.digest.as_ref();
            if found != Some(digest) && one.image.manifest.digest != *digest {
                let message =
                    format!("it is {}, but {digest} was expected", found.unwrap_or(&one.image.manifest.digest));
                reasons.push(
                    Reason::hold(Code::DigestNotExpected, Some(&one.observation.arch_tag.tag), message)
                        .remedy("somebody pushed another image under this tag since: push the expected one again, or expect the new one"),
                );
            }
        }
    }
}

fn labels(accepted: &[Accepted<'_>], policy: &Policy, reasons: &mut Vec<Reason>) {
    for label in &policy.same_labels {
        let mut tags_by_value: BTreeMap<Option<&String>, Vec<&str>> = BTreeMap::new();
        for one in accepted {
            let value = one.image.claim.labels.get(label);
            tags_by_value.entry(value).or_default().push(one.observation.arch_tag.tag.as_str());
        }
        if accepted.is_empty() || (tags_by_value.len() == 1 && !tags_by_value.contains_key(&None)) {
            continue;
        }
        let values: Vec<String> = tags_by_value
            .iter()
            .map(|(value, tags)| {
                let value = value.map_or("not set".to_owned(), |value| format!("`{}`", clean(value, 60)));
                format!("{value} in {}", tags.join(", "))
            })
            .collect();
        let message = format!("label `{}` should be the same in all images: {}", clean(label, 60), values.join("; "));
        reasons.push(
            Reason::hold(Code::LabelDiffers, None, message)
                .remedy("wait until every architecture is built from the same source"),
        );
    }
}

/// The entries of the index: one for each image, its attestations with it.
fn entries(accepted: Vec<Accepted<'_>>, policy: &Policy) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for one in accepted {
        let attestations = if policy.drop_attestations { Vec::new() } else { one.image.attestations.clone() };
        let mut image = one.rewritten.map_or_else(|| one.image.manifest.clone(), |copy| copy.descriptor);
        match entries.iter_mut().find(|entry| entry.image.digest == image.digest) {
            Some(same_image) => same_image.attestations.extend(attestations),
            None => {
                image.platform = Some(one.platform);
                entries.push(Entry { image, attestations });
            }
        }
    }
    entries
}

/// Whether a Docker manifest list can hold this entry as it is.
pub(super) fn fits_docker_list(entry: &Entry) -> bool {
    entry.image.media_type == DOCKER_MANIFEST && entry.image.annotations.is_empty() && entry.attestations.is_empty()
}
