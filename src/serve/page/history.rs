//! A tag's history: what was done, who asked, why, and what changed between two publications.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::words;
use crate::model::text::about;
use crate::model::{Repository, Tag};
use crate::serve::admin::{Reason, SeenImage};
use crate::store::{Act, Recorded};

/// How many entries stand on one page.
pub(super) const ENTRIES: u32 = 20;

/// What one publication has that another has not, by architecture tag.
#[derive(Debug, Default, PartialEq, Eq)]
struct Changes {
    added: Vec<(String, String)>,
    removed: Vec<(String, String)>,
    updated: Vec<(String, String, String)>,
}

/// The newest entries; of one more than are shown, only what the last one changed is seen.
pub(super) fn section(repository: &Repository, tag: &Tag, entries: &[Recorded], is_later: bool) -> Markup {
    let shown = &entries[..entries.len().min(ENTRIES as usize)];
    let older = entries.get(ENTRIES as usize).and_then(|_| shown.last()).map(|last| last.id.to_string());
    html! {
        section aria-labelledby="history" {
            h2 id="history" { "History" }
            @if entries.is_empty() { p class="quiet" { "Nothing was done here yet." } }
            ol class="history" {
                @for (place, entry) in shown.iter().enumerate() { (item(entry, before(&entries[place + 1..]))) }
            }
            nav class="pages" aria-label="Pages of the history" {
                @if is_later { a id="newest" href=(words::tag_link(repository, tag)) { "Newest" } }
                @if let Some(older) = &older {
                    a id="older" rel="next" href=(words::address("/tag", &[
                        ("repository", &repository.to_string()), ("tag", tag.as_str()), ("before", older),
                    ])) { "Older" }
                }
            }
        }
    }
}

/// The newest publication among older entries.
fn before(older: &[Recorded]) -> Option<&Recorded> {
    older.iter().find(|entry| is_publication(entry))
}

fn is_publication(entry: &Recorded) -> bool {
    matches!(entry.act, Act::Pushed | Act::Unchanged | Act::RolledBack) && entry.new_digest.is_some()
}

fn item(entry: &Recorded, before: Option<&Recorded>) -> Markup {
    let (what, tone) = words::act(entry.act);
    let changes = before.filter(|_| is_publication(entry)).map(|before| Changes::between(before, entry));
    let reasons: Vec<Reason> = serde_json::from_value(entry.reasons.clone()).unwrap_or_default();
    html! {
        li id={ "h-" (entry.id) } {
            p class="deed" {
                span class={ "badge " (tone) } { (what) }
                @if let Some(digest) = &entry.new_digest {
                    " " (words::short_digest(digest.as_str()))
                    @if let Some(old) = entry.old_digest.as_ref().filter(|old| *old != digest) {
                        span class="quiet" { " was " } (words::short_digest(old.as_str()))
                    }
                }
            }
            p class="quiet" {
                (words::moment(entry.recorded_at_ms)) ", asked for by " (words::text(&words::asked_by(&entry.trigger)))
                ", " (words::count(entry.requests, "request"))
            }
            @if !reasons.is_empty() {
                ul class="problems" {
                    @for reason in &reasons { li { code { (words::text(&reason.code)) } " " (words::text(&about(reason.tag.as_deref(), &reason.message))) } }
                }
            }
            @match changes {
                Some(changes) => (changes.shown()),
                None => @if is_publication(entry) { (first(entry)) },
            }
        }
    }
}

/// The images of the first publication that is known.
fn first(entry: &Recorded) -> Markup {
    html! {
        ul class="changes" {
            @for (tag, digest) in images(entry) {
                li { span class="mark good" aria-hidden="true" { "+" } " " (words::text(&tag)) " " (words::short_digest(&digest)) }
            }
        }
    }
}

/// What each architecture tag stood for.
fn images(entry: &Recorded) -> BTreeMap<String, String> {
    let seen: BTreeMap<String, SeenImage> = serde_json::from_value(entry.inputs.clone()).unwrap_or_default();
    seen.into_iter().filter_map(|(tag, image)| Some((tag, image.digest?))).collect()
}

impl Changes {
    fn between(before: &Recorded, after: &Recorded) -> Changes {
        Changes::of(&images(before), &images(after))
    }

    fn of(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Changes {
        let mut changes = Changes::default();
        for (tag, digest) in after {
            match before.get(tag) {
                None => changes.added.push((tag.clone(), digest.clone())),
                Some(old) if old != digest => changes.updated.push((tag.clone(), old.clone(), digest.clone())),
                Some(_) => {}
            }
        }
        let removed = before.iter().filter(|(tag, _)| !after.contains_key(*tag));
        changes.removed = removed.map(|(tag, digest)| (tag.clone(), digest.clone())).collect();
        changes
    }

    fn shown(&self) -> Markup {
        html! {
            @if *self == Changes::default() {
                p class="quiet" { "The images are those of the publication before." }
            } @else {
                ul class="changes" {
                    @for (tag, digest) in &self.added {
                        li { span class="mark good" aria-hidden="true" { "+" } " added " (words::text(tag)) " " (words::short_digest(digest)) }
                    }
                    @for (tag, old, new) in &self.updated {
                        li { span class="mark calm" aria-hidden="true" { "↻" } " updated " (words::text(tag)) " "
                            (words::short_digest(old)) " → " (words::short_digest(new)) }
                    }
                    @for (tag, digest) in &self.removed {
                        li { span class="mark bad" aria-hidden="true" { "−" } " removed " (words::text(tag)) " " (words::short_digest(digest)) }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_is_added_updated_or_removed() {
        let images = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(tag, digest)| ((*tag).to_owned(), (*digest).to_owned())).collect()
        };
        let before = images(&[("amd64-1", "a"), ("arm64-1", "b"), ("s390x-1", "c")]);
        let after = images(&[("amd64-1", "a"), ("arm64-1", "B"), ("riscv64-1", "d")]);
        let owned = |text: &str| text.to_owned();
        assert_eq!(
            Changes::of(&before, &after),
            Changes {
                added: vec![(owned("riscv64-1"), owned("d"))],
                removed: vec![(owned("s390x-1"), owned("c"))],
                updated: vec![(owned("arm64-1"), owned("b"), owned("B"))],
            }
        );
        assert_eq!(Changes::of(&after, &after), Changes::default());
    }
}
