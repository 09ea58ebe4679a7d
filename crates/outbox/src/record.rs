#[cfg(test)]
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use chrono::{DateTime, Datelike, Utc};
use domain::EventId;
use rdkafka::message::{BorrowedMessage, Header, Headers, Message};
use tracing::Span;

use crate::trace::{self, Carried};

// Whoever may write to a topic may write anything. What is longer than `append` lets through is refused here: a key that
// does not fit the index of parked records could be neither taken in nor parked, and its partition would stand still.
const LONGEST_KEY: usize = 512;
// Headers are not counted where records queue up in memory, so each that is kept has a bound.
const LONGEST_TYPE: usize = 256;
const LONGEST_TRACEPARENT: usize = 256;
const LONGEST_TRACESTATE: usize = 8 * 1024;

/// A fact as it arrived.
#[derive(Debug, Clone)]
pub struct Record {
    /// Without a prefix.
    pub topic: String,
    /// Partition of the topic.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
    /// The aggregate's id.
    pub key: String,
    /// Protocol buffers; none is a tombstone.
    pub payload: Option<Bytes>,
    /// `ce_id`
    pub event_id: EventId,
    /// `ce_type`; which types matter is the handler's business.
    pub fact_type: String,
    /// `kotinos_version`: of a key the highest one counts. Its high bits are the schema's generation.
    pub version: i64,
    /// `ce_time`
    pub occurred_at: DateTime<Utc>,
    pub(crate) carried: Option<Carried>,
}

/// Records of one partition, in order.
#[derive(Debug, Clone)]
pub struct Batch {
    /// At least one, at most 500, and no fact twice.
    pub records: Vec<Record>,
}

impl Batch {
    /// The ids of its facts, for [`crate::inbox::claim`].
    #[must_use]
    pub fn event_ids(&self) -> Vec<EventId> {
        self.records.iter().map(|record| record.event_id).collect()
    }
}

impl Record {
    /// The trace of the request that made it true, as a `traceparent`; none where nothing was traced.
    #[must_use]
    pub fn traceparent(&self) -> Option<&str> {
        self.carried.as_ref().map(|carried| carried.traceparent.as_str())
    }

    /// A CONSUMER span `process <topic>`, child of the producer's span and linked to it. Work on the record is
    /// instrumented with it, so that what it appends goes on in the same trace.
    #[must_use]
    pub fn span(&self) -> Span {
        let span = tracing::info_span!(
            "process",
            otel.name = format!("process {}", self.topic),
            otel.kind = "consumer",
            messaging.system = "kafka",
            messaging.operation.name = "process",
            messaging.operation.type = "process",
            messaging.destination.name = %self.topic,
            messaging.destination.partition.id = self.partition,
            messaging.kafka.offset = self.offset,
            messaging.message.id = %self.event_id,
        );
        let carried =
            self.carried.as_ref().and_then(|at| trace::parse(&at.traceparent, at.tracestate.as_deref()));
        if let Some(context) = carried {
            trace::continue_from(&span, context, true);
        }
        span
    }

    /// Reads a message of Kafka; the error says which part of the envelope is wrong.
    pub(crate) fn read(message: &BorrowedMessage<'_>, prefix: &str) -> Result<Self, &'static str> {
        let headers = message.headers().map_or(Some(Vec::new()), all).ok_or("headers")?;
        Self::of(&Parts {
            topic: message.topic().strip_prefix(prefix).unwrap_or(message.topic()),
            partition: message.partition(),
            offset: message.offset(),
            key: message.key(),
            payload: message.payload(),
            headers: &headers,
        })
    }

    /// The same of a message in parts.
    pub(crate) fn of(parts: &Parts<'_>) -> Result<Self, &'static str> {
        let key = parts.key.and_then(text).ok_or("key")?;
        if key.is_empty() || key.len() > LONGEST_KEY {
            return Err("key");
        }
        let header = |name: &str| {
            let found = parts.headers.iter().find(|header| header.key == name)?;
            text(found.value?)
        };
        let required = |name: &'static str| header(name).ok_or(name);
        let event_id = required("ce_id")?.parse().map_err(|_| "ce_id")?;
        let fact_type = required("ce_type")?;
        if fact_type.len() > LONGEST_TYPE {
            return Err("ce_type");
        }
        let version: i64 = required("kotinos_version")?.parse().map_err(|_| "kotinos_version")?;
        if version < 0 {
            return Err("kotinos_version");
        }
        let occurred_at = DateTime::parse_from_rfc3339(required("ce_time")?).map_err(|_| "ce_time")?.to_utc();
        // An offset can lead out of the years that it can be written in again.
        if !(0..=9999).contains(&occurred_at.year()) {
            return Err("ce_time");
        }
        let tracestate = header("tracestate").filter(|state| state.len() <= LONGEST_TRACESTATE);
        let traceparent = header("traceparent").filter(|parent| parent.len() <= LONGEST_TRACEPARENT);
        Ok(Self {
            topic: parts.topic.to_owned(),
            partition: parts.partition,
            offset: parts.offset,
            key: key.to_owned(),
            payload: parts.payload.map(Bytes::copy_from_slice),
            event_id,
            fact_type: fact_type.to_owned(),
            version,
            occurred_at,
            carried: traceparent.map(|traceparent| Carried {
                traceparent: traceparent.to_owned(),
                tracestate: tracestate.map(str::to_owned),
            }),
        })
    }
}

/// A message of Kafka as it stands there, under a topic without its prefix. Of headers of one name the first counts.
pub(crate) struct Parts<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) payload: Option<&'a [u8]>,
    pub(crate) headers: &'a [Header<'a, &'a [u8]>],
}

// PostgreSQL's text holds no NUL.
fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
}

// None when a name is not UTF-8: the client panics over it instead of saying so, which would end the polling thread, and
// with it the process, again after each start. Nothing is half done when it unwinds.
fn all<H: Headers>(headers: &H) -> Option<Vec<Header<'_, &[u8]>>> {
    catch_unwind(AssertUnwindSafe(|| headers.iter().collect())).ok()
}
