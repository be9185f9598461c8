//! Any bytes as a program.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = onetag::inspect::nature_of(data);
});
