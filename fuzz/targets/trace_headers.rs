//! `traceparent`, a line feed, `tracestate`: as a record carries them, and as a call does.
#![no_main]

use std::sync::LazyLock;

use chassis::fuzzing::Tracing;
use libfuzzer_sys::fuzz_target;

static TRACING: LazyLock<Tracing> = LazyLock::new(Tracing::default);

fuzz_target!(|bytes: &[u8]| {
    let (parent, state) = match bytes.iter().position(|byte| *byte == b'\n') {
        Some(at) => (&bytes[..at], Some(&bytes[at + 1..])),
        None => (bytes, None),
    };
    of_a_record(parent, state);
    of_a_call(parent, state);
});

/// W3C Trace Context 3.2, version 00: nothing but lower case hexadecimals, neither id all zeros.
fn is_canonical(parent: &[u8]) -> bool {
    let is_hex = |bytes: &[u8]| bytes.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_id = |bytes: &[u8]| is_hex(bytes) && bytes.iter().any(|byte| *byte != b'0');
    parent.len() == 55
        && parent.starts_with(b"00-")
        && is_id(&parent[3..35])
        && parent[35] == b'-'
        && is_id(&parent[36..52])
        && parent[52] == b'-'
        && is_hex(&parent[53..])
}

fn of_a_record(parent: &[u8], state: Option<&[u8]>) {
    let (Ok(parent), Ok(state)) = (std::str::from_utf8(parent), state.map(std::str::from_utf8).transpose())
    else {
        return;
    };
    let printed = outbox::fuzzing::trace(parent, state);
    if is_canonical(parent.as_bytes()) {
        assert_eq!(printed.as_ref().map(|(parent, _)| parent.as_str()), Some(parent));
    }
    let Some((parent, state)) = printed else { return };
    assert!(is_canonical(parent.as_bytes()), "{parent}");
    assert!(state.split(',').count() <= 32, "{state}");
    assert_eq!(outbox::fuzzing::trace(&parent, Some(&state)), Some((parent, state)));
}

fn of_a_call(parent: &[u8], state: Option<&[u8]>) {
    let mut headers = vec![("traceparent", parent)];
    headers.extend(state.map(|state| ("tracestate", state)));
    let Some((trace, state)) = TRACING.of_call(&headers) else { return };
    assert!(trace.len() == 32 && trace.bytes().any(|byte| byte != b'0'), "{trace}");
    assert!(state.split(',').count() <= 32, "{state}");
    if is_canonical(parent) {
        assert_eq!(trace.as_bytes(), &parent[3..35]);
    }
}
