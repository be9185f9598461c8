//! `[[registry]]`: how a registry is talked to. One without a section is talked to as is usual.

use std::time::Duration;

use secrecy::SecretString;

use super::section::Section;
use super::value::Value;
use super::world::Place;
use crate::cli::settings::{self, pem_pair};
use crate::model::Host;
use crate::model::text::clean;
use crate::registry::credentials::Keychain;
use crate::registry::{self, Access, Trust};
use crate::serve::settings::{Rate, RegistrySettings};

/// What must be said for plain HTTP to a registry that is on the public internet.
const EXPOSED: &str = "exposed";

/// A registry that has no section: TLS (but for the machine itself), and the login of this machine.
pub(super) fn usual(host: &Host, place: &Place<'_>) -> RegistrySettings {
    let client = settings::usual(host, Access::Publish, place.world.logins.clone());
    RegistrySettings { host: host.clone(), client, rate: None }
}

/// Reads one section.
pub(super) fn read(section: &Section<'_>, place: &Place<'_>) -> Option<RegistrySettings> {
    let host = section.required("host").and_then(|value| value.parse::<Host>("a host"));
    let trust = trust(section, place);
    let plain_http = section.key("plain_http").and_then(|value| plain_http(value, host.as_ref(), &trust));
    let keychain = keychain(section, place);
    let bounds = Duration::from_secs(1)..=Duration::from_secs(3600);
    let usual = usual(&host?, place);
    // Certificates say that TLS is meant.
    let is_plain = usual.client.plain_http && trust.ca_pem.is_none() && trust.identity_pem.is_none();
    let client = registry::Settings {
        plain_http: plain_http.unwrap_or(is_plain),
        trust,
        token_realm_hosts: section.key("token_realm_hosts").map(hosts).unwrap_or_default(),
        keychain: keychain.unwrap_or(usual.client.keychain),
        concurrency: section
            .key("concurrency")
            .and_then(|value| value.number(1..=256))
            .map_or(usual.client.concurrency, |number| number as usize),
        deadline: section.key("timeout").and_then(|value| value.duration(bounds)).unwrap_or(usual.client.deadline),
        ..usual.client
    };
    let rate = section.key("rate").and_then(rate);
    Some(RegistrySettings { host: usual.host, client, rate })
}

fn hosts(value: Value<'_>) -> Vec<String> {
    value.parse_all::<Host>("a host").iter().map(Host::to_string).collect()
}

fn trust(section: &Section<'_>, place: &Place<'_>) -> Trust {
    let pem = |key, marker: &str| {
        let value = section.key(key)?;
        let bytes = place.file(value)?.bytes;
        let has_marker = bytes.windows(marker.len()).any(|window| window == marker.as_bytes());
        if !has_marker {
            let name = clean(value.as_text().unwrap_or(""), 200);
            value.problem(format!("`{name}` does not hold what `{key}` needs: expected PEM with `{marker}`"));
        }
        Some(bytes)
    };
    let certificate = pem("client_cert", "-----BEGIN CERTIFICATE-----");
    let private_key = pem("client_key", "PRIVATE KEY-----");
    match (section.key("client_cert"), section.key("client_key")) {
        (Some(alone), None) => alone.problem("`client_cert` needs `client_key`, too"),
        (None, Some(alone)) => alone.problem("`client_key` needs `client_cert`, too"),
        _ => {}
    }
    Trust {
        ca_pem: pem("ca_file", "-----BEGIN CERTIFICATE-----"),
        identity_pem: certificate.zip(private_key).map(|(certificate, key)| pem_pair(certificate, key)),
    }
}

/// Whether TLS is done without, as the file says it.
fn plain_http(value: Value<'_>, host: Option<&Host>, trust: &Trust) -> Option<bool> {
    let is_exposed = value.as_text() == Some(EXPOSED);
    let plain_http = is_exposed || value.boolean()?;
    if plain_http && (trust.ca_pem.is_some() || trust.identity_pem.is_some()) {
        value.problem("`plain_http` and certificates exclude each other: without TLS nobody looks at them");
    }
    if let Some(host) = host.filter(|host| plain_http && !is_exposed && registry::is_public(host)) {
        value.problem(format!(
            "`{host}` is a name of the public internet, and without TLS everybody on the way reads the login: \
             remove `plain_http`, or say `plain_http = \"{EXPOSED}\"` if that is meant"
        ));
    }
    Some(plain_http)
}

fn keychain(section: &Section<'_>, place: &Place<'_>) -> Option<Keychain> {
    let (username, password) = match (section.key("username"), section.key("password")) {
        (None, None) => return None,
        (Some(username), Some(password)) => (username, password),
        (Some(alone), None) => {
            alone.problem("`username` needs `password`, too");
            return None;
        }
        (None, Some(alone)) => {
            alone.problem("`password` needs `username`, too");
            return None;
        }
    };
    let name = match username.as_text() {
        Some(text) => Some(SecretString::from(text)),
        None => place.secret(username),
    };
    let (name, password) = (name, place.secret(password));
    let name = secrecy::ExposeSecret::expose_secret(&name?).to_owned();
    Keychain::given(name, password?).map_err(|error| username.problem(error)).ok()
}

/// `300/min`, `10/s`, `100/6h`.
fn rate(value: Value<'_>) -> Option<Rate> {
    let text = value.text("a rate")?;
    let rate = text.split_once('/').and_then(|(requests, per)| {
        let per = per.trim();
        let per = if per.starts_with(|c: char| c.is_ascii_digit()) { per.to_owned() } else { format!("1{per}") };
        let per = humantime::parse_duration(&per).ok()?;
        let requests: u32 = requests.trim().parse().ok()?;
        (requests > 0 && !per.is_zero()).then_some(Rate { requests, per })
    });
    if rate.is_none() {
        let found = clean(text, 40);
        value.problem(format!("`rate` is `{found}`, expected requests in a time, such as `300/min` or `100/6h`"));
    }
    rate
}
