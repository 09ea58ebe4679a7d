//! The partitions that a member of a group has: its client's callbacks, and what runs for each partition.

mod places;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering, mpsc as std_mpsc},
    time::{Duration, Instant},
};

use domain::Service;
use rdkafka::{
    ClientContext, Offset, Statistics, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext},
    error::KafkaError,
    message::{BorrowedMessage, Message},
    types::RDKafkaRespErr,
};
use tokio::{runtime::Handle, sync::mpsc, task::JoinHandle};

use super::Poller;
use crate::{
    Error, Record, Subscription, client,
    lane::{Progress, Shared, Worker, size},
    parking::Parking,
    places::{Key, Place, Watch},
};

// A partition rests while so much of it waits, and goes on at half of it.
const QUEUED: usize = 2_000;
const QUEUED_BYTES: usize = 8 << 20;
const RELEASE: Duration = Duration::from_secs(5);

struct Lane {
    records: mpsc::UnboundedSender<Record>,
    progress: Arc<Progress>,
    task: JoinHandle<()>,
    ended: std_mpsc::Receiver<()>,
    paused: bool,
    committed: i64,
    place: Place,
    written: Place,
    watch: Watch,
    /// It was paused since the last look, so the client's idea of the partition's end is old.
    rested: bool,
}

/// Where a lane begins.
struct Begin {
    key: Key,
    place: Place,
    watch: Watch,
}

impl Lane {
    // As far as it is now, whenever its partition was looked at.
    fn here(&self) -> Place {
        let next = self.progress.next.load(Ordering::Relaxed).max(self.place.next);
        let read_at = self.watch.reached(next).map_or(self.place.read_at, |at| at.max(self.place.read_at));
        Place { next, read_at }
    }
}

/// The client's context: its rebalance callbacks run inside `poll`, on the polling thread.
pub(super) struct Lanes {
    subscription: Subscription,
    service: Service,
    prefix: String,
    shared: Arc<Shared>,
    runtime: Handle,
    lanes: Mutex<HashMap<Key, Lane>>,
    // What a callback found, for the polling loop.
    failed: Mutex<Option<Error>>,
}

impl ClientContext for Lanes {
    fn stats(&self, statistics: Statistics) {
        let partitions = statistics.topics.values().flat_map(|topic| topic.partitions.values());
        let lag: i64 = partitions.map(|partition| partition.consumer_lag.max(0)).sum();
        self.shared.gauges.lag(lag);
        self.look(&statistics);
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
                // Records of partitions without a lane are passed over until the loop hears of the failure.
                match self.begin_at(consumer, partitions) {
                    Ok(begins) => self.open(begins),
                    Err(error) => *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error),
                }
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
    pub(super) fn new(poller: &Poller) -> Self {
        Self {
            subscription: poller.subscription.clone(),
            service: poller.service,
            prefix: client::prefix(&poller.settings).to_owned(),
            shared: Arc::clone(&poller.shared),
            runtime: poller.runtime.clone(),
            lanes: Mutex::default(),
            failed: Mutex::default(),
        }
    }

    /// What a callback found since it was asked last.
    pub(super) fn failure(&self) -> Option<Error> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// As a rebalance that takes everything.
    pub(super) fn release_all(&self, consumer: &BaseConsumer<Self>) {
        self.release(consumer, &self.take_all());
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Lane>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn key(&self, topic: &str, partition: i32) -> Key {
        (topic.strip_prefix(&self.prefix).unwrap_or(topic).to_owned(), partition)
    }

    fn open(&self, begins: Vec<Begin>) {
        let mut lanes = self.lock();
        let mut places = Vec::with_capacity(begins.len());
        for Begin { key, place, watch } in begins {
            let lane = self.lane(key.0.clone(), key.1, place, watch);
            places.push((key.clone(), place));
            lanes.insert(key, lane);
        }
        drop(lanes);
        // A member that dies before its first minute leaves these.
        self.write(places);
    }

    fn lane(&self, topic: String, partition: i32, place: Place, watch: Watch) -> Lane {
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
        Lane {
            records: sender,
            progress,
            task,
            ended,
            paused: false,
            committed: -1,
            place,
            written: place,
            watch,
            rested: false,
        }
    }

    fn take(&self, partitions: &TopicPartitionList) -> Vec<(Key, Lane)> {
        let mut lanes = self.lock();
        let keys = partitions.elements().into_iter();
        let keys = keys.map(|partition| self.key(partition.topic(), partition.partition()));
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
        self.write_last(lanes);
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

    pub(super) fn commit(&self, consumer: &BaseConsumer<Self>) {
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

    pub(super) fn route(&self, consumer: &BaseConsumer<Self>, message: &BorrowedMessage<'_>) {
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
            lane.rested |= lane.paused;
        }
    }

    pub(super) fn resume(&self, consumer: &BaseConsumer<Self>) {
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
