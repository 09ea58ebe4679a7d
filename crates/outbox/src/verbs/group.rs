//! A consumer group as the broker knows it, from outside of it.

use std::time::Duration;

use chassis::Settings;
use domain::Service;
use rdkafka::{
    Offset, TopicPartitionList,
    admin::AdminOptions,
    consumer::{BaseConsumer, CommitMode, Consumer as _},
    error::{KafkaError, RDKafkaErrorCode},
};

use crate::{
    Error, Subscription, client,
    places::{Key, Log},
    topics,
};

const WAIT: Duration = Duration::from_secs(5);

/// How far a group is in a partition.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) topic: String,
    pub(super) partition: i32,
    /// The next offset; none when nothing was committed yet.
    pub(super) committed: Option<i64>,
    /// The oldest record.
    pub(super) low: i64,
    /// Behind the newest record.
    pub(super) end: i64,
    pub(super) lag: i64,
}

/// Every partition of a subscription. Topics that do not exist are left out.
pub(super) async fn places(
    settings: &Settings,
    service: Service,
    subscription: &Subscription,
) -> Result<Vec<Place>, Error> {
    let (settings, subscription) = (settings.clone(), subscription.clone());
    topics::blocking(move || {
        let consumer = match client(&settings, service, &subscription.name) {
            Ok(consumer) => consumer,
            Err(error) => return Ok(Err(error)),
        };
        look(&consumer, client::prefix(&settings), &subscription).map(Ok)
    })
    .await?
}

// A client that asks in the group's name and never joins it.
fn client(settings: &Settings, service: Service, name: &str) -> Result<BaseConsumer, Error> {
    let mut config = client::config(settings, service)?;
    config
        .set("group.id", client::group(settings, name))
        .set("enable.auto.commit", "false")
        .set("allow.auto.create.topics", "false");
    Ok(config.create()?)
}

fn look(
    consumer: &BaseConsumer,
    prefix: &str,
    subscription: &Subscription,
) -> Result<Vec<Place>, KafkaError> {
    let mut all = TopicPartitionList::new();
    for topic in &subscription.topics {
        let name = format!("{prefix}{topic}");
        let metadata = consumer.fetch_metadata(Some(&name), WAIT)?;
        for partition in metadata.topics().iter().flat_map(|topic| topic.partitions()) {
            all.add_partition(&name, partition.id());
        }
    }
    if all.count() == 0 {
        return Ok(Vec::new());
    }
    let committed = consumer.committed_offsets(all, WAIT)?;
    let mut places = Vec::new();
    for element in committed.elements() {
        let (low, end) = consumer.fetch_watermarks(element.topic(), element.partition(), WAIT)?;
        let committed = match element.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        };
        places.push(Place {
            topic: element.topic().strip_prefix(prefix).unwrap_or(element.topic()).to_owned(),
            partition: element.partition(),
            committed,
            low,
            end,
            // What retention took is no lag.
            lag: (end - committed.unwrap_or(low).max(low)).max(0),
        });
    }
    Ok(places)
}

impl Place {
    pub(super) fn key(&self) -> Key {
        (self.topic.clone(), self.partition)
    }

    pub(super) fn log(&self) -> Log {
        Log { committed: self.committed, low: self.low, end: self.end }
    }
}

/// Has the group go on at these offsets. It has no members.
pub(super) async fn go_on_at(
    settings: &Settings,
    service: Service,
    name: &str,
    offsets: Vec<(Key, i64)>,
) -> Result<(), Error> {
    if offsets.is_empty() {
        return Ok(());
    }
    let (settings, name) = (settings.clone(), name.to_owned());
    topics::blocking(move || {
        let consumer = match client(&settings, service, &name) {
            Ok(consumer) => consumer,
            Err(error) => return Ok(Err(error)),
        };
        let mut all = TopicPartitionList::new();
        for ((topic, partition), offset) in offsets {
            let topic = format!("{}{topic}", client::prefix(&settings));
            all.add_partition_offset(&topic, partition, Offset::Offset(offset))?;
        }
        consumer.commit(&all, CommitMode::Sync).map(Ok)
    })
    .await?
}

/// How many processes are in the group.
pub(super) async fn members(settings: &Settings, service: Service, name: &str) -> Result<usize, Error> {
    let (settings, name) = (settings.clone(), name.to_owned());
    topics::blocking(move || {
        let consumer = match client(&settings, service, &name) {
            Ok(consumer) => consumer,
            Err(error) => return Ok(Err(error)),
        };
        let group = client::group(&settings, &name);
        let groups = consumer.fetch_group_list(Some(&group), WAIT)?;
        Ok(Ok(groups.groups().iter().map(|group| group.members().len()).sum()))
    })
    .await?
}

/// Makes the broker forget how far the group is. It has no members.
pub(super) async fn forget(settings: &Settings, service: Service, name: &str) -> Result<(), Error> {
    let client = topics::admin(settings, service).await?;
    let group = client::group(settings, name);
    let options = AdminOptions::new().request_timeout(Some(WAIT));
    let deleted = client.delete_groups(&[&group], &options).await?;
    topics::close(client).await;
    for result in deleted {
        match result {
            Ok(_) | Err((_, RDKafkaErrorCode::GroupIdNotFound)) => {}
            Err((_, error)) => return Err(Error::Kafka(KafkaError::AdminOp(error))),
        }
    }
    Ok(())
}
