//! Decisions: pure functions from what was seen to what shall be done, with the reasons.
//!
//! A plan cannot fail. An image that cannot be used is a [`Reason`], not an error, and one reason
//! that holds leaves whatever is published as it is.

pub mod alone;
pub mod client;
pub mod group;
pub mod policy;
pub mod prove;
pub mod reason;
mod replace;
pub mod rewrite;
mod weigh;

use std::collections::BTreeMap;

use crate::model::image::{Child, Content};
use crate::model::{Digest, Entry, Index, IndexKind, Job, Platform, Published, Seen, Tag};
pub use alone::{Promiser, prove_alone};
pub use policy::{Doubts, IndexType, OnDoubt, OnMismatch, Policy, Verify};
pub use prove::{Proved, contradicts, prove};
pub use reason::{Code, Reason, Weight};
pub use rewrite::{Rewritten, rewritten};
use weigh::Weighing;
pub use weigh::{Verdict, Weighed};

/// The most entries an index may have; every client and registry in use takes as many.
const MOST_ENTRIES: usize = 64;
/// The most bytes an index may have: far more than it needs, and far less than any registry takes.
const MOST_BYTES: usize = 1024 * 1024;
/// What makes an index smaller.
const FEWER: &str = "choose by `--arch`, or publish with `--attestations drop`";

/// What one plain tag should become, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What to do.
    pub decision: Decision,
    /// Every architecture tag that was looked at, in platform order.
    pub images: Vec<Weighed>,
    /// Why the decision is what it is, and what is worth knowing beside it.
    pub reasons: Vec<Reason>,
    /// How the index differs from what the plain tag serves now; nothing changes where it is held.
    pub changes: Changes,
}

impl Plan {
    /// Copies of images with a repaired label, which are written before the index.
    pub fn copies(&self) -> &[Rewritten] {
        match &self.decision {
            Decision::Push(push) => &push.rewritten,
            Decision::Keep(_) | Decision::Hold => &[],
        }
    }
}

/// What to do about one plain tag.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// Write the index under these tags.
    Push(Push),
    /// Every tag already serves this index.
    Keep(Index),
    /// Write nothing.
    Hold,
}

/// An index to write, and where.
#[derive(Clone, Debug, PartialEq)]
pub struct Push {
    /// Copies of images with a repaired label; they are written first, since the index names them.
    pub rewritten: Vec<Rewritten>,
    /// The index.
    pub index: Index,
    /// The same images as a Docker manifest list, for a registry that refuses OCI indexes.
    pub fallback: Option<Index>,
    /// The tags that do not serve it yet, the plain tag first.
    pub tags: Vec<Tag>,
}

/// How two indexes differ, by platform.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Platforms that the new one has and the old one lacks.
    pub added: Vec<Platform>,
    /// Platforms that the old one has and the new one lacks.
    pub removed: Vec<Platform>,
    /// Platforms that both have, with another image or described in other words.
    pub updated: Vec<Platform>,
}

/// Decides what the job's tags should hold, given what was seen.
///
/// One image that contradicts its tag holds the whole tag: whatever is published stays. An index
/// equal to the published one is kept, so planning twice pushes once.
pub fn plan(job: &Job, seen: &Seen, policy: &Policy) -> Plan {
    let mut weighed = weigh::weigh(job, &seen.observed, policy);
    let mut reasons = std::mem::take(&mut weighed.reasons);

    let indexes = Indexes::of(std::mem::take(&mut weighed.entries), policy, &mut reasons);
    let index = indexes.to_write(seen.published.get(&job.tag));
    for tag in job.tags() {
        if weighed.images.iter().any(|image| image.tag == *tag) {
            let message = format!("`{tag}` is one of the architecture tags that the index is made of");
            reasons.push(Reason::hold(Code::SelfFeeding, Some(tag), message).remedy("publish under another tag"));
        } else if let Some(published) = seen.published.get(tag) {
            replace::weigh(tag, published, index, &weighed, policy, &mut reasons);
        }
    }

    reasons.extend(replace::rolled_back(job, seen, index));

    let Weighing { images, rewritten, .. } = weighed;
    if reasons.iter().any(Reason::forbids) {
        return Plan { decision: Decision::Hold, images, reasons, changes: Changes::default() };
    }
    let changes = changes(seen.published.get(&job.tag), index);
    let differs = |tag: &&Tag| seen.published.get(tag).is_none_or(|published| published.digest != *index.digest());
    let tags: Vec<Tag> = job.tags().filter(differs).cloned().collect();
    let decision = if tags.is_empty() {
        Decision::Keep(index.clone())
    } else {
        Decision::Push(Push { rewritten, index: index.clone(), fallback: indexes.fallback(index), tags })
    };
    Plan { decision, images, reasons, changes }
}

/// The index that is wanted, and the other form that would do as well.
struct Indexes {
    wanted: Index,
    other: Option<Index>,
}

impl Indexes {
    fn of(entries: Vec<Entry>, policy: &Policy, reasons: &mut Vec<Reason>) -> Indexes {
        let count: usize = entries.iter().map(|entry| 1 + entry.attestations.len()).sum();
        if count > MOST_ENTRIES {
            let message = format!("the index would have {count} entries; at most {MOST_ENTRIES} are written");
            reasons.push(Reason::hold(Code::TooLarge, None, message).remedy(FEWER));
        }
        let fits_docker = policy.annotations.is_empty() && entries.iter().all(weigh::fits_docker_list);
        if policy.index_type == IndexType::Docker && !fits_docker {
            let message =
                "a Docker manifest list holds Docker schema 2 images only, and neither attestations nor annotations";
            reasons.push(
                Reason::hold(Code::IndexType, None, message.to_owned()).remedy("publish with `--index-type auto`"),
            );
        }
        let index = |kind| Index::of(kind, entries.clone(), &policy.annotations);
        let indexes = match policy.index_type {
            IndexType::Docker => Indexes { wanted: index(IndexKind::Docker), other: None },
            IndexType::Oci => Indexes { wanted: index(IndexKind::Oci), other: None },
            IndexType::Auto => {
                Indexes { wanted: index(IndexKind::Oci), other: fits_docker.then(|| index(IndexKind::Docker)) }
            }
        };
        let length = indexes.wanted.bytes().len();
        if length > MOST_BYTES {
            let message = format!("the index would have {length} bytes; at most {MOST_BYTES} are written");
            reasons.push(Reason::hold(Code::TooLarge, None, message).remedy(FEWER));
        }
        indexes
    }

    /// The form that is published already if one is, so that a second run writes nothing on a
    /// registry that took only the other form.
    fn to_write(&self, published: Option<&Published>) -> &Index {
        match &self.other {
            Some(other) if published.is_some_and(|published| published.digest == *other.digest()) => other,
            _ => &self.wanted,
        }
    }

    fn fallback(&self, written: &Index) -> Option<Index> {
        self.other.clone().filter(|_| written.kind() == IndexKind::Oci)
    }
}

/// How `index` differs from what is published, by platform.
pub fn changes(published: Option<&Published>, index: &Index) -> Changes {
    let children: &[Child] = match published.map(|published| &published.content) {
        Some(Content::Index(children)) => children,
        _ => &[],
    };
    let stated = children.iter().filter_map(|child| Some((child.platform.as_ref()?, &child.digest)));
    let before: BTreeMap<String, (&Platform, &Digest)> = stated.map(|(p, d)| (p.slot(), (p, d))).collect();
    let after: BTreeMap<String, (&Platform, &Digest)> =
        index.children().iter().map(|(digest, p)| (p.slot(), (p, digest))).collect();

    let mut changes = Changes::default();
    for (slot, now) in &after {
        match before.get(slot) {
            None => changes.added.push(now.0.clone()),
            Some(then) if then != now => changes.updated.push(now.0.clone()),
            Some(_) => {}
        }
    }
    changes
        .removed
        .extend(before.iter().filter(|(slot, _)| !after.contains_key(*slot)).map(|(_, (p, _))| (*p).clone()));
    for platforms in [&mut changes.added, &mut changes.removed, &mut changes.updated] {
        platforms.sort();
    }
    changes
}

#[cfg(test)]
mod tests;
