//! The task that lets campaigns' mails leave: leases chunks, and runs some connections over the people in them.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use chassis::{Backoff, Shutdown};
use domain::{CampaignId, ProfileId, TimeDelta};
use futures::future::join_all;
use tokio::{
    sync::{mpsc, oneshot},
    time::{interval, sleep},
};
use tracing::{Instrument as _, Span};

use super::{
    App, IDLE, Sending,
    turn::{self, Candidate, Done, Next, Step, Verdict},
};
use crate::{
    Error,
    campaign::{Delivery, PATIENCE, State},
    events,
    smtp::{Broken, Connection, Envelope, Sent},
    store::{self, Chunk, LedgerKey},
};

/// Connections that work on one chunk.
const CONNECTIONS: usize = 4;
/// How long a chunk belongs to its process without a sign of life.
const LEASE: TimeDelta = TimeDelta::seconds(30);
const RENEW: Duration = Duration::from_secs(10);
/// Deferred mails taken at once.
const RETRIES: i64 = 100;
/// Connections that one mail may cost in a row.
const TRIES: u32 = 3;

/// Some people of one campaign, and how far they are.
struct Crowd {
    sending: Arc<Sending>,
    lease: Option<(i32, i64)>,
    left: Mutex<VecDeque<ProfileId>>,
    stop: AtomicBool,
    /// The relay could not be reached.
    is_broken: AtomicBool,
    /// Somebody has to wait.
    has_later: AtomicBool,
}

impl App {
    /// Freezes what is due, until the process ends.
    pub async fn run_freezes(self, shutdown: Shutdown) {
        let mut backoff = pause();
        while !shutdown.is_soft() {
            match self.freeze_round().await {
                Ok(true) => backoff = pause(),
                Ok(false) => {
                    backoff = pause();
                    self.wait(&self.nudges.campaign, IDLE, &shutdown).await;
                }
                Err(error) => {
                    tracing::warn!(error = %error, cause = ?error, "a campaign could not be frozen yet");
                    self.wait(&self.nudges.campaign, backoff.next(), &shutdown).await;
                }
            }
        }
    }

    /// Lets mails leave, until the process ends; what has left gets its outcome before.
    pub async fn run_campaigns(self, shutdown: Shutdown) {
        let (steps, taken) = mpsc::channel(2 * CONNECTIONS);
        let turns = turn::run(self.clone(), taken);
        let rounds = async move {
            let mut backoff = pause();
            while !shutdown.is_soft() {
                let wait = match self.send_round(&steps, &shutdown).await {
                    Ok(Progress::Done) => {
                        backoff = pause();
                        continue;
                    }
                    Ok(Progress::Idle) => {
                        backoff = pause();
                        IDLE
                    }
                    Ok(Progress::Broken) => backoff.next().max(IDLE),
                    Err(error) => {
                        tracing::warn!(error = %error, cause = ?error, "campaigns cannot be sent now");
                        backoff.next()
                    }
                };
                tokio::select! {
                    () = sleep(wait) => {}
                    () = shutdown.soft() => {}
                }
            }
            // The last connection has gone: the turns end.
            drop(steps);
        };
        tokio::join!(turns, rounds);
    }

    async fn send_round(&self, steps: &mpsc::Sender<Step>, shutdown: &Shutdown) -> Result<Progress, Error> {
        let mut progress = self.send_retries(steps, shutdown).await?;
        let sending = store::list_sending(&self.db).await?;
        let mut ready = Vec::with_capacity(sending.len());
        for campaign_id in &sending {
            if self.has_caught_up(*campaign_id).await? {
                ready.push(*campaign_id);
            }
        }
        let now = self.now();
        if let Some(chunk) = store::lease_chunk(&self.db, &ready, self.owner, now, now + LEASE).await? {
            let (campaign_id, block) = (chunk.campaign_id, chunk.block);
            let span = tracing::info_span!("send", otel.name = "send campaign", %campaign_id, block);
            progress = self.send_chunk(&chunk, steps, shutdown).instrument(span).await?;
        }
        for campaign_id in &sending {
            self.finish_if_done(*campaign_id).await?;
        }
        Ok(progress)
    }

    /// Mails must not be withheld for a consent that the freeze has read and this service has not.
    async fn has_caught_up(&self, campaign_id: CampaignId) -> Result<bool, Error> {
        let sending = self.sending(campaign_id).await?;
        let waited =
            sending.started.campaign.frozen.as_ref().is_none_or(|frozen| self.now() >= frozen.at + PATIENCE);
        if waited {
            return Ok(true);
        }
        let ours = |topic: &str| topic.ends_with(events::PROFILES) || topic.ends_with(events::CONSENTS);
        let watermark: Vec<_> =
            sending.started.watermark.iter().filter(|(topic, ..)| ours(topic)).cloned().collect();
        store::is_caught_up(&self.db, &watermark).await
    }

    async fn finish_if_done(&self, campaign_id: CampaignId) -> Result<(), Error> {
        let mut tx = chassis::begin(&self.db).await?;
        let is_done = store::is_all_done(&mut tx, campaign_id).await?;
        tx.rollback().await?;
        if !is_done {
            return Ok(());
        }
        let finish = self.change_campaign(campaign_id, None, |campaign| {
            if campaign.state == State::Sending { campaign.finish().map(Some) } else { Ok(None) }
        });
        let span = tracing::info_span!("finish", otel.name = "finish campaign", %campaign_id);
        if finish.instrument(span).await?.state == State::Finished {
            tracing::info!(%campaign_id, "campaign finished");
        }
        Ok(())
    }

    async fn send_chunk(
        &self,
        chunk: &Chunk,
        steps: &mpsc::Sender<Step>,
        shutdown: &Shutdown,
    ) -> Result<Progress, Error> {
        let people = store::without_rows(&self.db, chunk.campaign_id, &chunk.profile_ids).await?;
        let sending = self.sending(chunk.campaign_id).await?;
        let crowd = Crowd::new(sending, Some((chunk.block, chunk.epoch)), people);
        tokio::select! {
            () = self.send_crowd(&crowd, steps, shutdown) => {}
            () = self.keep(chunk) => {}
        }
        let now = self.now();
        if store::without_rows(&self.db, chunk.campaign_id, &chunk.profile_ids).await?.is_empty() {
            store::finish_chunk(&self.db, chunk, now).await?;
            return Ok(Progress::Done);
        }
        store::release_chunk(&self.db, chunk, now).await?;
        Ok(crowd.progress())
    }

    // Ends never: a lease that is somebody else's is told by the turn, which lets nothing leave any more.
    async fn keep(&self, chunk: &Chunk) {
        let mut ticks = interval(RENEW);
        loop {
            ticks.tick().await;
            match store::renew_chunk(&self.db, chunk, self.now() + LEASE).await {
                Ok(true) => {}
                Ok(false) => {
                    tracing::warn!(campaign_id = %chunk.campaign_id, block = chunk.block, "lease lost");
                }
                Err(error) => tracing::warn!(error = %error, "a lease could not be renewed"),
            }
        }
    }

    async fn send_retries(&self, steps: &mpsc::Sender<Step>, shutdown: &Shutdown) -> Result<Progress, Error> {
        let now = self.now();
        let due = store::lease_retries(&self.db, now, now + LEASE, RETRIES).await?;
        let mut by_campaign: HashMap<CampaignId, Vec<ProfileId>> = HashMap::new();
        for (campaign_id, profile_id) in due {
            by_campaign.entry(campaign_id).or_default().push(profile_id);
        }
        let mut progress = Progress::Idle;
        for (campaign_id, people) in by_campaign {
            let span = tracing::info_span!("retry", otel.name = "retry campaign", %campaign_id);
            let sending = self.sending(campaign_id).instrument(span.clone()).await?;
            let crowd = Crowd::new(sending, None, people);
            self.send_crowd(&crowd, steps, shutdown).instrument(span).await;
            progress = crowd.progress();
        }
        Ok(progress)
    }

    async fn send_crowd(&self, crowd: &Crowd, steps: &mpsc::Sender<Step>, shutdown: &Shutdown) {
        let people = crowd.left.lock().unwrap_or_else(PoisonError::into_inner).len();
        join_all((0..people.min(CONNECTIONS)).map(|_| self.connection(crowd, steps, shutdown))).await;
    }

    // One connection: hand in the last outcome, learn about the next person, send.
    async fn connection(&self, crowd: &Crowd, steps: &mpsc::Sender<Step>, shutdown: &Shutdown) {
        let mut connection = None;
        let mut done = None;
        loop {
            let next = if shutdown.is_soft() { None } else { crowd.next() };
            let is_last = next.is_none();
            if is_last && done.is_none() {
                break;
            }
            let key = next.as_ref().map(Next::key);
            let verdict = step(steps, done.take(), next).await;
            match (verdict, key) {
                (Verdict::Send(candidate), Some(key)) => {
                    done = Some((key, self.deliver(crowd, &mut connection, &candidate).await));
                }
                (Verdict::Later, _) => crowd.has_later.store(true, Ordering::Relaxed),
                (Verdict::Stop, _) => crowd.stop.store(true, Ordering::Relaxed),
                _ => {}
            }
        }
        if let Some(connection) = connection {
            self.relays.campaign.put(connection);
        }
    }

    async fn deliver(
        &self,
        crowd: &Crowd,
        connection: &mut Option<Connection>,
        candidate: &Candidate,
    ) -> Done {
        let now = self.now();
        let letter = match self.compose(&crowd.sending, &candidate.recipient, &candidate.reachable, now) {
            Ok(letter) => letter,
            Err(failed) => return Done::Outcome(failed),
        };
        let is_once = crowd.sending.started.campaign.plan.delivery == Delivery::AtMostOnce;
        let envelope = Envelope { from: &letter.from, to: &letter.to };
        let mut has_left = false;
        for _ in 0..TRIES {
            match self.hand_over(connection, &envelope, &letter.content).await {
                Ok(sent) => return Done::Outcome(letter.outcome(&sent, candidate.attempts, self.now())),
                Err(broken) => {
                    tracing::info!(cause = %broken.cause, "a connection to the relay broke");
                    has_left |= broken.content_left;
                    if has_left && is_once {
                        return Done::Outcome(letter.unknown());
                    }
                }
            }
        }
        if has_left {
            return Done::Outcome(letter.lost(candidate.attempts, self.now()));
        }
        crowd.is_broken.store(true, Ordering::Relaxed);
        crowd.stop.store(true, Ordering::Relaxed);
        Done::NotHanded
    }

    async fn hand_over(
        &self,
        connection: &mut Option<Connection>,
        envelope: &Envelope<'_>,
        content: &[u8],
    ) -> Result<Sent, Broken> {
        let mut open = match connection.take() {
            Some(open) if open.is_reusable() => open,
            _ => self.relays.campaign.take().await?,
        };
        // The dot, and what the relay said to it; nothing of the letter.
        let span = tracing::info_span!("mail", otel.name = "smtp send", otel.kind = "client");
        let sent = open.send(envelope, content).instrument(span).await?;
        *connection = Some(open);
        Ok(sent)
    }

    pub(super) async fn wait(&self, nudge: &tokio::sync::Notify, longest: Duration, shutdown: &Shutdown) {
        tokio::select! {
            () = nudge.notified() => {}
            () = sleep(longest) => {}
            () = shutdown.soft() => {}
        }
    }
}

/// What a round led to.
enum Progress {
    /// Somebody has an outcome.
    Done,
    /// Nothing to do now.
    Idle,
    /// The relay is away.
    Broken,
}

impl Crowd {
    fn new(sending: Arc<Sending>, lease: Option<(i32, i64)>, people: Vec<ProfileId>) -> Self {
        Self {
            sending,
            lease,
            left: Mutex::new(people.into()),
            stop: AtomicBool::default(),
            is_broken: AtomicBool::default(),
            has_later: AtomicBool::default(),
        }
    }

    fn next(&self) -> Option<Next> {
        if self.stop.load(Ordering::Relaxed) {
            return None;
        }
        let profile_id = self.left.lock().unwrap_or_else(PoisonError::into_inner).pop_front()?;
        Some(Next { sending: Arc::clone(&self.sending), profile_id, lease: self.lease })
    }

    fn progress(&self) -> Progress {
        if self.is_broken.load(Ordering::Relaxed) {
            Progress::Broken
        } else if self.stop.load(Ordering::Relaxed) || self.has_later.load(Ordering::Relaxed) {
            Progress::Idle
        } else {
            Progress::Done
        }
    }
}

async fn step(steps: &mpsc::Sender<Step>, done: Option<(LedgerKey, Done)>, next: Option<Next>) -> Verdict {
    let (answer, verdict) = oneshot::channel();
    let span = Span::current();
    if steps.send(Step { done, next, answer, span }).await.is_err() {
        return Verdict::Stop;
    }
    verdict.await.unwrap_or(Verdict::Stop)
}

fn pause() -> Backoff {
    Backoff::new(Duration::from_millis(200), Duration::from_secs(30))
}
