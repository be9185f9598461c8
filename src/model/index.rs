//! The image index: one canonical byte string for one set of images.
//!
//! image-spec 1.1, "OCI Image Index Specification". The same images give the same bytes and so the
//! same digest, in whatever order they were found: entries stand in platform order, keys in the
//! order of the specification, annotations by key, and no clock, host or version of ours is in
//! them. An index is serialized once; those bytes are what is hashed, compared and pushed.
//!
//! `oci-spec`'s types are not used for what is written: they keep annotations in hash maps and
//! misname `os.version`.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize};

use super::digest::Digest;
use super::platform::Platform;
use super::text::is_unsafe;

/// An OCI image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// An OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Docker's manifest list, the index's ancestor.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker's image manifest, schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// A reference to some content: what it is, its digest and its size in bytes.
///
/// image-spec 1.1, "OCI Content Descriptors"; keys are written in its order. What the
/// specification does not know is kept in `extra`, so that a descriptor that is only carried along
/// arrives as it was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The content's media type.
    pub media_type: String,
    /// The kind of artifact, where the content is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The content's digest.
    pub digest: Digest,
    /// The content's size in bytes.
    #[serde(deserialize_with = "exact_size")]
    pub size: u64,
    /// What the content runs on; absent also where it was written so that it says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "platform_if_whole")]
    pub platform: Option<Platform>,
    /// Notes about the content, by key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_as_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Where else the content may be; never followed.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_empty")]
    pub urls: Vec<String>,
    /// The content itself in base64, where somebody embedded it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// Keys that the specification does not name.
    #[serde(flatten)]
    pub extra: BTreeMap<String, serde_json::Value>,
}

impl Descriptor {
    /// A descriptor that says only what it must.
    pub fn new(media_type: String, digest: Digest, size: u64) -> Descriptor {
        Descriptor {
            media_type,
            artifact_type: None,
            digest,
            size,
            platform: None,
            annotations: BTreeMap::new(),
            urls: Vec::new(),
            data: None,
            extra: BTreeMap::new(),
        }
    }
}

/// The largest number that every JSON reader understands alike; nothing is that large.
const LARGEST_SIZE: u64 = 1 << 53;

/// Reads a size as every reader would: whole, not negative, and not so large that some round it.
pub(crate) fn exact_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let size = u64::deserialize(deserializer)?;
    if size > LARGEST_SIZE {
        return Err(serde::de::Error::custom(format!("a size of {size} bytes; expected at most {LARGEST_SIZE}")));
    }
    Ok(size)
}

/// Go writes `null` for an empty list or map.
fn null_as_empty<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// A platform object without os or architecture says as little as none.
fn platform_if_whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Platform>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).ok())
}

/// One image of an index, with the attestations that speak of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The image's descriptor as the index shall hold it, its platform included.
    pub image: Descriptor,
    /// Attestations about this image, carried along unchanged.
    pub attestations: Vec<Descriptor>,
}

/// Which of the two kinds of index is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexKind {
    /// [`OCI_INDEX`].
    Oci,
    /// [`DOCKER_LIST`], for Docker images only.
    Docker,
}

impl IndexKind {
    /// The media type that it is pushed as.
    pub fn media_type(self) -> &'static str {
        match self {
            IndexKind::Oci => OCI_INDEX,
            IndexKind::Docker => DOCKER_LIST,
        }
    }
}

/// An image index as it is pushed: its bytes and their digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    kind: IndexKind,
    bytes: Bytes,
    digest: Digest,
    children: Vec<(Digest, Platform)>,
}

/// The index's keys in the order of the specification.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    schema_version: u8,
    media_type: &'a str,
    manifests: Vec<&'a Descriptor>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

impl Index {
    /// The index of `entries`, in canonical order whatever theirs is.
    pub fn of(kind: IndexKind, mut entries: Vec<Entry>, annotations: &BTreeMap<String, String>) -> Index {
        entries.sort_by(|a, b| (&a.image.platform, &a.image.digest).cmp(&(&b.image.platform, &b.image.digest)));
        for entry in &mut entries {
            entry.attestations.sort_by(|a, b| a.digest.cmp(&b.digest));
            entry.attestations.dedup_by(|a, b| a.digest == b.digest);
        }
        let manifests =
            entries.iter().flat_map(|entry| std::iter::once(&entry.image).chain(&entry.attestations)).collect();
        let document = Document { schema_version: 2, media_type: kind.media_type(), manifests, annotations };
        let text = serde_json::to_string(&document).expect("strings and numbers always serialize");
        let bytes = Bytes::from(visible(text));
        let children = entries
            .iter()
            .filter_map(|entry| entry.image.platform.clone().map(|platform| (entry.image.digest.clone(), platform)))
            .collect();
        Index { kind, digest: Digest::of(&bytes), bytes, children }
    }

    /// An index as it was written before, byte for byte; none if the bytes are not one.
    pub fn written_before(media_type: &str, bytes: Vec<u8>) -> Option<Index> {
        #[derive(Deserialize)]
        struct Written {
            manifests: Vec<Descriptor>,
        }
        let kind = [IndexKind::Oci, IndexKind::Docker].into_iter().find(|kind| kind.media_type() == media_type)?;
        let written: Written = serde_json::from_slice(&bytes).ok()?;
        let images = written.manifests.into_iter().filter_map(|entry| Some((entry.digest, entry.platform?)));
        let children = images.filter(|(_, platform)| !platform.is_unknown()).collect();
        Some(Index { kind, digest: Digest::of(&bytes), bytes: Bytes::from(bytes), children })
    }

    /// Which kind it is, and so its media type.
    pub fn kind(&self) -> IndexKind {
        self.kind
    }

    /// The bytes that are pushed.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The digest of those bytes.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Its images and what each runs on, in index order; attestations are not among them.
    pub fn children(&self) -> &[(Digest, Platform)] {
        &self.children
    }
}

/// The same JSON, with what would steer a terminal escaped, so that the bytes can be shown as they
/// are. Outside strings no such character can stand.
fn visible(json: String) -> String {
    if !json.contains(is_unsafe) {
        return json;
    }
    let mut escaped = String::with_capacity(json.len() + 64);
    for c in json.chars() {
        if is_unsafe(c) {
            escaped.extend(c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            escaped.push(c);
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn descriptor(platform: &str, content: &str) -> Descriptor {
        let digest = Digest::of(content.as_bytes());
        let mut descriptor = Descriptor::new(OCI_MANIFEST.to_owned(), digest, content.len() as u64);
        descriptor.platform = Some(platform.parse().expect("a platform"));
        descriptor
    }

    fn entry(platform: &str) -> Entry {
        let image = descriptor(platform, platform);
        let mut attestation = descriptor("unknown/unknown", &format!("about {platform}"));
        attestation.annotations = BTreeMap::from([
            ("vnd.docker.reference.type".to_owned(), "attestation-manifest".to_owned()),
            ("vnd.docker.reference.digest".to_owned(), image.digest.to_string()),
        ]);
        Entry { image, attestations: vec![attestation] }
    }

    #[test]
    fn the_bytes_are_these_and_no_others() {
        let annotations = BTreeMap::from([("b".to_owned(), "2".to_owned()), ("a".to_owned(), "1".to_owned())]);
        let mut arm = entry("linux/arm/v7");
        arm.attestations.clear();
        let index = Index::of(IndexKind::Oci, vec![arm, entry("linux/amd64")], &annotations);
        insta::assert_snapshot!(String::from_utf8_lossy(index.bytes()), @r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:baf0239e48ff4c47ebac3ba02b5cf1506b69cd5a0c0d0c825a53ba65976fb942","size":11,"platform":{"os":"linux","architecture":"amd64"}},{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:bb1f589649c343f760e3ab729e807d7cb4062b10dd75a57dc66bb2b17716e769","size":17,"platform":{"os":"unknown","architecture":"unknown"},"annotations":{"vnd.docker.reference.digest":"sha256:baf0239e48ff4c47ebac3ba02b5cf1506b69cd5a0c0d0c825a53ba65976fb942","vnd.docker.reference.type":"attestation-manifest"}},{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:35df9beb9b1c4fe630707bc51e4360b94b506b4e6d5372d5d0d52a385350621b","size":12,"platform":{"os":"linux","architecture":"arm","variant":"v7"}}],"annotations":{"a":"1","b":"2"}}"#);
    }

    #[test]
    fn what_the_specification_does_not_know_is_carried_along_in_a_fixed_order() {
        let text = r#"{"mediaType":"x","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0,"urls":null,"annotations":null,"z":{"y":1,"b":2},"a":[1]}"#;
        let descriptor: Descriptor = serde_json::from_str(text).expect("a descriptor");
        assert_eq!(
            serde_json::to_string(&descriptor).expect("json"),
            r#"{"mediaType":"x","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0,"a":[1],"z":{"b":2,"y":1}}"#,
            "keys must be sorted: is serde_json's `preserve_order` switched on by some dependency?"
        );
    }

    #[test]
    fn a_platform_that_says_nothing_is_none() {
        for platform in ["null", "{}", r#"{"os":"linux"}"#, "7", r#"{"os":1,"architecture":"amd64"}"#] {
            let text = format!(r#"{{"mediaType":"x","digest":"{}","size":0,"platform":{platform}}}"#, Digest::of(b""));
            let descriptor: Descriptor = serde_json::from_str(&text).expect("a descriptor");
            assert_eq!(descriptor.platform, None, "{platform}");
        }
    }

    #[test]
    fn what_would_steer_a_terminal_is_escaped_and_still_the_same_text() {
        let value = "\u{1b}[31m \u{9b}31m \u{202e} \u{e0041} caf\u{e9}";
        let annotations = BTreeMap::from([("a".to_owned(), value.to_owned())]);
        let index = Index::of(IndexKind::Oci, Vec::new(), &annotations);
        let text = String::from_utf8(index.bytes().to_vec()).expect("JSON is text");
        assert!(text.ends_with(r#""a":"\u001b[31m \u009b31m \u202e \udb40\udc41 café"}}"#), "{text}");
        let read: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(read["annotations"]["a"], value);
    }

    #[test]
    fn a_size_that_readers_understand_differently_is_refused() {
        let read = |size: &str| {
            let text = format!(r#"{{"mediaType":"x","digest":"{}","size":{size}}}"#, Digest::of(b""));
            serde_json::from_str::<Descriptor>(&text).map(|descriptor| descriptor.size).ok()
        };
        assert_eq!(read("0"), Some(0));
        assert_eq!(read("9007199254740992"), Some(1 << 53));
        for size in ["-1", "1.0", "1e3", "9007199254740993", "18446744073709551616", "\"7\"", "null"] {
            assert_eq!(read(size), None, "{size}");
        }
    }

    #[test]
    fn an_independent_reader_finds_the_same_images() {
        let index = Index::of(IndexKind::Oci, vec![entry("linux/arm/v7"), entry("linux/amd64")], &BTreeMap::new());
        let read: oci_spec::image::ImageIndex = serde_json::from_slice(index.bytes()).expect("an OCI index");
        let digests: Vec<String> = read.manifests().iter().map(|m| m.digest().to_string()).collect();
        assert_eq!(digests.len(), 4);
        assert_eq!(digests[0], index.children()[0].0.to_string());
        assert_eq!(digests[2], index.children()[1].0.to_string());
    }

    proptest! {
        #[test]
        fn any_order_of_discovery_gives_the_same_bytes(
            order in Just((0..9usize).collect::<Vec<_>>()).prop_shuffle(),
        ) {
            let platforms = ["linux/amd64", "linux/arm64", "linux/386", "linux/arm/v7", "linux/arm/v6", "linux/arm/v5",
                "linux/s390x", "linux/ppc64le", "windows/amd64"];
            let sorted = Index::of(IndexKind::Oci, platforms.map(entry).to_vec(), &BTreeMap::new());
            let shuffled = order.iter().map(|i| entry(platforms[*i])).collect();
            prop_assert_eq!(Index::of(IndexKind::Oci, shuffled, &BTreeMap::new()), sorted);
        }
    }
}
