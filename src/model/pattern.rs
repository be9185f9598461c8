//! `{arch}-{version}`: how a repository's tags name their architecture, read and written.

use std::fmt;
use std::str::FromStr;

use super::arch::{Meaning, Words};
use super::name::Tag;
use super::text::clean;

/// How a repository's tags are made of an architecture word and a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    before: String,
    between: String,
    after: String,
    arch_first: bool,
}

/// A tag that names an architecture of a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchTag {
    /// The whole tag, `armhf-xenial`.
    pub tag: Tag,
    /// Its architecture word, `armhf`.
    pub word: String,
    /// What the word means in this repository.
    pub meaning: Meaning,
    /// The plain tag that it belongs to, `xenial`.
    pub version: Tag,
}

impl Default for Pattern {
    fn default() -> Pattern {
        Pattern { before: String::new(), between: "-".to_owned(), after: String::new(), arch_first: true }
    }
}

impl Pattern {
    /// Takes `tag` apart, if it has this form and begins (or ends) with a known word.
    ///
    /// The longest word wins (`arm64v8-x` is arm64v8's, not arm64's), and the version must be a
    /// tag by itself; it may begin with another word: `amd64-arm64-cross` is `arm64-cross`.
    pub fn read(&self, tag: &Tag, words: &Words) -> Option<ArchTag> {
        let inner = tag.as_str().strip_prefix(self.before.as_str())?.strip_suffix(self.after.as_str())?;
        words
            .iter()
            .filter_map(|(word, meaning)| {
                let version = if self.arch_first {
                    inner.strip_prefix(word)?.strip_prefix(self.between.as_str())?
                } else {
                    inner.strip_suffix(word)?.strip_suffix(self.between.as_str())?
                };
                let version = version.parse().ok()?;
                Some(ArchTag { tag: tag.clone(), word: word.to_owned(), meaning: meaning.clone(), version })
            })
            .max_by_key(|arch_tag| arch_tag.word.len())
    }

    /// Every way to take `tag` apart, whether the word is known or not; the shortest word first.
    pub fn split<'t>(&'t self, tag: &'t Tag) -> impl Iterator<Item = (&'t str, Tag)> {
        let inner = tag.as_str().strip_prefix(self.before.as_str()).and_then(|t| t.strip_suffix(self.after.as_str()));
        let inner = inner.unwrap_or_default();
        let mut joints: Vec<usize> = inner.match_indices(&self.between).map(|(at, _)| at).collect();
        if !self.arch_first {
            joints.reverse();
        }
        joints.into_iter().filter_map(move |at| {
            let (first, second) = (&inner[..at], &inner[at + self.between.len()..]);
            let (word, version) = if self.arch_first { (first, second) } else { (second, first) };
            Some((word, version.parse().ok().filter(|_| !word.is_empty())?))
        })
    }

    /// The tag of `word` for `version`; none if it would be longer than a tag may be.
    pub fn write(&self, word: &str, version: &Tag) -> Option<Tag> {
        let Pattern { before, between, after, .. } = self;
        let (first, second) = if self.arch_first { (word, version.as_str()) } else { (version.as_str(), word) };
        format!("{before}{first}{between}{second}{after}").parse().ok()
    }
}

impl FromStr for Pattern {
    type Err = InvalidPattern;

    fn from_str(s: &str) -> Result<Pattern, InvalidPattern> {
        let invalid = |expected| InvalidPattern { found: clean(s, 80), expected };
        let both = "`{arch}` and `{version}`, each once, as in `{arch}-{version}`";
        let once = |name: &str| (s.matches(name).count() == 1).then(|| s.find(name)).flatten();
        let (arch, version) = once("{arch}").zip(once("{version}")).ok_or_else(|| invalid(both))?;

        let arch_first = arch < version;
        let (first, second) = if arch_first { ("{arch}", "{version}") } else { ("{version}", "{arch}") };
        let (before, rest) = s.split_once(first).ok_or_else(|| invalid(both))?;
        let (between, after) = rest.split_once(second).ok_or_else(|| invalid(both))?;
        if between.is_empty() {
            return Err(invalid("something between `{arch}` and `{version}`, so that a word ends where it should"));
        }
        let is_tag_text =
            |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
        if ![before, between, after].into_iter().all(is_tag_text) || before.starts_with(['-', '.']) {
            return Err(invalid("only what a tag may hold: letters, digits, `_`, `.` and `-`"));
        }
        Ok(Pattern { before: before.to_owned(), between: between.to_owned(), after: after.to_owned(), arch_first })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, second) = if self.arch_first { ("{arch}", "{version}") } else { ("{version}", "{arch}") };
        write!(f, "{}{first}{}{second}{}", self.before, self.between, self.after)
    }
}

/// Text that is not a pattern.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{found}` is not a tag pattern: expected {expected}")]
pub struct InvalidPattern {
    found: String,
    expected: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Dialect;
    use proptest::prelude::*;

    fn read(pattern: &str, tag: &str) -> String {
        let pattern: Pattern = pattern.parse().expect("a pattern");
        match pattern.read(&tag.parse().expect("a tag"), &Words::of(Dialect::Debian)) {
            Some(arch_tag) => format!("{} of {}", arch_tag.word, arch_tag.version),
            None => "no match".to_owned(),
        }
    }

    #[test]
    fn the_longest_whole_word_wins_and_the_rest_is_the_version() {
        for (tag, meaning) in [
            ("amd64-xenial", "amd64 of xenial"),
            ("arm64v8-x", "arm64v8 of x"),
            ("x86-64-stretch", "x86-64 of stretch"),
            ("arm-v7-bookworm", "arm-v7 of bookworm"),
            ("windows-amd64-1.2", "windows-amd64 of 1.2"),
            ("linux_arm64-1.2", "linux_arm64 of 1.2"),
            ("amd64-arm64-cross", "amd64 of arm64-cross"),
            ("armhf-16.04-slim", "armhf of 16.04-slim"),
            ("amd64", "no match"),
            ("amd64-", "no match"),
            ("amd64x-xenial", "no match"),
            ("AMD64-xenial", "no match"),
            ("latest", "no match"),
            ("amd64--xenial", "no match"),
            ("sha256-e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855.sig", "no match"),
        ] {
            assert_eq!(read("{arch}-{version}", tag), meaning, "{tag}");
        }
    }

    #[test]
    fn a_word_may_also_come_last_or_in_the_middle() {
        assert_eq!(read("{version}-{arch}", "16.04-arm64v8"), "arm64v8 of 16.04");
        assert_eq!(read("{version}-{arch}", "1-x86-64"), "x86-64 of 1");
        assert_eq!(read("base.{version}_{arch}.ci", "base.1_amd64.ci"), "amd64 of 1");
        assert_eq!(read("base.{version}_{arch}.ci", "1_amd64.ci"), "no match");
    }

    #[test]
    fn a_pattern_without_both_parts_or_a_joint_is_refused() {
        for text in [
            "",
            "{arch}",
            "{version}",
            "{arch}{version}",
            "{arch}-{arch}-{version}",
            "{arch}/{version}",
            "-{arch}-{version}",
            "{arch} {version}",
        ] {
            assert!(text.parse::<Pattern>().is_err(), "{text}");
        }
        assert_eq!("{version}-{arch}".parse::<Pattern>().map(|p| p.to_string()), Ok("{version}-{arch}".to_owned()));
    }

    #[test]
    fn a_tag_that_would_be_too_long_is_not_written() {
        let version: Tag = "v".repeat(125).parse().expect("a tag");
        assert_eq!(Pattern::default().write("armhf", &version), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(version in "[A-Za-z0-9_][A-Za-z0-9_.-]{0,40}", which in 0usize..40, arch_first: bool) {
            let words = Words::of(Dialect::Debian);
            let all: Vec<String> = words.iter().map(|(word, _)| word.to_owned()).collect();
            let word = &all[which % all.len()];
            let pattern: Pattern = if arch_first { "{arch}-{version}" } else { "{version}-{arch}" }.parse().expect("a pattern");
            let version: Tag = version.parse().expect("a tag");
            let tag = pattern.write(word, &version).expect("short enough");
            let read = pattern.read(&tag, &words).expect("it was written so");
            // A version may itself begin like the end of a longer word: `arm` of `v7-x` is `arm-v7` of `x`.
            prop_assert!(read.word.len() >= word.len());
            if read.word == *word { prop_assert_eq!(read.version, version); }
        }
    }
}
