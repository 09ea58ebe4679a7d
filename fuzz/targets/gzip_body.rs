//! A body announced as gzip: what it inflates to has bounds, whatever it says of itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use results_feed::fuzzing;

/// Bytes out for each byte in, and what a small body may become all the same.
const RATIO: usize = 200;
const SMALL: usize = 64 << 10;

fuzz_target!(|bytes: &[u8]| {
    if let Some(inflated) = fuzzing::inflate(bytes) {
        assert!(bytes.starts_with(&[0x1f, 0x8b]));
        assert!(inflated.len() <= fuzzing::LONGEST && inflated.len() <= (bytes.len() * RATIO).max(SMALL));
        let _ = fuzzing::decode(&inflated);
    }
});
