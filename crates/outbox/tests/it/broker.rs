//! The broker as an operator's tool or a foreign client meets it.

use std::{collections::BTreeMap, time::Duration};

use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, ConfigSource, NewTopic, ResourceSpecifier, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer as _},
    message::{Header, Message as _, OwnedHeaders},
    producer::{FutureProducer, FutureRecord},
};
use testkit::{Topics, eventually};

use crate::world::DEADLINE;

const WAIT: Duration = Duration::from_secs(10);

fn client(topics: &Topics) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &topics.brokers);
    config
}

pub fn admin(topics: &Topics) -> AdminClient<DefaultClientContext> {
    client(topics).create().unwrap()
}

/// A topic that an operator made.
pub async fn create(topics: &Topics, name: &str, partitions: i32, settings: &[(&str, &str)]) {
    let name = topics.full_name(name);
    let new = NewTopic::new(&name, partitions, TopicReplication::Fixed(1));
    let new = settings.iter().fold(new, |new, (key, value)| new.set(key, value));
    admin(topics).create_topics(&[new], &AdminOptions::new()).await.unwrap().remove(0).unwrap();
    eventually(DEADLINE, || async { (partitions_of(topics, &name) > 0).then_some(()) }).await;
}

fn partitions_of(topics: &Topics, full_name: &str) -> usize {
    let consumer: BaseConsumer = client(topics).create().unwrap();
    let metadata = consumer.fetch_metadata(Some(full_name), WAIT).unwrap();
    metadata.topics().iter().map(|topic| topic.partitions().len()).sum()
}

/// Number of partitions, and the settings that are the topic's own.
pub async fn describe(topics: &Topics, name: &str) -> (usize, BTreeMap<String, String>) {
    let name = topics.full_name(name);
    let (admin, options) = (admin(topics), AdminOptions::new());
    let mut described = admin.describe_configs(&[ResourceSpecifier::Topic(&name)], &options).await.unwrap();
    let entries = described.remove(0).unwrap().entries.into_iter();
    let own = entries.filter(|entry| matches!(entry.source, ConfigSource::DynamicTopic));
    let settings = own.map(|entry| (entry.name, entry.value.unwrap_or_default())).collect();
    (partitions_of(topics, &name), settings)
}

/// Deletes a topic, as an operator does by mistake.
pub async fn delete(topics: &Topics, name: &str) {
    let name = topics.full_name(name);
    admin(topics).delete_topics(&[&name], &AdminOptions::new()).await.unwrap().remove(0).unwrap();
    eventually(DEADLINE, || async { (partitions_of(topics, &name) == 0).then_some(()) }).await;
}

/// Takes records away from the beginning of a partition, as retention does.
pub async fn expire(topics: &Topics, name: &str, partition: i32, before: i64) {
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset(&topics.full_name(name), partition, Offset::Offset(before)).unwrap();
    let done = admin(topics).delete_records(&offsets, &AdminOptions::new()).await.unwrap();
    done.elements()[0].error().unwrap();
}

/// Forgets how far a consumer is, as a broker does whose offsets topic was lost.
pub async fn forget_offsets(topics: &Topics, consumer: &str) {
    let group = format!("{}kotinos.{consumer}", topics.prefix);
    let admin = admin(topics);
    // Its last member may not have left yet.
    eventually(DEADLINE, || async {
        let deleted = admin.delete_groups(&[&group], &AdminOptions::new()).await.unwrap().remove(0);
        deleted.ok()
    })
    .await;
}

/// A record of a foreign producer.
pub async fn produce(topics: &Topics, name: &str, key: &str, headers: &[(&str, &str)], payload: &[u8]) {
    let producer: FutureProducer = client(topics).set("partitioner", "murmur2_random").create().unwrap();
    let own = headers
        .iter()
        .fold(OwnedHeaders::new(), |own, (key, value)| own.insert(Header { key, value: Some(*value) }));
    let name = topics.full_name(name);
    let record = FutureRecord::to(&name).key(key).headers(own).payload(payload);
    producer.send(record, WAIT).await.unwrap();
}

/// The timestamps of a topic's records, in milliseconds since the epoch, by key.
pub fn timestamps(topics: &Topics, name: &str, count: usize) -> BTreeMap<String, i64> {
    let consumer: BaseConsumer =
        client(topics).set("group.id", format!("{}timestamps", topics.prefix)).create().unwrap();
    let name = topics.full_name(name);
    let mut all = TopicPartitionList::new();
    for partition in 0..i32::try_from(partitions_of(topics, &name)).unwrap() {
        all.add_partition_offset(&name, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&all).unwrap();
    let mut found = BTreeMap::new();
    while found.len() < count {
        let message = consumer.poll(WAIT).unwrap().unwrap();
        let key = String::from_utf8(message.key().unwrap().to_vec()).unwrap();
        found.insert(key, message.timestamp().to_millis().unwrap());
    }
    found
}
