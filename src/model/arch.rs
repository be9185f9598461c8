//! The words that tags use for architectures, and what they promise.
//!
//! Every dialect is read: Debian's (`armhf`), Alpine's and uname's (`aarch64`, `armv7l`), Docker
//! Official Images' (`arm32v7`), Go's (`ppc64le`), RPM's. Only OCI platforms are written, since
//! a client never matches any other word. Where dialects contradict each other (`armhf` is v7 to
//! Debian and v6 to Alpine) the repository's [`Dialect`] decides; a repository may also give any
//! word a meaning of its own.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::platform::Platform;
use super::text::clean;

/// Whose words a repository uses where words mean different things.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// `dpkg --print-architecture`: `armhf` is v7. The convention's own.
    #[default]
    Debian,
    /// `apk --print-arch`: `armhf` is v6, `x86` is 386.
    Alpine,
    /// Docker Official Images: `arm32v7`, `arm64v8`.
    Docker,
}

impl FromStr for Dialect {
    type Err = InvalidArch;

    fn from_str(s: &str) -> Result<Dialect, InvalidArch> {
        match s {
            "debian" => Ok(Dialect::Debian),
            "alpine" => Ok(Dialect::Alpine),
            "docker" => Ok(Dialect::Docker),
            _ => Err(InvalidArch::Dialect { found: clean(s, 40) }),
        }
    }
}

/// What a tag's word promises about its image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promise {
    /// The platform that clients of this tag expect.
    pub platform: Platform,
    /// Whether the word names its variant, or leaves it open: bare `arm` is v7 unless the image
    /// says v5 or v6.
    pub names_variant: bool,
}

/// What a word says in one repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// It promises this.
    Promise(Promise),
    /// It means different things to different builders, and nobody said which is meant here.
    Ambiguous,
}

/// The vocabulary of one repository: every word known there, and its meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    meanings: BTreeMap<String, Meaning>,
    preferred: &'static [(&'static str, &'static str)],
}

/// Words that mean the same to everybody who uses them, and what they mean.
const COMMON: &[(&str, &str)] = &[
    ("amd64", "linux/amd64"),
    ("x86_64", "linux/amd64"),
    ("x86-64", "linux/amd64"),
    ("x64", "linux/amd64"),
    ("386", "linux/386"),
    ("i386", "linux/386"),
    ("i486", "linux/386"),
    ("i586", "linux/386"),
    ("i686", "linux/386"),
    ("armel", "linux/arm/v5"),
    ("arm32v5", "linux/arm/v5"),
    ("arm32v6", "linux/arm/v6"),
    ("arm32v7", "linux/arm/v7"),
    ("armv5", "linux/arm/v5"),
    ("armv6", "linux/arm/v6"),
    ("armv7", "linux/arm/v7"),
    ("arm-v5", "linux/arm/v5"),
    ("arm-v6", "linux/arm/v6"),
    ("arm-v7", "linux/arm/v7"),
    ("armv6l", "linux/arm/v6"),
    ("armv7l", "linux/arm/v7"),
    ("armv7hl", "linux/arm/v7"),
    ("armv7hf", "linux/arm/v7"),
    ("armv8l", "linux/arm/v7"),
    ("rpi", "linux/arm/v6"),
    ("arm64", "linux/arm64"),
    ("aarch64", "linux/arm64"),
    ("armv8", "linux/arm64"),
    ("arm64v8", "linux/arm64"),
    ("ppc64le", "linux/ppc64le"),
    ("ppc64el", "linux/ppc64le"),
    ("ppc64", "linux/ppc64"),
    ("powerpc", "linux/ppc"),
    ("ppc", "linux/ppc"),
    ("s390x", "linux/s390x"),
    ("riscv64", "linux/riscv64"),
    ("mips64le", "linux/mips64le"),
    ("mips64el", "linux/mips64le"),
    ("mips64", "linux/mips64"),
    ("mipsle", "linux/mipsle"),
    ("mipsel", "linux/mipsle"),
    ("mips", "linux/mips"),
    ("loong64", "linux/loong64"),
    ("loongarch64", "linux/loong64"),
];

/// Words for systems other than linux, as Docker Official Images and others write them.
const WINDOWS: &[(&str, &str)] =
    &[("windows-amd64", "windows/amd64"), ("winamd64", "windows/amd64"), ("windows-arm64", "windows/arm64")];

/// The word of each dialect for a platform, where it is not the one of Go.
const DEBIAN: &[(&str, &str)] = &[
    ("linux/386", "i386"),
    ("linux/arm/v5", "armel"),
    ("linux/arm/v6", "armv6"),
    ("linux/arm/v7", "armhf"),
    ("linux/ppc64le", "ppc64el"),
    ("linux/ppc", "powerpc"),
    ("linux/mips64le", "mips64el"),
    ("linux/mipsle", "mipsel"),
    ("windows/amd64", "windows-amd64"),
    ("windows/arm64", "windows-arm64"),
];
const ALPINE: &[(&str, &str)] = &[
    ("linux/amd64", "x86_64"),
    ("linux/386", "x86"),
    ("linux/arm/v5", "armv5"),
    ("linux/arm/v6", "armhf"),
    ("linux/arm/v7", "armv7"),
    ("linux/arm64", "aarch64"),
    ("linux/loong64", "loongarch64"),
    ("windows/amd64", "windows-amd64"),
    ("windows/arm64", "windows-arm64"),
];
const DOCKER: &[(&str, &str)] = &[
    ("linux/386", "i386"),
    ("linux/arm/v5", "arm32v5"),
    ("linux/arm/v6", "arm32v6"),
    ("linux/arm/v7", "arm32v7"),
    ("linux/arm64", "arm64v8"),
    ("windows/amd64", "windows-amd64"),
    ("windows/arm64", "windows-arm64"),
];

impl Words {
    /// The words of `dialect`, with everybody else's as far as they do not contradict it.
    pub fn of(dialect: Dialect) -> Words {
        let promise = |platform: &str, names_variant| {
            let platform = platform.parse().expect("the tables hold platforms");
            Meaning::Promise(Promise { platform, names_variant })
        };
        let armhf = if dialect == Dialect::Alpine { "linux/arm/v6" } else { "linux/arm/v7" };
        let x86 = if dialect == Dialect::Alpine { promise("linux/386", true) } else { Meaning::Ambiguous };

        let mut meanings: BTreeMap<String, Meaning> =
            COMMON.iter().map(|(word, platform)| ((*word).to_owned(), promise(platform, true))).collect();
        meanings.insert("armhf".to_owned(), promise(armhf, true));
        meanings.insert("arm".to_owned(), promise("linux/arm/v7", false));
        meanings.insert("x86".to_owned(), x86);

        // Go's folders for builds and buildx's examples put the system before the word.
        let with_system: Vec<(String, Meaning)> = meanings
            .iter()
            .flat_map(|(word, meaning)| ["-", "_"].map(|joint| (format!("linux{joint}{word}"), meaning.clone())))
            .collect();
        meanings.extend(with_system);
        meanings.extend(WINDOWS.iter().map(|(word, platform)| ((*word).to_owned(), promise(platform, true))));

        let preferred = match dialect {
            Dialect::Debian => DEBIAN,
            Dialect::Alpine => ALPINE,
            Dialect::Docker => DOCKER,
        };
        Words { meanings, preferred }
    }

    /// The same words, but `word` means `platform` here, whatever it means elsewhere.
    ///
    /// # Errors
    ///
    /// [`InvalidArch::Word`]: `word` could not be part of a tag.
    pub fn with(mut self, word: &str, platform: Platform) -> Result<Words, InvalidArch> {
        let is_part_of_a_tag = format!("_{word}").parse::<super::Tag>().is_ok() && !word.is_empty();
        if !is_part_of_a_tag || word.starts_with(['-', '.']) {
            return Err(InvalidArch::Word { found: clean(word, 40) });
        }
        let is_open = platform.architecture() == "arm" && platform.variant().is_none();
        let platform = if is_open { Platform::new(platform.os(), "arm", Some("v7")) } else { platform };
        self.meanings.insert(word.to_owned(), Meaning::Promise(Promise { platform, names_variant: !is_open }));
        Ok(self)
    }

    /// What `word` means here, if it is known at all.
    pub fn meaning(&self, word: &str) -> Option<&Meaning> {
        self.meanings.get(word)
    }

    /// Every known word with its meaning.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Meaning)> {
        self.meanings.iter().map(|(word, meaning)| (word.as_str(), meaning))
    }

    /// Reads an architecture as a person gives it: a word, or an OCI platform such as
    /// `linux/arm/v7`, for which the dialect's own word is taken.
    ///
    /// # Errors
    ///
    /// [`InvalidArch`]: the word is unknown or ambiguous, or no word stands for the platform.
    pub fn choose(&self, text: &str) -> Result<ArchChoice, InvalidArch> {
        let word = if text.contains('/') {
            let platform: Platform =
                text.parse().map_err(|_| InvalidArch::Unknown { found: clean(text, 40), near: None })?;
            self.word_for(&platform).ok_or(InvalidArch::NoWord { platform })?
        } else {
            text.to_owned()
        };
        match self.meanings.get(&word) {
            Some(Meaning::Promise(promise)) => Ok(ArchChoice { word, promise: promise.clone() }),
            Some(Meaning::Ambiguous) => Err(InvalidArch::Ambiguous { word }),
            None => Err(InvalidArch::Unknown { near: self.nearest(&word), found: clean(text, 40) }),
        }
    }

    fn word_for(&self, platform: &Platform) -> Option<String> {
        let bare_arm = platform.architecture() == "arm" && platform.variant().is_none();
        let platform = if bare_arm { Platform::new(platform.os(), "arm", Some("v7")) } else { platform.clone() };
        let promises =
            |word: &str| matches!(self.meanings.get(word), Some(Meaning::Promise(p)) if p.platform == platform);

        let text = platform.to_string();
        let preferred = self.preferred.iter().find(|(p, _)| *p == text).map(|(_, word)| *word);
        preferred
            .into_iter()
            .chain([platform.architecture()])
            .find(|word| promises(word))
            .map(str::to_owned)
            .or_else(|| self.meanings.keys().find(|word| promises(word)).cloned())
    }

    /// The known word that is a slip of the finger away.
    fn nearest(&self, word: &str) -> Option<String> {
        let slips = |known: &String| strsim::damerau_levenshtein(known, word);
        self.meanings.keys().filter(|known| slips(known) <= 1).min_by_key(|known| slips(known)).cloned()
    }
}

/// What an image config that names no Go architecture probably means: `arm32v7` is `arm/v7`.
pub fn meant_by(architecture: &str) -> Option<Platform> {
    match Words::of(Dialect::Debian).meaning(architecture)? {
        Meaning::Promise(promise) => Some(promise.platform.clone()),
        Meaning::Ambiguous => None,
    }
}

/// An architecture that somebody asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchChoice {
    /// The word whose tag is looked for.
    pub word: String,
    /// What that tag promises.
    pub promise: Promise,
}

impl fmt::Display for ArchChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.word)
    }
}

/// Text that names no architecture here.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidArch {
    /// Nobody known uses this word.
    #[error("`{found}` is not a known architecture{}", near.as_ref().map(|near| format!(" (did you mean `{near}`?)")).unwrap_or_default())]
    Unknown {
        /// The word.
        found: String,
        /// A known word that is close to it.
        near: Option<String>,
    },
    /// Its users mean different things by it.
    #[error(
        "`{word}` means 386 to some builders and amd64 to others: say which by `--word {word}=linux/386`, or use `i386` or `amd64`"
    )]
    Ambiguous {
        /// The word.
        word: String,
    },
    /// A platform for which tags have no word.
    #[error("no architecture word stands for `{platform}`: give one by `--word WORD={platform}`")]
    NoWord {
        /// The platform.
        platform: Platform,
    },
    /// A word that could not stand in a tag.
    #[error("`{found}` cannot be part of a tag: expected letters, digits, `_`, `.` and `-`")]
    Word {
        /// The word.
        found: String,
    },
    /// Not one of the dialects.
    #[error("`{found}` is not a dialect: expected `debian`, `alpine` or `docker`")]
    Dialect {
        /// What was given.
        found: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning(dialect: Dialect, word: &str) -> String {
        match Words::of(dialect).meaning(word) {
            Some(Meaning::Promise(promise)) => promise.platform.to_string(),
            Some(Meaning::Ambiguous) => "ambiguous".to_owned(),
            None => "unknown".to_owned(),
        }
    }

    #[test]
    fn dialects_settle_the_words_that_they_disagree_on() {
        let words =
            ["armhf", "x86", "arm", "armel", "ppc64el", "x86-64", "linux_arm64", "windows-amd64", "arm-v7", "m68k"];
        let of = |dialect| words.map(|word| meaning(dialect, word)).join(" ");
        assert_eq!(
            of(Dialect::Debian),
            "linux/arm/v7 ambiguous linux/arm/v7 linux/arm/v5 linux/ppc64le linux/amd64 linux/arm64 windows/amd64 linux/arm/v7 unknown"
        );
        assert_eq!(
            of(Dialect::Alpine),
            "linux/arm/v6 linux/386 linux/arm/v7 linux/arm/v5 linux/ppc64le linux/amd64 linux/arm64 windows/amd64 linux/arm/v7 unknown"
        );
        assert_eq!(of(Dialect::Docker), of(Dialect::Debian));
    }

    #[test]
    fn a_platform_is_looked_for_under_the_word_of_the_dialect() {
        let word =
            |dialect, text: &str| Words::of(dialect).choose(text).map(|c| c.word).unwrap_or_else(|e| e.to_string());
        assert_eq!(word(Dialect::Debian, "linux/arm/v7"), "armhf");
        assert_eq!(word(Dialect::Alpine, "linux/arm/v7"), "armv7");
        assert_eq!(word(Dialect::Docker, "linux/arm/v7"), "arm32v7");
        assert_eq!(word(Dialect::Docker, "linux/arm64/v8"), "arm64v8");
        assert_eq!(word(Dialect::Alpine, "linux/amd64"), "x86_64");
        assert_eq!(word(Dialect::Debian, "linux/arm"), "armhf");
        assert_eq!(word(Dialect::Debian, "windows/amd64"), "windows-amd64");
        assert_eq!(word(Dialect::Debian, "linux/s390x"), "s390x");
        assert_eq!(
            word(Dialect::Debian, "plan9/amd64"),
            "no architecture word stands for `plan9/amd64`: give one by `--word WORD=plan9/amd64`"
        );
    }

    #[test]
    fn every_preferred_word_means_its_platform() {
        for (dialect, table) in [(Dialect::Debian, DEBIAN), (Dialect::Alpine, ALPINE), (Dialect::Docker, DOCKER)] {
            for (platform, word) in table {
                assert_eq!(meaning(dialect, word), *platform, "{word} in {dialect:?}");
            }
        }
    }

    #[test]
    fn a_repository_may_give_a_word_its_own_meaning() {
        let words = Words::of(Dialect::Debian).with("x86", "linux/amd64".parse().expect("a platform")).expect("a word");
        assert_eq!(words.choose("x86").map(|c| c.promise.platform.to_string()), Ok("linux/amd64".to_owned()));
        let words = Words::of(Dialect::Debian).with("pi", "linux/arm".parse().expect("a platform")).expect("a word");
        assert_eq!(words.meaning("pi"), words.meaning("arm"), "a bare arm leaves its variant open, as `arm` does");
        assert!(Words::of(Dialect::Debian).with("a b", "linux/amd64".parse().expect("a platform")).is_err());
        assert!(Words::of(Dialect::Debian).with("", "linux/amd64".parse().expect("a platform")).is_err());
    }

    #[test]
    fn an_unknown_word_is_refused_with_the_nearest_known_one() {
        let error = |text: &str| Words::of(Dialect::Debian).choose(text).expect_err(text).to_string();
        assert_eq!(error("arm46"), "`arm46` is not a known architecture (did you mean `arm64`?)");
        assert_eq!(error("vax"), "`vax` is not a known architecture");
        assert!(error("x86").contains("386 to some builders"));
    }
}
