//! What others are told, on Kafka: the only place that names topics.

mod entries;

use domain::{DateTime, EventId, Utc};
use outbox::{Fact, Partitions, Topic};
use prost::Message;
use prost_types::Timestamp;
use proto::results::v1 as wire;

use crate::{
    document_type::ResultStatus,
    entry::LARGEST_BODY,
    frame::hex,
    header::DocumentKey,
    ledger::{Kind, Row},
    medal,
    result::Line,
    rsc::Rsc,
    stream_name::StreamName,
    unit_schedule::UnitSchedule,
};

static DOCUMENT: Topic = Topic::ordered("kotinos.results.document.v1", Partitions::DEFINITION).retain_days(1);
static REHEARSAL: Topic =
    Topic::ordered("kotinos.results.rehearsal.v1", Partitions::DEFINITION).retain_days(1);
/// Schedules of units, whole.
pub static SCHEDULE: Topic = Topic::state("kotinos.results.schedule.v1", Partitions::DEFINITION);
static RESULT: Topic = Topic::ordered("kotinos.results.result.v1", Partitions::DEFINITION);
static MEDAL: Topic = Topic::ordered("kotinos.results.medal.v1", Partitions::DEFINITION);

/// Where the entries of streams are told.
pub static ENTRY_TOPICS: [&str; 2] = [DOCUMENT.name(), REHEARSAL.name()];

pub use entries::read_document_entry;

/// Every topic that this service writes.
pub static TOPICS: &[&Topic] = &[&DOCUMENT, &REHEARSAL, &SCHEDULE, &RESULT, &MEDAL];

/// Most medals of one version of a document that are told of: a relay team is one competitor, so no event has more.
pub const MOST_MEDALS: usize = 200;
/// Most lines of a result in a fact, and most characters of a field: a fact has a limit, a document hardly.
const MOST_LINES: usize = 1_000;
const LONGEST: usize = 80;

/// Where an entry is.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Which stream.
    pub name: StreamName,
    /// Its id, such as `SYN2030-P`.
    pub stream: &'a str,
    /// Of the stream.
    pub epoch: &'a str,
    /// Short name of the document.
    pub handle: i64,
    /// Until when embargoes are over there.
    pub released_until: DateTime<Utc>,
}

/// An entry of the log about a document.
#[must_use]
pub fn document_entry(place: &Place<'_>, row: &Row, at: DateTime<Utc>) -> Fact {
    let canonical = row.canonical.as_ref().filter(|bytes| bytes.len() <= LARGEST_BODY);
    let entry = wire::DocumentEntry {
        stream: place.stream.to_owned(),
        epoch: place.epoch.to_owned(),
        seq: row.seq,
        document_id: row.document_id.to_string(),
        key: Some(document_key(&row.key)),
        version: row.version,
        result_status: status(row.status),
        source: row.source.clone(),
        received_at: Some(timestamp(at)),
        canonical: canonical.map(|bytes| bytes.to_vec()).unwrap_or_default(),
        sha256: row.sha256.map(|digest| hex(&digest)).unwrap_or_default(),
        handle: place.handle,
        base: row.base.as_ref().map(|base| wire::DocumentBase {
            version: base.version,
            result_status: status(base.status),
            seq: base.seq,
            nocs: base.facts.nocs.iter().map(ToString::to_string).collect(),
            status_since: Some(timestamp(base.facts.status_since)),
            received_at: Some(timestamp(base.facts.received_at)),
        }),
        patch: row.patch.as_ref().map(|patch| patch.to_vec()).unwrap_or_default(),
        conflatable: row.conflatable,
        canonical_bytes: row.canonical.as_ref().map_or(0, |bytes| bytes.len() as u64),
        nocs: row.facts.nocs.iter().map(ToString::to_string).collect(),
        status_since: Some(timestamp(row.facts.status_since)),
        released_until: Some(timestamp(place.released_until)),
    };
    let fact_type = match row.kind {
        Kind::Document => entries::ACCEPTED,
        Kind::Invalidation => entries::INVALIDATED,
        Kind::Late => entries::LATE,
    };
    let topic = match place.name {
        StreamName::Production => &DOCUMENT,
        StreamName::Test | StreamName::Rehearsal(_) => &REHEARSAL,
    };
    fact(topic, row.document_id.to_string(), fact_type, entry.encode_to_vec(), row.seq, at)
}

/// The schedule of a unit after a change.
#[must_use]
pub fn unit_schedule_changed(unit: &UnitSchedule) -> Fact {
    let announced = &unit.announced;
    let state = wire::UnitScheduleState {
        unit: unit.unit.to_string(),
        version: unit.version,
        schedule_status: announced.status.clone(),
        start: announced.start.map(timestamp),
        end: announced.end.map(timestamp),
        previous_start: unit.previous_start.map(timestamp),
        venue: announced.venue.clone(),
        location: announced.location.clone(),
        changed_at: Some(timestamp(unit.changed_at)),
    };
    let key = unit.unit.to_string();
    fact(&SCHEDULE, key, "UnitScheduleChanged", state.encode_to_vec(), unit.version, unit.changed_at)
}

/// A result is official. Facts of a unit are ordered by their place in the stream.
#[must_use]
pub fn result_became_official(
    unit: &Rsc,
    row: &Row,
    correction: bool,
    lines: &[Line],
    at: DateTime<Utc>,
) -> Fact {
    let official = wire::ResultBecameOfficial {
        unit: unit.to_string(),
        document_version: row.version,
        seq: row.seq,
        correction,
        lines: lines.iter().take(MOST_LINES).map(result_line).collect(),
        at: Some(timestamp(at)),
    };
    fact(&RESULT, unit.to_string(), "ResultBecameOfficial", official.encode_to_vec(), row.seq, at)
}

/// An official result stands no longer.
#[must_use]
pub fn result_withdrawn(unit: &Rsc, row: &Row, after: Option<ResultStatus>, at: DateTime<Utc>) -> Fact {
    let withdrawn = wire::ResultWithdrawn {
        unit: unit.to_string(),
        document_version: row.version,
        seq: row.seq,
        result_status: status(after),
        at: Some(timestamp(at)),
    };
    fact(&RESULT, unit.to_string(), "ResultWithdrawn", withdrawn.encode_to_vec(), row.seq, at)
}

/// A medal was awarded or withdrawn.
#[must_use]
pub fn medal_changed(event: &Rsc, seq: i64, change: &medal::Change, at: DateTime<Utc>) -> Fact {
    let (fact_type, payload) = match change {
        medal::Change::Awarded(medal) => {
            let awarded = wire::MedalAwarded {
                event: event.to_string(),
                medal: medal.medal.clone(),
                competitor_code: cut(&medal.competitor_code),
                noc: cut(&medal.noc),
                seq,
                at: Some(timestamp(at)),
            };
            ("MedalAwarded", awarded.encode_to_vec())
        }
        medal::Change::Withdrawn(medal) => {
            let withdrawn = wire::MedalWithdrawn {
                event: event.to_string(),
                medal: medal.medal.clone(),
                competitor_code: cut(&medal.competitor_code),
                noc: cut(&medal.noc),
                seq,
                at: Some(timestamp(at)),
            };
            ("MedalWithdrawn", withdrawn.encode_to_vec())
        }
    };
    fact(&MEDAL, event.to_string(), fact_type, payload, seq, at)
}

/// A document's identity on the wire.
#[must_use]
pub fn document_key(key: &DocumentKey) -> wire::DocumentKey {
    wire::DocumentKey {
        competition_code: key.competition_code.clone(),
        document_code: key.document_code.clone(),
        document_subcode: key.document_subcode.clone(),
        document_type: key.document_type.clone(),
        document_subtype: key.document_subtype.clone(),
        language: key.language.clone(),
    }
}

/// A status on the wire; empty for none.
#[must_use]
pub fn status(status: Option<ResultStatus>) -> String {
    status.map(|status| status.name().to_owned()).unwrap_or_default()
}

/// A time on the wire.
#[must_use]
pub fn timestamp(at: DateTime<Utc>) -> Timestamp {
    Timestamp { seconds: at.timestamp(), nanos: at.timestamp_subsec_nanos().cast_signed() }
}

fn result_line(line: &Line) -> wire::ResultLine {
    wire::ResultLine {
        competitor_code: cut(&line.competitor_code),
        noc: cut(&line.noc),
        rank: cut(&line.rank),
        mark: cut(&line.mark),
        irm: cut(&line.irm),
    }
}

fn cut(text: &str) -> String {
    text.chars().take(LONGEST).collect()
}

fn fact(
    topic: &'static Topic,
    key: String,
    fact_type: &'static str,
    payload: Vec<u8>,
    version: i64,
    occurred_at: DateTime<Utc>,
) -> Fact {
    Fact { topic, key, fact_type, payload: Some(payload), version, occurred_at, event_id: EventId::new() }
}
