//! What systemd is told: `Type=notify`, `Type=notify-reload` and `WatchdogSec=`.

use std::time::Duration;

use tokio::net::UnixDatagram;

use crate::support::intake::{Intake, NOWHERE, Place, sections};

/// Where systemd listens.
struct Manager {
    socket: UnixDatagram,
}

impl Manager {
    fn at(place: &Place) -> Manager {
        Manager { socket: UnixDatagram::bind(place.path("notify")).expect("a socket") }
    }

    /// The next message that has this line.
    async fn hears(&self, line: &str) -> String {
        let mut heard = Vec::new();
        let hearing = async {
            loop {
                let mut bytes = [0; 4096];
                let length = self.socket.recv(&mut bytes).await.expect("a message");
                let message = String::from_utf8_lossy(&bytes[..length]).into_owned();
                if message.lines().any(|known| known == line) {
                    return message;
                }
                heard.push(message);
            }
        };
        let found = tokio::time::timeout(Duration::from_secs(45), hearing).await;
        found.unwrap_or_else(|_| panic!("`{line}` was not said, but {heard:?}"))
    }
}

async fn start(place: &Place, variables: &[(&str, &str)]) -> Intake {
    let mut cli = place.serve(&[]).env("NOTIFY_SOCKET", place.path("notify"));
    for (name, value) in variables {
        cli = cli.env(name, *value);
    }
    Intake::of(cli).await
}

#[tokio::test]
async fn systemd_hears_when_it_is_ready_reads_its_file_again_and_stops() {
    let place = Place::new(&sections(NOWHERE));
    let manager = Manager::at(&place);
    let intake = start(&place, &[]).await;
    manager.hears("READY=1").await;
    for (method, path, at) in [("GET", "/healthz", &intake.listen), ("GET", "/metrics", &intake.admin)] {
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().expect("a client");
        let method = method.parse().expect("a method");
        let answer = client.request(method, format!("http://{at}{path}")).send().await.expect("an answer");
        assert_eq!(answer.status(), 200, "{path}: both listeners answer by then");
    }

    for text in ["[[repository]]\nname = 7", ""] {
        place.configure(&format!("{}\n{text}", sections(NOWHERE)));
        let before = uptime_secs();
        intake.signal("HUP").await;
        let reloading = manager.hears("RELOADING=1").await;
        let told = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).expect("the time");
        let told_secs = told.parse::<u64>().expect("a number") / 1_000_000;
        assert!((before.saturating_sub(1)..=uptime_secs() + 1).contains(&told_secs), "{told}, not {before} s");
        manager.hears("READY=1").await;
    }
    assert_eq!(intake.log().matches("The configuration stays as it was").count(), 1);

    intake.signal("TERM").await;
    manager.hears("STOPPING=1").await;
    intake.wait().await.expect(0);
}

#[tokio::test]
async fn signs_of_life_are_given_where_they_are_wanted() {
    let place = Place::new(&sections(NOWHERE));
    let manager = Manager::at(&place);
    let _intake = start(&place, &[("WATCHDOG_USEC", "400000")]).await;
    for _ in 0..3 {
        manager.hears("WATCHDOG=1").await;
    }
}

/// The time since the machine started.
fn uptime_secs() -> u64 {
    let uptime = std::fs::read_to_string("/proc/uptime").expect("the time since the machine started");
    uptime.split('.').next().and_then(|seconds| seconds.parse().ok()).expect("a number")
}
