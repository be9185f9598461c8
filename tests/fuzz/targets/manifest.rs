//! Any bytes as a manifest or index; the first byte says what the registry calls it.

#![no_main]

use onetag::registry::{read_manifest, read_published};

const TYPES: [Option<&str>; 4] = [
    None,
    Some("application/vnd.oci.image.index.v1+json"),
    Some("application/vnd.oci.image.manifest.v1+json"),
    Some("application/vnd.docker.distribution.manifest.v2+json"),
];

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((&kind, manifest)) = data.split_first() else { return };
    let content_type = TYPES[usize::from(kind) % TYPES.len()];
    let _ = read_manifest(content_type, manifest);
    let _ = read_published(content_type, manifest);
});
