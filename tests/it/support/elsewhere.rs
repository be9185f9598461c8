//! `Elsewhere`: any other server, such as object storage, a foreign realm or a foreign `Link`.

use std::sync::Arc;

use bytes::Bytes;
use tokio_rustls::TlsAcceptor;

use super::recorded::{Log, Recorded};
use super::server::{self, Answer, Server};
use super::tls::{self, Pair};

/// A server on a loopback port of its own that answers every path alike.
pub struct Elsewhere {
    server: Server,
    log: Arc<Log>,
    scheme: &'static str,
}

impl Elsewhere {
    /// Serves these bytes at any path.
    pub async fn start(bytes: impl Into<Bytes>) -> Elsewhere {
        let bytes = bytes.into();
        let answer = Answer::with_body(200, "application/octet-stream", bytes);
        Elsewhere::answering(move |_| answer.clone()).await
    }

    /// Answers whatever `answer` makes of a request.
    pub async fn answering(answer: impl Fn(&Recorded) -> Answer + Send + Sync + 'static) -> Elsewhere {
        Elsewhere::launch(None, answer).await
    }

    /// The same over HTTPS, wanting client certificates of `client_ca` if that is given.
    pub async fn answering_tls(
        pair: &Pair,
        client_ca: Option<&str>,
        answer: impl Fn(&Recorded) -> Answer + Send + Sync + 'static,
    ) -> Elsewhere {
        let config = tls::server_config(&pair.certificate_pem, &pair.key_pem, client_ca);
        Elsewhere::launch(Some(TlsAcceptor::from(config)), answer).await
    }

    async fn launch(
        acceptor: Option<TlsAcceptor>,
        answer: impl Fn(&Recorded) -> Answer + Send + Sync + 'static,
    ) -> Elsewhere {
        let scheme = if acceptor.is_some() { "https" } else { "http" };
        let log = Arc::new(Log::default());
        let handler: server::Handler = Arc::new(move |request| {
            let answer = answer(&request);
            Box::pin(async move { answer })
        });
        let server = server::serve(acceptor, Arc::clone(&log), handler).await;
        Elsewhere { server, log, scheme }
    }

    /// `127.0.0.1:PORT`
    pub fn host(&self) -> String {
        self.server.address.to_string()
    }

    /// `http://127.0.0.1:PORT/x`
    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.host())
    }

    /// Every request in the order of arrival.
    pub fn requests(&self) -> Vec<Recorded> {
        self.log.requests()
    }

    /// How many TCP connections were made.
    pub fn connections(&self) -> usize {
        self.server.connections()
    }
}
