//! Images and other documents as builders push them, made in memory.
//!
//! Everything here is bytes and digests; pushing is left to the registries.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// The media type of an OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// The media type of an OCI image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The media type of a Docker schema 2 manifest.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// The media type of a Docker manifest list.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// The media type of an OCI image config.
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// The media type of a Docker image config.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// The media type of the empty JSON object that artifacts have for a config.
pub const OCI_EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// The media type of a gzipped layer in an OCI image.
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// The media type of a gzipped layer in a Docker image.
pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// `sha256:` and the hash of these bytes.
pub fn sha256(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// A manifest and the blobs it names, ready to be pushed.
#[derive(Clone, Debug)]
pub struct Built {
    /// The media type of the manifest.
    pub media_type: String,
    /// The manifest.
    pub bytes: Bytes,
    /// The digest of the manifest.
    pub digest: String,
    /// The config and the layers.
    pub blobs: Vec<Bytes>,
}

impl Built {
    /// Takes these bytes for a manifest.
    pub fn new(media_type: &str, bytes: impl Into<Bytes>, blobs: Vec<Bytes>) -> Built {
        let bytes = bytes.into();
        Built { media_type: media_type.to_owned(), digest: sha256(&bytes), bytes, blobs }
    }

    /// The descriptor of the manifest, for an index.
    pub fn descriptor(&self, platform: &str) -> Value {
        let mut descriptor = descriptor(&self.media_type, &self.bytes);
        descriptor["platform"] = platform_json(platform);
        descriptor
    }
}

/// A descriptor of these bytes.
pub fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": sha256(bytes), "size": bytes.len() })
}

/// An index or list of these descriptors.
pub fn index(media_type: &str, descriptors: &[Value]) -> Bytes {
    let index = json!({ "schemaVersion": 2, "mediaType": media_type, "manifests": descriptors });
    index.to_string().into()
}

/// The platform object of `linux/arm/v7`.
pub fn platform_json(platform: &str) -> Value {
    let mut parts = platform.split('/');
    let os = parts.next().unwrap_or_default();
    let architecture = parts.next().unwrap_or_default();
    let mut object = json!({ "architecture": architecture, "os": os });
    if let Some(variant) = parts.next() {
        object["variant"] = variant.into();
    }
    object
}

/// `linux/arm/v7` of a platform object, or of an image config.
pub fn platform_text(object: &Value) -> String {
    let text = |key: &str| object[key].as_str().unwrap_or("?").to_owned();
    let variant = object["variant"].as_str().map(|variant| format!("/{variant}"));
    format!("{}/{}{}", text("os"), text("architecture"), variant.unwrap_or_default())
}

/// An image to be: one small layer, and a config that tells the platform.
///
/// The same calls make the same bytes; `file` or `label` make it differ from its like.
#[derive(Clone, Debug)]
pub struct Image {
    config: Value,
    raw_config: Option<Bytes>,
    config_media_type: Option<String>,
    is_docker: bool,
    files: Vec<(String, Vec<u8>)>,
    layers: Option<Vec<Bytes>>,
    layer_media_type: Option<String>,
    annotations: serde_json::Map<String, Value>,
    fields: serde_json::Map<String, Value>,
}

impl Image {
    /// An OCI image whose config says `platform`, for example `linux/arm/v7`.
    pub fn new(platform: &str) -> Image {
        let mut config = platform_json(platform);
        config["created"] = "2016-04-21T00:00:00Z".into();
        config["config"] = json!({
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "Entrypoint": ["/bin/sh"],
        });
        config["history"] = json!([{ "created": "2016-04-21T00:00:00Z", "created_by": "ADD rootfs.tar /" }]);
        Image {
            config,
            raw_config: None,
            config_media_type: None,
            is_docker: false,
            files: vec![("etc/os-release".to_owned(), b"ID=ubuntu\nVERSION_ID=16.04\n".to_vec())],
            layers: None,
            layer_media_type: None,
            annotations: serde_json::Map::new(),
            fields: serde_json::Map::new(),
        }
    }

    /// Docker schema 2 media types throughout.
    pub fn docker(mut self) -> Image {
        self.is_docker = true;
        self
    }

    /// A label in the config.
    pub fn label(mut self, key: &str, value: &str) -> Image {
        self.config["config"]["Labels"][key] = value.into();
        self
    }

    /// The time of creation in the config, as text.
    pub fn created(self, created: &str) -> Image {
        self.set_config("created", created.into())
    }

    /// The entry point in the config.
    pub fn entrypoint(mut self, arguments: &[&str]) -> Image {
        self.config["config"]["Entrypoint"] = json!(arguments);
        self
    }

    /// A variable in the config, as `NAME=value`.
    pub fn variable(mut self, variable: &str) -> Image {
        if let Some(variables) = self.config["config"]["Env"].as_array_mut() {
            variables.push(variable.into());
        }
        self
    }

    /// The `os.version` in the config.
    pub fn os_version(self, version: &str) -> Image {
        self.set_config("os.version", version.into())
    }

    /// The `os.features` in the config.
    pub fn os_features(self, features: &[&str]) -> Image {
        self.set_config("os.features", json!(features))
    }

    /// Sets a top-level field of the config to any JSON.
    pub fn set_config(mut self, key: &str, value: Value) -> Image {
        self.config[key] = value;
        self
    }

    /// Takes a top-level field out of the config.
    pub fn without(mut self, key: &str) -> Image {
        if let Some(config) = self.config.as_object_mut() {
            config.remove(key);
        }
        self
    }

    /// Replaces the whole config; `rootfs` is not added.
    pub fn config_json(self, config: Value) -> Image {
        self.config_bytes(config.to_string())
    }

    /// Replaces the whole config by bytes, JSON or not.
    pub fn config_bytes(mut self, config: impl Into<Bytes>) -> Image {
        self.raw_config = Some(config.into());
        self
    }

    /// The media type of the config.
    pub fn config_media_type(mut self, media_type: &str) -> Image {
        self.config_media_type = Some(media_type.to_owned());
        self
    }

    /// The media type of every layer.
    pub fn layer_media_type(mut self, media_type: &str) -> Image {
        self.layer_media_type = Some(media_type.to_owned());
        self
    }

    /// Adds an executable file to the layer, for example at `bin/sh`.
    pub fn file(mut self, path: &str, content: impl Into<Vec<u8>>) -> Image {
        self.files.push((path.to_owned(), content.into()));
        self
    }

    /// Replaces the layer by these blobs, whatever they hold.
    pub fn layers(mut self, layers: Vec<Bytes>) -> Image {
        self.layers = Some(layers);
        self
    }

    /// An annotation in the manifest.
    pub fn annotation(mut self, key: &str, value: &str) -> Image {
        self.annotations.insert(key.to_owned(), value.into());
        self
    }

    /// Sets a top-level field of the manifest; JSON `null` takes it away.
    pub fn set_manifest(mut self, key: &str, value: Value) -> Image {
        self.fields.insert(key.to_owned(), value);
        self
    }

    /// Makes the manifest and its blobs.
    pub fn build(&self) -> Built {
        let tar = tar(&self.files);
        let layers = self.layers.clone().unwrap_or_else(|| vec![gzip(&tar)]);
        let config = self.raw_config.clone().unwrap_or_else(|| {
            let mut config = self.config.clone();
            if config.get("rootfs").is_none() {
                let diff_ids = match &self.layers {
                    None => vec![sha256(&tar)],
                    Some(layers) => layers.iter().map(|layer| sha256(layer)).collect(),
                };
                config["rootfs"] = json!({ "type": "layers", "diff_ids": diff_ids });
            }
            config.to_string().into()
        });

        let (manifest, config_type, layer_type) = match self.is_docker {
            true => (DOCKER_MANIFEST, DOCKER_CONFIG, DOCKER_LAYER),
            false => (OCI_MANIFEST, OCI_CONFIG, OCI_LAYER),
        };
        let config_type = self.config_media_type.as_deref().unwrap_or(config_type);
        let layer_type = self.layer_media_type.as_deref().unwrap_or(layer_type);
        let descriptors: Vec<_> = layers.iter().map(|it| descriptor(layer_type, it)).collect();
        let mut fields = self.fields.clone();
        if !self.annotations.is_empty() {
            fields.insert("annotations".to_owned(), self.annotations.clone().into());
        }
        let blobs = std::iter::once(config.clone()).chain(layers).collect();
        assemble(manifest, descriptor(config_type, &config), &descriptors, fields, blobs)
    }
}

/// What `docker buildx build --push` makes of one image: an index of it and its attestation.
#[derive(Clone, Debug)]
pub struct AttestedIndex {
    /// The index, which the tag names.
    pub index: Built,
    /// The image.
    pub image: Built,
    /// The attestation manifest, listed as `unknown/unknown`.
    pub attestation: Built,
}

/// Wraps `image` as buildx does, with an attestation of its provenance.
pub fn attested_index(image: &Image) -> AttestedIndex {
    let platform = platform_text(&image.config);
    let image = image.build();
    let attestation = attestation(&image.digest);
    let mut described = attestation.descriptor("unknown/unknown");
    described["annotations"] = json!({
        "vnd.docker.reference.digest": image.digest,
        "vnd.docker.reference.type": "attestation-manifest",
    });
    let bytes = index(OCI_INDEX, &[image.descriptor(&platform), described]);
    AttestedIndex { index: Built::new(OCI_INDEX, bytes, Vec::new()), image, attestation }
}

/// The attestation manifest that buildx makes for the image of this digest.
pub fn attestation(subject: &str) -> Built {
    let hex = subject.trim_start_matches("sha256:");
    let statement = Bytes::from(
        json!({
            "_type": "https://in-toto.io/Statement/v0.1",
            "predicateType": "https://slsa.dev/provenance/v0.2",
            "subject": [{ "name": "pkg:docker/acme/ubuntu", "digest": { "sha256": hex } }],
            "predicate": { "buildType": "https://mobyproject.org/buildkit@v1" },
        })
        .to_string(),
    );
    let config = Bytes::from(
        json!({
            "architecture": "unknown",
            "os": "unknown",
            "config": {},
            "rootfs": { "type": "layers", "diff_ids": [sha256(&statement)] },
        })
        .to_string(),
    );
    let mut layer = descriptor("application/vnd.in-toto+json", &statement);
    layer["annotations"] = json!({ "in-toto.io/predicate-type": "https://slsa.dev/provenance/v0.2" });
    let described = descriptor(OCI_CONFIG, &config);
    assemble(OCI_MANIFEST, described, &[layer], serde_json::Map::new(), vec![config, statement])
}

/// A Helm chart, as `helm push` stores it.
pub fn helm_chart() -> Built {
    let config = Bytes::from(json!({ "name": "ubuntu", "version": "16.4.0" }).to_string());
    let chart = gzip(&tar(&[("ubuntu/Chart.yaml".to_owned(), b"name: ubuntu\n".to_vec())]));
    let layer = descriptor("application/vnd.cncf.helm.chart.content.v1.tar+gzip", &chart);
    let described = descriptor("application/vnd.cncf.helm.config.v1+json", &config);
    assemble(OCI_MANIFEST, described, &[layer], serde_json::Map::new(), vec![config, chart])
}

/// A cosign signature of the manifest of this digest, as found under `sha256-<hex>.sig`.
///
/// Its config claims to be an image config, so only the layer's media type gives it away.
pub fn cosign_signature(subject: &str) -> Built {
    let payload = Bytes::from(
        json!({ "critical": {
            "identity": { "docker-reference": "acme/ubuntu" },
            "image": { "docker-manifest-digest": subject },
            "type": "cosign container image signature",
        }, "optional": null })
        .to_string(),
    );
    let config = Bytes::from(
        json!({
            "architecture": "", "os": "", "created": "0001-01-01T00:00:00Z", "config": {},
            "rootfs": { "type": "layers", "diff_ids": [sha256(&payload)] },
        })
        .to_string(),
    );
    let mut layer = descriptor("application/vnd.dev.cosign.simplesigning.v1+json", &payload);
    layer["annotations"] = json!({ "dev.cosignproject.cosign/signature": "MEUCIQDxxx" });
    let described = descriptor(OCI_CONFIG, &config);
    assemble(OCI_MANIFEST, described, &[layer], serde_json::Map::new(), vec![config, payload])
}

/// An OCI 1.1 artifact with an empty config.
pub fn artifact(artifact_type: &str) -> Built {
    let empty = Bytes::from_static(b"{}");
    let mut fields = serde_json::Map::new();
    fields.insert("artifactType".to_owned(), artifact_type.into());
    let described = descriptor(OCI_EMPTY, &empty);
    assemble(OCI_MANIFEST, described.clone(), &[described], fields, vec![empty])
}

/// A signed schema 1 manifest, the kind from before there were digests of configs.
pub fn schema1(architecture: &str) -> Built {
    let history = json!({ "id": "5f70bf18", "architecture": architecture, "os": "linux" });
    let manifest = json!({
        "schemaVersion": 1,
        "name": "acme/ubuntu",
        "tag": "xenial",
        "architecture": architecture,
        "fsLayers": [{ "blobSum": sha256(b"layer") }],
        "history": [{ "v1Compatibility": history.to_string() }],
        "signatures": [{
            "header": { "jwk": { "kty": "EC" }, "alg": "ES256" },
            "signature": "XXX",
            "protected": "YYY",
        }],
    });
    let media_type = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    Built::new(media_type, manifest.to_string(), Vec::new())
}

/// A tar archive of executable files.
pub fn tar(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        archive.append_data(&mut header, path, content.as_slice()).expect("tar to memory");
    }
    archive.into_inner().expect("tar to memory")
}

/// These bytes, gzipped.
pub fn gzip(bytes: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("gzip to memory");
    encoder.finish().expect("gzip to memory").into()
}

fn assemble(
    media_type: &str,
    config: Value,
    layers: &[Value],
    fields: serde_json::Map<String, Value>,
    blobs: Vec<Bytes>,
) -> Built {
    let mut manifest = json!({
        "schemaVersion": 2, "mediaType": media_type, "config": config, "layers": layers,
    });
    for (key, value) in fields {
        match value {
            Value::Null => drop(manifest.as_object_mut().and_then(|it| it.remove(&key))),
            value => manifest[&key] = value,
        }
    }
    Built::new(media_type, manifest.to_string(), blobs)
}
