//! One partition of a consumer: its queue and the task that takes its records in, in order.

use std::{
    collections::HashSet,
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
    time::{Interval, MissedTickBehavior, interval, sleep},
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::{
    Batch, Error, Failure, Record,
    failure::chain,
    lane_planner::{Fault, Input, LanePlanner, Output},
    measure::ConsumerGauges,
    parking::{Head, Parking},
    trace,
};

/// Records of a batch.
const BATCH: usize = 500;
/// Between two looks at what is parked.
const LOOK: Duration = Duration::from_secs(1);
/// The waits after failures, of the surroundings and of a record alone, begin so short and end so long.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
const LONGEST_WAIT_ALONE: Duration = Duration::from_secs(1);
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

/// The task of a lane: it carries out what the planner asks for.
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) records: mpsc::UnboundedReceiver<Record>,
    pub(crate) parking: Parking,
    /// Parked records whose turn it is, as they were found last.
    pub(crate) parked: Vec<Head>,
}

// The partition was taken away: what is not done is left to whoever has it next.
struct Stopped;

/// What is being taken in.
struct Taking {
    batch: Vec<Record>,
    /// Why a record failed last.
    error: String,
    wait: Backoff,
    wait_alone: Backoff,
    tick: Interval,
}

impl Taking {
    fn new() -> Self {
        let mut tick = interval(LOOK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            batch: Vec::new(),
            error: String::new(),
            wait: Backoff::new(FIRST_WAIT, LONGEST_WAIT),
            wait_alone: Backoff::new(FIRST_WAIT, LONGEST_WAIT_ALONE),
            tick,
        }
    }

    fn record(&self, place: usize) -> Result<&Record, Stopped> {
        self.batch.get(place).ok_or(Stopped)
    }
}

impl Worker {
    pub(crate) async fn run(mut self) {
        let (mut planner, mut taking, mut shown) = (LanePlanner::new(), Taking::new(), None);
        while *planner.asked() != Output::Stop {
            let carried_out = self.carry_out(planner.asked(), planner.parked(), &mut taking).await;
            planner.on(carried_out.unwrap_or(Input::Revoked));
            if shown != Some(planner.parked()) {
                shown = Some(planner.parked());
                self.shared.gauges.parked(&self.parking, planner.parked());
            }
        }
        self.shared.gauges.parked(&self.parking, 0);
    }

    async fn carry_out(
        &mut self,
        output: &Output,
        parked: usize,
        taking: &mut Taking,
    ) -> Result<Input<String>, Stopped> {
        let parking = &self.parking;
        match output {
            Output::LoadParked => self.until_ok(|| parking.keys()).await.map(Input::Parked),
            Output::Idle => self.rest(parked > 0, taking).await,
            Output::Apply(places) => self.apply(places, taking).await,
            Output::Queue(place) => {
                let record = taking.record(*place)?;
                self.until_ok(|| parking.queue(record)).await.map(|()| Input::Done)
            }
            Output::Park(place) => self.park(taking.record(*place)?, &taking.error).await,
            // Committed is committed, also when the partition goes meanwhile.
            Output::Store(place) => {
                let last = taking.record(*place)?;
                self.progress.next.fetch_max(last.offset + 1, Ordering::Relaxed);
                self.shared.gauges.taken_in(last, self.shared.clock.now());
                taking.wait_alone = Backoff::new(FIRST_WAIT, LONGEST_WAIT_ALONE);
                Ok(Input::Done)
            }
            Output::Wait(fault) => {
                let wait = match fault {
                    Fault::Transient => taking.wait.next(),
                    Fault::Record => taking.wait_alone.next(),
                };
                self.pause(wait).await.map(|()| Input::Tick)
            }
            Output::FindDue => {
                let now = self.shared.clock.now();
                let due = self.until_ok(|| parking.due(now)).await?;
                self.parked = due;
                Ok(Input::Due(self.parked.len()))
            }
            Output::Try(place) => self.try_head(self.head(*place)?, taking).await,
            Output::Unpark(place) => {
                let head = self.head(*place)?;
                self.until_ok(|| parking.done(head)).await.map(|()| Input::Done)
            }
            Output::Postpone(place) => {
                let (head, now) = (self.head(*place)?, self.shared.clock.now());
                let failed_again = || parking.failed_again(head, &taking.error, now);
                self.until_ok(failed_again).await.map(|()| Input::Done)
            }
            Output::Stop => Err(Stopped),
        }
    }

    fn head(&self, place: usize) -> Result<&Head, Stopped> {
        self.parked.get(place).ok_or(Stopped)
    }

    async fn rest(&mut self, is_parked: bool, taking: &mut Taking) -> Result<Input<String>, Stopped> {
        let stop = self.progress.stop.clone();
        let first = tokio::select! {
            biased;
            () = stop.cancelled() => return Err(Stopped),
            _ = taking.tick.tick(), if is_parked => return Ok(Input::Tick),
            first = self.records.recv() => first.ok_or(Stopped)?,
        };
        taking.batch = self.gather(first);
        Ok(Input::Batch(taking.batch.iter().map(|record| record.key.clone()).collect()))
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

    async fn apply(&self, places: &[usize], taking: &mut Taking) -> Result<Input<String>, Stopped> {
        let part = places.iter().filter_map(|place| taking.batch.get(*place)).cloned().collect();
        let fault = match self.run_handler(part).await? {
            Ok(()) => None,
            Err(Failure::Record(error)) => {
                taking.error = chain(&*error);
                Some(Fault::Record)
            }
            Err(failure @ Failure::Transient(_)) => {
                tracing::warn!(
                    topic = self.parking.topic,
                    partition = self.parking.partition,
                    error = chain(&failure),
                    "a batch could not be taken in now"
                );
                Some(Fault::Transient)
            }
        };
        if fault != Some(Fault::Transient) {
            taking.wait = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
        }
        Ok(fault.map_or(Input::Done, Input::Failed))
    }

    async fn park(&self, record: &Record, error: &str) -> Result<Input<String>, Stopped> {
        let now = self.shared.clock.now();
        self.until_ok(|| self.parking.park(record, error, now)).await?;
        tracing::error!(
            topic = record.topic,
            partition = record.partition,
            offset = record.offset,
            fact_type = record.fact_type,
            event_id = %record.event_id,
            error,
            "a record could not be taken in, its key is parked"
        );
        Ok(Input::Done)
    }

    async fn try_head(&self, head: &Head, taking: &mut Taking) -> Result<Input<String>, Stopped> {
        match self.run_handler(vec![head.record.clone()]).await? {
            Ok(()) => Ok(Input::Done),
            Err(Failure::Transient(_)) => Ok(Input::Failed(Fault::Transient)),
            Err(Failure::Record(error)) => {
                taking.error = chain(&*error);
                Ok(Input::Failed(Fault::Record))
            }
        }
    }

    async fn run_handler(&self, part: Vec<Record>) -> Result<Result<(), Failure>, Stopped> {
        let permit = tokio::select! {
            biased;
            () = self.progress.stop.cancelled() => return Err(Stopped),
            permit = self.shared.permits.acquire() => permit.map_err(|_| Stopped)?,
        };
        let span = receive_span(&self.parking.topic, &part);
        let batch = Batch { records: without_repeats(part) };
        let handler = Arc::clone(&self.shared.handler);
        let outcome =
            AssertUnwindSafe(async move { handler(batch).await }).catch_unwind().instrument(span).await;
        drop(permit);
        Ok(outcome.unwrap_or_else(|_| Err(Failure::record("the handler panicked"))))
    }

    async fn until_ok<T, F: Future<Output = Result<T, Error>>>(
        &self,
        ask: impl Fn() -> F,
    ) -> Result<T, Stopped> {
        let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
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

// A fact that was sent twice may come twice in one batch, and its claim would call both of them new.
fn without_repeats(mut part: Vec<Record>) -> Vec<Record> {
    let mut seen = HashSet::with_capacity(part.len());
    part.retain(|record| seen.insert(record.event_id));
    part
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

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use domain::EventId;

    use super::*;

    fn record(offset: i64, event_id: EventId) -> Record {
        Record {
            topic: "kotinos.mailer.campaign.v1".into(),
            partition: 0,
            offset,
            key: "alice".into(),
            payload: None,
            event_id,
            fact_type: "CampaignScheduled".into(),
            version: 1,
            occurred_at: DateTime::UNIX_EPOCH,
            carried: None,
        }
    }

    #[test]
    fn a_fact_comes_once_in_a_batch_at_its_first_place() {
        let (first, second) = (EventId::new(), EventId::new());
        let part = vec![record(1, first), record(2, second), record(3, first), record(4, first)];
        let offsets: Vec<i64> = without_repeats(part).iter().map(|record| record.offset).collect();
        assert_eq!(offsets, [1, 2]);
    }
}
