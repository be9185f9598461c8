//! `Service`: `onetag serve` as a child process on free ports, with what its senders and operators do.

use onetag::store::Store;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::cli::{Cli, Ran, Running, onetag};
use super::eventually::eventually;
use super::real::free_address;

/// What the hook `main` wants to see.
pub const HOOK_SECRET: &str = "Bearer hook-canary-5f1d";
/// What changes something on the admin listener.
pub const ADMIN_TOKEN: &str = "admin-canary-77aa01";
/// What notices are signed with.
pub const NOTIFY_SECRET: &str = "notify-canary-90cc2e";

/// A running service with a database of its own; it ends when this is dropped.
pub struct Service {
    running: Option<Running>,
    listen: String,
    admin: String,
    variables: Vec<(String, String)>,
    client: reqwest::Client,
    directory: TempDir,
    earlier_logs: String,
}

impl Service {
    /// Starts it with these sections. A hook `main` of Distribution's format is there for `registry`.
    pub async fn start(registry: &str, sections: &str) -> Service {
        Service::start_at(&free_address(), registry, sections).await
    }

    /// The same on an address that somebody knows already.
    pub async fn start_at(listen: &str, registry: &str, sections: &str) -> Service {
        let hook = format!(
            "[[hook]]\nname = \"main\"\nformat = \"distribution\"\nregistry = \"{registry}\"\n\
             secret = {{ env = \"HOOK_SECRET\" }}\nheader = \"Authorization\"\n"
        );
        Service::start_raw(listen, &format!("{sections}\n{hook}"), &[]).await
    }

    /// With exactly these sections and variables.
    pub async fn start_raw(listen: &str, sections: &str, variables: &[(&str, &str)]) -> Service {
        let admin = free_address();
        let top = format!(
            "listen = \"{listen}\"\nadmin = \"{admin}\"\nadmin_token = {{ env = \"ADMIN_TOKEN\" }}\n\
             database = \"sqlite://onetag.db\"\n"
        );
        let directory = TempDir::new().expect("a temporary directory");
        std::fs::write(directory.path().join("onetag.toml"), format!("{top}{sections}")).expect("a configuration");
        let mut service = Service {
            running: None,
            listen: listen.to_owned(),
            admin,
            variables: variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            client: reqwest::Client::builder().no_proxy().tls_certs_only([]).build().expect("an HTTP client"),
            directory,
            earlier_logs: String::new(),
        };
        service.resume().await;
        service
    }

    /// Starts it again, with the database and the addresses that it had.
    pub async fn resume(&mut self) {
        let mut cli = onetag(["serve", "--config", "onetag.toml"])
            .directory(self.directory.path())
            .env("HOOK_SECRET", HOOK_SECRET)
            .env("ADMIN_TOKEN", ADMIN_TOKEN)
            .env("NOTIFY_SECRET", NOTIFY_SECRET);
        for (name, value) in &self.variables {
            cli = cli.env(name, value);
        }
        let running = cli.spawn();
        running.wait_for("Listening for deliveries").await;
        self.running = Some(running);
        let ready = format!("http://{}/readyz", self.listen);
        eventually("the service is ready", async || {
            let answer = self.client.get(&ready).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
    }

    /// Ends it by SIGTERM and waits until it is gone.
    pub async fn stop(&mut self) -> Ran {
        self.end("TERM").await
    }

    /// Ends it by SIGKILL.
    pub async fn kill(&mut self) -> Ran {
        self.end("KILL").await
    }

    /// Lets it read its configuration again, and waits until it has.
    pub async fn reload(&self) {
        let running = self.running.as_ref().expect("the service runs");
        let read = || running.stderr().matches("Read onetag.toml again").count();
        let before = read();
        running.signal("HUP").await;
        eventually("the configuration is read again", async || (read() > before).then_some(())).await;
    }

    async fn end(&mut self, signal: &str) -> Ran {
        let running = self.running.take().expect("the service runs");
        running.signal(signal).await;
        let ran = running.wait().await;
        self.earlier_logs.push_str(&ran.stderr);
        ran
    }

    /// What it logged, over all its starts.
    pub fn log(&self) -> String {
        let now = self.running.as_ref().map(Running::stderr).unwrap_or_default();
        format!("{}{now}", self.earlier_logs)
    }

    /// Delivers to the hook `main`; returns the status.
    pub async fn deliver(&self, body: &Value) -> u16 {
        self.deliver_to("main", body).await
    }

    /// Delivers to a hook; returns the status.
    pub async fn deliver_to(&self, hook: &str, body: &Value) -> u16 {
        let request = self.client.post(format!("http://{}/hooks/{hook}", self.listen));
        let request = request.header("Authorization", HOOK_SECRET).body(body.to_string());
        request.send().await.expect("the service answers").status().as_u16()
    }

    /// Tells of a push as Distribution does; panics unless that is accepted.
    pub async fn tell(&self, repository: &str, tag: &str, digest: &str) {
        assert_eq!(self.deliver(&delivery(repository, tag, digest)).await, 202, "{}", self.log());
    }

    /// Where operators look.
    pub fn origin(&self) -> String {
        format!("http://{}", self.admin)
    }

    /// A request to the admin listener.
    pub fn ask(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = method.parse().expect("a method");
        self.client.request(method, format!("http://{}{path}", self.admin))
    }

    /// Puts something into its database while it does not run.
    pub async fn fill(&mut self, fill: impl AsyncFnOnce(&Store)) {
        self.stop().await;
        let path = self.directory.path().join("onetag.db");
        let store = Store::open(&format!("sqlite://{}", path.display())).await.expect("the database opens");
        fill(&store).await;
        store.close().await;
        self.resume().await;
    }

    /// What the admin listener has at this path.
    pub async fn get(&self, path: &str) -> String {
        let answer = self.client.get(format!("http://{}{path}", self.admin)).send().await;
        answer.expect("the service answers").text().await.expect("the whole answer")
    }

    /// The same as JSON.
    pub async fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.get(path).await).expect("JSON")
    }

    /// The journal's entries, newest first.
    pub async fn history(&self) -> Vec<Value> {
        self.json("/api/v1/history").await["history"].as_array().cloned().expect("entries")
    }

    /// The acts of the journal, oldest first.
    pub async fn acts(&self) -> Vec<String> {
        self.history().await.iter().rev().map(|entry| entry["act"].as_str().expect("an act").to_owned()).collect()
    }

    /// The trouble of the tag `xenial`: its kind and its reason.
    pub async fn trouble(&self) -> Option<(String, String)> {
        let jobs = self.json("/api/v1/jobs").await;
        let job = jobs["troubled"].as_array()?.iter().find(|job| job["tag"] == "xenial")?.clone();
        let text = |key: &str| job["trouble"][key].as_str().unwrap_or("?").to_owned();
        Some((text("kind"), text("reason")))
    }

    /// Waits until the tag `xenial` is in trouble of this kind; returns the reason.
    pub async fn trouble_of(&self, kind: &str) -> String {
        eventually(kind, async || self.trouble().await.filter(|(found, _)| found == kind)).await.1
    }

    /// Waits until no job waits or runs.
    pub async fn idle(&self) {
        eventually("no job waits", async || {
            self.json("/api/v1/jobs").await["active"].as_array().expect("jobs").is_empty().then_some(())
        })
        .await;
    }

    /// The value of a metric, with its labels as written; zero where it is not there.
    pub async fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").await;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned));
        line.map_or(0.0, |value| value.parse().expect("a number"))
    }

    /// `onetag` as an operator of this service runs it.
    pub fn operator(&self, arguments: &[&str]) -> Cli {
        onetag(arguments.iter().copied())
            .env("ONETAG_SERVER", format!("http://{}", self.admin))
            .env("ONETAG_ADMIN_TOKEN", ADMIN_TOKEN)
    }
}

/// One push as CNCF Distribution tells of it.
pub fn delivery(repository: &str, tag: &str, digest: &str) -> Value {
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let target = json!({ "mediaType": media_type, "repository": repository, "tag": tag, "digest": digest });
    let id = format!("{repository}:{tag}@{digest}");
    json!({ "events": [{ "id": id, "action": "push", "target": target, "request": { "host": "registry" } }] })
}
