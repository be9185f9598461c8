//! Several `onetag serve` on one PostgreSQL, as they are behind a load balancer.

#![allow(clippy::unwrap_used, reason = "nothing is expected to fail here but what a story is about")]

mod balancer;
mod chaos;
mod gate;
mod passwords;
mod settings;
mod strict;
mod together;

use std::sync::Mutex;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::auth::User;
use crate::support::cli::Running;
use crate::support::real::free_address;
use crate::support::registry::Builder;
use crate::support::service::{HOOK_SECRET, delivery};
use crate::support::{FakeRegistry, eventually, onetag};

/// One of several; it is killed when this is dropped.
pub(super) struct Replica {
    listen: String,
    admin: String,
    folder: TempDir,
    running: Mutex<Option<Running>>,
    client: reqwest::Client,
    earlier_logs: Mutex<String>,
}

/// A registry that tells replicas apart: each logs in by another name.
pub(super) fn registry() -> Builder {
    FakeRegistry::builder().basic_users((0..3).map(|number| User::new(&format!("r{number}"), "secret")).collect())
}

/// Who sent a request.
pub(super) fn sender(request: &crate::support::Recorded) -> Option<usize> {
    use base64::Engine as _;
    let header = request.header("authorization")?;
    let login = base64::engine::general_purpose::STANDARD.decode(header.strip_prefix("Basic ")?).ok()?;
    String::from_utf8(login).ok()?.strip_prefix('r')?.split(':').next()?.parse().ok()
}

impl Replica {
    /// A replica that works on this database for `acme/*` of this registry. It is not started yet.
    pub(super) fn new(number: usize, database: &str, registry: &FakeRegistry, top: &str, rule: &str) -> Replica {
        let (folder, host) = (TempDir::new().expect("a folder"), registry.host());
        let (listen, admin) = (free_address(), free_address());
        let text = format!(
            "listen = \"{listen}\"\nadmin = \"{admin}\"\nadmin_token = {{ env = \"ADMIN_TOKEN\" }}\n\
             database = \"{database}\"\n{top}\n\
             [[registry]]\nhost = \"{host}\"\nusername = \"r{number}\"\npassword = {{ env = \"REGISTRY\" }}\n\
             [[repository]]\nregistry = \"{host}\"\nname = \"acme/*\"\n{rule}\n\
             [[hook]]\nname = \"main\"\nformat = \"distribution\"\nregistry = \"{host}\"\n\
             secret = {{ env = \"HOOK_SECRET\" }}\nheader = \"Authorization\"\n"
        );
        std::fs::write(folder.path().join("onetag.toml"), text).expect("a configuration");
        let client =
            reqwest::Client::builder().no_proxy().tls_certs_only([]).timeout(std::time::Duration::from_secs(2));
        Replica {
            listen,
            admin,
            folder,
            running: Mutex::default(),
            client: client.build().expect("an HTTP client"),
            earlier_logs: Mutex::default(),
        }
    }

    /// Writes something else into its configuration.
    pub(super) fn also(&self, from: &str, to: &str) {
        let path = self.folder.path().join("onetag.toml");
        let text = std::fs::read_to_string(&path).expect("a configuration");
        assert!(text.contains(from), "{from} is not in it");
        std::fs::write(&path, text.replace(from, to)).expect("a configuration");
    }

    /// Starts it, and waits until it says so.
    pub(super) async fn start(&self) {
        let running = onetag(["serve", "--config", "onetag.toml"])
            .directory(self.folder.path())
            .env("HOOK_SECRET", HOOK_SECRET)
            .env("ADMIN_TOKEN", "admin-canary-3b")
            .env("REGISTRY", "secret")
            .spawn();
        *self.running.lock().unwrap() = Some(running);
        eventually("the replica is ready", async || {
            let answer = self.client.get(format!("http://{}/readyz", self.listen)).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
    }

    /// Ends it by SIGKILL.
    pub(super) async fn kill(&self) {
        self.end("KILL").await;
    }

    /// Tells it to end, and waits until it has.
    pub(super) async fn stop(&self) {
        self.end("TERM").await;
    }

    async fn end(&self, signal: &str) {
        let running = self.running.lock().unwrap().take().expect("it runs");
        running.signal(signal).await;
        let ran = running.wait().await;
        self.earlier_logs.lock().unwrap().push_str(&ran.stderr);
    }

    /// Sends it a signal.
    pub(super) async fn signal(&self, name: &str) {
        let id = self.running.lock().unwrap().as_ref().expect("it runs").id().to_string();
        let status = tokio::process::Command::new("kill").args(["-s", name, &id]).status().await.expect("kill starts");
        assert!(status.success());
    }

    /// What it logged, over all its starts.
    pub(super) fn log(&self) -> String {
        let now = self.running.lock().unwrap().as_ref().map(Running::stderr).unwrap_or_default();
        format!("{}{now}", self.earlier_logs.lock().unwrap())
    }

    /// Delivers a push; whether it was acknowledged.
    pub(super) async fn tell(&self, repository: &str, tag: &str, digest: &str) -> bool {
        let request =
            self.client.post(format!("http://{}/hooks/main", self.listen)).header("Authorization", HOOK_SECRET);
        let answer = request.body(delivery(repository, tag, digest).to_string()).send().await;
        answer.is_ok_and(|answer| answer.status().as_u16() == 202)
    }

    /// Delivers a push again and again until it is acknowledged, as senders do.
    pub(super) async fn tell_at_last(&self, repository: &str, tag: &str, digest: &str) {
        eventually("the delivery is acknowledged", async || self.tell(repository, tag, digest).await.then_some(()))
            .await;
    }

    /// Has an operator's wish seen to, however long that takes; returns the answer's status.
    pub(super) async fn operate(&self, what: &str, repository: &str, tag: &str) -> u16 {
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().expect("an HTTP client");
        let request = client.post(format!("http://{}/api/v1/{what}", self.admin)).bearer_auth("admin-canary-3b");
        let body = serde_json::json!({ "repository": repository, "tag": tag }).to_string();
        request.body(body).send().await.expect("the replica answers").status().as_u16()
    }

    /// What the admin listener has at this path.
    pub(super) async fn get(&self, path: &str) -> Option<String> {
        let request = self.client.get(format!("http://{}{path}", self.admin));
        let answer = request.timeout(std::time::Duration::from_secs(10)).send().await.ok()?;
        answer.text().await.ok()
    }

    /// What the admin listener goes on to say at this path.
    pub(super) async fn listen_to(&self, path: &str) -> reqwest::Response {
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().expect("an HTTP client");
        client.get(format!("http://{}{path}", self.admin)).send().await.expect("the replica answers")
    }

    /// The same as JSON.
    pub(super) async fn json(&self, path: &str) -> Option<Value> {
        serde_json::from_str(&self.get(path).await?).ok()
    }

    /// The value of a metric, with its labels as written.
    pub(super) async fn metric(&self, name: &str) -> Option<f64> {
        let text = self.get("/metrics").await?;
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
    }
}
