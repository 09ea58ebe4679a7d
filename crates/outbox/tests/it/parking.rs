//! Records that cannot be taken in: their key waits, the others go on.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use domain::TimeDelta;
use outbox::{Batch, Failure, Subscription, Topic};
use sqlx::PgPool;
use testkit::{TestApp, eventually};

use crate::world::{DEADLINE, Effects, ORDERED, READER, STATES, World, fact, facts, versions_of};

/// Takes everything in but Carol's second fact, as long as it is told so.
pub async fn picky(world: &World, effects: &Effects, poison: &Arc<AtomicBool>, topic: &Topic) -> TestApp {
    let (taker, poison) = (effects.clone(), Arc::clone(poison));
    let handler = move |pool: PgPool, batch: Batch| {
        let (taker, poison) = (taker.clone(), Arc::clone(&poison));
        async move {
            let is_bad = batch.records.iter().any(|record| record.key == "carol" && record.version == 2);
            if is_bad && poison.load(Ordering::SeqCst) {
                return Err(Failure::record("no such campaign"));
            }
            taker.take_in(&pool, &batch).await
        }
    };
    let subscription = Subscription::new(READER, &[topic.name()]).collapse(&[STATES.name()]);
    world.reader(subscription, handler).await
}

fn parked(version: i64, class: &str, attempts: i32) -> (String, i64, String, i32) {
    ("carol".to_owned(), version, class.to_owned(), attempts)
}

#[tokio::test]
async fn a_poison_record_parks_its_key_and_the_others_go_on() {
    let world = World::new().await;
    let relay = world.relay().await;
    let (effects, poison) = (Effects::default(), Arc::new(AtomicBool::new(true)));
    let reader = picky(&world, &effects, &poison, &ORDERED).await;
    world.tell(&facts(&ORDERED, &["alice", "carol", "bob"], 4)).await;
    // Everything but Carol's second to fourth.
    let committed = world.has_effects(9).await;
    for key in ["alice", "bob"] {
        assert_eq!(versions_of(&committed, key), [1, 2, 3, 4]);
    }
    let waiting = world.has_parked(3).await;
    assert_eq!(waiting, [parked(2, "failed", 3), parked(3, "behind", 0), parked(4, "behind", 0)]);
    let row = "select error, payload from mailer.parked_record where class = 'failed'";
    let (error, payload): (String, Vec<u8>) = sqlx::query_as(row).fetch_one(&world.db.pool).await.unwrap();
    assert_eq!((error.as_str(), payload.as_slice()), ("no such campaign", b"carol 2".as_slice()));

    // A successor knows of it, and new records of the key queue up.
    reader.stop().await;
    let reader = picky(&world, &effects, &poison, &ORDERED).await;
    world.tell(&[fact(&ORDERED, "carol", 5), fact(&ORDERED, "alice", 5)]).await;
    world.has_parked(4).await;
    assert_eq!(versions_of(&world.has_effects(10).await, "carol"), [1]);

    // Its turn comes after a minute, and it fails again.
    world.clock.advance(TimeDelta::seconds(61));
    eventually(DEADLINE, || async { (world.parked().await[0] == parked(2, "failed", 4)).then_some(()) })
        .await;
    // The next one comes after five more; now it passes, and all behind it, in order.
    poison.store(false, Ordering::SeqCst);
    world.clock.advance(TimeDelta::seconds(301));
    assert_eq!(versions_of(&world.has_effects(14).await, "carol"), [1, 2, 3, 4, 5]);
    world.has_parked(0).await;
    world.tell(&[fact(&ORDERED, "carol", 6)]).await;
    assert_eq!(versions_of(&world.has_effects(15).await, "carol"), [1, 2, 3, 4, 5, 6]);
    assert!(world.parked().await.is_empty(), "it does not queue any more");
    reader.stop().await;
    relay.stop().await;
    world.end().await;
}

#[tokio::test]
async fn a_good_state_heals_a_poison_one() {
    let world = World::new().await;
    let relay = world.relay().await;
    let (effects, poison) = (Effects::default(), Arc::new(AtomicBool::new(true)));
    let reader = picky(&world, &effects, &poison, &STATES).await;
    world.tell(&facts(&STATES, &["alice", "carol"], 2)).await;
    world.has_parked(1).await;
    world.tell(&[fact(&STATES, "carol", 3)]).await;
    // Without an operator, and without its minute.
    let committed = world.has_effects(4).await;
    assert_eq!(
        (versions_of(&committed, "carol"), versions_of(&committed, "alice")),
        (vec![1, 3], vec![1, 2])
    );
    world.has_parked(0).await;
    reader.stop().await;
    relay.stop().await;
    world.end().await;
}

#[tokio::test]
async fn a_handler_that_panics_is_the_records_fault_and_stops_nobody() {
    let world = World::new().await;
    let relay = world.relay().await;
    let effects = Effects::default();
    let taker = effects.clone();
    let reader = world
        .reader(Subscription::new(READER, &[ORDERED.name()]), move |pool, batch| {
            let taker = taker.clone();
            async move {
                assert!(batch.records.iter().all(|record| record.key != "carol"), "no handler for Carol");
                taker.take_in(&pool, &batch).await
            }
        })
        .await;
    world.tell(&facts(&ORDERED, &["alice", "carol", "bob"], 2)).await;
    assert_eq!(world.has_effects(4).await.len(), 4);
    let waiting = world.has_parked(2).await;
    assert_eq!(waiting, [parked(1, "failed", 3), parked(2, "behind", 0)]);
    reader.stop().await;
    relay.stop().await;
    world.end().await;
}

#[tokio::test]
async fn what_an_operator_discards_sets_its_key_free() {
    let world = World::new().await;
    let relay = world.relay().await;
    let (effects, poison) = (Effects::default(), Arc::new(AtomicBool::new(true)));
    let reader = picky(&world, &effects, &poison, &ORDERED).await;
    world.tell(&facts(&ORDERED, &["carol"], 3)).await;
    world.has_parked(2).await;
    let discard = "delete from mailer.parked_record where class = 'failed'";
    sqlx::raw_sql(discard).execute(&world.db.pool).await.unwrap();
    assert_eq!(versions_of(&world.has_effects(2).await, "carol"), [1, 3]);
    world.has_parked(0).await;
    reader.stop().await;
    relay.stop().await;
    world.end().await;
}
