//! `FakeRegistry`: a registry in this process that speaks real HTTP on a free loopback port.
//!
//! Tests fill it through plain functions, which are unchecked, and then look at what was asked of
//! it over the wire. What it stores and who may ask is left to `store` and `auth`, what it is like
//! to `builder`.

mod builder;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

use super::auth::{Auth, Gate, Origin};
use super::fault::{Play, Script, When};
use super::image::{self, Built, Image};
use super::recorded::{Kind, Log, Recorded};
use super::server::{Answer, Server};
use super::store::{Options, Store, Stored, split_reference};
pub use builder::Builder;

/// A registry to test against; clones are the same registry.
#[derive(Clone)]
pub struct FakeRegistry {
    shared: Arc<Shared>,
}

struct Shared {
    scheme: &'static str,
    options: Mutex<Options>,
    store: Mutex<Store>,
    gate: Mutex<Gate>,
    script: Mutex<Script>,
    delay: Mutex<Duration>,
    log: Arc<Log>,
    server: OnceLock<Server>,
    pushes: AtomicUsize,
}

/// The digests of what `docker buildx build --push` leaves.
#[derive(Clone, Debug)]
pub struct Attested {
    /// The index, which the tag names.
    pub index: String,
    /// The image in it.
    pub image: String,
    /// The attestation manifest in it.
    pub attestation: String,
}

impl FakeRegistry {
    /// Plain HTTP, and open to everyone.
    pub async fn start() -> FakeRegistry {
        FakeRegistry::builder().start().await
    }

    /// Anything else.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// `127.0.0.1:PORT`
    pub fn host(&self) -> String {
        self.origin().host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.server().address.port()
    }

    /// `127.0.0.1:PORT/acme/ubuntu`
    pub fn repository(&self, name: &str) -> String {
        format!("{}/{name}", self.host())
    }

    /// `http://127.0.0.1:PORT/x`
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin().base())
    }

    /// Closes the port and every connection.
    pub async fn stop(&self) {
        self.server().stop().await;
    }

    // Filling it.

    /// Pushes a small image that is like no other; returns the digest of its manifest.
    pub fn push_image(&self, reference: &str, platform: &str) -> String {
        self.push(reference, &self.unique(reference, platform))
    }

    /// Pushes this image; returns the digest of its manifest.
    pub fn push(&self, reference: &str, image: &Image) -> String {
        self.push_built(reference, &image.build())
    }

    /// Pushes any document with its blobs; returns its digest.
    pub fn push_built(&self, reference: &str, built: &Built) -> String {
        let (repository, _) = split_reference(reference);
        for blob in &built.blobs {
            self.put_blob(repository, blob.clone());
        }
        self.put_manifest(reference, &built.media_type, built.bytes.clone())
    }

    /// Pushes what `docker buildx build --push` makes: an index of an image and its attestation.
    pub fn push_attested(&self, reference: &str, platform: &str) -> Attested {
        let attested = image::attested_index(&self.unique(reference, platform));
        let (repository, _) = split_reference(reference);
        let by_digest = |built: &Built| self.push_built(&format!("{repository}@{}", built.digest), built);
        Attested {
            image: by_digest(&attested.image),
            attestation: by_digest(&attested.attestation),
            index: self.push_built(reference, &attested.index),
        }
    }

    /// Pushes an OCI index of what these tags or digests hold now; returns its digest.
    pub fn push_index(&self, reference: &str, children: &[&str]) -> String {
        let descriptors: Vec<_> = children.iter().map(|child| self.descriptor(child)).collect();
        self.put_manifest(reference, image::OCI_INDEX, image::index(image::OCI_INDEX, &descriptors))
    }

    /// Stores any bytes as a manifest, unchecked; returns the digest they are found under.
    pub fn put_manifest(&self, reference: &str, media_type: &str, bytes: impl Into<Bytes>) -> String {
        let (repository, reference) = split_reference(reference);
        let mut store = self.shared.store.lock().unwrap();
        store.repository(repository).put_manifest(reference, media_type, bytes.into())
    }

    /// Stores a blob; returns its digest.
    pub fn put_blob(&self, repository: &str, bytes: impl Into<Bytes>) -> String {
        let bytes = bytes.into();
        let digest = image::sha256(&bytes);
        self.put_blob_as(repository, &digest, bytes);
        digest
    }

    /// Stores a blob under a digest that may not be its own.
    pub fn put_blob_as(&self, repository: &str, digest: &str, bytes: impl Into<Bytes>) {
        let mut store = self.shared.store.lock().unwrap();
        store.repository(repository).put_blob(digest, bytes.into());
    }

    /// Lets a tag name another manifest of its repository.
    pub fn retag(&self, reference: &str, digest: &str) {
        let (repository, tag) = split_reference(reference);
        let mut store = self.shared.store.lock().unwrap();
        store.repository(repository).tags.insert(tag.to_owned(), digest.to_owned());
    }

    /// Deletes a tag; its manifest stays.
    pub fn delete(&self, reference: &str) {
        let (repository, tag) = split_reference(reference);
        self.shared.store.lock().unwrap().repository(repository).tags.remove(tag);
    }

    /// Deletes a manifest and every tag that names it.
    pub fn delete_manifest(&self, digest: &str) {
        self.shared.store.lock().unwrap().delete_manifest(digest);
    }

    /// Deletes a blob.
    pub fn delete_blob(&self, repository: &str, digest: &str) {
        self.shared.store.lock().unwrap().repository(repository).delete_blob(digest);
    }

    // Looking into it.

    /// The digest a tag names.
    pub fn digest(&self, reference: &str) -> Option<String> {
        self.manifest(reference).map(|stored| stored.digest)
    }

    /// A manifest by tag or digest.
    pub fn manifest(&self, reference: &str) -> Option<Stored> {
        let (repository, reference) = split_reference(reference);
        self.shared.store.lock().unwrap().find(repository)?.manifest(reference)
    }

    /// A manifest as JSON.
    pub fn json(&self, reference: &str) -> Value {
        let stored = self.manifest(reference);
        stored.unwrap_or_else(|| panic!("{reference} is not in the registry")).json()
    }

    /// A blob.
    pub fn blob(&self, repository: &str, digest: &str) -> Option<Bytes> {
        self.shared.store.lock().unwrap().find(repository)?.blob(digest)
    }

    /// Every tag of a repository, in lexical order.
    pub fn tags(&self, repository: &str) -> Vec<String> {
        let store = self.shared.store.lock().unwrap();
        store.find(repository).map(|found| found.tags.keys().cloned().collect()).unwrap_or_default()
    }

    /// `linux/arm/v7` of each entry of an index, in order; empty if it is absent or no index.
    pub fn platforms(&self, reference: &str) -> Vec<String> {
        self.manifest(reference).map(|stored| platforms(&stored)).unwrap_or_default()
    }

    /// The digest of each entry of an index, in order; empty if it is absent or no index.
    pub fn children(&self, reference: &str) -> Vec<String> {
        let index = self.manifest(reference).map(|stored| stored.json()).unwrap_or_default();
        let entries = index["manifests"].as_array().cloned().unwrap_or_default();
        entries.iter().map(|it| it["digest"].as_str().unwrap_or("?").to_owned()).collect()
    }

    /// The descriptor of a manifest, with the platform that its config tells, if any.
    pub fn descriptor(&self, reference: &str) -> Value {
        let (repository, _) = split_reference(reference);
        let stored = self.manifest(reference);
        let stored = stored.unwrap_or_else(|| panic!("{reference} is not in the registry"));
        let mut descriptor = image::descriptor(&stored.media_type, &stored.bytes);
        let manifest = stored.json();
        let config = manifest["config"]["digest"].as_str();
        let config = config.and_then(|digest| self.blob(repository, digest));
        let config: Option<Value> = config.and_then(|config| serde_json::from_slice(&config).ok());
        if let Some(config) = config.filter(|config| config["architecture"].is_string()) {
            descriptor["platform"] = image::platform_json(&image::platform_text(&config));
        }
        descriptor
    }

    // What was asked of it.

    /// Every request in the order of arrival.
    pub fn requests(&self) -> Vec<Recorded> {
        self.shared.log.requests()
    }

    /// Every request of one kind.
    pub fn requests_of(&self, kind: Kind) -> Vec<Recorded> {
        self.requests().into_iter().filter(|request| request.kind == kind).collect()
    }

    /// How many requests of one kind there were.
    pub fn count(&self, kind: Kind) -> usize {
        self.requests_of(kind).len()
    }

    /// How many requests there were that could change something, refused ones included.
    pub fn writes(&self) -> usize {
        self.written().len()
    }

    /// The requests that could change something, refused ones included.
    pub fn written(&self) -> Vec<Recorded> {
        self.requests().into_iter().filter(Recorded::is_write).collect()
    }

    /// Forgets the requests so far.
    pub fn forget_requests(&self) {
        self.shared.log.forget();
    }

    /// The length of the longest chain of requests, each sent after the one before was answered.
    pub fn rounds(&self) -> usize {
        self.shared.log.rounds()
    }

    /// How many TCP connections were made, failed TLS handshakes included.
    pub fn connections(&self) -> usize {
        self.server().connections()
    }

    // Changing its ways.

    /// Plays something for the requests it is meant for.
    pub fn on(&self, when: When, play: Play) {
        self.shared.script.lock().unwrap().add(when, play);
    }

    /// Drops every play.
    pub fn behave(&self) {
        self.shared.script.lock().unwrap().clear();
    }

    /// Holds every answer back for so long.
    pub fn set_delay(&self, delay: Duration) {
        *self.shared.delay.lock().unwrap() = delay;
    }

    /// Changes how it stores and lists.
    pub fn set_options(&self, change: impl FnOnce(&mut Options)) {
        change(&mut self.shared.options.lock().unwrap());
    }

    /// Changes how it asks for credentials; tokens stay good.
    pub fn set_auth(&self, auth: Auth) {
        self.shared.gate.lock().unwrap().auth = auth;
    }

    /// Whether new tokens grant no pushing, as while garbage is collected.
    pub fn set_read_only(&self, is_read_only: bool) {
        self.shared.gate.lock().unwrap().is_read_only = is_read_only;
    }

    /// Refuses every token given so far.
    pub fn revoke_tokens(&self) {
        self.shared.gate.lock().unwrap().revoke_tokens();
    }

    fn origin(&self) -> Origin {
        Origin { scheme: self.shared.scheme, host: self.server().address.to_string() }
    }

    fn server(&self) -> &Server {
        self.shared.server.get().expect("a registry is started before anyone has it")
    }

    fn unique(&self, reference: &str, platform: &str) -> Image {
        let number = self.shared.pushes.fetch_add(1, Ordering::SeqCst) + 1;
        Image::new(platform).file("etc/image", format!("{reference} {platform}, push {number}\n"))
    }

    async fn answer(&self, request: &Recorded) -> Answer {
        let verdict = self.shared.gate.lock().unwrap().check(request, &self.origin());
        let plays = self.shared.script.lock().unwrap().due(request, verdict.is_ok());

        for play in &plays {
            match &**play {
                Play::Run(hook) => hook(self),
                Play::Late(pause) => tokio::time::sleep(*pause).await,
                _ => (),
            }
        }
        let instead = plays.iter().find_map(|play| play.instead());
        let mut answer = match (instead, verdict) {
            (Some(answer), _) | (None, Err(answer)) => answer,
            (None, Ok(())) => self.apply(request),
        };
        for play in &plays {
            match &**play {
                Play::RunAfter(hook) => hook(self),
                Play::Delay(pause) => tokio::time::sleep(*pause).await,
                play => play.spoil(&mut answer),
            }
        }
        let delay = *self.shared.delay.lock().unwrap();
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        answer
    }

    fn apply(&self, request: &Recorded) -> Answer {
        if request.kind == Kind::Token {
            return self.shared.gate.lock().unwrap().token(request);
        }
        let options = self.shared.options.lock().unwrap().clone();
        self.shared.store.lock().unwrap().answer(request, &options, &self.origin())
    }
}

/// `linux/arm/v7` of each entry of an index, in order; `none` where there is no platform.
pub fn platforms(index: &Stored) -> Vec<String> {
    let entries = index.json()["manifests"].as_array().cloned().unwrap_or_default();
    let text = |entry: &Value| match &entry["platform"] {
        Value::Null => "none".to_owned(),
        platform => image::platform_text(platform),
    };
    entries.iter().map(text).collect()
}
