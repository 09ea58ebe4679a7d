//! A consumer group member: a thread of its own polls, a task a partition takes the records in.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering, mpsc as std_mpsc},
    time::{Duration, Instant},
};

use chassis::Settings;
use domain::Service;
use rdkafka::{
    ClientConfig, ClientContext, Offset, Statistics, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext},
    error::{KafkaError, RDKafkaErrorCode},
    message::{BorrowedMessage, Message},
    types::RDKafkaRespErr,
};
use tokio::{
    runtime::Handle,
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::{
    Error, Record, Subscription, client,
    lane::{Progress, Shared, Worker, size},
    parking::Parking,
};

// A partition rests while so much of it waits, and goes on at half of it.
const QUEUED: usize = 2_000;
const QUEUED_BYTES: usize = 8 << 20;
const TEND: Duration = Duration::from_millis(20);
const COMMIT: Duration = Duration::from_millis(500);
const RELEASE: Duration = Duration::from_secs(5);

struct Lane {
    records: mpsc::UnboundedSender<Record>,
    progress: Arc<Progress>,
    task: JoinHandle<()>,
    ended: std_mpsc::Receiver<()>,
    paused: bool,
    committed: i64,
}

type Key = (String, i32);

/// The client's context: its rebalance callbacks run inside `poll`, on the polling thread.
struct Lanes {
    subscription: Subscription,
    service: Service,
    prefix: String,
    shared: Arc<Shared>,
    runtime: Handle,
    lanes: Mutex<HashMap<Key, Lane>>,
}

/// All that the polling thread needs.
pub(crate) struct Poller {
    pub(crate) settings: Settings,
    pub(crate) service: Service,
    pub(crate) subscription: Subscription,
    pub(crate) shared: Arc<Shared>,
    pub(crate) runtime: Handle,
    pub(crate) stop: CancellationToken,
    /// By an operator: it leaves its group meanwhile.
    pub(crate) paused: watch::Receiver<bool>,
}

impl Poller {
    /// Polls until told to stop; a client that failed for good is replaced by a new one.
    pub(crate) fn run(&self) {
        while !self.stop.is_cancelled() {
            if *self.paused.borrow() {
                std::thread::sleep(Duration::from_millis(50));
                continue;
            }
            if let Err(error) = self.poll_until_stop() {
                tracing::error!(consumer = self.subscription.name, %error, "the consumer failed and starts again");
                let until = Instant::now() + Duration::from_secs(3);
                while Instant::now() < until && !self.stop.is_cancelled() {
                    std::thread::sleep(Duration::from_millis(50));
                }
            }
        }
    }

    fn poll_until_stop(&self) -> Result<(), Error> {
        let prefix = client::prefix(&self.settings).to_owned();
        let topics: Vec<String> =
            self.subscription.topics.iter().map(|topic| format!("{prefix}{topic}")).collect();
        let context = Lanes {
            subscription: self.subscription.clone(),
            service: self.service,
            prefix,
            shared: Arc::clone(&self.shared),
            runtime: self.runtime.clone(),
            lanes: Mutex::default(),
        };
        let config = config(&self.settings, self.service, &self.subscription)?;
        let consumer: BaseConsumer<Lanes> = config.create_with_context(context)?;
        consumer.subscribe(&topics.iter().map(String::as_str).collect::<Vec<_>>())?;
        let outcome = self.poll(&consumer);
        let lanes = consumer.context();
        lanes.release(&consumer, &lanes.take_all());
        // Dropping it leaves the group.
        outcome
    }

    fn poll(&self, consumer: &BaseConsumer<Lanes>) -> Result<(), Error> {
        let lanes = consumer.context();
        let (mut tended, mut committed) = (Instant::now(), Instant::now());
        while !self.stop.is_cancelled() && !*self.paused.borrow() {
            // Nothing is not the end: it comes long before the time is up after a rebalance.
            match consumer.poll(Duration::from_millis(50)) {
                Some(Ok(message)) => lanes.route(consumer, &message),
                Some(Err(error)) => passing(error)?,
                None => {}
            }
            if tended.elapsed() >= TEND {
                tended = Instant::now();
                lanes.resume(consumer);
            }
            if committed.elapsed() >= COMMIT {
                committed = Instant::now();
                lanes.commit(consumer);
            }
        }
        Ok(())
    }
}

// Brokers that are away and topics that do not exist yet come back by themselves.
fn passing(error: KafkaError) -> Result<(), Error> {
    match &error {
        KafkaError::MessageConsumptionFatal(_)
        | KafkaError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset) => Err(Error::Kafka(error)),
        _ => {
            tracing::debug!(%error, "the consumer's kafka client reports an error");
            Ok(())
        }
    }
}

fn config(settings: &Settings, service: Service, subscription: &Subscription) -> Result<ClientConfig, Error> {
    let mut config = client::config(settings, service)?;
    config
        .set("group.id", client::group(settings, &subscription.name))
        .set("partition.assignment.strategy", "cooperative-sticky")
        // Offsets are committed by us, after the effect's commit.
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        // A first start is given explicit offsets; an offset that retention took must not be skipped silently.
        .set("auto.offset.reset", "error")
        // A killed member's partitions move on within this time.
        .set("session.timeout.ms", "8000")
        .set("heartbeat.interval.ms", "2000")
        // Topics of other services may be created after this one subscribed.
        .set("topic.metadata.refresh.interval.ms", "2000")
        .set("queued.max.messages.kbytes", "16384")
        .set("fetch.queue.backoff.ms", "20")
        .set("statistics.interval.ms", "10000");
    Ok(config)
}

impl ClientContext for Lanes {
    fn stats(&self, statistics: Statistics) {
        let partitions = statistics.topics.values().flat_map(|topic| topic.partitions.values());
        let lag: i64 = partitions.map(|partition| partition.consumer_lag.max(0)).sum();
        self.shared.gauges.lag(lag);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(consumer = self.subscription.name, %error, reason, "the kafka client reports an error");
    }
}

impl ConsumerContext for Lanes {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        error: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        let result = match error {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                self.begin_at(consumer, partitions);
                self.open(partitions);
                consumer.incremental_assign(partitions)
            }
            _ => {
                let lanes = self.take(partitions);
                if consumer.assignment_lost() {
                    // Others have them already: what is running may end, but nothing is committed.
                    lanes.into_iter().for_each(|(_, lane)| lane.progress.stop.cancel());
                } else {
                    self.release(consumer, &lanes);
                }
                consumer.incremental_unassign(partitions)
            }
        };
        if let Err(error) = result {
            tracing::error!(consumer = self.subscription.name, %error, "a rebalance failed");
        }
    }
}

impl Lanes {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Lane>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // A partition that the group never committed is read from its beginning.
    fn begin_at(&self, consumer: &BaseConsumer<Self>, partitions: &mut TopicPartitionList) {
        let committed = match consumer.committed_offsets(partitions.clone(), Duration::from_secs(10)) {
            Ok(committed) => committed,
            Err(error) => {
                // The client asks by itself then; a partition without a commit fails, and the consumer starts again.
                tracing::warn!(consumer = self.subscription.name, %error, "committed offsets are not known");
                return;
            }
        };
        for partition in committed.elements() {
            let offset = match partition.offset() {
                Offset::Offset(offset) => Offset::Offset(offset),
                _ => Offset::Beginning,
            };
            let set = partitions.set_partition_offset(partition.topic(), partition.partition(), offset);
            if let Err(error) = set {
                tracing::warn!(consumer = self.subscription.name, %error, "an offset cannot be set");
            }
        }
    }

    fn open(&self, partitions: &TopicPartitionList) {
        let mut lanes = self.lock();
        for partition in partitions.elements() {
            let topic = partition.topic().strip_prefix(&self.prefix).unwrap_or(partition.topic()).to_owned();
            let lane = self.lane(topic.clone(), partition.partition());
            lanes.insert((topic, partition.partition()), lane);
        }
    }

    fn lane(&self, topic: String, partition: i32) -> Lane {
        let (sender, records) = mpsc::unbounded_channel();
        let (end, ended) = std_mpsc::channel();
        let progress = Arc::new(Progress::new());
        let collapse = self.subscription.collapse.contains(&topic);
        let worker = Worker {
            shared: Arc::clone(&self.shared),
            progress: Arc::clone(&progress),
            records,
            parking: Parking {
                pool: self.shared.pool.clone(),
                service: self.service,
                consumer: self.subscription.name.as_str().into(),
                topic,
                partition,
                collapse,
            },
            parked: Default::default(),
        };
        let task = self.runtime.spawn(async move {
            worker.run().await;
            drop(end);
        });
        Lane { records: sender, progress, task, ended, paused: false, committed: -1 }
    }

    fn take(&self, partitions: &TopicPartitionList) -> Vec<(Key, Lane)> {
        let mut lanes = self.lock();
        let keys = partitions.elements().into_iter().map(|partition| {
            let topic = partition.topic().strip_prefix(&self.prefix).unwrap_or(partition.topic()).to_owned();
            (topic, partition.partition())
        });
        keys.filter_map(|key| lanes.remove_entry(&key)).collect()
    }

    fn take_all(&self) -> Vec<(Key, Lane)> {
        self.lock().drain().collect()
    }

    // No new batches, a bounded wait for those that run, then their offsets.
    fn release(&self, consumer: &BaseConsumer<Self>, lanes: &[(Key, Lane)]) {
        let until = Instant::now() + RELEASE;
        for (_, lane) in lanes {
            lane.progress.stop.cancel();
        }
        let mut offsets = TopicPartitionList::new();
        for (key, lane) in lanes {
            // The task drops its end; that is no message.
            let left = until.saturating_duration_since(Instant::now());
            if lane.ended.recv_timeout(left) == Err(std_mpsc::RecvTimeoutError::Timeout) {
                lane.task.abort();
            }
            self.add_offset(&mut offsets, key, lane);
        }
        if offsets.count() > 0
            && let Err(error) = consumer.commit(&offsets, CommitMode::Sync)
        {
            tracing::warn!(consumer = self.subscription.name, %error, "the last offsets are not committed");
        }
    }

    fn add_offset(
        &self,
        offsets: &mut TopicPartitionList,
        (topic, partition): &Key,
        lane: &Lane,
    ) -> Option<i64> {
        let next = lane.progress.next.load(Ordering::Relaxed);
        if next <= lane.committed {
            return None;
        }
        offsets
            .add_partition_offset(&format!("{}{topic}", self.prefix), *partition, Offset::Offset(next))
            .ok()?;
        Some(next)
    }

    fn commit(&self, consumer: &BaseConsumer<Self>) {
        let mut offsets = TopicPartitionList::new();
        for (key, lane) in self.lock().iter_mut() {
            if let Some(next) = self.add_offset(&mut offsets, key, lane) {
                lane.committed = next;
            }
        }
        if offsets.count() > 0
            && let Err(error) = consumer.commit(&offsets, CommitMode::Async)
        {
            tracing::warn!(consumer = self.subscription.name, %error, "offsets are not committed");
        }
    }

    fn route(&self, consumer: &BaseConsumer<Self>, message: &BorrowedMessage<'_>) {
        let record = match Record::read(message, &self.prefix) {
            Ok(record) => record,
            Err(part) => {
                self.shared.gauges.malformed();
                let (topic, partition, offset) = (message.topic(), message.partition(), message.offset());
                tracing::error!(
                    topic,
                    partition,
                    offset,
                    part,
                    "a record without a right envelope was passed over"
                );
                return;
            }
        };
        let mut lanes = self.lock();
        let Some(lane) = lanes.get_mut(&(record.topic.clone(), record.partition)) else { return };
        let bytes = size(&record);
        let queued = lane.progress.queued.fetch_add(1, Ordering::Relaxed) + 1;
        let queued_bytes = lane.progress.queued_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        // A lane whose task ended is about to be taken away.
        let _ = lane.records.send(record);
        if !lane.paused && (queued >= QUEUED || queued_bytes >= QUEUED_BYTES) {
            let mut rest = TopicPartitionList::new();
            rest.add_partition(message.topic(), message.partition());
            lane.paused = consumer.pause(&rest).is_ok();
        }
    }

    fn resume(&self, consumer: &BaseConsumer<Self>) {
        for ((topic, partition), lane) in self.lock().iter_mut().filter(|(_, lane)| lane.paused) {
            let queued = lane.progress.queued.load(Ordering::Relaxed);
            let queued_bytes = lane.progress.queued_bytes.load(Ordering::Relaxed);
            if queued < QUEUED / 2 && queued_bytes < QUEUED_BYTES / 2 {
                let mut rested = TopicPartitionList::new();
                rested.add_partition(&format!("{}{topic}", self.prefix), *partition);
                lane.paused = consumer.resume(&rested).is_err();
            }
        }
    }
}
