use bytes::Bytes;
use chrono::{DateTime, Utc};
use domain::EventId;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use tracing::Span;

use crate::trace::{self, Carried};

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
    /// At least one, at most 500.
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
        // PostgreSQL's text holds no NUL.
        let text = |bytes| std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0'));
        let key = message.key().and_then(text).ok_or("key")?;
        let header = |name: &str| {
            let headers = message.headers()?;
            let found = headers.iter().find(|header| header.key == name)?;
            text(found.value?)
        };
        let required = |name: &'static str| header(name).ok_or(name);
        let traceparent = header("traceparent").map(|traceparent| Carried {
            traceparent: traceparent.to_owned(),
            tracestate: header("tracestate").map(str::to_owned),
        });
        Ok(Self {
            topic: message.topic().strip_prefix(prefix).unwrap_or(message.topic()).to_owned(),
            partition: message.partition(),
            offset: message.offset(),
            key: key.to_owned(),
            payload: message.payload().map(Bytes::copy_from_slice),
            event_id: required("ce_id")?.parse().map_err(|_| "ce_id")?,
            fact_type: required("ce_type")?.to_owned(),
            version: required("kotinos_version")?.parse().map_err(|_| "kotinos_version")?,
            occurred_at: DateTime::parse_from_rfc3339(required("ce_time")?).map_err(|_| "ce_time")?.to_utc(),
            carried: traceparent,
        })
    }
}
