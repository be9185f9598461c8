//! What registries send: manifests, indexes, configs, tag pages and error bodies, read into facts.
//!
//! The structs that mirror the JSON stay here. What cannot be used is a fact as well ([`Unfit`]).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::error::Refusal;
use super::json::{self, Flaw};
use super::send::Answer;
use crate::model::image::{Child, Content};
use crate::model::index::{DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, exact_size};
use crate::model::text::clean;
use crate::model::{Claim, Descriptor, Fate, ServedChild, Unfit};

/// Every kind of manifest, in one header line: registries convert, or deny that a tag exists, for
/// kinds that are not named.
pub(super) const ACCEPT_MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.v1+prettyjws, \
    application/vnd.docker.distribution.manifest.v1+json";

/// The most entries read of an index.
const MOST_ENTRIES: usize = 256;
/// The most layers read of an image.
const MOST_LAYERS: usize = 512;
/// The largest config that is read.
const LARGEST_CONFIG: u64 = 8 * 1024 * 1024;

/// Configs of images that run; any other config is an artifact's.
const IMAGE_CONFIGS: &[&str] =
    &["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];
/// How the media types of layers begin: tar archives, compressed or not.
const LAYERS: &[&str] = &["application/vnd.oci.image.layer.", "application/vnd.docker.image.rootfs."];

/// A manifest, as far as it matters here.
#[derive(Clone, Debug, PartialEq)]
pub enum Document {
    /// An image: where its config is, and whether a layer must be fetched from elsewhere.
    Image {
        /// The config's descriptor.
        config: Box<Descriptor>,
        /// Whether a layer names hosts to fetch it from.
        has_foreign_layers: bool,
    },
    /// An index of several manifests.
    Index {
        /// Its entries.
        manifests: Vec<Descriptor>,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnyManifest {
    schema_version: Option<u64>,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<serde_json::Value>,
    layers: Option<Vec<Layer>>,
    manifests: Option<serde_json::Value>,
    fs_layers: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Layer {
    media_type: Option<String>,
    urls: Option<Vec<String>>,
    #[serde(rename = "size", deserialize_with = "exact_size")]
    _size: u64,
}

/// Reads a manifest that was answered with `content_type`: its media type, and what it is.
///
/// # Errors
///
/// [`Unfit`]: it is not an image or an index that every reader understands alike.
pub fn read_manifest(content_type: Option<&str>, bytes: &[u8]) -> Result<(String, Document), Unfit> {
    json::check(bytes, json::FREE_IN_MANIFESTS).map_err(unfit)?;
    let manifest: AnyManifest = parse(bytes)?;
    let media_type = agreed_media_type(content_type, &manifest)?;
    if manifest.fs_layers.is_some() || manifest.schema_version == Some(1) {
        return Err(Unfit::UnsupportedMediaType("a Docker image of schema 1".to_owned()));
    }
    if let Some(other) = manifest.schema_version.filter(|version| *version != 2) {
        return Err(Unfit::UnsupportedMediaType(format!("a manifest of schema {other}")));
    }
    let document = match media_type.as_str() {
        OCI_INDEX | DOCKER_LIST => {
            if manifest.layers.is_some() || manifest.config.is_some() {
                return Err(Unfit::AmbiguousManifest("it is an index that has an image's keys, too".to_owned()));
            }
            read_index(manifest)?
        }
        OCI_MANIFEST | DOCKER_MANIFEST => {
            if manifest.manifests.is_some() {
                return Err(Unfit::AmbiguousManifest("it is an image that has an index's keys, too".to_owned()));
            }
            read_image(manifest)?
        }
        other => return Err(Unfit::UnsupportedMediaType(format!("a manifest of type `{}`", clean(other, 100)))),
    };
    Ok((media_type, document))
}

/// The media type, on which header and body must agree (CVE-2021-41190).
fn agreed_media_type(content_type: Option<&str>, manifest: &AnyManifest) -> Result<String, Unfit> {
    let header = content_type.map(|text| text.split(';').next().unwrap_or("").trim().to_ascii_lowercase());
    let header = header.filter(|text| !text.is_empty() && text != "application/json" && text != "text/plain");
    let body = manifest.media_type.clone().filter(|text| !text.is_empty());
    match (header, body) {
        (Some(header), Some(body)) if header != body => Err(Unfit::AmbiguousManifest(format!(
            "the registry sends it as `{}`, it calls itself `{}`",
            clean(&header, 100),
            clean(&body, 100)
        ))),
        (Some(media_type), _) | (None, Some(media_type)) => Ok(media_type),
        (None, None) if manifest.fs_layers.is_some() => Ok("schema 1".to_owned()),
        (None, None) => Err(Unfit::AmbiguousManifest("neither the registry nor it itself says what it is".to_owned())),
    }
}

fn read_index(manifest: AnyManifest) -> Result<Document, Unfit> {
    if let Some(kind) = manifest.artifact_type.filter(|kind| !kind.is_empty()) {
        return Err(Unfit::NotAnImage(format!("an artifact of type `{}`", clean(&kind, 100))));
    }
    let manifests: Option<Vec<Descriptor>> = match manifest.manifests {
        None => None,
        Some(value) => serde_json::from_value(value).map_err(|error| malformed(&error))?,
    };
    let manifests = manifests.unwrap_or_default();
    if manifests.len() > MOST_ENTRIES {
        return Err(Unfit::TooLarge(format!(
            "an index of {} entries; at most {MOST_ENTRIES} are read",
            manifests.len()
        )));
    }
    Ok(Document::Index { manifests })
}

fn read_image(manifest: AnyManifest) -> Result<Document, Unfit> {
    let config: Option<Box<Descriptor>> = match manifest.config {
        None => None,
        Some(value) => serde_json::from_value(value).map_err(|error| malformed(&error))?,
    };
    let config = config.ok_or_else(|| Unfit::Malformed("the image manifest names no config".to_owned()))?;
    let layers = manifest.layers.unwrap_or_default();
    if layers.len() > MOST_LAYERS {
        return Err(Unfit::TooLarge(format!("an image of {} layers; at most {MOST_LAYERS} are read", layers.len())));
    }
    if let Some(kind) =
        manifest.artifact_type.filter(|kind| !kind.is_empty() && !IMAGE_CONFIGS.contains(&kind.as_str()))
    {
        return Err(Unfit::NotAnImage(format!("an artifact of type `{}`", clean(&kind, 100))));
    }
    if !IMAGE_CONFIGS.contains(&config.media_type.as_str()) {
        return Err(Unfit::NotAnImage(format!(
            "an artifact with a config of type `{}`",
            clean(&config.media_type, 100)
        )));
    }
    let types = layers.iter().map(|layer| layer.media_type.as_deref().unwrap_or(""));
    if let Some(other) = types.into_iter().find(|kind| !LAYERS.iter().any(|known| kind.starts_with(known))) {
        return Err(Unfit::NotAnImage(format!("an artifact with a layer of type `{}`", clean(other, 100))));
    }
    if config.size > LARGEST_CONFIG {
        return Err(Unfit::TooLarge(format!("a config of {} bytes; at most {LARGEST_CONFIG} are read", config.size)));
    }
    let has_foreign_layers = layers.iter().any(|layer| layer.urls.as_ref().is_some_and(|urls| !urls.is_empty()));
    Ok(Document::Image { config, has_foreign_layers })
}

/// Reads the layers of an image's manifest, the lowest first.
///
/// # Errors
///
/// Why they cannot be told, in words.
pub fn read_layers(manifest: &[u8]) -> Result<Vec<Descriptor>, String> {
    #[derive(Deserialize)]
    struct Layers {
        #[serde(default)]
        layers: Vec<Descriptor>,
    }
    let layers: Layers = serde_json::from_slice(manifest).map_err(|error| clean(&error.to_string(), 200))?;
    Ok(layers.layers)
}

/// What a plain tag holds: weighed by others, and never an error, since it may be anybody's.
pub fn read_published(content_type: Option<&str>, bytes: &[u8]) -> Content {
    match read_manifest(content_type, bytes) {
        Ok((_, Document::Image { .. })) => Content::Image,
        Ok((_, Document::Index { manifests })) => Content::Index(
            manifests
                .iter()
                .filter(|entry| !is_attestation(entry))
                .map(|entry| Child {
                    digest: entry.digest.clone(),
                    platform: entry.platform.clone().filter(|platform| !platform.is_unknown()),
                    is_image: matches!(entry.media_type.as_str(), OCI_MANIFEST | DOCKER_MANIFEST),
                })
                .collect(),
        ),
        Err(Unfit::NotAnImage(what) | Unfit::UnsupportedMediaType(what)) => Content::Other(what),
        Err(_) => Content::Other("a manifest that cannot be read".to_owned()),
    }
}

/// Every entry of an index as it is written, looked at by nobody yet; none where it is no index.
pub fn read_served(content_type: Option<&str>, bytes: &[u8]) -> Option<Vec<ServedChild>> {
    let Ok((_, Document::Index { manifests })) = read_manifest(content_type, bytes) else {
        return None;
    };
    let letters: Letters = serde_json::from_slice(bytes).unwrap_or_default();
    let mut letters = letters.manifests.into_iter();
    let child = |descriptor: Descriptor| ServedChild {
        stated: letters.next().and_then(|entry| serde_json::from_value(entry.platform).ok()),
        attests: is_attestation(&descriptor).then(|| attested(&descriptor).unwrap_or_default().to_owned()),
        descriptor,
        fate: Fate::Unknown,
    };
    Some(manifests.into_iter().map(child).collect())
}

/// The platforms of an index before they are brought to their normal form.
#[derive(Default, Deserialize)]
struct Letters {
    #[serde(default)]
    manifests: Vec<LetteredEntry>,
}

#[derive(Deserialize)]
struct LetteredEntry {
    #[serde(default)]
    platform: serde_json::Value,
}

/// Whether an entry is an attestation about an image beside it, as BuildKit writes them.
pub fn is_attestation(entry: &Descriptor) -> bool {
    let kind = entry.annotations.get("vnd.docker.reference.type").map(String::as_str);
    kind == Some("attestation-manifest") && entry.platform.as_ref().is_none_or(crate::model::Platform::is_unknown)
}

/// The image that an attestation is about.
pub fn attested(entry: &Descriptor) -> Option<&str> {
    entry.annotations.get("vnd.docker.reference.digest").map(String::as_str)
}

#[derive(Deserialize)]
struct Config {
    os: Option<String>,
    architecture: Option<String>,
    variant: Option<String>,
    #[serde(rename = "os.version")]
    os_version: Option<String>,
    #[serde(rename = "os.features")]
    os_features: Option<Vec<String>>,
    config: Option<serde_json::Value>,
}

/// Reads what an image's config claims.
///
/// # Errors
///
/// [`Unfit`]: it is no JSON object that every reader understands alike.
pub fn read_claim(bytes: &[u8]) -> Result<Claim, Unfit> {
    json::check(bytes, json::FREE_IN_CONFIGS).map_err(|flaw| match flaw {
        Flaw::Broken(what) => Unfit::Malformed(format!("its config is {what}")),
        Flaw::Deep(what) => Unfit::TooLarge(format!("its config is {what}")),
        Flaw::Ambiguous(what) => Unfit::AmbiguousManifest(format!("in its config, {what}")),
    })?;
    let config: Config = serde_json::from_slice(bytes)
        .map_err(|error| Unfit::Malformed(format!("in its config, {}", clean(&error.to_string(), 200))))?;
    let stated = |text: Option<String>| text.filter(|text| !text.is_empty());
    let labels: Option<BTreeMap<String, serde_json::Value>> = config
        .config
        .as_ref()
        .and_then(|config| config.get("Labels"))
        .and_then(|labels| serde_json::from_value(labels.clone()).ok());
    let labels = labels.unwrap_or_default().into_iter();
    Ok(Claim {
        os: stated(config.os),
        architecture: stated(config.architecture),
        variant: stated(config.variant),
        os_version: stated(config.os_version),
        os_features: config.os_features.unwrap_or_default(),
        labels: labels.filter_map(|(key, value)| value.as_str().map(|value| (key, value.to_owned()))).collect(),
    })
}

fn unfit(flaw: Flaw) -> Unfit {
    match flaw {
        Flaw::Broken(what) => Unfit::Malformed(format!("it is {what}")),
        Flaw::Deep(what) => Unfit::TooLarge(format!("it is {what}")),
        Flaw::Ambiguous(what) => Unfit::AmbiguousManifest(what),
    }
}

fn malformed(error: &serde_json::Error) -> Unfit {
    Unfit::Malformed(clean(&error.to_string(), 200))
}

fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Unfit> {
    serde_json::from_slice(bytes).map_err(|error| malformed(&error))
}

/// One page of a tag listing.
#[derive(Deserialize)]
pub(super) struct TagPage {
    pub(super) tags: Option<Vec<Listed>>,
}

/// One page of a registry's repositories.
#[derive(Deserialize)]
pub(super) struct CatalogPage {
    pub(super) repositories: Option<Vec<Listed>>,
}

/// An entry of a listing, whatever it is.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Listed {
    Text(String),
    Other(IgnoredAny),
}

#[derive(Deserialize)]
struct ErrorBody {
    errors: Vec<ErrorEntry>,
}

#[derive(Deserialize)]
struct ErrorEntry {
    code: Option<String>,
    message: Option<String>,
}

/// What a registry said of its refusal. "Any format" is allowed: what is not the usual JSON is
/// left out, since it may be a page of HTML.
pub(super) fn read_refusal(answer: &Answer) -> Refusal {
    let body: Option<ErrorBody> = serde_json::from_slice(&answer.body).ok();
    let first = body.and_then(|body| body.errors.into_iter().next());
    let (code, message) = first.map_or((None, None), |entry| (entry.code, entry.message));
    Refusal {
        status: answer.status,
        code: clean(&code.unwrap_or_default(), 60),
        message: clean(&message.unwrap_or_default(), 300),
    }
}

/// Whether a refusal's body has the form that the specification gives it.
pub(super) fn has_errors(body: &[u8]) -> bool {
    serde_json::from_slice::<ErrorBody>(body).is_ok()
}

#[cfg(test)]
mod tests;
