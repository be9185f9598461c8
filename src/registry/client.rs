//! The HTTP clients underneath: TLS roots, proxies, and which addresses may be connected to.
//!
//! There are two. One talks to the registry and may show the client certificate; the other goes
//! wherever the registry sends us, shows none, and connects only to addresses that are no more
//! private than the registry's own. Each is made when it is first needed: reading the system's
//! certificates takes longer than everything else at start-up.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Certificate, Client, Identity, Url, redirect, retry};

use super::error::RegistryError;
use super::url::{Reach, literal_address};

/// How to reach the registry.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Trust {
    /// Certificates in PEM that are trusted beside the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// Our own certificate and key in PEM, shown to the registry and to nobody else.
    pub identity_pem: Option<Vec<u8>>,
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let identity = self.identity_pem.as_ref().map(|_| "****");
        let ca_bytes = self.ca_pem.as_ref().map(Vec::len);
        f.debug_struct("Trust").field("ca_bytes", &ca_bytes).field("identity", &identity).finish()
    }
}

/// The clients of one registry.
#[derive(Debug)]
pub(super) struct Clients {
    registry: Url,
    trust: Trust,
    /// Names that the user gave us beside the registry's: proxies and token servers.
    given: Arc<[String]>,
    /// How private the registry's own addresses turned out to be, as [`Reach`].
    reach: Arc<AtomicU8>,
    own: OnceLock<Client>,
    foreign: OnceLock<Client>,
}

impl Clients {
    pub(super) fn new(registry: &Url, trust: Trust, token_realm_hosts: &[String]) -> Clients {
        let reach = match (literal_address(registry), registry.host_str()) {
            (Some(address), _) => Reach::of(address),
            (None, Some("localhost")) => Reach::Loopback,
            _ => Reach::Public,
        };
        Clients {
            registry: registry.clone(),
            trust,
            given: proxy_hosts().chain(token_realm_hosts.iter().cloned()).map(without_port).collect(),
            reach: Arc::new(AtomicU8::new(reach as u8)),
            own: OnceLock::new(),
            foreign: OnceLock::new(),
        }
    }

    /// How private the registry is, as far as its addresses are known by now.
    pub(super) fn reach(&self) -> Reach {
        Reach::from_u8(self.reach.load(Ordering::Relaxed))
    }

    /// For the registry itself.
    pub(super) fn own(&self) -> Result<&Client, RegistryError> {
        made_once(&self.own, || {
            let mut builder = self.builder(true);
            if self.registry.scheme() == "https" {
                builder = builder.tls_certs_only(self.roots()?);
                if let Some(pem) = &self.trust.identity_pem {
                    let identity = Identity::from_pem(pem)
                        .map_err(|e| settings(format!("the client certificate or its key cannot be read ({e})")))?;
                    builder = builder.identity(identity);
                }
            } else {
                builder = builder.tls_certs_only([]);
            }
            builder.build().map_err(|e| settings(e.to_string()))
        })
    }

    /// For wherever the registry sends us.
    pub(super) fn foreign(&self) -> Result<&Client, RegistryError> {
        made_once(&self.foreign, || {
            let builder = self.builder(false);
            builder.tls_certs_only(self.roots()?).build().map_err(|e| settings(e.to_string()))
        })
    }

    fn builder(&self, is_own: bool) -> reqwest::ClientBuilder {
        let guard = Guard { reach: self.reach.clone(), given: self.given.clone(), learns: is_own };
        let builder = Client::builder()
            .user_agent(concat!("onetag/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .referer(false)
            .connect_timeout(Duration::from_secs(10))
            .pool_idle_timeout(Duration::from_secs(60))
            .http1_max_headers(128)
            .http2_max_header_list_size(64 * 1024)
            .dns_resolver(guard);
        // A proxy could only reach its own loopback.
        if self.reach() == Reach::Loopback { builder.no_proxy() } else { builder }
    }

    /// The usual certificates, and those given to us.
    fn roots(&self) -> Result<Vec<Certificate>, RegistryError> {
        let mut roots = usual_roots();
        if let Some(pem) = &self.trust.ca_pem {
            let given = Certificate::from_pem_bundle(pem)
                .map_err(|e| settings(format!("the CA file is not a list of PEM certificates ({e})")))?;
            if given.is_empty() {
                return Err(settings(
                    "the CA file holds no certificate; expected `-----BEGIN CERTIFICATE-----`".into(),
                ));
            }
            roots.extend(given);
        }
        Ok(roots)
    }
}

/// What a client is made of that talks to one server which the user named and which is no registry:
/// a receiver of notices, or a running service.
///
/// It trusts whom the registry's client trusts, and follows nobody elsewhere. Without TLS it needs
/// no certificates, and the machine may have none.
pub fn client_for(url: &Url) -> reqwest::ClientBuilder {
    let is_https = url.scheme() == "https";
    let is_loopback = match literal_address(url) {
        Some(address) => Reach::of(address) == Reach::Loopback,
        None => url.host_str() == Some("localhost"),
    };
    let builder = Client::builder()
        .user_agent(concat!("onetag/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .referer(false)
        .connect_timeout(Duration::from_secs(10))
        .tls_certs_only(if is_https { usual_roots() } else { Vec::new() });
    // A proxy could only reach its own loopback.
    if is_loopback { builder.no_proxy() } else { builder }
}

/// The system's certificates or, where it has none, Mozilla's.
fn usual_roots() -> Vec<Certificate> {
    let native = rustls_native_certs::load_native_certs();
    let roots: Vec<Certificate> = native.certs.iter().filter_map(|der| Certificate::from_der(der).ok()).collect();
    if !roots.is_empty() {
        return roots;
    }
    let bundled = webpki_root_certs::TLS_SERVER_ROOT_CERTS;
    bundled.iter().filter_map(|der| Certificate::from_der(der).ok()).collect()
}

fn settings(message: String) -> RegistryError {
    RegistryError::Settings(message)
}

fn made_once(
    cell: &OnceLock<Client>,
    make: impl FnOnce() -> Result<Client, RegistryError>,
) -> Result<&Client, RegistryError> {
    if cell.get().is_none() {
        let client = make()?;
        let _ = cell.set(client); // another thread may have been first, with an equal one
    }
    Ok(cell.get().expect("it was set above"))
}

/// Looks names up with the system's resolver and drops addresses that must not be connected to:
/// the address that is checked is the one that is used, whatever the name resolves to next time.
struct Guard {
    reach: Arc<AtomicU8>,
    /// Names that the user gave us, which may be as private as they like.
    given: Arc<[String]>,
    /// Whether other names are the registry's own, whose addresses set the measure for all others.
    learns: bool,
}

fn without_port(host: String) -> String {
    let name = host.split_once(':').map_or(host.as_str(), |(name, _)| name);
    name.to_ascii_lowercase()
}

/// The hosts of the proxies that the environment names.
fn proxy_hosts() -> impl Iterator<Item = String> {
    let names = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
    let values = names.into_iter().filter_map(|name| std::env::var(name).ok());
    values.filter_map(|value| {
        let text = if value.contains("://") { value } else { format!("http://{value}") };
        text.parse::<Url>().ok()?.host_str().map(str::to_owned)
    })
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let is_given = self.given.iter().any(|given| given == name.as_str());
        let (reach, learns) = (self.reach.clone(), self.learns && !is_given);
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let widest =
                if learns || is_given { Reach::Loopback } else { Reach::from_u8(reach.load(Ordering::Relaxed)) };
            let allowed: Vec<SocketAddr> =
                found.iter().copied().filter(|address| Reach::of(address.ip()) <= widest).collect();
            if allowed.is_empty() {
                return Err(match found.is_empty() {
                    true => format!("`{}` has no address", name.as_str()).into(),
                    false => {
                        format!("`{}` has only addresses that must not be contacted from here", name.as_str()).into()
                    }
                });
            }
            if learns {
                let own = allowed.iter().map(|address| Reach::of(address.ip())).max().unwrap_or(Reach::Public);
                reach.fetch_max(own as u8, Ordering::Relaxed);
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn may_connect_to_localhost(reach: Reach, given: &[&str], learns: bool) -> (bool, Reach) {
        let known = Arc::new(AtomicU8::new(reach as u8));
        let given = given.iter().map(|&given| given.to_owned()).collect();
        let guard = Guard { reach: known.clone(), given, learns };
        let is_allowed = guard.resolve("localhost".parse().expect("a name")).await.is_ok();
        (is_allowed, Reach::from_u8(known.load(Ordering::Relaxed)))
    }

    #[tokio::test]
    async fn a_name_is_judged_by_the_address_that_will_be_connected_to() {
        assert_eq!(may_connect_to_localhost(Reach::Public, &[], false).await, (false, Reach::Public));
        assert_eq!(may_connect_to_localhost(Reach::Private, &[], false).await, (false, Reach::Private));
        assert_eq!(may_connect_to_localhost(Reach::Loopback, &[], false).await, (true, Reach::Loopback));
    }

    #[tokio::test]
    async fn the_registry_sets_the_measure_and_a_proxy_does_not() {
        assert_eq!(may_connect_to_localhost(Reach::Public, &[], true).await, (true, Reach::Loopback));
        assert_eq!(may_connect_to_localhost(Reach::Public, &["localhost"], true).await, (true, Reach::Public));
        assert_eq!(may_connect_to_localhost(Reach::Public, &["localhost"], false).await, (true, Reach::Public));
    }
}
