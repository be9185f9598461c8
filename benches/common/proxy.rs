//! A slow road: a TCP proxy that adds a round-trip time and takes nothing else away.
//!
//! Every chunk of bytes is stamped when it arrives and handed on half a round trip later, in each
//! direction, however many chunks and connections are under way: latency without a limit on
//! throughput. A loopback connection is open at once and its opening cannot be held back, so the
//! client's bytes count as sent one round trip after it at the earliest, as if they had waited for
//! the TCP handshake. TLS and slow start are not modelled.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// The proxy, for as long as the runtime lives.
pub(crate) struct Proxy {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

/// What went through since somebody last looked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// How many connections were opened.
    pub(crate) connections: usize,
    /// The requests in the order in which clients sent them.
    pub(crate) requests: Vec<Request>,
}

/// The first line of a request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) at: Instant,
    pub(crate) connection: usize,
    /// `GET /v2/acme/ubuntu/manifests/xenial`
    pub(crate) line: String,
}

impl Seen {
    /// How often a client that sends all it can at once waited for answers before it asked on:
    /// requests that follow each other within half a round trip are one round.
    pub(crate) fn rounds(&self, rtt: Duration) -> usize {
        rounds(&self.requests, rtt)
    }

    /// The same, up to the first request with this line; all if there is none.
    pub(crate) fn rounds_to(&self, line: &str, rtt: Duration) -> usize {
        let end = self.requests.iter().position(|request| request.line == line);
        rounds(&self.requests[..end.map_or(self.requests.len(), |end| end + 1)], rtt)
    }
}

fn rounds(requests: &[Request], rtt: Duration) -> usize {
    let waits = requests.windows(2).filter(|pair| pair[1].at - pair[0].at > rtt / 2).count();
    waits + usize::from(!requests.is_empty())
}

impl Proxy {
    /// Listens on a free port and passes everything on to `upstream`.
    pub(crate) async fn start(upstream: String, rtt: Duration) -> io::Result<Proxy> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let seen = Arc::<Mutex<Seen>>::default();
        let ledger = seen.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (upstream, seen) = (upstream.clone(), ledger.clone());
                tokio::spawn(async move { relay(client, &upstream, rtt, &seen).await });
            }
        });
        Ok(Proxy { address, seen })
    }

    /// `127.0.0.1:PORT`
    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    /// What went through since the last call.
    pub(crate) fn take_seen(&self) -> Seen {
        std::mem::take(&mut self.seen.lock().expect("no panic happens while it is held"))
    }
}

async fn relay(client: TcpStream, upstream: &str, rtt: Duration, seen: &Mutex<Seen>) -> io::Result<()> {
    let shaken_hands = Instant::now() + rtt;
    let connection = {
        let mut seen = seen.lock().expect("no panic happens while it is held");
        seen.connections += 1;
        seen.connections
    };
    let server = TcpStream::connect(upstream).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;

    let mut lines = Lines::default();
    let note = |chunk: &[u8]| {
        lines.read(chunk, |line| {
            let request = Request { at: Instant::now(), connection, line };
            seen.lock().expect("no panic happens while it is held").requests.push(request);
        });
    };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let there = carry(from_client, to_server, shaken_hands, rtt / 2, note);
    let back = carry(from_server, to_client, shaken_hands, rtt / 2, |_| {});
    tokio::join!(there, back);
    Ok(())
}

/// Hands on what comes, `delay` after it came; the end, too, which is an empty chunk.
async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    not_before: Instant,
    delay: Duration,
    mut note: impl FnMut(&[u8]),
) {
    let (queue, mut queued) = mpsc::unbounded_channel::<(Instant, Bytes)>();
    let read = async move {
        let mut buffer = BytesMut::with_capacity(64 * 1024);
        loop {
            let is_open = matches!(from.read_buf(&mut buffer).await, Ok(1..));
            let chunk = buffer.split().freeze();
            note(&chunk);
            let due = Instant::now().max(not_before) + delay;
            if queue.send((due, chunk)).is_err() || !is_open {
                return;
            }
        }
    };
    let write = async move {
        while let Some((due, chunk)) = queued.recv().await {
            sleep_until(due).await;
            if chunk.is_empty() || to.write_all(&chunk).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(read, write);
}

/// Finds request lines in a stream of HTTP/1.1, bodies and all.
#[derive(Default)]
struct Lines {
    unfinished: Vec<u8>,
}

impl Lines {
    fn read(&mut self, chunk: &[u8], mut found: impl FnMut(String)) {
        for byte in chunk {
            if *byte != b'\n' {
                self.unfinished.push(*byte);
                continue;
            }
            found_in(&self.unfinished).into_iter().for_each(&mut found);
            self.unfinished.clear();
        }
    }
}

/// The request that ends this line. A body without a line break may stand before it.
fn found_in(line: &[u8]) -> Option<String> {
    let line = line.strip_suffix(b" HTTP/1.1\r")?;
    let text = String::from_utf8_lossy(line);
    let (before, target) = text.rsplit_once(' ')?;
    let methods = ["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE"];
    let method = methods.into_iter().find(|method| before.ends_with(method))?;
    Some(format!("{method} {target}"))
}
