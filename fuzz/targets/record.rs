//! A record of Kafka, a part a line: key, payload, then headers as `name:value`; one without a colon has no value.
#![no_main]

use libfuzzer_sys::fuzz_target;
use outbox::{
    Record,
    fuzzing::{self, Named},
};

/// What must be right, in the order in which it is looked at, and something that is.
const REQUIRED: [(&str, &[u8]); 5] = [
    ("key", b"alice"),
    ("ce_id", b"01890a5d-ac96-774b-bcce-b302099a8057"),
    ("ce_type", b"ProfileMerged"),
    ("kotinos_version", b"1"),
    ("ce_time", b"2026-07-24T10:30:00Z"),
];

fuzz_target!(|bytes: &[u8]| {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let (key, payload) = (lines.next(), lines.next());
    let headers: Vec<Named<'_>> = lines.filter_map(header).collect();
    match fuzzing::record(key, payload, &headers) {
        Ok(record) => {
            says_what_was_written(&record, key, payload, &headers);
            is_read_again(&record);
            let _ = record.span();
        }
        Err(part) => the_named_part_is_wrong(part, key, payload, headers),
    }
});

fn header(line: &[u8]) -> Option<Named<'_>> {
    let colon = line.iter().position(|byte| *byte == b':');
    let (name, value) = colon.map_or((line, None), |at| (&line[..at], Some(&line[at + 1..])));
    Some((std::str::from_utf8(name).ok()?, value))
}

fn first<'a>(headers: &[Named<'a>], name: &str) -> Option<&'a [u8]> {
    headers.iter().find(|(other, _)| *other == name)?.1
}

fn says_what_was_written(record: &Record, key: Option<&[u8]>, payload: Option<&[u8]>, headers: &[Named<'_>]) {
    assert_eq!(Some(record.key.as_bytes()), key);
    assert_eq!(record.payload.as_deref(), payload);
    assert_eq!(Some(record.fact_type.as_bytes()), first(headers, "ce_type"));
    assert!(record.version >= 0 && !record.key.is_empty() && record.key.len() <= 512);
    if let Some((traceparent, tracestate)) = fuzzing::carried(record) {
        assert_eq!(Some(traceparent.as_bytes()), first(headers, "traceparent"));
        assert!(tracestate.is_none() || tracestate.map(str::as_bytes) == first(headers, "tracestate"));
    }
}

/// What the relay would send of the same fact says the same.
fn is_read_again(record: &Record) {
    let printed = fuzzing::printed(record);
    let headers: Vec<Named<'_>> =
        printed.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
    let again = fuzzing::record(Some(record.key.as_bytes()), record.payload.as_deref(), &headers)
        .unwrap_or_else(|part| panic!("{part} of {printed:?}"));
    assert_eq!(again.event_id, record.event_id);
    assert_eq!(again.fact_type, record.fact_type);
    assert_eq!(again.version, record.version);
    assert_eq!(fuzzing::carried(&again), fuzzing::carried(record));
    // Written in microseconds.
    let lost = (record.occurred_at - again.occurred_at).num_nanoseconds();
    assert!(lost.is_some_and(|lost| (0..1_000).contains(&lost)), "{printed:?}");
    assert_eq!(fuzzing::printed(&again), printed);
}

/// Mended, it is not what is complained about.
fn the_named_part_is_wrong(
    part: &str,
    key: Option<&[u8]>,
    payload: Option<&[u8]>,
    mut headers: Vec<Named<'_>>,
) {
    let at = REQUIRED.iter().position(|(name, _)| *name == part).expect("a part of the envelope");
    let (name, good) = REQUIRED[at];
    let key = if at == 0 { Some(good) } else { key };
    if at > 0 {
        headers.insert(0, (name, Some(good)));
    }
    if let Err(next) = fuzzing::record(key, payload, &headers) {
        let next = REQUIRED.iter().position(|(name, _)| *name == next);
        assert!(next > Some(at), "{part} is right, and is refused");
    }
}
