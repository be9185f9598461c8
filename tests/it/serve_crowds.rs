//! Those who crowd the service's listeners, and whom they do not disturb.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::support::intake::{ADMIN_TOKEN, HOOK_SECRET, Intake, NOWHERE, Place, push, sections};
use crate::support::{FakeRegistry, eventually};

/// A connection from another address of this machine.
async fn connect_from(address: &str, to: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(format!("{address}:0").parse().expect("an address")).expect("an address of this machine");
    socket.connect(to.parse().expect("an address")).await.expect("a connection")
}

/// Sends all but the end of the longest body that a hook takes, and stays.
async fn almost_all(mut stream: TcpStream, head: String) {
    let length = 1024 * 1024;
    let _ = stream.write_all(format!("{head}Content-Length: {length}\r\n\r\n").as_bytes()).await;
    let _ = stream.write_all(&vec![b' '; length - 1]).await;
    std::future::pending().await
}

/// As many of those from these addresses as fill all the room that there is for them.
async fn crowd(intake: &Intake, hook: &str, addresses: [&str; 2], header: &str) -> JoinSet<()> {
    let mut crowd = JoinSet::new();
    for number in 0..72 {
        let stream = connect_from(addresses[number % 2], &intake.listen).await;
        crowd.spawn(almost_all(stream, format!("POST /hooks/{hook} HTTP/1.1\r\nHost: onetag\r\n{header}\r\n")));
    }
    let crowded = format!("onetag_deliveries_total{{hook=\"{hook}\",outcome=\"crowded\"}}");
    eventually("there is no room left", async || (intake.metric(&crowded).await >= 8).then_some(())).await;
    crowd
}

#[tokio::test]
async fn strangers_with_long_bodies_do_not_keep_a_sender_out_whose_secret_is_right() {
    let place = Place::new(&sections(NOWHERE));
    let intake = place.start().await;
    // Who signs a body is known only when all of it is there.
    let _crowd = crowd(&intake, "github", ["127.0.0.2", "127.0.0.3"], "X-Hub-Signature-256: sha256=00").await;
    assert_eq!(intake.deliver(push("acme/app", "amd64-1")).await, 202);
}

#[tokio::test]
async fn one_sender_with_long_bodies_leaves_room_for_the_others() {
    let place = Place::new(&sections(NOWHERE));
    let intake = place.start().await;
    let _crowd = crowd(&intake, "main", ["127.0.0.2"; 2], &format!("Authorization: {HOOK_SECRET}")).await;
    assert_eq!(intake.deliver(push("acme/app", "amd64-1")).await, 202);
}

#[tokio::test]
async fn pages_that_are_left_open_do_not_keep_operators_out() {
    let place = Place::new(&sections(NOWHERE));
    let intake = Intake::of(place.serve_after("ulimit -n 64")).await;
    let mut open = Vec::new();
    for _ in 0..8 {
        let listener = intake.client_at("127.0.0.1").get(format!("http://{}/events", intake.admin)).send().await;
        let listener = listener.expect("an answer");
        match listener.status().as_u16() {
            200 => open.push(listener),
            status => {
                assert_eq!(status, 503);
                assert_eq!(listener.headers()["retry-after"], "30", "the page tries again, later");
            }
        }
    }
    assert_eq!(open.len(), 4, "half of the places");
    assert_eq!(intake.jobs().await, 0, "metrics are read as ever");
}

#[tokio::test]
async fn an_operators_request_that_does_not_arrive_is_given_up() {
    let place = Place::new(&sections(NOWHERE));
    let intake = place.start().await;
    let begun = Instant::now();
    let mut stream = TcpStream::connect(&intake.admin).await.expect("a connection");
    let head = format!(
        "POST /api/v1/publish HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\nContent-Length: 9\r\n\r\n{{"
    );
    stream.write_all(head.as_bytes()).await.expect("half a request");
    let mut answer = vec![0; 1024];
    let read = tokio::time::timeout(Duration::from_secs(25), stream.read(&mut answer)).await;
    let length = read.expect("it is not waited for for ever").expect("an answer");
    let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("application/problem+json"), "{answer}");
    assert!(begun.elapsed() >= Duration::from_secs(9), "it was not given its ten seconds");

    let request = intake.ask("POST", "/api/v1/publish").bearer_auth(ADMIN_TOKEN);
    let body = json!({ "repository": format!("{NOWHERE}/acme/app"), "tag": "1" });
    assert_eq!(request.body(body.to_string()).send().await.expect("an answer").status(), 202);
}

#[tokio::test]
async fn names_of_what_never_was_leave_no_trace_and_what_comes_late_is_published() {
    let registry = FakeRegistry::start().await;
    let place = Place::new(&sections(&registry.host()));
    let intake = place.start().await;
    for number in 0..20 {
        assert_eq!(intake.deliver(push(&format!("acme/ghost{number}"), "amd64-1")).await, 202);
    }
    let ended = "onetag_jobs_ended_total{end=\"waiting\"}";
    eventually("all were looked for", async || (intake.metric(ended).await >= 20).then_some(())).await;
    assert_eq!(intake.json("/api/v1/history").await["history"], json!([]));
    assert_eq!(intake.json("/api/v1/repositories").await["repositories"], json!([]));
    assert_eq!(intake.metric("onetag_tags_held").await, 0);

    registry.push_image("acme/ghost7:amd64-1", "linux/amd64");
    eventually("it is published", async || registry.digest("acme/ghost7:1")).await;
}
