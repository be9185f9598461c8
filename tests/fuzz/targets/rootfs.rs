//! Any bytes as the layers of an image.

#![no_main]

mod image;

libfuzzer_sys::fuzz_target!(|data: &[u8]| image::examine_in_every_way(data));
