use serde_json::{Value, json};

use super::*;
use crate::{entitlement::Facts, entry::LARGEST_BODY, header::DocumentKey};

fn edition_of(document_type: &str, body: &str) -> Arc<Edition> {
    Arc::new(Edition {
        handle: 7,
        key: DocumentKey {
            competition_code: "SYN2030".to_owned(),
            document_code: "ATHM100M--------------FNL-000100--".to_owned(),
            document_subcode: String::new(),
            document_type: document_type.to_owned(),
            document_subtype: String::new(),
            language: "ENG".to_owned(),
        },
        document_type: document_type.parse().unwrap(),
        version: 3,
        status: Some(ResultStatus::Live),
        seq: 12,
        body: Some(Bytes::from(body.to_owned())),
        size: body.len(),
        sha256: [0xab; 32],
        facts: Facts::plain(DateTime::UNIX_EPOCH),
    })
}

fn edition(body: &str) -> Arc<Edition> {
    edition_of("DT_RESULT", body)
}

fn written(frame: &Frame) -> String {
    let json = frame.to_json();
    assert!(!json.contains(&b'\n'));
    let _: Value = serde_json::from_slice(&json).unwrap();
    String::from_utf8(json.to_vec()).unwrap()
}

const KEY: &str = r#"{"competition_code":"SYN2030","document_code":"ATHM100M--------------FNL-000100--","document_type":"DT_RESULT","language":"ENG"}"#;

// Readers in many languages parse these bytes: a change of them is a change of the interface.
#[test]
fn every_frame_is_written_as_readers_know_it() {
    let cursor = Cursor { epoch: "7f".to_owned(), at: [12, 10, 12] };
    let raw = Some(Raw { body: Some(Bytes::from_static(b"<a b=\"1\"/>")), size: 10, sha256: [1; 32] });
    let patch = Bytes::from_static(br#"{"a":"2"}"#);
    let stale = Stale { venue: "JAL".to_owned(), discipline: "ALP".to_owned(), age_seconds: 41 };
    let lane = Lane::Urgent;
    let status = Some(ResultStatus::Protested);
    let table = [
        (
            Frame::Hello { stream: "SYN2030-P".to_owned(), cursor: cursor.clone() },
            r#"{"t":"hello","stream":"SYN2030-P","cursor":"7f.12-0-2-0","hb":5}"#.to_owned(),
        ),
        (
            Frame::Snap { edition: edition(r#"{"a":"1"}"#), raw: None },
            format!(r#"{{"t":"snap","k":7,"key":{KEY},"v":3,"st":"LIVE","s":12,"b":{{"a":"1"}}}}"#),
        ),
        (Frame::Live { cursor: cursor.clone() }, r#"{"t":"live","cursor":"7f.12-0-2-0"}"#.to_owned()),
        (
            Frame::Delta { edition: edition("{}"), base_version: 2, patch, previous: 11 },
            r#"{"t":"delta","k":7,"bv":2,"v":3,"st":"LIVE","s":12,"p":11,"d":{"a":"2"}}"#.to_owned(),
        ),
        (
            Frame::Full { edition: edition("{}"), previous: 11, raw },
            format!(r#"{{"t":"full","k":7,"key":{KEY},"v":3,"st":"LIVE","s":12,"p":11,"x":"<a b=\"1\"/>"}}"#),
        ),
        (
            Frame::Full { edition: edition_of("DT_MEDALS", "{}"), previous: 11, raw: None },
            format!(
                r#"{{"t":"full","k":7,"key":{},"v":3,"st":"LIVE","s":12,"p":11,"l":1,"b":{{}}}}"#,
                KEY.replace("DT_RESULT", "DT_MEDALS")
            ),
        ),
        (
            Frame::Gone { handle: 1, seq: 9, previous: 8, lane, why: GoneCause::Invalidated },
            r#"{"t":"gone","k":1,"s":9,"p":8,"why":"INVALIDATED"}"#.to_owned(),
        ),
        (
            Frame::Superseded { handle: 1, version: 8, status, seq: 9, previous: 8, lane },
            r#"{"t":"superseded","k":1,"v":8,"st":"PROTESTED","s":9,"p":8}"#.to_owned(),
        ),
        (
            Frame::Skip { previous: 1, seq: 9, count: 17, lane: Lane::Bulk },
            r#"{"t":"skip","p":1,"s":9,"n":17,"l":2}"#.to_owned(),
        ),
        (
            Frame::Heartbeat { seq: 9, at: DateTime::UNIX_EPOCH, lag_ms: 3, stale: Arc::from([stale]) },
            r#"{"t":"hb","s":9,"at":"1970-01-01T00:00:00+00:00","lag_ms":3,"stale":[["JAL","ALP",41]]}"#
                .to_owned(),
        ),
        (
            Frame::Reset { why: ResetCause::CursorAhead, cursor },
            r#"{"t":"reset","why":"CURSOR_AHEAD","cursor":"7f.12-0-2-0"}"#.to_owned(),
        ),
        (
            Frame::Bye { why: ByeCause::Drain, retry_ms: 1840 },
            r#"{"t":"bye","why":"DRAIN","retry_ms":1840}"#.to_owned(),
        ),
    ];
    for (frame, expected) in table {
        assert_eq!(written(&frame), expected);
    }
}

#[test]
fn a_large_document_is_a_reference() {
    let large = edition(&format!(r#"{{"a":"{}"}}"#, "x".repeat(LARGEST_BODY)));
    let json = written(&Frame::Full { edition: Arc::clone(&large), previous: 11, raw: None });
    let frame: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (frame["t"].clone(), frame["href"].clone(), frame.get("b")),
        (json!("ref"), json!("/results/v1/documents/7/12"), None)
    );
    let raw = Some(Raw { body: None, size: 300_000, sha256: [1; 32] });
    let json = written(&Frame::Snap { edition: edition("{}"), raw });
    let frame: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (frame["t"].clone(), frame["href"].clone(), frame["bytes"].clone()),
        (json!("ref"), json!("/results/v1/documents/7/12?rep=odf"), json!(300_000))
    );
}
