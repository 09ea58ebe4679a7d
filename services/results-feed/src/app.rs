//! The use cases. Each write owns its transaction: take the stream's turn, decide, save, append the facts, commit.

mod access;
mod append;
mod changes;
mod days;
mod delivery;
mod desk;
mod effects;
mod entitlements;
mod explain;
mod feed;
mod gaps;
mod log_parts;
mod publish;
mod quarantine;
mod quota;
mod read;
mod rehearsal;
mod release;
mod republish;
mod search;
mod time_travel;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use chassis::{Metrics, Secret};
use domain::Clock;
use sqlx::PgPool;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};

pub use access::NewKey;
pub use days::keep as keep_days;
pub use delivery::{DeliveryKey, TargetOwner, TargetState};
pub use desk::{Shown, VenueHeard};
pub use explain::{Explanation, Question};
pub use publish::Publisher;
pub use read::{SnapshotPage, UnitResult};
pub use rehearsal::{Driven, NewReplay};
pub use search::Body;
pub use time_travel::PastPlace;

use crate::{
    Error,
    config::LogZstd,
    document_type::FeedFlag,
    entitlement::Entitlement,
    fanout::{Budget, Figures, Hub},
    store::{self, Position},
    stream_name::{RehearsalNumber, StreamName},
    writer::Ticket,
};

/// Documents that may wait for a commit; more are refused, and their senders come again.
const MOST_WAITING: usize = 256;
/// Large documents that may be parsed at once.
const MOST_LARGE_PARSES: usize = 4;
/// Archives that may be written at once.
const MOST_ARCHIVES: usize = 4;
/// Refused reads that may be written down at once.
const MOST_REFUSALS: usize = 4;

/// Results-feed's use cases over its database.
#[derive(Debug, Clone)]
pub struct App {
    db: PgPool,
    clock: Clock,
    competition: Arc<str>,
    pepper: Secret,
    production: Channel,
    test: Channel,
    /// By [`RehearsalNumber::index`].
    rehearsals: Arc<[Arc<Hub>]>,
    replay_started: Arc<Notify>,
    large_parses: Arc<Semaphore>,
    quota: quota::Quota,
    ka_timeout: Duration,
    log: Log,
    time_zone: chrono_tz::Tz,
    metrics: Metrics,
    connections: Arc<Semaphore>,
    embargoes: Arc<Mutex<Arc<Vec<Entitlement>>>>,
    refusals: Arc<Semaphore>,
    most_connections: usize,
    archives: Arc<Semaphore>,
}

#[derive(Debug, Clone)]
struct Channel {
    hub: Arc<Hub>,
    writer: mpsc::Sender<Ticket>,
}

/// How much is taken at a time.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Feed connections.
    pub connections: usize,
    /// Documents of one publisher; 0 is no limit.
    pub documents_a_second: u32,
    /// How long a venue's keep-alive may be out.
    pub ka_timeout: Duration,
    /// The log.
    pub log: Log,
    /// The zone in which days of competition begin.
    pub time_zone: chrono_tz::Tz,
}

/// How the log is kept.
#[derive(Debug, Clone, Copy)]
pub struct Log {
    /// What is compressed.
    pub packing: LogZstd,
    /// Days for which every entry is kept; 0 for ever.
    pub days: u16,
    /// Entries of a part.
    pub part_entries: i64,
}

/// The receiving ends for the writer tasks.
#[derive(Debug)]
pub struct Queues {
    /// Documents of production.
    pub production: mpsc::Receiver<Ticket>,
    /// Test documents.
    pub test: mpsc::Receiver<Ticket>,
}

impl App {
    /// The use cases over a database, and what its writers receive.
    #[must_use]
    pub fn new(
        db: PgPool,
        clock: Clock,
        competition: &str,
        pepper: Secret,
        limits: Limits,
        metrics: Metrics,
    ) -> (Self, Queues) {
        let (budget, figures) = (Arc::<Budget>::default(), Arc::<Figures>::default());
        let hub = |stream: StreamName| {
            Arc::new(Hub::new(format!("{competition}-{stream}"), stream, &budget, &figures))
        };
        let channel = |stream: StreamName| {
            let (writer, queue) = mpsc::channel(MOST_WAITING);
            (Channel { hub: hub(stream), writer }, queue)
        };
        let (production, production_queue) = channel(StreamName::Production);
        let (test, test_queue) = channel(StreamName::Test);
        let app = Self {
            db,
            clock,
            competition: Arc::from(competition),
            pepper,
            production,
            test,
            rehearsals: RehearsalNumber::all().map(|number| hub(StreamName::Rehearsal(number))).collect(),
            replay_started: Arc::default(),
            large_parses: Arc::new(Semaphore::new(MOST_LARGE_PARSES)),
            ka_timeout: limits.ka_timeout,
            log: limits.log,
            time_zone: limits.time_zone,
            embargoes: Arc::default(),
            refusals: Arc::new(Semaphore::new(MOST_REFUSALS)),
            quota: quota::Quota::new(limits.documents_a_second, &metrics),
            metrics,
            connections: Arc::new(Semaphore::new(limits.connections)),
            most_connections: limits.connections,
            archives: Arc::new(Semaphore::new(MOST_ARCHIVES)),
        };
        (app, Queues { production: production_queue, test: test_queue })
    }

    /// The clock of this service.
    #[must_use]
    pub const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The code of the competition.
    #[must_use]
    pub fn competition(&self) -> &str {
        &self.competition
    }

    /// The database, for the tail.
    #[must_use]
    pub const fn db(&self) -> &PgPool {
        &self.db
    }

    /// A place for a feed connection, given back when it is dropped.
    ///
    /// # Errors
    /// There is none.
    pub fn connect(&self) -> Result<OwnedSemaphorePermit, Error> {
        let place = Arc::clone(&self.connections).try_acquire_owned();
        place.map_err(|_| Error::Unavailable("too many connections"))
    }

    /// Waits until no feed connection is open.
    pub async fn wait_for_connections(&self) {
        let all = u32::try_from(self.most_connections).unwrap_or(u32::MAX);
        // Closed only with the process.
        let _ = self.connections.acquire_many(all).await;
    }

    /// The hub of a stream.
    #[must_use]
    pub fn hub(&self, stream: impl Into<StreamName>) -> &Arc<Hub> {
        match stream.into() {
            StreamName::Production => &self.production.hub,
            StreamName::Test => &self.test.hub,
            // There is one for each number.
            StreamName::Rehearsal(number) => &self.rehearsals[number.index()],
        }
    }

    const fn channel(&self, feed_flag: FeedFlag) -> &Channel {
        match feed_flag {
            FeedFlag::Production => &self.production,
            FeedFlag::Test => &self.test,
        }
    }

    /// The name of a stream by its id.
    #[must_use]
    pub fn stream_of(&self, stream_id: &str) -> Option<StreamName> {
        StreamName::all().find(|stream| self.hub(*stream).stream_id() == stream_id)
    }

    /// Makes the streams that are not there yet.
    pub async fn make_streams(&self) -> Result<(), Error> {
        let stream_ids = [&self.production, &self.test].map(|channel| channel.hub.stream_id().to_owned());
        store::make_streams(&self.db, &stream_ids, &self.new_epoch()?, self.clock.now()).await?;
        for feed_flag in FeedFlag::ALL {
            // Entries have a place without them; the task that keeps the log comes back to it.
            if let Err(error) = self.make_log_parts(*feed_flag).await {
                tracing::warn!(error = &error as &dyn std::error::Error, "parts of the log not made");
            }
        }
        Ok(())
    }

    /// A new epoch: 32 random bits in hexadecimal.
    pub fn new_epoch(&self) -> Result<String, Error> {
        let [number, _] = self.random_numbers()?;
        Ok(format!("{number:08x}"))
    }

    /// Two random numbers.
    pub fn random_numbers(&self) -> Result<[u32; 2], Error> {
        let mut bytes = [0_u8; 8];
        SystemRandom::new().fill(&mut bytes).map_err(|_| Error::Random)?;
        let [a, b, c, d, e, f, g, h] = bytes;
        Ok([u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h])])
    }

    /// Where a stream is, as committed.
    pub async fn stored_position(&self, stream: impl Into<StreamName>) -> Result<Position, Error> {
        let stored = store::position(&self.db, self.hub(stream).stream_id()).await?;
        stored.ok_or(Error::Unavailable("the stream is not made yet"))
    }
}
