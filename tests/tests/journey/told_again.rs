//! What an operator does when a topic of states was lost: every state is told again, by the program beside the one that
//! serves.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use domain::Service;
use e2e::{Suite, until};
use prost::Message as _;
use proto::identity::v1::UserState;

/// The state in a payload, without what the change was; nothing where the two are mixed.
type State = fn(&[u8]) -> Option<Vec<u8>>;

/// Each topic of states, how many a journey leaves at least, and the state in its payloads.
const STATES: [(Service, &str, usize, State); 6] = [
    (Service::Identity, "kotinos.identity.user.v1", 4, user_alone),
    (Service::Profile, "kotinos.profile.profile.v1", 4, |_| None),
    (Service::Profile, "kotinos.profile.consent.v1", 1, |_| None),
    (Service::Segmentation, "kotinos.segmentation.segment.v1", 1, whole),
    (Service::Mailer, "kotinos.mailer.suppression.v1", 0, whole),
    (Service::ResultsFeed, "kotinos.results.schedule.v1", 1, whole),
];

fn whole(payload: &[u8]) -> Option<Vec<u8>> {
    Some(payload.to_vec())
}

fn user_alone(payload: &[u8]) -> Option<Vec<u8>> {
    let Ok(user) = UserState::decode(payload) else { return whole(payload) };
    let user = UserState { cause: String::new(), credential_kind: String::new(), consent: None, ..user };
    Some(user.encode_to_vec())
}

/// The newest record of a key.
#[derive(Debug, PartialEq, Eq)]
struct Newest {
    version: String,
    state: Option<Vec<u8>>,
}

/// Tells all states again, and compares with what the services said by themselves.
pub async fn is_the_same(suite: &Suite) -> Result<()> {
    for (service, topic, least, state) in STATES {
        let before = newest(suite, topic, state).await;
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
        let after = newest(suite, topic, state).await;
        ensure!(after.keys.len() == count, "{} keys of {topic}, {count} told", after.keys.len());
        for (key, now) in &after.keys {
            let was = before.keys.get(key).with_context(|| format!("{topic} never had a key {key}"))?;
            ensure!(was == now, "{topic}, {key}: told {was:?}, and again {now:?}");
        }
        println!("   {service} told {count} states of {topic} again");
    }
    Ok(())
}

struct Told {
    records: usize,
    keys: BTreeMap<String, Newest>,
}

async fn newest(suite: &Suite, topic: &str, state: State) -> Told {
    let records = suite.facts.on(topic).await;
    let count = records.len();
    // Records of a key lie in one partition, in order.
    let keys = records.into_iter().map(|mut record| {
        let version = record.headers.remove("kotinos_version").unwrap_or_default();
        (record.key, Newest { version, state: record.payload.as_deref().and_then(state) })
    });
    Told { records: count, keys: keys.collect() }
}
