//! What fuzzing found worth keeping, read again: nothing panics, and pieces make no difference.

use std::path::PathBuf;

use onetag::inspect::{Summary, examine, nature_of, read_start};
use onetag::registry::{read_claim, read_manifest};

#[path = "../fuzz/targets/image.rs"]
mod image;
#[path = "../fuzz/targets/layer.rs"]
mod layer;

/// The inputs that are kept for a target of `tests/fuzz`.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let inputs: Vec<Vec<u8>> =
        entries.map(|entry| std::fs::read(entry.expect("an entry").path()).expect("an input")).collect();
    assert!(inputs.len() >= 10, "{} has {} inputs", folder.display(), inputs.len());
    inputs
}

#[test]
fn layers_that_were_found_by_fuzzing_are_read_alike_in_any_pieces() {
    for (target, suffix) in [("tar", ""), ("gzip", "+gzip"), ("zstd", "+zstd")] {
        let media_type = format!("application/vnd.oci.image.layer.v1.tar{suffix}");
        corpus(target).iter().for_each(|input| layer::read(&media_type, input));
    }
}

#[test]
fn images_that_were_found_by_fuzzing_have_one_answer_in_whatever_way_they_are_read() {
    corpus("rootfs").iter().for_each(|input| image::examine_in_every_way(input));
}

#[test]
fn programs_that_were_found_by_fuzzing_make_no_panic() {
    for input in corpus("elf") {
        let _ = nature_of(&input);
    }
}

#[test]
fn documents_that_were_found_by_fuzzing_make_no_panic() {
    for input in corpus("config") {
        let mut empty = Summary::default();
        empty.is_complete = true;
        if let (Ok(_), Some(start)) = (read_claim(&input), read_start(&input)) {
            let _ = examine(&start, &[Some(&empty)]);
        }
    }
    for input in corpus("manifest") {
        let _ = read_manifest(None, &input);
        let _ = read_manifest(Some("application/vnd.oci.image.manifest.v1+json"), input.get(1..).unwrap_or_default());
        let _ = read_manifest(Some("application/vnd.oci.image.index.v1+json"), input.get(1..).unwrap_or_default());
    }
}
