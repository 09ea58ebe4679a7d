//! How a service gets a relay and consumers.

use std::{sync::Arc, time::Duration};

use chassis::{Backoff, Component, Process, Settings, Shutdown, StartError};
use domain::Service;
use sqlx::PgPool;
use tokio::{
    runtime::Handle,
    sync::{OnceCell, Semaphore, oneshot, watch},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Batch, Error, Failure, StatePage, Subscription, Topic, client,
    consumer::Poller,
    days,
    failure::chain,
    lane::{Handler, Shared},
    measure::{ConsumerGauges, RelayGauges},
    pause,
    relay::Relay,
    topics,
    verbs::{Consumed, Published, Source},
};

/// Handlers of one consumer that run at once, each with a connection of the pool.
const HANDLERS: usize = 4;
/// So long a start waits for Kafka: writes go to the outbox meanwhile, so a broker that is away stops no service.
const KAFKA_AT_START: Duration = Duration::from_secs(10);
const UPKEEP: Duration = Duration::from_secs(600);
const MEASURE: Duration = Duration::from_secs(10);

/// Adds the relay of the service's outbox: its daily partitions, its topics, and the task that sends.
///
/// Which service that is `process` says. The pool's role owns the schema.
#[must_use]
pub fn publish(
    component: Component,
    process: &Process,
    pool: &PgPool,
    topics: &'static [&'static Topic],
) -> Component {
    let (service, settings) = (process.service(), process.settings().clone());
    let gauges = RelayGauges::new(process);
    let relay = Relay::new(pool.clone(), service, settings.clone(), gauges.clone());
    let upkeep = Upkeep { pool: pool.clone(), service, settings, topics, gauges, ensured: Arc::default() };
    let prepared = upkeep.clone();
    component
        .attach(Published { pool: pool.clone(), topics })
        .prepare("outbox", async move { prepared.prepare().await })
        .task("relay", move |shutdown: Shutdown| async move {
            relay.run(shutdown).await;
            Ok(())
        })
        .task("outbox upkeep", move |shutdown: Shutdown| async move {
            upkeep.run(&shutdown).await;
            Ok(())
        })
}

#[derive(Clone)]
struct Upkeep {
    pool: PgPool,
    service: Service,
    settings: Settings,
    topics: &'static [&'static Topic],
    gauges: RelayGauges,
    // Once a process: a topic that is deleted while it runs is missed by the relay, and never made anew behind its back.
    ensured: Arc<OnceCell<()>>,
}

impl Upkeep {
    async fn prepare(self) -> Result<(), StartError> {
        // What no client can be made of is no broker that is away.
        client::config(&self.settings, self.service)?;
        days::make(&self.pool, self.service).await?;
        if client::ensures_topics(&self.settings) {
            // The upkeep goes on trying.
            match timeout(KAFKA_AT_START, self.ensure()).await {
                Ok(()) => {}
                Err(_) => tracing::warn!("kafka is away, facts wait in the outbox"),
            }
            return Ok(());
        }
        match timeout(KAFKA_AT_START, topics::verify(&self.settings, self.service, self.topics)).await {
            Ok(Err(error @ Error::Topic { .. })) => Err(error.into()),
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => {
                tracing::warn!("kafka is away, topics are not verified");
                Ok(())
            }
        }
    }

    async fn ensure(&self) {
        self.ensured.get_or_init(|| self.make_topics()).await;
    }

    async fn make_topics(&self) {
        let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(30));
        while let Err(error) = topics::ensure(&self.settings, self.service, self.topics).await {
            tracing::warn!(error = chain(&error), "topics are not ensured yet");
            sleep(backoff.next()).await;
        }
    }

    async fn run(self, shutdown: &Shutdown) {
        tokio::select! {
            () = shutdown.soft() => {}
            () = async {
                if client::ensures_topics(&self.settings) {
                    self.ensure().await;
                }
                tokio::join!(self.keep_days(), self.gauges.measure_each(MEASURE, &self.pool, self.service));
            } => {}
        }
    }

    async fn keep_days(&self) {
        loop {
            for done in
                [days::make(&self.pool, self.service).await, days::drop_old(&self.pool, self.service).await]
            {
                if let Err(error) = done {
                    tracing::warn!(error = chain(&error), "daily partitions are not kept up");
                }
            }
            sleep(UPKEEP).await;
        }
    }
}

/// Adds a consumer: `handler` gets batches of one partition in order, and its `Ok` means that their effects are
/// committed. Unknown fact types are its business: it passes over them.
///
/// The pool is for `parked_record`; the handler has its own way to the database.
#[must_use]
pub fn consume<H, F>(
    component: Component,
    process: &Process,
    pool: &PgPool,
    subscription: Subscription,
    handler: H,
) -> Component
where
    H: Fn(Batch) -> F + Send + Sync + 'static,
    F: Future<Output = Result<(), Failure>> + Send + 'static,
{
    let handler: Handler = Arc::new(move |batch| Box::pin(handler(batch)));
    let (service, settings) = (process.service(), process.settings().clone());
    let shared = Arc::new(Shared {
        pool: pool.clone(),
        clock: process.clock(),
        handler,
        permits: Semaphore::new(HANDLERS),
        gauges: ConsumerGauges::new(process, &subscription.name),
    });
    let gauges = shared.gauges.clone();
    let (pool, name) = (pool.clone(), subscription.name.clone());
    let attached = Consumed { pool: pool.clone(), subscription: subscription.clone() };
    component.attach(attached).task("consumer", move |shutdown: Shutdown| async move {
        // Until the database says otherwise.
        let (tell_paused, paused) = watch::channel(true);
        let stop = CancellationToken::new();
        // A runtime that is torn down drops this task: the thread must not poll on and keep its partitions.
        let _guard = stop.clone().drop_guard();
        let (sender, ended) = oneshot::channel::<()>();
        let runtime = Handle::current();
        let poller = Poller { settings, service, subscription, shared, runtime, stop: stop.clone(), paused };
        // Rebalance callbacks run inside `poll` and wait for running transactions: not on the runtime's threads.
        std::thread::Builder::new().name(format!("kafka-{name}")).spawn(move || {
            poller.run();
            drop(sender);
        })?;
        let mut ended = ended;
        tokio::select! {
            () = shutdown.soft() => {}
            () = pause::follow(&pool, service, &name, (&tell_paused, &gauges)) => {}
            _ = &mut ended => return Err(Error::Setting("the consumer's thread ended".to_owned()).into()),
        }
        stop.cancel();
        // The thread gives up its partitions within its own bound.
        let _ = ended.await;
        Ok(())
    })
}

/// Lets operators tell the states of a topic again (`republish`): `page` appends the current states of the next keys
/// behind the given one, in the order of keys, in one transaction, **each after its aggregate's lock**: an older state
/// that came behind a newer one would be the one that compaction keeps.
#[must_use]
pub fn republish<P, F>(component: Component, topic: &'static Topic, page: P) -> Component
where
    P: Fn(Option<String>) -> F + Send + Sync + 'static,
    F: Future<Output = Result<StatePage, StartError>> + Send + 'static,
{
    component.attach(Source { topic, page: Arc::new(move |after| Box::pin(page(after))) })
}
