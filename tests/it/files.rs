//! What an image's files prove, read from layers over real HTTP.

use onetag::look::{Examined, Facts, examine};
use onetag::model::{Descriptor, Host, Platform, Proof, Repository};
use onetag::registry::{Access, Registry, RegistryError, Settings};
use serde_json::{Value, json};

use crate::support::FakeRegistry;
use crate::support::image::{self, OCI_LAYER};

/// An image whose layers are pushed and whose config starts something.
struct Pushed {
    registry: FakeRegistry,
    config: Vec<u8>,
    layers: Vec<Descriptor>,
}

impl Pushed {
    async fn new(entry_point: &[&str]) -> Pushed {
        let config = json!({ "os": "linux", "architecture": "amd64", "config": { "Entrypoint": entry_point } });
        Pushed { registry: FakeRegistry::start().await, config: config.to_string().into_bytes(), layers: Vec::new() }
    }

    /// Adds a layer on top.
    fn layer(mut self, media_type: &str, blob: impl Into<bytes::Bytes>) -> Pushed {
        let blob = blob.into();
        let mut descriptor: Value = image::descriptor(media_type, &blob);
        descriptor["mediaType"] = media_type.into();
        self.registry.put_blob("ubuntu", blob);
        self.layers.push(serde_json::from_value(descriptor).expect("a descriptor"));
        self
    }

    /// Adds a gzipped layer of executable files on top.
    fn files(self, files: &[(&str, &[u8])]) -> Pushed {
        let files: Vec<(String, Vec<u8>)> =
            files.iter().map(|(path, bytes)| ((*path).to_owned(), bytes.to_vec())).collect();
        self.layer(OCI_LAYER, image::gzip(&image::tar(&files)))
    }

    async fn examine(&self, facts: &Facts) -> Result<Examined, RegistryError> {
        let host: Host = self.registry.host().parse().expect("a host");
        let settings = Settings { plain_http: true, ..Settings::new(Access::Read) };
        let client = Registry::new(&host, settings).expect("a registry");
        let repository: Repository = self.registry.repository("ubuntu").parse().expect("a repository");
        examine(&client, &repository, &self.config, &self.layers, facts).await
    }

    async fn proof(&self, platform: &str) -> Proof {
        let examined = self.examine(&Facts::default()).await.expect("the registry answers");
        examined.evidence.judge(&platform.parse::<Platform>().expect("a platform"))
    }
}

/// A program of this machine's own: the shell.
fn shell() -> Vec<u8> {
    std::fs::read("/bin/sh").expect("there is a shell")
}

fn loader() -> Vec<u8> {
    std::fs::read("/lib64/ld-linux-x86-64.so.2").expect("there is a loader")
}

#[tokio::test]
async fn the_program_that_an_image_starts_says_what_the_image_runs_on() {
    let image = Pushed::new(&["/bin/sh"]).await;
    let image = image.files(&[("lib64/ld-linux-x86-64.so.2", &loader()), ("bin/sh", &shell())]);
    assert_eq!(image.proof("linux/amd64").await, Proof::Match);
    let Proof::Mismatch(why) = image.proof("linux/arm64").await else { panic!("it is no arm64") };
    assert_eq!(why, "/bin/sh is ELF 64-bit x86-64; the tag promises linux/arm64");
}
