//! What operators do by the command line, beside processes that run.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use chassis::Component;
use domain::TimeDelta;
use outbox::{StatePage, Subscription, VERBS};
use serde_json::Value;
use testkit::eventually;

use crate::{
    parking::picky,
    world::{
        DEADLINE, Effects, ORDERED, READER, SERVICE, STATES, TOPICS, UNORDERED, World, fact, facts, figure,
        records, versions_of,
    },
};

pub struct Answer {
    pub text: String,
    /// Why it stopped.
    pub why: String,
    pub code: u8,
}

impl Answer {
    /// Its lines, which were asked for as JSON.
    pub fn lines(&self) -> Vec<Value> {
        assert_eq!(self.code, 0, "{}: {}", self.text, self.why);
        self.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// A verb of a service that has this consumer.
pub async fn verb_of(world: &World, subscription: Subscription, arguments: &[&str]) -> Answer {
    let url = world.db.url.clone();
    let told = Arc::new(AtomicUsize::new(0));
    let with = (world.settings(), world.clock.clone());
    let (text, ended) = chassis::operate(VERBS, arguments, SERVICE, with, |process| async move {
        let pool = process.database(&url.parse()?);
        let component = outbox::publish(Component::new(SERVICE), &process, &pool, TOPICS);
        let own = pool.clone();
        // Two pages of one state each.
        let component = outbox::republish(component, &STATES, move |after| {
            let (own, told) = (own.clone(), Arc::clone(&told));
            async move {
                let key = match after.as_deref() {
                    None => "alice",
                    Some("alice") => "bob",
                    Some(_) => return Ok(StatePage { states: 0, last: None }),
                };
                let version = 1 + i64::try_from(told.fetch_add(1, Ordering::SeqCst))?;
                let mut tx = own.begin().await?;
                outbox::append(&mut tx, SERVICE, &fact(&STATES, key, version)).await?;
                tx.commit().await?;
                Ok(StatePage { states: 1, last: Some(key.to_owned()) })
            }
        });
        Ok(vec![outbox::consume(component, &process, &pool, subscription, |_| async { Ok(()) })])
    })
    .await;
    let (why, code) = match ended {
        Ok(()) => (String::new(), 0),
        Err(stop) => (stop.to_string(), stop.exit_code()),
    };
    Answer { text, why, code }
}

fn subscription() -> Subscription {
    Subscription::new(READER, &[ORDERED.name()])
}

async fn verb(world: &World, arguments: &[&str]) -> Answer {
    verb_of(world, subscription(), arguments).await
}

#[tokio::test]
async fn a_poison_record_is_listed_and_replayed_once_its_handler_is_mended() {
    let world = World::new().await;
    let relay = world.relay().await;
    let (effects, poison) = (Effects::default(), Arc::new(AtomicBool::new(true)));
    let reader = picky(&world, &effects, &poison, &ORDERED).await;
    world.tell(&facts(&ORDERED, &["alice", "carol"], 3)).await;
    world.has_effects(4).await;
    world.has_parked(2).await;

    let listed = verb(&world, &["records", "list", "--json"]).await.lines();
    assert_eq!(listed.len(), 2);
    let first = &listed[0];
    let named = ["consumer", "key", "type", "class", "error"].map(|name| first[name].as_str().unwrap());
    assert_eq!(named, [READER, "carol", "CampaignScheduled", "failed", "no such campaign"]);
    assert_eq!((&first["version"], &first["attempts"], &first["bytes"]), (&2.into(), &3.into(), &7.into()));
    assert_eq!(listed[1]["class"], "behind");

    let event = first["event_id"].as_str().unwrap();
    let shown = verb(&world, &["records", "show", event]).await;
    assert!(shown.code == 0 && !shown.text.contains("payload"), "{}", shown.text);
    let revealed = verb(&world, &["records", "show", event, "--reveal", "--json"]).await.lines();
    assert_eq!(revealed[0]["payload"], "6361726f6c2032", "carol 2");

    // Nothing waits for its minute any more.
    poison.store(false, Ordering::SeqCst);
    let replayed = verb(&world, &["records", "replay", "--key", "carol"]).await;
    assert_eq!(replayed.text, "1 keys are tried again, each from its oldest record\n", "{}", replayed.why);
    assert_eq!(versions_of(&world.has_effects(6).await, "carol"), [1, 2, 3]);
    world.has_parked(0).await;
    let none = verb(&world, &["records", "replay", "--key", "carol"]).await;
    assert_eq!((none.code, none.why.as_str()), (1, "no parked record of key carol"));
    reader.stop().await;
    relay.stop().await;
    world.end().await;
}

#[tokio::test]
async fn what_is_discarded_is_named_first_and_never_has_its_effect() {
    let world = World::new().await;
    let relay = world.relay().await;
    let (effects, poison) = (Effects::default(), Arc::new(AtomicBool::new(true)));
    let reader = picky(&world, &effects, &poison, &ORDERED).await;
    world.tell(&facts(&ORDERED, &["carol"], 3)).await;
    world.has_parked(2).await;
    let event = verb(&world, &["records", "list", "--json"]).await.lines()[0]["event_id"].clone();
    let event = event.as_str().unwrap();

    let all = verb(&world, &["records", "discard"]).await;
    assert_eq!(all.code, 2, "what is discarded is named: {}", all.why);
    let planned = verb(&world, &["records", "discard", "--event", event]).await;
    assert!(planned.code == 3 && planned.why.contains("--yes"), "{}", planned.why);
    assert!(planned.text.contains(event) && planned.text.contains("would delete these 1 records"));
    assert_eq!(world.parked().await.len(), 2);

    let done = verb(&world, &["records", "discard", "--event", event, "--yes"]).await;
    assert_eq!(done.text, "1 records are discarded\n", "{}", done.why);
    assert_eq!(versions_of(&world.has_effects(2).await, "carol"), [1, 3]);
    let again = verb(&world, &["records", "discard", "--event", event, "--yes"]).await;
    assert_eq!((again.code, again.why), (1, format!("no parked record of event {event}")));
    reader.stop().await;
    relay.stop().await;
    world.end().await;
}

#[tokio::test]
async fn a_paused_consumer_takes_nothing_in_even_after_a_restart() {
    let world = World::new().await;
    let relay = world.relay().await;
    let (effects, poison) = (Effects::default(), Arc::new(AtomicBool::new(false)));
    let reader = picky(&world, &effects, &poison, &ORDERED).await;
    world.tell(&facts(&ORDERED, &["alice", "bob"], 1)).await;
    world.has_effects(2).await;

    let unknown = verb(&world, &["consumer", "pause", "nobody"]).await;
    assert_eq!((unknown.code, unknown.why), (2, format!("there is no consumer nobody, only {READER}")));
    let paused = verb(&world, &["consumer", "pause", READER]).await;
    assert!(paused.text.starts_with("mailer.reader is paused"), "{}", paused.why);
    let series = "outbox_consumer_paused{service=\"mailer\",consumer=\"mailer.reader\"}";
    eventually(DEADLINE, || async { (figure(&reader, series).await == Some(1.0)).then_some(()) }).await;
    reader.stop().await;
    let reader = picky(&world, &effects, &poison, &ORDERED).await;
    eventually(DEADLINE, || async { (figure(&reader, series).await == Some(1.0)).then_some(()) }).await;
    world.tell(&facts(&ORDERED, &["alice", "bob"], 1)).await;
    records(&relay, &ORDERED, 4).await;

    let status = verb(&world, &["consumer", "status", "--json"]).await.lines();
    let sum = |name: &str| status.iter().filter_map(|line| line[name].as_i64()).sum::<i64>();
    assert_eq!((status.len(), sum("end"), sum("lag")), (2, 4, 2), "{status:?}");
    assert!(status.iter().all(|line| line["paused_since"].is_string()), "{status:?}");
    assert_eq!(world.effects().await.len(), 2);

    let resumed = verb(&world, &["consumer", "resume", READER]).await;
    assert_eq!(resumed.text, "mailer.reader goes on\n", "{}", resumed.why);
    world.has_effects(4).await;
    assert_eq!(effects.delivered().len(), 4, "it went on where it was");
    reader.stop().await;
    relay.stop().await;
    world.end().await;
}

#[tokio::test]
async fn a_rebuilt_consumer_reads_everything_again() {
    let world = World::new().await;
    let relay = world.relay().await;
    let (effects, poison) = (Effects::default(), Arc::new(AtomicBool::new(true)));
    let reader = picky(&world, &effects, &poison, &ORDERED).await;
    world.tell(&facts(&ORDERED, &["alice", "carol"], 2)).await;
    world.has_effects(3).await;
    world.has_parked(1).await;

    let planned = verb(&world, &["consumer", "rebuild", READER]).await;
    assert!(planned.code == 3 && planned.text.contains(ORDERED.name()), "{}", planned.text);
    let refused =
        verb_of(&world, subscription().acts_once(), &["consumer", "rebuild", READER, "--yes"]).await;
    assert!(refused.code == 3 && refused.why.contains("never rebuilt"), "{}", refused.why);
    assert_eq!(world.effects().await.len(), 3);

    poison.store(false, Ordering::SeqCst);
    let rebuilt = verb(&world, &["consumer", "rebuild", READER, "--yes"]).await;
    assert_eq!(rebuilt.text, "mailer.reader reads from the beginning\n", "{}", rebuilt.why);
    // The three again, and what was parked.
    let committed = world.has_effects(7).await;
    assert_eq!(versions_of(&committed, "carol"), [1, 1, 2]);
    assert!(world.parked().await.is_empty());
    reader.stop().await;
    relay.stop().await;
    world.end().await;
}

#[tokio::test]
async fn the_outbox_says_what_waits_and_who_leads() {
    let world = World::new().await;
    let relay = world.relay().await;
    world.tell(&facts(&ORDERED, &["alice"], 2)).await;
    records(&relay, &ORDERED, 2).await;
    let status = eventually(DEADLINE, || async {
        let status = verb(&world, &["outbox", "status", "--json"]).await.lines().remove(0);
        (status["unsent_rows"] == 0).then_some(status)
    })
    .await;
    assert_eq!((&status["is_led"], &status["generation"]), (&true.into(), &0.into()), "{status}");
    assert_eq!(
        (&status["system_identifier"], &status["timeline"]),
        (&"the cursor's".into(), &"the cursor's".into())
    );
    // While a relay leads nobody moves its cursor.
    let busy = verb(&world, &["outbox", "rebase", "--yes"]).await;
    assert!(busy.code == 4 && busy.why.contains("stop the service first"), "{}", busy.why);
    relay.stop().await;

    world.clock.advance(TimeDelta::seconds(90));
    world.tell(&facts(&ORDERED, &["alice"], 1)).await;
    let status = verb(&world, &["outbox", "status", "--json"]).await.lines().remove(0);
    assert_eq!(
        (&status["is_led"], &status["leader"], &status["unsent_rows"]),
        (&false.into(), &Value::Null, &1.into())
    );
    assert!(status["oldest_unsent_seconds"].as_i64().unwrap() >= 60, "{status}");
    world.end().await;
}

// As in a copy whose transaction ids started again: rows lie far above everything that the database will give out soon.
async fn restore_elsewhere(world: &World) {
    let sql = "update mailer.outbox set position = position + 1000000000;
               update mailer.relay_cursor set position = position + 1000000000, system_identifier = 1";
    sqlx::raw_sql(sql).execute(&world.db.pool).await.unwrap();
}

#[tokio::test]
async fn a_restored_outbox_goes_on_after_a_rebase_and_loses_nothing() {
    let world = World::new().await;
    let relay = world.relay().await;
    world.tell(&facts(&ORDERED, &["alice"], 2)).await;
    records(&relay, &ORDERED, 2).await;
    relay.stop().await;
    world.tell(&[fact(&ORDERED, "alice", 3), fact(&ORDERED, "alice", 4)]).await;
    restore_elsewhere(&world).await;

    let status = verb(&world, &["outbox", "status", "--json"]).await.lines().remove(0);
    assert_eq!(status["system_identifier"], "another", "{status}");
    let accepted = verb(&world, &["outbox", "accept-timeline", "--yes"]).await;
    assert!(accepted.code == 3 && accepted.why.contains("outbox rebase"), "{}", accepted.why);
    let planned = verb(&world, &["outbox", "rebase"]).await;
    assert_eq!((planned.code, planned.why.as_str()), (3, "nothing was done; --yes does it"));
    let rebased = verb(&world, &["outbox", "rebase", "--yes"]).await;
    assert!(rebased.text.starts_with("generation 1: 2 unsent rows"), "{}{}", rebased.text, rebased.why);

    world.tell(&[fact(&ORDERED, "alice", 5)]).await;
    let relay = world.relay().await;
    let all = records(&relay, &ORDERED, 5).await;
    let versions: Vec<i64> =
        all.iter().map(|record| record.headers["kotinos_version"].parse().unwrap()).collect();
    let raised = 1_i64 << 48;
    assert_eq!(versions, [1, 2, raised + 3, raised + 4, raised + 5]);
    relay.stop().await;
    world.end().await;
}

#[tokio::test]
async fn a_failover_that_lost_nothing_is_accepted() {
    let world = World::new().await;
    let relay = world.relay().await;
    world.tell(&facts(&ORDERED, &["alice"], 1)).await;
    records(&relay, &ORDERED, 1).await;
    relay.stop().await;
    let idle = verb(&world, &["outbox", "accept-timeline", "--yes"]).await;
    assert_eq!((idle.code, idle.text.contains("nothing is to do")), (0, true), "{}", idle.text);
    let sql = "update mailer.relay_cursor set timeline = timeline + 1";
    sqlx::raw_sql(sql).execute(&world.db.pool).await.unwrap();
    world.tell(&[fact(&ORDERED, "alice", 2)]).await;
    let accepted = verb(&world, &["outbox", "accept-timeline", "--yes"]).await;
    assert_eq!(accepted.code, 0, "{}", accepted.why);
    let relay = world.relay().await;
    assert_eq!(records(&relay, &ORDERED, 2).await.len(), 2);
    relay.stop().await;
    world.end().await;
}

#[tokio::test]
async fn topics_are_compared_with_their_declarations() {
    let world = World::new().await;
    let reader = world.reader(subscription(), |_, _| async { Ok(()) }).await;
    let missing = verb(&world, &["topics"]).await;
    assert!(missing.code == 1 && missing.why.contains(STATES.name()), "{}", missing.why);
    assert!(missing.text.contains("it does not exist"), "{}", missing.text);
    let relay = world.relay().await;
    let lines = verb(&world, &["topics", "--json"]).await.lines();
    let classes: Vec<&str> = lines.iter().map(|line| line["class"].as_str().unwrap()).collect();
    assert_eq!(classes, ["state", "ordered", "unordered"]);
    assert!(lines.iter().all(|line| line["difference"].is_null() && line["partitions"] == 2), "{lines:?}");
    relay.stop().await;
    reader.stop().await;
    world.end().await;
}

#[tokio::test]
async fn states_are_told_again_and_facts_are_not() {
    let world = World::new().await;
    let relay = world.relay().await;
    let told = verb(&world, &["republish", STATES.name()]).await;
    assert_eq!(told.text, format!("2 states of {} are on their way\n", STATES.name()), "{}", told.why);
    let mut keys: Vec<String> =
        records(&relay, &STATES, 2).await.into_iter().map(|record| record.key).collect();
    keys.sort();
    assert_eq!(keys, ["alice", "bob"]);
    let refused = verb(&world, &["republish", UNORDERED.name()]).await;
    assert!(refused.code == 3 && refused.why.contains("told once"), "{}", refused.why);
    let unknown = verb(&world, &["republish", "kotinos.mailer.nothing.v1"]).await;
    assert!(unknown.code == 2 && unknown.why.contains(STATES.name()), "{}", unknown.why);
    relay.stop().await;
    world.end().await;
}
