//! One time of leadership: what is read, sent, saved and looked at until it ends.

use std::{collections::HashMap, time::Duration};

use chassis::Shutdown;
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep_until, timeout},
};

use super::RENEW;
use crate::{
    Error,
    ends::{Ends, Known},
    lease::{Fence, Lease},
    measure::RelayGauges,
    planner::{Input, Mark, Output, Planner},
    producer::{Answer, Producer, Sent},
    resend::Resend,
};

const POLL_BUSY: Duration = Duration::from_millis(5);
const POLL_IDLE: Duration = Duration::from_millis(100);
const SAVE: Duration = Duration::from_millis(200);
const DRAIN: Duration = Duration::from_secs(5);
/// How often a leader looks whether its topics are still there: one without new rows hears of nothing else.
const LOOK: Duration = Duration::from_secs(10);

/// A look at Kafka, which is waited for elsewhere.
pub(super) type Look = JoinHandle<Result<(), Error>>;

// Records of a fence that are sent again and not acknowledged yet.
struct SentAgain {
    range: (Mark, Mark),
    left: usize,
}

// One time of leadership.
pub(super) struct Term {
    pub(super) lease: Lease,
    pub(super) producer: Producer,
    answers: mpsc::UnboundedReceiver<Answer>,
    planner: Planner,
    ends: Ends,
    fenced: HashMap<i64, SentAgain>,
    again: Option<Resend>,
    looking: Option<Look>,
    gauges: RelayGauges,
}

impl Term {
    pub(super) fn new(
        lease: Lease,
        (producer, answers): (Producer, mpsc::UnboundedReceiver<Answer>),
        (planner, ends): (Planner, Ends),
        gauges: RelayGauges,
    ) -> Self {
        let (fenced, again, looking) = (HashMap::new(), None, None);
        Self { lease, producer, answers, planner, ends, fenced, again, looking, gauges }
    }

    // Until the process ends or something fails.
    pub(super) async fn send_until(
        &mut self,
        shutdown: &Shutdown,
        look: &(impl Fn(Vec<Known>) -> Look + Sync),
    ) -> Result<(), Error> {
        let mut idle = POLL_BUSY;
        let (mut poll_at, mut save_at, mut tend_at) = (Instant::now(), Instant::now() + SAVE, Instant::now());
        let mut look_at = Instant::now() + LOOK;
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
            if now >= look_at {
                self.looking = Some(look(self.ends.all()));
                look_at = now + LOOK;
            }
            self.send_again_asked().await?;
            if now >= poll_at && self.may_read() {
                let sent = self.read().await?;
                idle = if sent > 0 { POLL_BUSY } else { POLL_IDLE.min(idle * 2) };
                poll_at = now + idle;
            }
            if self.lease.is_lost() {
                return Err(Error::LeaseLost);
            }
            let wake = if self.may_read() { poll_at.min(save_at) } else { save_at };
            tokio::select! {
                () = shutdown.soft() => {}
                answer = self.answers.recv() => if let Some(answer) = answer { self.answered(answer)?; },
                () = sleep_until(wake.min(tend_at)) => {}
            }
        }
        Ok(())
    }

    // While a topic is sent again, what comes later waits.
    fn may_read(&self) -> bool {
        self.again.is_none() && self.planner.wants_horizon()
    }

    fn answered(&mut self, answer: Answer) -> Result<(), Error> {
        match answer.result {
            Ok(place) => self.ends.acknowledged(&answer.topic, place)?,
            Err(source) => return Err(self.ends.refused(&answer.topic, source)),
        }
        self.acknowledged(answer.sent);
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
            Sent::Again => {
                if let Some(again) = &mut self.again {
                    again.acknowledged();
                }
            }
        }
    }

    async fn send_again_asked(&mut self) -> Result<(), Error> {
        if let Some(again) = &mut self.again
            && again.go_on(&mut self.lease, &mut self.producer).await?
        {
            self.again = None;
        }
        Ok(())
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

    pub(super) async fn save(&mut self) -> Result<(), Error> {
        match self.planner.on(Input::Tick) {
            Some(Output::Save(cursor)) => self.lease.save(cursor).await,
            _ => Ok(()),
        }
    }

    pub(super) async fn save_ends(&mut self) -> Result<(), Error> {
        let unsaved = self.ends.unsaved();
        if !unsaved.is_empty() {
            self.lease.save_ends(&unsaved).await?;
            self.ends.saved();
        }
        Ok(())
    }

    // Renews the lease by asking for fences.
    async fn tend(&mut self) -> Result<(), Error> {
        self.save_ends().await?;
        if let Some(looked) = self.looking.take_if(|looking| looking.is_finished())
            && let Ok(Err(error @ Error::TopicLost { .. })) = looked.await
        {
            return Err(error);
        }
        if self.again.is_none() {
            self.again = Resend::begin(&mut self.lease, self.planner.read_up_to()).await?;
        }
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
    pub(super) fn on_their_way(&mut self) -> Vec<(Mark, Mark)> {
        // What Kafka has is not on its way any more.
        while let Ok(answer) = self.answers.try_recv() {
            if answer.result.is_ok() {
                self.acknowledged(answer.sent);
            }
        }
        let rows = match self.planner.on(Input::LeaseLost) {
            Some(Output::Stop { in_flight }) => in_flight,
            _ => None,
        };
        let fenced = self.fenced.values().filter(|again| again.left > 0).map(|again| again.range);
        let again = self.again.as_ref().and_then(Resend::on_its_way);
        rows.into_iter().chain(fenced).chain(again).collect()
    }

    // Records of all kinds that Kafka has not acknowledged.
    fn unacked(&self) -> usize {
        let fenced: usize = self.fenced.values().map(|again| again.left).sum();
        self.planner.unacked() + fenced + self.again.as_ref().map_or(0, Resend::unacked)
    }

    // Awaits the acknowledgements of what is on its way, so that a successor need not wait.
    pub(super) async fn finish(mut self, shutdown: &Shutdown) -> Result<(), Error> {
        let drained = timeout(DRAIN, self.drain());
        tokio::select! {
            _ = drained => {}
            () = shutdown.hard() => {}
        }
        self.save().await?;
        self.save_ends().await?;
        if self.unacked() == 0 {
            self.lease.sign_off().await?;
        } else {
            tracing::warn!(rows = self.unacked(), "the relay ends with rows that were not acknowledged");
            self.producer.purge();
            self.lease.close().await;
        }
        self.producer.close().await;
        Ok(())
    }

    async fn drain(&mut self) -> Result<(), Error> {
        while self.unacked() > 0 {
            let Some(answer) = self.answers.recv().await else { break };
            self.answered(answer)?;
        }
        Ok(())
    }
}
