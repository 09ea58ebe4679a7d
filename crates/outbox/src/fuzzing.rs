//! Doors for the targets in `fuzz/` to what reads the bytes of others. Compiled with `--cfg fuzzing` alone, and never part of
//! a program.

use domain::Service;
use opentelemetry::trace::SpanContext;
use rdkafka::message::{Header, Headers as _};

use crate::{
    Record, delivery,
    fact::VERSION_BITS,
    lease::Row,
    record::Parts,
    trace::{self, Carried},
};

/// A header of Kafka: name and value.
pub type Named<'a> = (&'a str, Option<&'a [u8]>);

/// Reads a message of Kafka in parts.
///
/// # Errors
/// The part that is wrong.
pub fn record(
    key: Option<&[u8]>,
    payload: Option<&[u8]>,
    headers: &[Named<'_>],
) -> Result<Record, &'static str> {
    let headers: Vec<_> = headers.iter().map(|(key, value)| Header { key, value: *value }).collect();
    Record::of(&Parts { topic: "a.b.v1", partition: 3, offset: 4, key, payload, headers: &headers })
}

/// The headers that the relay would give a fact that says the same.
pub fn printed(record: &Record) -> Vec<(String, Option<Vec<u8>>)> {
    let generation = i32::try_from(record.version >> VERSION_BITS).unwrap_or_default();
    let row = Row {
        position: 1,
        seq: 1,
        id: record.event_id.0,
        topic: record.topic.clone(),
        key: record.key.clone(),
        fact_type: record.fact_type.clone(),
        payload: record.payload.as_ref().map(|payload| payload.to_vec()),
        version: record.version & ((1 << VERSION_BITS) - 1),
        occurred_at: record.occurred_at,
        traceparent: None,
        tracestate: None,
    };
    let headers = delivery::headers(&row, Service::Profile, generation, record.carried.as_ref());
    headers.iter().map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect()
}

/// `traceparent` and `tracestate` that a record carries.
pub fn carried(record: &Record) -> Option<(&str, Option<&str>)> {
    let Carried { traceparent, tracestate } = record.carried.as_ref()?;
    Some((traceparent, tracestate.as_deref()))
}

/// Reads a trace context and prints it again.
pub fn trace(traceparent: &str, tracestate: Option<&str>) -> Option<(String, String)> {
    let context: SpanContext = trace::parse(traceparent, tracestate)?;
    let (trace, span, flags) = (context.trace_id(), context.span_id(), context.trace_flags().to_u8());
    Some((format!("00-{trace}-{span}-{flags:02x}"), context.trace_state().header()))
}
