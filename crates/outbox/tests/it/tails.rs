//! Views in memory: a tail reads everything from where its owner says.

use std::sync::{Arc, OnceLock};

use chassis::Process;
use outbox::{Tail, TailRecord, TailStart};
use testkit::TestApp;

use crate::{
    broker,
    world::{DEADLINE, ORDERED, STATES, World, fact, facts, records},
};

async fn with_process(world: &World) -> (TestApp, Process) {
    let seen = Arc::new(OnceLock::new());
    let tell = Arc::clone(&seen);
    let app = world
        .start(move |component, process, _| {
            let _ = tell.set(process.clone());
            component
        })
        .await;
    (app, seen.get().unwrap().clone())
}

// Keys and versions up to the end as it was at the opening.
async fn read_to_end(tail: &mut Tail) -> Vec<(String, i64)> {
    let mut read = Vec::new();
    loop {
        match tokio::time::timeout(DEADLINE, tail.next()).await.unwrap().unwrap() {
            TailRecord::Record(record) => read.push((record.key, record.version)),
            TailRecord::CaughtUp => return read,
        }
    }
}

#[tokio::test]
async fn a_tail_reads_from_the_beginning_says_when_it_is_there_and_goes_on_from_a_position() {
    let world = World::new().await;
    let relay = world.relay().await;
    let (app, process) = with_process(&world).await;
    world.tell(&facts(&STATES, &["alice", "bob", "carol"], 10)).await;
    world.tell(&facts(&ORDERED, &["alice"], 10)).await;
    records(&relay, &STATES, 30).await;
    records(&relay, &ORDERED, 10).await;
    let topics = [STATES.name(), ORDERED.name()];
    let mut tail = Tail::open(&process, &topics, TailStart::Beginning);
    let mut read = read_to_end(&mut tail).await;
    read.sort();
    assert_eq!(read.len(), 40);
    let positions = tail.positions();
    assert_eq!(positions.iter().map(|(_, _, offset)| offset).sum::<i64>(), 40);

    world.tell(&[fact(&STATES, "alice", 11)]).await;
    // The first one goes on without an end.
    let next = tokio::time::timeout(DEADLINE, tail.next()).await.unwrap().unwrap();
    assert!(matches!(next, TailRecord::Record(record) if record.version == 11));
    let mut later = Tail::open(&process, &topics, TailStart::At(positions));
    assert_eq!(read_to_end(&mut later).await, [("alice".to_owned(), 11)]);
    let mut end = Tail::open(&process, &topics, TailStart::At(later.positions()));
    assert!(read_to_end(&mut end).await.is_empty());
    drop((tail, later, end));
    app.stop().await;
    relay.stop().await;
    world.end().await;
}

#[tokio::test]
async fn a_tail_waits_for_its_topics_and_passes_over_what_has_no_envelope() {
    let world = World::new().await;
    let (app, process) = with_process(&world).await;
    let mut tail = Tail::open(&process, &[STATES.name()], TailStart::Beginning);
    let early = tokio::time::timeout(std::time::Duration::from_millis(300), tail.next()).await;
    assert!(early.is_err(), "there is no topic yet");
    let relay = world.relay().await;
    assert!(read_to_end(&mut tail).await.is_empty());
    broker::produce(relay.topics(), STATES.name(), "alice", &[], b"no envelope").await;
    world.tell(&[fact(&STATES, "alice", 1)]).await;
    let next = tokio::time::timeout(DEADLINE, tail.next()).await.unwrap().unwrap();
    assert!(matches!(next, TailRecord::Record(record) if record.version == 1 && record.offset == 1));
    assert_eq!(tail.positions().iter().map(|(_, _, offset)| offset).sum::<i64>(), 2);
    drop(tail);
    app.stop().await;
    relay.stop().await;
    world.end().await;
}

#[tokio::test]
async fn a_position_that_is_gone_is_said_and_not_skipped() {
    let world = World::new().await;
    let relay = world.relay().await;
    let (app, process) = with_process(&world).await;
    world.tell(&[fact(&STATES, "alice", 1)]).await;
    records(&relay, &STATES, 1).await;
    let positions = vec![(STATES.name().to_owned(), 0, 1_000), (STATES.name().to_owned(), 1, 1_000)];
    let mut tail = Tail::open(&process, &[STATES.name()], TailStart::At(positions));
    let refused = tokio::time::timeout(DEADLINE, async {
        loop {
            match tail.next().await {
                Ok(TailRecord::Record(record)) => panic!("{record:?}"),
                Ok(TailRecord::CaughtUp) => {}
                Err(error) => break error,
            }
        }
    })
    .await
    .unwrap();
    assert!(matches!(refused, outbox::Error::Kafka(_)), "{refused:?}");
    app.stop().await;
    relay.stop().await;
    world.end().await;
}

#[tokio::test]
async fn a_tail_may_begin_at_the_end_or_with_the_newest_record() {
    let world = World::new().await;
    let relay = world.relay().await;
    let (app, process) = with_process(&world).await;
    world.tell(&facts(&ORDERED, &["alice"], 10)).await;
    records(&relay, &ORDERED, 10).await;
    let topics = [ORDERED.name()];
    let mut newest = Tail::open(&process, &topics, TailStart::End { before: 1 });
    assert_eq!(read_to_end(&mut newest).await, [("alice".to_owned(), 10)]);
    let mut end = Tail::open(&process, &topics, TailStart::End { before: 0 });
    assert_eq!(read_to_end(&mut end).await, []);

    world.tell(&[fact(&ORDERED, "alice", 11)]).await;
    for tail in [&mut newest, &mut end] {
        let next = tokio::time::timeout(DEADLINE, tail.next()).await.unwrap().unwrap();
        assert!(matches!(next, TailRecord::Record(record) if record.version == 11));
    }
    app.stop().await;
    relay.stop().await;
    world.end().await;
}
