//! Deliveries of Pub/Sub, which show a token that Google signed: who is let in, and when keys are
//! fetched.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::intake::Intake;
use crate::support::{Answer, Elsewhere, FakeRegistry, onetag};

const AUDIENCE: &str = "https://onetag.example.com/hooks/gar";
const EMAIL: &str = "pusher@acme-project.iam.gserviceaccount.com";

/// Somebody who signs tokens.
struct Signer {
    id: &'static str,
    key: RsaKeyPair,
}

impl Signer {
    fn new(id: &'static str) -> Signer {
        Signer { id, key: RsaKeyPair::generate(KeySize::Rsa2048).expect("a key can be made") }
    }

    /// The public key, as Google publishes its own.
    fn keys(&self) -> String {
        let der = self.key.public_key().as_ref();
        assert_eq!(der.len(), 270, "the DER of a key of 2048 bits, where the modulus has its place");
        let n = BASE64.encode(&der[9..265]);
        let key = json!({"kid": self.id, "kty": "RSA", "alg": "RS256", "use": "sig", "n": n, "e": "AQAB"});
        json!({ "keys": [key] }).to_string()
    }

    /// A token of the right account for the right audience.
    fn token(&self) -> String {
        self.token_with("typ", json!("none"))
    }

    /// The same with one claim changed.
    fn token_with(&self, claim: &str, value: Value) -> String {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("later than 1970").as_secs();
        let mut claims = json!({
            "iss": "https://accounts.google.com",
            "aud": AUDIENCE,
            "email": EMAIL,
            "email_verified": true,
            "iat": now,
            "exp": now + 3600,
        });
        claims[claim] = value;
        let head = json!({"alg": "RS256", "kid": self.id, "typ": "JWT"});
        let message = format!("{}.{}", BASE64.encode(head.to_string()), BASE64.encode(claims.to_string()));
        let mut signature = vec![0; self.key.public_modulus_len()];
        let random = SystemRandom::new();
        self.key.sign(&RSA_PKCS1_SHA256, &random, message.as_bytes(), &mut signature).expect("it can sign");
        format!("{message}.{}", BASE64.encode(signature))
    }
}

/// `onetag serve` with one hook for Pub/Sub.
struct Service {
    intake: Intake,
    _registry: FakeRegistry,
}

impl Service {
    /// With the hook's keys as `keys` says, and `keys.json` as a file.
    async fn start(keys: &str, file: &str) -> Service {
        let registry = FakeRegistry::start().await;
        let host = registry.host();
        let config = format!(
            "listen = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n\
             [[repository]]\nregistry = \"{host}\"\nname = \"**\"\n\
             [[hook]]\nname = \"gar\"\nformat = \"gar\"\nregistry = \"{host}\"\n\
             audience = \"{AUDIENCE}\"\nemail = \"{EMAIL}\"\n{keys}\n"
        );
        let cli = onetag(["serve"]).home_file("onetag.toml", config).home_file("keys.json", file);
        Service { intake: Intake::of(cli).await, _registry: registry }
    }

    async fn deliver(&self, token: Option<&str>) -> reqwest::Response {
        let body = include_str!("../../testdata/webhooks/gar-pubsub.json");
        let mut request = self.intake.request("POST", "/hooks/gar").body(body);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        request.header("content-type", "application/json").send().await.expect("an answer")
    }

    async fn status(&self, token: &str) -> u16 {
        self.deliver(Some(token)).await.status().as_u16()
    }

    /// How many deliveries had this outcome.
    async fn count(&self, outcome: &str) -> usize {
        let metrics = self.intake.ask("GET", "/metrics").send().await.expect("an answer");
        let text = metrics.text().await.expect("a text");
        let line = text.lines().find(|line| line.contains("deliveries") && line.contains(&format!("\"{outcome}\"")));
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
    }
}

/// A server of keys, which can fail for a while.
struct KeyServer {
    server: Elsewhere,
    is_broken: Arc<AtomicBool>,
}

impl KeyServer {
    async fn start(keys: String) -> KeyServer {
        let is_broken = Arc::new(AtomicBool::new(false));
        let broken = Arc::clone(&is_broken);
        let server = Elsewhere::answering(move |_| match broken.load(Ordering::Relaxed) {
            true => Answer::with_body(500, "text/plain", "broken"),
            false => Answer::with_body(200, "application/json", keys.clone()),
        });
        KeyServer { server: server.await, is_broken }
    }

    fn line(&self) -> String {
        format!("keys_url = \"{}\"", self.server.url("/certs"))
    }

    fn fetches(&self) -> usize {
        self.server.requests().len()
    }
}

#[tokio::test]
async fn a_delivery_with_a_token_of_the_account_is_taken_and_every_other_is_not() {
    let google = Signer::new("google-1");
    let service = Service::start("keys_file = \"keys.json\"", &google.keys()).await;
    assert_eq!(service.status(&google.token()).await, 202);
    assert_eq!(service.count("stored").await, 1);

    assert_eq!(service.deliver(None).await.status().as_u16(), 401);
    for (claim, value) in [
        ("iss", json!("https://accounts.example.com")),
        ("aud", json!("https://elsewhere.example.com")),
        ("email", json!("mallory@evil.iam.gserviceaccount.com")),
        ("email_verified", json!(false)),
        ("exp", json!(1_741_080_074)),
    ] {
        assert_eq!(service.status(&google.token_with(claim, value)).await, 401, "{claim}");
    }
    assert_eq!(service.status(&Signer::new("google-1").token()).await, 401, "another key under Google's name");
    assert_eq!(service.status(&Signer::new("google-2").token()).await, 401, "a key that nobody published");
    assert_eq!((service.count("stored").await, service.count("unproven").await), (1, 8));
    assert!(!service.intake.log().contains(&google.token()[..40]), "no token is logged");
}

#[tokio::test]
async fn a_stranger_is_refused_before_any_of_the_body_is_there() {
    let service = Service::start("keys_file = \"keys.json\"", &Signer::new("google-1").keys()).await;
    let mut stream = tokio::net::TcpStream::connect(&service.intake.listen).await.expect("it listens");
    let head =
        "POST /hooks/gar HTTP/1.1\r\nhost: onetag\r\ncontent-length: 1000\r\nauthorization: Bearer a.b.c\r\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("it reads");
    let mut status = [0; 12];
    let answered = tokio::time::timeout(Duration::from_secs(8), stream.read_exact(&mut status)).await;
    answered.expect("an answer before the body").expect("an answer");
    assert_eq!(&status, b"HTTP/1.1 401");
}

#[tokio::test]
async fn keys_are_fetched_once_for_everybody_and_never_for_a_token_that_would_not_be_taken() {
    let google = Signer::new("google-1");
    let server = KeyServer::start(google.keys()).await;
    let service = Service::start(&server.line(), "").await;
    let stranger = google.token_with("email", json!("mallory@evil.iam.gserviceaccount.com"));
    assert_eq!(service.status(&stranger).await, 401);
    assert_eq!(server.fetches(), 0, "a stranger cannot make us fetch");

    let token = google.token();
    let together = futures_util::future::join_all((0..8).map(|_| service.status(&token))).await;
    assert_eq!((together, server.fetches()), (vec![202; 8], 1));

    for _ in 0..3 {
        assert_eq!(service.status(&Signer::new("google-2").token()).await, 401);
    }
    assert_eq!(server.fetches(), 1, "keys that were just fetched are not fetched again for a key that is not there");
}

#[tokio::test]
async fn without_keys_a_good_delivery_is_put_off_and_a_bad_one_is_refused() {
    let google = Signer::new("google-1");
    let server = KeyServer::start(google.keys()).await;
    server.is_broken.store(true, Ordering::Relaxed);
    let service = Service::start(&server.line(), "").await;

    let answer = service.deliver(Some(&google.token())).await;
    assert_eq!((answer.status().as_u16(), answer.headers()["retry-after"].as_bytes()), (503, &b"5"[..]));
    assert_eq!(service.status(&google.token()).await, 503);
    assert_eq!(server.fetches(), 1, "a server that failed is left alone for a while");
    assert_eq!(service.status(&google.token_with("aud", json!("other"))).await, 401);
    let said = service.intake.log();
    assert!(said.contains("cannot be fetched from") && said.contains("status 500, expected 200"), "{said}");

    server.is_broken.store(false, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(service.status(&google.token()).await, 202, "and then the sender's next try is taken");
    assert_eq!(server.fetches(), 2);
}
