//! The emitter: of all replicas one leads, and tells others who entered and left. What it told is in the database, so a new
//! leader compares that with its own index and tells the difference: nothing is lost, nothing told twice.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use chassis::{Backoff, Shutdown};
use domain::{ProfileId, SegmentId, Service};
use sqlx::PgConnection;
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior},
};
use tracing::{Instrument, Span};

use super::{App, Touched};
use crate::{
    Error, events,
    membership::Transition,
    rule::Rule,
    segment::{Segment, State},
    store,
};

/// Names the emitter's lock among PostgreSQL's advisory locks.
const LOCK: &str = "segmentation.emitter";
/// How often segments are looked up anew, and the lock is proved.
const REFRESH: Duration = Duration::from_millis(250);
/// How often everybody is tested again: consents expire and people grow older without a record.
const SWEEP: Duration = Duration::from_secs(60);
/// People tested in one turn.
const LARGEST_BATCH: usize = 500;

/// What the leader holds in memory.
struct Leader<'a> {
    app: &'a App,
    segments: BTreeMap<SegmentId, (Segment, Rule)>,
    told: BTreeMap<SegmentId, BTreeSet<ProfileId>>,
}

pub(super) async fn run(
    app: &App,
    mut touched: mpsc::Receiver<Touched>,
    shutdown: Shutdown,
) -> Result<(), Error> {
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));
    while !shutdown.is_soft() {
        let led = tokio::select! {
            () = shutdown.soft() => return Ok(()),
            led = follow_then_lead(app, &mut touched) => led,
        };
        if let Err(error) = led {
            tracing::warn!(error = &error as &dyn std::error::Error, "emitter starts again");
        }
        tokio::time::sleep(backoff.next()).await;
    }
    Ok(())
}

async fn follow_then_lead(app: &App, touched: &mut mpsc::Receiver<Touched>) -> Result<(), Error> {
    // Out of the pool: the lock is the session's, and ends with this connection whatever happens.
    let mut lock = app.db.acquire().await?.detach();
    while !store::try_advisory_lock(&mut lock, LOCK).await? {
        // A follower needs no list of who changed: a new leader compares everybody.
        while touched.try_recv().is_ok() {}
        tokio::time::sleep(REFRESH).await;
    }
    while !app.index.is_caught_up() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tracing::info!("emitter leads");
    lead(app, touched, lock).await
}

async fn lead(app: &App, touched: &mut mpsc::Receiver<Touched>, mut lock: PgConnection) -> Result<(), Error> {
    let told = store::load_memberships(&app.db).await?;
    let mut leader = Leader { app, segments: BTreeMap::new(), told };
    let mut refresh = tokio::time::interval(REFRESH);
    refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut swept = Instant::now();
    loop {
        let mut batch = Vec::new();
        tokio::select! {
            _ = refresh.tick() => {
                if !store::holds_advisory_lock(&mut lock, LOCK).await? {
                    return Ok(());
                }
                leader.refresh_segments().await?;
                if swept.elapsed() > SWEEP {
                    swept = Instant::now();
                    leader.sweep().await?;
                }
            }
            count = touched.recv_many(&mut batch, LARGEST_BATCH) => {
                if count == 0 {
                    return Ok(());
                }
                for touched in batch {
                    let span = touched.span.clone();
                    leader.test_person(&touched).instrument(span).await?;
                }
            }
        }
    }
}

impl Leader<'_> {
    /// Looks for new, changed and archived segments, and tests everybody against those.
    async fn refresh_segments(&mut self) -> Result<(), Error> {
        let mut live = BTreeMap::new();
        for segment in store::load_live(&self.app.db).await? {
            let known = self.segments.remove(&segment.segment_id);
            let same =
                known.filter(|(known, _)| known.version == segment.version && known.state == segment.state);
            let entry = match same {
                Some(entry) => entry,
                None => {
                    let rule = match segment.state {
                        State::Active => self.app.compiled(&segment).await?,
                        State::Archived => Rule::Any(Vec::new()),
                    };
                    self.fill(&segment, &rule, true).await?;
                    (segment, rule)
                }
            };
            live.insert(entry.0.segment_id, entry);
        }
        self.segments = live;
        Ok(())
    }

    /// Tests everybody against every segment: time alone changes who is in.
    async fn sweep(&mut self) -> Result<(), Error> {
        for (segment, rule) in self.segments.clone().into_values() {
            self.fill(&segment, &rule, false).await?;
        }
        Ok(())
    }

    async fn fill(&mut self, segment: &Segment, rule: &Rule, backfill: bool) -> Result<(), Error> {
        let (now_in, _) = self.app.index.members(rule, self.app.moment());
        let told = self.told.entry(segment.segment_id).or_default().clone();
        let cause = if backfill { "rule" } else { "clock" };
        let entered = now_in.difference(&told).map(|id| (*id, true));
        let exited = told.difference(&now_in).map(|id| (*id, false));
        let transitions: Vec<Transition> = entered
            .chain(exited)
            .map(|(profile_id, entered)| self.transition(segment, profile_id, entered, cause, backfill))
            .collect();
        for chunk in transitions.chunks(LARGEST_BATCH) {
            self.tell(chunk).await?;
        }
        Ok(())
    }

    async fn test_person(&mut self, touched: &Touched) -> Result<(), Error> {
        let person = self.app.index.find(touched.profile_id);
        let mut transitions = Vec::new();
        for (segment, rule) in self.segments.values() {
            let now_in = person.as_ref().is_some_and(|person| rule.holds(person, self.app.moment()));
            let was_in =
                self.told.get(&segment.segment_id).is_some_and(|told| told.contains(&touched.profile_id));
            if now_in != was_in {
                transitions.push(self.transition(segment, touched.profile_id, now_in, touched.cause, false));
            }
        }
        self.tell(&transitions).await
    }

    fn transition(
        &self,
        segment: &Segment,
        profile_id: ProfileId,
        entered: bool,
        cause: &'static str,
        backfill: bool,
    ) -> Transition {
        Transition {
            segment_id: segment.segment_id,
            segment_key: segment.key.as_str().to_owned(),
            version: segment.version,
            profile_id,
            entered,
            cause,
            backfill,
            at: self.app.clock.now(),
        }
    }

    /// Commits transitions with their facts, then notes them as told.
    async fn tell(&mut self, transitions: &[Transition]) -> Result<(), Error> {
        if transitions.is_empty() {
            return Ok(());
        }
        let mut tx = chassis::begin(&self.app.db).await?;
        for transition in transitions {
            if store::save_transition(&mut tx, transition).await? {
                let fact = events::membership_changed(transition);
                outbox::append(&mut tx, Service::Segmentation, &fact).await?;
            }
        }
        tx.commit().await?;
        for transition in transitions {
            let told = self.told.entry(transition.segment_id).or_default();
            if transition.entered {
                told.insert(transition.profile_id);
            } else {
                told.remove(&transition.profile_id);
            }
            // Nobody watching is no error.
            let _ = self.app.transitions.send(transition.clone());
        }
        tracing::debug!(parent: Span::current(), count = transitions.len(), "memberships told");
        Ok(())
    }
}
