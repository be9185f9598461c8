//! Any bytes as an image's config.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let claim = onetag::registry::read_claim(data);
    let start = onetag::inspect::read_start(data);
    let layers = [Some(&onetag::inspect::Summary { is_complete: true, ..Default::default() })];
    if let (Ok(_), Some(start)) = (claim, start) {
        let _ = onetag::inspect::examine(&start, &layers);
    }
});
