//! The HTTP server under every fake: it records each request and can misbehave on the wire.
//!
//! What to answer is decided by the fakes themselves; what a request means to a registry is only
//! classified here, so that recordings can be asked for by kind.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::recorded::{Log, Recorded};

/// The pause between two bytes of a slow answer.
const SLOW_PAUSE: Duration = Duration::from_millis(200);

/// Decides what a recorded request is answered.
pub type Handler = Arc<dyn Fn(Recorded) -> BoxFuture<'static, Answer> + Send + Sync>;

/// What is sent back, and how.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The header lines, in order.
    pub headers: Vec<(String, String)>,
    /// The whole body, before anything is done to it on the wire.
    pub body: Bytes,
    /// How it reaches the client, if at all.
    pub delivery: Delivery,
}

/// How an answer reaches the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Complete and at once.
    Whole,
    /// The head promises the whole body, half of it is sent, then the connection closes.
    Truncated,
    /// One byte of the body every 200 ms.
    Slow,
    /// Nothing is sent and the connection is reset.
    Reset,
    /// Nothing is ever sent and the connection stays open.
    Never,
}

impl Answer {
    /// An answer without headers or body.
    pub fn new(status: u16) -> Answer {
        Answer { status, headers: Vec::new(), body: Bytes::new(), delivery: Delivery::Whole }
    }

    /// An answer with a body of the given type.
    pub fn with_body(status: u16, content_type: &str, body: impl Into<Bytes>) -> Answer {
        let mut answer = Answer::new(status).header("Content-Type", content_type);
        answer.body = body.into();
        answer
    }

    /// An answer with a JSON body.
    pub fn json(status: u16, body: &serde_json::Value) -> Answer {
        Answer::with_body(status, "application/json", body.to_string())
    }

    /// An error as the distribution specification writes it.
    pub fn error(status: u16, code: &str, message: &str) -> Answer {
        Answer::error_with(status, code, message, serde_json::Value::Null)
    }

    /// An error with a `detail`.
    pub fn error_with(status: u16, code: &str, message: &str, detail: serde_json::Value) -> Answer {
        let error = serde_json::json!({ "code": code, "message": message, "detail": detail });
        Answer::json(status, &serde_json::json!({ "errors": [error] }))
    }

    /// The same answer with one header set, replacing any of that name.
    pub fn header(mut self, name: &str, value: &str) -> Answer {
        self.remove_header(name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Takes every header of this name away.
    pub fn remove_header(&mut self, name: &str) {
        self.headers.retain(|(present, _)| !present.eq_ignore_ascii_case(name));
    }
}

/// Serves `handler` on a free loopback port until the returned server is stopped.
pub async fn serve(tls: Option<TlsAcceptor>, log: Arc<Log>, handler: Handler) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free loopback port");
    let address = listener.local_addr().expect("a bound listener has an address");
    let connections = Arc::new(AtomicUsize::new(0));
    let task = tokio::spawn(accept(listener, tls, log, handler, Arc::clone(&connections)));
    Server { address, connections, task: Mutex::new(Some(task)) }
}

/// A running server; it ends with its runtime, or earlier by `stop`.
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Server {
    /// How many TCP connections were accepted so far, failed TLS handshakes included.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Closes the listener and every connection; returns once the port refuses connections.
    pub async fn stop(&self) {
        let task = self.task.lock().unwrap().take();
        if let Some(task) = task {
            task.abort();
            let _ = task.await;
        }
    }
}

async fn accept(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    log: Arc<Log>,
    handler: Handler,
    connections: Arc<AtomicUsize>,
) {
    let mut open = JoinSet::new(); // dropped, and so closed, together with the listener
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let number = connections.fetch_add(1, Ordering::SeqCst);
        let _ = stream.set_nodelay(true);
        let reset = Arc::new(AtomicBool::new(false));
        let socket = Socket { stream, reset: Arc::clone(&reset) };
        let (tls, log, handler) = (tls.clone(), Arc::clone(&log), Arc::clone(&handler));
        open.spawn(async move {
            let Some(acceptor) = tls else {
                let connection = Connection { number, log, handler, reset, certificate: false };
                return connection.serve(socket).await;
            };
            let Ok(stream) = acceptor.accept(socket).await else { return };
            let certificate = stream.get_ref().1.peer_certificates().is_some();
            let connection = Connection { number, log, handler, reset, certificate };
            connection.serve(stream).await;
        });
        while open.try_join_next().is_some() {}
    }
}

#[derive(Clone)]
struct Connection {
    number: usize,
    log: Arc<Log>,
    handler: Handler,
    reset: Arc<AtomicBool>,
    certificate: bool,
}

impl Connection {
    async fn serve(self, io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let service = service_fn(move |request| self.clone().answer(request));
        let http = hyper::server::conn::http1::Builder::new();
        let _ = http.serve_connection(TokioIo::new(io), service).await;
    }

    async fn answer(self, request: Request<Incoming>) -> Result<Response<Body>, io::Error> {
        let (head, body) = request.into_parts();
        let is_head = head.method == Method::HEAD;
        let arrived = self.log.arrive(&head, self.number, self.certificate);
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let recorded = self.log.read(arrived, &head, body);
        let answer = (self.handler)(recorded).await;

        if answer.delivery == Delivery::Never {
            std::future::pending::<Infallible>().await;
        }
        if answer.delivery == Delivery::Reset {
            self.log.answer(arrived, None);
            self.reset.store(true, Ordering::SeqCst);
            return Err(io::ErrorKind::ConnectionReset.into()); // hyper drops the connection
        }
        self.log.answer(arrived, Some(answer.status));
        Ok(respond(answer, is_head))
    }
}

type Body = UnsyncBoxBody<Bytes, io::Error>;

fn respond(answer: Answer, is_head: bool) -> Response<Body> {
    let length = answer.body.len();
    let body = match answer.delivery {
        _ if is_head => Full::default().map_err(never).boxed_unsync(),
        Delivery::Truncated => truncated(answer.body.slice(..length / 2)),
        Delivery::Slow => slow(answer.body),
        _ => Full::new(answer.body).map_err(never).boxed_unsync(),
    };
    let mut response = Response::new(body);
    *response.status_mut() = answer.status.try_into().expect("a status code");
    if !matches!(answer.status, 100..=199 | 204 | 304) {
        response.headers_mut().insert("content-length", HeaderValue::from(length));
    }
    append(response.headers_mut(), &answer.headers);
    response
}

fn append(map: &mut HeaderMap, headers: &[(String, String)]) {
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a header name");
        let value = HeaderValue::from_bytes(value.as_bytes()).expect("a header value");
        map.append(name, value);
    }
}

fn truncated(half: Bytes) -> Body {
    let first = stream::once(async { Ok(Frame::data(half)) });
    let end = stream::once(async {
        // Time for the first half to leave before hyper drops the connection.
        tokio::time::sleep(Duration::from_millis(20)).await;
        Err(io::ErrorKind::UnexpectedEof.into())
    });
    StreamBody::new(first.chain(end)).boxed_unsync()
}

fn slow(body: Bytes) -> Body {
    let bytes = stream::iter(0..body.len()).then(move |at| {
        let byte = body.slice(at..=at);
        async move {
            tokio::time::sleep(SLOW_PAUSE).await;
            Ok(Frame::data(byte))
        }
    });
    StreamBody::new(bytes).boxed_unsync()
}

fn never(infallible: Infallible) -> io::Error {
    match infallible {}
}

/// A TCP stream that can be closed by a reset instead of a goodbye.
struct Socket {
    stream: TcpStream,
    reset: Arc<AtomicBool>,
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.reset.load(Ordering::SeqCst) {
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.reset.load(Ordering::SeqCst) {
            return Poll::Ready(Ok(())); // a FIN first would make it an orderly end
        }
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
