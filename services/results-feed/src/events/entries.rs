//! Entries of the log as another replica told of them.

use std::sync::Arc;

use domain::{DateTime, Noc, Utc};
use outbox::Record;
use prost::Message as _;
use prost_types::Timestamp;
use proto::results::v1 as wire;

use crate::{
    document_type::ResultStatus,
    entitlement::Facts,
    entry::{Base, Change, Edition, Entry, What, Withdrawal},
    header::DocumentKey,
};

pub(super) const ACCEPTED: &str = "DocumentAccepted";
pub(super) const INVALIDATED: &str = "DocumentInvalidated";
pub(super) const LATE: &str = "DocumentCameLate";

/// What a record tells of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Which stream.
    pub stream: String,
    /// Its epoch then.
    pub epoch: String,
    /// Of the entry.
    pub seq: i64,
    /// The entry; none where an older version of this service wrote less than a reader needs.
    pub entry: Option<Entry>,
}

/// Reads a record of [`super::ENTRY_TOPICS`]; nothing where it is no entry.
#[must_use]
pub fn read_document_entry(record: &Record) -> Option<Told> {
    let wire = wire::DocumentEntry::decode(record.payload.clone()?).ok()?;
    let (stream, epoch, seq) = (wire.stream.clone(), wire.epoch.clone(), wire.seq);
    let traceparent = record.traceparent().map(str::to_owned);
    let received_at = wire.received_at.as_ref().and_then(at);
    let released_until = wire.released_until.as_ref().and_then(at);
    let entry = received_at.zip(released_until).zip(what(&record.fact_type, wire));
    let entry = entry.map(|((received_at, released_until), what)| Entry {
        seq,
        received_at,
        released_until,
        what,
        traceparent,
    });
    Some(Told { stream, epoch, seq, entry })
}

fn what(fact_type: &str, wire: wire::DocumentEntry) -> Option<What> {
    if fact_type == LATE {
        return Some(What::Late);
    }
    let (handle, key) = (wire.handle, key(wire.key?));
    if handle == 0 {
        return None;
    }
    let document_type = key.document_type.parse().ok()?;
    let base = match wire.base {
        Some(base) => {
            let facts = facts(&base.nocs, base.status_since.as_ref(), base.received_at.as_ref())?;
            Some(Base { version: base.version, status: status(&base.result_status)?, seq: base.seq, facts })
        }
        None => None,
    };
    match fact_type {
        INVALIDATED => Some(What::Gone(Withdrawal { handle, key, document_type, base })),
        ACCEPTED => {
            let edition = Edition {
                handle,
                key,
                document_type,
                version: wire.version,
                status: status(&wire.result_status)?,
                seq: wire.seq,
                body: Some(wire.canonical).filter(|body| !body.is_empty()).map(Into::into),
                size: usize::try_from(wire.canonical_bytes).ok()?,
                sha256: digest(&wire.sha256)?,
                facts: facts(&wire.nocs, wire.status_since.as_ref(), wire.received_at.as_ref())?,
            };
            let patch = Some(wire.patch).filter(|patch| !patch.is_empty()).map(Into::into);
            Some(What::Edition(Change {
                edition: Arc::new(edition),
                base,
                patch,
                conflatable: wire.conflatable,
            }))
        }
        _ => None,
    }
}

fn key(wire: wire::DocumentKey) -> DocumentKey {
    DocumentKey {
        competition_code: wire.competition_code,
        document_code: wire.document_code,
        document_subcode: wire.document_subcode,
        document_type: wire.document_type,
        document_subtype: wire.document_subtype,
        language: wire.language,
    }
}

fn facts(nocs: &[String], since: Option<&Timestamp>, received: Option<&Timestamp>) -> Option<Facts> {
    let nocs: Option<Vec<Noc>> = nocs.iter().map(|noc| noc.parse().ok()).collect();
    Some(Facts { nocs: nocs?.into(), status_since: at(since?)?, received_at: at(received?)? })
}

#[expect(clippy::option_option, reason = "none: a status that is not known; some none: no status")]
fn status(name: &str) -> Option<Option<ResultStatus>> {
    if name.is_empty() { Some(None) } else { name.parse().ok().map(Some) }
}

fn digest(hex: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if hex.len() != 2 * bytes.len() {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(hex.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

fn at(wire: &Timestamp) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(wire.seconds, u32::try_from(wire.nanos).ok()?)
}
