//! Topics read by one process for a view in memory: every partition, no consumer group, positions kept by the caller.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use chassis::{Process, Settings};
use domain::Service;
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    error::{KafkaError, RDKafkaErrorCode},
    message::Message,
};
use tokio::sync::mpsc;

use crate::{Error, Record, client, failure::chain};

/// Records read ahead of the caller.
const AHEAD: usize = 1_000;

/// Where a tail begins.
#[derive(Debug, Clone)]
pub enum TailStart {
    /// At the oldest record of every partition.
    Beginning,
    /// At these offsets, as [`Tail::positions`] gave them; at the oldest record of partitions that are not named.
    At(Vec<(String, i32, i64)>),
    /// So many records before the end of every partition: 0 for what comes from now on, 1 to hear the newest record once
    /// more.
    End {
        /// How many, where there are so many.
        before: u32,
    },
}

/// What a tail brings.
#[derive(Debug, Clone)]
pub enum TailRecord {
    /// The next record of some partition.
    Record(Record),
    /// Once: everything that was there when the tail was opened has been read.
    CaughtUp,
}

enum Step {
    Opened(Positions),
    Record(Record),
    /// A record without a right envelope, which is passed over.
    Passed(String, i32, i64),
    CaughtUp,
}

type Positions = BTreeMap<(String, i32), i64>;

/// A reader of whole topics; dropping it ends it.
#[derive(Debug)]
pub struct Tail {
    steps: mpsc::Receiver<Result<Step, Error>>,
    positions: Positions,
}

impl Tail {
    /// Starts reading. Topics that do not exist yet are waited for, and so is the broker; partitions that are added
    /// later are not seen.
    #[must_use]
    pub fn open(process: &Process, topics: &[&str], start: TailStart) -> Self {
        let (sender, steps) = mpsc::channel(AHEAD);
        let reader = Reader {
            settings: process.settings().clone(),
            service: process.service(),
            topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
            start,
            steps: sender,
        };
        let name = format!("tail-{}", process.service().short());
        let steps_of_failure = reader.steps.clone();
        let spawned = std::thread::Builder::new().name(name).spawn(move || reader.run());
        if let Err(error) = spawned {
            let error = Error::Setting(format!("a thread for the tail cannot be started: {error}"));
            // The channel is empty.
            let _ = steps_of_failure.try_send(Err(error));
        }
        Self { steps, positions: Positions::new() }
    }

    /// The next record, in the order of its partition.
    ///
    /// # Errors
    /// The position is no longer in the topic (retention took it: the view must be rebuilt), or the client failed for
    /// good. Nothing more comes after an error.
    pub async fn next(&mut self) -> Result<TailRecord, Error> {
        loop {
            let step = self
                .steps
                .recv()
                .await
                .unwrap_or_else(|| Err(Error::Setting("the tail has ended".to_owned())))?;
            match step {
                Step::Opened(positions) => self.positions = positions,
                Step::Passed(topic, partition, offset) => {
                    self.positions.insert((topic, partition), offset + 1);
                }
                Step::Record(record) => {
                    self.positions.insert((record.topic.clone(), record.partition), record.offset + 1);
                    return Ok(TailRecord::Record(record));
                }
                Step::CaughtUp => return Ok(TailRecord::CaughtUp),
            }
        }
    }

    /// The offset of the next record of each partition, behind those that [`Tail::next`] returned.
    #[must_use]
    pub fn positions(&self) -> Vec<(String, i32, i64)> {
        self.positions
            .iter()
            .map(|((topic, partition), offset)| (topic.clone(), *partition, *offset))
            .collect()
    }
}

struct Reader {
    settings: Settings,
    service: Service,
    topics: Vec<String>,
    start: TailStart,
    steps: mpsc::Sender<Result<Step, Error>>,
}

// The caller is gone.
struct Gone;

impl Reader {
    fn run(self) {
        let consumer = match self.consumer() {
            Ok(consumer) => consumer,
            Err(error) => {
                let _ = self.steps.blocking_send(Err(error));
                return;
            }
        };
        let opened = loop {
            if self.steps.is_closed() {
                return;
            }
            match self.open(&consumer) {
                Ok(opened) => break opened,
                Err(error) => tracing::debug!(error = chain(&error), "a tail waits for its topics"),
            }
            std::thread::sleep(Duration::from_millis(250));
        };
        let _ = self.read(&consumer, opened);
    }

    fn consumer(&self) -> Result<BaseConsumer, Error> {
        let mut config = client::config(&self.settings, self.service)?;
        config
            // Named because the client wants a name; it is never joined and nothing is committed.
            .set(
                "group.id",
                format!("{}kotinos.{}.tail", client::prefix(&self.settings), self.service.short()),
            )
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("queued.max.messages.kbytes", "16384")
            .set("fetch.queue.backoff.ms", "20");
        Ok(config.create()?)
    }

    // The first offset and the end of each partition, and the assignment.
    fn open(&self, consumer: &BaseConsumer) -> Result<(Positions, Positions), Error> {
        let wait = Duration::from_secs(5);
        let wanted: HashMap<(&str, i32), i64> = match &self.start {
            TailStart::Beginning | TailStart::End { .. } => HashMap::new(),
            TailStart::At(positions) => positions
                .iter()
                .map(|(topic, partition, offset)| ((topic.as_str(), *partition), *offset))
                .collect(),
        };
        let (mut first, mut end) = (Positions::new(), Positions::new());
        let mut assignment = TopicPartitionList::new();
        for topic in &self.topics {
            let name = format!("{}{topic}", client::prefix(&self.settings));
            let metadata = consumer.fetch_metadata(Some(&name), wait)?;
            let partitions = metadata.topics().first().map_or(&[][..], |topic| topic.partitions());
            if partitions.is_empty() {
                return Err(Error::Topic { topic: name, difference: "it does not exist yet".to_owned() });
            }
            for partition in partitions.iter().map(rdkafka::metadata::MetadataPartition::id) {
                let (low, high) = consumer.fetch_watermarks(&name, partition, wait)?;
                let start = match self.start {
                    TailStart::End { before } => (high - i64::from(before)).max(low),
                    TailStart::Beginning | TailStart::At(_) => low,
                };
                let offset = wanted.get(&(topic.as_str(), partition)).copied().unwrap_or(start);
                assignment.add_partition_offset(&name, partition, Offset::Offset(offset))?;
                first.insert((topic.clone(), partition), offset);
                end.insert((topic.clone(), partition), high);
            }
        }
        consumer.assign(&assignment)?;
        end.retain(|key, high| first.get(key).is_some_and(|offset| offset < high));
        Ok((first, end))
    }

    fn read(&self, consumer: &BaseConsumer, (first, mut end): (Positions, Positions)) -> Result<(), Gone> {
        self.send(Ok(Step::Opened(first)))?;
        let mut caught_up = false;
        while !self.steps.is_closed() {
            if end.is_empty() && !caught_up {
                caught_up = true;
                self.send(Ok(Step::CaughtUp))?;
            }
            let message = match consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => message,
                Some(Err(error)) => {
                    self.passing(error)?;
                    continue;
                }
                None => continue,
            };
            let prefix = client::prefix(&self.settings);
            let topic = message.topic().strip_prefix(prefix).unwrap_or(message.topic()).to_owned();
            let (partition, offset) = (message.partition(), message.offset());
            let key = (topic.clone(), partition);
            if end.get(&key).is_some_and(|high| offset + 1 >= *high) {
                end.remove(&key);
            }
            match Record::read(&message, prefix) {
                Ok(record) => self.send(Ok(Step::Record(record)))?,
                Err(part) => {
                    tracing::error!(
                        topic,
                        partition,
                        offset,
                        part,
                        "a record without a right envelope was passed over"
                    );
                    self.send(Ok(Step::Passed(topic, partition, offset)))?;
                }
            }
        }
        Ok(())
    }

    fn passing(&self, error: KafkaError) -> Result<(), Gone> {
        match &error {
            KafkaError::MessageConsumptionFatal(_)
            | KafkaError::MessageConsumption(
                RDKafkaErrorCode::AutoOffsetReset
                | RDKafkaErrorCode::OffsetOutOfRange
                | RDKafkaErrorCode::TopicAuthorizationFailed,
            ) => {
                self.send(Err(Error::Kafka(error)))?;
                Err(Gone)
            }
            _ => {
                tracing::debug!(%error, "the tail's kafka client reports an error");
                Ok(())
            }
        }
    }

    fn send(&self, step: Result<Step, Error>) -> Result<(), Gone> {
        self.steps.blocking_send(step).map_err(|_| Gone)
    }
}
