//! Which plain tags there are to audit, and which tags come close to being a part of one.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::image::Content;
use crate::model::natural::natural;
use crate::model::{ArchTag, Pattern, Seen, Tag, Words};
use crate::plan::group;

/// How the words of architectures begin that onetag does not know, and of some that it does.
const STEMS: &[&str] = &[
    "aarch",
    "amd",
    "arm",
    "csky",
    "e2k",
    "hppa",
    "i386",
    "i486",
    "i586",
    "i686",
    "ia64",
    "loong",
    "m68k",
    "microblaze",
    "mips",
    "nios2",
    "or1k",
    "powerpc",
    "ppc",
    "riscv",
    "s390",
    "sh4",
    "sparc",
    "x32",
    "x64",
    "x86",
    "xtensa",
];
/// The longest word that is taken for an architecture's.
const LONGEST_WORD: usize = 20;
/// The most tags with unknown words that are told of one plain tag.
const MOST_STRANGERS: usize = 5;

/// A plain tag to audit, or one that may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The plain tag.
    pub tag: Tag,
    /// The architecture tags that were listed for it.
    pub arch_tags: Vec<ArchTag>,
    /// Tags that would belong to it if their first word were an architecture's that is known.
    pub strangers: Vec<Tag>,
    /// Whether no architecture tag stands for it, so that what it holds decides what it is.
    pub is_guess: bool,
    /// Whether somebody named it, and expects it to exist.
    pub is_named: bool,
}

/// What a listing has to audit, in natural order.
pub(super) fn of(tags: &[Tag], pattern: &Pattern, words: &Words) -> Vec<Subject> {
    let mut versions = group::by_version(tags, pattern, words);
    let mut strangers: BTreeMap<Tag, Vec<Tag>> = BTreeMap::new();
    let mut plain: BTreeSet<&Tag> = BTreeSet::new();
    for tag in tags.iter().filter(|tag| pattern.read(tag, words).is_none()) {
        match stranger_of(tag, &versions, pattern, words) {
            Some(version) => strangers.entry(version).or_default().push(tag.clone()),
            None if is_referrer(tag) || versions.contains_key(tag) => {}
            None => {
                plain.insert(tag);
            }
        }
    }
    let listed: Vec<Tag> = versions.keys().cloned().collect();
    let of_versions = listed.into_iter().map(|tag| {
        let mut strangers = strangers.remove(&tag).unwrap_or_default();
        strangers.truncate(MOST_STRANGERS);
        let arch_tags = versions.remove(&tag).unwrap_or_default();
        Subject { tag, arch_tags, strangers, is_guess: false, is_named: false }
    });
    let mut subjects: Vec<Subject> = of_versions.collect();
    subjects.extend(plain.into_iter().map(|tag| Subject {
        tag: tag.clone(),
        arch_tags: Vec::new(),
        strangers: Vec::new(),
        is_guess: true,
        is_named: false,
    }));
    subjects.sort_by(|a, b| natural(a.tag.as_str(), b.tag.as_str()));
    subjects
}

/// The version that `tag` would belong to if its word were known: the word must look like an
/// architecture's, since any tag may end like another (`slim-xenial`).
fn stranger_of(tag: &Tag, versions: &BTreeMap<Tag, Vec<ArchTag>>, pattern: &Pattern, words: &Words) -> Option<Tag> {
    let (word, version) = pattern.split(tag).find(|(_, version)| versions.contains_key(version))?;
    let word = word.to_ascii_lowercase();
    let is_like_one = STEMS.iter().any(|stem| word.starts_with(stem))
        || words.iter().any(|(known, _)| known.len() > 3 && strsim::damerau_levenshtein(known, &word) == 1);
    (word.len() <= LONGEST_WORD && is_like_one).then_some(version)
}

/// Whether it is where signatures and attestations of a digest are kept (distribution-spec 1.1,
/// "Referrers Tag Schema", and cosign's variations of it).
fn is_referrer(tag: &Tag) -> bool {
    let hex = tag.as_str().strip_prefix("sha256-").and_then(|rest| rest.get(..64));
    hex.is_some_and(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Whether a tag that no architecture tag stands for holds something that clients pull by platform.
pub(super) fn is_plain(seen: &Seen, tag: &Tag) -> bool {
    match seen.published.get(tag).map(|published| &published.content) {
        Some(Content::Index(children)) => children.iter().any(|child| child.is_image),
        Some(Content::Image) => true,
        Some(Content::Other(_)) | None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Dialect;

    fn subjects(tags: &[&str]) -> Vec<String> {
        let tags: Vec<Tag> = tags.iter().map(|tag| tag.parse().expect("a tag")).collect();
        let subjects = of(&tags, &Pattern::default(), &Words::of(Dialect::Debian));
        let text = |subject: &Subject| {
            let guess = if subject.is_guess { "?" } else { "" };
            let strangers: Vec<&str> = subject.strangers.iter().map(|tag| tag.as_str()).collect();
            format!("{}{guess} {}", subject.tag, strangers.join(" ")).trim_end().to_owned()
        };
        subjects.iter().map(text).collect()
    }

    #[test]
    fn versions_come_in_natural_order_with_other_tags_among_them() {
        assert_eq!(subjects(&["amd64-10", "amd64-9", "10", "9", "arm64-9", "latest"]), ["9", "10", "latest?"]);
    }

    #[test]
    fn a_word_that_looks_like_an_architectures_is_a_stranger_and_others_are_not() {
        let tags = ["amd64-xenial", "riscv128-xenial", "slim-xenial", "amd46-xenial", "sparc64-bionic", "rc1-xenial"];
        assert_eq!(
            subjects(&tags),
            ["rc1-xenial?", "slim-xenial?", "sparc64-bionic?", "xenial riscv128-xenial amd46-xenial"]
        );
    }

    #[test]
    fn signatures_are_no_plain_tags() {
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(subjects(&[&format!("sha256-{hex}"), &format!("sha256-{hex}.sig"), "sha256-x"]), ["sha256-x?"]);
    }

    #[test]
    fn strangers_do_not_flood_a_version() {
        let mut tags = vec!["amd64-1".to_owned()];
        tags.extend((0..100).map(|number| format!("riscv{number}-1")));
        let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
        assert_eq!(subjects(&tags)[0].split(' ').count(), 1 + MOST_STRANGERS);
    }
}
