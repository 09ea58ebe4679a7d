use std::{collections::HashSet, sync::Arc, time::Duration};

use domain::{DateTime, Utc, Uuid};
use tokio::{sync::watch, task::JoinSet, time::Instant};

use super::{
    Candidate, Courier, LaneName, PATIENCE,
    lane::{Lane, Progress, WINDOW},
    post::{Address, Outcome, post},
};
use crate::{
    Error,
    app::App,
    delivery_target::{DeliveryMode, DeliveryTarget, is_bulk},
    entitlement::{Representation, Rights},
    fanout::Hub,
    store::{self, Deliverable, What},
};

/// Shortest time between two looks into the log.
const PACE: Duration = Duration::from_millis(20);
/// Longest time between two looks, and until progress is saved that no answer brought.
const TICK: Duration = Duration::from_millis(500);
/// Entries of the log that are looked at in one go.
const PAGE: i64 = 500;

const DOCUMENTS: &str = "Documents posted to delivery targets, by what became of it";
const LAG: &str = "Age in seconds of the oldest document that a delivery target has not taken";
const PARKED: &str = "Whether a delivery target was parked after a day without success";

/// Drives a target until it is told to stop, or fails. The caller holds its lock.
pub async fn run_target(courier: &Courier, target_id: Uuid, stopped: watch::Receiver<bool>) {
    if let Err(error) = try_run(courier, target_id, stopped).await {
        tracing::warn!(error = &error as &dyn std::error::Error, %target_id, "delivery interrupted, goes on from what was saved");
        tokio::time::sleep(courier.retry.min(Duration::from_secs(1))).await;
    }
}

async fn try_run(courier: &Courier, target_id: Uuid, stopped: watch::Receiver<bool>) -> Result<(), Error> {
    let app = &courier.app;
    let Some((target, sealed)) = store::find_target(app.db(), target_id).await? else { return Ok(()) };
    if !target.is_running() {
        return Ok(());
    }
    parked(courier, target_id, false);
    let Some(key) = app.open_delivery_key(target_id, &sealed) else {
        tracing::error!(%target_id, "key of a delivery target cannot be opened, target parked");
        parked(courier, target_id, true);
        return store::park_target(app.db(), target_id, app.clock().now()).await;
    };
    let hub = Arc::clone(app.hub(target.filter.feed_flag));
    let term = store::begin_term(app.db(), target_id).await?;
    tracing::info!(%target_id, term, "delivers to target");
    let mut runners = Vec::new();
    for lane in LaneName::ALL {
        let Some(progress) = store::load_progress(app.db(), target_id, lane.name()).await? else {
            return Ok(());
        };
        let to = Address {
            target_id,
            url: target.url.clone(),
            key: key.clone(),
            stream_id: hub.stream_id().to_owned(),
            lane,
        };
        // What was asked for is sent as it was asked for.
        let mode = if lane == LaneName::Resend { DeliveryMode::Every } else { target.mode };
        runners.push(Runner {
            courier: courier.clone(),
            hub: Arc::clone(&hub),
            rights: rights_of(app, &target).await?,
            target: target.clone(),
            to: Arc::new(to),
            lane: Lane::new(mode, &progress),
            saved: progress,
            saved_at: Instant::now(),
            term,
            done: Vec::new(),
            posts: JoinSet::new(),
            looked_at: None,
            aside: HashSet::new(),
        });
    }
    let lanes = runners.into_iter().map(|runner| Box::pin(runner.run(stopped.clone())));
    futures::future::try_join_all(lanes).await?;
    Ok(())
}

fn parked(courier: &Courier, target_id: Uuid, is_parked: bool) {
    let value = if is_parked { 1.0 } else { 0.0 };
    courier.metrics.set("results_delivery_parked", PARKED, &[("target", &target_id.to_string())], value);
}

// What is sent is the original.
async fn rights_of(app: &App, target: &DeliveryTarget) -> Result<Rights, Error> {
    Ok(app.rights(Some(&target.client_id)).await?.in_representation(Representation::Odf))
}

struct Runner {
    courier: Courier,
    hub: Arc<Hub>,
    target: DeliveryTarget,
    rights: Rights,
    to: Arc<Address>,
    lane: Lane,
    term: i64,
    saved: Progress,
    saved_at: Instant,
    // Resent ones that were taken and are still stored.
    done: Vec<i64>,
    posts: JoinSet<(i64, Outcome)>,
    looked_at: Option<Instant>,
    // Documents of which refused versions wait in the resend lane, so that later ones wait behind them.
    aside: HashSet<Uuid>,
}

impl Runner {
    async fn run(mut self, mut stopped: watch::Receiver<bool>) -> Result<(), Error> {
        let mut newest = self.hub.watch();
        loop {
            if *stopped.borrow_and_update() {
                break;
            }
            self.read_on().await?;
            self.start();
            if self.is_out_of_patience() {
                return self.park().await;
            }
            if self.saved_at.elapsed() >= TICK {
                self.save().await?;
            }
            let now = Instant::now();
            let wake = self.lane.due(now).unwrap_or(now + TICK).min(now + TICK);
            tokio::select! {
                Some(settled) = self.posts.join_next(), if !self.posts.is_empty() => {
                    self.settle(settled)?;
                    self.settle_more()?;
                    self.lighten().await?;
                    // Before the next one is begun: what may be sent twice is what is under way.
                    self.save().await?;
                }
                changed = newest.changed() => {
                    // A look for each commit of a burst would be one too many.
                    if changed.is_ok() { tokio::time::sleep(PACE).await; } else { break }
                }
                _ = stopped.changed() => {}
                () = tokio::time::sleep_until(wake) => {}
            }
        }
        while let Some(settled) = self.posts.join_next().await {
            self.settle(settled)?;
        }
        self.save().await
    }

    async fn read_on(&mut self) -> Result<(), Error> {
        match self.to.lane {
            LaneName::Resend => self.read_resends().await,
            LaneName::Results | LaneName::Bulk => self.read_log().await,
        }
    }

    async fn read_log(&mut self) -> Result<(), Error> {
        // Only what readers of this process may see too.
        let last = self.hub.position().map_or(0, |position| position.seq);
        let db = self.courier.app.db();
        // The last ones may have been taken meanwhile. None are there before the first look.
        if self.lane.read_to() < last && (self.looked_at.is_none() || !self.aside.is_empty()) {
            self.aside = store::list_set_aside(db, self.to.target_id, &self.to.stream_id).await?;
            self.looked_at = Some(Instant::now());
        }
        while self.lane.room() > 0 && self.lane.read_to() < last {
            let after = self.lane.read_to();
            let page = i64::try_from(self.lane.room()).unwrap_or(PAGE).min(PAGE);
            let found =
                store::list_deliverable(self.courier.app.db(), &self.to.stream_id, after, last, page).await?;
            let Some(end) = found.last().map(|one| one.seq) else {
                self.lane.pass(last);
                break;
            };
            for one in found {
                self.look_at(one).await?;
            }
            self.lane.pass(end);
        }
        Ok(())
    }

    async fn look_at(&mut self, found: Deliverable) -> Result<(), Error> {
        match found.what {
            What::Entitlement(client_id) if self.rights.depend_on(&client_id) => self.renew_rights().await?,
            What::Document { candidate, has_newer } => {
                let passes = self.target.mode == DeliveryMode::State && has_newer && candidate.conflatable;
                if !passes && self.permits(&candidate, candidate.released_until) {
                    self.take(candidate).await?;
                }
            }
            // A version that was seen before is not sent again.
            What::Release { candidate, client_ids, from } => {
                let is_told = client_ids.iter().any(|client_id| self.rights.depend_on(client_id));
                let until = candidate.released_until;
                if is_told && self.permits(&candidate, until) && !self.permits(&candidate, from) {
                    self.take(candidate).await?;
                }
            }
            What::Entitlement(_) | What::Other => {}
        }
        Ok(())
    }

    // Embargoes are over at an entry of the log, so that every process finds the same.
    fn permits(&self, candidate: &Candidate, released_until: DateTime<Utc>) -> bool {
        let subject = candidate.subject(self.target.filter.feed_flag);
        self.target.filter.matches(&subject) && self.rights.permit_at(&subject, released_until)
    }

    async fn take(&mut self, candidate: Candidate) -> Result<(), Error> {
        if is_bulk(candidate.document_type) != (self.to.lane == LaneName::Bulk) {
            return Ok(());
        }
        if self.aside.contains(&candidate.document_id) {
            let now = self.courier.app.clock().now();
            return self.set_aside(&[candidate.seq], now).await;
        }
        self.lane.push(candidate);
        Ok(())
    }

    async fn set_aside(&self, seqs: &[i64], since: DateTime<Utc>) -> Result<(), Error> {
        store::insert_set_aside(self.courier.app.db(), self.to.target_id, seqs, since).await
    }

    // Stored before the lane forgets them: a death in between repeats, and loses nothing.
    async fn lighten(&mut self) -> Result<(), Error> {
        if self.to.lane == LaneName::Resend {
            return Ok(());
        }
        while let Some(aside) = self.lane.set_aside(self.courier.app.clock().now()) {
            self.set_aside(&aside.seqs, aside.since).await?;
            tracing::warn!(target_id = %self.to.target_id, seqs = ?aside.seqs, "document refused while others are taken, set aside");
            self.aside.insert(aside.document_id);
        }
        Ok(())
    }

    async fn renew_rights(&mut self) -> Result<(), Error> {
        self.rights = rights_of(&self.courier.app, &self.target).await?;
        let (rights, feed_flag) = (&self.rights, self.target.filter.feed_flag);
        self.lane.retain(|candidate| rights.permit(&candidate.subject(feed_flag)));
        Ok(())
    }

    async fn read_resends(&mut self) -> Result<(), Error> {
        let is_soon = self.looked_at.is_some_and(|at| at.elapsed() < TICK);
        if is_soon || self.lane.room() < WINDOW / 2 {
            return Ok(());
        }
        // Those that were taken are deleted first, or they would be found again.
        self.save().await?;
        let (db, stream_id, known) = (self.courier.app.db(), &self.to.stream_id, self.lane.seqs());
        let found: Vec<Candidate> =
            store::list_resends(db, self.to.target_id, stream_id, &known, PAGE).await?;
        if found.is_empty() {
            self.looked_at = Some(Instant::now());
            return Ok(());
        }
        self.renew_rights().await?;
        for candidate in found {
            if self.rights.permit(&candidate.subject(self.target.filter.feed_flag)) {
                self.lane.push(candidate);
            } else {
                self.done.push(candidate.seq);
            }
        }
        Ok(())
    }

    fn start(&mut self) {
        while let Some(candidate) = self.lane.take(Instant::now(), self.courier.retry) {
            let (courier, to) = (self.courier.clone(), Arc::clone(&self.to));
            self.posts.spawn(async move {
                let outcome = post(&courier, &to, &candidate).await;
                (candidate.seq, outcome)
            });
        }
    }

    fn settle_more(&mut self) -> Result<(), Error> {
        while let Some(settled) = self.posts.try_join_next() {
            self.settle(settled)?;
        }
        Ok(())
    }

    fn settle(&mut self, settled: Result<(i64, Outcome), tokio::task::JoinError>) -> Result<(), Error> {
        // Of a task that panicked nothing is known but what was saved.
        let (seq, outcome) = settled.map_err(|_| Error::Unavailable("a delivery was torn down"))?;
        let target_id = self.to.target_id.to_string();
        let labels =
            [("target", target_id.as_str()), ("lane", self.to.lane.name()), ("outcome", outcome.name())];
        self.courier.metrics.add("results_delivery_documents", DOCUMENTS, &labels, 1);
        if outcome.is_done() {
            self.lane.taken(seq);
            self.done.push(seq);
            return Ok(());
        }
        let status = if let Outcome::Refused(status) = outcome { status } else { 0 };
        tracing::info!(
            target_id,
            lane = self.to.lane.name(),
            seq,
            outcome = outcome.name(),
            status,
            "document not taken"
        );
        self.lane.refused(seq, Instant::now() + self.courier.retry, self.courier.app.clock().now());
        Ok(())
    }

    async fn save(&mut self) -> Result<(), Error> {
        self.saved_at = Instant::now();
        let (target_id, lane) = (self.to.target_id, self.to.lane);
        let now = self.courier.app.clock().now();
        let age = self.lane.oldest().map_or(0.0, |at| (now - at).as_seconds_f64().max(0.0));
        let labels = [("target", &*target_id.to_string()), ("lane", lane.name())];
        self.courier.metrics.set("results_delivery_lag_seconds", LAG, &labels, age);
        let mut progress = self.lane.progress();
        if lane == LaneName::Resend {
            (progress.acknowledged, progress.ahead) = (0, Vec::new());
        }
        if progress == self.saved && self.done.is_empty() {
            return Ok(());
        }
        let db = self.courier.app.db();
        if !store::save_progress(db, target_id, lane.name(), self.term, &progress).await? {
            return Err(Error::Unavailable("another replica drives the target"));
        }
        if lane == LaneName::Resend {
            store::delete_resends(db, target_id, &self.done).await?;
            self.lane.forget_taken();
        }
        self.done.clear();
        self.saved = progress;
        Ok(())
    }

    fn is_out_of_patience(&self) -> bool {
        let since = self.lane.progress().failing_since;
        since.is_some_and(|since| self.courier.app.clock().now() - since >= PATIENCE)
    }

    async fn park(mut self) -> Result<(), Error> {
        self.settle_more()?;
        self.save().await?;
        let target_id = self.to.target_id;
        tracing::error!(%target_id, lane = self.to.lane.name(), "delivery target took a document not for a day, target parked");
        parked(&self.courier, target_id, true);
        store::park_target(self.courier.app.db(), target_id, self.courier.app.clock().now()).await
    }
}
