//! The machine that a configuration is read on: variables, files and logins, given as values so
//! that reading the same file again gives the same answer.

use std::io;
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use toml::de::DeValue;

use super::notes::shown;
use super::section::nearest;
use super::value::Value;
use crate::model::text::{clean, without_newline};
use crate::registry::credentials::Environment;

/// The largest file that is read: certificates, keys, secrets, the configuration itself.
pub(super) const LARGEST_FILE: usize = 1 << 20;
/// The most secrets that are right at one time.
const MOST_SECRETS: usize = 8;

/// What a configuration may ask of the machine that it is on.
pub(in crate::cli) struct World<'w> {
    /// An environment variable.
    pub(in crate::cli) variable: &'w dyn Fn(&str) -> Option<String>,
    /// A file.
    pub(in crate::cli) file: &'w dyn Fn(&Path) -> io::Result<File>,
    /// Where docker and podman keep logins.
    pub(in crate::cli) logins: Environment,
}

/// What a file holds, and who may know.
#[derive(Clone, Debug)]
pub(in crate::cli) struct File {
    pub(in crate::cli) bytes: Vec<u8>,
    pub(in crate::cli) is_readable_by_others: bool,
}

impl World<'static> {
    /// The machine as this process sees it.
    pub(in crate::cli) fn of_process() -> World<'static> {
        World {
            variable: &|name| std::env::var(name).ok(),
            file: &|path| {
                use io::Read as _;
                use std::os::unix::fs::MetadataExt as _;

                let file = std::fs::File::open(path)?;
                let is_readable_by_others = file.metadata()?.mode() & 0o004 != 0;
                let mut bytes = Vec::new();
                file.take(LARGEST_FILE as u64 + 1).read_to_end(&mut bytes)?;
                Ok(File { bytes, is_readable_by_others })
            },
            logins: Environment::from_process(),
        }
    }
}

/// The world, seen from the configuration's folder.
pub(super) struct Place<'w> {
    pub(super) world: &'w World<'w>,
    pub(super) folder: PathBuf,
}

impl Place<'_> {
    /// The content of the file that `value` names; a relative path begins at the configuration.
    pub(super) fn file(&self, value: Value<'_>) -> Option<File> {
        let text = value.text("a path")?;
        let path = self.folder.join(text);
        match (self.world.file)(&path) {
            Ok(file) if file.bytes.len() > LARGEST_FILE => {
                value.problem(format!("{} has more than {LARGEST_FILE} bytes", shown(&path)));
                None
            }
            Ok(file) => Some(file),
            Err(error) => {
                value.problem(format!("{} cannot be read: {error}", shown(&path)));
                None
            }
        }
    }

    /// A secret: `{ env = "…" }`, `{ file = "…" }` or, with a warning, the text itself.
    pub(super) fn secret(&self, value: Value<'_>) -> Option<SecretString> {
        let secret = match value.value.get_ref() {
            DeValue::String(text) => {
                let message = "holds the secret itself, where every copy of this file has it";
                value.warning(format!("`{}` {message}: expected `{{ env = … }}` or `{{ file = … }}`", value.key));
                text.as_ref().to_owned()
            }
            DeValue::Table(_) => self.named_secret(value)?,
            _ => {
                value.wrong(r#"`{ env = "…" }` or `{ file = "…" }`"#);
                return None;
            }
        };
        if secret.is_empty() {
            value.problem("the secret is empty");
            return None;
        }
        Some(secret.into())
    }

    /// One secret, or a list of them of which any is right.
    pub(super) fn secrets(&self, value: Value<'_>) -> Option<Vec<SecretString>> {
        if !value.is_list() {
            return self.secret(value).map(|secret| vec![secret]);
        }
        let items = value.items("a list");
        if items.is_empty() || items.len() > MOST_SECRETS {
            value.problem(format!("`{}` has {} secrets, expected 1 to {MOST_SECRETS}", value.key, items.len()));
            return None;
        }
        items.into_iter().map(|item| self.secret(item)).collect()
    }

    fn named_secret(&self, value: Value<'_>) -> Option<String> {
        let pairs = value.pairs("a table");
        let [(source, at, inner)] = pairs.as_slice() else {
            value
                .problem(format!("`{}` does not say where the secret is: expected one of `env` and `file`", value.key));
            return None;
        };
        match *source {
            "env" => {
                let name = inner.text("the name of a variable")?;
                let found = (self.world.variable)(name);
                if found.is_none() {
                    inner.problem(format!("the environment has no `{}`", clean(name, 80)));
                }
                found
            }
            "file" => self.secret_file(*inner),
            other => {
                let near = nearest(other, ["env", "file"].into_iter());
                let near = near.map(|near| format!(" (did you mean `{near}`?)")).unwrap_or_default();
                value.notes.problem(
                    *at,
                    format!("unknown key `{}` in a secret: expected `env` or `file`{near}", clean(other, 60)),
                );
                None
            }
        }
    }

    /// The file that a secret is in, if it is in one.
    pub(super) fn path_of_secret(&self, value: Value<'_>) -> Option<PathBuf> {
        let DeValue::Table(table) = value.value.get_ref() else { return None };
        let file = table.get("file")?.get_ref().as_str()?;
        Some(self.folder.join(file))
    }

    /// The text of a file, without the newline that editors and `echo` end it with.
    fn secret_file(&self, value: Value<'_>) -> Option<String> {
        let file = self.file(value)?;
        let name = value.as_text().map(|text| clean(text, 200)).unwrap_or_default();
        if file.is_readable_by_others {
            value.warning(format!("`{name}` can be read by everybody on this machine: expected mode 0600 or 0640"));
        }
        let Ok(text) = String::from_utf8(file.bytes) else {
            value.problem(format!("`{name}` does not hold text in UTF-8"));
            return None;
        };
        Some(without_newline(&text).to_owned())
    }
}
