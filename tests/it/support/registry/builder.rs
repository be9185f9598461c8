//! What a `FakeRegistry` is like from its start.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use serde_json::Value;
use tokio_rustls::TlsAcceptor;

use super::super::auth::{Auth, Bearer, Gate, User};
use super::super::server;
use super::super::store::{Immutable, Options, RefuseOciIndex};
use super::super::tags::{LinkForm, TagList};
use super::super::tls;
use super::{FakeRegistry, Shared};

/// A registry to be, with its ways.
#[derive(Clone, Default)]
pub struct Builder {
    auth: Auth,
    options: Options,
    delay: Duration,
    certificate: Option<(String, String)>,
    client_ca: Option<String>,
}

impl Builder {
    /// Wants this user and password with every request.
    pub fn basic(mut self, name: &str, password: &str) -> Builder {
        self.auth = Auth::Basic(vec![User::new(name, password)]);
        self
    }

    /// Wants one of these users with every request.
    pub fn basic_users(mut self, users: Vec<User>) -> Builder {
        self.auth = Auth::Basic(users);
        self
    }

    /// Wants a token, which it gives at `/token`.
    pub fn bearer(mut self, bearer: Bearer) -> Builder {
        self.auth = Auth::Bearer(bearer);
        self
    }

    /// Speaks HTTPS with this certificate chain and key.
    pub fn tls(mut self, certificate_pem: &str, key_pem: &str) -> Builder {
        self.certificate = Some((certificate_pem.to_owned(), key_pem.to_owned()));
        self
    }

    /// Takes connections only with a client certificate of this CA, if there is one given.
    pub fn client_ca(mut self, ca_pem: Option<&str>) -> Builder {
        self.client_ca = ca_pem.map(str::to_owned);
        self
    }

    /// Holds every answer back for so long, so that requests sent together overlap.
    pub fn delay(mut self, delay: Duration) -> Builder {
        self.delay = delay;
        self
    }

    /// Refuses OCI indexes.
    pub fn refuse_oci_index(mut self, refusal: RefuseOciIndex) -> Builder {
        self.options.refuse_oci_index = Some(refusal);
        self
    }

    /// Refuses to move tags that exist.
    pub fn immutable(mut self, immutable: Immutable) -> Builder {
        self.options.immutable = Some(immutable);
        self
    }

    /// Answers so many reads of a tag as before, each time it was pushed over HTTP.
    pub fn stale_reads(mut self, reads: usize) -> Builder {
        self.options.stale_reads = reads;
        self
    }

    /// Answers 405 to `HEAD` of a manifest.
    pub fn without_head(mut self) -> Builder {
        self.options.is_without_head = true;
        self
    }

    /// Ignores `Range`.
    pub fn without_ranges(mut self) -> Builder {
        self.options.is_without_ranges = true;
        self
    }

    /// Lists tags in this way.
    pub fn tag_list(mut self, tag_list: TagList) -> Builder {
        self.options.tag_list = tag_list;
        self
    }

    /// Lists at most so many tags at once, and points at the rest in this form.
    pub fn tag_pages(mut self, page_size: usize, link: LinkForm) -> Builder {
        self.options.tag_list.page_size = Some(page_size);
        self.options.tag_list.link = link;
        self
    }

    /// Lists its repositories, in this way; otherwise it knows no such list.
    pub fn catalog(mut self, catalog: TagList) -> Builder {
        self.options.catalog = Some(catalog);
        self
    }

    /// Lists this before the tags.
    pub fn tag_junk(mut self, junk: Vec<Value>) -> Builder {
        self.options.tag_list.junk = junk;
        self
    }

    /// Starts it.
    pub async fn start(self) -> FakeRegistry {
        let (scheme, acceptor) = match &self.certificate {
            None => ("http", None),
            Some((certificate, key)) => {
                let config = tls::server_config(certificate, key, self.client_ca.as_deref());
                ("https", Some(TlsAcceptor::from(config)))
            }
        };
        let registry = FakeRegistry {
            shared: Arc::new(Shared {
                scheme,
                options: Mutex::new(self.options),
                store: Mutex::default(),
                gate: Mutex::new(Gate::new(self.auth)),
                script: Mutex::default(),
                delay: Mutex::new(self.delay),
                log: Arc::default(),
                server: OnceLock::new(),
                pushes: AtomicUsize::new(0),
            }),
        };
        let handle = registry.clone();
        let handler: server::Handler = Arc::new(move |request| {
            let registry = handle.clone();
            Box::pin(async move { registry.answer(&request).await })
        });
        let server = server::serve(acceptor, Arc::clone(&registry.shared.log), handler).await;
        let _ = registry.shared.server.set(server); // it is empty until here
        registry
    }
}
