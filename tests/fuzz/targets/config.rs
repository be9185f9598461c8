//! Any bytes as an image's config.

#![no_main]

use onetag::inspect::Summary;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let claim = onetag::registry::read_claim(data);
    let start = onetag::inspect::read_start(data);
    let mut empty = Summary::default();
    empty.is_complete = true;
    if let (Ok(_), Some(start)) = (claim, start) {
        let _ = onetag::inspect::examine(&start, &[Some(&empty)]);
    }
});
