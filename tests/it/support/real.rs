//! `RealRegistry`: Debian's `docker-registry` (CNCF Distribution 2.8) as a child process.
//!
//! Also the runner of `skopeo`. A program that is not installed fails the test; nothing is skipped.

use std::fs::File;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::Value;
use tempfile::TempDir;

use super::cli::{Cli, Ran};
use super::image::{Built, DOCKER_LIST, DOCKER_MANIFEST, Image, OCI_INDEX, OCI_MANIFEST, attested_index};
use super::registry::{Attested, platforms};
use super::store::{Stored, split_reference};

/// Where Debian's package of the same name puts it.
const PROGRAM: &str = "/usr/bin/docker-registry";
/// `user` with the password `secret`, as `htpasswd -B` writes it.
const HTPASSWD: &str = "user:$2b$04$CIMCHXVnTG0taOTeGz2BM.oiyDV.yvBw9gO5j0Ln9XV4Ng8teFOPC\n";
/// How long it may take to start.
const START_LIMIT: Duration = Duration::from_secs(20);

/// A registry that nobody here wrote; it ends when this is dropped.
pub struct RealRegistry {
    child: Child,
    host: String,
    client: Client,
    has_password: bool,
    pushes: AtomicUsize,
    directory: TempDir,
}

impl Drop for RealRegistry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl RealRegistry {
    /// Plain HTTP, and open to everyone.
    pub async fn start() -> RealRegistry {
        RealRegistry::launch(false, "").await
    }

    /// Plain HTTP, for `user` with the password `secret`.
    pub async fn start_with_password() -> RealRegistry {
        RealRegistry::launch(true, "").await
    }

    /// Plain HTTP with more sections in its configuration, for example `notifications`.
    pub async fn start_with(yaml: &str) -> RealRegistry {
        RealRegistry::launch(false, yaml).await
    }

    async fn launch(has_password: bool, yaml: &str) -> RealRegistry {
        for _ in 0..5 {
            if let Some(registry) = RealRegistry::try_launch(has_password, yaml).await {
                return registry;
            }
        }
        panic!("{PROGRAM} lost the race for a free port five times");
    }

    /// Starts it; `None` if someone else took the port in the meantime.
    async fn try_launch(has_password: bool, yaml: &str) -> Option<RealRegistry> {
        let directory = TempDir::new().expect("a temporary directory");
        let path = |name: &str| directory.path().join(name);
        let host = free_address();
        let auth = match has_password {
            false => String::new(),
            true => {
                std::fs::write(path("htpasswd"), HTPASSWD).expect("a password file");
                format!("auth:\n  htpasswd:\n    realm: real\n    path: {}\n", path("htpasswd").display())
            }
        };
        let config = format!(
            "version: 0.1\n\
             log:\n  level: info\n\
             storage:\n  filesystem:\n    rootdirectory: {}\n  delete:\n    enabled: true\n\
             http:\n  addr: {host}\n\
             {auth}{yaml}",
            path("storage").display(),
        );
        std::fs::write(path("config.yml"), config).expect("a configuration");
        let child = spawn(directory.path());
        let client = Client::builder().no_proxy().build().expect("an HTTP client");
        let pushes = AtomicUsize::new(0);
        let mut registry = RealRegistry { child, host, client, has_password, pushes, directory };
        registry.is_up().await.then_some(registry)
    }

    /// Ends it at once, and starts it again as it was: what it had not told by then is lost.
    pub async fn restart(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.child = spawn(self.directory.path());
        assert!(self.is_up().await, "{PROGRAM} lost its port\n{}", self.log());
    }

    /// Waits until it answers; false if it could not have its port.
    async fn is_up(&mut self) -> bool {
        let started = Instant::now();
        loop {
            let status = self.child.try_wait().expect("a child can be asked for its status");
            if let Some(status) = status {
                let log = self.log();
                assert!(log.contains("address already in use"), "{PROGRAM}: {status}\n{log}");
                return false;
            }
            if self.request(Method::GET, "/v2/").send().await.is_ok() {
                return true;
            }
            let log = self.log();
            assert!(started.elapsed() < START_LIMIT, "{PROGRAM} does not answer\n{log}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// `127.0.0.1:PORT`
    pub fn host(&self) -> String {
        self.host.clone()
    }

    /// `127.0.0.1:PORT/acme/ubuntu`
    pub fn repository(&self, name: &str) -> String {
        format!("{}/{name}", self.host)
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// Pushes a small image that is like no other; returns the digest of its manifest.
    pub async fn push_image(&self, reference: &str, platform: &str) -> String {
        self.push(reference, &self.unique(reference, platform)).await
    }

    /// Pushes this image; returns the digest of its manifest.
    pub async fn push(&self, reference: &str, image: &Image) -> String {
        self.push_built(reference, &image.build()).await
    }

    /// Pushes any document with its blobs; returns its digest.
    pub async fn push_built(&self, reference: &str, built: &Built) -> String {
        let (repository, _) = split_reference(reference);
        for blob in &built.blobs {
            self.put_blob(repository, blob.clone()).await;
        }
        self.put_manifest(reference, &built.media_type, built.bytes.clone()).await
    }

    /// Pushes what `docker buildx build --push` makes: an index of an image and its attestation.
    pub async fn push_attested(&self, reference: &str, platform: &str) -> Attested {
        let attested = attested_index(&self.unique(reference, platform));
        let (repository, _) = split_reference(reference);
        let by_digest = |built: &Built| format!("{repository}@{}", built.digest);
        let (image, attestation) = (by_digest(&attested.image), by_digest(&attested.attestation));
        Attested {
            image: self.push_built(&image, &attested.image).await,
            attestation: self.push_built(&attestation, &attested.attestation).await,
            index: self.push_built(reference, &attested.index).await,
        }
    }

    /// Uploads a blob; returns its digest.
    pub async fn put_blob(&self, repository: &str, bytes: impl Into<Bytes>) -> String {
        let bytes = bytes.into();
        let digest = super::image::sha256(&bytes);
        let uploads = format!("/v2/{repository}/blobs/uploads/");
        let session = succeed(self.request(Method::POST, &uploads)).await;
        let location = session.headers()["location"].to_str().expect("a location is text");
        let mut url = session.url().join(location).expect("a location is a URL");
        url.query_pairs_mut().append_pair("digest", &digest);
        let put = self.authorize(self.client.put(url));
        succeed(put.header("Content-Type", "application/octet-stream").body(bytes)).await;
        digest
    }

    /// Pushes any bytes as a manifest, as far as the registry takes them; returns the digest.
    pub async fn put_manifest(&self, reference: &str, media_type: &str, bytes: impl Into<Bytes>) -> String {
        let put = self.request(Method::PUT, &manifest_path(reference));
        let answer = succeed(put.header("Content-Type", media_type).body(bytes.into())).await;
        digest_header(&answer)
    }

    /// Deletes a manifest by digest (`acme/ubuntu@sha256:...`), and every tag that names it.
    pub async fn delete_manifest(&self, reference: &str) {
        succeed(self.request(Method::DELETE, &manifest_path(reference))).await;
    }

    /// The digest a tag names.
    pub async fn digest(&self, reference: &str) -> Option<String> {
        self.manifest(reference).await.map(|stored| stored.digest)
    }

    /// A manifest by tag or digest.
    pub async fn manifest(&self, reference: &str) -> Option<Stored> {
        let accept = [OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST].join(", ");
        let get = || self.request(Method::GET, &manifest_path(reference)).header("Accept", &accept).send();
        let mut answer = get().await.expect("the registry answers");
        // It fails while the tag's file is being written, which is empty at that moment.
        for _ in 0..20 {
            if answer.status() == 500 {
                tokio::time::sleep(Duration::from_millis(20)).await;
                answer = get().await.expect("the registry answers");
            }
        }
        if answer.status() == 404 {
            return None;
        }
        let answer = answer.error_for_status().expect("the registry gives the manifest");
        let media_type = answer.headers()["content-type"].to_str().expect("a type is text");
        let (media_type, digest) = (media_type.to_owned(), digest_header(&answer));
        let bytes = answer.bytes().await.expect("the registry sends the manifest");
        Some(Stored { media_type, bytes, digest })
    }

    /// A manifest as JSON.
    pub async fn json(&self, reference: &str) -> Value {
        let stored = self.manifest(reference).await;
        stored.unwrap_or_else(|| panic!("{reference} is not in the registry")).json()
    }

    /// `linux/arm/v7` of each entry of an index, in order; empty if it is absent or no index.
    pub async fn platforms(&self, reference: &str) -> Vec<String> {
        self.manifest(reference).await.map(|stored| platforms(&stored)).unwrap_or_default()
    }

    fn unique(&self, reference: &str, platform: &str) -> Image {
        let number = 1 + self.pushes.fetch_add(1, Ordering::SeqCst);
        Image::new(platform).file("etc/image", format!("{reference} {platform}, push {number}\n"))
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.authorize(self.client.request(method, format!("http://{}{path}", self.host)))
    }

    fn authorize(&self, request: RequestBuilder) -> RequestBuilder {
        match self.has_password {
            true => request.basic_auth("user", Some("secret")),
            false => request,
        }
    }
}

/// Runs skopeo with an empty home and any signature policy; only what it returns is judged.
///
/// `--src-tls-verify=false` and its like are options of its commands, and left to the caller.
pub async fn skopeo(arguments: &[&str]) -> Ran {
    let arguments = ["--insecure-policy"].iter().chain(arguments).copied();
    Cli::program("skopeo", arguments).run().await
}

/// Starts it with the configuration in this directory; its log goes there, too.
fn spawn(directory: &Path) -> Child {
    let output = File::options().create(true).append(true).open(directory.join("log")).expect("a log file");
    Command::new(PROGRAM)
        .args(["serve".as_ref(), directory.join("config.yml").as_os_str()])
        .env_clear()
        .env("OTEL_TRACES_EXPORTER", "none")
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(output.try_clone().expect("a second handle"))
        .stderr(output)
        .spawn()
        .unwrap_or_else(|error| panic!("could not start {PROGRAM}: {error}; install `docker-registry`"))
}

/// An address on this machine that nobody listens at, and that nobody else is given here.
///
/// Whoever connects to something is given a port from 32768 on for it: one below stays free until it is
/// listened at.
pub fn free_address() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        // Other test processes begin elsewhere.
        let number = std::process::id().wrapping_mul(97).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(11_000 + number % 20_000).expect("it is less than 31,000");
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            return listener.local_addr().expect("a bound listener has an address").to_string();
        }
    }
}

/// A port of this machine that nobody listens on at this moment.
pub fn free_port() -> u16 {
    let address: std::net::SocketAddr = free_address().parse().expect("an address");
    address.port()
}

fn manifest_path(reference: &str) -> String {
    let (repository, reference) = split_reference(reference);
    format!("/v2/{repository}/manifests/{reference}")
}

fn digest_header(answer: &Response) -> String {
    let digest = answer.headers()["docker-content-digest"].to_str();
    digest.expect("a digest is text").to_owned()
}

async fn succeed(request: RequestBuilder) -> Response {
    let answer = request.send().await.expect("the registry answers");
    let (status, url) = (answer.status(), answer.url().clone());
    if status.is_success() {
        return answer;
    }
    panic!("{url} answered {status}: {}", answer.text().await.unwrap_or_default());
}
