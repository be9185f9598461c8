//! Places: how many connections a listener has at one time.
//!
//! Without a bound they would take the files that the database and the registries need. One too
//! many, or too many from one address, is told to come again and closed.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum_server::accept::Accept;
use futures_util::future::{self, BoxFuture, FutureExt as _};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;

use super::shares::{Share, Shares};

/// The most connections of a listener, however many files the process may have open.
const MOST: usize = 4096;
/// The most connections of operators; half of them may be open pages that listen.
const MOST_OPERATORS: usize = 256;
/// As many places as one address may have in any case, if there are more.
const PLENTY: usize = 510;
/// How many files a process may have open if the system does not say.
const USUAL_FILES: usize = 1024;
/// What somebody without a place is told.
const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// The places of one listener.
#[derive(Clone)]
pub(super) struct Places {
    shares: Shares,
}

impl Places {
    /// At most half of the files that the process may have open.
    pub(super) fn for_deliveries() -> Places {
        Places::new((files() / 2).min(MOST))
    }

    /// Their own, so that operators get in while senders crowd.
    pub(super) fn for_operators() -> Places {
        Places::new(of_operators())
    }

    fn new(count: usize) -> Places {
        Places { shares: Shares::new(count, most_of_one(count)) }
    }
}

/// How many places operators have.
pub(super) fn of_operators() -> usize {
    (files() / 8).min(MOST_OPERATORS)
}

/// How many of so many places one address may have: a quarter, or as many as all senders behind one
/// proxy may need, but never all.
fn most_of_one(count: usize) -> usize {
    (count / 4).max(PLENTY).min(count - (count / 64).max(1).min(count))
}

impl<S: Send + 'static> Accept<TcpStream, S> for Places {
    type Stream = Placed;
    type Service = S;
    type Future = BoxFuture<'static, io::Result<(Placed, S)>>;

    fn accept(&self, mut stream: TcpStream, service: S) -> Self::Future {
        let place = stream.peer_addr().ok().and_then(|peer| {
            let mut place = self.shares.of(peer.ip());
            place.take(1).then_some(place)
        });
        match place {
            Some(place) => future::ready(Ok((Placed { stream, _place: place }, service))).boxed(),
            None => async move {
                // What was sent is read first, or closing would cut off the answer.
                let _ = stream.try_read(&mut [0; 16 * 1024]);
                let _ = stream.write_all(FULL).await;
                let _ = stream.shutdown().await;
                Err(io::Error::other("no place is left"))
            }
            .boxed(),
        }
    }
}

/// A connection that gives its place back at its end.
pub(super) struct Placed {
    stream: TcpStream,
    _place: Share,
}

impl AsyncRead for Placed {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Placed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// How many files this process may have open.
fn files() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    soft_limit(&limits).unwrap_or(USUAL_FILES)
}

fn soft_limit(limits: &str) -> Option<usize> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(usize::MAX),
        number => number.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::{most_of_one, soft_limit};

    #[test]
    fn one_address_has_many_places_and_never_all() {
        let most = [4096, 2048, 512, 32, 2, 1, 0].map(most_of_one);
        assert_eq!(most, [1024, 512, 504, 31, 1, 0, 0]);
    }

    #[test]
    fn the_soft_limit_is_the_one_that_counts() {
        let limits = "Limit   Soft Limit  Hard Limit  Units\nMax open files            1024                 1048576              files\n";
        assert_eq!(soft_limit(limits), Some(1024));
        assert_eq!(
            soft_limit("Max open files            unlimited            unlimited            files"),
            Some(usize::MAX)
        );
        assert_eq!(soft_limit(""), None);
    }
}
