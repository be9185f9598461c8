//! Any bytes as a layer of type `v1.tar`, with checksums as they should be: they keep a fuzzer out.

#![no_main]

mod layer;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut data = data.to_vec();
    if let Some((1..=0x7f, archive)) = data.split_first_mut().map(|(first, rest)| (*first, rest)) {
        archive.chunks_exact_mut(512).filter(|block| block[257..262] == *b"ustar").for_each(mend);
    }
    layer::read("application/vnd.oci.image.layer.v1.tar", &data);
});

/// Writes the checksum that a header should have.
fn mend(block: &mut [u8]) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
}
