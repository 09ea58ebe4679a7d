//! Documents out to partners by POST (ODF Foundation Principles 8.2): original bytes, one document a request, gzip,
//! `X-API-KEY`; 200 is taken, anything else comes again. One replica at a time drives a target; its lanes go side by side.

mod lane;
mod post;
mod runner;
mod session;

use std::{collections::HashMap, time::Duration};

use chassis::{Egress, Metrics, Shutdown};
use domain::{DateTime, TimeDelta, Utc, Uuid};
use tokio::{sync::watch, task::JoinSet};

pub use lane::Progress;

use crate::{
    Error,
    app::App,
    document_type::{DocumentType, FeedFlag, ResultStatus},
    entitlement::{Facts, Subject},
    store::{self, DeliverySession},
};

/// How often targets are looked for that nobody drives, and those that changed.
const LOOK: Duration = Duration::from_millis(250);
/// After so long without success a document's target is parked.
const PATIENCE: TimeDelta = TimeDelta::hours(24);

/// One version of a document on its way to a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The place in the log of the entry that says to send it.
    pub seq: i64,
    /// Where its bytes are: at an earlier place, where an embargo held it back.
    pub version_seq: i64,
    /// Which document.
    pub document_id: Uuid,
    /// Its code.
    pub code: String,
    /// Its type.
    pub document_type: DocumentType,
    /// Its status; of an invalidation that of what it withdraws.
    pub status: Option<ResultStatus>,
    /// Whether a target that is behind may be given a newer version instead.
    pub conflatable: bool,
    /// When it came.
    pub received_at: DateTime<Utc>,
    /// What rights to it rest on; of an invalidation, to what it withdraws.
    pub facts: Facts,
    /// Until when embargoes were over before it came; of one that was held back, until when they are over now.
    pub released_until: DateTime<Utc>,
    /// Since when it is refused, where it was set aside for that.
    pub refused_since: Option<DateTime<Utc>>,
}

impl Candidate {
    /// What rights and filters are about.
    #[must_use]
    pub fn subject(&self, feed_flag: FeedFlag) -> Subject<'_> {
        let (code, document_type, status) = (self.code.as_str(), self.document_type, self.status);
        Subject { code, document_type, status, feed_flag, facts: &self.facts }
    }
}

/// What goes apart from what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaneName {
    /// Everything but bulk.
    Results,
    /// Pictures, PDF, biographies.
    Bulk,
    /// What was asked for once more.
    Resend,
}

impl LaneName {
    /// Every lane.
    pub const ALL: [Self; 3] = [Self::Results, Self::Bulk, Self::Resend];

    /// The name in SQL, on the wire and in figures.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Results => "results",
            Self::Bulk => "bulk",
            Self::Resend => "resend",
        }
    }
}

/// What runners share.
#[derive(Debug, Clone)]
pub struct Courier {
    /// The use cases.
    pub app: App,
    /// The way out.
    pub egress: Egress,
    /// Operators' figures.
    pub metrics: Metrics,
    /// After so long a document is sent again that was not taken.
    pub retry: Duration,
}

/// Drives the targets that no other replica drives, until the process ends.
pub async fn deliver(courier: Courier, shutdown: Shutdown) {
    let mut backoff = chassis::Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
    while !shutdown.is_soft() {
        match session::open(&courier).await {
            Ok(session) => {
                backoff = chassis::Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
                drive(&courier, session, &shutdown).await;
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "delivery targets not driven");
                tokio::select! {
                    () = shutdown.soft() => {}
                    () = tokio::time::sleep(backoff.next()) => {}
                }
            }
        }
    }
}

struct Driven {
    version: i64,
    stop: watch::Sender<bool>,
}

// With the session go all its locks: whatever was driven under them ends at once.
async fn drive(courier: &Courier, mut session: DeliverySession, shutdown: &Shutdown) {
    let mut driven: HashMap<Uuid, Driven> = HashMap::new();
    let mut runners: JoinSet<Uuid> = JoinSet::new();
    while !shutdown.is_soft() {
        if let Err(error) = look(courier, &mut session, &mut driven, &mut runners).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                targets = driven.len(),
                "delivery targets given up"
            );
            runners.shutdown().await;
            return;
        }
        tokio::select! {
            () = shutdown.soft() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
        while let Some(ended) = runners.try_join_next() {
            let Ok(target_id) = ended else { continue };
            driven.remove(&target_id);
            if let Err(error) = session::within(session.unlock(target_id)).await {
                tracing::debug!(%error, %target_id, "lock of a delivery target not given up");
            }
        }
    }
    for target in driven.values() {
        target.stop.send_replace(true);
    }
    // What is under way has five seconds to be answered, so that it is not sent twice.
    while runners.join_next().await.is_some() {}
    session.close().await;
}

async fn look(
    courier: &Courier,
    session: &mut DeliverySession,
    driven: &mut HashMap<Uuid, Driven>,
    runners: &mut JoinSet<Uuid>,
) -> Result<(), Error> {
    let running = session::within(store::list_running_targets(courier.app.db())).await?;
    for (target_id, target) in driven.iter() {
        if running.get(target_id) != Some(&target.version) {
            target.stop.send_replace(true);
        }
    }
    let free: Vec<Uuid> = running.keys().copied().filter(|id| !driven.contains_key(id)).collect();
    // Asked for even when none is free: it says whether the session lives.
    for target_id in session::within(session.try_lock(&free)).await? {
        let Some(version) = running.get(&target_id).copied() else { continue };
        let (stop, stopped) = watch::channel(false);
        driven.insert(target_id, Driven { version, stop });
        let courier = courier.clone();
        runners.spawn(async move {
            Box::pin(runner::run_target(&courier, target_id, stopped)).await;
            target_id
        });
    }
    Ok(())
}
