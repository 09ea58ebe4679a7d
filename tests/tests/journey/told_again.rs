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

/// A record.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    version: String,
    state: Option<Vec<u8>>,
}

/// Tells all states again, and compares with what the services said by themselves. What they have said may still be on its
/// way when that begins, and comes before what is told again.
pub async fn is_the_same(suite: &Suite) -> Result<()> {
    for (service, topic, least, state) in STATES {
        let before = suite.facts.on(topic).await.len();
        let said = suite.verb(service, &["republish", topic]).await?;
        let count = said.split(' ').next().unwrap_or_default();
        let count: usize = count.parse().with_context(|| format!("{service} says {said:?}"))?;
        ensure!(count >= least, "{service} tells {count} states of {topic}, at least {least} are there");
        let what = format!("{count} states of {topic} again");
        let told = until(&what, async || {
            let told = told(suite, topic, state).await;
            let records: usize = told.values().map(Vec::len).sum();
            let is_whole = records >= before + count && told.values().all(|of_key| is_told_again(of_key));
            Ok(is_whole.then_some(told))
        })
        .await?;
        ensure!(told.len() == count, "{} keys of {topic}, {count} told", told.len());
        for (key, of_key) in &told {
            let [.., was, now] = of_key.as_slice() else { continue };
            ensure!(was == now, "{topic}, {key}: told {was:?}, and again {now:?}");
        }
        println!("   {service} told {count} states of {topic} again");
    }
    Ok(())
}

/// Whether its newest version was said twice.
fn is_told_again(of_key: &[Told]) -> bool {
    matches!(of_key, [.., was, now] if was.version == now.version)
}

/// What was said of each key, in order: records of a key lie in one partition.
async fn told(suite: &Suite, topic: &str, state: State) -> BTreeMap<String, Vec<Told>> {
    let mut told: BTreeMap<_, Vec<Told>> = BTreeMap::new();
    for mut record in suite.facts.on(topic).await {
        let version = record.headers.remove("kotinos_version").unwrap_or_default();
        let of_key = told.entry(record.key).or_default();
        of_key.push(Told { version, state: record.payload.as_deref().and_then(state) });
    }
    told
}
