//! Any bytes as a layer of type `v1.tar+gzip`.

#![no_main]

mod layer;

libfuzzer_sys::fuzz_target!(|data: &[u8]| layer::read("application/vnd.oci.image.layer.v1.tar+gzip", data));
