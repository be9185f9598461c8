//! Requests to the listener of deliveries, byte by byte: lengths that differ, and the longest bodies.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::intake::{HOOK_SECRET, NOWHERE, Place, URL_SECRET, sections};

/// What a proxy before the service takes for one request must not be two, or a sender would speak in
/// the name of the next (RFC 9112, section 11.2).
#[tokio::test]
async fn a_request_whose_length_is_in_doubt_is_refused_or_the_last_of_its_connection() {
    let place = Place::new(&sections(NOWHERE));
    let intake = place.start().await;
    let cases = [
        ("both lengths", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "202"),
        ("two lengths", "Content-Length: 2\r\nContent-Length: 5\r\n\r\n{}   ", "400"),
        ("a list of lengths", "Content-Length: 2, 2\r\n\r\n{}", "400"),
        ("a signed length", "Content-Length: +2\r\n\r\n{}", "400"),
        ("an encoding after the chunks", "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", "400"),
        ("an encoding that is none", "Transfer-Encoding: xchunked\r\nContent-Length: 2\r\n\r\n{}", "400"),
        ("a space before the colon", "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", "400"),
        ("a folded header", "X-Folded: a\r\n b\r\nContent-Length: 2\r\n\r\n{}", "400"),
    ];
    for (name, rest, status) in cases {
        let mut stream = intake.connect().await;
        let next = "GET /healthz HTTP/1.1\r\nHost: onetag\r\n\r\n";
        let request =
            format!("POST /hooks/main HTTP/1.1\r\nHost: onetag\r\nAuthorization: {HOOK_SECRET}\r\n{rest}{next}");
        stream.write_all(request.as_bytes()).await.expect("it is sent");
        let mut bytes = Vec::new();
        // A connection that is reset with something unread has said all that it had to say.
        let end = tokio::time::timeout(Duration::from_secs(9), stream.read_to_end(&mut bytes)).await;
        assert!(end.is_ok(), "{name}: the connection stays open");
        let answers = String::from_utf8_lossy(&bytes);
        assert!(answers.starts_with(&format!("HTTP/1.1 {status} ")), "{name}: {answers}");
        assert!(!answers.contains("alive"), "{name}: what followed was taken for a request: {answers}");
    }
}

#[tokio::test]
async fn each_format_has_its_own_longest_body() {
    let zot = format!(
        "[[hook]]\nname = \"zot\"\nformat = \"zot\"\nregistry = \"{NOWHERE}\"\nsecret = {{ env = \"HOOK_SECRET\" }}\nheader = \"Authorization\"\n"
    );
    let place = Place::new(&(sections(NOWHERE) + &zot));
    let intake = place.start().await;
    let grid = format!("/hooks/grid/{URL_SECRET}");
    for (path, mib) in [("/hooks/main", 1), (grid.as_str(), 2), ("/hooks/zot", 8)] {
        for (more, status) in [(0, 202), (1, 413)] {
            let body = vec![b' '; mib * 1024 * 1024 + more];
            // Each on a connection of its own: after a refusal it is closed.
            let request = intake.client_at("127.0.0.1").post(format!("http://{}{path}", intake.listen));
            let request = request.header("Authorization", HOOK_SECRET).body(body).send();
            // A refusal may be overtaken by the end of the connection.
            let found = request.await.map_or(413, |answer| answer.status().as_u16());
            assert_eq!(found, status, "{path} {mib} MiB + {more}");
        }
    }
    assert_eq!(intake.metric("onetag_deliveries_total{hook=\"zot\",outcome=\"too-large\"}").await, 1);
    assert_eq!(intake.metric("onetag_deliveries_total{hook=\"grid\",outcome=\"too-large\"}").await, 1);
}
