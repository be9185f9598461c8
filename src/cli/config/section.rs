//! The sections of the file and their keys: one table says all that may be written.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::notes::{Notes, Offset};
use super::value::Value;
use crate::model::text::clean;

/// One kind of section: how it is written, its keys, and for every key a value as an example.
#[derive(Debug)]
pub(super) struct Kind {
    /// As the file has it: `[[hook]]`.
    pub(super) name: &'static str,
    /// Every key that may stand in it.
    pub(super) keys: &'static [(&'static str, &'static str)],
}

/// What stands outside of all sections.
pub(super) const TOP: Kind = Kind {
    name: "the file",
    keys: &[
        ("listen", r#""0.0.0.0:8470""#),
        ("admin", r#""127.0.0.1:8471""#),
        ("admin_hosts", r#"["onetag.example.com"]"#),
        ("admin_token", r#"{ env = "ADMIN_TOKEN" }"#),
        ("database", r#""sqlite://onetag.db""#),
        ("lease", r#""2m""#),
        ("journal", r#""90d""#),
        ("defaults", "{ poll = \"10m\" }"),
        ("registry", "[{ host = \"registry.example.com\" }]"),
        ("repository", "[{ registry = \"registry.example.com\", name = \"acme/*\" }]"),
        ("hook", "[]"),
        ("notify", "[]"),
    ],
};

/// A database that needs a password.
pub(super) const DATABASE: Kind = Kind {
    name: "database",
    keys: &[("url", r#""postgres://onetag@db/onetag""#), ("password", r#"{ file = "/run/secrets/database" }"#)],
};

/// A registry.
pub(super) const REGISTRY: Kind = Kind {
    name: "[[registry]]",
    keys: &[
        ("host", r#""registry.example.com""#),
        ("plain_http", "true"),
        ("ca_file", r#""/etc/onetag/ca.pem""#),
        ("client_cert", r#""/etc/onetag/client.pem""#),
        ("client_key", r#""/etc/onetag/client.key""#),
        ("token_realm_hosts", r#"["auth.example.net"]"#),
        ("username", r#""robot""#),
        ("password", r#"{ env = "REGISTRY_PASSWORD" }"#),
        ("concurrency", "8"),
        ("rate", r#""300/min""#),
        ("timeout", r#""60s""#),
    ],
};

/// Repositories of one name, or what all of them have in common.
pub(super) const REPOSITORY: Kind = Kind {
    name: "[[repository]]",
    keys: &[
        ("registry", r#""registry.example.com""#),
        ("name", r#""acme/*""#),
        ("pattern", r#""{arch}-{version}""#),
        ("names", r#""debian""#),
        ("words", r#"{ x86 = "linux/386" }"#),
        ("versions", r#"["*"]"#),
        ("require", r#"["amd64", "arm64"]"#),
        ("verify", r#""config""#),
        ("on_mismatch", r#""hold""#),
        ("on_unverifiable", r#""hold""#),
        ("on_data_only", r#""accept""#),
        ("on_mixed", r#""hold""#),
        ("same", r#"["org.opencontainers.image.revision"]"#),
        ("also", r#"{ xenial = ["16.04"] }"#),
        ("take_over", "true"),
        ("allow_removal", "true"),
        ("index_type", r#""auto""#),
        ("attestations", r#""keep""#),
        ("annotations", r#"{ "org.opencontainers.image.vendor" = "Acme" }"#),
        ("quiet", r#""2s""#),
        ("poll", r#""10m""#),
        ("audit", r#""6h""#),
    ],
};

/// Somebody who tells of pushes.
pub(super) const HOOK: Kind = Kind {
    name: "[[hook]]",
    keys: &[
        ("name", r#""prod""#),
        ("format", r#""distribution""#),
        ("registry", r#""registry.example.com""#),
        ("secret", r#"{ env = "HOOK_SECRET" }"#),
        ("proof", r#""header""#),
        ("header", r#""Authorization""#),
        ("audience", r#""https://onetag.example.com/hooks/prod""#),
        ("email", r#""push@project.iam.gserviceaccount.com""#),
        ("keys_file", r#""/etc/onetag/google-keys.json""#),
        ("keys_url", r#""https://www.googleapis.com/oauth2/v3/certs""#),
        ("repository_strip", r#""docker-local/""#),
        ("repository_prefix", r#""docker/""#),
    ],
};

/// Somebody who is told.
pub(super) const NOTIFY: Kind = Kind {
    name: "[[notify]]",
    keys: &[
        ("url", r#""https://example.com/onetag""#),
        ("secret", r#"{ env = "NOTIFY_SECRET" }"#),
        ("events", r#"["published", "held", "recovered", "problem"]"#),
        ("repositories", r#"["registry.example.com/acme/*"]"#),
    ],
};

const KINDS: [&Kind; 6] = [&TOP, &DATABASE, &REGISTRY, &REPOSITORY, &HOOK, &NOTIFY];

/// One section of the file, with what it takes from `[defaults]`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Section<'a> {
    kind: &'static Kind,
    own: &'a DeTable<'a>,
    defaults: Option<&'a DeTable<'a>>,
    at: Offset,
    notes: &'a Notes<'a>,
}

impl<'a> Section<'a> {
    /// A section whose unknown keys are problems.
    pub(super) fn new(kind: &'static Kind, own: &'a DeTable<'a>, at: Offset, notes: &'a Notes<'a>) -> Section<'a> {
        for key in own.keys() {
            let is_known = kind.keys.iter().any(|(known, _)| *known == key.get_ref().as_ref());
            if !is_known {
                notes.problem(key.span().start, unknown(key.get_ref(), kind));
            }
        }
        Section { kind, own, defaults: None, at, notes }
    }

    /// The same, but a key that it does not have is `defaults`'.
    pub(super) fn or(self, defaults: Option<&Section<'a>>) -> Section<'a> {
        Section { defaults: defaults.map(|defaults| defaults.own), ..self }
    }

    /// The value of `key`, if there is one.
    pub(super) fn key(&self, key: &'static str) -> Option<Value<'a>> {
        debug_assert!(self.example(key).is_some(), "`{key}` is not a key of {}", self.kind.name);
        let value = self.own.get(key).or_else(|| self.defaults?.get(key))?;
        Some(Value { key, example: self.example(key).unwrap_or(""), value, notes: self.notes })
    }

    /// The value of a key that must be there.
    pub(super) fn required(&self, key: &'static str) -> Option<Value<'a>> {
        let value = self.key(key);
        if value.is_none() {
            let example = self.example(key).unwrap_or("");
            self.problem(format!("{} has no `{key}`: expected for example `{key} = {example}`", self.kind.name));
        }
        value
    }

    /// Every `[[key]]`.
    pub(super) fn sections(&self, key: &'static str, kind: &'static Kind) -> Vec<Section<'a>> {
        let Some(value) = self.key(key) else {
            return Vec::new();
        };
        if !value.is_list() {
            value.problem(format!("`{key}` is not a list of tables: expected `[[{key}]]`, since there may be several"));
            return Vec::new();
        }
        let tables = value.items("a list of tables").into_iter().filter_map(|item| item.entries("a table"));
        tables.map(|(table, at)| Section::new(kind, table, at, self.notes)).collect()
    }

    /// A section that is a table in a key of this one.
    pub(super) fn within(&self, kind: &'static Kind, (own, at): Entries<'a>) -> Section<'a> {
        Section::new(kind, own, at, self.notes)
    }

    /// Where it begins.
    pub(super) fn at(&self) -> Offset {
        self.at
    }

    /// Notes a problem of the section as a whole.
    pub(super) fn problem(&self, message: impl std::fmt::Display) {
        self.notes.problem(self.at, message);
    }

    fn example(&self, key: &str) -> Option<&'static str> {
        self.kind.keys.iter().find(|(known, _)| *known == key).map(|(_, example)| *example)
    }
}

/// What is said of a key that is none: the one that was probably meant, or the section it is of.
fn unknown(key: &str, kind: &Kind) -> String {
    let shown = clean(key, 60);
    if let Some(near) = nearest(key, kind.keys.iter().map(|(known, _)| *known)) {
        return format!("unknown key `{shown}` (did you mean `{near}`?)");
    }
    let homes = KINDS.iter().filter_map(|home| Some((home, nearest(key, home.keys.iter().map(|(known, _)| *known))?)));
    let kind = kind.name;
    match homes.max_by_key(|(_, near)| *near == key) {
        Some((home, near)) if home.name == TOP.name => {
            format!("unknown key `{shown}` in {kind}: `{near}` belongs before the first section")
        }
        Some((home, near)) => format!("unknown key `{shown}` in {kind}: `{near}` belongs in {}", home.name),
        None => format!("unknown key `{shown}` in {kind}"),
    }
}

/// The known word that is a slip or two away, the longer the more.
pub(super) fn nearest<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let word = clean(word, 60).to_ascii_lowercase().replace('-', "_");
    let slips = |known: &str| strsim::damerau_levenshtein(known, &word);
    let near = known.map(|known| (slips(known), known)).min_by_key(|(slips, _)| *slips);
    near.filter(|(slips, near)| *slips <= (near.len() / 3).max(1)).map(|(_, near)| near)
}

/// A table and its place, taken out of a value.
pub(super) type Entries<'a> = (&'a DeTable<'a>, Offset);

/// A value with its place, as the parser has it.
pub(super) type Raw<'a> = &'a Spanned<DeValue<'a>>;
