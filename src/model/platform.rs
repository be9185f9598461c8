//! Platforms: what an image runs on, in the one form that clients understand.
//!
//! Words are Go's (`amd64`, `arm64`, `ppc64le`; image-spec, "Image Index Property Descriptions").
//! Two spellings of one platform become one value here, so that comparing values compares
//! platforms: `arm64/v8` is `arm64`, `amd64/v1` is `amd64`, and an arm variant `7` is `v7`.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::natural::natural;
use super::text::clean;

/// What an image runs on, as an index says it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Written")]
pub struct Platform {
    os: String,
    architecture: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    variant: Option<String>,
    #[serde(rename = "os.version", skip_serializing_if = "Option::is_none")]
    os_version: Option<String>,
    #[serde(rename = "os.features", skip_serializing_if = "Vec::is_empty")]
    os_features: Vec<String>,
}

/// A platform as somebody wrote it.
#[derive(Deserialize)]
struct Written {
    os: String,
    architecture: String,
    variant: Option<String>,
    #[serde(rename = "os.version")]
    os_version: Option<String>,
    #[serde(rename = "os.features")]
    os_features: Option<Vec<String>>,
}

impl From<Written> for Platform {
    fn from(written: Written) -> Platform {
        Platform::new(&written.os, &written.architecture, written.variant.as_deref())
            .on(written.os_version, written.os_features.unwrap_or_default())
    }
}

impl Platform {
    /// The platform of this system and architecture, in its normal form.
    pub fn new(os: &str, architecture: &str, variant: Option<&str>) -> Platform {
        let variant = variant.filter(|variant| !variant.is_empty());
        let variant = match (architecture, variant) {
            ("arm64", Some("v8" | "8")) | ("amd64", Some("v1")) => None,
            ("arm", Some(level @ ("5" | "6" | "7" | "8"))) => Some(format!("v{level}")),
            (_, variant) => variant.map(str::to_owned),
        };
        Platform {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            variant,
            os_version: None,
            os_features: Vec::new(),
        }
    }

    /// The same platform, but for one version of its system and with features it needs there
    /// (`os.version` and `os.features`; Windows images have them).
    #[must_use]
    pub fn on(mut self, os_version: Option<String>, os_features: Vec<String>) -> Platform {
        self.os_version = os_version.filter(|version| !version.is_empty());
        self.os_features = os_features;
        self
    }

    /// The operating system, `linux`.
    pub fn os(&self) -> &str {
        &self.os
    }

    /// The processor's family, `arm`.
    pub fn architecture(&self) -> &str {
        &self.architecture
    }

    /// The processor's level within its family, `v7`; none for the lowest of amd64 and arm64.
    pub fn variant(&self) -> Option<&str> {
        self.variant.as_deref()
    }

    /// The version of the system that the image needs, `10.0.20348.2700`.
    pub fn os_version(&self) -> Option<&str> {
        self.os_version.as_deref()
    }

    /// What attestations carry in place of a platform.
    pub fn unknown() -> Platform {
        Platform::new("unknown", "unknown", None)
    }

    /// Whether this is what attestations carry in place of a platform.
    pub fn is_unknown(&self) -> bool {
        self.os == "unknown" && self.architecture == "unknown"
    }

    /// Whether an index may say it: short words of visible letters, whoever chose them.
    pub fn is_plain(&self) -> bool {
        let is_word = |word: &str| (1..=64).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_graphic());
        let words = [&self.os, &self.architecture].into_iter().chain(&self.variant).chain(&self.os_version);
        words.chain(&self.os_features).all(|word| is_word(word)) && self.os_features.len() <= 16
    }

    /// What two entries of one index must not share: to a client they are the same answer.
    ///
    /// Of a version of Windows the first three numbers count, as they do when it chooses; nobody goes by
    /// the version of any other system. An arm that names no variant (older tools wrote it so) is v7, as
    /// clients have it.
    pub fn slot(&self) -> String {
        let default = if self.architecture == "arm" { "v7" } else { "" };
        let mut slot = format!("{}/{}/{}", self.os, self.architecture, self.variant().unwrap_or(default));
        if let Some(version) = self.os_version.as_ref().filter(|_| self.os == "windows") {
            let build: Vec<&str> = version.split('.').take(3).collect();
            slot.push('@');
            slot.push_str(&build.join("."));
        }
        slot
    }
}

impl FromStr for Platform {
    type Err = InvalidPlatform;

    /// Reads `os/architecture` or `os/architecture/variant`.
    fn from_str(s: &str) -> Result<Platform, InvalidPlatform> {
        let is_word = |part: &str| {
            !part.is_empty()
                && part.len() <= 32
                && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.')
        };
        let parts: Vec<&str> = s.split('/').collect();
        match parts.as_slice() {
            [os, architecture] if parts.iter().all(|p| is_word(p)) => Ok(Platform::new(os, architecture, None)),
            [os, architecture, variant] if parts.iter().all(|p| is_word(p)) => {
                Ok(Platform::new(os, architecture, Some(variant)))
            }
            _ => Err(InvalidPlatform { found: clean(s, 80) }),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.os)?;
        if let Some(version) = &self.os_version {
            write!(f, "({version})")?;
        }
        write!(f, "/{}", self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

/// The order of an index: linux first, amd64 and arm64 before the others, then the higher variant
/// and the newer system first, which old clients that take the first match need.
impl Ord for Platform {
    fn cmp(&self, other: &Platform) -> Ordering {
        let newest_first = |a: &Option<String>, b: &Option<String>| match (a, b) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (Some(a), Some(b)) => natural(b, a),
        };
        let favoured = |words: &[&str], word: &str| words.iter().position(|w| *w == word).unwrap_or(words.len());
        let os = |p: &Platform| favoured(&["linux"], &p.os);
        let architecture = |p: &Platform| favoured(&["amd64", "arm64"], &p.architecture);

        os(self)
            .cmp(&os(other))
            .then_with(|| self.os.cmp(&other.os))
            .then_with(|| architecture(self).cmp(&architecture(other)))
            .then_with(|| self.architecture.cmp(&other.architecture))
            .then_with(|| newest_first(&self.variant, &other.variant))
            .then_with(|| newest_first(&self.os_version, &other.os_version))
            .then_with(|| self.os_features.cmp(&other.os_features))
    }
}

impl PartialOrd for Platform {
    fn partial_cmp(&self, other: &Platform) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Text that is not a platform.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "`{found}` is not a platform: expected `os/architecture` or `os/architecture/variant`, for example `linux/arm/v7`"
)]
pub struct InvalidPlatform {
    found: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        text.parse().expect("a platform")
    }

    #[test]
    fn spellings_of_one_platform_are_one_value() {
        assert_eq!(platform("linux/arm64/v8"), platform("linux/arm64"));
        assert_eq!(platform("linux/amd64/v1"), platform("linux/amd64"));
        assert_eq!(platform("linux/arm/7"), platform("linux/arm/v7"));
        assert_ne!(platform("linux/amd64/v3"), platform("linux/amd64"));
    }

    #[test]
    fn the_order_is_the_one_old_clients_need() {
        let mut platforms: Vec<Platform> = [
            "linux/s390x",
            "linux/arm/v5",
            "windows/amd64",
            "linux/386",
            "linux/arm64",
            "linux/arm",
            "linux/arm/v7",
            "linux/amd64",
            "linux/arm/v6",
            "linux/amd64/v3",
            "freebsd/amd64",
            "linux/arm/v10",
        ]
        .map(platform)
        .to_vec();
        platforms.sort();
        let order: Vec<String> = platforms.iter().map(Platform::to_string).collect();
        assert_eq!(
            order.join(" "),
            "linux/amd64/v3 linux/amd64 linux/arm64 linux/386 linux/arm/v10 linux/arm/v7 linux/arm/v6 linux/arm/v5 \
             linux/arm linux/s390x freebsd/amd64 windows/amd64"
        );
    }

    #[test]
    fn a_newer_windows_comes_before_an_older_one_by_number() {
        let windows = |v: &str| platform("windows/amd64").on(Some(v.to_owned()), Vec::new());
        assert!(windows("10.0.20348.9") < windows("10.0.17763.1"));
        assert!(windows("10.0.9.1") > windows("10.0.10.1"));
        assert_eq!(windows("10.0.20348.9").to_string(), "windows(10.0.20348.9)/amd64");
        assert_eq!(windows("10.0.20348.9").slot(), windows("10.0.20348.1").slot());
        assert_ne!(windows("10.0.20348.9").slot(), windows("10.0.17763.9").slot());
        assert_eq!(platform("linux/arm").slot(), platform("linux/arm/v7").slot());
        let linux = platform("linux/amd64").on(Some("6.1".to_owned()), Vec::new());
        assert_eq!(linux.slot(), platform("linux/amd64").slot(), "no client looks at it");
    }

    #[test]
    fn keys_are_written_in_the_order_of_the_specification() {
        let windows = platform("windows/arm/v7").on(Some("10".to_owned()), vec!["win32k".to_owned()]);
        assert_eq!(
            serde_json::to_string(&windows).expect("json"),
            r#"{"os":"windows","architecture":"arm","variant":"v7","os.version":"10","os.features":["win32k"]}"#
        );
        let back: Platform = serde_json::from_str(&serde_json::to_string(&windows).expect("json")).expect("a platform");
        assert_eq!(back, windows);
    }

    #[test]
    fn an_index_says_short_visible_words_only() {
        assert!(platform("linux/arm/v7").is_plain());
        let windows = platform("windows/amd64").on(Some("10.0.20348.9".to_owned()), vec!["win32k".to_owned()]);
        assert!(windows.is_plain());
        assert!(!Platform::new("linux", "amd64", Some("\u{1b}[31mv2")).is_plain());
        assert!(!Platform::new("linux", "amd64", Some(&"v".repeat(65))).is_plain());
        assert!(!platform("windows/amd64").on(Some("10 0".to_owned()), Vec::new()).is_plain());
        assert!(!platform("windows/amd64").on(None, vec!["win32k".to_owned(); 17]).is_plain());
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "linux", "linux/", "/amd64", "linux/arm/v7/x", "Linux/amd64", "linux/am d64"] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }
}
