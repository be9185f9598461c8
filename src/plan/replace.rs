//! May what is published now be replaced by what is planned?
//!
//! Without being told: nothing published, an index all of whose platforms stay, and a single image
//! that is one of the sources (the default architecture under the plain tag, as this convention
//! began). An index with a platform that the new one lacks is a removal, unless something that holds
//! already is why it is lacking; anything else is foreign.

use super::weigh::Weighing;
use super::{Code, Policy, Reason};
use crate::model::image::{Child, Content};
use crate::model::text::clean;
use crate::model::{Index, Job, Last, Platform, Published, Seen, Tag};

/// Adds the reasons why `tag` may not be replaced by `index`, if there are any.
pub(super) fn weigh(
    tag: &Tag,
    published: &Published,
    index: &Index,
    weighed: &Weighing,
    policy: &Policy,
    reasons: &mut Vec<Reason>,
) {
    let found = match &published.content {
        Content::Index(children) => match foreign_child(children) {
            None => return weigh_removal(tag, children, index, &weighed.lacking, policy, reasons),
            Some(found) => found,
        },
        Content::Image if weighed.images.iter().any(|image| image.is(&published.digest)) => return,
        Content::Image => "a single image that no architecture tag holds".to_owned(),
        Content::Other(what) => what.clone(),
    };
    let holds = format!("`{tag}` holds {found} ({})", published.digest.short());
    reasons.push(if policy.take_over {
        Reason::note(Code::ForeignTag, Some(tag), format!("{holds}, which is replaced as asked"))
    } else {
        Reason::hold(Code::ForeignTag, Some(tag), format!("{holds}, which would be replaced"))
            .remedy("look at what the tag holds; if it may go, publish with `--take-over`")
    });
}

/// A roll-back stands until the images change: one that a person asked us for, or one by hand, when
/// the tag holds something else now than what we made of the very images that are there.
pub(super) fn rolled_back(job: &Job, seen: &Seen, index: &Index) -> Option<Reason> {
    let published = seen.published.get(&job.tag)?;
    let sources = seen.sources();
    let is_ours = *index.digest() == published.digest;
    let by_hand =
        |last: &Last| last.digest != published.digest && *index.digest() == last.digest && sources == last.sources;
    let was_asked_for = seen.frozen.as_ref().is_some_and(|frozen| *frozen == sources);
    if is_ours || !was_asked_for && !seen.last.as_ref().is_some_and(by_hand) {
        return None;
    }
    let message = format!(
        "`{}` was put back to {}, and its images are still those that {} is made of",
        job.tag,
        published.digest.short(),
        index.digest().short()
    );
    Some(Reason::hold(Code::RolledBack, Some(&job.tag), message).remedy("push a new image, or release the tag"))
}

fn foreign_child(children: &[Child]) -> Option<String> {
    let odd = children.iter().find(|child| !child.is_image || child.platform.is_none())?;
    let what = if odd.is_image { "an entry without a platform" } else { "an entry that is no image" };
    Some(format!("an index with {what}"))
}

fn weigh_removal(
    tag: &Tag,
    children: &[Child],
    index: &Index,
    lacking: &[Platform],
    policy: &Policy,
    reasons: &mut Vec<Reason>,
) {
    let new = index.children().iter().map(|(_, platform)| platform);
    let slots: Vec<String> = new.chain(lacking).map(Platform::slot).collect();
    let stays = |platform: &Platform| slots.contains(&platform.slot());
    let gone: Vec<String> = children
        .iter()
        .filter_map(|child| child.platform.as_ref())
        .filter(|platform| !stays(platform))
        .map(Platform::to_string)
        .collect();
    if gone.is_empty() {
        return;
    }
    let message = format!("`{tag}` serves {} now, and would no longer", clean(&gone.join(", "), 200));
    reasons.push(if policy.allow_removal {
        Reason::note(Code::Removal, Some(tag), format!("{message}; that is allowed"))
    } else {
        Reason::hold(Code::Removal, Some(tag), message)
            .remedy("push the missing architecture again, or publish with `--allow-removal`")
    });
}
