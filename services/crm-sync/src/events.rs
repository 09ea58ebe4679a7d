//! Domain changes as facts: the only place that names topics. Ids and codes only, never a person's value.

use domain::{DateTime, EventId, Utc, Uuid};
use outbox::{Fact, Partitions, Topic};
use prost::Message;
use prost_types::Timestamp;
use proto::crmsync::v1::{self as wire, ChunkEnded, RunChanged};

use crate::{
    chunk::Chunk,
    run::{Counts, Run, State},
};

static DELIVERY: Topic = Topic::unordered("kotinos.crmsync.delivery.v1", Partitions::DEFINITION);

/// Every topic that this service writes.
pub static TOPICS: &[&Topic] = &[&DELIVERY];

/// A run changed its state.
#[must_use]
pub fn run_changed(run: &Run, at: DateTime<Utc>) -> Fact {
    let changed = RunChanged {
        run_id: run.run_id.to_string(),
        object_id: run.object_id.to_string(),
        destination_id: run.destination_id.to_string(),
        state: run.state.name().to_owned(),
        counts: Some(run_counts(run.counts)),
        at: Some(timestamp(at)),
        failure: run.failure.clone().unwrap_or_default(),
    };
    let fact_type = match run.state {
        State::Planned => "RunPlanned",
        State::Running => "RunStarted",
        State::Settled => "RunSettled",
        State::Failed => "RunFailed",
    };
    fact(run.object_id, fact_type, changed.encode_to_vec(), at)
}

/// A chunk was settled, with what became of its rows, or given up.
#[must_use]
pub fn chunk_ended(chunk: &Chunk, destination_id: Uuid, settled: Option<Counts>, at: DateTime<Utc>) -> Fact {
    let fact_type = if settled.is_some() { "ChunkSettled" } else { "ChunkAbandoned" };
    let counts = settled.unwrap_or_default();
    let ended = ChunkEnded {
        chunk_id: chunk.chunk_id.to_string(),
        run_id: chunk.run_id.map(|id| id.to_string()).unwrap_or_default(),
        object_id: chunk.object_id.to_string(),
        destination_id: destination_id.to_string(),
        lane: chunk.lane.name().to_owned(),
        delivered: counts.delivered,
        ceased: counts.ceased,
        failed: counts.failed,
        at: Some(timestamp(at)),
    };
    fact(chunk.object_id, fact_type, ended.encode_to_vec(), at)
}

fn fact(object_id: Uuid, fact_type: &'static str, payload: Vec<u8>, at: DateTime<Utc>) -> Fact {
    Fact {
        topic: &DELIVERY,
        key: object_id.to_string(),
        fact_type,
        payload: Some(payload),
        version: 0,
        occurred_at: at,
        event_id: EventId::new(),
    }
}

pub(crate) fn run_counts(counts: Counts) -> wire::RunCounts {
    let Counts { rows, delivered, unchanged, withheld, ceased, failed } = counts;
    wire::RunCounts { rows, delivered, unchanged, withheld, ceased, failed }
}

pub(crate) fn timestamp(at: DateTime<Utc>) -> Timestamp {
    Timestamp { seconds: at.timestamp(), nanos: at.timestamp_subsec_nanos().cast_signed() }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
