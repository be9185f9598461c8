//! Any bytes as an image's config.

#![no_main]

use onetag_fuzz::inspect::Summary;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let claim = onetag_fuzz::registry::read_claim(data);
    let start = onetag_fuzz::inspect::read_start(data);
    let mut empty = Summary::default();
    empty.is_complete = true;
    if let (Ok(_), Some(start)) = (claim, start) {
        let _ = onetag_fuzz::inspect::examine(&start, &[Some(&empty)]);
    }
});
