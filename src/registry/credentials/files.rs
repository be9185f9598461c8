//! The files where docker and podman keep logins: `config.json` and `auth.json`, one format.
//!
//! A file is read whole and leniently. `null`s and unknown keys are passed over, and an entry is
//! looked into only when it is the one we need, so another registry's broken login never matters.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use serde_json::error::Category;
use serde_json::{Map, Value};
use tokio::io::AsyncReadExt as _;

use super::helper::Helper;
use super::{Credentials, CredentialsError};

/// Far more than any login file, and little enough to read in one go.
const FILE_LIMIT_BYTES: u64 = 4 * 1024 * 1024;

/// The name Docker Hub has in image names.
const DOCKER_HUB: &str = "docker.io";

/// The name Docker Hub has in everything that `docker login` writes.
const DOCKER_HUB_URL: &str = "https://index.docker.io/v1/";

/// Base64 as Go reads it: without care for what is left in the last bits. Padding is optional.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The repository that a login is wanted for.
#[derive(Debug)]
pub(super) struct Wanted {
    host: String,
    path: String,
}

impl Wanted {
    pub(super) fn new(host: &str, path: &str) -> Wanted {
        Wanted { host: canonical_host(host), path: path.to_owned() }
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// What credential helpers know this registry by.
    pub(super) fn server_url(&self) -> &str {
        if self.host == DOCKER_HUB { DOCKER_HUB_URL } else { &self.host }
    }

    fn is_within(&self, namespace: &str) -> bool {
        match self.path.strip_prefix(namespace) {
            Some(rest) => namespace.is_empty() || rest.is_empty() || rest.starts_with('/'),
            None => false,
        }
    }
}

/// One name per registry: lowercase, and Docker Hub's many names are `docker.io`.
fn canonical_host(host: &str) -> String {
    match host.to_ascii_lowercase().as_str() {
        "index.docker.io" | "registry-1.docker.io" => DOCKER_HUB.to_owned(),
        host => host.to_owned(),
    }
}

/// One file of logins.
pub(super) struct LoginFile {
    path: PathBuf,
    document: Document,
}

/// What docker and podman write, as far as it matters here.
#[derive(Default, Deserialize)]
struct Document {
    auths: Option<BTreeMap<String, Value>>,
    #[serde(rename = "credHelpers")]
    helpers: Option<BTreeMap<String, Value>>,
    #[serde(rename = "credsStore")]
    store: Option<Value>,
}

impl LoginFile {
    /// Reads the file at `path`; `None` if there is none.
    pub(super) async fn read(path: &Path) -> Result<Option<LoginFile>, CredentialsError> {
        let bytes = match read_some(path).await {
            Ok(bytes) => bytes,
            Err(error) if is_absence(&error) => return Ok(None),
            Err(source) => {
                return Err(CredentialsError::Unreadable { path: path.to_owned(), source });
            }
        };
        if bytes.len() as u64 > FILE_LIMIT_BYTES {
            let path = path.to_owned();
            return Err(CredentialsError::FileTooLong { path, limit_bytes: FILE_LIMIT_BYTES });
        }
        // docker takes an empty file for one without logins, and `/dev/null` is often given.
        if bytes.trim_ascii().is_empty() {
            return Ok(None);
        }
        let document = serde_json::from_slice(&bytes).map_err(|error| malformed(path, &error))?;
        Ok(Some(LoginFile { path: path.to_owned(), document }))
    }

    /// The helper to ask about `wanted`: its own, or the one for all registries.
    ///
    /// An empty name under `credHelpers` means that this registry's login is kept in the file.
    pub(super) fn helper(&self, wanted: &Wanted) -> Result<Option<Helper>, CredentialsError> {
        // Helpers know hosts only, so a key for some repositories says nothing to us.
        let host_only = Wanted { host: wanted.host.clone(), path: String::new() };
        let own = best_first(self.document.helpers.as_ref(), &host_only).into_iter().next();
        let store = self.document.store.as_ref().map(|name| ("credsStore", name));

        let Some((key, name)) = own.or(store).filter(|(_, name)| !name.is_null()) else {
            return Ok(None);
        };
        match name.as_str() {
            Some("") => Ok(None),
            Some(name) => Helper::named(name, &self.path).map(Some),
            None => Err(self.bad_entry(key, "the helper's name is not text")),
        }
    }

    /// The login this file itself holds for `wanted`: the closest entry that holds anything.
    pub(super) fn login(&self, wanted: &Wanted) -> Result<Option<Credentials>, CredentialsError> {
        for (key, entry) in best_first(self.document.auths.as_ref(), wanted) {
            let login = Login::of(entry).map_err(|problem| self.bad_entry(key, problem))?;
            let credentials = match login {
                Login::Nothing => continue,
                Login::Pair(username, password) => {
                    let place = || format!("the login for `{key}` in {}", self.path.display());
                    Credentials::basic(username, password.into(), place)?
                }
                Login::Identity(username, token) => Credentials::IdentityToken { username, token: token.into() },
                Login::Bearer(token) => Credentials::RegistryToken(token.into()),
            };
            return Ok(Some(credentials));
        }
        Ok(None)
    }

    fn bad_entry(&self, key: &str, problem: &'static str) -> CredentialsError {
        CredentialsError::BadEntry { path: self.path.clone(), key: key.to_owned(), problem }
    }
}

/// Reads at most one byte more than the limit, so that the caller can tell.
async fn read_some(path: &Path) -> io::Result<Vec<u8>> {
    let file = tokio::fs::File::open(path).await?;
    let mut bytes = Vec::new();
    file.take(FILE_LIMIT_BYTES + 1).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

/// `HOME=/dev/null` is what daemons have, and there is no file below that.
fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Says where, and never what: serde's own message may quote a password.
fn malformed(path: &Path, error: &serde_json::Error) -> CredentialsError {
    let found = match error.classify() {
        Category::Eof => "the end of the file",
        Category::Data => "a value of the wrong kind",
        Category::Syntax | Category::Io => "something that is not JSON",
    };
    CredentialsError::Malformed { path: path.to_owned(), line: error.line(), column: error.column(), found }
}

/// How well a key fits a repository; the greatest is asked first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Fit {
    namespace_bytes: usize,
    spelling: Spelling,
}

/// How a key spells the host, worst to best.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Spelling {
    Pattern { literal_bytes: usize },
    Alias,
    Url,
    Plain,
}

/// The entries that fit `wanted` and are not `null`, best first.
fn best_first<'a>(entries: Option<&'a BTreeMap<String, Value>>, wanted: &Wanted) -> Vec<(&'a str, &'a Value)> {
    let mut fitting: Vec<_> = entries
        .into_iter()
        .flatten()
        .filter(|(_, value)| !value.is_null())
        .filter_map(|(key, value)| Some((fit(key, wanted)?, key.as_str(), value)))
        .collect();
    fitting.sort_by(|(one, ..), (other, ..)| other.cmp(one));
    fitting.into_iter().map(|(_, key, value)| (key, value)).collect()
}

/// Weighs one key, which may be a host, a host and the start of a path, a URL or a pattern.
fn fit(key: &str, wanted: &Wanted) -> Option<Fit> {
    if key.contains('*') {
        let literal_bytes = key.len() - key.matches('*').count();
        let spelling = Spelling::Pattern { literal_bytes };
        return matches_pattern(key, &wanted.host).then_some(Fit { namespace_bytes: 0, spelling });
    }

    let after_scheme = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
    let place = after_scheme.unwrap_or(key);
    let (host, path) = place.split_once('/').unwrap_or((place, ""));
    let path = path.trim_end_matches('/');
    // A URL is the API's address and its path means nothing; only a key that looks like an image
    // name is about some repositories. Both docker and podman read them so.
    let is_api = after_scheme.is_some() || matches!(path, "v1" | "v2");
    let namespace = if is_api { "" } else { path };

    if canonical_host(host) != wanted.host || !wanted.is_within(namespace) {
        return None;
    }
    let spelling = if !host.eq_ignore_ascii_case(&wanted.host) {
        Spelling::Alias
    } else if is_api {
        Spelling::Url
    } else {
        Spelling::Plain
    };
    Some(Fit { namespace_bytes: namespace.len(), spelling })
}

/// Whether `host` fits a pattern such as `*.example.com`, by docker's rules.
///
/// A `*` stands for anything within one label, and the last two labels must be spelled out, so
/// that nobody's password is offered to all of `*.com`.
fn matches_pattern(pattern: &str, host: &str) -> bool {
    let pattern = pattern.to_ascii_lowercase();
    let pattern: Vec<&str> = pattern.split('.').collect();
    let host: Vec<&str> = host.split('.').collect();
    let [.., domain, top] = pattern.as_slice() else {
        return false;
    };
    let is_too_wide = domain.contains('*') || top.contains('*') || domain.is_empty();
    let has_path = pattern.iter().any(|label| label.contains('/'));
    if is_too_wide || has_path || pattern.len() != host.len() {
        return false;
    }
    pattern.iter().zip(&host).all(|(pattern, label)| matches_label(pattern, label))
}

fn matches_label(pattern: &str, label: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == label;
    };
    let (middle, end) = rest.rsplit_once('*').unwrap_or(("", rest));
    let within = label.strip_prefix(start).and_then(|label| label.strip_suffix(end));
    let (Some(mut within), false) = (within, label.is_empty()) else {
        return false;
    };
    for part in middle.split('*') {
        let Some((_, after)) = within.split_once(part) else {
            return false;
        };
        within = after;
    }
    true
}

/// What one entry of `auths` holds.
enum Login {
    Nothing,
    Pair(String, String),
    Identity(Option<String>, String),
    Bearer(String),
}

impl Login {
    /// Reads an entry. The error says what is wrong with it, without quoting it.
    fn of(entry: &Value) -> Result<Login, &'static str> {
        let entry = entry.as_object().ok_or("expected an object")?;
        if let Some(token) = text(entry, "registrytoken")? {
            return Ok(Login::Bearer(token.to_owned()));
        }
        if let Some(token) = text(entry, "identitytoken")? {
            // The name is a courtesy here, so a broken one is no reason to refuse the token.
            let username = pair(entry).ok().flatten().map(|(username, _)| username);
            return Ok(Login::Identity(username.filter(|name| !name.is_empty()), token.to_owned()));
        }
        // docker and podman both send nothing rather than half a pair.
        match pair(entry)? {
            Some((username, password)) if !password.is_empty() => Ok(Login::Pair(username, password)),
            _ => Ok(Login::Nothing),
        }
    }
}

/// The user name and password of an entry: packed in `auth`, or else in fields of their own.
fn pair(entry: &Map<String, Value>) -> Result<Option<(String, String)>, &'static str> {
    if let Some(packed) = text(entry, "auth")? {
        return unpack(packed).map(Some);
    }
    let username = text(entry, "username")?.map(str::to_owned);
    let password = text(entry, "password")?.unwrap_or_default().to_owned();
    Ok(username.map(|username| (username, password)))
}

/// Takes `auth` apart: base64 of `user:password`, where the password may have further colons.
fn unpack(packed: &str) -> Result<(String, String), &'static str> {
    // Go's base64 passes over line breaks, and `base64` on the command line makes them.
    let packed = packed.replace(['\r', '\n'], "");
    let bytes = BASE64.decode(packed).map_err(|_| "`auth` is not base64")?;
    let pair = String::from_utf8(bytes).map_err(|_| "`auth` holds text that is not UTF-8")?;
    match pair.split_once(':') {
        // Old versions of docker wrote the whole buffer, zeros and all.
        Some((username, password)) if !username.is_empty() => {
            Ok((username.to_owned(), password.trim_matches('\0').to_owned()))
        }
        _ => Err("`auth` is base64 of something else than `user:password`"),
    }
}

/// A text field; absent, `null` and empty are the same.
fn text<'a>(entry: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, &'static str> {
    match entry.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
        Some(_) => Err("expected every field of a login to be text"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The keys that fit, best first.
    fn order(host: &str, path: &str, keys: &[&str]) -> Vec<String> {
        let entries = keys.iter().map(|key| ((*key).to_owned(), Value::from(1))).collect();
        let fitting = best_first(Some(&entries), &Wanted::new(host, path));
        fitting.into_iter().map(|(key, _)| key.to_owned()).collect()
    }

    #[test]
    fn the_longest_key_is_asked_first_and_only_whole_path_segments_count() {
        let keys = ["quay.io", "quay.io/org", "quay.io/org/repo", "quay.io/or", "quay.io/org/re"];
        assert_eq!(order("quay.io", "org/repo", &keys), ["quay.io/org/repo", "quay.io/org", "quay.io"]);
        assert_eq!(order("quay.io", "organ/repo", &keys), ["quay.io"]);
    }

    #[test]
    fn a_host_is_known_by_its_urls_too_and_its_plain_name_is_asked_first() {
        for key in [
            "https://reg.test",
            "http://reg.test",
            "https://reg.test/",
            "https://reg.test/v1/",
            "https://reg.test/v2/",
            "https://reg.test/v2",
            "reg.test/v1/",
            "reg.test/v2/",
            "REG.test",
        ] {
            assert_eq!(order("reg.test", "a/b", &[key]), [key]);
        }
        let keys = ["https://reg.test/v2/", "*.io.reg.test", "reg.test"];
        assert_eq!(order("reg.test", "a", &keys), ["reg.test", "https://reg.test/v2/"]);
    }

    #[test]
    fn another_host_or_port_never_fits() {
        let keys = ["reg.test:5000", "a.reg.test", "reg.test.evil", "evil/reg.test", "test", ""];
        assert!(order("reg.test", "a", &keys).is_empty());
        assert_eq!(order("reg.test:5000", "a", &keys), ["reg.test:5000"]);
        assert_eq!(order("[::1]:5000", "a", &["[::1]:5000", "[::1]"]), ["[::1]:5000"]);
        assert_eq!(order("127.0.0.1:5000", "a", &["127.0.0.1:5000"]), ["127.0.0.1:5000"]);
    }

    #[test]
    fn docker_hub_goes_by_all_its_names() {
        let keys = [
            "https://index.docker.io/v1/",
            "index.docker.io",
            "docker.io",
            "registry-1.docker.io",
            "docker.io/library",
        ];
        for host in ["docker.io", "index.docker.io", "registry-1.docker.io"] {
            let order = order(host, "library/ubuntu", &keys);
            assert_eq!(order.len(), keys.len());
            assert_eq!(order[..2], ["docker.io/library", "docker.io"]);
            assert_eq!(Wanted::new(host, "").server_url(), "https://index.docker.io/v1/");
        }
    }

    #[test]
    fn a_star_stands_for_one_label_and_the_closest_pattern_is_asked_first() {
        let keys = ["*.example.com", "*.eu.example.com", "r*.eu.example.com", "*.com", "*", "*.*"];
        assert_eq!(order("reg.example.com", "a", &keys), ["*.example.com"]);
        assert_eq!(order("reg.eu.example.com", "a", &keys), ["r*.eu.example.com", "*.eu.example.com"]);
        assert!(order("example.com", "a", &keys).is_empty());
        assert!(order("reg.example.com:5000", "a", &keys).is_empty());
        assert!(order("reg.example.com.evil", "a", &keys).is_empty());

        let ecr = ["*.dkr.ecr.*.amazonaws.com", "1*3*5.dkr.ecr.*-west-*.amazonaws.com"];
        assert_eq!(
            order("12345.dkr.ecr.eu-west-1.amazonaws.com", "a", &ecr),
            ["1*3*5.dkr.ecr.*-west-*.amazonaws.com", "*.dkr.ecr.*.amazonaws.com"]
        );
        assert_eq!(order("12445.dkr.ecr.eu-west-1.amazonaws.com", "a", &ecr), [ecr[0]]);
    }

    #[test]
    fn a_pattern_gives_way_to_the_host_spelled_out() {
        let keys = ["*.example.com", "https://reg.example.com"];
        let order = order("reg.example.com", "a", &keys);
        assert_eq!(order, ["https://reg.example.com", "*.example.com"]);
    }

    #[test]
    fn auth_is_read_with_or_without_padding_line_breaks_and_zeros() {
        let expected = Ok(("user".to_owned(), "pa:ss".to_owned()));
        assert_eq!(unpack("dXNlcjpwYTpzcw=="), expected);
        assert_eq!(unpack("dXNlcjpwYTpzcw"), expected);
        assert_eq!(unpack("dXNlcjpw\r\nYTpzcw==\n"), expected);
        assert_eq!(unpack(&BASE64.encode("user:pa:ss\0\0\0")), expected);
    }

    #[test]
    fn auth_that_is_something_else_is_refused_without_quoting_it() {
        assert_eq!(unpack("hunter2!"), Err("`auth` is not base64"));
        assert_eq!(unpack(&BASE64.encode(b"\xff:x")), Err("`auth` holds text that is not UTF-8"));
        for pair in ["user", ":password"] {
            assert_eq!(unpack(&BASE64.encode(pair)), Err("`auth` is base64 of something else than `user:password`"));
        }
    }
}
