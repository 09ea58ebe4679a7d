//! How records reach a handler: in batches of one partition, in order, again when the surroundings fail.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use domain::Uuid;
use outbox::{Failure, Subscription};
use testkit::eventually;
use tokio::sync::Semaphore;

use crate::{
    broker,
    world::{
        DEADLINE, Effects, ORDERED, READER, STATES, UNORDERED, World, fact, facts, figure, records,
        versions_of,
    },
};

const KEYS: [&str; 6] = ["alice", "bob", "carol", "dora", "emil", "fatima"];

#[tokio::test]
async fn batches_are_of_one_partition_in_order_and_bounded() {
    let world = World::new().await;
    let relay = world.relay().await;
    world.tell(&facts(&ORDERED, &KEYS, 300)).await;
    world.tell(&[fact(&STATES, "alice", 1)]).await;
    records(&relay, &ORDERED, 1_800).await;
    let effects = Effects::default();
    let taker = effects.clone();
    let subscription = Subscription::new(READER, &[ORDERED.name(), STATES.name()]);
    let reader = world
        .reader(subscription, move |pool, batch| {
            let taker = taker.clone();
            async move { taker.take_in(&pool, &batch).await }
        })
        .await;
    let committed = world.has_effects(1_801).await;
    let mut next: BTreeMap<(String, i32), i64> = BTreeMap::new();
    for batch in effects.batches() {
        assert!((1..=500).contains(&batch.len()));
        for record in &batch {
            assert_eq!((&record.topic, record.partition), (&batch[0].topic, batch[0].partition));
            let next = next.entry((record.topic.clone(), record.partition)).or_default();
            assert_eq!(record.offset, *next, "each record once, in order");
            *next += 1;
        }
    }
    assert!(effects.batches().iter().any(|batch| batch.len() > 100), "what waits is taken together");
    for key in &KEYS[1..] {
        assert_eq!(versions_of(&committed, key), (1..=300).collect::<Vec<i64>>(), "{key}");
    }
    reader.stop().await;
    relay.stop().await;
    world.end().await;
}

// More than a partition's queue holds: it rests and goes on.
#[tokio::test]
async fn a_slow_handler_misses_nothing() {
    const FACTS: i64 = 5_000;
    let world = World::new().await;
    let relay = world.relay().await;
    let (effects, may_go) = (Effects::default(), Arc::new(Semaphore::new(0)));
    let (taker, wait) = (effects.clone(), Arc::clone(&may_go));
    let reader = world
        .reader(Subscription::new(READER, &[ORDERED.name()]), move |pool, batch| {
            let (taker, wait) = (taker.clone(), Arc::clone(&wait));
            async move {
                let _go = wait.acquire().await.map_err(Failure::transient)?;
                taker.take_in(&pool, &batch).await
            }
        })
        .await;
    let ids: Vec<Uuid> = (0..FACTS).map(|_| domain::new_id()).collect();
    sqlx::query(
        "insert into mailer.outbox (id, aggregatetype, aggregateid, type, payload, version, occurred_at)
         select id, $1, 'alice', 'CampaignScheduled', 'x', number, now()
         from unnest($2::uuid[]) with ordinality as told (id, number)",
    )
    .bind(ORDERED.name())
    .bind(ids)
    .execute(&world.db.pool)
    .await
    .unwrap();
    records(&relay, &ORDERED, 5_000).await;
    may_go.add_permits(1);
    let committed = world.has_effects(5_000).await;
    assert!(versions_of(&committed, "alice").into_iter().eq(1..=FACTS));
    assert_eq!(effects.delivered().len(), 5_000, "each once");
    reader.stop().await;
    relay.stop().await;
    world.end().await;
}

#[tokio::test]
async fn the_surroundings_may_fail_as_often_as_they_like() {
    let world = World::new().await;
    let relay = world.relay().await;
    world.tell(&facts(&ORDERED, &["alice"], 5)).await;
    let (effects, fails) = (Effects::default(), Arc::new(AtomicUsize::new(0)));
    let (taker, failed) = (effects.clone(), Arc::clone(&fails));
    let reader = world
        .reader(Subscription::new(READER, &[ORDERED.name()]), move |pool, batch| {
            let (taker, failed) = (taker.clone(), Arc::clone(&failed));
            async move {
                // More often than a record of its own fault would be tried.
                if failed.fetch_add(1, Ordering::SeqCst) < 6 {
                    return Err(Failure::transient("the database is away"));
                }
                taker.take_in(&pool, &batch).await
            }
        })
        .await;
    assert_eq!(versions_of(&world.has_effects(5).await, "alice"), [1, 2, 3, 4, 5]);
    assert!(fails.load(Ordering::SeqCst) > 6);
    assert_eq!(effects.delivered().len(), 5, "taken in once");
    assert!(world.parked().await.is_empty(), "not counted");
    reader.stop().await;
    relay.stop().await;
    world.end().await;
}

#[tokio::test]
async fn a_record_without_an_envelope_is_counted_and_passed_over() {
    let world = World::new().await;
    let relay = world.relay().await;
    let effects = Effects::default();
    let taker = effects.clone();
    let reader = world
        .reader(Subscription::new(READER, &[ORDERED.name()]), move |pool, batch| {
            let taker = taker.clone();
            async move { taker.take_in(&pool, &batch).await }
        })
        .await;
    let id = domain::new_id().to_string();
    let envelope = [
        ("ce_id", id.as_str()),
        ("ce_type", "T"),
        ("kotinos_version", "1"),
        ("ce_time", "2024-07-26T17:30:00Z"),
    ];
    let topics = relay.topics();
    broker::produce(topics, ORDERED.name(), "alice", &[], b"no envelope").await;
    for missing in 0..envelope.len() {
        let mut wrong = envelope;
        wrong[missing].1 = "\u{0}";
        broker::produce(topics, ORDERED.name(), "alice", &wrong, b"a wrong one").await;
    }
    broker::produce(topics, ORDERED.name(), "ali\0ce", &envelope, b"a wrong key").await;
    broker::produce(topics, ORDERED.name(), "alice", &envelope, b"a right one").await;
    world.tell(&[fact(&ORDERED, "alice", 2)]).await;
    assert_eq!(versions_of(&world.has_effects(2).await, "alice"), [1, 2]);
    let series = "outbox_consumer_malformed_records_total{service=\"mailer\",consumer=\"mailer.reader\"}";
    assert_eq!(figure(&reader, series).await, Some(6.0));
    reader.stop().await;
    relay.stop().await;
    world.end().await;
}

// Protocol buffers whose fields all have their defaults are no bytes.
#[tokio::test]
async fn an_empty_payload_is_no_tombstone_and_a_key_may_be_of_any_script() {
    let world = World::new().await;
    let relay = world.relay().await;
    let (empty, mut gone) = (fact(&STATES, "国立競技場 ½", 1), fact(&STATES, "国立競技場 ½", 2));
    let empty = outbox::Fact { payload: Some(Vec::new()), ..empty };
    gone.payload = None;
    world.tell(&[empty, gone]).await;
    let caught = records(&relay, &STATES, 2).await;
    let payloads: Vec<Option<usize>> =
        caught.iter().map(|record| record.payload.as_ref().map(Vec::len)).collect();
    assert_eq!(payloads, [Some(0), None]);
    let effects = Effects::default();
    let taker = effects.clone();
    let reader = world
        .reader(Subscription::new(READER, &[STATES.name()]), move |pool, batch| {
            let taker = taker.clone();
            async move { taker.take_in(&pool, &batch).await }
        })
        .await;
    assert_eq!(versions_of(&world.has_effects(2).await, "国立競技場 ½"), [1, 2]);
    let payloads: Vec<Option<usize>> =
        effects.delivered().iter().map(|record| record.payload.as_ref().map(bytes::Bytes::len)).collect();
    assert_eq!(payloads, [Some(0), None]);
    reader.stop().await;
    relay.stop().await;
    world.end().await;
}

#[tokio::test]
async fn a_consumer_that_is_there_before_its_topic_reads_it_from_the_beginning() {
    let world = World::new().await;
    let effects = Effects::default();
    let taker = effects.clone();
    let reader = world
        .reader(Subscription::new(READER, &[UNORDERED.name()]), move |pool, batch| {
            let taker = taker.clone();
            async move { taker.take_in(&pool, &batch).await }
        })
        .await;
    world.tell(&[fact(&UNORDERED, "alice", 0), fact(&UNORDERED, "bob", 0)]).await;
    let relay = world.relay().await;
    assert_eq!(world.has_effects(2).await.len(), 2);
    reader.stop().await;
    relay.stop().await;
    world.end().await;
}

// Replicas that come and go while facts arrive: politely, and not.
#[tokio::test]
async fn partitions_move_between_replicas_and_each_effect_happens_once_and_in_order() {
    let world = World::new().await;
    let relay = world.relay().await;
    let effects = Effects::default();
    let replica = async || {
        let taker = effects.clone();
        world
            .reader(Subscription::new(READER, &[ORDERED.name()]), move |pool, batch| {
                let taker = taker.clone();
                async move { taker.take_in(&pool, &batch).await }
            })
            .await
    };
    let all = facts(&ORDERED, &KEYS, 120);
    let mut rest = all.chunks(all.len() / 4);
    let mut tell_more = async || world.tell(rest.next().unwrap()).await;
    let first = replica().await;
    tell_more().await;
    world.has_effects(10).await;
    let second = replica().await;
    tell_more().await;
    world.has_effects(200).await;
    first.stop().await;
    tell_more().await;
    world.has_effects(400).await;
    let third = replica().await;
    tell_more().await;
    let _ = second.kill();
    let committed = eventually(2 * DEADLINE, || async {
        let committed = world.effects().await;
        (committed.len() >= all.len()).then_some(committed)
    })
    .await;
    for key in KEYS {
        assert_eq!(versions_of(&committed, key), (1..=120).collect::<Vec<i64>>(), "{key}");
    }
    third.stop().await;
    relay.stop().await;
    world.end().await;
}
