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
use super::key::{Wanted, best_first};
use super::{Credentials, CredentialsError};

/// Far more than any login file, and little enough to read in one go.
const FILE_LIMIT_BYTES: u64 = 4 * 1024 * 1024;

/// Base64 as Go reads it: without care for what is left in the last bits. Padding is optional.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

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
        let own = best_first(self.document.helpers.as_ref(), &wanted.of_host()).into_iter().next();
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
