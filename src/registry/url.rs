//! Where requests may go: one policy for every URL that a server gives us.
//!
//! A registry may send us to object storage and to a token server. Nothing else follows from what
//! a server says: no plain HTTP where the registry is TLS, no host that is more private than the
//! registry itself, no realm outside the registry's own domain unless the operator names it.

use std::net::{IpAddr, Ipv6Addr};

use reqwest::Url;

use crate::model::Host;

/// How private an address is. What a server names may be at most as private as the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Reach {
    /// Anybody's.
    Public = 0,
    /// Inside an organisation's network.
    Private = 1,
    /// This machine.
    Loopback = 2,
    /// Link-local, where clouds keep their metadata services; never contacted unless it is the
    /// registry that was configured.
    Never = 3,
}

impl Reach {
    /// How private `address` is.
    pub(super) fn of(address: IpAddr) -> Reach {
        match address {
            IpAddr::V4(v4) => {
                let [a, b, ..] = v4.octets();
                let is_shared = a == 100 && (64..128).contains(&b);
                if v4.is_link_local() || v4.is_unspecified() || a == 0 || v4.is_broadcast() || v4.is_multicast() {
                    Reach::Never
                } else if v4.is_loopback() {
                    Reach::Loopback
                } else if v4.is_private() || is_shared {
                    Reach::Private
                } else {
                    Reach::Public
                }
            }
            IpAddr::V6(v6) => match v6.to_ipv4_mapped().or_else(|| embedded_v4(v6)) {
                Some(v4) => Reach::of(IpAddr::V4(v4)),
                None if v6.is_loopback() => Reach::Loopback,
                None if v6.is_unspecified() || v6.is_multicast() || v6.segments()[0] & 0xffc0 == 0xfe80 => Reach::Never,
                None if v6.segments()[..2] == [0xfd00, 0x0ec2] => Reach::Never,
                None if v6.segments()[0] & 0xfe00 == 0xfc00 => Reach::Private,
                None => Reach::Public,
            },
        }
    }

    pub(super) fn from_u8(value: u8) -> Reach {
        match value {
            0 => Reach::Public,
            1 => Reach::Private,
            2 => Reach::Loopback,
            _ => Reach::Never,
        }
    }
}

/// The IPv4 address that a NAT64 prefix carries.
fn embedded_v4(v6: Ipv6Addr) -> Option<std::net::Ipv4Addr> {
    let segments = v6.segments();
    let octets = v6.octets();
    (segments[..6] == [0x64, 0xff9b, 0, 0, 0, 0])
        .then(|| std::net::Ipv4Addr::new(octets[12], octets[13], octets[14], octets[15]))
}

/// The address that a URL's host is, if it is one and not a name.
pub(super) fn literal_address(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    host.trim_matches(['[', ']']).parse().ok()
}

/// Whether a registry's name is one of the public internet: an address in it, or a name below a
/// domain that anybody can register under. What such a name leads to may be private all the same.
pub fn is_public(host: &Host) -> bool {
    let Ok(url) = Url::parse(&format!("https://{}", host.api())) else {
        return false;
    };
    let name = url.host_str().unwrap_or("");
    let is_known = |name: &str| psl::suffix(name.as_bytes()).is_some_and(|suffix| suffix.is_known());
    match literal_address(&url) {
        Some(address) => Reach::of(address) == Reach::Public,
        None => is_known(name) && name.contains('.') && !name.ends_with(".home.arpa"),
    }
}

/// Whether two URLs are of one scheme, host and port.
pub(super) fn same_origin(a: &Url, b: &Url) -> bool {
    a.scheme() == b.scheme() && a.host_str() == b.host_str() && a.port_or_known_default() == b.port_or_known_default()
}

/// Checks a URL that a server gave us, whatever for.
///
/// # Errors
///
/// Why it is refused, in words.
pub(super) fn check_given(registry: &Url, reach: Reach, target: &Url) -> Result<(), &'static str> {
    match (registry.scheme(), target.scheme()) {
        (_, "https") | ("http", "http") => {}
        (_, "http") => return Err("the registry is reached over TLS and this is not"),
        _ => return Err("it is neither https nor http"),
    }
    if !target.username().is_empty() || target.password().is_some() {
        return Err("it carries a user name or password");
    }
    if same_origin(registry, target) {
        return Ok(());
    }
    match literal_address(target).map(Reach::of) {
        Some(Reach::Never) => Err("it is a link-local or unspecified address"),
        Some(target) if target > reach => Err("it is a private address and the registry is not"),
        _ => Ok(()),
    }
}

/// Checks the address of a token server (the realm of a challenge), which gets the user's secret.
///
/// # Errors
///
/// Why it is refused, in words.
pub(super) fn check_realm(registry: &Url, allowed_hosts: &[String], realm: &Url) -> Result<(), &'static str> {
    if realm.scheme() != "https" && !(realm.scheme() == "http" && registry.scheme() == "http") {
        return Err("it is not https, though the registry is");
    }
    if !realm.username().is_empty() || realm.password().is_some() {
        return Err("it carries a user name or password");
    }
    if same_origin(registry, realm) {
        return Ok(());
    }
    let Some(host) = realm.host_str() else {
        return Err("it names no host");
    };
    let host_and_port = realm.port().map(|port| format!("{host}:{port}"));
    if allowed_hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(host) || host_and_port.as_ref() == Some(allowed))
    {
        return Ok(());
    }
    if let Some(address) = literal_address(realm) {
        return match Reach::of(address) {
            Reach::Public if registry.host_str() == Some(host) => Ok(()),
            Reach::Public => Err("it is an address outside the registry's domain"),
            _ => Err("it is a private address that is not the registry's"),
        };
    }
    let registrable = |host: &str| psl::domain_str(host).map(str::to_owned);
    let registry_host = registry.host_str().unwrap_or("");
    let same_domain = literal_address(registry).is_none()
        && registrable(registry_host).is_some_and(|domain| registrable(host).as_deref() == Some(domain.as_str()));
    if registry_host == host || same_domain { Ok(()) } else { Err("it is outside the registry's domain") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().expect("a URL")
    }

    #[test]
    fn a_name_is_public_if_anybody_could_have_registered_it() {
        let is_public = |host: &str| is_public(&host.parse().expect("a host"));
        for host in ["docker.io", "quay.io:443", "registry.example.co.uk", "8.8.8.8:5000", "[2001:db8::1]"] {
            assert!(is_public(host), "{host}");
        }
        for host in [
            "localhost",
            "registry",
            "registry:5000",
            "registry.internal",
            "r.lan",
            "10.0.0.7",
            "[fd00::1]:80",
            "r.svc.cluster.local",
        ] {
            assert!(!is_public(host), "{host}");
        }
    }

    #[test]
    fn a_realm_must_be_at_home_with_its_registry() {
        let realm = |registry: &str, realm: &str| {
            check_realm(&url(registry), &["auth.example.net".to_owned()], &url(realm)).err().unwrap_or("allowed")
        };
        assert_eq!(realm("https://registry-1.docker.io", "https://auth.docker.io/token"), "allowed");
        assert_eq!(realm("https://registry.gitlab.example.com", "https://gitlab.example.com/jwt/auth"), "allowed");
        assert_eq!(realm("https://ghcr.io", "https://ghcr.io/token"), "allowed");
        assert_eq!(realm("https://quay.io:8443", "https://quay.io/v2/auth"), "allowed");
        assert_eq!(realm("https://r.example.com", "https://auth.example.net/token"), "allowed");
        assert_eq!(realm("http://127.0.0.1:5000", "http://127.0.0.1:5000/token"), "allowed");

        assert_eq!(
            realm("https://r.example.com", "http://r.example.com/token"),
            "it is not https, though the registry is"
        );
        assert_eq!(
            realm("https://r.example.com", "https://evil.example.org/token"),
            "it is outside the registry's domain"
        );
        assert_eq!(realm("https://a.github.io", "https://b.github.io/token"), "it is outside the registry's domain");
        assert_eq!(
            realm("https://r.example.com", "https://169.254.169.254/"),
            "it is a private address that is not the registry's"
        );
        assert_eq!(
            realm("http://127.0.0.1:5000", "http://127.0.0.1:5001/"),
            "it is a private address that is not the registry's"
        );
        assert_eq!(
            realm("https://r.example.com", "https://0.0.0.0/"),
            "it is a private address that is not the registry's"
        );
        assert_eq!(realm("https://r.example.com", "https://u:p@r.example.com/"), "it carries a user name or password");
        assert_eq!(realm("https://10.0.0.1", "https://8.8.8.8/"), "it is an address outside the registry's domain");
    }

    #[test]
    fn a_server_cannot_send_us_further_inside_than_it_is_itself() {
        let given = |registry: &str, reach, target: &str| {
            check_given(&url(registry), reach, &url(target)).err().unwrap_or("allowed")
        };
        let public = "https://r.example.com";
        assert_eq!(given(public, Reach::Public, "https://storage.example.net/blob?sig=x"), "allowed");
        assert_eq!(
            given(public, Reach::Public, "http://storage.example.net/"),
            "the registry is reached over TLS and this is not"
        );
        assert_eq!(
            given(public, Reach::Public, "https://10.1.2.3/"),
            "it is a private address and the registry is not"
        );
        assert_eq!(
            given(public, Reach::Public, "https://[::ffff:127.0.0.1]/"),
            "it is a private address and the registry is not"
        );
        assert_eq!(
            given(public, Reach::Public, "https://[64:ff9b::a9fe:a9fe]/"),
            "it is a link-local or unspecified address"
        );
        assert_eq!(given(public, Reach::Private, "https://10.1.2.3/"), "allowed");
        assert_eq!(
            given(public, Reach::Private, "https://127.0.0.1/"),
            "it is a private address and the registry is not"
        );
        assert_eq!(given("http://127.0.0.1:5000", Reach::Loopback, "http://127.0.0.1:9000/"), "allowed");
        assert_eq!(
            given("http://127.0.0.1:5000", Reach::Loopback, "http://169.254.169.254/"),
            "it is a link-local or unspecified address"
        );
        assert_eq!(given(public, Reach::Public, "ftp://r.example.com/"), "it is neither https nor http");
    }

    #[test]
    fn addresses_are_as_private_as_they_are() {
        let reach = |text: &str| Reach::of(text.parse().expect("an address"));
        for (address, expected) in [
            ("8.8.8.8", Reach::Public),
            ("2606:4700::1111", Reach::Public),
            ("10.0.0.1", Reach::Private),
            ("172.16.0.1", Reach::Private),
            ("192.168.1.1", Reach::Private),
            ("100.64.0.1", Reach::Private),
            ("fd12::1", Reach::Private),
            ("127.0.0.53", Reach::Loopback),
            ("::1", Reach::Loopback),
            ("169.254.169.254", Reach::Never),
            ("fe80::1", Reach::Never),
            ("fd00:ec2::254", Reach::Never),
            ("0.0.0.0", Reach::Never),
            ("::", Reach::Never),
        ] {
            assert_eq!(reach(address), expected, "{address}");
        }
    }
}
