//! Consumers that were away for too long: what they missed is gone, and they say so.

use chassis::Component;
use domain::TimeDelta;
use outbox::Subscription;
use serde_json::Value;
use testkit::{TestApp, eventually};

use crate::{
    broker,
    verbs::verb_of,
    world::{
        DEADLINE, Effects, ORDERED, READER, STATES, World, facts, figure, has_figure, records, versions,
        versions_of,
    },
};

const KEYS: [&str; 3] = ["alice", "bob", "carol"];
const OTHER: &str = "mailer.other";
const REFUSES: &str = "outbox_consumer_refuses{service=\"mailer\",consumer=\"mailer.reader\"}";

fn states() -> Subscription {
    Subscription::new(READER, &[STATES.name()]).collapse(&[STATES.name()])
}

async fn reader(world: &World, subscription: Subscription, effects: &Effects) -> TestApp {
    let taker = effects.clone();
    world
        .reader(subscription, move |pool, batch| {
            let taker = taker.clone();
            async move { taker.take_in(&pool, &batch).await }
        })
        .await
}

// A process with a second consumer, of facts.
async fn two_readers(world: &World, effects: &Effects, other: &Effects) -> TestApp {
    let (first, second) = (effects.clone(), other.clone());
    world
        .start(move |component: Component, process, pool| {
            let (own, others) = (pool.clone(), pool.clone());
            let component = outbox::consume(component, process, pool, states(), move |batch| {
                let (taker, pool) = (first.clone(), own.clone());
                async move { taker.take_in(&pool, &batch).await }
            });
            let facts = Subscription::new(OTHER, &[ORDERED.name()]);
            outbox::consume(component, process, pool, facts, move |batch| {
                let (taker, pool) = (second.clone(), others.clone());
                async move { taker.take_in(&pool, &batch).await }
            })
        })
        .await
}

async fn refusal(world: &World, subscription: Subscription) -> String {
    eventually(DEADLINE, || async {
        let lines =
            verb_of(world, subscription.clone(), &["consumer", "status", READER, "--json"]).await.lines();
        lines[0]["refusal"].as_str().map(str::to_owned)
    })
    .await
}

#[tokio::test]
async fn an_outage_longer_than_tombstones_are_kept_needs_a_rebuild() {
    let world = World::new().await;
    let relay = world.relay().await;
    let (effects, other) = (Effects::default(), Effects::default());
    let app = two_readers(&world, &effects, &other).await;
    world.tell(&facts(&STATES, &KEYS, 2)).await;
    world.tell(&facts(&ORDERED, &KEYS, 1)).await;
    world.has_effects(9).await;
    app.stop().await;

    // Six days are no matter.
    world.clock.advance(TimeDelta::days(6));
    let app = two_readers(&world, &effects, &other).await;
    world.tell(&versions(&STATES, &KEYS, 3..=3)).await;
    world.has_effects(12).await;
    app.stop().await;

    world.clock.advance(TimeDelta::days(8));
    let app = two_readers(&world, &effects, &other).await;
    has_figure(&app, REFUSES, 1.0).await;
    let told = refusal(&world, states()).await;
    assert!(
        told.contains("was away from") && told.contains(STATES.name()) && told.contains("8 days"),
        "{told}"
    );
    assert!(told.contains("`mailer consumer rebuild mailer.reader`"), "{told}");
    world.tell(&versions(&STATES, &KEYS, 4..=4)).await;
    world.tell(&versions(&ORDERED, &KEYS, 2..=2)).await;
    // The other one goes on, the service is ready, and this one takes nothing in.
    world.has_effects(15).await;
    records(&relay, &STATES, 12).await;
    assert_eq!(app.http().get(app.ops_url("/readyz")).send().await.unwrap().status(), 200);
    assert_eq!((effects.delivered().len(), other.delivered().len()), (9, 6));
    let other_refuses = REFUSES.replace(READER, OTHER);
    assert_eq!(figure(&app, &other_refuses).await, Some(0.0));

    // Going on as if nothing were is refused again.
    let resumed = verb_of(&world, states(), &["consumer", "resume", READER]).await;
    assert_eq!(resumed.code, 0, "{}", resumed.why);
    assert_eq!(refusal(&world, states()).await, told);

    let rebuilt = verb_of(&world, states(), &["consumer", "rebuild", READER, "--yes"]).await;
    assert_eq!(rebuilt.text, "mailer.reader reads from the beginning\n", "{}", rebuilt.why);
    let committed = world.has_effects(27).await;
    assert_eq!(versions_of(&committed[15..], "alice"), [1, 2, 3, 4]);
    has_figure(&app, REFUSES, 0.0).await;
    app.stop().await;
    relay.stop().await;
    world.end().await;
}

#[tokio::test]
async fn a_consumer_at_work_is_never_away() {
    let world = World::new().await;
    let relay = world.relay().await;
    let effects = Effects::default();
    let app = reader(&world, states(), &effects).await;
    world.tell(&facts(&STATES, &KEYS, 1)).await;
    world.has_effects(3).await;
    // Idle for longer than tombstones are kept, as long as it is there.
    world.clock.advance(TimeDelta::days(8));
    let now = world.clock.now();
    let sql = "select count(*) from mailer.consumer_place where read_at >= $1 - interval '1 second'";
    eventually(DEADLINE, || async {
        let places: i64 = sqlx::query_scalar(sql).bind(now).fetch_one(&world.db.pool).await.unwrap();
        (places == 2).then_some(())
    })
    .await;
    let _ = app.kill();
    let app = reader(&world, states(), &effects).await;
    world.tell(&versions(&STATES, &KEYS, 2..=2)).await;
    world.has_effects(6).await;
    assert_eq!(effects.delivered().len(), 6);
    app.stop().await;
    relay.stop().await;
    world.end().await;
}

#[tokio::test]
async fn facts_that_expired_unread_are_a_gap_that_an_operator_accepts() {
    let subscription = || Subscription::new(READER, &[ORDERED.name()]).acts_once();
    let world = World::new().await;
    let relay = world.relay().await;
    let effects = Effects::default();
    let app = reader(&world, subscription(), &effects).await;
    world.tell(&facts(&ORDERED, &["alice"], 2)).await;
    world.has_effects(2).await;
    app.stop().await;
    world.tell(&versions(&ORDERED, &["alice"], 3..=9)).await;
    let last = records(&relay, &ORDERED, 9).await.pop().unwrap();
    broker::expire(relay.topics(), ORDERED.name(), last.partition, 5).await;

    let app = reader(&world, subscription(), &effects).await;
    has_figure(&app, REFUSES, 1.0).await;
    let told = refusal(&world, subscription()).await;
    assert!(told.contains("goes on at 2, and the oldest record is 5"), "{told}");
    assert_eq!(effects.delivered().len(), 2);
    // It is one that is never rebuilt.
    let planned = verb_of(&world, subscription(), &["consumer", "accept-gap", READER]).await;
    assert!(planned.code == 3 && planned.text.contains(&told), "{}", planned.text);
    let accepted = verb_of(&world, subscription(), &["consumer", "accept-gap", READER, "--yes"]).await;
    assert_eq!(
        accepted.text, "mailer.reader goes on, at the oldest record of 1 partitions\n",
        "{}",
        accepted.why
    );
    assert_eq!(versions_of(&world.has_effects(6).await, "alice"), [1, 2, 6, 7, 8, 9]);
    let again = verb_of(&world, subscription(), &["consumer", "accept-gap", READER, "--yes"]).await;
    assert_eq!((again.code, again.why), (3, format!("{READER} refuses nothing, there is no gap to accept")));
    let status = verb_of(&world, subscription(), &["consumer", "status", "--json"]).await.lines();
    assert!(status.iter().all(|line| line["refusal"] == Value::Null), "{status:?}");
    app.stop().await;
    relay.stop().await;
    world.end().await;
}
