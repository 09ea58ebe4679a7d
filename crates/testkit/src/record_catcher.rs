//! What lies in topics of Kafka, read from the beginning by nobody's group.

use std::{
    collections::BTreeMap,
    panic::Location,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    error::KafkaError,
    message::{BorrowedMessage, Headers as _, Message as _},
};
use tokio::time::sleep;

use crate::Topics;

const WAIT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(100);

/// A record as Kafka has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaughtRecord {
    /// Without a prefix.
    pub topic: String,
    /// Partition of the topic.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
    /// The aggregate's id.
    pub key: String,
    /// Header `ce_type`: what happened.
    pub ce_type: String,
    /// Every header, as text.
    pub headers: BTreeMap<String, String>,
    /// None is a tombstone.
    pub payload: Option<Vec<u8>>,
}

/// Reads topics.
#[derive(Debug, Clone)]
pub struct RecordCatcher {
    topics: Topics,
}

impl RecordCatcher {
    /// Of topics under a prefix.
    #[must_use]
    pub const fn new(topics: Topics) -> Self {
        Self { topics }
    }

    /// Everything that lies in these topics now, named without a prefix: topic by topic, partition by partition, in
    /// order. A topic that does not exist has no records.
    ///
    /// # Panics
    /// When the brokers do not answer.
    pub async fn records(&self, topics: &[&str]) -> Vec<CaughtRecord> {
        let (place, names) =
            (self.topics.clone(), topics.iter().map(|topic| (*topic).to_owned()).collect::<Vec<_>>());
        // The client's calls wait for the broker.
        let read = tokio::task::spawn_blocking(move || read_in_time(&place, &names)).await;
        let read = read.expect("a reader that ends");
        read.unwrap_or_else(|error| panic!("{topics:?} cannot be read: {error}"))
    }

    /// What the records of these topics give, as soon as they give something.
    ///
    /// # Panics
    /// When the deadline passes, with the types of what came instead.
    #[track_caller]
    pub fn wait_for<T>(
        &self,
        topics: &[&str],
        deadline: Duration,
        find: impl Fn(&[CaughtRecord]) -> Option<T>,
    ) -> impl Future<Output = T> {
        let (caller, until) = (Location::caller(), Instant::now() + deadline);
        async move {
            loop {
                let records = self.records(topics).await;
                if let Some(found) = find(&records) {
                    return found;
                }
                if Instant::now() > until {
                    let came: Vec<&str> = records.iter().map(|record| record.ce_type.as_str()).collect();
                    panic!("no such records within {deadline:?}, asked at {caller}; what came: {came:?}")
                }
                sleep(POLL).await;
            }
        }
    }
}

// A topic that was made a moment ago has no leader yet.
fn read_in_time(place: &Topics, topics: &[String]) -> Result<Vec<CaughtRecord>, KafkaError> {
    let until = Instant::now() + WAIT;
    loop {
        match read(place, topics) {
            Err(_) if Instant::now() < until => std::thread::sleep(POLL),
            done => return done,
        }
    }
}

fn read(place: &Topics, topics: &[String]) -> Result<Vec<CaughtRecord>, KafkaError> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &place.brokers)
        // Named because the client wants a name; it is never joined and nothing is committed.
        .set("group.id", format!("{}catcher", place.prefix))
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        .create()?;
    let mut ends = assign(&consumer, place, topics)?;
    let mut records = Vec::new();
    let until = Instant::now() + WAIT;
    while !ends.is_empty() {
        assert!(Instant::now() < until, "records do not come within {WAIT:?}: {ends:?}");
        // Errors of a poll pass, as a rule; one that does not is told by the deadline.
        let Some(Ok(message)) = consumer.poll(POLL) else { continue };
        let record = caught(&message, place);
        let partition = (record.topic.clone(), record.partition);
        if ends.get(&partition).is_some_and(|end| record.offset + 1 >= *end) {
            ends.remove(&partition);
        }
        records.push(record);
    }
    let rank = |record: &CaughtRecord| topics.iter().position(|topic| *topic == record.topic);
    records.sort_by_key(|record| (rank(record), record.partition, record.offset));
    Ok(records)
}

// The end of each partition that has records.
fn assign(
    consumer: &BaseConsumer,
    place: &Topics,
    topics: &[String],
) -> Result<BTreeMap<(String, i32), i64>, KafkaError> {
    let mut assignment = TopicPartitionList::new();
    let mut ends = BTreeMap::new();
    for topic in topics {
        let name = place.full_name(topic);
        let metadata = consumer.fetch_metadata(Some(&name), WAIT)?;
        let partitions = metadata.topics().iter().filter(|found| found.name() == name);
        for partition in partitions.flat_map(rdkafka::metadata::MetadataTopic::partitions) {
            let (low, high) = consumer.fetch_watermarks(&name, partition.id(), WAIT)?;
            if low < high {
                assignment.add_partition_offset(&name, partition.id(), Offset::Offset(low))?;
                ends.insert((topic.clone(), partition.id()), high);
            }
        }
    }
    consumer.assign(&assignment)?;
    Ok(ends)
}

fn caught(message: &BorrowedMessage<'_>, place: &Topics) -> CaughtRecord {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let headers: BTreeMap<String, String> = message
        .headers()
        .into_iter()
        .flat_map(|headers| headers.iter())
        .map(|header| (header.key.to_owned(), header.value.map(text).unwrap_or_default()))
        .collect();
    let topic = message.topic();
    CaughtRecord {
        topic: topic.strip_prefix(&place.prefix).unwrap_or(topic).to_owned(),
        partition: message.partition(),
        offset: message.offset(),
        key: message.key().map(text).unwrap_or_default(),
        ce_type: headers.get("ce_type").cloned().unwrap_or_default(),
        headers,
        payload: message.payload().map(<[u8]>::to_vec),
    }
}
