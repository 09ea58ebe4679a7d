use super::*;

const GOOD: [(&str, &str); 6] = [
    ("ce_id", "01890a5d-ac96-774b-bcce-b302099a8057"),
    ("ce_type", "ProfileMerged"),
    ("ce_time", "2026-07-24T10:30:00.123456Z"),
    ("kotinos_version", "281474976710657"),
    ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ("tracestate", "vendor=1"),
];

fn read(key: Option<&[u8]>, headers: &[(&str, Option<&[u8]>)]) -> Result<Record, &'static str> {
    let headers: Vec<_> = headers.iter().map(|(key, value)| Header { key, value: *value }).collect();
    Record::of(&Parts {
        topic: "kotinos.profile.profile.v1",
        partition: 7,
        offset: 42,
        key,
        payload: Some(b"payload"),
        headers: &headers,
    })
}

/// A good record with other bytes under this name; none takes the header away.
fn with(name: &str, value: Option<&[u8]>) -> Result<Record, &'static str> {
    let mut headers: Vec<(&str, Option<&[u8]>)> =
        GOOD.iter().map(|(name, value)| (*name, Some(value.as_bytes()))).collect();
    headers.retain(|(other, _)| *other != name);
    if value.is_some() {
        headers.push((name, value));
    }
    read(Some(b"alice"), &headers)
}

#[test]
fn a_good_envelope_is_read() {
    let record = with("anything", Some(b"\xff")).unwrap();
    assert_eq!(
        (record.topic.as_str(), record.partition, record.offset),
        ("kotinos.profile.profile.v1", 7, 42)
    );
    assert_eq!((record.key.as_str(), record.payload.as_deref()), ("alice", Some(&b"payload"[..])));
    assert_eq!(record.event_id.to_string(), GOOD[0].1);
    assert_eq!((record.fact_type.as_str(), record.version), ("ProfileMerged", 281_474_976_710_657));
    assert_eq!(record.occurred_at.timestamp_micros(), 1_784_889_000_123_456);
    let carried = record.carried.unwrap();
    assert_eq!((carried.traceparent.as_str(), carried.tracestate.as_deref()), (GOOD[4].1, Some("vendor=1")));
}

#[test]
fn a_wrong_part_is_refused_by_its_name() {
    let long = "a".repeat(LONGEST_TYPE + 1).into_bytes();
    let huge = vec![b'9'; 1_000_000];
    let table: [(&'static str, &[&[u8]]); 4] = [
        (
            "ce_id",
            &[
                b"",
                b"42",
                b"01890a5dac96774bbcceb302099a8057",
                b"{01890a5d-ac96-774b-bcce-b302099a8057}",
                b"01890a5d-ac96-774b-bcce-b302099a805\0",
                b"\xff\xfe",
                &huge,
            ],
        ),
        ("ce_type", &[b"\xc3\x28", b"Profile\0Merged", &long, &huge]),
        (
            "kotinos_version",
            &[b"", b"-1", b"9223372036854775808", b"1.0", b"0x1", b" 1", b"\xd9\xa1", b"1\0", &huge],
        ),
        (
            "ce_time",
            &[
                b"",
                b"2026-07-24",
                b"2026-07-24T10:30:00",
                b"2026-02-30T10:30:00Z",
                b"10000-01-01T00:00:00Z",
                b"9999-12-31T23:59:59-23:59",
                b"0000-01-01T00:00:00+23:59",
                b"2026-07-24T10:30:00Z\0",
                &huge,
            ],
        ),
    ];
    for (name, values) in table {
        assert_eq!(with(name, None).unwrap_err(), name, "without {name}");
        for value in values {
            let shown = value.get(..40).unwrap_or(value).escape_ascii();
            assert_eq!(with(name, Some(value)).unwrap_err(), name, "{shown}");
        }
    }
}

#[test]
fn a_key_has_one_to_512_bytes_of_text() {
    let headers: Vec<(&str, Option<&[u8]>)> =
        GOOD.iter().map(|(name, value)| (*name, Some(value.as_bytes()))).collect();
    let huge = vec![b'k'; 1_000_000];
    for key in [None, Some(&b""[..]), Some(b"\xff"), Some(b"a\0b"), Some(&huge), Some(&huge[..513])] {
        assert_eq!(read(key, &headers).unwrap_err(), "key");
    }
    assert_eq!(read(Some(&huge[..512]), &headers).unwrap().key.len(), 512);
}

#[test]
fn a_header_without_a_value_or_behind_another_of_its_name_does_not_count() {
    let mut headers: Vec<(&str, Option<&[u8]>)> =
        GOOD.iter().map(|(name, value)| (*name, Some(value.as_bytes()))).collect();
    headers.push(("ce_type", Some(b"Another")));
    assert_eq!(read(Some(b"alice"), &headers).unwrap().fact_type, "ProfileMerged");
    headers.insert(0, ("ce_type", None));
    assert_eq!(read(Some(b"alice"), &headers).unwrap_err(), "ce_type");
    assert_eq!(read(Some(b"alice"), &[]).unwrap_err(), "ce_id");
}

#[test]
fn many_headers_are_only_many() {
    let mut headers = vec![("x", Some(&b""[..])); 200_000];
    headers.extend(GOOD.iter().map(|(name, value)| (*name, Some(value.as_bytes()))));
    assert_eq!(read(Some(b"alice"), &headers).unwrap().version, 281_474_976_710_657);
}

#[test]
fn a_trace_that_is_garbage_or_too_long_takes_no_record_with_it() {
    let long = vec![b'a'; LONGEST_TRACEPARENT + 1];
    for value in [&b"\xff"[..], b"\0", &long] {
        assert!(with("traceparent", Some(value)).unwrap().carried.is_none());
    }
    let long = vec![b'a'; LONGEST_TRACESTATE + 1];
    for value in [&b"\xff"[..], &long] {
        let carried = with("tracestate", Some(value)).unwrap().carried.unwrap();
        assert_eq!(carried.tracestate, None);
    }
    // Kept as it stands; whether it is a context is seen when it is used.
    let record = with("traceparent", Some(b"<script>")).unwrap();
    assert_eq!(record.carried.as_ref().map(|carried| carried.traceparent.as_str()), Some("<script>"));
    let _ = record.span();
}

/// Headers as the client has them: a name that is not UTF-8 makes it panic.
struct Foreign(usize);

impl Headers for Foreign {
    fn count(&self) -> usize {
        self.0
    }

    fn try_get(&self, at: usize) -> Option<Header<'_, &[u8]>> {
        let name = [&b"ce_id"[..], b"\xff"][at.min(1)];
        (at < self.0).then(|| Header { key: std::str::from_utf8(name).unwrap(), value: None })
    }
}

#[test]
fn a_header_whose_name_is_no_text_does_not_end_the_thread() {
    assert_eq!(all(&Foreign(1)).map(|headers| headers.len()), Some(1));
    assert!(all(&Foreign(2)).is_none());
}
