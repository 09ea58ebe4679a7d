//! The shell around the planner: one leader a schema reads the outbox and sends it to Kafka.

mod term;

use std::time::Duration;

use chassis::{Backoff, Settings, Shutdown};
use domain::Service;
use sqlx::PgPool;
use tokio::time::{Instant, sleep, timeout};

use self::term::{Look, Term};
use crate::{
    Error,
    ends::{self, Ends, Known},
    failure::chain,
    lease::{GRACE, LEASE, Lease, write_fence},
    measure::RelayGauges,
    planner::{Mark, Planner},
    producer::Producer,
};

/// Longest wait after a term that failed; facts wait as long, so it is short.
const AGAIN: Duration = Duration::from_secs(2);
const RENEW: Duration = Duration::from_secs(1);
/// So long a new leader waits for Kafka's answer to that; a fraction of its lease.
const FIRST_LOOK: Duration = Duration::from_secs(3);

/// Sends the outbox of one service while it leads, and waits for the lead otherwise.
pub(crate) struct Relay {
    pool: PgPool,
    service: Service,
    settings: Settings,
    name: String,
    gauges: RelayGauges,
}

impl Relay {
    pub(crate) fn new(pool: PgPool, service: Service, settings: Settings, gauges: RelayGauges) -> Self {
        let name = format!("{}/{}", service.short(), domain::new_id());
        Self { pool, service, settings, name, gauges }
    }

    pub(crate) async fn run(self, shutdown: Shutdown) {
        let mut backoff = Backoff::new(Duration::from_millis(250), AGAIN);
        while !shutdown.is_soft() {
            let started = Instant::now();
            match self.lead_if_free(&shutdown).await {
                Ok(true) => return,
                Ok(false) => wait(&shutdown, RENEW / 2).await,
                Err(error) => {
                    tracing::error!(error = chain(&error), "the relay stopped and starts again");
                    if started.elapsed() > Duration::from_secs(60) {
                        backoff = Backoff::new(Duration::from_millis(250), AGAIN);
                    }
                    wait(&shutdown, backoff.next()).await;
                }
            }
        }
    }

    // True when the process ends, false when another relay leads.
    async fn lead_if_free(&self, shutdown: &Shutdown) -> Result<bool, Error> {
        let Some(mut lease) = Lease::try_take(&self.pool, self.service, &self.name).await? else {
            self.gauges.leads(false);
            return Ok(false);
        };
        let saved = lease.saved().await?;
        if saved.leader.is_some_and(|leader| leader != self.name) {
            tracing::info!("the last relay did not sign off, waiting for what it may have on its way");
            if !wait_out(&mut lease, shutdown).await? {
                lease.close().await;
                return Ok(true);
            }
        }
        let ends = Ends::new(self.service, lease.ends().await?);
        if let Ok(Ok(Err(error @ Error::TopicLost { .. }))) = timeout(FIRST_LOOK, self.look(ends.all())).await
        {
            self.refuse(&mut lease, &error).await;
            lease.close().await;
            return Err(error);
        }
        let (producer, answers) = Producer::new(&self.settings, self.service, saved.generation)?;
        lease.sign_on().await?;
        self.gauges.refuses(false);
        self.gauges.leads(true);
        tracing::info!(position = saved.cursor.position, seq = saved.cursor.seq, "the relay leads");
        let planner = Planner::new(saved.cursor);
        let mut term = Term::new(lease, (producer, answers), (planner, ends), self.gauges.clone());
        match term.send_until(shutdown, &|known| self.look(known)).await {
            Ok(()) => term.finish(shutdown).await.map(|()| true),
            Err(error) => {
                self.abandon(term, &error).await;
                Err(error)
            }
        }
    }

    // Kafka that does not answer is no topic that was lost.
    fn look(&self, known: Vec<Known>) -> Look {
        let (settings, service) = (self.settings.clone(), self.service);
        tokio::task::spawn_blocking(move || ends::compare(&settings, service, &known))
    }

    async fn refuse(&self, lease: &mut Lease, error: &Error) {
        self.gauges.refuses(true);
        if let Err(error) = lease.refuse(&error.to_string()).await {
            tracing::warn!(error = chain(&error), "why the relay sends nothing is not written down");
        }
    }

    async fn abandon(&self, mut term: Term, error: &Error) {
        // First of all: what is still queued must not go out beside a successor's records.
        term.producer.purge();
        self.gauges.leads(false);
        let late = term.lease.is_lost() || matches!(error, Error::LeaseLost);
        if late {
            for range in term.on_their_way() {
                self.fence(range).await;
            }
        } else {
            // The cursor is only a matter of repeats here.
            let _ = term.save().await;
            let _ = term.save_ends().await;
            if matches!(error, Error::TopicLost { .. }) {
                self.refuse(&mut term.lease, error).await;
            }
            term.lease.close().await;
        }
        term.producer.close().await;
    }

    async fn fence(&self, range: (Mark, Mark)) {
        let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(5));
        loop {
            // A connection that fell silent with the lease is given up for another.
            let written = timeout(LEASE, write_fence(&self.pool, self.service, &self.name, range)).await;
            let Err(error) = written.unwrap_or(Err(Error::Stalled)) else { return };
            tracing::error!(error = chain(&error), "the fence of a lost lease is not written yet");
            sleep(backoff.next()).await;
        }
    }
}

async fn wait(shutdown: &Shutdown, time: Duration) {
    tokio::select! {
        () = shutdown.soft() => {}
        () = sleep(time) => {}
    }
}

// False when the process ends meanwhile.
async fn wait_out(lease: &mut Lease, shutdown: &Shutdown) -> Result<bool, Error> {
    let end = Instant::now() + GRACE;
    while Instant::now() < end {
        if shutdown.is_soft() {
            return Ok(false);
        }
        lease.renew().await?;
        wait(shutdown, RENEW / 2).await;
    }
    Ok(true)
}
