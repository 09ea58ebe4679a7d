use std::{fmt::Write, sync::Arc};

use bytes::{BufMut, Bytes, BytesMut};
use domain::{DateTime, Utc};

use crate::{cursor::Cursor, document_type::ResultStatus, entry::Edition};

/// Seconds between heartbeats.
pub const HEARTBEAT_SECONDS: u32 = 5;

/// One frame of the feed: the same vocabulary on every carrier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// The first one.
    Hello {
        /// Such as `SYN2030-P`.
        stream: String,
        /// Where the stream is.
        cursor: Cursor,
    },
    /// A document of the snapshot.
    Snap(Arc<Edition>),
    /// The snapshot is complete.
    Live {
        /// From here the changes follow.
        cursor: Cursor,
    },
    /// A merge patch from the version that the reader holds.
    Delta {
        /// The new version.
        edition: Arc<Edition>,
        /// The version that it patches.
        base_version: i32,
        /// The patch.
        patch: Bytes,
        /// Sequence number of the frame before.
        previous: i64,
    },
    /// A whole document.
    Full {
        /// The new version.
        edition: Arc<Edition>,
        /// See `Delta`.
        previous: i64,
    },
    /// A document stands no longer.
    Gone {
        /// Which.
        handle: i64,
        /// Of this entry.
        seq: i64,
        /// See `Delta`.
        previous: i64,
    },
    /// A newer version has a status that the reader may not see.
    Superseded {
        /// Which document.
        handle: i64,
        /// The newer version.
        version: i32,
        /// Its status.
        status: Option<ResultStatus>,
        /// Of this entry.
        seq: i64,
        /// See `Delta`.
        previous: i64,
    },
    /// Versions were left out because newer ones follow at once.
    Skip {
        /// See `Delta`.
        previous: i64,
        /// Of the last one left out.
        seq: i64,
        /// How many.
        count: u32,
    },
    /// Nothing new, and how fresh that is.
    Heartbeat {
        /// Of the newest entry that was looked at.
        seq: i64,
        /// Now.
        at: DateTime<Utc>,
        /// Age in milliseconds of what this process knows of the stream.
        lag_ms: u32,
    },
    /// What the reader holds is void; a snapshot follows.
    Reset {
        /// Why.
        why: ResetCause,
        /// Where the stream is.
        cursor: Cursor,
    },
    /// The last one.
    Bye {
        /// Why.
        why: ByeCause,
        /// When to come back, in milliseconds.
        retry_ms: u32,
    },
}

/// Why a reader starts again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResetCause {
    /// Committed entries were lost.
    EpochChanged,
    /// The log no longer goes back that far.
    CursorTooOld,
    /// The cursor is of entries that never were.
    CursorAhead,
    /// It is no cursor.
    CursorInvalid,
    /// The reader's rights changed.
    FilterChanged,
}

/// Why a stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByeCause {
    /// The process goes down.
    Drain,
    /// The token is no longer good.
    TokenExpired,
    /// The connection is old: readers spread over replicas again.
    Age,
}

impl ResetCause {
    /// The name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::EpochChanged => "EPOCH_CHANGED",
            Self::CursorTooOld => "CURSOR_TOO_OLD",
            Self::CursorAhead => "CURSOR_AHEAD",
            Self::CursorInvalid => "CURSOR_INVALID",
            Self::FilterChanged => "FILTER_CHANGED",
        }
    }
}

impl ByeCause {
    /// The name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Drain => "DRAIN",
            Self::TokenExpired => "TOKEN_EXPIRED",
            Self::Age => "AGE",
        }
    }
}

/// A frame and the cursor after it; no cursor until the snapshot is complete, so that a reader that drops half-way
/// starts again and not in a hole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// What to resume with.
    pub cursor: Option<Cursor>,
    /// The frame.
    pub frame: Frame,
}

impl Frame {
    /// The frame as JSON in one line.
    #[must_use]
    pub fn to_json(&self) -> Bytes {
        let mut json = BytesMut::new();
        match self {
            Self::Hello { stream, cursor } => {
                text(
                    &mut json,
                    &format!(
                        r#"{{"t":"hello","stream":"{stream}","cursor":"{cursor}","hb":{HEARTBEAT_SECONDS}}}"#
                    ),
                );
            }
            Self::Snap(edition) => document(&mut json, "snap", edition, None),
            Self::Live { cursor } => text(&mut json, &format!(r#"{{"t":"live","cursor":"{cursor}"}}"#)),
            Self::Full { edition, previous } => document(&mut json, "full", edition, Some(*previous)),
            Self::Delta { edition, base_version, patch, previous } => {
                let head = format!(
                    r#"{{"t":"delta","k":{},"bv":{base_version},"v":{}"#,
                    edition.handle, edition.version
                );
                text(&mut json, &head);
                tail(&mut json, edition.status, edition.seq, Some(*previous));
                text(&mut json, r#","d":"#);
                json.put(patch.clone());
                text(&mut json, "}");
            }
            Self::Gone { handle, seq, previous } => {
                text(
                    &mut json,
                    &format!(r#"{{"t":"gone","k":{handle},"s":{seq},"p":{previous},"why":"INVALIDATED"}}"#),
                );
            }
            Self::Superseded { handle, version, status, seq, previous } => {
                text(&mut json, &format!(r#"{{"t":"superseded","k":{handle},"v":{version}"#));
                tail(&mut json, *status, *seq, Some(*previous));
                text(&mut json, "}");
            }
            Self::Skip { previous, seq, count } => {
                text(&mut json, &format!(r#"{{"t":"skip","p":{previous},"s":{seq},"n":{count}}}"#));
            }
            Self::Heartbeat { seq, at, lag_ms } => {
                let at = at.to_rfc3339();
                text(
                    &mut json,
                    &format!(r#"{{"t":"hb","s":{seq},"at":"{at}","lag_ms":{lag_ms},"stale":[]}}"#),
                );
            }
            Self::Reset { why, cursor } => {
                text(&mut json, &format!(r#"{{"t":"reset","why":"{}","cursor":"{cursor}"}}"#, why.name()));
            }
            Self::Bye { why, retry_ms } => {
                text(&mut json, &format!(r#"{{"t":"bye","why":"{}","retry_ms":{retry_ms}}}"#, why.name()));
            }
        }
        json.freeze()
    }
}

/// Where a document over the limit is read.
#[must_use]
pub fn href(edition: &Edition) -> String {
    format!("/results/v1/documents/{}/{}", edition.handle, edition.seq)
}

/// Lower-case hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut digits, byte| {
        // Writing to a string has no way to fail.
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

fn document(json: &mut BytesMut, name: &str, edition: &Edition, previous: Option<i64>) {
    // Keys were parsed: they hold nothing that cannot be written.
    let key = serde_json::to_string(&edition.key).unwrap_or_default();
    let body = edition.body_in_frame();
    let name = if body.is_some() { name } else { "ref" };
    text(json, &format!(r#"{{"t":"{name}","k":{},"key":{key},"v":{}"#, edition.handle, edition.version));
    tail(json, edition.status, edition.seq, previous);
    match body {
        Some(body) => {
            text(json, r#","b":"#);
            json.put(body.clone());
            text(json, "}");
        }
        None => {
            let (bytes, sha256, href) = (edition.size, hex(&edition.sha256), href(edition));
            text(json, &format!(r#","bytes":{bytes},"sha256":"{sha256}","href":"{href}"}}"#));
        }
    }
}

fn tail(json: &mut BytesMut, status: Option<ResultStatus>, seq: i64, previous: Option<i64>) {
    if let Some(status) = status {
        text(json, &format!(r#","st":"{status}""#));
    }
    text(json, &format!(r#","s":{seq}"#));
    if let Some(previous) = previous {
        text(json, &format!(r#","p":{previous}"#));
    }
}

fn text(json: &mut BytesMut, text: &str) {
    json.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{entry::LARGEST_BODY, header::DocumentKey};

    fn edition(body: &str) -> Arc<Edition> {
        Arc::new(Edition {
            handle: 7,
            key: DocumentKey {
                competition_code: "SYN2030".to_owned(),
                document_code: "ATHM100M--------------FNL-000100--".to_owned(),
                document_subcode: String::new(),
                document_type: "DT_RESULT".to_owned(),
                document_subtype: String::new(),
                language: "ENG".to_owned(),
            },
            document_type: "DT_RESULT".parse().unwrap(),
            version: 3,
            status: Some(ResultStatus::Live),
            seq: 12,
            body: Some(Bytes::from(body.to_owned())),
            size: body.len(),
            sha256: [0xab; 32],
        })
    }

    fn parsed(frame: &Frame) -> Value {
        let json = frame.to_json();
        assert!(!json.contains(&b'\n'));
        serde_json::from_slice(&json).unwrap()
    }

    #[test]
    fn frames_are_json_with_short_names() {
        let snap = parsed(&Frame::Snap(edition(r#"{"a":"1"}"#)));
        assert_eq!(snap["t"], "snap");
        assert_eq!(snap["key"]["document_type"], "DT_RESULT");
        assert_eq!(snap["key"].get("document_subcode"), None);
        assert_eq!(
            (snap["b"].clone(), snap["s"].clone(), snap.get("p")),
            (json!({"a": "1"}), json!(12), None)
        );
        let patch = Bytes::from_static(br#"{"a":"2"}"#);
        let delta = Frame::Delta { edition: edition("{}"), base_version: 2, patch, previous: 11 };
        let expected =
            json!({"t": "delta", "k": 7, "bv": 2, "v": 3, "st": "LIVE", "s": 12, "p": 11, "d": {"a": "2"}});
        assert_eq!(parsed(&delta), expected);
        let cursor = Cursor { epoch: "7f".to_owned(), seq: 12 };
        let others = [
            Frame::Hello { stream: "SYN2030-P".to_owned(), cursor: cursor.clone() },
            Frame::Live { cursor: cursor.clone() },
            Frame::Gone { handle: 1, seq: 2, previous: 1 },
            Frame::Superseded { handle: 1, version: 2, status: None, seq: 2, previous: 1 },
            Frame::Skip { previous: 1, seq: 2, count: 1 },
            Frame::Heartbeat { seq: 1, at: DateTime::UNIX_EPOCH, lag_ms: 3 },
            Frame::Reset { why: ResetCause::CursorAhead, cursor },
            Frame::Bye { why: ByeCause::Drain, retry_ms: 1 },
        ];
        let names: Vec<Value> = others.iter().map(|frame| parsed(frame)["t"].clone()).collect();
        assert_eq!(names, ["hello", "live", "gone", "superseded", "skip", "hb", "reset", "bye"]);
    }

    #[test]
    fn a_large_document_is_a_reference() {
        let large = edition(&format!(r#"{{"a":"{}"}}"#, "x".repeat(LARGEST_BODY)));
        let frame = parsed(&Frame::Full { edition: large, previous: 11 });
        assert_eq!(
            (frame["t"].clone(), frame["href"].clone()),
            (json!("ref"), json!("/results/v1/documents/7/12"))
        );
        assert_eq!(frame.get("b"), None);
    }
}
