//! Topics as declared: made where they are missing, compared where an operator makes them.

use std::collections::BTreeMap;

use chassis::{Component, Settings};
use outbox::{Partitions, Topic};
use testkit::{TestApp, Topics};

use crate::{
    broker,
    world::{ORDERED, SERVICE, STATES, TOPICS, UNORDERED, migrator},
};

static SHORTER: Topic = Topic::ordered("kotinos.mailer.erasure.v1", Partitions::PERSON).retain_days(7);
static ONE: &[&Topic] = &[&ORDERED];
static TWO: &[&Topic] = &[&ORDERED, &STATES];
static OTHER: &[&Topic] = &[&SHORTER];

async fn start(place: &Topics, mode: chassis::Topics, topics: &'static [&'static Topic]) -> TestApp {
    let prefix = place.prefix.clone();
    let change = move |settings: &mut Settings| {
        settings.topics = mode;
        settings.topic_prefix = prefix;
    };
    TestApp::start_with(SERVICE, change, move |process, url| async move {
        let pool = process.database(&url.parse()?);
        let component = Component::new(SERVICE).database(pool.clone(), migrator());
        Ok(vec![outbox::publish(component, &process, &pool, topics)])
    })
    .await
}

async fn refusal(place: &Topics, topics: &'static [&'static Topic]) -> String {
    let place = place.clone();
    let starts = async move { start(&place, chassis::Topics::Verify, topics).await };
    let failed = tokio::spawn(starts).await.err().expect("a process that does not start");
    *failed.into_panic().downcast::<String>().unwrap()
}

fn settings(of: &[(&str, &str)]) -> BTreeMap<String, String> {
    of.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn missing_topics_are_made_as_declared() {
    let place = Topics::fresh();
    let app = start(&place, chassis::Topics::Ensure, TOPICS).await;
    let states = settings(&[
        ("cleanup.policy", "compact"),
        ("segment.ms", "3600000"),
        ("max.compaction.lag.ms", "3600000"),
        ("delete.retention.ms", "604800000"),
    ]);
    // A test's topics have few partitions.
    assert_eq!(broker::describe(&place, STATES.name()).await, (2, states));
    let month = settings(&[("cleanup.policy", "delete"), ("retention.ms", "2592000000")]);
    assert_eq!(broker::describe(&place, ORDERED.name()).await, (2, month));
    let week = settings(&[("cleanup.policy", "delete"), ("retention.ms", "604800000")]);
    assert_eq!(broker::describe(&place, UNORDERED.name()).await, (2, week));

    // As declared, so that the other mode starts too; both go on beside each other.
    let verified = start(&place, chassis::Topics::Verify, TOPICS).await;
    drop(verified);
    app.stop().await;
}

#[tokio::test]
async fn a_difference_stops_the_start_and_is_named() {
    let place = Topics::fresh();
    let name = place.full_name(ORDERED.name());
    let why = refusal(&place, ONE).await;
    assert!(why.contains(&format!("topic {name} is not as declared: it does not exist")), "{why}");

    broker::create(&place, ORDERED.name(), 1, &[]).await;
    let why = refusal(&place, ONE).await;
    assert!(
        why.contains(&format!("{name} is not as declared: it has 1 partitions, declared are 2")),
        "{why}"
    );

    let app = start(&place, chassis::Topics::Ensure, TWO).await;
    assert_eq!(broker::describe(&place, ORDERED.name()).await, (1, settings(&[])), "it changes nothing");
    app.stop().await;
}

#[tokio::test]
async fn a_different_setting_stops_the_start_and_is_named() {
    let place = Topics::fresh();
    let app = start(&place, chassis::Topics::Ensure, OTHER).await;
    let why = refusal(&place, ONE).await;
    let expected = format!(
        "topic {} is not as declared: retention.ms is 604800000, declared is 2592000000",
        place.full_name(ORDERED.name())
    );
    assert!(why.contains(&expected), "{why}");
    app.stop().await;
}
