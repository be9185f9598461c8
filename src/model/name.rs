//! Names: registries, repositories and tags, checked once where they enter the program.
//!
//! The grammar is that of distribution-spec 1.1, "Pulling manifests", and of image names as people
//! write them: `ubuntu`, `docker.io/library/ubuntu`, `localhost:5000/a`, `[::1]:5000/a`.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use super::text::clean;

/// The longest repository path a registry takes.
const LONGEST_PATH: usize = 255;
/// The longest host name there is (RFC 1035), without its port.
const LONGEST_HOST: usize = 253;

/// A registry as image names write it: a host, and a port if it is not the usual one.
///
/// Docker Hub has three names; the one kept is `docker.io`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Host(String);

impl Host {
    /// The registry as image names write it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The host and port that answer the registry API; only Docker Hub's differ from its name.
    pub fn api(&self) -> &str {
        if self.is_docker_hub() { "registry-1.docker.io" } else { &self.0 }
    }

    /// Whether this is Docker Hub, whose one-part names live under `library/`.
    pub fn is_docker_hub(&self) -> bool {
        self.0 == "docker.io"
    }

    /// Whether this is the machine itself, which is plain HTTP without being told, as in docker:
    /// `localhost`, `127.0.0.0/8` and `::1`.
    pub fn is_loopback(&self) -> bool {
        let (name, _) = split_port(&self.0);
        name.eq_ignore_ascii_case("localhost")
            || name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

impl FromStr for Host {
    type Err = InvalidName;

    fn from_str(s: &str) -> Result<Host, InvalidName> {
        let invalid = |expected| InvalidName::new("registry", s, expected);
        let (name, port) = split_port(s);
        if port.is_some_and(|port| port.starts_with('0') || port.parse::<u16>().is_err()) {
            return Err(invalid("a port from 1 to 65535 after the `:`"));
        }
        if let Some(address) = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            address.parse::<Ipv6Addr>().map_err(|_| invalid("an IPv6 address in the brackets"))?;
        } else if name.len() > LONGEST_HOST {
            return Err(invalid("at most 253 characters"));
        } else if !name.split('.').all(is_host_label) {
            return Err(invalid("a host name such as `registry.example.com` or `localhost:5000`"));
        }
        Ok(match name {
            "index.docker.io" | "registry-1.docker.io" if port.is_none() => Host("docker.io".to_owned()),
            _ => Host(s.to_ascii_lowercase()),
        })
    }
}

fn is_host_label(label: &str) -> bool {
    let is_inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    !label.is_empty() && !label.starts_with('-') && !label.ends_with('-') && label.bytes().all(is_inner)
}

/// `host:port` apart; the colons inside an IPv6 address's brackets do not count.
fn split_port(text: &str) -> (&str, Option<&str>) {
    match text.rfind(':') {
        Some(colon) if !text[colon..].contains(']') => (&text[..colon], Some(&text[colon + 1..])),
        _ => (text, None),
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A repository: a registry and the path of images in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Repository {
    host: Host,
    path: String,
}

impl Repository {
    /// The registry that holds it.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Its path inside the registry, `library/ubuntu`.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl FromStr for Repository {
    type Err = InvalidName;

    /// Reads an image name without its tag, as docker would: the part before the first `/` is a
    /// registry if it looks like a host, otherwise the registry is Docker Hub.
    fn from_str(s: &str) -> Result<Repository, InvalidName> {
        let invalid = |expected| InvalidName::new("repository", s, expected);
        if s.contains("://") {
            return Err(invalid("a name without a scheme, for example `registry.example.com/acme/ubuntu`"));
        }
        let (host, path) = match s.split_once('/') {
            Some((first, rest)) if looks_like_a_host(first) => (first.parse::<Host>()?, rest),
            _ => (Host("docker.io".to_owned()), s),
        };
        let last = path.rsplit('/').next().unwrap_or(path);
        if last.contains(':') || last.contains('@') {
            return Err(invalid("a repository without a tag or digest (tags are named by `--tag`)"));
        }
        check_path(path).map_err(invalid)?;
        let path =
            if host.is_docker_hub() && !path.contains('/') { format!("library/{path}") } else { path.to_owned() };
        Ok(Repository { host, path })
    }
}

fn looks_like_a_host(first: &str) -> bool {
    first.contains(['.', ':', '[']) || first.eq_ignore_ascii_case("localhost")
}

/// The path of a repository inside some registry, `acme/ubuntu`, where the registry is known from
/// elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepositoryPath(String);

impl RepositoryPath {
    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RepositoryPath {
    type Err = InvalidName;

    fn from_str(s: &str) -> Result<RepositoryPath, InvalidName> {
        check_path(s).map_err(|expected| InvalidName::new("repository", s, expected))?;
        Ok(RepositoryPath(s.to_owned()))
    }
}

impl fmt::Display for RepositoryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl serde::Serialize for RepositoryPath {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// Checks a path in a registry; the error is what was expected.
fn check_path(path: &str) -> Result<(), &'static str> {
    if path.len() > LONGEST_PATH {
        return Err("at most 255 characters after the registry");
    }
    if !path.split('/').all(is_path_component) {
        return Err("lowercase letters, digits and single `.`, `_`, `__` or `-` between them, in parts divided by `/`");
    }
    Ok(())
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`, distribution-spec 1.1, "Pulling manifests".
fn is_path_component(part: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = part.as_bytes();
    let ends_in_words = bytes.first().is_some_and(|b| is_word(*b)) && bytes.last().is_some_and(|b| is_word(*b));
    ends_in_words
        && part
            .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            .all(|gap| matches!(gap, "" | "." | "_" | "__") || gap.bytes().all(|b| b == b'-'))
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.path)
    }
}

/// A tag: up to 128 letters, digits, `_`, `.` and `-`, beginning with none of the last two.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(String);

impl Tag {
    /// The tag as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = InvalidName;

    fn from_str(s: &str) -> Result<Tag, InvalidName> {
        let is_first = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let is_rest = |b: u8| is_first(b) || b == b'.' || b == b'-';
        let bytes = s.as_bytes();
        if bytes.first().is_some_and(|b| is_first(*b)) && bytes.len() <= 128 && bytes.iter().all(|b| is_rest(*b)) {
            Ok(Tag(s.to_owned()))
        } else {
            Err(InvalidName::new("tag", s, "1 to 128 letters, digits, `_`, `.` and `-`, not beginning with `.` or `-`"))
        }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl serde::Serialize for Tag {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// Text that is not the name it should be.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{found}` is not a {noun} name: expected {expected}")]
pub struct InvalidName {
    noun: &'static str,
    found: String,
    expected: &'static str,
}

impl InvalidName {
    fn new(noun: &'static str, found: &str, expected: &'static str) -> InvalidName {
        InvalidName { noun, found: clean(found, 140), expected }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(text: &str) -> String {
        text.parse::<Repository>().map_or_else(|e| e.to_string(), |r| r.to_string())
    }

    #[test]
    fn image_names_mean_what_docker_makes_of_them() {
        for (text, meaning) in [
            ("ubuntu", "docker.io/library/ubuntu"),
            ("multiarch/ubuntu", "docker.io/multiarch/ubuntu"),
            ("docker.io/ubuntu", "docker.io/library/ubuntu"),
            ("index.docker.io/a/b", "docker.io/a/b"),
            ("localhost/a", "localhost/a"),
            ("localhost:5000/a", "localhost:5000/a"),
            ("127.0.0.1:5000/a/b/c", "127.0.0.1:5000/a/b/c"),
            ("[::1]:5000/a", "[::1]:5000/a"),
            ("[2001:db8::1]/a", "[2001:db8::1]/a"),
            ("Registry.Example.COM/acme/ubuntu", "registry.example.com/acme/ubuntu"),
            ("quay.io/a__b/c-d.e--f", "quay.io/a__b/c-d.e--f"),
        ] {
            assert_eq!(repository(text), meaning);
        }
    }

    #[test]
    fn the_api_of_docker_hub_has_a_host_of_its_own() {
        let hub: Repository = "ubuntu".parse().expect("a name");
        assert_eq!(hub.host().api(), "registry-1.docker.io");
        let other: Repository = "quay.io:8443/a".parse().expect("a name");
        assert_eq!(other.host().api(), "quay.io:8443");
    }

    #[test]
    fn names_that_could_leave_their_place_in_a_url_are_refused() {
        for text in [
            "",
            "/",
            "a/",
            "quay.io/",
            "quay.io//a",
            "quay.io/a//b",
            "quay.io/../a",
            "quay.io/a%2e",
            "UPPER/a",
            "quay.io/A",
            "quay.io/a\0b",
            "quay.io/a?b",
            "quay.io/é",
            "quay.io/a___b",
            "quay.io/-a",
            "quay.io:0/a",
            "quay.io:99999/a",
            "quay.io:/a",
            "[::1/a",
            "[zz]/a",
            "https://quay.io/a",
            "quay.io/a:tag",
            "a:tag",
            "quay.io/a@sha256:00",
            "user@quay.io/a",
            "-x.io/a",
        ] {
            assert!(text.parse::<Repository>().is_err(), "{text:?} was accepted");
        }
        assert!(format!("quay.io/{}", "a".repeat(255)).parse::<Repository>().is_ok());
        assert!(format!("quay.io/{}", "a".repeat(256)).parse::<Repository>().is_err());
        assert!(format!("{}.io/a", "a.".repeat(126)).parse::<Repository>().is_err());
    }

    #[test]
    fn a_path_alone_follows_the_same_rules_as_one_behind_a_registry() {
        for text in ["ubuntu", "acme/ubuntu", "a/b/c.d__e--f"] {
            assert_eq!(text.parse::<RepositoryPath>().expect(text).to_string(), text);
        }
        for text in ["", "/", "/a", "a/", "a//b", "../a", "Acme/ubuntu", "a:b", "a@b", "a b", "a\0", &"a".repeat(256)] {
            assert!(text.parse::<RepositoryPath>().is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn a_tag_in_a_repository_name_is_explained() {
        insta::assert_snapshot!(repository("quay.io/acme/ubuntu:xenial"), @"`quay.io/acme/ubuntu:xenial` is not a repository name: expected a repository without a tag or digest (tags are named by `--tag`)");
    }

    #[test]
    fn loopback_is_the_machine_itself_and_nothing_else() {
        for host in ["localhost", "localhost:5000", "127.0.0.1:1", "127.9.9.9", "[::1]:5000"] {
            assert!(host.parse::<Host>().is_ok_and(|h| h.is_loopback()), "{host}");
        }
        for host in ["localhost.example.com", "128.0.0.1", "[::2]", "registry.example.com"] {
            assert!(host.parse::<Host>().is_ok_and(|h| !h.is_loopback()), "{host}");
        }
    }

    #[test]
    fn tags_follow_the_grammar_of_the_specification() {
        for text in ["xenial", "16.04", "_x", "A-b.c_d", &"a".repeat(128)] {
            assert!(text.parse::<Tag>().is_ok(), "{text}");
        }
        for text in ["", "-xenial", ".x", "xenial; rm", "a/b", "sha256:00", "é", "UPPER/..", &"a".repeat(129)] {
            assert!(text.parse::<Tag>().is_err(), "{text}");
        }
    }
}
