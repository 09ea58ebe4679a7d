//! Topics that were deleted, with all that was in them, and made anew under the same name.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use outbox::{Failure, Subscription};
use serde_json::Value;
use testkit::{TestApp, Topics, eventually};

use crate::{
    broker,
    verbs::verb_of,
    world::{
        DEADLINE, Effects, ORDERED, READER, STATES, UNORDERED, World, fact, facts, has_figure, records,
        versions, versions_of,
    },
};

const KEYS: [&str; 3] = ["alice", "bob", "carol"];
const RELAY_REFUSES: &str = "outbox_relay_refuses{service=\"mailer\"}";
const READER_REFUSES: &str = "outbox_consumer_refuses{service=\"mailer\",consumer=\"mailer.reader\"}";

fn subscription() -> Subscription {
    Subscription::new(READER, &[ORDERED.name()])
}

/// Takes everything in, but not while it is held up.
async fn reader(world: &World, effects: &Effects, held: &Arc<AtomicBool>) -> TestApp {
    let (taker, held) = (effects.clone(), Arc::clone(held));
    world
        .reader(subscription(), move |pool, batch| {
            let (taker, held) = (taker.clone(), Arc::clone(&held));
            async move {
                if held.load(Ordering::SeqCst) {
                    return Err(Failure::transient("held up"));
                }
                taker.take_in(&pool, &batch).await
            }
        })
        .await
}

async fn make_anew(topics: &Topics, name: &str) {
    broker::delete(topics, name).await;
    broker::create(topics, name, 2, &[]).await;
}

async fn outbox_status(world: &World) -> Value {
    verb_of(world, subscription(), &["outbox", "status", "--json"]).await.lines().remove(0)
}

// What the relay had sent is written down each second.
async fn has_ends(world: &World, records: i64) {
    let sql = "select sum(end_offset)::bigint from mailer.relay_end";
    eventually(DEADLINE, || async {
        let sum: Option<i64> = sqlx::query_scalar(sql).fetch_one(&world.db.pool).await.unwrap();
        (sum == Some(records)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_topic_made_anew_stops_relay_and_reader_and_verbs_bring_both_back() {
    let world = World::new().await;
    let relay = world.relay().await;
    let (effects, held) = (Effects::default(), Arc::new(AtomicBool::new(false)));
    let reader = reader(&world, &effects, &held).await;
    world.tell(&facts(&ORDERED, &KEYS, 5)).await;
    world.has_effects(15).await;
    // What it does not take in is lost with the topic.
    held.store(true, Ordering::SeqCst);
    world.tell(&versions(&ORDERED, &KEYS, 6..=10)).await;
    records(&relay, &ORDERED, 30).await;
    has_ends(&world, 30).await;
    make_anew(relay.topics(), ORDERED.name()).await;

    has_figure(&relay, RELAY_REFUSES, 1.0).await;
    has_figure(&reader, READER_REFUSES, 1.0).await;
    held.store(false, Ordering::SeqCst);
    world.tell(&versions(&ORDERED, &KEYS, 11..=11)).await;
    let status = outbox_status(&world).await;
    let told = status["refusal"].as_str().unwrap();
    assert!(told.contains(ORDERED.name()) && told.contains("`mailer outbox resend --topic"), "{told}");
    assert_eq!(status["unsent_rows"], 3, "{status}");
    let lines = verb_of(&world, subscription(), &["consumer", "status", "--json"]).await.lines();
    let told = lines[0]["refusal"].as_str().unwrap();
    assert!(
        told.contains("was made anew") && told.contains("`mailer consumer accept-gap mailer.reader`"),
        "{told}"
    );
    assert!(relay.records().records(&[ORDERED.name()]).await.is_empty(), "nothing goes into the new topic");

    let resend = ["outbox", "resend", "--topic", ORDERED.name()];
    let planned = verb_of(&world, subscription(), &resend).await;
    assert!(planned.code == 3 && planned.text.contains("would send 33 rows"), "{}", planned.text);
    let resent = verb_of(&world, subscription(), &[&resend[..], &["--yes"]].concat()).await;
    assert!(resent.code == 0 && resent.text.starts_with("33 rows"), "{}{}", resent.text, resent.why);
    // As long as the new topic may have grown beyond what was read of the old one.
    records(&relay, &ORDERED, 33).await;
    let accepted = verb_of(&world, subscription(), &["consumer", "accept-gap", READER, "--yes"]).await;
    assert_eq!(accepted.code, 0, "{}", accepted.why);
    let committed = world.has_effects(33).await;
    for key in KEYS {
        assert_eq!(
            versions_of(&committed, key),
            (1..=11).collect::<Vec<i64>>(),
            "{key}: each once, in order"
        );
    }
    has_figure(&relay, RELAY_REFUSES, 0.0).await;
    has_figure(&reader, READER_REFUSES, 0.0).await;
    let status = outbox_status(&world).await;
    assert_eq!((&status["refusal"], &status["sent_again"]), (&Value::Null, &Value::Null));
    reader.stop().await;
    relay.stop().await;
    world.end().await;
}

#[tokio::test]
async fn a_deleted_topic_is_named_and_made_when_its_rows_are_sent_again() {
    let world = World::new().await;
    let relay = world.relay().await;
    world.tell(&facts(&STATES, &KEYS, 2)).await;
    world.tell(&facts(&UNORDERED, &KEYS, 1)).await;
    records(&relay, &STATES, 6).await;
    has_ends(&world, 9).await;
    broker::delete(relay.topics(), STATES.name()).await;
    has_figure(&relay, RELAY_REFUSES, 1.0).await;
    let status = outbox_status(&world).await;
    let told = status["refusal"].as_str().unwrap();
    assert!(told.contains(&format!("topic {} lost records", STATES.name())), "{told}");
    assert!(told.contains("it does not exist"), "{told}");
    world.tell(&[fact(&STATES, "alice", 3)]).await;

    let unknown = verb_of(&world, subscription(), &["outbox", "resend", "--topic", "kotinos.x.y.v1"]).await;
    assert!(unknown.code == 2 && unknown.why.contains(STATES.name()), "{}", unknown.why);
    let resend = ["outbox", "resend", "--topic", STATES.name(), "--yes"];
    let resent = verb_of(&world, subscription(), &resend).await;
    assert!(resent.text.contains(&format!("`republish {}`", STATES.name())), "{}{}", resent.text, resent.why);
    let again = records(&relay, &STATES, 7).await;
    let alice: Vec<&str> = again
        .iter()
        .filter(|record| record.key == "alice")
        .map(|record| record.headers["kotinos_version"].as_str())
        .collect();
    assert_eq!(alice, ["1", "2", "3"]);
    assert_eq!(records(&relay, &UNORDERED, 3).await.len(), 3, "other topics are not sent again");
    relay.stop().await;
    world.end().await;
}

// Before the relay looks at its idle topics: Kafka's own answer to the next record tells.
#[tokio::test]
async fn the_first_record_in_a_topic_made_anew_stops_the_relay() {
    let world = World::new().await;
    let relay = world.relay().await;
    world.tell(&facts(&UNORDERED, &["alice"], 3)).await;
    records(&relay, &UNORDERED, 3).await;
    has_ends(&world, 3).await;
    relay.stop().await;
    let relay = world.relay().await;
    make_anew(relay.topics(), UNORDERED.name()).await;
    world.tell(&versions(&UNORDERED, &["alice"], 4..=4)).await;
    has_figure(&relay, RELAY_REFUSES, 1.0).await;
    assert_eq!(outbox_status(&world).await["unsent_rows"], 1, "its row is not taken for sent");
    let told = outbox_status(&world).await["refusal"].as_str().unwrap().to_owned();
    assert!(told.contains(UNORDERED.name()) && told.contains("written up to 3"), "{told}");
    relay.stop().await;
    world.end().await;
}
