//! Layers with a table of contents, of which single files are asked for.

use onetag::look::{Examined, Facts};
use serde_json::{Value, json};

use crate::files::{Pushed, loader, noise, shell};
use crate::support::image::{self, OCI_LAYER, sha256};
use crate::support::{Kind, Play, When};

const OCI_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// How makers cut large files; smaller here, so that there is something to cut.
const CHUNK: usize = 100_000;

/// A layer with a table of contents.
struct Indexed {
    blob: Vec<u8>,
    media_type: &'static str,
    annotations: Value,
}

/// Writes entries one behind the other, each chunk of a file packed by itself. The table may have
/// another name than the archive: `archive=table`.
fn entries(files: &[(&str, &[u8])], pack: fn(&[u8]) -> Vec<u8>, has_ends: bool) -> (Vec<u8>, Vec<Value>) {
    let (mut blob, mut rows) = (Vec::new(), vec![json!({ "name": "bin", "type": "dir", "mode": 0o755 })]);
    for (name, bytes) in files {
        if let Some(target) = name.strip_prefix("link:") {
            rows.push(json!({ "name": "bin/link", "type": "symlink", "linkName": target }));
            continue;
        }
        let (stored, name) = name.split_once('=').unwrap_or((name, name));
        let archive = image::tar(&[(stored.to_owned(), bytes.to_vec())]);
        blob.extend(pack(&archive[..512]));
        for (number, chunk) in bytes.chunks(CHUNK).enumerate() {
            let start = blob.len();
            blob.extend(pack(chunk));
            let mut row = json!({
                "name": name, "type": if number == 0 { "reg" } else { "chunk" }, "size": bytes.len(), "mode": 0o755,
                "offset": start, "chunkOffset": number * CHUNK, "chunkSize": chunk.len(), "chunkDigest": sha256(chunk),
            });
            if has_ends {
                row["endOffset"] = blob.len().into();
            }
            rows.push(row);
        }
        blob.extend(pack(&archive[512 + bytes.len()..archive.len() - 1024]));
    }
    (blob, rows)
}

/// As `ctr-remote image optimize` and `nerdctl image convert --estargz` make them.
fn stargz(files: &[(&str, &[u8])]) -> Indexed {
    let (mut blob, rows) = entries(files, |bytes| image::gzip(bytes).to_vec(), false);
    let table = json!({ "version": 1, "entries": rows }).to_string().into_bytes();
    let place = blob.len();
    blob.extend(image::gzip(&image::tar(&[("stargz.index.json".to_owned(), table.clone())])));
    blob.extend([0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, 26, 0, b'S', b'G', 22, 0]);
    blob.extend(format!("{place:016x}STARGZ").into_bytes());
    blob.extend([1, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0]);
    let annotations = json!({ "containerd.io/snapshot/stargz/toc.digest": sha256(&table) });
    Indexed { blob, media_type: OCI_LAYER, annotations }
}

/// As `podman push --compression-format zstd:chunked` makes them.
fn chunked(files: &[(&str, &[u8])]) -> Indexed {
    let pack = |bytes: &[u8]| zstd::bulk::compress(bytes, 1).expect("zstd to memory");
    let (mut blob, rows) = entries(files, pack, true);
    blob.extend(pack(&[0; 1024]));
    let table = json!({ "version": 1, "entries": rows }).to_string().into_bytes();
    let packed = pack(&table);
    blob.extend([0x50, 0x2a, 0x4d, 0x18]);
    blob.extend(u32::try_from(packed.len()).expect("short").to_le_bytes());
    let position = format!("{}:{}:{}:1", blob.len(), packed.len(), table.len());
    let annotations = json!({
        "io.github.containers.zstd-chunked.manifest-position": position,
        "io.github.containers.zstd-chunked.manifest-checksum": sha256(&packed),
    });
    blob.extend(packed);
    Indexed { blob, media_type: OCI_ZSTD, annotations }
}

/// Examines an image whose only layer this is.
async fn examine(layer: Indexed, prepare: impl FnOnce(&Pushed)) -> (Pushed, Examined) {
    let mut image = Pushed::new(&["/bin/link"]).await.layer(layer.media_type, layer.blob);
    image.layers[0].annotations = serde_json::from_value(layer.annotations).expect("text");
    prepare(&image);
    let examined = image.examine(&Facts::default()).await.expect("the registry answers");
    assert_eq!(examined.evidence.gap, None);
    let paths: Vec<&str> = examined.evidence.witnesses.iter().map(|witness| witness.path.as_str()).collect();
    assert_eq!(paths, ["/bin/sh", "/lib64/ld-linux-x86-64.so.2"]);
    (image, examined)
}

#[tokio::test]
async fn single_files_are_asked_for_where_a_layer_has_an_index() {
    let rest = noise(4 << 20);
    let (shell, loader) = (shell(), loader());
    let files: [(&str, &[u8]); 4] =
        [("a/rest", &rest), ("bin/sh", &shell), ("link:sh", b""), ("lib64/ld-linux-x86-64.so.2", &loader)];
    for (layer, requests) in [(stargz(&files), 4), (chunked(&files), 3)] {
        let (image, examined) = examine(layer, |_| {}).await;
        assert_eq!(image.registry.count(Kind::Blob), requests, "the footer and the table, and a piece of each file");
        assert!(examined.effort.bytes_read < 250_000, "{} bytes were read", examined.effort.bytes_read);
    }
}

#[tokio::test]
async fn an_index_that_cannot_be_trusted_or_had_is_done_without() {
    let rest = noise(2 << 20);
    let (shell, loader) = (shell(), loader());
    let files: [(&str, &[u8]); 4] =
        [("a/rest", &rest), ("bin/sh", &shell), ("bin/link", b"#!/bin/sh"), ("lib64/ld-linux-x86-64.so.2", &loader)];
    for make in [stargz, chunked] {
        let (image, examined) = examine(make(&files), |image| {
            image.registry.set_options(|options| options.is_without_ranges = true);
        })
        .await;
        assert!(examined.effort.bytes_read >= image.layers[0].size, "the registry gives no parts");

        let mut lying = make(&files);
        let wrong = json!(sha256(b"another table"));
        for (key, value) in lying.annotations.as_object_mut().expect("an object") {
            if !key.ends_with("position") {
                *value = wrong.clone();
            }
        }
        let (image, examined) = examine(lying, |_| {}).await;
        assert!(examined.effort.bytes_read >= image.layers[0].size, "the table is another one");

        let mut layer = make(&files);
        layer.annotations = json!({ "containerd.io/snapshot/stargz/toc.digest": "sha256:0" });
        let (image, examined) = examine(layer, |_| {}).await;
        assert_eq!(examined.effort.bytes_read, image.layers[0].size, "there is no digest to check it by");
    }
}

impl Indexed {
    /// An image whose only layer this is, and that starts this.
    async fn starting(&self, entry_point: &[&str]) -> Pushed {
        let mut image = Pushed::new(entry_point).await.layer(self.media_type, self.blob.clone());
        image.layers[0].annotations = serde_json::from_value(self.annotations.clone()).expect("text");
        image
    }
}

#[tokio::test]
async fn an_index_hides_no_program_of_an_image_that_starts_nothing() {
    let rest = noise(2 << 20);
    let (shell, loader) = (shell(), loader());
    let files: [(&str, &[u8]); 3] = [("a/rest", &rest), ("opt/tool", &shell), ("lib64/ld-linux-x86-64.so.2", &loader)];
    for make in [stargz, chunked] {
        let facts = Facts::default();
        let tool = make(&files).starting(&["/opt/tool"]).await.examine(&facts).await.expect("the registry answers");
        assert!(tool.effort.bytes_read < 300_000, "its table is known from here on");
        for facts in [Facts::default(), facts] {
            let nothing = make(&files).starting(&[]).await.examine(&facts).await.expect("the registry answers");
            let paths: Vec<&str> = nothing.evidence.witnesses.iter().map(|witness| witness.path.as_str()).collect();
            assert_eq!((nothing.evidence.gap.as_deref(), &paths[..1]), (None, &["/lib64/ld-linux-x86-64.so.2"][..]));
        }
    }
}

#[tokio::test]
async fn what_a_table_says_is_nothing_to_manifests_that_do_not_name_it() {
    let rest = noise(2 << 20);
    let (shell, loader) = (shell(), loader());
    let files: [(&str, &[u8]); 3] =
        [("a/rest", &rest), ("bin/hidden=bin/sh", &shell), ("lib64/ld-linux-x86-64.so.2", &loader)];
    for make in [stargz, chunked] {
        let facts = Facts::default();
        let mut image = make(&files).starting(&["/bin/sh"]).await;
        let first = image.examine(&facts).await.expect("the registry answers");
        assert_eq!(first.evidence.witnesses.len(), 2, "clients that read the table have it so");
        image.layers[0].annotations.clear();
        let second = image.examine(&facts).await.expect("the registry answers");
        let gap = second.evidence.gap.expect("it is not in the archive");
        assert_eq!(gap, "`/bin/sh`, which the image starts, is in none of its layers");
    }
}

#[tokio::test]
async fn a_registry_that_refuses_parts_is_asked_for_the_whole() {
    let rest = noise(2 << 20);
    let (shell, loader) = (shell(), loader());
    let files: [(&str, &[u8]); 4] =
        [("a/rest", &rest), ("bin/sh", &shell), ("bin/link", b"#!/bin/sh"), ("lib64/ld-linux-x86-64.so.2", &loader)];
    for make in [stargz, chunked] {
        for status in [400, 403, 416, 501] {
            let (image, examined) = examine(make(&files), |image| {
                image.registry.on(When::kind(Kind::Blob).once(), Play::status(status));
            })
            .await;
            assert_eq!(examined.effort.bytes_read, image.layers[0].size, "{status}");
        }
    }
    // The whole instead of a part that is its beginning.
    let mut layer = chunked(&files);
    layer.annotations["io.github.containers.zstd-chunked.manifest-position"] = json!("0:100:100:1");
    let (image, examined) = examine(layer, |image| {
        image.registry.set_options(|options| options.is_without_ranges = true);
    })
    .await;
    assert!(examined.effort.bytes_read >= image.layers[0].size);
}
