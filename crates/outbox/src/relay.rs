//! The shell around the planner: one leader a schema reads the outbox and sends it to Kafka.

use std::{collections::HashMap, time::Duration};

use chassis::{Backoff, Settings, Shutdown};
use domain::Service;
use sqlx::PgPool;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until, timeout},
};

use crate::{
    Error,
    failure::chain,
    lease::{Fence, GRACE, LEASE, Lease, write_fence},
    measure::RelayGauges,
    planner::{Input, Mark, Output, Planner},
    producer::{Answer, Producer, Sent},
};

const POLL_BUSY: Duration = Duration::from_millis(5);
const POLL_IDLE: Duration = Duration::from_millis(100);
const SAVE: Duration = Duration::from_millis(200);
const RENEW: Duration = Duration::from_secs(1);
const DRAIN: Duration = Duration::from_secs(5);

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
        let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(10));
        while !shutdown.is_soft() {
            let started = Instant::now();
            match self.lead_if_free(&shutdown).await {
                Ok(true) => return,
                Ok(false) => wait(&shutdown, RENEW / 2).await,
                Err(error) => {
                    tracing::error!(error = chain(&error), "the relay stopped and starts again");
                    if started.elapsed() > Duration::from_secs(60) {
                        backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(10));
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
        let (producer, answers) = Producer::new(&self.settings, self.service, saved.generation)?;
        lease.sign_on().await?;
        self.gauges.leads(true);
        tracing::info!(position = saved.cursor.position, seq = saved.cursor.seq, "the relay leads");
        let planner = Planner::new(saved.cursor);
        let mut term =
            Term { lease, producer, answers, planner, fenced: HashMap::new(), gauges: self.gauges.clone() };
        match term.send_until(shutdown).await {
            Ok(()) => term.finish(shutdown).await.map(|()| true),
            Err(error) => {
                self.abandon(term, &error).await;
                Err(error)
            }
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

// Records of a fence that are sent again and not acknowledged yet.
struct SentAgain {
    range: (Mark, Mark),
    left: usize,
}

// One time of leadership.
struct Term {
    lease: Lease,
    producer: Producer,
    answers: mpsc::UnboundedReceiver<Answer>,
    planner: Planner,
    fenced: HashMap<i64, SentAgain>,
    gauges: RelayGauges,
}

impl Term {
    // Until the process ends or something fails.
    async fn send_until(&mut self, shutdown: &Shutdown) -> Result<(), Error> {
        let mut idle = POLL_BUSY;
        let (mut poll_at, mut save_at, mut tend_at) = (Instant::now(), Instant::now() + SAVE, Instant::now());
        while !shutdown.is_soft() {
            while let Ok(answer) = self.answers.try_recv() {
                self.answered(answer)?;
            }
            let now = Instant::now();
            if now >= save_at {
                self.save().await?;
                save_at = now + SAVE;
            }
            if now >= tend_at {
                self.tend().await?;
                tend_at = now + RENEW;
            }
            if now >= poll_at && self.planner.wants_horizon() {
                let sent = self.read().await?;
                idle = if sent > 0 { POLL_BUSY } else { POLL_IDLE.min(idle * 2) };
                poll_at = now + idle;
            }
            if self.lease.is_lost() {
                return Err(Error::LeaseLost);
            }
            let wake = if self.planner.wants_horizon() { poll_at.min(save_at) } else { save_at };
            tokio::select! {
                () = shutdown.soft() => {}
                answer = self.answers.recv() => if let Some(answer) = answer { self.answered(answer)?; },
                () = sleep_until(wake.min(tend_at)) => {}
            }
        }
        Ok(())
    }

    fn answered(&mut self, (sent, result): Answer) -> Result<(), Error> {
        result.map_err(Error::Refused)?;
        self.acknowledged(sent);
        Ok(())
    }

    fn acknowledged(&mut self, sent: Sent) {
        match sent {
            Sent::Row(mark) => {
                self.planner.on(Input::Acked(mark));
                self.gauges.published();
            }
            Sent::Fenced(id) => {
                if let Some(again) = self.fenced.get_mut(&id) {
                    again.left -= 1;
                }
            }
        }
    }

    // The horizon comes before the page: what is below it then is all there will ever be.
    async fn read(&mut self) -> Result<usize, Error> {
        let horizon = self.lease.horizon().await?;
        let Some(Output::Read { after, below }) = self.planner.on(Input::Horizon(horizon)) else {
            return Ok(0);
        };
        let (rows, full) = self.lease.page(after, below).await?;
        let marks = rows.iter().map(crate::lease::Row::mark).collect();
        let Some(Output::Produce(order)) = self.planner.on(Input::Page { marks, full }) else { return Ok(0) };
        for index in &order {
            if let Some(row) = rows.get(*index) {
                self.producer.send(row, Sent::Row(row.mark())).await?;
            }
        }
        Ok(order.len())
    }

    async fn save(&mut self) -> Result<(), Error> {
        match self.planner.on(Input::Tick) {
            Some(Output::Save(cursor)) => self.lease.save(cursor).await,
            _ => Ok(()),
        }
    }

    // Renews the lease by asking for fences.
    async fn tend(&mut self) -> Result<(), Error> {
        let done: Vec<i64> =
            self.fenced.iter().filter(|(_, again)| again.left == 0).map(|(id, _)| *id).collect();
        for id in done {
            self.lease.close_fence(id).await?;
            self.fenced.remove(&id);
        }
        for fence in self.lease.fences().await? {
            if !self.fenced.contains_key(&fence.id) {
                self.send_again(fence).await?;
            }
        }
        self.gauges.lease_age(self.lease.age());
        Ok(())
    }

    // Rows that were not read yet come anyway, behind these.
    async fn send_again(&mut self, fence: Fence) -> Result<(), Error> {
        let rows = self.lease.fenced_rows(fence, self.planner.read_up_to()).await?;
        tracing::warn!(rows = rows.len(), "sending rows again that a lost leader may have sent late");
        self.fenced.insert(fence.id, SentAgain { range: (fence.from, fence.to), left: rows.len() });
        for row in &rows {
            self.producer.send(row, Sent::Fenced(fence.id)).await?;
        }
        Ok(())
    }

    // The ranges whose keys may still get a record from here, now that another one may lead. A fence that is being sent
    // again is one more time: its successor may have sent it meanwhile.
    fn on_their_way(&mut self) -> Vec<(Mark, Mark)> {
        // What Kafka has is not on its way any more.
        while let Ok((sent, result)) = self.answers.try_recv() {
            if result.is_ok() {
                self.acknowledged(sent);
            }
        }
        let rows = match self.planner.on(Input::LeaseLost) {
            Some(Output::Stop { in_flight }) => in_flight,
            _ => None,
        };
        let again = self.fenced.values().filter(|again| again.left > 0).map(|again| again.range);
        rows.into_iter().chain(again).collect()
    }

    // Awaits the acknowledgements of what is on its way, so that a successor need not wait.
    async fn finish(mut self, shutdown: &Shutdown) -> Result<(), Error> {
        let drained = timeout(DRAIN, self.drain());
        tokio::select! {
            _ = drained => {}
            () = shutdown.hard() => {}
        }
        self.save().await?;
        if self.planner.unacked() == 0 {
            self.lease.sign_off().await?;
        } else {
            tracing::warn!(
                rows = self.planner.unacked(),
                "the relay ends with rows that were not acknowledged"
            );
            self.producer.purge();
            self.lease.close().await;
        }
        self.producer.close().await;
        Ok(())
    }

    async fn drain(&mut self) -> Result<(), Error> {
        while self.planner.unacked() > 0 {
            let Some(answer) = self.answers.recv().await else { break };
            self.answered(answer)?;
        }
        Ok(())
    }
}
