//! From a committed transaction to a record.

use domain::{DateTime, TimeDelta, Utc};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::SdkTracerProvider;
use outbox::MAX_FACT_BYTES;
use testkit::{CaughtRecord, records_in_outbox};
use tracing::{Instrument as _, instrument::WithSubscriber as _};
use tracing_subscriber::layer::SubscriberExt as _;

use crate::{
    broker,
    world::{ORDERED, SERVICE, STATES, UNORDERED, World, fact, facts, records},
};

fn texts(records: &[CaughtRecord]) -> Vec<String> {
    records.iter().map(|record| String::from_utf8(record.payload.clone().unwrap()).unwrap()).collect()
}

#[tokio::test]
async fn a_committed_fact_arrives_with_its_key_and_envelope() {
    let world = World::new().await;
    let relay = world.relay().await;
    let mut told = fact(&STATES, "opening-ceremony", 7);
    told.occurred_at = DateTime::from_timestamp_micros(1_900_000_000_123_456).unwrap();
    world.tell(std::slice::from_ref(&told)).await;
    let record = records(&relay, &STATES, 1).await.remove(0);
    assert_eq!((record.topic.as_str(), record.key.as_str()), (STATES.name(), "opening-ceremony"));
    assert_eq!(record.payload.as_deref(), Some(b"opening-ceremony 7".as_slice()));
    let expected = [
        ("ce_id", told.event_id.to_string()),
        ("ce_source", "/kotinos/mailer".to_owned()),
        ("ce_specversion", "1.0".to_owned()),
        ("ce_subject", "opening-ceremony".to_owned()),
        ("ce_time", "2030-03-17T17:46:40.123456Z".to_owned()),
        ("ce_type", "CampaignScheduled".to_owned()),
        ("content-type", "application/protobuf".to_owned()),
        ("kotinos_version", "7".to_owned()),
    ];
    // Nothing was traced, so there is no context.
    let found: Vec<(&str, String)> =
        record.headers.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    assert_eq!(found, expected);
    relay.stop().await;
    world.end().await;
}

#[tokio::test]
async fn a_rolled_back_fact_never_arrives() {
    let world = World::new().await;
    let relay = world.relay().await;
    let mut tx = world.db.pool.begin().await.unwrap();
    outbox::append(&mut tx, SERVICE, &fact(&ORDERED, "alice", 1)).await.unwrap();
    tx.rollback().await.unwrap();
    // A savepoint that is rolled back inside a transaction that commits.
    let mut tx = world.db.pool.begin().await.unwrap();
    sqlx::raw_sql("savepoint before").execute(&mut *tx).await.unwrap();
    outbox::append(&mut tx, SERVICE, &fact(&ORDERED, "alice", 2)).await.unwrap();
    sqlx::raw_sql("rollback to before").execute(&mut *tx).await.unwrap();
    outbox::append(&mut tx, SERVICE, &fact(&ORDERED, "alice", 3)).await.unwrap();
    tx.commit().await.unwrap();
    world.tell(&[fact(&ORDERED, "alice", 4)]).await;
    assert_eq!(texts(&records(&relay, &ORDERED, 2).await), ["alice 3", "alice 4"]);
    relay.stop().await;
    world.end().await;
}

#[tokio::test]
async fn a_tombstone_keeps_its_envelope() {
    let world = World::new().await;
    let relay = world.relay().await;
    let mut gone = fact(&STATES, "alice", 2);
    gone.payload = None;
    world.tell(&[fact(&STATES, "alice", 1), gone.clone()]).await;
    let records = records(&relay, &STATES, 2).await;
    assert_eq!(records[0].payload.as_deref(), Some(b"alice 1".as_slice()));
    assert_eq!(records[1].payload, None);
    assert_eq!(records[1].headers["ce_id"], gone.event_id.to_string());
    assert_eq!(records[1].headers["kotinos_version"], "2");
    relay.stop().await;
    world.end().await;
}

#[tokio::test]
async fn facts_that_were_told_before_anybody_sent_arrive_in_order() {
    let world = World::new().await;
    let keys = ["alice", "bob", "carol"];
    // More than a page, in many transactions and in one.
    for chunk in facts(&ORDERED, &keys, 100).chunks(3) {
        world.tell(chunk).await;
    }
    world.tell(&facts(&ORDERED, &keys, 2_100)[300..]).await;
    let relay = world.relay().await;
    let records = records(&relay, &ORDERED, 6_300).await;
    assert_eq!(records.len(), 6_300, "without a fault nothing is repeated");
    for key in keys {
        let versions: Vec<i64> = records
            .iter()
            .filter(|record| record.key == key)
            .map(|record| record.headers["kotinos_version"].parse().unwrap())
            .collect();
        assert!(versions.is_sorted() && versions.len() == 2_100, "{key}: {versions:?}");
    }
    relay.stop().await;
    world.end().await;
}

#[tokio::test]
async fn the_trace_of_the_write_goes_along() {
    let world = World::new().await;
    let relay = world.relay().await;
    let provider = SdkTracerProvider::builder().build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
    let subscriber = tracing_subscriber::registry().with(layer);
    let trace_id = async {
        let span = tracing::info_span!("click");
        world.tell(&[fact(&STATES, "alice", 1)]).instrument(span.clone()).await;
        let context = tracing_opentelemetry::OpenTelemetrySpanExt::context(&span);
        opentelemetry::trace::TraceContextExt::span(&context).span_context().trace_id().to_string()
    }
    .with_subscriber(subscriber)
    .await;
    let row = records_in_outbox(&world.db.pool, SERVICE).await.remove(0);
    let carried = row.traceparent.unwrap();
    assert!(carried.starts_with(&format!("00-{trace_id}-")) && carried.ends_with("-01"), "{carried}");
    // A process that traces nothing hands it on.
    let record = records(&relay, &STATES, 1).await.remove(0);
    assert_eq!(record.headers["traceparent"], carried);
    relay.stop().await;
    world.end().await;
}

#[tokio::test]
async fn the_generation_of_a_schema_stands_above_its_versions() {
    let world = World::new().await;
    sqlx::raw_sql("update mailer.relay_cursor set generation = 3").execute(&world.db.pool).await.unwrap();
    let relay = world.relay().await;
    world.tell(&[fact(&STATES, "alice", 5)]).await;
    let record = records(&relay, &STATES, 1).await.remove(0);
    assert_eq!(record.headers["kotinos_version"], ((3_i64 << 48) + 5).to_string());
    relay.stop().await;
    world.end().await;
}

// A broker refuses a timestamp from the future, and retention takes one from the past.
#[tokio::test]
async fn a_fact_of_any_day_is_sent_and_is_as_old_as_its_sending() {
    let world = World::new().await;
    let relay = world.relay().await;
    let before = world.clock.now().timestamp_millis();
    let days: [(&str, DateTime<Utc>); 4] = [
        ("athens-1896", "1896-04-06T15:00:00Z".parse().unwrap()),
        ("last-year", world.clock.now() - TimeDelta::days(365)),
        ("next-year", world.clock.now() + TimeDelta::days(365)),
        ("the-last-day", "9999-12-31T23:59:59.999999Z".parse().unwrap()),
    ];
    for (key, occurred_at) in days {
        let mut told = fact(&ORDERED, key, 1);
        told.occurred_at = occurred_at;
        world.tell(&[told]).await;
    }
    let records = records(&relay, &ORDERED, 4).await;
    for (key, occurred_at) in days {
        let record = records.iter().find(|record| record.key == key).unwrap();
        assert_eq!(record.headers["ce_time"].parse::<DateTime<Utc>>().unwrap(), occurred_at);
    }
    let timestamps = broker::timestamps(relay.topics(), ORDERED.name(), 4);
    let after = domain::Clock::system().now().timestamp_millis();
    assert!(timestamps.values().all(|at| (before..=after).contains(at)), "{before} {timestamps:?} {after}");
    relay.stop().await;
    world.end().await;
}

#[tokio::test]
async fn the_largest_fact_passes_the_broker() {
    let world = World::new().await;
    let relay = world.relay().await;
    let mut large = fact(&UNORDERED, "large", 0);
    // Does not compress.
    let mut state = 7_u32;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    });
    large.payload = Some(noise.take(MAX_FACT_BYTES - large.key.len()).collect());
    world.tell(&[large.clone(), fact(&UNORDERED, "behind", 0)]).await;
    let mut records = records(&relay, &UNORDERED, 2).await;
    records.sort_by_key(|record| record.key.clone());
    assert!(records[1].payload == large.payload);
    relay.stop().await;
    world.end().await;
}
