//! One ODF document, or two with a line of `%` between: whatever is taken has canonical bytes that hold together.
#![no_main]

use libfuzzer_sys::fuzz_target;
use results_feed::fuzzing;

const BETWEEN: &[u8] = b"\n%\n";

fuzz_target!(|bytes: &[u8]| {
    let at = bytes.windows(BETWEEN.len()).position(|part| part == BETWEEN);
    let (one, other) = match at {
        Some(at) => (&bytes[..at], &bytes[at + BETWEEN.len()..]),
        None => (bytes, bytes),
    };
    let (one, other) = (fuzzing::decode(one), fuzzing::decode(other));
    for reason in [&one, &other].into_iter().filter_map(|read| read.as_ref().err()) {
        let is_told = reason.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_()".contains(&byte));
        assert!(is_told, "{reason}");
    }
    if let (Ok(one), Ok(other)) = (one, other)
        && !one.is_empty()
        && !other.is_empty()
    {
        fuzzing::holds_together(&one, &other);
    }
});
