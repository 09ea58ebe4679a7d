//! Members of a group that come and go while records flow: the group shares its partitions out anew each time.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use outbox::Subscription;
use testkit::TestApp;
use tokio::{task::JoinHandle, time::sleep};

use crate::{
    broker,
    world::{DEADLINE, Effects, ORDERED, READER, SERVICE, World, fact, versions_of},
};

const KEYS: [&str; 12] =
    ["alice", "bob", "carol", "dora", "emil", "fatima", "goran", "hanna", "ivo", "jana", "karl", "lena"];
const PARTITIONS: i32 = 12;
const STORM: Duration = Duration::from_secs(8);
const MEMBERS: usize = 4;

async fn member(world: &World, effects: &Effects) -> TestApp {
    let taker = effects.clone();
    world
        .reader(Subscription::new(READER, &[ORDERED.name()]), move |pool, batch| {
            let taker = taker.clone();
            async move {
                // Long enough that partitions are taken away in the middle of it.
                sleep(Duration::from_millis(30)).await;
                taker.take_in(&pool, &batch).await
            }
        })
        .await
}

// Tells the next version of every key on and on; the last version when it is stopped.
fn teller(world: &World, stop: &Arc<AtomicBool>) -> JoinHandle<i64> {
    let (pool, stop) = (world.db.pool.clone(), Arc::clone(stop));
    tokio::spawn(async move {
        let mut version = 0;
        while !stop.load(Ordering::SeqCst) {
            version += 1;
            let mut tx = pool.begin().await.unwrap();
            for key in KEYS {
                outbox::append(&mut tx, SERVICE, &fact(&ORDERED, key, version)).await.unwrap();
            }
            tx.commit().await.unwrap();
            sleep(Duration::from_millis(20)).await;
        }
        version
    })
}

// Joins, stops and kills in turns, so that every size from one to all is left and reached in both ways.
async fn storm(world: &World, effects: &Effects) -> (Vec<TestApp>, usize) {
    let (mut members, mut changes) = (vec![member(world, effects).await], 0_usize);
    let until = Instant::now() + STORM;
    while Instant::now() < until {
        let grows = members.len() == 1 || (members.len() < MEMBERS && changes % 3 != 0);
        if grows {
            members.push(member(world, effects).await);
        } else {
            // The oldest, which has been through most.
            let gone = members.remove(0);
            if changes % 2 == 0 {
                gone.stop().await;
            } else {
                let _ = gone.kill();
            }
        }
        changes += 1;
        sleep(Duration::from_millis(100)).await;
    }
    (members, changes)
}

#[tokio::test]
async fn a_rebalance_storm_loses_nothing_and_doubles_nothing() {
    let world = World::new().await;
    let first = world.reader(Subscription::new("mailer.nobody", &[]), |_, _| async { Ok(()) }).await;
    broker::create(first.topics(), ORDERED.name(), PARTITIONS, &[]).await;
    first.stop().await;
    let relay = world.relay().await;
    let (effects, stop) = (Effects::default(), Arc::new(AtomicBool::new(false)));
    let told = teller(&world, &stop);
    let (members, changes) = storm(&world, &effects).await;
    stop.store(true, Ordering::SeqCst);
    let last = told.await.unwrap();

    let count = KEYS.len() * usize::try_from(last).unwrap();
    let begun = Instant::now();
    let committed = world.has_effects(count).await;
    assert!(begun.elapsed() < DEADLINE / 2, "the group finds together after the storm");
    assert_eq!(committed.len(), count, "each fact has its effect once");
    for key in KEYS {
        assert_eq!(versions_of(&committed, key), (1..=last).collect::<Vec<i64>>(), "{key}");
    }
    let partitions: BTreeSet<i32> = effects.delivered().iter().map(|record| record.partition).collect();
    assert!(changes >= 6 && partitions.len() >= 6, "no storm: {changes} changes, {partitions:?}");
    for member in members {
        member.stop().await;
    }
    relay.stop().await;
    world.end().await;
}
