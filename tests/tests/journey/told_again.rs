//! What an operator does when a topic of states was lost: every state is told again, by the program beside the one that
//! serves.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use domain::Service;
use e2e::{Suite, until};

/// Each topic of states, how many a journey leaves at least, and whether a payload is the state alone: profile's say
/// besides what the change was.
const STATES: [(Service, &str, usize, bool); 6] = [
    (Service::Identity, "kotinos.identity.user.v1", 4, true),
    (Service::Profile, "kotinos.profile.profile.v1", 4, false),
    (Service::Profile, "kotinos.profile.consent.v1", 1, false),
    (Service::Segmentation, "kotinos.segmentation.segment.v1", 1, true),
    (Service::Mailer, "kotinos.mailer.suppression.v1", 0, true),
    (Service::ResultsFeed, "kotinos.results.schedule.v1", 1, true),
];

/// The newest record of a key.
#[derive(Debug, PartialEq, Eq)]
struct Newest {
    version: String,
    payload: Option<Vec<u8>>,
}

/// Tells all states again, and compares with what the services said by themselves.
pub async fn is_the_same(suite: &Suite) -> Result<()> {
    for (service, topic, least, whole) in STATES {
        let before = newest(suite, topic).await;
        let said = suite.verb(service, &["republish", topic]).await?;
        let count = said.split(' ').next().unwrap_or_default();
        let count: usize = count.parse().with_context(|| format!("{service} says {said:?}"))?;
        ensure!(count >= least, "{service} tells {count} states of {topic}, at least {least} are there");
        let what = format!("{count} states of {topic} again");
        until(&what, async || {
            let records = suite.facts.on(topic).await.len();
            Ok((records == before.records + count).then_some(()))
        })
        .await?;
        let after = newest(suite, topic).await;
        ensure!(after.keys.len() == count, "{} keys of {topic}, {count} told", after.keys.len());
        for (key, now) in &after.keys {
            let was = before.keys.get(key).with_context(|| format!("{topic} never had a key {key}"))?;
            let same = if whole { was == now } else { was.version == now.version };
            ensure!(same, "{topic}, {key}: told {was:?}, and again {now:?}");
        }
        println!("   {service} told {count} states of {topic} again");
    }
    Ok(())
}

struct Told {
    records: usize,
    keys: BTreeMap<String, Newest>,
}

async fn newest(suite: &Suite, topic: &str) -> Told {
    let records = suite.facts.on(topic).await;
    let count = records.len();
    // Records of a key lie in one partition, in order.
    let keys = records.into_iter().map(|mut record| {
        let version = record.headers.remove("kotinos_version").unwrap_or_default();
        (record.key, Newest { version, payload: record.payload })
    });
    Told { records: count, keys: keys.collect() }
}
