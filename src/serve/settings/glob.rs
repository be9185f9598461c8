//! Globs over repository paths and tags: `*` and `?` stay within one part of a path, `**` does not.

mod steps;

use std::fmt;
use std::str::FromStr;

use steps::Steps;

use crate::model::text::clean;

/// The longest glob that is read; no path or tag is longer.
const LONGEST: usize = 255;

/// A glob. Two are equal if they are written alike.
#[derive(Clone)]
pub struct Glob {
    text: String,
    steps: Steps,
}

impl Glob {
    /// Whether `name` is one of those that are meant.
    pub fn matches(&self, name: &str) -> bool {
        self.steps.lead_through(name)
    }

    /// The glob as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The one name that is meant, if the glob has nothing special in it.
    pub fn literal(&self) -> Option<&str> {
        (!self.text.contains(['*', '?', '[', ']', '{', '}', '\\'])).then_some(self.text.as_str())
    }

    /// Some name that is meant: every `*` and `?` is `filler`, every choice its first.
    ///
    /// None where nothing as simple fits, for example in `[!a]`.
    pub fn example(&self, filler: &str) -> Option<String> {
        let mut example = String::new();
        let mut rest = self.text.chars().peekable();
        let mut depth = 0u32;
        // How deep the choice is whose further alternatives are passed over.
        let mut chosen: Option<u32> = None;
        while let Some(c) = rest.next() {
            match c {
                '{' => depth += 1,
                '}' => {
                    chosen = chosen.filter(|chosen| *chosen < depth);
                    depth = depth.saturating_sub(1);
                }
                ',' if depth > 0 => chosen = chosen.or(Some(depth)),
                _ if chosen.is_some() => {}
                '*' => {
                    while rest.next_if_eq(&'*').is_some() {}
                    example.push_str(filler);
                }
                '?' => example.extend(filler.chars().next()),
                '[' if matches!(rest.peek(), Some('!' | '^')) => return None,
                '[' => {
                    example.extend(rest.next());
                    while rest.next().is_some_and(|c| c != ']') {}
                }
                '\\' => example.extend(rest.next()),
                c => example.push(c),
            }
        }
        self.matches(&example).then_some(example)
    }

    /// Whether some name is certainly meant by both. Globs that cross without one meaning the
    /// other's examples (`a*` and `*b`) are not found out.
    pub fn overlaps(&self, other: &Glob) -> bool {
        self == other || self.examples_in(other).any(|is_in| is_in) || other.examples_in(self).any(|is_in| is_in)
    }

    /// Whether all that `other` means is meant here, too, as far as examples tell.
    pub fn covers(&self, other: &Glob) -> bool {
        let mut examples = other.examples_in(self).peekable();
        self == other || (examples.peek().is_some() && examples.all(|is_in| is_in))
    }

    /// For each of some different examples whether `other` means it.
    fn examples_in<'a>(&'a self, other: &'a Glob) -> impl Iterator<Item = bool> + 'a {
        ["x", "q0", "7z7"].into_iter().filter_map(|filler| self.example(filler)).map(|name| other.matches(&name))
    }
}

impl FromStr for Glob {
    type Err = InvalidGlob;

    fn from_str(s: &str) -> Result<Glob, InvalidGlob> {
        let invalid = |problem: &str| InvalidGlob { found: clean(s, 80), problem: problem.to_owned() };
        if s.is_empty() || s.len() > LONGEST {
            return Err(invalid(&format!("expected 1 to {LONGEST} characters")));
        }
        let steps = Steps::of(s).map_err(invalid)?;
        Ok(Glob { text: s.to_owned(), steps })
    }
}

impl PartialEq for Glob {
    fn eq(&self, other: &Glob) -> bool {
        self.text == other.text
    }
}

impl fmt::Debug for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Glob({:?})", self.text)
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Text that is not a glob.
#[derive(Debug, thiserror::Error)]
#[error("`{found}` is not a glob: {problem}")]
pub struct InvalidGlob {
    found: String,
    problem: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn glob(text: &str) -> Glob {
        text.parse().expect("a glob")
    }

    #[test]
    fn a_star_stays_within_one_part_and_two_cross_parts() {
        assert!(glob("acme/*").matches("acme/ubuntu"));
        assert!(!glob("acme/*").matches("acme/base/ubuntu"));
        assert!(glob("acme/**").matches("acme/base/ubuntu"));
        assert!(!glob("acme/*").matches("evil/acme/ubuntu"), "a glob is about the whole path");
        assert!(!glob("acme/ubuntu").matches("acme/ubuntu2"));
        assert!(glob("{xenial,bionic}*").matches("bionic-slim"));
    }

    #[test]
    fn a_class_stays_within_one_part() {
        assert!(glob("acme-[!x]*").matches("acme-ubuntu"));
        assert!(!glob("acme[!x]*").matches("acme/ubuntu"));
        assert!(!glob("acme[+-9]ubuntu").matches("acme/ubuntu"));
        assert!(glob("1[]-]2[a-]").matches("1-2-") && glob("1[]-]2[a-]").matches("1]2a"));
    }

    #[test]
    fn what_is_no_glob_is_told() {
        let problem = |text: &str| text.parse::<Glob>().expect_err("not a glob").to_string();
        insta::assert_snapshot!(problem(""), @"`` is not a glob: expected 1 to 255 characters");
        insta::assert_snapshot!(problem("{a,b"), @"`{a,b` is not a glob: one of its `{` has no `}`");
        insta::assert_snapshot!(problem("a}"), @"`a}` is not a glob: one of its `}` has no `{`");
        insta::assert_snapshot!(problem("[]"), @"`[]` is not a glob: one of its `[` has no `]`");
        insta::assert_snapshot!(problem("[b-a]"), @"`[b-a]` is not a glob: one of its ranges ends before it begins");
        insta::assert_snapshot!(problem("a\\"), @r"`a\` is not a glob: nothing follows its last `\`");
    }

    #[test]
    fn an_example_is_a_name_that_is_meant() {
        let example = |text: &str| glob(text).example("x");
        assert_eq!(example("acme/*"), Some("acme/x".to_owned()));
        assert_eq!(example("**/a?[bc]"), Some("x/axb".to_owned()));
        assert_eq!(example("{a{b,c},d}-1.\\*"), Some("ab-1.*".to_owned()));
        assert_eq!(example("[!a]"), None);
    }

    #[test]
    fn a_general_glob_covers_a_closer_one_and_not_the_other_way_round() {
        assert!(glob("acme/*").covers(&glob("acme/x*")));
        assert!(!glob("acme/x*").covers(&glob("acme/*")));
        assert!(!glob("*/ubuntu").covers(&glob("acme/*")));
    }

    #[test]
    fn globs_overlap_if_one_means_an_example_of_the_other() {
        assert!(glob("acme/*").overlaps(&glob("acme/ubuntu")));
        assert!(glob("*").overlaps(&glob("x*")));
        assert!(!glob("16.*").overlaps(&glob("18.*")));
        assert!(!glob("acme/*").overlaps(&glob("acme/*/*")));
    }

    /// A glob of what has one meaning everywhere.
    fn plain_glob() -> impl Strategy<Value = String> {
        let word = prop_oneof!["[ab]{1,2}", "\\*", "\\?", "\\[[ab]-?[bc]\\]", "\\\\[ab*]", "\\*\\*"];
        let part = prop::collection::vec(word, 1..4).prop_map(|words| words.concat());
        let path = prop::collection::vec(prop_oneof![3 => part, 1 => Just("**".to_owned())], 1..4);
        // In a choice, twice any number of parts is none at all elsewhere.
        let path = path.prop_map(|parts| parts.join("/")).prop_filter("`**` once", |path| !path.contains("**/**"));
        path.prop_recursive(2, 8, 3, |inner| {
            let choice = prop::collection::vec(inner, 1..4).prop_map(|choice| format!("{{{}}}", choice.join(",")));
            ("[ab]{0,1}/?", choice, "/?[ab]{0,1}").prop_map(|(before, choice, behind)| before + &choice + &behind)
        })
    }

    proptest! {
        #[test]
        fn a_glob_means_what_it_means_elsewhere(text in plain_glob(), name in "[abc*]{1,3}(/[abc*]{1,2}){0,3}") {
            let theirs = globset::GlobBuilder::new(&text).literal_separator(true).backslash_escape(true).build();
            prop_assert_eq!(text.parse::<Glob>().is_ok(), theirs.is_ok());
            if let (Ok(ours), Ok(theirs)) = (text.parse::<Glob>(), theirs) {
                prop_assert_eq!(ours.matches(&name), theirs.compile_matcher().is_match(&name));
            }
        }

        #[test]
        fn no_text_panics(text in "[a-z*?\\[\\]{},!\\\\/-]{0,24}") {
            if let Ok(glob) = text.parse::<Glob>() {
                let _ = glob.matches("a");
                if let Some(example) = glob.example("x") { prop_assert!(glob.matches(&example)); }
                if let Some(literal) = glob.literal() { prop_assert!(glob.matches(literal)); }
            }
        }
    }
}
