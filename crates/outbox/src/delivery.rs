//! A row of the outbox as a record of Kafka.

use chrono::SecondsFormat;
use domain::Service;
use opentelemetry::trace::Status;
use rdkafka::message::{Header, OwnedHeaders};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::{
    fact::VERSION_BITS,
    lease::Row,
    trace::{self, Carried},
};

/// The headers of a record: CloudEvents 1.0 (Kafka protocol binding 3.2, binary mode), the key's version, the trace.
pub(crate) fn headers(
    row: &Row,
    service: Service,
    generation: i32,
    carried: Option<&Carried>,
) -> OwnedHeaders {
    // After a restore the generation rises, so that readers do not drop new writes as older than those they saw.
    let version = (i64::from(generation) << VERSION_BITS) | row.version;
    let mut headers = OwnedHeaders::new_with_capacity(11)
        .insert(text("ce_specversion", "1.0"))
        .insert(text("ce_id", &row.id.to_string()))
        .insert(text("ce_type", &row.fact_type))
        .insert(text("ce_source", &format!("/kotinos/{}", service.name())))
        .insert(text("ce_time", &row.occurred_at.to_rfc3339_opts(SecondsFormat::Micros, true)))
        .insert(text("ce_subject", &row.key))
        .insert(text("content-type", "application/protobuf"))
        .insert(text("kotinos_version", &version.to_string()));
    if let Some(carried) = carried {
        headers = headers.insert(text("traceparent", &carried.traceparent));
        if let Some(state) = &carried.tracestate {
            headers = headers.insert(text("tracestate", state));
        }
    }
    headers
}

fn text<'a>(key: &'a str, value: &'a str) -> Header<'a, &'a str> {
    Header { key, value: Some(value) }
}

/// A PRODUCER span under the context that the row was appended in, and the context for the record's headers: the
/// span's, or the row's own when it is not sampled.
pub(crate) fn publish_span(row: &Row) -> (Option<Span>, Option<Carried>) {
    let Some(traceparent) = row.traceparent.clone() else { return (None, None) };
    let carried = Carried { traceparent, tracestate: row.tracestate.clone() };
    let Some(context) = trace::parse(&carried.traceparent, carried.tracestate.as_deref()) else {
        return (None, None);
    };
    if !context.is_sampled() {
        return (None, Some(carried));
    }
    let span = tracing::info_span!(
        parent: None,
        "publish",
        otel.name = format!("publish {}", row.topic),
        otel.kind = "producer",
        messaging.system = "kafka",
        messaging.operation.name = "publish",
        messaging.operation.type = "send",
        messaging.destination.name = %row.topic,
        messaging.message.id = %row.id,
    );
    trace::continue_from(&span, context, false);
    let carried = trace::of(&span).unwrap_or(carried);
    (Some(span), Some(carried))
}

pub(crate) fn failed(span: &Span, error: &rdkafka::error::KafkaError) {
    span.set_status(Status::error(error.to_string()));
}
