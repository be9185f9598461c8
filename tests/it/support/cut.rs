//! A way to a server that is cut at the worst moment, when a commit is under way, or falls silent.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// `COMMIT` as the protocol sends it: a simple query with its length.
const COMMIT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";

/// What is in every word that is told to others.
const WORD: &[u8] = b"NOTIFY";

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
    armed: Arc<Armed>,
}

/// What is to befall the connections.
#[derive(Default)]
struct Armed {
    commits: [AtomicUsize; 2],
    /// How many times a word that is told to others is swallowed, and its connection silent from then on.
    words: AtomicUsize,
    /// How often every connection of that moment was silenced.
    silences: AtomicUsize,
}

/// Takes one of so many, if there is one.
fn take(count: &AtomicUsize) -> bool {
    count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |count| count.checked_sub(1)).is_ok()
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
                    let back = tokio::spawn(copy(from_server, to_client, armed.clone()));
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
        self.armed.commits[moment as usize].store(count, Ordering::SeqCst);
    }

    /// Whether everything that was to be cut was.
    pub fn is_done(&self) -> bool {
        let counts = self.armed.commits.iter().chain([&self.armed.words]);
        counts.map(|count| count.load(Ordering::SeqCst)).sum::<usize>() == 0
    }

    /// Swallows the next word that is told to others, and all that follows on its connection.
    pub fn swallow_a_word(&self) {
        self.armed.words.store(1, Ordering::SeqCst);
    }

    /// Lets nothing more through any connection that there is. New ones are not affected.
    pub fn silence(&self) {
        self.armed.silences.fetch_add(1, Ordering::SeqCst);
    }
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, armed: Arc<Armed>) {
    let silences = armed.silences.load(Ordering::SeqCst);
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if armed.silences.load(Ordering::SeqCst) != silences {
            std::future::pending::<()>().await;
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

async fn forth(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, armed: &Armed) {
    let silences = armed.silences.load(Ordering::SeqCst);
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let part = &buffer[..length];
        let is_commit = part == COMMIT;
        let takes = |moment: Moment| is_commit && take(&armed.commits[moment as usize]);
        let is_word = part.windows(WORD.len()).any(|some| some == WORD);
        if armed.silences.load(Ordering::SeqCst) != silences || is_word && take(&armed.words) {
            std::future::pending::<()>().await;
        }
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
