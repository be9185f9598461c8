//! Senders that are slow, large or many: each is put down, and none holds up another.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::intake::{HOOK_SECRET, MIB, nowhere, push};

/// All that comes until the other side closes; panics if it does not within this time.
async fn rest(stream: &mut TcpStream, most: Duration) -> String {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(most, stream.read_to_end(&mut bytes)).await;
    assert!(read.is_ok(), "the connection is still open after {most:?}");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What comes until this is in it.
async fn read_until(stream: &mut TcpStream, part: &str) -> String {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 1024]);
    loop {
        let read = tokio::time::timeout(Duration::from_secs(30), stream.read(&mut buffer)).await;
        let length = read.expect("an answer in time").expect("an answer");
        bytes.extend_from_slice(&buffer[..length]);
        let text = String::from_utf8_lossy(&bytes);
        if length == 0 || text.contains(part) {
            return text.into_owned();
        }
    }
}

#[tokio::test]
async fn a_body_above_the_limit_is_refused_before_it_is_sent() {
    let (_place, intake) = nowhere().await;
    let mut stream = intake.connect().await;
    let head = format!(
        "POST /hooks/main HTTP/1.1\r\nHost: onetag\r\nAuthorization: {HOOK_SECRET}\r\nContent-Length: {}\r\n\r\n",
        MIB + 1
    );
    stream.write_all(head.as_bytes()).await.expect("the head is sent");
    let answer = read_until(&mut stream, "\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");

    assert_eq!(intake.deliver(" ".repeat(MIB)).await, 202, "the limit itself is allowed");

    // Without a length the limit is found on the way.
    let chunks = futures_util::stream::iter((0..40).map(|_| Ok::<_, std::io::Error>(vec![b' '; 64 * 1024])));
    let request = intake.request("POST", "/hooks/main").header("Authorization", HOOK_SECRET);
    let answer = request.body(reqwest::Body::wrap_stream(chunks)).send().await;
    // The answer may be overtaken by the end of the connection.
    assert!(answer.map_or(true, |answer| answer.status() == 413));
    assert_eq!(intake.outcome("too-large").await, 2);
}

#[tokio::test]
async fn whoever_is_slow_is_closed_after_ten_seconds_and_holds_up_nobody() {
    let (_place, intake) = nowhere().await;
    let begun = Instant::now();
    let (mut body, mut head, mut silent, mut idle) =
        (intake.connect().await, intake.connect().await, intake.connect().await, intake.connect().await);
    let start = format!(
        "POST /hooks/main HTTP/1.1\r\nHost: onetag\r\nAuthorization: {HOOK_SECRET}\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    body.write_all(start.as_bytes()).await.expect("a head");
    head.write_all(b"POST /hooks/main HTTP/1.1\r\nHost:").await.expect("half a head");
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: onetag\r\n\r\n").await.expect("a request");
    assert!(read_until(&mut idle, "alive").await.starts_with("HTTP/1.1 200"));

    let (mut body, mut drip) = body.into_split();
    let dripping = tokio::spawn(async move {
        while drip.write_all(b"1\r\n \r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    assert_eq!(intake.deliver(push("acme/app", "amd64-1")).await, 202);

    let mut answer = vec![0; 4096];
    let length = tokio::time::timeout(Duration::from_secs(25), body.read(&mut answer)).await;
    let length = length.expect("an answer in time").expect("an answer");
    let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(begun.elapsed() >= Duration::from_secs(9), "it was not given its ten seconds");
    dripping.abort();

    for stream in [&mut head, &mut silent, &mut idle] {
        let said = rest(stream, Duration::from_secs(20)).await;
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 408 "), "{said}");
    }
}

#[tokio::test]
async fn five_hundred_half_open_connections_do_not_keep_a_good_sender_waiting() {
    let (_place, intake) = nowhere().await;
    let mut open = Vec::new();
    for number in 0..500 {
        let mut stream = intake.connect().await;
        let part =
            ["", "POST /hooks/main HTTP/1.1\r\nHost: a", "POST /hooks/main HTTP/1.1\r\nContent-Length: 9\r\n\r\n"];
        let _ = stream.write_all(part[number % 3].as_bytes()).await;
        open.push(stream);
    }
    let begun = Instant::now();
    assert_eq!(intake.deliver(push("acme/app", "amd64-1")).await, 202);
    assert!(begun.elapsed() < Duration::from_secs(1), "it took {:?}", begun.elapsed());
    assert_eq!(intake.jobs().await, 1, "operators get in, too");
}
