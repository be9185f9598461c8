//! `Browser`: Debian's headless Chromium, driven through the WebDriver protocol by chromedriver.
//!
//! Whatever it asks for, logs and refuses is kept, so that a test can say that there was nothing
//! of the kind.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::cli::{Cli, Running};
use super::eventually;

/// As many browsers as run at one time; each takes a machine's whole attention for a moment.
static SEATS: Semaphore = Semaphore::const_new(2);

/// The key of an element's name in the protocol.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// The keys that have no character.
pub const TAB: &str = "\u{e004}";
/// Confirms.
pub const ENTER: &str = "\u{e007}";

/// A browser with a profile of its own; it ends when this is dropped.
pub struct Browser {
    driver: Running,
    process: u64,
    session: String,
    client: reqwest::Client,
    _profile: TempDir,
    _seat: SemaphorePermit<'static>,
}

/// A thing on the page.
#[derive(Clone, Debug)]
pub struct Element(String);

impl Browser {
    /// Starts one.
    pub async fn start() -> Browser {
        let seat = SEATS.acquire().await.expect("it is never closed");
        let profile = TempDir::new().expect("a temporary directory");
        // Whatever they keep for a while goes with the profile.
        let driver = Cli::program("chromedriver", ["--port=0"]).env("TMPDIR", profile.path()).spawn();
        let says = "started successfully on port ";
        driver.wait_for(says).await;
        let port = eventually("the port is told", async || {
            let told = driver.stdout();
            let rest = told.split(says).nth(1)?;
            rest.contains('.').then(|| rest.split('.').next().map(str::to_owned)).flatten()
        })
        .await;
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).timeout(Duration::from_secs(60));
        let mut browser = Browser {
            driver,
            process: 0,
            session: format!("http://127.0.0.1:{port}/session"),
            client: client.build().expect("an HTTP client"),
            _profile: profile,
            _seat: seat,
        };
        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1280,900",
            &format!("--user-data-dir={}", browser._profile.path().display()),
        ];
        let capabilities = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": { "binary": "/usr/bin/chromium", "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
        } } });
        let session = browser.ask("", &capabilities).await;
        browser.process = session["capabilities"]["goog:processID"].as_u64().expect("the browser's process");
        browser.session.push_str(&format!("/{}", session["sessionId"].as_str().expect("a session")));
        // What its own first page asked for is nobody's business here.
        browser.open("about:blank").await;
        browser.requests().await;
        browser
    }

    /// Goes to an address and waits until it is loaded.
    pub async fn open(&self, url: &str) {
        self.ask("/url", &json!({ "url": url })).await;
    }

    /// Where it is.
    pub async fn address(&self) -> String {
        self.value("return location.href", &[]).await.as_str().expect("a text").to_owned()
    }

    /// The only or first element of this CSS selector; waits until there is one.
    pub async fn find(&self, selector: &str) -> Element {
        eventually(selector, async || self.all(selector).await.into_iter().next()).await
    }

    /// Every element of this CSS selector.
    pub async fn all(&self, selector: &str) -> Vec<Element> {
        let found = self.ask("/elements", &json!({ "using": "css selector", "value": selector })).await;
        let found = found.as_array().expect("elements").iter();
        found.map(|element| Element(element[ELEMENT].as_str().expect("an element").to_owned())).collect()
    }

    /// The texts of these elements as a reader sees them.
    pub async fn texts(&self, selector: &str) -> Vec<String> {
        let script = "return [...document.querySelectorAll(arguments[0])].map((it) => it.innerText.trim())";
        let texts = self.value(script, &[json!(selector)]).await;
        texts.as_array().expect("texts").iter().map(|text| text.as_str().expect("a text").to_owned()).collect()
    }

    /// The text of the first of these elements.
    pub async fn text(&self, selector: &str) -> String {
        self.find(selector).await;
        self.texts(selector).await.remove(0)
    }

    /// Waits until the first of these elements has this text in it.
    pub async fn wait_for(&self, selector: &str, part: &str) {
        eventually(&format!("`{part}` in {selector}"), async || {
            let texts = self.texts(selector).await;
            texts.first().filter(|text| text.contains(part)).map(|_| ())
        })
        .await;
    }

    /// Clicks the first of these elements.
    pub async fn click(&self, selector: &str) {
        let element = self.find(selector).await;
        self.ask(&format!("/element/{}/click", element.0), &json!({})).await;
    }

    /// Types into the first of these elements.
    pub async fn type_into(&self, selector: &str, text: &str) {
        let element = self.find(selector).await;
        self.ask(&format!("/element/{}/value", element.0), &json!({ "text": text })).await;
    }

    /// Presses keys wherever the focus is.
    pub async fn press(&self, keys: &str) {
        let strokes: Vec<Value> = keys
            .chars()
            .flat_map(|key| ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key.to_string() })))
            .collect();
        self.ask("/actions", &json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": strokes }] })).await;
    }

    /// What a script returns.
    pub async fn value(&self, script: &str, arguments: &[Value]) -> Value {
        self.ask("/execute/sync", &json!({ "script": script, "args": arguments })).await
    }

    /// A command of Chromium's own protocol.
    pub async fn command(&self, command: &str, parameters: Value) -> Value {
        self.ask("/goog/cdp/execute", &json!({ "cmd": command, "params": parameters })).await
    }

    /// Looks like this from now on: `light` or `dark`, so many pixels wide and high.
    pub async fn look(&self, scheme: &str, width: u32, height: u32) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.command("Emulation.setEmulatedMedia", json!({ "features": features })).await;
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.command("Emulation.setDeviceMetricsOverride", metrics).await;
    }

    /// What is to be seen, as PNG.
    pub async fn screenshot(&self) -> Vec<u8> {
        use base64::Engine as _;
        let shot = self.command("Page.captureScreenshot", json!({ "format": "png" })).await;
        let text = shot["data"].as_str().expect("a picture");
        base64::engine::general_purpose::STANDARD.decode(text).expect("base64")
    }

    /// What the console has had since it was last asked for: errors, warnings, refusals of the
    /// content security policy.
    pub async fn console(&self) -> Vec<String> {
        let entries = self.ask("/se/log", &json!({ "type": "browser" })).await;
        entries.as_array().expect("entries").iter().map(Value::to_string).collect()
    }

    /// The addresses that were asked for since this was last called.
    pub async fn requests(&self) -> Vec<String> {
        let entries = self.ask("/se/log", &json!({ "type": "performance" })).await;
        let messages = entries.as_array().expect("entries").iter().filter_map(|entry| {
            let message: Value = serde_json::from_str(entry["message"].as_str()?).ok()?;
            let message = &message["message"];
            (message["method"] == "Network.requestWillBeSent")
                .then(|| message["params"]["request"]["url"].as_str().unwrap_or("?").to_owned())
        });
        messages.collect()
    }

    /// Panics unless the console is empty and nobody but `origin` was asked for anything.
    #[track_caller]
    pub fn assert_calm(&self, origin: &str) -> impl Future<Output = ()> {
        let place = std::panic::Location::caller();
        async move {
            assert_eq!(self.console().await, Vec::<String>::new(), "{place}: the console has something to say");
            let requests = self.requests().await;
            let others: Vec<_> = requests.iter().filter(|url| !url.starts_with(&format!("{origin}/"))).collect();
            assert_eq!(others, Vec::<&String>::new(), "{place}: somebody else was asked");
        }
    }

    /// Lets the driver end it and answer then: a process of it that outlived this would write its
    /// profile anew.
    fn end(&self) -> io::Result<()> {
        let session = self.session.trim_start_matches("http://");
        let (address, path) = session.split_once('/').ok_or(io::ErrorKind::InvalidInput)?;
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        write!(stream, "DELETE /{path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\n\r\n")?;
        stream.read_exact(&mut [0; "HTTP/1.1 200".len()])
    }

    async fn ask(&self, path: &str, body: &Value) -> Value {
        let url = format!("{}{path}", self.session);
        let request = self.client.post(url).header("content-type", "application/json").body(body.to_string());
        let answer = request.send().await.expect("chromedriver answers");
        let status = answer.status();
        let text = answer.text().await.expect("the whole answer");
        let mut answer: Value = serde_json::from_str(&text).expect("JSON");
        assert!(status.is_success(), "{path} {body}: {text}\n{}", self.driver.stderr());
        answer["value"].take()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let is_ended = self.end().is_ok();
        if !is_ended && self.process > 0 {
            // Its driver is killed, and would leave it behind.
            let _ = std::process::Command::new("kill").args(["-s", "KILL", &self.process.to_string()]).status();
        }
    }
}
