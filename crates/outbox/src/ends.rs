//! Where partitions begin and end, and whether the relay's topics still have what it wrote.
//!
//! Nobody else writes to a service's topics, and a partition never gets shorter: neither retention nor compaction moves its
//! end. So one that ends before the relay's last record is another one, or lost its end with a disk. Topics have ids in
//! Kafka, but the client does not tell them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use chassis::Settings;
use domain::Service;
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _, ConsumerContext},
    error::{KafkaError, RDKafkaErrorCode},
};

use crate::{Error, client};

/// Within a lease, whose leader asks.
const WAIT: Duration = Duration::from_secs(2);

/// One offset of each partition: its first, with [`Offset::Beginning`], or the one behind its last, with [`Offset::End`].
/// Topics by their names on the broker. Waits for the broker.
pub(crate) fn offsets<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    mut partitions: TopicPartitionList,
    which: Offset,
    wait: Duration,
) -> Result<HashMap<(String, i32), i64>, KafkaError> {
    // The protocol takes these two in the place of a time, and answers for all partitions at once.
    partitions.set_all_offsets(which)?;
    let told = consumer.offsets_for_times(partitions, wait)?;
    let mut found = HashMap::with_capacity(told.count());
    for element in told.elements() {
        element.error()?;
        let Offset::Offset(offset) = element.offset() else {
            return Err(KafkaError::OffsetFetch(RDKafkaErrorCode::NoOffset));
        };
        found.insert((element.topic().to_owned(), element.partition()), offset);
    }
    Ok(found)
}

/// Behind the relay's last record of each partition.
#[derive(Debug)]
pub(crate) struct Ends {
    service: Service,
    known: HashMap<Arc<str>, BTreeMap<i32, End>>,
}

#[derive(Debug, Default)]
struct End {
    offset: i64,
    is_saved: bool,
}

/// Topic, without a prefix, partition, offset.
pub(crate) type Known = (String, i32, i64);

impl Ends {
    pub(crate) fn new(service: Service, saved: Vec<Known>) -> Self {
        let mut known: HashMap<Arc<str>, BTreeMap<i32, End>> = HashMap::new();
        for (topic, partition, offset) in saved {
            known.entry(topic.into()).or_default().insert(partition, End { offset, is_saved: true });
        }
        Self { service, known }
    }

    /// Kafka put a record at `offset`. Below the end means that it is the end of another topic of that name.
    pub(crate) fn acknowledged(
        &mut self,
        topic: &Arc<str>,
        (partition, offset): (i32, i64),
    ) -> Result<(), Error> {
        // Kafka had it before, and does not say where.
        if offset < 0 {
            return Ok(());
        }
        let end = self.known.entry(Arc::clone(topic)).or_default().entry(partition).or_default();
        if offset < end.offset {
            let found = shorter(partition, offset, end.offset);
            return Err(Error::TopicLost { topic: topic.to_string(), found, service: self.service });
        }
        *end = End { offset: offset + 1, is_saved: false };
        Ok(())
    }

    pub(crate) fn all(&self) -> Vec<Known> {
        self.list(|_| true)
    }

    pub(crate) fn unsaved(&self) -> Vec<Known> {
        self.list(|end| !end.is_saved)
    }

    pub(crate) fn saved(&mut self) {
        for end in self.known.values_mut().flat_map(BTreeMap::values_mut) {
            end.is_saved = true;
        }
    }

    /// Kafka took a record not. Where it knows no such topic any more, that is what happened.
    pub(crate) fn refused(&self, topic: &str, source: KafkaError) -> Error {
        use RDKafkaErrorCode::{UnknownPartition, UnknownTopic, UnknownTopicOrPartition};
        let is_gone = matches!(
            source.rdkafka_error_code(),
            Some(UnknownTopicOrPartition | UnknownTopic | UnknownPartition)
        );
        let topic = topic.to_owned();
        if is_gone && self.known.contains_key(topic.as_str()) {
            return Error::TopicLost { topic, found: source.to_string(), service: self.service };
        }
        Error::Refused { topic, source }
    }

    fn list(&self, wanted: impl Fn(&End) -> bool) -> Vec<Known> {
        let mut list = Vec::new();
        for (topic, partitions) in &self.known {
            let ends = partitions.iter().filter(|(_, end)| wanted(end));
            list.extend(ends.map(|(partition, end)| (topic.to_string(), *partition, end.offset)));
        }
        list
    }
}

fn shorter(partition: i32, end: i64, known: i64) -> String {
    format!("partition {partition} ends at {end}, and it was written up to {known}")
}

/// Asks Kafka whether each topic still ends where the relay left it, or behind. Waits for the broker.
///
/// # Errors
/// [`Error::TopicLost`] names the first topic that does not; others mean that Kafka did not say.
pub(crate) fn compare(settings: &Settings, service: Service, known: &[Known]) -> Result<(), Error> {
    if known.is_empty() {
        return Ok(());
    }
    let mut config = client::config(settings, service)?;
    config.set("allow.auto.create.topics", "false");
    let consumer: BaseConsumer = config.create()?;
    let lost = |topic: &str, found| Err(Error::TopicLost { topic: topic.to_owned(), found, service });
    let prefix = client::prefix(settings);
    let topics: BTreeSet<&str> = known.iter().map(|(topic, ..)| topic.as_str()).collect();
    let mut partitions = TopicPartitionList::new();
    for topic in topics {
        let name = format!("{prefix}{topic}");
        let metadata = consumer.fetch_metadata(Some(&name), WAIT)?;
        let Some(told) = metadata.topics().iter().find(|told| told.name() == name) else { continue };
        match told.error().map(RDKafkaErrorCode::from) {
            None => {}
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                return lost(topic, "it does not exist".to_owned());
            }
            Some(code) => return Err(Error::Kafka(KafkaError::MetadataFetch(code))),
        }
        for (_, partition, _) in known.iter().filter(|(of, ..)| of == topic) {
            if !told.partitions().iter().any(|found| found.id() == *partition) {
                return lost(topic, format!("it has no partition {partition} any more"));
            }
            partitions.add_partition(&name, *partition);
        }
    }
    let ends = offsets(&consumer, partitions, Offset::End, WAIT)?;
    for (topic, partition, written) in known {
        let end = ends.get(&(format!("{prefix}{topic}"), *partition));
        if let Some(end) = end.filter(|end| *end < written) {
            return lost(topic, shorter(*partition, *end, *written));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acknowledgement_below_the_end_is_of_another_topic() {
        let mut ends = Ends::new(Service::Mailer, vec![("kotinos.mailer.campaign.v1".to_owned(), 1, 7)]);
        let topic: Arc<str> = "kotinos.mailer.campaign.v1".into();
        ends.acknowledged(&topic, (1, 7)).unwrap();
        ends.acknowledged(&topic, (1, 9)).unwrap();
        // One that Kafka had before.
        ends.acknowledged(&topic, (1, -1001)).unwrap();
        ends.acknowledged(&topic, (0, 0)).unwrap();
        let mut unsaved = ends.unsaved();
        unsaved.sort();
        assert_eq!(unsaved, [(topic.to_string(), 0, 1), (topic.to_string(), 1, 10)]);
        ends.saved();
        assert!(ends.unsaved().is_empty() && ends.all().len() == 2);

        let lost = ends.acknowledged(&topic, (1, 0)).unwrap_err().to_string();
        assert!(lost.contains("kotinos.mailer.campaign.v1 lost records"), "{lost}");
        assert!(lost.contains("`mailer outbox resend --topic kotinos.mailer.campaign.v1`"), "{lost}");
        assert!(ends.unsaved().is_empty(), "what it was written up to is known further on");
    }
}
