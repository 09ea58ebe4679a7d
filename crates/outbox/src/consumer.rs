//! A consumer group member: a thread of its own polls, a task a partition takes the records in.

mod lanes;

use std::{
    sync::{Arc, mpsc as std_mpsc},
    time::{Duration, Instant},
};

use chassis::Settings;
use domain::Service;
use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer as _},
    error::{KafkaError, RDKafkaErrorCode},
};
use tokio::{runtime::Handle, sync::watch};
use tokio_util::sync::CancellationToken;

use self::lanes::Lanes;
use crate::{Error, Subscription, client, failure::chain, lane::Shared, pause};

const TEND: Duration = Duration::from_millis(20);
const COMMIT: Duration = Duration::from_millis(500);
/// So long a rebalance waits for the broker's word on offsets, and for the database's.
const ASK: Duration = Duration::from_secs(10);

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
            match self.poll_until_stop() {
                Ok(()) => {}
                Err(Error::Gap { refusal, anew }) => self.refuse(refusal, anew),
                Err(error) => {
                    let consumer = &self.subscription.name;
                    tracing::error!(consumer, error = chain(&error), "the consumer failed and starts again");
                    self.wait(Duration::from_secs(3), || false);
                }
            }
        }
    }

    // Written down, it holds in every process, until an operator says more.
    fn refuse(&self, refusal: String, anew: Option<String>) {
        let consumer = &self.subscription.name;
        tracing::error!(consumer, refusal, "the consumer refuses to go on");
        self.shared.gauges.refuses(true);
        let (pool, service) = (self.shared.pool.clone(), self.service);
        let name = consumer.clone();
        let written = ask(&self.runtime, async move {
            pause::refuse(&pool, service, &name, (&refusal, anew.as_deref())).await
        });
        if let Err(error) = written {
            tracing::warn!(
                consumer,
                error = chain(&error),
                "a refusal is not written down, the consumer looks again"
            );
        }
        // Until what was written is read; then it rests.
        self.wait(2 * pause::LOOK, || *self.paused.borrow());
    }

    fn wait(&self, time: Duration, done: impl Fn() -> bool) {
        let until = Instant::now() + time;
        while Instant::now() < until && !self.stop.is_cancelled() && !done() {
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn poll_until_stop(&self) -> Result<(), Error> {
        let prefix = client::prefix(&self.settings);
        let topics: Vec<String> =
            self.subscription.topics.iter().map(|topic| format!("{prefix}{topic}")).collect();
        let config = config(&self.settings, self.service, &self.subscription)?;
        let consumer: BaseConsumer<Lanes> = config.create_with_context(Lanes::new(self))?;
        consumer.subscribe(&topics.iter().map(String::as_str).collect::<Vec<_>>())?;
        let outcome = self.poll(&consumer);
        consumer.context().release_all(&consumer);
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
            if let Some(error) = lanes.failure() {
                return Err(error);
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

// From the polling thread, which is none of the runtime's: one that is torn down meanwhile drops the question.
fn ask<T: Send + 'static>(
    runtime: &Handle,
    question: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    let (tell, told) = std_mpsc::channel();
    runtime.spawn(async move {
        // Whoever asked may have given up.
        let _ = tell.send(question.await);
    });
    told.recv_timeout(ASK).unwrap_or(Err(Error::Stalled))
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
        // A killed member's partitions move on within this time, and after an outage of the broker its group waits as long
        // for members that do not come back; a broker allows no less by default.
        .set("session.timeout.ms", "6000")
        .set("heartbeat.interval.ms", "2000")
        // Topics of other services may be created after this one subscribed.
        .set("topic.metadata.refresh.interval.ms", "2000")
        .set("queued.max.messages.kbytes", "16384")
        .set("fetch.queue.backoff.ms", "20")
        .set("statistics.interval.ms", "10000");
    Ok(config)
}
