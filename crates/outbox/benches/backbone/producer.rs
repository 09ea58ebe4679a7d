//! Kafka's client as everybody has it, without an outbox.

use anyhow::Result;
use chrono::{DateTime, SecondsFormat, Utc};
use domain::{Clock, Uuid};
use rdkafka::{
    ClientConfig,
    error::{KafkaError, RDKafkaErrorCode},
    message::{Header, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer as _},
};

use crate::{notes, rows::KEYS, surroundings::client};

/// The settings of our relay's producer.
pub fn config(brokers: &str) -> ClientConfig {
    let mut config = client(brokers);
    config
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("partitioner", "murmur2_random")
        .set("compression.type", "lz4")
        .set("linger.ms", "5");
    config
}

/// The headers of our own records.
pub fn headers(
    id: Uuid,
    fact_type: &str,
    (key, version): (&str, i64),
    occurred_at: DateTime<Utc>,
    traceparent: Option<&str>,
) -> OwnedHeaders {
    let (id, version) = (id.to_string(), version.to_string());
    let time = occurred_at.to_rfc3339_opts(SecondsFormat::Micros, true);
    let mut headers = OwnedHeaders::new_with_capacity(9);
    for (key, value) in [
        ("ce_specversion", "1.0"),
        ("ce_id", &id),
        ("ce_type", fact_type),
        ("ce_source", "/kotinos/mailer"),
        ("ce_time", &time),
        ("ce_subject", key),
        ("content-type", "application/protobuf"),
        ("kotinos_version", &version),
    ] {
        headers = headers.insert(Header { key, value: Some(value) });
    }
    match traceparent {
        Some(traceparent) => headers.insert(Header { key: "traceparent", value: Some(traceparent) }),
        None => headers,
    }
}

/// Sends so many records as fast as the client can; it returns when all are acknowledged.
pub fn produce(brokers: &str, topic: &str, records: i64) -> Result<()> {
    let producer: BaseProducer = config(brokers).create()?;
    let now = Clock::system().now();
    for number in 0..records {
        let (key, version) = (format!("fan-{}", number % KEYS), number / KEYS + 1);
        let payload = notes::payload(number);
        let headers = headers(domain::new_id(), "CampaignScheduled", (&key, version), now, None);
        let mut record = BaseRecord::to(topic).key(&key).payload(&payload).headers(headers);
        while let Err((error, back)) = producer.send(record) {
            if error != KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) {
                return Err(error.into());
            }
            record = back;
            producer.poll(std::time::Duration::from_millis(5));
        }
        producer.poll(std::time::Duration::ZERO);
    }
    Ok(producer.flush(std::time::Duration::from_secs(60))?)
}
