use std::io::Write;

use super::{Frame, HEARTBEAT_SECONDS, Raw, Stale, hex, href};
use crate::{document_type::ResultStatus, entry::Edition, lane::Lane};

/// Adds a frame as JSON in one line. Names and cursors hold nothing that JSON would escape.
pub fn write(frame: &Frame, json: &mut Vec<u8>) {
    match frame {
        Frame::Hello { stream, cursor } => {
            put(
                json,
                format_args!(
                    r#"{{"t":"hello","stream":"{stream}","cursor":"{cursor}","hb":{HEARTBEAT_SECONDS}}}"#
                ),
            );
        }
        Frame::Snap { edition, raw } => document(json, "snap", edition, raw.as_ref(), None),
        Frame::Live { cursor } => put(json, format_args!(r#"{{"t":"live","cursor":"{cursor}"}}"#)),
        Frame::Full { edition, previous, raw } => {
            document(json, "full", edition, raw.as_ref(), Some(*previous));
        }
        Frame::Delta { edition, base_version, patch, previous } => {
            let (handle, version) = (edition.handle, edition.version);
            put(json, format_args!(r#"{{"t":"delta","k":{handle},"bv":{base_version},"v":{version}"#));
            status(json, edition.status);
            place(json, edition.seq, Some(*previous), Lane::of(edition.document_type));
            json.extend_from_slice(br#","d":"#);
            json.extend_from_slice(patch);
            json.push(b'}');
        }
        Frame::Gone { handle, seq, previous, lane, why } => {
            put(json, format_args!(r#"{{"t":"gone","k":{handle}"#));
            place(json, *seq, Some(*previous), *lane);
            put(json, format_args!(r#","why":"{}"}}"#, why.name()));
        }
        Frame::Superseded { handle, version, status: now, seq, previous, lane } => {
            put(json, format_args!(r#"{{"t":"superseded","k":{handle},"v":{version}"#));
            status(json, *now);
            place(json, *seq, Some(*previous), *lane);
            json.push(b'}');
        }
        Frame::Skip { previous, seq, count, lane } => {
            put(json, format_args!(r#"{{"t":"skip","p":{previous},"s":{seq},"n":{count}"#));
            name_lane(json, *lane);
            json.push(b'}');
        }
        Frame::Heartbeat { seq, at, lag_ms, stale } => {
            let at = at.to_rfc3339();
            put(json, format_args!(r#"{{"t":"hb","s":{seq},"at":"{at}","lag_ms":{lag_ms},"stale":"#));
            late(json, stale);
            json.push(b'}');
        }
        Frame::Reset { why, cursor } => {
            put(json, format_args!(r#"{{"t":"reset","why":"{}","cursor":"{cursor}"}}"#, why.name()));
        }
        Frame::Bye { why, retry_ms } => {
            put(json, format_args!(r#"{{"t":"bye","why":"{}","retry_ms":{retry_ms}}}"#, why.name()));
        }
    }
}

fn document(json: &mut Vec<u8>, name: &str, edition: &Edition, raw: Option<&Raw>, previous: Option<i64>) {
    let body = match raw {
        Some(raw) => raw.body.as_ref(),
        None => edition.body_in_frame(),
    };
    let name = if body.is_some() { name } else { "ref" };
    put(json, format_args!(r#"{{"t":"{name}","k":{},"key":"#, edition.handle));
    // Keys were parsed: they hold nothing that cannot be written.
    let _ = serde_json::to_writer(&mut *json, &edition.key);
    put(json, format_args!(r#","v":{}"#, edition.version));
    status(json, edition.status);
    place(json, edition.seq, previous, Lane::of(edition.document_type));
    match (body, raw) {
        (Some(body), None) => {
            json.extend_from_slice(br#","b":"#);
            json.extend_from_slice(body);
        }
        (Some(body), Some(_)) => {
            json.extend_from_slice(br#","x":"#);
            // What is no UTF-8 is no XML either, and was not taken.
            let _ = serde_json::to_writer(&mut *json, &String::from_utf8_lossy(body));
        }
        (None, _) => {
            let (bytes, sha256) = raw.map_or((edition.size, edition.sha256), |raw| (raw.size, raw.sha256));
            let (sha256, href) = (hex(&sha256), href(edition, raw));
            put(json, format_args!(r#","bytes":{bytes},"sha256":"{sha256}","href":"{href}""#));
        }
    }
    json.push(b'}');
}

fn status(json: &mut Vec<u8>, status: Option<ResultStatus>) {
    if let Some(status) = status {
        put(json, format_args!(r#","st":"{status}""#));
    }
}

fn place(json: &mut Vec<u8>, seq: i64, previous: Option<i64>, lane: Lane) {
    put(json, format_args!(r#","s":{seq}"#));
    if let Some(previous) = previous {
        put(json, format_args!(r#","p":{previous}"#));
        name_lane(json, lane);
    }
}

// The first lane goes without saying: most frames are its.
fn name_lane(json: &mut Vec<u8>, lane: Lane) {
    if lane.index() > 0 {
        put(json, format_args!(r#","l":{}"#, lane.index()));
    }
}

fn late(json: &mut Vec<u8>, stale: &[Stale]) {
    let rows: Vec<(&str, &str, u32)> =
        stale.iter().map(|late| (&*late.venue, &*late.discipline, late.age_seconds)).collect();
    let _ = serde_json::to_writer(json, &rows);
}

// Writing to memory has no way to fail.
fn put(json: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    let _ = json.write_fmt(text);
}
