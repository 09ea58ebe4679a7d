//! All SQL. Domain types in and out.
//! Each operation is a span, but for those that a loop repeats without work.

mod access;
mod documents;
mod gaps;
mod log;
mod quarantine;
mod schedule;

pub use access::{
    StoredKey, find_key, insert_key, list_keys, load_entitlement, load_entitlement_for_update, revoke_key,
    save_entitlement,
};
pub use documents::{
    Found, find_by_code, find_edition, list_editions, load_heads, newest_medal_standings, save_heads,
};
pub use gaps::{Serial, SerialGap, VersionGap, insert_serials, list_serial_gaps, list_version_gaps};
pub use log::{
    Position, insert_entitlement_entry, insert_rows, list_after, lock_stream, make_streams, oldest_seq,
    position, renew_epoch, save_seq,
};
pub use quarantine::{
    Quarantined, delete_quarantined, find_quarantined, insert_quarantined, list_quarantined,
};
pub use schedule::{UnitState, find_unit, list_units, load_schedules, page_schedules, save_schedules};

use crate::{
    Error,
    document::Sha256,
    document_type::{DocumentType, ResultStatus},
    entry::LARGEST_BODY,
    rsc::Prefix,
};

// Lists leave out larger bodies.
#[expect(clippy::cast_possible_truncation, reason = "256 KiB")]
const LARGEST: i32 = LARGEST_BODY as i32;

// What `like any` takes. A prefix holds nothing that `like` would take for a pattern.
fn patterns(prefixes: &[Prefix]) -> Vec<String> {
    match prefixes {
        [] => vec!["%".to_owned()],
        some => some.iter().map(|prefix| format!("{}%", prefix.as_str())).collect(),
    }
}

fn digest(bytes: &[u8]) -> Result<Sha256, Error> {
    bytes.try_into().map_err(|_| Error::Corrupt { what: "sha256" })
}

fn size(octets: Option<i32>) -> Result<usize, Error> {
    octets.and_then(|octets| usize::try_from(octets).ok()).ok_or(Error::Corrupt { what: "canonical" })
}

fn status(name: Option<String>) -> Result<Option<ResultStatus>, Error> {
    match name {
        Some(name) => name.parse().map(Some).map_err(|_| Error::Corrupt { what: "result_status" }),
        None => Ok(None),
    }
}

fn document_type(name: &str) -> Result<DocumentType, Error> {
    name.parse().map_err(|_| Error::Corrupt { what: "document_type" })
}
