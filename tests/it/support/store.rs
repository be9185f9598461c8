//! What a fake registry holds, and how it answers once a request may pass.
//!
//! It behaves as CNCF Distribution does unless an option says otherwise.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use serde_json::{Value, json};

use super::auth::Origin;
use super::image::{OCI_INDEX, OCI_MANIFEST, sha256};
use super::recorded::{Kind, Recorded};
use super::server::Answer;
use super::tags::{self, TagList};

/// The largest manifest that is taken, as in CNCF Distribution.
const MANIFEST_LIMIT_BYTES: usize = 4 * 1024 * 1024;

/// The ways in which registries differ about what they store.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// How an OCI index is refused, if it is.
    pub refuse_oci_index: Option<RefuseOciIndex>,
    /// How moving a tag that exists is refused, if it is.
    pub immutable: Option<Immutable>,
    /// How many reads of a tag are answered as before, each time it is pushed over HTTP.
    pub stale_reads: usize,
    /// Whether `HEAD` of a manifest is answered 405.
    pub is_without_head: bool,
    /// Whether `Range` is ignored, as a registry may.
    pub is_without_ranges: bool,
    /// How tags are listed.
    pub tag_list: TagList,
    /// How repositories are listed, if they are.
    pub catalog: Option<TagList>,
}

/// How a registry refuses an OCI index.
#[derive(Clone, Copy, Debug)]
pub enum RefuseOciIndex {
    /// 415, code `MANIFEST_INVALID`.
    UnsupportedMediaType,
    /// 400, code `MANIFEST_INVALID`.
    ManifestInvalid,
}

/// How a registry refuses to move a tag.
#[derive(Clone, Copy, Debug)]
pub enum Immutable {
    /// 409, code `TAG_ALREADY_EXISTS`.
    AlreadyExists,
    /// 409, code `TAG_IMMUTABLE`, as newer registries do.
    Locked,
    /// 400, code `TAG_INVALID` and "immutable" in the message, as ECR does.
    TagInvalid,
    /// 412, code `PRECONDITION`, as Harbor does.
    Precondition,
    /// 403, code `DENIED` and "immutable" in the message, as Docker Hub does.
    Denied,
    /// 405, code `UNSUPPORTED`.
    NotAllowed,
}

impl Immutable {
    fn answer(self, tag: &str) -> Answer {
        let text = format!("The image tag '{tag}' already exists and cannot be overwritten");
        let immutable = format!("{text} because the tag is immutable.");
        match self {
            Immutable::AlreadyExists => Answer::error(409, "TAG_ALREADY_EXISTS", &text),
            Immutable::Locked => Answer::error(409, "TAG_IMMUTABLE", &immutable),
            Immutable::TagInvalid => Answer::error(400, "TAG_INVALID", &immutable),
            Immutable::Precondition => {
                let text = format!("Failed to process request due to '{tag}' configured as immutable.");
                Answer::error(412, "PRECONDITION", &text)
            }
            Immutable::Denied => Answer::error(403, "DENIED", &immutable),
            Immutable::NotAllowed => Answer::error(405, "UNSUPPORTED", "The operation is unsupported."),
        }
    }
}

/// A manifest as it was pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The `Content-Type` it was pushed with.
    pub media_type: String,
    /// Its bytes.
    pub bytes: Bytes,
    /// The digest under which it is found.
    pub digest: String,
}

impl Stored {
    /// The manifest as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).expect("a manifest is JSON")
    }
}

/// All repositories.
#[derive(Default)]
pub struct Store {
    repositories: BTreeMap<String, Repository>,
    uploads: HashMap<String, Vec<u8>>,
    upload_count: usize,
}

/// One repository.
#[derive(Default)]
pub struct Repository {
    /// The tags and the digests they name.
    pub tags: BTreeMap<String, String>,
    manifests: HashMap<String, Stored>,
    blobs: HashMap<String, Bytes>,
    stale: HashMap<String, Stale>,
}

/// What a tag seems to be for some reads after it was moved.
struct Stale {
    digest: Option<String>,
    reads_left: usize,
}

/// Splits `acme/ubuntu:xenial` or `acme/ubuntu@sha256:...` into repository and tag or digest.
pub fn split_reference(reference: &str) -> (&str, &str) {
    let parts = reference.split_once('@').or_else(|| reference.rsplit_once(':'));
    parts.unwrap_or_else(|| panic!("`{reference}` names neither a tag nor a digest"))
}

impl Store {
    /// A repository, made if it is not there.
    pub fn repository(&mut self, name: &str) -> &mut Repository {
        self.repositories.entry(name.to_owned()).or_default()
    }

    /// A repository, if it is there.
    pub fn find(&self, name: &str) -> Option<&Repository> {
        self.repositories.get(name)
    }

    /// Deletes a manifest and the tags that name it, in every repository.
    pub fn delete_manifest(&mut self, digest: &str) {
        for repository in self.repositories.values_mut() {
            repository.manifests.remove(digest);
            repository.tags.retain(|_, named| named != digest);
        }
    }

    /// Answers a request that may pass.
    pub fn answer(&mut self, request: &Recorded, options: &Options, origin: &Origin) -> Answer {
        let repository = request.repository.as_deref().unwrap_or_default();
        let reference = request.reference.as_deref().unwrap_or_default();
        match request.kind {
            Kind::Ping => Answer::json(200, &json!({})).header("Docker-Distribution-Api-Version", "registry/2.0"),
            Kind::Upload => self.upload(request, repository, reference),
            Kind::PutManifest => self.repository(repository).put(request, reference, options),
            Kind::HeadManifest if options.is_without_head => {
                Answer::error(405, "UNSUPPORTED", "The operation is unsupported.")
            }
            Kind::Other if request.method == "DELETE" => {
                Answer::error(405, "UNSUPPORTED", "The operation is unsupported.")
            }
            Kind::Catalog if options.catalog.is_some() => {
                let catalog = options.catalog.clone().unwrap_or_default();
                tags::list(request, self.repositories.keys(), &catalog, origin)
            }
            Kind::Other | Kind::Token | Kind::Catalog => {
                Answer::with_body(404, "text/plain; charset=utf-8", "404 page not found\n")
            }
            kind => match self.repositories.get_mut(repository) {
                None if kind == Kind::GetManifest || kind == Kind::HeadManifest => manifest_unknown(reference),
                None => {
                    let name = json!({ "name": repository });
                    let message = "repository name not known to registry";
                    Answer::error_with(404, "NAME_UNKNOWN", message, name)
                }
                Some(found) => match kind {
                    Kind::Tags => tags::list(request, found.tags.keys(), &options.tag_list, origin),
                    Kind::Blob => found.blob_answer(request, reference, options),
                    _ => found.manifest_answer(request, reference),
                },
            },
        }
    }

    /// Takes a blob in any of the ways the specification knows.
    fn upload(&mut self, request: &Recorded, repository: &str, session: &str) -> Answer {
        let parameters = request.parameters();
        let parameter =
            |wanted: &str| parameters.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
        if let (Some(digest), Some(from)) = (parameter("mount"), parameter("from"))
            && let Some(bytes) = self.find(from).and_then(|from| from.blob(digest))
        {
            self.repository(repository).put_blob(digest, bytes);
            return created(repository, "blobs", digest);
        }
        let session = match request.method.as_str() {
            "POST" => {
                self.upload_count += 1;
                let session = format!("upload-{}", self.upload_count);
                self.uploads.insert(session.clone(), Vec::new());
                session
            }
            _ => session.to_owned(),
        };
        let Some(received) = self.uploads.get_mut(&session) else {
            return Answer::error(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry");
        };
        received.extend_from_slice(&request.body);
        let length = received.len();

        match (request.method.as_str(), parameter("digest")) {
            ("DELETE", _) => {
                self.uploads.remove(&session);
                Answer::new(204)
            }
            ("PUT" | "POST", Some(digest)) => {
                let bytes = self.uploads.remove(&session).unwrap_or_default();
                if sha256(&bytes) != digest {
                    let message = "provided digest did not match uploaded content";
                    return Answer::error(400, "DIGEST_INVALID", message);
                }
                self.repository(repository).put_blob(digest, bytes.into());
                created(repository, "blobs", digest)
            }
            (method, _) => Answer::new(if method == "GET" { 204 } else { 202 })
                .header("Location", &format!("/v2/{repository}/blobs/uploads/{session}"))
                .header("Docker-Upload-UUID", &session)
                .header("Range", &format!("0-{}", length.saturating_sub(1))),
        }
    }
}

impl Repository {
    /// Stores a manifest unchecked, under a tag or a digest; returns its digest.
    pub fn put_manifest(&mut self, reference: &str, media_type: &str, bytes: Bytes) -> String {
        let is_digest = reference.contains(':');
        let digest = if is_digest { reference.to_owned() } else { sha256(&bytes) };
        if !is_digest {
            self.tags.insert(reference.to_owned(), digest.clone());
        }
        let media_type = media_type.to_owned();
        let stored = Stored { media_type, bytes, digest: digest.clone() };
        self.manifests.insert(digest.clone(), stored);
        digest
    }

    /// Stores a blob unchecked.
    pub fn put_blob(&mut self, digest: &str, bytes: Bytes) {
        self.blobs.insert(digest.to_owned(), bytes);
    }

    /// Takes a blob away.
    pub fn delete_blob(&mut self, digest: &str) {
        self.blobs.remove(digest);
    }

    /// A blob, if it is there.
    pub fn blob(&self, digest: &str) -> Option<Bytes> {
        self.blobs.get(digest).cloned()
    }

    /// A manifest by tag or digest, if it is there.
    pub fn manifest(&self, reference: &str) -> Option<Stored> {
        let digest = self.tags.get(reference).map_or(reference, String::as_str);
        self.manifests.get(digest).cloned()
    }

    /// A manifest as a reader sees it, who may be behind.
    fn read(&mut self, reference: &str) -> Option<Stored> {
        match self.stale.get_mut(reference) {
            Some(stale) if stale.reads_left > 0 => {
                stale.reads_left -= 1;
                self.manifests.get(stale.digest.as_ref()?).cloned()
            }
            _ => self.manifest(reference),
        }
    }

    fn manifest_answer(&mut self, request: &Recorded, reference: &str) -> Answer {
        let Some(stored) = self.read(reference) else { return manifest_unknown(reference) };
        if !accepts(request, &stored.media_type) {
            let kind = if stored.media_type == OCI_INDEX { "index" } else { "manifest" };
            let text = format!("OCI {kind} found, but accept header does not support OCI {kind}s");
            return Answer::error(404, "MANIFEST_UNKNOWN", &text);
        }
        let etag = format!("\"{}\"", stored.digest);
        let status = if request.header("if-none-match").as_ref() == Some(&etag) { 304 } else { 200 };
        let body = if status == 304 { Bytes::new() } else { stored.bytes };
        Answer::with_body(status, &stored.media_type, body)
            .header("Docker-Content-Digest", &stored.digest)
            .header("Etag", &etag)
    }

    fn blob_answer(&self, request: &Recorded, digest: &str, options: &Options) -> Answer {
        let Some(bytes) = self.blob(digest) else {
            return Answer::error(404, "BLOB_UNKNOWN", "blob unknown to registry");
        };
        let range = request.header("range").filter(|_| !options.is_without_ranges);
        let answer = match range.as_deref().and_then(|range| range.strip_prefix("bytes=")?.split_once('-')) {
            None => Answer::with_body(200, "application/octet-stream", bytes),
            Some((first, last)) => {
                let (first, len): (usize, usize) = (first.parse().unwrap(), bytes.len());
                let end = last.parse::<usize>().map_or(len, |last| len.min(last + 1));
                if first >= end {
                    return Answer::new(416).header("Content-Range", &format!("bytes */{len}"));
                }
                Answer::with_body(206, "application/octet-stream", bytes.slice(first..end))
                    .header("Content-Range", &format!("bytes {first}-{}/{len}", end - 1))
            }
        };
        answer.header("Docker-Content-Digest", digest)
    }

    fn put(&mut self, request: &Recorded, reference: &str, options: &Options) -> Answer {
        let invalid = |text: &str| Answer::error(400, "MANIFEST_INVALID", text);
        let Some(content_type) = request.header("content-type") else {
            return invalid("no Content-Type");
        };
        let media_type = content_type.split(';').next().unwrap_or_default().trim().to_owned();
        if request.body.len() > MANIFEST_LIMIT_BYTES {
            return invalid("request body too large");
        }
        let Ok(manifest) = serde_json::from_slice::<Value>(&request.body) else {
            return invalid("manifest is not JSON");
        };
        if manifest["mediaType"].as_str().is_some_and(|inside| inside != media_type) {
            return invalid("mediaType in manifest should be the Content-Type");
        }
        if let (OCI_INDEX, Some(refusal)) = (media_type.as_str(), options.refuse_oci_index) {
            let status = match refusal {
                RefuseOciIndex::UnsupportedMediaType => 415,
                RefuseOciIndex::ManifestInvalid => 400,
            };
            return Answer::error(status, "MANIFEST_INVALID", "manifest invalid");
        }
        if let (Some(immutable), true) = (options.immutable, self.tags.contains_key(reference)) {
            return immutable.answer(reference);
        }
        if let Some(absent) = self.absent_part(&manifest) {
            let (code, text) = ("MANIFEST_BLOB_UNKNOWN", "blob unknown to registry");
            return Answer::error_with(400, code, text, json!({ "digest": absent }));
        }
        if reference.contains(':') && reference != sha256(&request.body) {
            return Answer::error(400, "DIGEST_INVALID", "provided digest did not match content");
        }

        let before = self.tags.get(reference).cloned();
        let digest = self.put_manifest(reference, &media_type, request.body.clone());
        if options.stale_reads > 0 && !reference.contains(':') {
            let stale = Stale { digest: before, reads_left: options.stale_reads };
            self.stale.insert(reference.to_owned(), stale);
        }
        created(request.repository.as_deref().unwrap_or_default(), "manifests", &digest)
    }

    /// The first digest in a manifest that this repository does not have.
    fn absent_part(&self, manifest: &Value) -> Option<String> {
        let digests = |list: &Value| {
            let list = list.as_array().cloned().unwrap_or_default();
            list.into_iter().filter(|it| it["urls"].is_null()).collect::<Vec<_>>()
        };
        let text = |descriptor: &Value| descriptor["digest"].as_str().unwrap_or("?").to_owned();
        let mut children = digests(&manifest["manifests"]).into_iter().map(|it| text(&it));
        if let Some(absent) = children.find(|digest| !self.manifests.contains_key(digest)) {
            return Some(absent);
        }
        let config = manifest.get("config").into_iter().map(text);
        let layers = digests(&manifest["layers"]).into_iter().map(|it| text(&it));
        config.chain(layers).find(|digest| !self.blobs.contains_key(digest))
    }
}

/// Whether an OCI document may be sent, as 2.8 judged it: each type must be named in full.
fn accepts(request: &Recorded, media_type: &str) -> bool {
    let accept = request.header("accept").unwrap_or_default();
    let mut accepted = accept.split(',').map(|it| it.split(';').next().unwrap_or_default().trim());
    !matches!(media_type, OCI_INDEX | OCI_MANIFEST) || accepted.any(|it| it == media_type)
}

fn manifest_unknown(reference: &str) -> Answer {
    let detail = json!({ "Tag": reference });
    Answer::error_with(404, "MANIFEST_UNKNOWN", "manifest unknown", detail)
}

fn created(repository: &str, part: &str, digest: &str) -> Answer {
    Answer::new(201)
        .header("Location", &format!("/v2/{repository}/{part}/{digest}"))
        .header("Docker-Content-Digest", digest)
}
