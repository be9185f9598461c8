//! `Intake`: `onetag serve` as a child process, seen from its senders, its operators and its machine.
//!
//! It runs in a folder of its own on ports of its own choice, also inside a shell that takes
//! something away from it, and its folder outlives it.

use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;

use super::cli::{Cli, Ran, Running, onetag};
use super::eventually::eventually;

/// What the hook `main` wants to see as `Authorization`.
pub const HOOK_SECRET: &str = "Bearer hook-canary-31337-aa";
/// The other one that it takes.
pub const OTHER_SECRET: &str = "Bearer hook-canary-90210-bb";
/// What the hook `quay` has in its URL.
pub const URL_SECRET: &str = "url-canary-0123456789-abcdefgh";
/// What the hook `github` is signed with.
pub const SIGNING_SECRET: &str = "correct-horse-battery-staple";
/// What changes something.
pub const ADMIN_TOKEN: &str = "admin-canary-5150-cccccc";

/// A registry that nobody listens at.
pub const NOWHERE: &str = "127.0.0.1:9";

/// The longest body that is taken of most formats.
pub const MIB: usize = 1024 * 1024;

/// A folder with a configuration and a database.
pub struct Place {
    /// Where it is.
    pub folder: TempDir,
}

/// A running service; it is killed when this is dropped.
pub struct Intake {
    running: Running,
    client: reqwest::Client,
    /// Where deliveries are taken.
    pub listen: String,
    /// Where operators ask.
    pub admin: String,
}

/// A service whose registry is not there: what it took waits for ever.
pub async fn nowhere() -> (Place, Intake) {
    let place = Place::new(&sections(NOWHERE));
    let intake = place.start().await;
    (place, intake)
}

/// Any repository below `acme/`, and one hook for each way of proof.
pub fn sections(registry: &str) -> String {
    let hook = |name: &str, format: &str, secret: &str| {
        format!("[[hook]]\nname = \"{name}\"\nformat = \"{format}\"\nregistry = \"{registry}\"\nsecret = {secret}\n")
    };
    let main = hook("main", "distribution", "[{ env = \"HOOK_SECRET\" }, { env = \"OTHER_SECRET\" }]");
    let github = hook("github", "ghcr", "{ env = \"SIGNING_SECRET\" }");
    let quay = hook("quay", "quay", "{ env = \"URL_SECRET\" }");
    let grid = hook("grid", "eventgrid", "{ env = \"URL_SECRET\" }");
    format!(
        "[[repository]]\nregistry = \"{registry}\"\nname = \"acme/*\"\nquiet = \"0s\"\npoll = \"1h\"\n\
         {main}header = \"Authorization\"\n{github}{quay}{grid}"
    )
}

impl Place {
    /// With these sections; the ports are free ones.
    pub fn new(sections: &str) -> Place {
        let place = Place { folder: TempDir::new().expect("a temporary directory") };
        std::fs::create_dir(place.path("data")).expect("a folder for the database");
        place.configure(sections);
        place
    }

    /// Writes other sections.
    pub fn configure(&self, sections: &str) {
        self.write(&format!("listen = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n{sections}"));
    }

    /// Writes another file, but for the token and the database.
    pub fn write(&self, text: &str) {
        let top = "admin_token = { env = \"ADMIN_TOKEN\" }\ndatabase = \"sqlite://data/onetag.db\"\n";
        std::fs::write(self.path("onetag.toml"), format!("{top}{text}")).expect("a configuration");
    }

    /// Something in the folder.
    pub fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// `onetag serve` here, with more arguments.
    pub fn serve(&self, more: &[&str]) -> Cli {
        self.at_home(onetag(["serve", "--config", "onetag.toml"].into_iter().chain(more.iter().copied())))
    }

    /// `onetag serve` inside a shell that runs this first and then `exec "$@"`.
    pub fn serve_after(&self, script: &str) -> Cli {
        let binary = env!("CARGO_BIN_EXE_onetag");
        let script = format!("{script}; exec \"$@\"");
        self.at_home(Cli::program("sh", ["-c", &script, "sh", binary, "serve", "--config", "onetag.toml"]))
    }

    /// The same as the superuser of namespaces of its own, where it can mount.
    pub fn serve_after_mounting(&self, script: &str) -> Cli {
        let binary = env!("CARGO_BIN_EXE_onetag");
        let script = format!("set -e; {script}; exec \"$@\"");
        let arguments = ["-rm", "sh", "-c", &script, "sh", binary, "serve", "--config", "onetag.toml"];
        self.at_home(Cli::program("unshare", arguments))
    }

    fn at_home(&self, cli: Cli) -> Cli {
        cli.directory(self.folder.path())
            .env("HOOK_SECRET", HOOK_SECRET)
            .env("OTHER_SECRET", OTHER_SECRET)
            .env("URL_SECRET", URL_SECRET)
            .env("SIGNING_SECRET", SIGNING_SECRET)
            .env("ADMIN_TOKEN", ADMIN_TOKEN)
    }

    /// Starts the service.
    pub async fn start(&self) -> Intake {
        Intake::of(self.serve(&[])).await
    }
}

/// Makes sure that a test may mount something here, as root or in a namespace of its own.
pub async fn must_be_able_to_mount() {
    let ran = Cli::program("unshare", ["-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]).run().await;
    assert_eq!(ran.code, 0, "this test mounts a file system of its own (run it as root): {}", ran.stderr);
}

impl Intake {
    /// The service that this starts, once it listens.
    pub async fn of(cli: Cli) -> Intake {
        let running = cli.spawn();
        running.wait_for(", for operators on ").await;
        let (listen, admin) = eventually("both addresses are told", async || {
            let log = running.stderr();
            let (_, rest) = log.split_once("Listening for deliveries on ")?;
            let (listen, rest) = rest.split_once(", for operators on ")?;
            let admin = rest.lines().next().filter(|_| rest.contains('\n'))?;
            let admin: String = admin.chars().take_while(|c| c.is_ascii_digit() || matches!(c, '.' | ':')).collect();
            Some((listen.to_owned(), admin))
        })
        .await;
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().expect("an HTTP client");
        Intake { running, client, listen, admin }
    }

    /// A request to the listener of deliveries.
    pub fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = method.parse().expect("a method");
        self.client.request(method, format!("http://{}{path}", self.listen))
    }

    /// A request to the listener of operators.
    pub fn ask(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = method.parse().expect("a method");
        self.client.request(method, format!("http://{}{path}", self.admin))
    }

    /// Delivers to the hook `main`, with its secret; returns the status.
    pub async fn deliver(&self, body: impl ToString) -> u16 {
        self.try_deliver(body).await.unwrap_or_else(|| panic!("no answer\n{}", self.log()))
    }

    /// The same; none if there is no answer.
    pub async fn try_deliver(&self, body: impl ToString) -> Option<u16> {
        let request = self.request("POST", "/hooks/main").header("Authorization", HOOK_SECRET);
        Some(request.body(body.to_string()).send().await.ok()?.status().as_u16())
    }

    /// A connection to the listener of deliveries.
    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(&self.listen).await.expect("a connection")
    }

    /// The status of what is at this path.
    pub async fn status(&self, path: &str) -> u16 {
        self.request("GET", path).send().await.expect("an answer").status().as_u16()
    }

    /// What operators find at this path.
    pub async fn json(&self, path: &str) -> Value {
        json_of(self.ask("GET", path).send().await.expect("an answer")).await
    }

    /// All metrics.
    pub async fn metrics(&self) -> String {
        self.ask("GET", "/metrics").send().await.expect("an answer").text().await.expect("text")
    }

    /// A metric by its name and labels; zero where it is not there.
    pub async fn metric(&self, name: &str) -> u64 {
        value(&self.metrics().await, name)
    }

    /// How many deliveries to the hook `main` had this outcome.
    pub async fn outcome(&self, outcome: &str) -> u64 {
        self.metric(&format!("onetag_deliveries_total{{hook=\"main\",outcome=\"{outcome}\"}}")).await
    }

    /// How many jobs there are that are not done.
    pub async fn jobs(&self) -> u64 {
        let metrics = self.metrics().await;
        value(&metrics, "onetag_jobs_waiting") + value(&metrics, "onetag_jobs_running")
    }

    /// What it logged.
    pub fn log(&self) -> String {
        self.running.stderr()
    }

    /// The number of its process.
    pub fn process(&self) -> u32 {
        self.running.id()
    }

    /// A client at another address of this machine.
    pub fn client_at(&self, address: &str) -> reqwest::Client {
        let address: std::net::IpAddr = address.parse().expect("an address");
        reqwest::Client::builder().no_proxy().tls_certs_only([]).local_address(address).build().expect("an HTTP client")
    }

    /// Waits until it has logged this.
    pub async fn logs(&self, text: &str) {
        self.running.wait_for(text).await;
    }

    /// Sends it a signal.
    pub async fn signal(&self, name: &str) {
        self.running.signal(name).await;
    }

    /// Waits for its end.
    pub async fn wait(self) -> Ran {
        self.running.wait().await
    }

    /// Sends it a signal, and waits for its end.
    pub async fn end(self, signal: &str) -> Ran {
        self.running.signal(signal).await;
        self.running.wait().await
    }
}

fn value(metrics: &str, name: &str) -> u64 {
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.map_or(0, |value| value.parse().unwrap_or_else(|_| panic!("`{name}` is {value}")))
}

/// The body of an answer.
pub async fn json_of(answer: reqwest::Response) -> Value {
    let bytes = answer.bytes().await.expect("the whole answer");
    serde_json::from_slice(&bytes).unwrap_or_else(|_| panic!("not JSON: {}", String::from_utf8_lossy(&bytes)))
}

/// What Distribution tells of one push.
pub fn push(repository: &str, tag: &str) -> Value {
    json!({ "events": [event(repository, tag)] })
}

/// One event of it.
pub fn event(repository: &str, tag: &str) -> Value {
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let target = json!({ "mediaType": media_type, "repository": repository, "tag": tag });
    json!({ "id": format!("{repository}:{tag}"), "action": "push", "target": target })
}

/// What is in `testdata/webhooks`.
pub fn sample(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/webhooks").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
