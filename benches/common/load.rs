//! Senders: connections that post one delivery after the other.
//!
//! HTTP is written out by hand, so that little of the processors goes to those who ask.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Result;
use super::service::{Hook, SECRET};

const CONNECTIONS: usize = 32;

/// What a delivery tells of.
pub(crate) struct Push {
    repository: String,
    tag: String,
    digest: String,
}

/// When enough was posted.
#[derive(Clone, Copy)]
pub(crate) enum Until {
    Passed(Duration),
    Sent(u64),
}

/// How a load was answered; every single delivery by 202.
pub(crate) struct Load {
    pub(crate) time: Duration,
    /// From the shortest to the longest.
    latencies: Vec<Duration>,
}

/// A tag of its own for each number; many repositories and architectures.
pub(crate) fn different(number: u64) -> Push {
    let arch = ["amd64", "arm64", "armhf", "ppc64el", "s390x"][number as usize % 5];
    let (repository, tag) = (format!("acme/app-{}", number % 40), format!("{arch}-1.{number}"));
    Push { repository, tag, digest: format!("sha256:{number:064x}") }
}

/// The same, but every fifth delivery tells again what one shortly before it told.
pub(crate) fn mixed(number: u64) -> Push {
    different(if number % 5 == 4 { number.saturating_sub(100) / 5 * 5 } else { number })
}

/// One tag only, and what it stands for.
pub(crate) fn same(digest: String) -> impl Fn(u64) -> Push + Clone + Send + 'static {
    move |_| Push { repository: "acme/ubuntu".to_owned(), tag: "amd64-xenial".to_owned(), digest: digest.clone() }
}

impl Load {
    /// Posts from all connections; each waits for its answer before it posts on.
    pub(crate) async fn post(
        hook: &Hook,
        push: impl Fn(u64) -> Push + Clone + Send + 'static,
        until: Until,
    ) -> Result<Load> {
        let next = Arc::<AtomicU64>::default();
        let started = Instant::now();
        let mut senders = JoinSet::new();
        for _ in 0..CONNECTIONS {
            senders.spawn(send(hook.clone(), push.clone(), next.clone(), started, until));
        }
        let mut latencies = Vec::new();
        while let Some(sent) = senders.join_next().await {
            latencies.extend(sent??);
        }
        let time = started.elapsed();
        latencies.sort_unstable();
        Ok(Load { time, latencies })
    }

    pub(crate) fn count(&self) -> usize {
        self.latencies.len()
    }

    /// In milliseconds.
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        let place = (self.count() * percent / 100).min(self.count().saturating_sub(1));
        self.latencies.get(place).map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e3)
    }
}

async fn send(
    hook: Hook,
    push: impl Fn(u64) -> Push,
    next: Arc<AtomicU64>,
    started: Instant,
    until: Until,
) -> Result<Vec<Duration>> {
    let mut stream = TcpStream::connect(&hook.address).await?;
    stream.set_nodelay(true)?;
    let mut latencies = Vec::new();
    let mut answer = vec![0; 4096];
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let is_enough = match until {
            Until::Passed(time) => started.elapsed() >= time,
            Until::Sent(count) => number >= count,
        };
        if is_enough {
            return Ok(latencies);
        }
        let request = request(number, push(number));
        let sent = Instant::now();
        stream.write_all(request.as_bytes()).await?;
        expect_accepted(&mut stream, &mut answer).await?;
        latencies.push(sent.elapsed());
    }
}

/// Reads an answer, which must be 202 and have no body.
async fn expect_accepted(stream: &mut TcpStream, answer: &mut [u8]) -> Result<()> {
    let mut length = 0;
    while !answer[..length].ends_with(b"\r\n\r\n") {
        match stream.read(&mut answer[length..]).await? {
            0 => break,
            more => length += more,
        }
    }
    let text = String::from_utf8_lossy(&answer[..length]);
    match text.starts_with("HTTP/1.1 202 ") && text.ends_with("\r\n\r\n") {
        true => Ok(()),
        false => Err(format!("a delivery was answered `{}`", text.lines().next().unwrap_or_default()).into()),
    }
}

/// What a Distribution registry posts of a push.
fn request(number: u64, Push { repository, tag, digest }: Push) -> String {
    let body = format!(
        r#"{{"events":[{{"id":"01959f6a-3c57-7c1e-8b52-{number:012x}","timestamp":"2025-03-04T09:21:13.100Z","action":"push","target":{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{digest}","size":1024,"length":1024,"repository":"{repository}","url":"https://registry.example.com/v2/{repository}/manifests/{digest}","tag":"{tag}"}},"request":{{"id":"01959f6a-0001-7000-8000-{number:012x}","addr":"198.51.100.23:41732","host":"registry.example.com","method":"PUT","useragent":"docker/28.3.0 go/go1.24.4"}},"actor":{{"name":"ci"}},"source":{{"addr":"registry-0:5000","instanceID":"62a9e107-84af-41cb-9e56-703074797642"}}}}]}}"#
    );
    format!(
        "POST /hooks/prod HTTP/1.1\r\nHost: onetag\r\nUser-Agent: Go-http-client/1.1\r\nAuthorization: {SECRET}\r\n\
         Content-Type: application/vnd.docker.distribution.events.v1+json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}
