//! What is delivered twice has its effect once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use domain::{EventId, Uuid};
use outbox::{Batch, Failure, Subscription, inbox};
use sqlx::PgPool;
use testkit::{TestApp, eventually};
use tokio::sync::Semaphore;
use uuid::{NoContext, Timestamp};

use crate::{
    broker,
    world::{DEADLINE, Effects, ORDERED, READER, SERVICE, World, fact, facts, records, versions_of},
};

async fn reader(world: &World, effects: &Effects) -> TestApp {
    let taker = effects.clone();
    let handler = move |pool: PgPool, batch: Batch| {
        let taker = taker.clone();
        async move { taker.take_in(&pool, &batch).await }
    };
    world.reader(Subscription::new(READER, &[ORDERED.name()]), handler).await
}

#[tokio::test]
async fn a_fact_that_is_delivered_twice_has_its_effect_once() {
    let world = World::new().await;
    let relay = world.relay().await;
    world.tell(&facts(&ORDERED, &["alice", "bob"], 50)).await;
    let effects = Effects::default();
    let first = reader(&world, &effects).await;
    world.has_effects(100).await;
    first.stop().await;
    broker::forget_offsets(relay.topics(), READER).await;
    let second = reader(&world, &effects).await;
    eventually(DEADLINE, || async { (effects.delivered().len() >= 200).then_some(()) }).await;
    world.tell(&facts(&ORDERED, &["alice"], 51)[50..]).await;
    let committed = world.has_effects(101).await;
    assert_eq!(committed.len(), 101);
    assert_eq!(versions_of(&committed, "alice"), (1..=51).collect::<Vec<i64>>());
    assert_eq!(effects.delivered().len(), 201);
    second.stop().await;
    relay.stop().await;
    world.end().await;
}

#[tokio::test]
async fn a_fact_that_comes_twice_in_one_batch_has_its_effect_once() {
    let world = World::new().await;
    let relay = world.relay().await;
    world.tell(&facts(&ORDERED, &["alice"], 20)).await;
    records(&relay, &ORDERED, 20).await;
    // As a relay writes it that lost its lease: all is sent again, behind the first time.
    let fence = "insert into mailer.relay_fence (from_position, from_seq, to_position, to_seq, leader)
                 select 0, 0, max(position), max(seq), 'mailer/lost' from mailer.outbox";
    sqlx::raw_sql(fence).execute(&world.db.pool).await.unwrap();
    records(&relay, &ORDERED, 40).await;
    let effects = Effects::default();
    let reader = reader(&world, &effects).await;
    world.has_effects(20).await;
    // Behind the repeats: they were read.
    world.tell(&[fact(&ORDERED, "alice", 21)]).await;
    let read = world.has_effects(21).await;
    assert_eq!(versions_of(&read, "alice"), (1..=21).collect::<Vec<i64>>());
    reader.stop().await;
    relay.stop().await;
    world.end().await;
}

#[tokio::test]
async fn one_that_ends_politely_leaves_nothing_to_repeat() {
    let world = World::new().await;
    let relay = world.relay().await;
    world.tell(&facts(&ORDERED, &["alice", "bob"], 200)).await;
    let effects = Effects::default();
    for round in 1..=3 {
        let reader = reader(&world, &effects).await;
        world.tell(&facts(&ORDERED, &["carol"], 100)).await;
        world.has_effects(100 * round).await;
        reader.stop().await;
    }
    let last = reader(&world, &effects).await;
    world.has_effects(700).await;
    assert_eq!(effects.delivered().len(), 700);
    last.stop().await;
    relay.stop().await;
    world.end().await;
}

#[tokio::test]
async fn what_a_killed_consumer_did_not_commit_is_done_by_its_successor() {
    let world = World::new().await;
    let relay = world.relay().await;
    world.tell(&facts(&ORDERED, &["alice", "bob"], 40)).await;
    records(&relay, &ORDERED, 80).await;
    let effects = Effects::default();
    // Its second batch hangs behind the claims and effects, before their commit.
    let (taker, batches, hangs) =
        (effects.clone(), Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
    let hung = Arc::clone(&hangs);
    let doomed = world
        .reader(Subscription::new(READER, &[ORDERED.name()]), move |pool, batch| {
            let (taker, hung) = (taker.clone(), Arc::clone(&hung));
            let number = batches.fetch_add(1, Ordering::SeqCst);
            async move {
                if number == 0 {
                    return taker.take_in(&pool, &batch).await;
                }
                let mut tx = pool.begin().await.map_err(Failure::transient)?;
                inbox::claim(&mut tx, SERVICE, READER, &batch.event_ids()).await.map_err(Failure::of)?;
                hung.add_permits(1);
                std::future::pending().await
            }
        })
        .await;
    hangs.acquire().await.unwrap().forget();
    let _ = doomed.kill();
    assert!(world.effects().await.len() < 80, "killed in the middle");
    let successor = reader(&world, &effects).await;
    let committed = world.has_effects(80).await;
    for key in ["alice", "bob"] {
        assert_eq!(versions_of(&committed, key), (1..=40).collect::<Vec<i64>>());
    }
    successor.stop().await;
    relay.stop().await;
    world.end().await;
}

#[tokio::test]
async fn a_claim_that_is_rolled_back_is_none() {
    let world = World::new().await;
    let relay = world.relay().await;
    world.tell(&facts(&ORDERED, &["alice"], 20)).await;
    let (effects, failed) = (Effects::default(), Arc::new(AtomicBool::new(false)));
    let taker = effects.clone();
    let reader = world
        .reader(Subscription::new(READER, &[ORDERED.name()]), move |pool, batch| {
            let (taker, failed) = (taker.clone(), Arc::clone(&failed));
            async move {
                if !failed.swap(true, Ordering::SeqCst) {
                    let mut tx = pool.begin().await.map_err(Failure::transient)?;
                    let new = inbox::claim(&mut tx, SERVICE, READER, &batch.event_ids()).await;
                    assert_eq!(new.unwrap().len(), batch.records.len());
                    return Err(Failure::transient("before the commit"));
                }
                taker.take_in(&pool, &batch).await
            }
        })
        .await;
    assert_eq!(versions_of(&world.has_effects(20).await, "alice"), (1..=20).collect::<Vec<i64>>());
    reader.stop().await;
    relay.stop().await;
    world.end().await;
}

async fn claim(world: &World, consumer: &str, ids: &[EventId]) -> usize {
    let mut tx = world.db.pool.begin().await.unwrap();
    let new = inbox::claim(&mut tx, SERVICE, consumer, ids).await.unwrap();
    tx.commit().await.unwrap();
    new.len()
}

fn aged(days: u64) -> EventId {
    let now = u64::try_from(domain::Clock::system().now().timestamp()).unwrap();
    EventId(Uuid::new_v7(Timestamp::from_unix(NoContext, now - days * 86_400, 0)))
}

#[tokio::test]
async fn a_fact_of_any_age_is_claimed_once_a_consumer() {
    let world = World::new().await;
    // Of a state topic read from its beginning; of tomorrow, by a clock that is ahead; and of no time at all.
    let now = domain::Clock::system().now().timestamp();
    let ahead = Timestamp::from_unix(NoContext, u64::try_from(now).unwrap() + 86_000, 0);
    let no_time: EventId = "f47ac10b-58cc-4372-a567-0e02b2c3d479".parse().unwrap();
    let ids =
        [aged(0), aged(1), aged(3), aged(4), aged(30), aged(4_000), EventId(Uuid::new_v7(ahead)), no_time];
    let twice: Vec<EventId> = ids.iter().chain(&ids).copied().collect();
    assert_eq!(claim(&world, "one", &twice).await, ids.len());
    assert_eq!(claim(&world, "one", &ids).await, 0);
    assert_eq!(claim(&world, "other", &ids).await, ids.len());
    assert_eq!(claim(&world, "one", &[]).await, 0);
    world.end().await;
}

#[tokio::test]
async fn of_two_that_claim_together_one_has_it() {
    let world = World::new().await;
    let ids: Vec<EventId> = (0..20).map(|_| EventId::new()).collect();
    let reversed: Vec<EventId> = ids.iter().rev().copied().collect();
    let mut first = world.db.pool.begin().await.unwrap();
    assert_eq!(inbox::claim(&mut first, SERVICE, READER, &ids).await.unwrap().len(), 20);
    let pool = world.db.pool.clone();
    let second = tokio::spawn(async move {
        let mut second = pool.begin().await.unwrap();
        let new = inbox::claim(&mut second, SERVICE, READER, &reversed).await.unwrap().len();
        second.commit().await.unwrap();
        new
    });
    let waits = "select exists (select from pg_stat_activity
                 where datname = current_database() and wait_event_type = 'Lock')";
    eventually(Duration::from_secs(10), || async {
        let waits: bool = sqlx::query_scalar(waits).fetch_one(&world.db.pool).await.unwrap();
        waits.then_some(())
    })
    .await;
    first.commit().await.unwrap();
    assert_eq!(second.await.unwrap(), 0);
    world.end().await;
}
