//! `[[hook]]` and `[[notify]]`: who may tell of pushes, and who is told of what was done.

use reqwest::Url;
use reqwest::header::{HeaderName, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};

use super::section::Section;
use super::value::Value;
use super::world::Place;
use crate::model::Host;
use crate::model::text::clean;
use crate::serve::settings::{Event, Format, Glob, GoogleKeys, Hook, Keys, Notify, Proof};

/// A secret in a URL has at least 128 bits if it is 22 letters of base64.
const SHORTEST_IN_URL: usize = 22;
/// Shorter secrets can be guessed.
const SHORTEST: usize = 16;

/// Every format, as it is written.
const FORMATS: [&str; 17] = [
    "distribution",
    "gitlab",
    "zot",
    "harbor",
    "quay",
    "dockerhub",
    "ghcr",
    "acr",
    "eventgrid",
    "ecr",
    "gar",
    "gitea",
    "forgejo",
    "artifactory",
    "nexus",
    "alibaba",
    "msr",
];

/// What only a hook whose senders have tokens can have.
const TOKEN_KEYS: [&str; 4] = ["audience", "email", "keys_file", "keys_url"];

/// Everything that can be told.
const EVENTS: [Event; 4] = [Event::Published, Event::Held, Event::Recovered, Event::Problem];

/// How a sender can show that it is genuine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Header,
    Signature,
    Url,
    Token,
}

impl Way {
    fn as_str(self) -> &'static str {
        match self {
            Way::Header => "header",
            Way::Signature => "signature",
            Way::Url => "url",
            Way::Token => "token",
        }
    }
}

/// What senders of a format are able to, the usual first. All of them can call any URL.
fn ways(format: Format) -> &'static [Way] {
    match format {
        Format::Distribution | Format::Gitlab | Format::Zot | Format::Harbor | Format::Acr | Format::Ecr => {
            &[Way::Header, Way::Url]
        }
        Format::Ghcr | Format::Nexus => &[Way::Signature, Way::Url],
        Format::Gitea | Format::Forgejo | Format::Artifactory => &[Way::Signature, Way::Header, Way::Url],
        Format::EventGrid => &[Way::Url, Way::Header],
        Format::Quay | Format::DockerHub | Format::Alibaba | Format::Msr => &[Way::Url],
        Format::Gar => &[Way::Token, Way::Url],
    }
}

/// Reads one hook.
pub(super) fn read(section: &Section<'_>, place: &Place<'_>) -> Option<Hook> {
    let name = section.required("name").and_then(name);
    let registry = section.required("registry").and_then(|value| value.parse::<Host>("a host"));
    let format = section.required("format").and_then(format);
    let proof = proof(section, place, format?);
    let path = |key| section.key(key).and_then(|value| value.text("a part of a path")).unwrap_or("").to_owned();
    let (repository_strip, repository_prefix) = (path("repository_strip"), path("repository_prefix"));
    Some(Hook { name: name?, format: format?, registry: registry?, proof: proof?, repository_strip, repository_prefix })
}

fn name(value: Value<'_>) -> Option<String> {
    let text = value.text("a name")?;
    let is_safe = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let is_name = text.len() <= 64
        && text.bytes().all(is_safe)
        && text.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric());
    if !is_name {
        let expected = "1 to 64 letters, digits, `-`, `_` and `.`, since it is a part of the URL";
        value.problem(format!("`{}` is not a hook's name: expected {expected}", clean(text, 80)));
    }
    is_name.then(|| text.to_owned())
}

fn format(value: Value<'_>) -> Option<Format> {
    let text = value.text("a format")?;
    value.one_of(text, FORMATS.into_iter())?.parse().ok()
}

fn proof(section: &Section<'_>, place: &Place<'_>, format: Format) -> Option<Proof> {
    let way = way(section, format)?;
    let for_tokens = TOKEN_KEYS.iter().map(|key| (*key, Way::Token));
    for (key, needed) in [("header", Way::Header)].into_iter().chain(for_tokens) {
        if let Some(value) = section.key(key).filter(|_| way != needed) {
            let (needed, way) = (needed.as_str(), way.as_str());
            value.problem(format!("`{key}` is for `proof = \"{needed}\"`, and here it is `proof = \"{way}\"`"));
        }
    }
    if let Some(secret) = section.key("secret").filter(|secret| secret.as_text() == Some("none")) {
        for key in ["proof", "header"].into_iter().chain(TOKEN_KEYS) {
            if section.key(key).is_some() {
                secret.problem(format!("`secret = \"none\"` lets everybody in, so `{key}` cannot be kept"));
            }
        }
        return Some(Proof::Nothing);
    }
    if way == Way::Token {
        if let Some(secret) = section.key("secret") {
            secret.problem("`secret` is of no use to `proof = \"token\"`: Google signs with keys of its own");
        }
        return token(section, place);
    }
    let value = section.required("secret")?;
    let secrets = place.secrets(value)?;
    check(value, &secrets, way);
    Some(match way {
        Way::Header => Proof::Header { name: header(section, format)?, values: secrets },
        Way::Signature => Proof::Signature(secrets),
        Way::Url | Way::Token => Proof::Url(secrets),
    })
}

/// How this hook's sender is known: as the file says, or as is usual for its format.
fn way(section: &Section<'_>, format: Format) -> Option<Way> {
    let ways = ways(format);
    let Some(value) = section.key("proof") else {
        let by_header = section.key("header").is_some() && ways.contains(&Way::Header);
        return if by_header { Some(Way::Header) } else { ways.first().copied() };
    };
    let text = value.text("a word")?;
    let named = value.one_of(text, ways.iter().map(|way| way.as_str()))?;
    ways.iter().find(|way| way.as_str() == named).copied()
}

fn header(section: &Section<'_>, format: Format) -> Option<HeaderName> {
    let Some(value) = section.key("header") else {
        let is_artifactory = format == Format::Artifactory;
        let usual = if is_artifactory { "x-jfrog-event-auth" } else { "authorization" };
        return Some(HeaderName::from_static(usual));
    };
    let text = value.text("a header's name")?;
    let name = text.parse().ok();
    if name.is_none() {
        value.problem(format!("`{}` is not a header's name: expected for example `Authorization`", clean(text, 60)));
    }
    name
}

/// Whether the sender could show such a secret at all. Says nothing of the secret itself.
fn check(value: Value<'_>, secrets: &[SecretString], way: Way) {
    for secret in secrets.iter().map(|secret| secret.expose_secret()) {
        let is_unreserved = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~');
        if way == Way::Url && !(secret.len() >= SHORTEST_IN_URL && secret.bytes().all(is_unreserved)) {
            value.problem(format!(
                "this secret cannot be a part of a URL that nobody guesses: expected at least {SHORTEST_IN_URL} \
                 letters, digits, `-`, `_`, `.` and `~`, for example from `openssl rand -hex 16`"
            ));
        } else if way == Way::Header && (HeaderValue::from_str(secret).is_err() || secret.trim() != secret) {
            value.problem(
                "this secret cannot be a header's value: it has line ends, control characters or outer spaces",
            );
        } else if secret.len() < SHORTEST {
            value.warning(format!("a secret of less than {SHORTEST} characters can be guessed"));
        }
    }
}

fn token(section: &Section<'_>, place: &Place<'_>) -> Option<Proof> {
    let text = |key| section.required(key).and_then(|value: Value<'_>| value.text("a text")).map(str::to_owned);
    let (audience, email) = (text("audience"), text("email"));
    let keys = match (section.key("keys_file"), section.key("keys_url")) {
        (None, None) => Some(GoogleKeys::At(Url::parse(GoogleKeys::URL).expect("Google's keys have a URL"))),
        (None, Some(url)) => keys_url(url).map(GoogleKeys::At),
        (Some(file), url) => {
            if let Some(url) = url.filter(|url| keys_url(*url).is_some()) {
                url.warning("nothing is fetched from `keys_url`, since `keys_file` has the keys");
            }
            keys_file(file, place).map(GoogleKeys::Given)
        }
    };
    Some(Proof::GoogleToken { audience: audience?, email: email?, keys: keys? })
}

fn keys_file(value: Value<'_>, place: &Place<'_>) -> Option<Keys> {
    let keys = Keys::read(&place.file(value)?.bytes);
    keys.map_err(|error| value.problem(format!("`keys_file` cannot be used: {error}"))).ok()
}

/// Where keys can be fetched that nobody changed on the way.
fn keys_url(value: Value<'_>) -> Option<Url> {
    let text = value.text("a URL")?;
    let is_safe = |url: &Url| match url.scheme() {
        "https" => url.host_str().is_some(),
        "http" => url.host_str().is_some_and(is_this_machine),
        _ => false,
    };
    let has_login = |url: &Url| !url.username().is_empty() || url.password().is_some();
    let url = Url::parse(text).ok().filter(|url| is_safe(url) && !has_login(url));
    if url.is_none() {
        value.problem(format!(
            "`keys_url` is not a URL that keys can be trusted from: expected https, as in `{}`, or this machine itself",
            GoogleKeys::URL
        ));
    }
    url
}

fn is_this_machine(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// Reads one receiver of notifications.
pub(super) fn read_notify(section: &Section<'_>, place: &Place<'_>) -> Option<Notify> {
    let url = section.required("url").and_then(|value| url(value, place));
    let secret = section.required("secret").and_then(|value| place.secret(value));
    let events = section.key("events").map(|value| value.items("a list of events"));
    let events = events.map_or(EVENTS.to_vec(), |items| items.into_iter().filter_map(event).collect());
    let repositories = section.key("repositories").map(|value| value.parse_all::<Glob>("a glob"));
    Some(Notify { url: url?, secret: secret?, events, repositories: repositories.unwrap_or_default() })
}

fn event(value: Value<'_>) -> Option<Event> {
    let text = value.text("an event")?;
    let name = value.one_of(text, EVENTS.iter().map(|event| event.as_str()))?;
    EVENTS.into_iter().find(|event| event.as_str() == name)
}

/// A URL, which may be as secret as a password and is not repeated.
fn url(value: Value<'_>, place: &Place<'_>) -> Option<Url> {
    let text = match value.as_text() {
        Some(text) => SecretString::from(text),
        None => place.secret(value)?,
    };
    let url = Url::parse(text.expose_secret()).ok();
    let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.host_str().is_some());
    if url.is_none() {
        value.problem("`url` is not a URL to send to: expected for example `https://example.com/onetag`");
    }
    url
}
