//! A way to a server that is cut at the worst moment: when a commit is under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// `COMMIT` as the protocol sends it: a simple query with its length.
const COMMIT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";

/// When the connection is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The server never hears of the commit.
    Before,
    /// The server commits, and nobody hears of it.
    After,
}

/// Passes everything on to a server, but for commits that are to be cut.
pub struct Cut {
    port: u16,
    armed: Arc<[AtomicUsize; 2]>,
}

impl Cut {
    /// In front of the server on `port` of this machine.
    pub async fn before(port: u16) -> Cut {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let cut = Cut { port: listener.local_addr().expect("an address").port(), armed: Arc::default() };
        let armed = cut.armed.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let armed = armed.clone();
                tokio::spawn(async move {
                    let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
                    let ((from_client, to_client), (from_server, to_server)) =
                        (client.into_split(), server.into_split());
                    let back = tokio::spawn(copy(from_server, to_client));
                    forth(from_client, to_server, &armed).await;
                    back.abort();
                });
            }
        });
        cut
    }

    /// The port to connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Cuts the next `count` commits.
    pub fn arm(&self, moment: Moment, count: usize) {
        self.armed[moment as usize].store(count, Ordering::SeqCst);
    }

    /// Whether everything that was to be cut was.
    pub fn is_done(&self) -> bool {
        self.armed.iter().all(|armed| armed.load(Ordering::SeqCst) == 0)
    }
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    let _ = tokio::io::copy(&mut from, &mut to).await;
}

async fn forth(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, armed: &[AtomicUsize; 2]) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let part = &buffer[..length];
        let is_commit = part == COMMIT;
        let takes = |moment: Moment| {
            let less = |count: usize| count.checked_sub(1);
            is_commit && armed[moment as usize].fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok()
        };
        if takes(Moment::Before) {
            return;
        }
        let is_last = takes(Moment::After);
        if to.write_all(part).await.is_err() || is_last {
            // What was written is read by the server before the end of it.
            return;
        }
    }
}
