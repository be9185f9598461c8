//! `onetag.toml`: read as a whole, checked as a whole, and refused with every reason at once.
//!
//! Reading is a function of the file's path and of the [`World`] it is read in, so that a running
//! service can read it again: what cannot be used changes nothing. A registry needs no section of
//! its own; without one it is talked to as `docker` would, with the logins of this machine. What
//! `[defaults]` says counts for every `[[repository]]` that does not say it itself; a list or table
//! there is replaced, not added to. Relative paths begin at the file's own folder, but
//! for the database's: that is where the service is started.

mod across;
mod hook;
mod notes;
mod registry;
mod rule;
mod section;
mod value;
mod world;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use secrecy::SecretString;
use toml::de::DeTable;

use crate::model::Host;
use crate::model::text::clean;
use crate::serve::settings::{Hook, Notify, RegistrySettings, Rule, Settings};
use crate::store::{Address, StoreError};
use across::Placed;
pub(in crate::cli) use notes::Invalid;
use notes::Notes;
use section::Section;
use value::Value;
pub(in crate::cli) use world::{File, World};
use world::{LARGEST_FILE, Place};

/// How long a job is nobody else's, and a quarter more for the last write: whoever dies with a tag leaves it to
/// others within a minute, and a write is given ten seconds.
const LEASE: Duration = Duration::from_secs(40);
const SHORTEST_LEASE: Duration = Duration::from_secs(2);
const LONGEST_LEASE: Duration = Duration::from_secs(600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A configuration that can be used, and what is worth a look in it.
#[derive(Debug)]
pub(in crate::cli) struct Loaded {
    pub(in crate::cli) settings: Settings,
    pub(in crate::cli) warnings: Vec<String>,
}

/// The parser's message, without what it says when it expects nothing, and with the usual reason.
fn plainly(message: &str) -> String {
    let message = message.strip_suffix(", expected nothing").unwrap_or(message);
    let is_unquoted = ["float", "integer", "datetime"].iter().any(|kind| message.contains(kind));
    if is_unquoted { format!("{message} (a text stands in quotes)") } else { message.to_owned() }
}

/// Who reads the file, and so what in it must hold.
#[derive(Clone, Copy, Debug)]
pub(in crate::cli) enum Reader<'h> {
    /// The service: everything.
    Service,
    /// One command at this registry. Secrets of hooks and files of other registries may be missing.
    Command(&'h Host),
}

/// Reads the configuration at `path`.
///
/// # Errors
///
/// [`Invalid`]: it is not there, or something in it cannot be used.
pub(in crate::cli) fn load(path: &Path, reader: Reader<'_>, world: &World<'_>) -> Result<Loaded, Invalid> {
    let File { bytes, .. } = (world.file)(path).map_err(|error| Invalid::unread(path, error))?;
    if bytes.len() > LARGEST_FILE {
        return Err(Invalid::unread(path, format!("it has more than {LARGEST_FILE} bytes")));
    }
    let text = text(path, &bytes)?;
    let notes = Notes::new(path, text);
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        note_syntax(&notes, &errors);
        notes.end()?;
        return Err(Invalid::unread(path, "it is not TOML"));
    }
    let folder = path.parent().unwrap_or(Path::new("")).to_owned();
    let top = Section::new(&section::TOP, document.get_ref(), 0, &notes);
    let settings = read(&top, reader, &Place { world, folder }, &notes);
    let warnings = notes.end()?;
    match settings {
        Some(settings) => Ok(Loaded { settings, warnings }),
        None => Err(Invalid::unread(path, "it cannot be used")),
    }
}

/// The file as text. A place that is not UTF-8 is told like any other.
fn text<'b>(path: &Path, bytes: &'b [u8]) -> Result<&'b str, Invalid> {
    std::str::from_utf8(bytes).map_err(|error| {
        let readable = std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or("");
        let notes = Notes::new(path, readable);
        notes.problem(readable.len(), "this is not text in UTF-8");
        notes.end().err().unwrap_or_else(|| Invalid::unread(path, "it is not text in UTF-8"))
    })
}

fn note_syntax(notes: &Notes<'_>, errors: &[toml::de::Error]) {
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        match error.message() {
            "duplicate key" => {
                let key = clean(notes.text(span.clone()), 60);
                notes.problem(span.start, format!("duplicate key `{key}`: expected each key once"));
            }
            message => notes.problem(span.start, plainly(message)),
        }
    }
}

/// Reads everything, however much of it is wrong.
fn read(top: &Section<'_>, reader: Reader<'_>, place: &Place<'_>, notes: &Notes<'_>) -> Option<Settings> {
    let defaults = top.key("defaults").and_then(|value| value.entries("a table"));
    let defaults = defaults.map(|(table, at)| Section::new(&section::REPOSITORY, table, at, notes));
    let rules = top.sections("repository", &section::REPOSITORY).into_iter();
    let rules: Vec<Placed<Rule>> =
        rules.filter_map(|section| Some((section.at(), rule::read(&section.or(defaults.as_ref()))?))).collect();
    across::check_rules(&rules, notes);

    let registries = top.sections("registry", &section::REGISTRY).into_iter();
    let registries = registries.filter(|section| reader.is_concerned(section));
    let registries: Vec<_> =
        registries.filter_map(|section| Some((section, registry::read(&section, place)?))).collect();
    across::check_registries(&registries, &rules);

    let (hooks, notify, admin_token) = match reader {
        Reader::Service => service(top, &rules, place),
        Reader::Command(_) => Default::default(),
    };
    let (listen, admin) = addresses(top);
    let (database, journal_days) = (database(top, reader, place), top.key("journal").map_or(Some(90), days));
    let lease = top.key("lease").map_or(Some(LEASE), |value| value.duration(SHORTEST_LEASE..=LONGEST_LEASE));
    Some(Settings {
        listen: listen?,
        admin: admin?,
        admin_hosts: top.key("admin_hosts").map(admin_hosts).unwrap_or_default(),
        admin_token,
        database: database?,
        lease: lease?,
        journal_days: journal_days?,
        registries: every_registry(registries.into_iter().map(|(_, registry)| registry).collect(), &rules, place),
        rules: rules.into_iter().map(|(_, rule)| rule).collect(),
        hooks,
        notify,
    })
}

/// What only the service needs.
fn service(
    top: &Section<'_>,
    rules: &[Placed<Rule>],
    place: &Place<'_>,
) -> (Vec<Hook>, Vec<Notify>, Option<SecretString>) {
    if top.key("repository").is_none() {
        top.problem("there is no [[repository]]: nothing may be touched, so there is nothing to do");
    }
    let hooks = top.sections("hook", &section::HOOK).into_iter();
    let hooks: Vec<_> = hooks.filter_map(|section| Some((section, hook::read(&section, place)?))).collect();
    across::check_hooks(&hooks, rules);
    let notify = top.sections("notify", &section::NOTIFY);
    let notify = notify.iter().filter_map(|section| hook::read_notify(section, place)).collect();
    let admin_token = top.key("admin_token").and_then(|value| place.secret(value));
    (hooks.into_iter().map(|(_, hook)| hook).collect(), notify, admin_token)
}

impl Reader<'_> {
    fn is_concerned(self, registry: &Section<'_>) -> bool {
        let named = || registry.key("host").and_then(|value| value.as_text()?.parse::<Host>().ok());
        match self {
            Reader::Service => true,
            Reader::Command(host) => named().is_none_or(|named| named == *host),
        }
    }
}

fn addresses(top: &Section<'_>) -> (Option<SocketAddr>, Option<SocketAddr>) {
    let address = |key, usual: &str| match top.key(key) {
        None => usual.parse().ok(),
        Some(value) => {
            let text = value.text("an address and a port")?;
            let address = text.parse().ok();
            if address.is_none() {
                let found = clean(text, 60);
                value.problem(format!("`{key}` is `{found}`, expected an IP address and a port such as `{usual}`"));
            }
            address
        }
    };
    let (listen, admin): (Option<SocketAddr>, Option<SocketAddr>) =
        (address("listen", "0.0.0.0:8470"), address("admin", "127.0.0.1:8471"));
    if let Some((listen, admin)) = listen.zip(admin)
        && let Some(value) = top.key("admin").or(top.key("listen"))
        && listen.port() == admin.port()
        && listen.port() != 0
        && (listen.ip() == admin.ip() || listen.ip().is_unspecified() || admin.ip().is_unspecified())
    {
        value.problem(format!("`listen` and `admin` would share port {}: expected two ports", listen.port()));
    }
    (listen, admin)
}

/// Names without a port, as browsers send them.
fn admin_hosts(value: Value<'_>) -> Vec<String> {
    let host = |item: Value<'_>| {
        let text = item.text("a host's name")?;
        let is_name = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'));
        if !is_name {
            let found = clean(text, 60);
            item.problem(format!(
                "`{found}` is no host's name: expected one without scheme and port, `onetag.example.com`"
            ));
        }
        is_name.then(|| text.to_owned())
    };
    value.items("a list of names").into_iter().filter_map(host).collect()
}

/// The address itself, or a table with the address and its password.
fn database(top: &Section<'_>, reader: Reader<'_>, place: &Place<'_>) -> Option<Address> {
    let usual = "sqlite://onetag.db";
    let Some(value) = top.key("database") else { return Some(usual.into()) };
    let (url, password) = match value.as_text() {
        Some(_) => (value, None),
        None => {
            let entries = value.entries("an address, or a table with its `url` and `password`")?;
            let section = top.within(&section::DATABASE, entries);
            (section.required("url")?, section.key("password"))
        }
    };
    let address = Address::from(url.text("a database")?);
    let checked = address.check().and_then(|()| match reader {
        Reader::Service => check_here(&address, place.world),
        Reader::Command(_) => Ok(()),
    });
    match checked {
        Ok(()) => {}
        // Not repeated, since an address may hold a password.
        Err(StoreError::Address { .. }) => url.problem(format!(
            "`database` is not one that can be used: expected for example `{usual}` or `postgres://onetag@db/onetag`"
        )),
        Err(error) => url.problem(error),
    }
    let Some(password) = password.filter(|_| matches!(reader, Reader::Service)) else { return Some(address) };
    let secret = place.secret(password)?;
    Some(match place.path_of_secret(password) {
        Some(file) => address.with_password_file(secret, file),
        None => address.with_password(secret),
    })
}

/// What the database's address needs of this machine.
fn check_here(address: &Address, world: &World<'_>) -> Result<(), StoreError> {
    address.check_here(world.variable, &|path| (world.file)(path).map(|file| file.bytes))
}

fn days(value: Value<'_>) -> Option<u32> {
    let duration = value.duration(DAY..=36_500 * DAY)?;
    if duration.as_secs() % DAY.as_secs() != 0 || duration.subsec_nanos() != 0 {
        value.problem(format!("`{}` is not a number of days: expected for example `90d`", value.key));
        return None;
    }
    u32::try_from(duration.as_secs() / DAY.as_secs()).ok()
}

/// The registries that have sections, and those that only rules name.
fn every_registry(
    mut registries: Vec<RegistrySettings>,
    rules: &[Placed<Rule>],
    place: &Place<'_>,
) -> Vec<RegistrySettings> {
    for (_, rule) in rules {
        if registries.iter().all(|registry| registry.host != rule.host) {
            registries.push(registry::usual(&rule.host, place));
        }
    }
    registries
}
