//! What an image's files prove, read from layers over real HTTP.

use std::time::Duration;

use onetag::look::{Examined, Facts, examine, examine_within};
use onetag::model::{Descriptor, Host, Platform, Proof, Repository};
use onetag::registry::{Access, Registry, RegistryError, Settings};
use serde_json::{Value, json};

use crate::support::image::{self, OCI_LAYER};
use crate::support::{FakeRegistry, Kind, Play, When};

/// An image whose layers are pushed and whose config starts something.
pub(crate) struct Pushed {
    pub(crate) registry: FakeRegistry,
    pub(crate) config: Vec<u8>,
    pub(crate) layers: Vec<Descriptor>,
}

impl Pushed {
    pub(crate) async fn new(entry_point: &[&str]) -> Pushed {
        let config = json!({ "os": "linux", "architecture": "amd64", "config": { "Entrypoint": entry_point } });
        Pushed { registry: FakeRegistry::start().await, config: config.to_string().into_bytes(), layers: Vec::new() }
    }

    /// Adds a layer on top.
    pub(crate) fn layer(mut self, media_type: &str, blob: impl Into<bytes::Bytes>) -> Pushed {
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

    pub(crate) async fn examine(&self, facts: &Facts) -> Result<Examined, RegistryError> {
        let (client, repository) = self.client();
        examine(&client, &repository, &self.config, &self.layers, facts).await
    }

    fn client(&self) -> (Registry, Repository) {
        let host: Host = self.registry.host().parse().expect("a host");
        let settings = Settings { plain_http: true, ..Settings::new(Access::Read) };
        let client = Registry::new(&host, settings).expect("a registry");
        let repository: Repository = self.registry.repository("ubuntu").parse().expect("a repository");
        (client, repository)
    }

    async fn proof(&self, platform: &str) -> Proof {
        let examined = self.examine(&Facts::default()).await.expect("the registry answers");
        examined.evidence.judge(&platform.parse::<Platform>().expect("a platform"))
    }
}

/// A program of this machine's own: the shell.
pub(crate) fn shell() -> Vec<u8> {
    std::fs::read("/bin/sh").expect("there is a shell")
}

pub(crate) fn loader() -> Vec<u8> {
    std::fs::read("/lib64/ld-linux-x86-64.so.2").expect("there is a loader")
}

#[tokio::test]
async fn the_program_that_an_image_starts_says_what_the_image_runs_on() {
    let image = Pushed::new(&["/bin/sh"]).await;
    let image = image.files(&[("lib64/ld-linux-x86-64.so.2", &loader()), ("bin/sh", &shell())]);
    assert_eq!(image.proof("linux/amd64").await, Proof::Match);
    let Proof::Mismatch(misfit) = image.proof("linux/arm64").await else { panic!("it is no arm64") };
    assert_eq!(misfit.told("the tag"), "/bin/sh is ELF 64-bit x86-64; the tag promises linux/arm64");
}

/// Bytes that do not compress.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut state = 1u32;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..len).map(next).collect()
}

#[tokio::test]
async fn layers_below_the_answer_are_not_asked_for() {
    let base = noise(3 << 20);
    let image = Pushed::new(&["/app/sh"]).await;
    let image = image.files(&[("data", &base), ("lib64/ld-linux-x86-64.so.2", &loader())]);
    let image = image.files(&[("app/sh", &shell()), ("lib64/ld-linux-x86-64.so.2", &loader())]);
    let examined = image.examine(&Facts::default()).await.expect("the registry answers");
    assert_eq!(examined.evidence.gap, None);
    assert_eq!(examined.effort.bytes_read, image.layers[1].size);
    assert_eq!(image.registry.count(Kind::Blob), 1);
}

#[tokio::test]
async fn a_download_ends_where_the_answer_is() {
    let rest = noise(14 << 20);
    let image = Pushed::new(&["/bin/sh"]).await;
    let image = image.files(&[("bin/sh", &shell()), ("lib64/ld-linux-x86-64.so.2", &loader()), ("rest", &rest)]);
    let facts = Facts::default();
    let examined = image.examine(&facts).await.expect("the registry answers");
    assert_eq!(examined.evidence.witnesses.len(), 2);
    assert!(examined.effort.bytes_read < 8 << 20, "{} bytes were read", examined.effort.bytes_read);

    let mut again = image;
    again.config = again.config.to_vec();
    again.config.push(b' ');
    let examined = again.examine(&facts).await.expect("the registry answers");
    assert_eq!((examined.evidence.witnesses.len(), examined.effort.bytes_read), (2, 0), "what was read is remembered");
}

#[tokio::test]
async fn a_shared_layer_is_read_once_ever() {
    let image = Pushed::new(&["sh"]).await;
    let mut image = image.files(&[("bin/sh", &shell()), ("lib64/ld-linux-x86-64.so.2", &loader())]);
    let facts = Facts::default();
    let first = image.examine(&facts).await.expect("the registry answers");
    assert_eq!(first.effort.bytes_read, image.layers[0].size);
    assert_eq!(image.examine(&facts).await.expect("the registry answers").effort.bytes_read, 0, "the image is known");
    image = image.files(&[("etc/motd", b"hello")]);
    image.config.push(b' ');
    let second = image.examine(&facts).await.expect("the registry answers");
    assert_eq!(second.effort.bytes_read, image.layers[1].size, "only the new layer is read");
    assert_eq!(second.evidence, first.evidence);
}

#[tokio::test]
async fn a_layer_that_several_images_wait_for_is_read_once() {
    let image = Pushed::new(&["sh"]).await;
    let mut image = image.files(&[("bin/sh", &shell()), ("lib64/ld-linux-x86-64.so.2", &loader())]);
    image.registry.set_delay(Duration::from_millis(50));
    let facts = Facts::default();
    let first = image.config.clone();
    image.config.push(b' ');
    let (client, repository) = image.client();
    let examine = |config| examine(&client, &repository, config, &image.layers, &facts);
    let (first, second) = tokio::join!(examine(&first), examine(&image.config));
    let efforts = [first, second].map(|examined| examined.expect("the registry answers").effort);
    let mut efforts = efforts.map(|effort| (effort.layers_read, effort.layers_known));
    efforts.sort_unstable(); // either may come first
    assert_eq!(efforts, [(0, 1), (1, 0)]);
    assert_eq!(image.registry.count(Kind::Blob), 1);
}

#[tokio::test]
async fn a_part_of_a_layer_that_does_not_answer_is_read_to_its_end() {
    let rest = noise(8 << 20);
    let files: &[(&str, &[u8])] =
        &[("bin/sh", &shell()), ("lib64/ld-linux-x86-64.so.2", &loader()), ("rest", &rest), ("sbin/init", &shell())];
    let facts = Facts::default();
    let mut image = Pushed::new(&["/bin/sh"]).await.files(files);
    let part = image.examine(&facts).await.expect("the registry answers").effort.bytes_read;
    assert!(part < image.layers[0].size);
    for (entry_point, bytes_read) in [("/sbin/init", image.layers[0].size), ("/bin/init", 0)] {
        image.config = json!({ "os": "linux", "config": { "Entrypoint": [entry_point] } }).to_string().into_bytes();
        let examined = image.examine(&facts).await.expect("the registry answers");
        assert_eq!(examined.effort.bytes_read, bytes_read, "{entry_point}");
    }
}

#[tokio::test]
async fn a_broken_connection_is_taken_up_where_it_broke() {
    let rest = noise(1 << 20);
    for is_without_ranges in [false, true] {
        let image = Pushed::new(&["sh"]).await;
        let image = image.files(&[("bin/sh", &shell()), ("lib64/ld-linux-x86-64.so.2", &loader()), ("rest", &rest)]);
        image.registry.set_options(|options| options.is_without_ranges = is_without_ranges);
        image.registry.on(When::kind(Kind::Blob).once(), Play::Truncate);
        let examined = image.examine(&Facts::default()).await.expect("the registry answers");
        assert_eq!((examined.evidence.gap, examined.evidence.witnesses.len()), (None, 2));
        let size = image.layers[0].size;
        let expected = if is_without_ranges { size + size / 2 } else { size };
        assert_eq!(examined.effort.bytes_read, expected);
        let ranges: Vec<_> = image.registry.requests().iter().map(|request| request.header("range")).collect();
        assert_eq!(ranges, [None, Some(format!("bytes={}-{}", size / 2, size - 1))]);
    }
}

#[tokio::test]
async fn bytes_that_the_digest_does_not_name_prove_nothing() {
    let image = Pushed::new(&["sh"]).await;
    let image = image.files(&[("bin/sh", &shell()), ("lib64/ld-linux-x86-64.so.2", &loader())]);
    let other = image::gzip(&image::tar(&[("bin/sh".to_owned(), b"#!/bin/no".to_vec())]));
    let size = usize::try_from(image.layers[0].size).expect("a small layer");
    let mut padded = other.to_vec();
    padded.resize(size, 0);
    image.registry.on(When::kind(Kind::Blob), Play::Body(padded));
    let facts = Facts::default();
    let error = image.examine(&facts).await.expect_err("these are other bytes");
    assert!(matches!(error, RegistryError::DigestMismatch { .. }), "{error}");
    image.registry.behave();
    let examined = image.examine(&facts).await.expect("the registry answers");
    assert_eq!(examined.evidence.witnesses.len(), 2, "nothing was learned from them");

    image.registry.on(When::kind(Kind::Blob), Play::Body(vec![0x1f; size + 1]));
    let error = image.examine(&Facts::default()).await;
    assert!(error.is_err() || error.is_ok_and(|examined| examined.evidence.gap.is_some()));
}

/// A program as this machine's, whose header says that it is for arm64.
fn for_arm64(mut program: Vec<u8>) -> Vec<u8> {
    program[18..20].copy_from_slice(&[183, 0]);
    program
}

#[tokio::test]
async fn a_size_that_the_manifest_has_wrong_is_told_and_remembered() {
    let soon = Duration::from_secs(10);
    for change in [1i64, -1, 3 << 20, -1000] {
        let mut image = Pushed::new(&["sh"]).await;
        image = image.files(&[("bin/sh", &shell()), ("lib64/ld-linux-x86-64.so.2", &loader())]);
        let size = image.layers[0].size;
        image.layers[0].size = size.checked_add_signed(change).expect("a size");
        let (client, repository) = image.client();
        let facts = Facts::default();
        let examine = async || {
            let examined = examine_within(soon, &client, &repository, &image.config, &image.layers, &facts).await;
            let Examined { evidence, effort } = examined.expect("one bad manifest fails nothing else");
            (evidence.gap.expect("a gap"), effort.bytes_read)
        };
        let told = format!("cannot be read: it has {size} bytes, and its manifest says {}", image.layers[0].size);
        let (gap, bytes_read) = examine().await;
        assert!(gap.ends_with(&told), "{gap}");
        assert_eq!((bytes_read, examine().await.1), (size, 0));
    }
}

#[tokio::test]
async fn what_a_proxy_answers_once_is_no_flaw_of_the_layer() {
    let rest = noise(4 << 20);
    let image = Pushed::new(&["/bin/sh"]).await;
    let image = image.files(&[("rest", &rest), ("bin/sh", &shell()), ("lib64/ld-linux-x86-64.so.2", &loader())]);
    let facts = Facts::default();
    image.registry.on(When::kind(Kind::Blob).once(), Play::Body(rest));
    let error = image.examine(&facts).await.expect_err("these are other bytes");
    assert!(matches!(error, RegistryError::DigestMismatch { .. }), "{error}");
    assert_eq!(image.examine(&facts).await.expect("the registry answers").evidence.witnesses.len(), 2);
}

#[tokio::test]
async fn what_was_read_of_a_layer_in_part_is_not_held_against_an_image() {
    let rest = noise(8 << 20);
    let layer = |shell: &[u8]| {
        let files = [("bin/sh", shell), ("lib64/ld-linux-x86-64.so.2", &loader()), ("rest", &rest)];
        image::gzip(&image::tar(&files.map(|(path, bytes)| (path.to_owned(), bytes.to_vec()))))
    };
    let other = layer(&for_arm64(shell()));
    let facts = Facts::default();
    let image = Pushed::new(&["/bin/sh"]).await.layer(OCI_LAYER, layer(&shell()));
    image.registry.on(When::kind(Kind::Blob).once(), Play::Body(other.to_vec()));
    let examined = image.examine(&facts).await.expect("the registry answers");
    assert_eq!(examined.evidence.judge(&"linux/amd64".parse().expect("a platform")), Proof::Match);

    // Where these are the layer's bytes, they are read to their end once.
    let wrong = Pushed::new(&["/bin/sh"]).await.layer(OCI_LAYER, other);
    let examined = wrong.examine(&facts).await.expect("the registry answers");
    assert!(matches!(examined.evidence.judge(&"linux/amd64".parse().expect("a platform")), Proof::Mismatch(_)));
    assert!(examined.effort.bytes_read > wrong.layers[0].size);
    assert_eq!(wrong.examine(&facts).await.expect("the registry answers").effort.bytes_read, 0);
}

#[tokio::test]
async fn how_one_manifest_has_a_layer_read_is_nothing_to_another() {
    let image = Pushed::new(&["sh"]).await;
    let mut image = image.files(&[("bin/sh", &shell()), ("lib64/ld-linux-x86-64.so.2", &loader())]);
    let facts = Facts::default();
    for wrong in ["application/vnd.oci.image.layer.v1.tar", "application/vnd.oci.image.layer.v1.tar+zstd", "text/plain"]
    {
        image.layers[0].media_type = wrong.to_owned();
        assert!(image.examine(&facts).await.expect("the registry answers").evidence.gap.is_some(), "{wrong}");
        assert_eq!(image.examine(&facts).await.expect("the registry answers").effort.bytes_read, 0, "{wrong}");
        image.layers[0].media_type = OCI_LAYER.to_owned();
        assert_eq!(image.examine(&facts).await.expect("the registry answers").evidence.gap, None, "{wrong}");
    }
}

#[tokio::test]
async fn a_layer_that_the_registry_lacks_or_that_cannot_be_read_is_a_gap_with_a_reason() {
    let reason = |examined: Result<Examined, RegistryError>| {
        let gap = examined.expect("the registry answers").evidence.gap.expect("a gap");
        gap.split_once(' ')
            .and_then(|(_, rest)| rest.split_once(' '))
            .and_then(|(_, rest)| rest.split_once(' '))
            .map(|(_, rest)| rest.to_owned())
    };
    let told = |text: &str| Some(text.to_owned());
    let image = Pushed::new(&["sh"]).await.files(&[("bin/sh", &shell())]);
    image.registry.delete_blob("ubuntu", image.layers[0].digest.as_str());
    assert_eq!(reason(image.examine(&Facts::default()).await), told("is not in the registry"));

    let tar = image::tar(&[("bin/sh".to_owned(), shell())]);
    let zstd = zstd::bulk::compress(&tar, 1).expect("zstd to memory");
    let image = Pushed::new(&["sh"]).await.layer(OCI_LAYER, zstd.clone());
    let why = "cannot be read: it is zstd, and its media type says gzip";
    assert_eq!(reason(image.examine(&Facts::default()).await), told(why));

    let image = Pushed::new(&["/bin/sh"]).await.layer("application/vnd.oci.image.layer.v1.tar+zstd", zstd);
    assert_eq!(image.examine(&Facts::default()).await.expect("it answers").evidence.witnesses.len(), 1);
    let image = Pushed::new(&["/bin/sh"]).await.layer("application/vnd.oci.image.layer.v1.tar", tar);
    assert_eq!(image.examine(&Facts::default()).await.expect("it answers").evidence.witnesses.len(), 1);

    let image = Pushed::new(&["sh"]).await.layer("application/vnd.oci.image.layer.v1.tar+xz", b"x".to_vec());
    let why = "cannot be read: its media type is `application/vnd.oci.image.layer.v1.tar+xz`";
    assert_eq!(reason(image.examine(&Facts::default()).await), told(why));
}

#[tokio::test]
async fn a_foreign_program_is_seen_though_a_layer_below_it_cannot_be_read() {
    let image = Pushed::new(&["/bin/sh"]).await;
    let image = image.files(&[("lib64/ld-linux-x86-64.so.2", &loader())]).files(&[("bin/sh", &shell())]);
    image.registry.delete_blob("ubuntu", image.layers[0].digest.as_str());
    assert!(matches!(image.proof("linux/arm64").await, Proof::Mismatch(_)), "it is no arm64, whatever loads it");
    assert!(matches!(image.proof("linux/amd64").await, Proof::Unverifiable(_)), "what loads it is not known");
}

#[tokio::test]
async fn small_layers_are_asked_for_together() {
    let mut image = Pushed::new(&["/bin/sh"]).await;
    image = image.files(&[("bin/sh", &shell()), ("lib64/ld-linux-x86-64.so.2", &loader())]);
    for number in 0..6u8 {
        image = image.files(&[("etc/number", &[number])]);
    }
    image.registry.set_delay(Duration::from_millis(50));
    let examined = image.examine(&Facts::default()).await.expect("the registry answers");
    assert_eq!(examined.evidence.witnesses.len(), 2);
    assert_eq!((image.registry.count(Kind::Blob), image.registry.rounds()), (7, 2), "four at a time");
}

#[tokio::test]
async fn a_layer_that_drips_is_given_up_in_time_and_asked_for_again_another_day() {
    let image = Pushed::new(&["sh"]).await;
    let image = image.files(&[("bin/sh", &shell()), ("lib64/ld-linux-x86-64.so.2", &loader())]);
    image.registry.on(When::kind(Kind::Blob), Play::Slow);
    let facts = Facts::default();
    let (client, repository) = image.client();
    let soon = Duration::from_millis(900);
    let examined = examine_within(soon, &client, &repository, &image.config, &image.layers, &facts).await;
    let examined = examined.expect("the registry answers");
    assert_eq!(examined.evidence.gap.as_deref(), Some("its layers could not be read within 900ms"));
    assert!((1..100).contains(&examined.effort.bytes_read), "{} bytes came", examined.effort.bytes_read);
    image.registry.behave();
    assert_eq!(image.examine(&facts).await.expect("the registry answers").evidence.gap, None);
}
