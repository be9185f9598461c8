//! Servers that speak bytes, for what no HTTP library would say.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// Answers every connection with these bytes and closes it; returns its `127.0.0.1:PORT`.
pub async fn answering(bytes: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let host = listener.local_addr().expect("an address").to_string();
    tokio::spawn(async move {
        loop {
            let Ok((mut stream, _)) = listener.accept().await else { return };
            let bytes = bytes.clone();
            tokio::spawn(async move {
                read_head(&mut stream).await;
                let _ = stream.write_all(&bytes).await;
            });
        }
    });
    host
}

/// Passes every connection on to `target`; returns the address it listens on.
pub async fn forward(listen: &str, target: String) -> std::io::Result<String> {
    let listener = TcpListener::bind(listen).await?;
    let host = listener.local_addr()?.to_string();
    tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else { return };
            tokio::spawn(join(stream, target.clone()));
        }
    });
    Ok(host)
}

/// A proxy for TLS that knows one place only; returns its address, and the head of each request.
pub async fn proxy(target: String) -> (String, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let host = listener.local_addr().expect("an address").to_string();
    let (heads, received) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let Ok((mut stream, _)) = listener.accept().await else { return };
            let (heads, target) = (heads.clone(), target.clone());
            tokio::spawn(async move {
                let _ = heads.send(read_head(&mut stream).await);
                let _ = stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await;
                join(stream, target).await;
            });
        }
    });
    (host, received)
}

async fn join(mut stream: TcpStream, target: String) {
    if let Ok(mut onward) = TcpStream::connect(target).await {
        let _ = tokio::io::copy_bidirectional(&mut stream, &mut onward).await;
    }
}

async fn read_head(stream: &mut TcpStream) -> String {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).await.is_ok_and(|length| length == 1) {
        head.push(byte[0]);
    }
    String::from_utf8_lossy(&head).into_owned()
}
