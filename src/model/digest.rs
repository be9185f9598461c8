//! Digests: the names that content has by itself.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

/// The sha256 of some content: `sha256:` and 64 lowercase hex digits.
///
/// Other algorithms exist (image-spec, "Digests"), but every registry and client in use names
/// manifests by sha256; what this program cannot check it does not accept.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(String);

impl Digest {
    /// The digest of `content`.
    pub fn of(content: &[u8]) -> Digest {
        Digest::from_hash(Sha256::digest(content).into())
    }

    /// The digest whose sha256 was computed elsewhere, from content that never was in one piece.
    pub fn from_hash(hash: [u8; 32]) -> Digest {
        use fmt::Write as _;
        let mut text = String::with_capacity(71);
        text.push_str("sha256:");
        for byte in hash {
            write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        }
        Digest(text)
    }

    /// The digest as text, `sha256:…`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first twelve hex digits, enough for a person to tell two digests apart.
    pub fn short(&self) -> &str {
        &self.0[..19]
    }
}

impl FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(s: &str) -> Result<Digest, InvalidDigest> {
        match s.strip_prefix("sha256:") {
            Some(hex) if hex.len() == 64 && is_lower_hex(hex) => Ok(Digest(s.to_owned())),
            _ => Err(InvalidDigest { found: super::text::clean(s, 80) }),
        }
    }
}

fn is_lower_hex(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl serde::Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A digest as somebody tells it: one that this program can check, or a sha512, which it can only
/// pass on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ToldDigest(String);

impl ToldDigest {
    /// `text`, if it is a well-formed sha256 or sha512.
    pub fn read(text: &str) -> Option<ToldDigest> {
        let is_sha512 = text.strip_prefix("sha512:").is_some_and(|hex| hex.len() == 128 && is_lower_hex(hex));
        let is_digest = is_sha512 || text.parse::<Digest>().is_ok();
        is_digest.then(|| ToldDigest(text.to_owned()))
    }

    /// The digest as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The digest to look for; none for a sha512, for which the tag has to be asked instead.
    pub fn checkable(&self) -> Option<Digest> {
        self.0.parse().ok()
    }
}

/// Text that is not a digest this program can check.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{found}` is not a digest: expected `sha256:` and 64 lowercase hex digits")]
pub struct InvalidDigest {
    found: String,
}

#[cfg(test)]
mod tests {
    use super::{Digest, ToldDigest};

    #[test]
    fn the_digest_of_nothing_is_the_known_one() {
        let nothing = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").as_str(), nothing);
        assert_eq!(nothing.parse(), Ok(Digest::of(b"")));
        assert_eq!(Digest::of(b"").short(), "sha256:e3b0c44298fc");
    }

    #[test]
    fn anything_else_is_refused_with_what_was_found() {
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        for text in [
            "".to_owned(),
            hex.to_owned(),
            format!("sha512:{hex}{hex}"),
            format!("md5:{}", &hex[..32]),
            format!("sha256:{}", hex.to_uppercase()),
            format!("sha256:{}", &hex[..63]),
            format!("sha256:../{}", &hex[..61]),
        ] {
            let error = text.parse::<Digest>().expect_err(&text).to_string();
            assert!(error.contains("expected `sha256:` and 64 lowercase hex digits"), "{error}");
        }
    }

    #[test]
    fn a_told_sha512_is_passed_on_but_nothing_is_looked_for_by_it() {
        let sha256 = Digest::of(b"");
        let told = ToldDigest::read(sha256.as_str()).expect("a digest");
        assert_eq!(told.checkable(), Some(sha256));

        let sha512 = format!("sha512:{}", "0f".repeat(64));
        let told = ToldDigest::read(&sha512).expect("a digest");
        assert_eq!((told.as_str(), told.checkable()), (sha512.as_str(), None));

        for text in ["", "sha512:", "sha256:00", "md5:d41d8cd98f00b204e9800998ecf8427e", &sha512.to_uppercase()] {
            assert_eq!(ToldDigest::read(text), None, "{text}");
        }
    }
}
