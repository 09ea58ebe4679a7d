//! One partition of a consumer: its queue and the task that takes its records in, in order.

use std::{
    collections::{HashSet, VecDeque},
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use chassis::Backoff;
use domain::Clock;
use futures::{FutureExt, future::BoxFuture};
use sqlx::PgPool;
use tokio::{
    sync::{Semaphore, mpsc},
    time::{MissedTickBehavior, interval, sleep},
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::{
    Batch, Error, Failure, Record,
    failure::chain,
    measure::ConsumerGauges,
    parking::{Head, Parking, TRIES},
    trace,
};

/// Records of a batch.
const BATCH: usize = 500;
/// Links of a span.
const LINKS: usize = 128;

pub(crate) type Handler = Arc<dyn Fn(Batch) -> BoxFuture<'static, Result<(), Failure>> + Send + Sync>;

/// What the lanes of a consumer share.
pub(crate) struct Shared {
    pub(crate) pool: PgPool,
    pub(crate) clock: Clock,
    pub(crate) handler: Handler,
    /// Handlers that run at once: each holds a connection of the pool.
    pub(crate) permits: Semaphore,
    pub(crate) gauges: ConsumerGauges,
}

/// What a lane's task tells the polling thread.
#[derive(Debug)]
pub(crate) struct Progress {
    /// The offset to commit: that of the next record to take in. -1 when nothing was taken in yet.
    pub(crate) next: AtomicI64,
    pub(crate) queued: AtomicUsize,
    pub(crate) queued_bytes: AtomicUsize,
    /// No new batches.
    pub(crate) stop: CancellationToken,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self {
            next: AtomicI64::new(-1),
            queued: AtomicUsize::new(0),
            queued_bytes: AtomicUsize::new(0),
            stop: CancellationToken::new(),
        }
    }
}

pub(crate) fn size(record: &Record) -> usize {
    record.payload.as_ref().map_or(0, bytes::Bytes::len) + 256
}

/// The task of a lane.
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) records: mpsc::UnboundedReceiver<Record>,
    pub(crate) parking: Parking,
    pub(crate) parked: HashSet<String>,
}

// The partition was taken away: what is not done is left to whoever has it next.
struct Stopped;

impl Worker {
    pub(crate) async fn run(mut self) {
        let _ = self.work().await;
        self.shared.gauges.parked(&self.parking, 0);
    }

    async fn work(&mut self) -> Result<(), Stopped> {
        let parking = self.parking.clone();
        self.parked = self.until_ok(|| parking.keys()).await?;
        let stop = self.progress.stop.clone();
        let mut tick = interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let first = tokio::select! {
                biased;
                () = stop.cancelled() => return Err(Stopped),
                _ = tick.tick(), if !self.parked.is_empty() => {
                    self.try_parked().await?;
                    continue;
                }
                first = self.records.recv() => first.ok_or(Stopped)?,
            };
            let batch = self.gather(first);
            self.take_in(batch).await?;
        }
    }

    // No waiting for more: while a batch is taken in, the next one gathers by itself.
    fn gather(&mut self, first: Record) -> Vec<Record> {
        let mut batch = vec![first];
        while batch.len() < BATCH {
            let Ok(record) = self.records.try_recv() else { break };
            batch.push(record);
        }
        let bytes = batch.iter().map(size).sum();
        self.progress.queued.fetch_sub(batch.len(), Ordering::Relaxed);
        self.progress.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
        batch
    }

    // A failing batch is halved until the record at fault is alone.
    async fn take_in(&mut self, batch: Vec<Record>) -> Result<(), Stopped> {
        let mut parts = VecDeque::from([batch]);
        while let Some(part) = parts.pop_front() {
            let Some(last) = part.last().cloned() else { continue };
            let mut part = self.queue_parked(part).await?;
            if !part.is_empty()
                && let Err(error) = self.attempt(&part).await?
            {
                if part.len() > 1 {
                    let second = part.split_off(part.len() / 2);
                    // Records that were queued behind their keys come after the halves; their offsets are covered
                    // by the second half's or by later ones, and queueing them again changes nothing.
                    parts.push_front(second);
                    parts.push_front(part);
                    continue;
                }
                self.try_alone(&part, error).await?;
            }
            // The last record of the part may wait behind its key: it is in the database then.
            self.progress.next.fetch_max(last.offset + 1, Ordering::Relaxed);
            self.shared.gauges.taken_in(&last, self.shared.clock.now());
        }
        Ok(())
    }

    async fn queue_parked(&mut self, part: Vec<Record>) -> Result<Vec<Record>, Stopped> {
        if self.parked.is_empty() {
            return Ok(part);
        }
        let (behind, free): (Vec<_>, Vec<_>) =
            part.into_iter().partition(|record| self.parked.contains(&record.key));
        let parking = self.parking.clone();
        for record in &behind {
            self.until_ok(|| parking.queue(record)).await?;
        }
        Ok(free)
    }

    // Two more tries, then its key is parked and the others go on.
    async fn try_alone(&mut self, part: &[Record], mut error: String) -> Result<(), Stopped> {
        let [record] = part else { return Ok(()) };
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
        for _ in 1..TRIES {
            self.pause(backoff.next()).await?;
            match self.attempt(part).await? {
                Ok(()) => return Ok(()),
                Err(again) => error = again,
            }
        }
        let parking = self.parking.clone();
        let now = self.shared.clock.now();
        self.until_ok(|| parking.park(record, &error, now)).await?;
        self.parked.insert(record.key.clone());
        self.shared.gauges.parked(&self.parking, self.parked.len());
        tracing::error!(
            topic = record.topic,
            partition = record.partition,
            offset = record.offset,
            fact_type = record.fact_type,
            event_id = %record.event_id,
            error,
            "a record could not be taken in, its key is parked"
        );
        Ok(())
    }

    // Until it works or fails for the record's own sake; the inner error is of that kind.
    async fn attempt(&self, part: &[Record]) -> Result<Result<(), String>, Stopped> {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(30));
        loop {
            match self.run_handler(part).await? {
                Ok(()) => return Ok(Ok(())),
                Err(Failure::Record(error)) => return Ok(Err(chain(&*error))),
                Err(failure @ Failure::Transient(_)) => {
                    tracing::warn!(
                        topic = self.parking.topic,
                        partition = self.parking.partition,
                        error = chain(&failure),
                        "a batch could not be taken in now"
                    );
                    self.pause(backoff.next()).await?;
                }
            }
        }
    }

    async fn run_handler(&self, part: &[Record]) -> Result<Result<(), Failure>, Stopped> {
        let permit = tokio::select! {
            biased;
            () = self.progress.stop.cancelled() => return Err(Stopped),
            permit = self.shared.permits.acquire() => permit.map_err(|_| Stopped)?,
        };
        let span = receive_span(&self.parking.topic, part);
        let batch = Batch { records: part.to_vec() };
        let handler = Arc::clone(&self.shared.handler);
        let outcome =
            AssertUnwindSafe(async move { handler(batch).await }).catch_unwind().instrument(span).await;
        drop(permit);
        Ok(outcome.unwrap_or_else(|_| Err(Failure::record("the handler panicked"))))
    }

    // Each key on its own, in the order of its records.
    async fn try_parked(&mut self) -> Result<(), Stopped> {
        let parking = self.parking.clone();
        // An operator may have discarded some.
        self.parked = self.until_ok(|| parking.keys()).await?;
        loop {
            let now = self.shared.clock.now();
            let heads = self.until_ok(|| parking.due(now)).await?;
            let mut moved = false;
            for head in &heads {
                moved |= self.try_head(head).await?;
            }
            // What waited behind a record that went through is the next head of its key.
            if !moved {
                break;
            }
        }
        self.parked = self.until_ok(|| parking.keys()).await?;
        self.shared.gauges.parked(&self.parking, self.parked.len());
        Ok(())
    }

    async fn try_head(&self, head: &Head) -> Result<bool, Stopped> {
        match self.run_handler(std::slice::from_ref(&head.record)).await? {
            Ok(()) => {
                self.until_ok(|| self.parking.done(head)).await?;
                Ok(true)
            }
            Err(Failure::Transient(_)) => Ok(false),
            Err(Failure::Record(error)) => {
                let (error, now) = (chain(&*error), self.shared.clock.now());
                self.until_ok(|| self.parking.failed_again(head, &error, now)).await?;
                Ok(false)
            }
        }
    }

    async fn until_ok<T, F: Future<Output = Result<T, Error>>>(
        &self,
        ask: impl Fn() -> F,
    ) -> Result<T, Stopped> {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(30));
        loop {
            if self.progress.stop.is_cancelled() {
                return Err(Stopped);
            }
            match ask().await {
                Ok(answer) => return Ok(answer),
                Err(error) => {
                    tracing::warn!(
                        topic = self.parking.topic,
                        error = chain(&error),
                        "parked records are not reached"
                    );
                    self.pause(backoff.next()).await?;
                }
            }
        }
    }

    async fn pause(&self, time: Duration) -> Result<(), Stopped> {
        tokio::select! {
            biased;
            () = self.progress.stop.cancelled() => Err(Stopped),
            () = sleep(time) => Ok(()),
        }
    }
}

// Links, since a batch has as many parents as records; each record's own span is a child of its producer's.
fn receive_span(topic: &str, part: &[Record]) -> tracing::Span {
    let span = tracing::info_span!(
        "receive",
        otel.name = format!("receive {topic}"),
        otel.kind = "consumer",
        messaging.system = "kafka",
        messaging.operation.name = "poll",
        messaging.operation.type = "receive",
        messaging.destination.name = topic,
        messaging.batch.message_count = part.len(),
    );
    let carried = part.iter().filter_map(|record| record.carried.as_ref());
    for carried in carried.take(LINKS) {
        if let Some(context) = trace::parse(&carried.traceparent, carried.tracestate.as_deref()) {
            tracing_opentelemetry::OpenTelemetrySpanExt::add_link(&span, context);
        }
    }
    span
}
