//! Milliseconds that the method allows, a space, and `grpc-timeout`.
#![no_main]

use std::time::Duration;

use chassis::fuzzing::time_left;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let at = bytes.iter().position(|byte| *byte == b' ').unwrap_or(bytes.len());
    let most = std::str::from_utf8(&bytes[..at]).ok().and_then(|text| text.parse::<u32>().ok());
    let most = Duration::from_millis(most.unwrap_or(5_000).into());
    let value = bytes.get(at + 1..).unwrap_or_default();

    let Some((left, took)) = time_left(most, value) else { return };
    let left = left.expect("a call always has a limit");
    let limit = wanted(value).map_or(most, |wanted| wanted.min(most));
    assert!(left <= limit && left + took >= limit, "{left:?} left after {took:?} of {limit:?}");
});

/// gRPC over HTTP/2: at most eight digits, and a unit.
fn wanted(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
    Some(match unit {
        b'H' => Duration::from_secs(3_600 * number),
        b'M' => Duration::from_secs(60 * number),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    })
}
