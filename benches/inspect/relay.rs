//! A TCP relay that counts what a server sends.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// The relay, for as long as the runtime lives.
pub(crate) struct Relay {
    host: String,
    bytes: Arc<AtomicU64>,
}

impl Relay {
    /// Listens on a free port and passes everything on to `upstream`.
    pub(crate) async fn start(upstream: String) -> io::Result<Relay> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let host = listener.local_addr()?.to_string();
        let bytes = Arc::<AtomicU64>::default();
        let counter = bytes.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (upstream, counter) = (upstream.clone(), counter.clone());
                tokio::spawn(async move { pass(client, &upstream, &counter).await });
            }
        });
        Ok(Relay { host, bytes })
    }

    /// `127.0.0.1:PORT`
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// How many bytes the server's side sent since the last call.
    pub(crate) fn take_bytes(&self) -> u64 {
        self.bytes.swap(0, Ordering::Relaxed)
    }
}

async fn pass(client: TcpStream, upstream: &str, counter: &AtomicU64) -> io::Result<()> {
    let server = TcpStream::connect(upstream).await?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let there = async move { tokio::io::copy(&mut from_client, &mut to_server).await.map(|_| ()) };
    let back = async move {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let len = from_server.read(&mut buffer).await?;
            if len == 0 {
                return to_client.shutdown().await;
            }
            to_client.write_all(&buffer[..len]).await?;
            counter.fetch_add(len as u64, Ordering::Relaxed);
        }
    };
    // When one side is gone, so is the other: what is still under way is not wanted.
    tokio::select! {
        result = there => result,
        result = back => result,
    }
}
