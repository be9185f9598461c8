//! How the page says things: states by mark, colour and word; times; digests; addresses.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use form_urlencoded::Serializer;
use maud::{Markup, Render, html};

use crate::model::text::clean;
use crate::model::{Repository, Tag};
use crate::store::{Act, Listed, Trigger, TroubleKind};

const LONGEST_TEXT: usize = 600;

/// One word for how something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State<'t>(pub(super) &'t str);

/// Every state with its mark, its tone and what it means.
pub(super) const STATES: [(&str, &str, &str, &str); 14] = [
    ("ok", "✓", "good", "what is published is what was pushed"),
    ("unpublished", "↑", "calm", "pushed, and not in the index yet"),
    ("stale", "↻", "warn", "the index has an older image"),
    ("orphan", "○", "calm", "in the index, and no tag stands for it"),
    ("missing", "∅", "warn", "required, and there is no tag"),
    ("duplicate", "≡", "warn", "several images for one platform"),
    ("unreadable", "?", "warn", "cannot be read as an image"),
    ("mismatch", "≠", "bad", "contradicts its tag or its index entry"),
    ("dangling", "✕", "bad", "in the index, and the registry no longer has it"),
    ("foreign", "◆", "warn", "holds something that was not made of architecture tags"),
    ("held", "‖", "bad", "kept as it is until an image changes"),
    ("parked", "■", "bad", "given up until something asks again"),
    ("failing", "↯", "warn", "the last run failed; it is tried again"),
    ("new", "…", "calm", "not looked at yet"),
];

impl State<'_> {
    fn known(self) -> (&'static str, &'static str, &'static str) {
        let known = STATES.iter().find(|(word, ..)| *word == self.0);
        known.map_or(("?", "warn", ""), |(_, mark, tone, meaning)| (mark, tone, meaning))
    }

    pub(super) fn mark(self) -> &'static str {
        self.known().0
    }

    pub(super) fn tone(self) -> &'static str {
        self.known().1
    }

    pub(super) fn meaning(self) -> &'static str {
        self.known().2
    }
}

/// The state as a badge: mark and word, in its colour.
impl Render for State<'_> {
    fn render(&self) -> Markup {
        html! {
            span class={ "badge " (self.tone()) } title=(self.meaning()) {
                span class="mark" aria-hidden="true" { (self.mark()) }
                " " (self.0)
            }
        }
    }
}

/// How a listed tag stands, in one word.
pub(super) fn standing(listed: &Listed) -> &str {
    match (&listed.trouble, &listed.hold, &listed.found) {
        (Some(trouble), None, _) if trouble.kind != TroubleKind::Failing => trouble.kind.as_str(),
        (_, Some(_), _) => "held",
        (_, None, Some(found)) if found.version.state.as_str() != "ok" => found.version.state.as_str(),
        (Some(trouble), None, _) => trouble.kind.as_str(),
        (None, None, Some(found)) => found.version.state.as_str(),
        (None, None, None) => "new",
    }
}

/// Text from elsewhere, on one line and not too long; what stands in backticks is code.
pub(super) fn text(text: &str) -> Markup {
    let text = clean(text, LONGEST_TEXT);
    let parts: Vec<&str> = text.split('`').collect();
    let is_paired = parts.len() % 2 == 1;
    html! {
        bdi {
            @if is_paired {
                @for (place, part) in parts.iter().enumerate() {
                    @if !place.is_multiple_of(2) { code { (part) } } @else { (part) }
                }
            } @else {
                (text)
            }
        }
    }
}

/// A name of several parts, which may be broken after each.
pub(super) fn path(name: impl std::fmt::Display) -> Markup {
    let name = name.to_string();
    html! { @for part in name.split_inclusive('/') { (part) wbr; } }
}

/// A digest that can be told from others at a glance; the whole of it on request.
pub(super) fn short_digest(digest: &str) -> Markup {
    let digest = clean(digest, 80);
    let hex = digest.split_once(':').map_or(digest.as_str(), |(_, hex)| hex);
    let short: String = hex.chars().take(7).collect();
    html! { code class="digest" title=(digest) { (short) } }
}

/// A moment: when, and how long ago.
pub(super) fn moment(at_ms: i64) -> Markup {
    let at = UNIX_EPOCH + Duration::from_millis(u64::try_from(at_ms).unwrap_or_default());
    let stamp = humantime::format_rfc3339_seconds(at).to_string();
    let shown = format!("{} {} UTC", &stamp[..10], &stamp[11..16]);
    html! { time datetime=(stamp) title=(stamp) { (shown) } span class="ago" { " · " (ago(at)) } }
}

/// How long ago, in the largest unit that says enough.
fn ago(at: SystemTime) -> String {
    let secs = SystemTime::now().duration_since(at).unwrap_or_default().as_secs();
    let (number, unit) = match secs {
        0..60 => return "just now".to_owned(),
        60..3_600 => (secs / 60, "minute"),
        3_600..86_400 => (secs / 3_600, "hour"),
        _ => (secs / 86_400, "day"),
    };
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {unit}{plural} ago")
}

/// `3 versions`, `1 version`.
pub(super) fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", grouped(number))
}

/// `10 000`, with spaces that do not break.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// What was done, and in which tone it is told.
pub(super) fn act(act: Act) -> (&'static str, &'static str) {
    match act {
        Act::Pushed => ("published", "good"),
        Act::Unchanged => ("found in order", "calm"),
        Act::Held => ("held", "bad"),
        Act::Failed => ("failed", "warn"),
        Act::RolledBack => ("rolled back", "warn"),
    }
}

/// Who asked for it.
pub(super) fn asked_by(trigger: &Trigger) -> String {
    match trigger {
        Trigger::Hook(name) => format!("a delivery to the hook `{}`", clean(name, 80)),
        Trigger::Scan => "a scan".to_owned(),
        Trigger::Request => "a person".to_owned(),
        Trigger::Audit => "an audit".to_owned(),
        Trigger::Other(name) => format!("`{}`", clean(name, 80)),
    }
}

/// The address of a repository's page.
pub(super) fn repository_link(repository: &Repository) -> String {
    address("/repository", &[("repository", &repository.to_string())])
}

/// The address of a tag's page.
pub(super) fn tag_link(repository: &Repository, tag: &Tag) -> String {
    address("/tag", &[("repository", &repository.to_string()), ("tag", tag.as_str())])
}

/// An address with its query, without what is empty in it.
pub(super) fn address(path: &str, query: &[(&str, &str)]) -> String {
    let mut serializer = Serializer::new(format!("{path}?"));
    serializer.extend_pairs(query.iter().filter(|(_, value)| !value.is_empty()));
    serializer.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_in_groups_of_three() {
        assert_eq!([0, 999, 1000, 12_345_678].map(grouped), ["0", "999", "1\u{202f}000", "12\u{202f}345\u{202f}678"]);
        assert_eq!((count(1, "version"), count(2, "version")), ("1 version".to_owned(), "2 versions".to_owned()));
    }

    #[test]
    fn times_are_told_in_the_unit_that_says_enough() {
        let ago = |secs| ago(SystemTime::now() - Duration::from_secs(secs));
        assert_eq!([5, 61, 7_300, 200_000].map(ago), ["just now", "1 minute ago", "2 hours ago", "2 days ago"]);
    }

    #[test]
    fn text_from_elsewhere_is_shown_and_does_nothing() {
        let shown = text("<script>alert(1)</script>\u{202e}gpj\u{1b}[31m").into_string();
        assert_eq!(shown, "<bdi>&lt;script&gt;alert(1)&lt;/script&gt; gpj [31m</bdi>");
        let shown = text("no tag `<i>`, `b").into_string();
        assert_eq!(shown, "<bdi>no tag `&lt;i&gt;`, `b</bdi>");
        assert_eq!(text("no `<i>`").into_string(), "<bdi>no <code>&lt;i&gt;</code></bdi>");
        let shown = short_digest("sha256:\"><img src=x>").into_string();
        assert!(!shown.contains("<img") && !shown.contains("\"><"), "{shown}");
    }

    #[test]
    fn every_state_has_a_mark_of_its_own() {
        let mut marks: Vec<&str> = STATES.iter().map(|(_, mark, ..)| *mark).collect();
        marks.sort_unstable();
        marks.dedup();
        assert_eq!(marks.len(), STATES.len());
    }
}
