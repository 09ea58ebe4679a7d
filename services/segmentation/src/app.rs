//! The use cases over the database and the index.

mod freezes;
mod live;
mod queries;
mod republish;
mod segments;

use std::{sync::Arc, time::Duration};

use chassis::Peer;
use domain::{Clock, ProfileId};
use sqlx::PgPool;
use tokio::sync::{Mutex, broadcast, mpsc};
use tracing::Span;

pub use segments::CreateSegment;

use crate::{
    Error,
    grpc::peers::Profiles,
    index::Index,
    membership::Transition,
    rule::{KnownTrait, Moment},
};

/// How long the published trait schema is trusted before it is asked for again.
const SCHEMA_LIFE: Duration = Duration::from_secs(60);
/// Transitions that a slow watcher may be behind before it is told to start again.
const WATCH_BUFFER: usize = 4_096;

/// Segmentation's use cases. Clones share everything.
#[derive(Debug, Clone)]
pub struct App {
    db: PgPool,
    clock: Clock,
    index: Index,
    profiles: Profiles,
    schema: Arc<Mutex<Option<Schema>>>,
    transitions: broadcast::Sender<Transition>,
}

/// The published traits, and since when we know them.
type Schema = (tokio::time::Instant, Arc<Vec<KnownTrait>>);

/// A person whose record changed, and the trace in which it did.
#[derive(Debug)]
pub struct Touched {
    /// Who.
    pub profile_id: ProfileId,
    /// profile or consent.
    pub cause: &'static str,
    /// The record's span: what follows from it belongs to its trace.
    pub span: Span,
}

impl App {
    /// The use cases over a database, an index and profile's schema.
    #[must_use]
    pub fn new(db: PgPool, clock: Clock, index: Index, profile: Peer) -> Self {
        let (transitions, _) = broadcast::channel(WATCH_BUFFER);
        let profiles = Profiles::new(profile);
        Self { db, clock, index, profiles, schema: Arc::default(), transitions }
    }

    /// Transitions from now on.
    #[must_use]
    pub fn watch(&self) -> broadcast::Receiver<Transition> {
        self.transitions.subscribe()
    }

    /// Runs the emitter: whoever leads tells others who entered and left.
    pub async fn emit(
        &self,
        touched: mpsc::Receiver<Touched>,
        shutdown: chassis::Shutdown,
    ) -> Result<(), Error> {
        live::run(self, touched, shutdown).await
    }

    fn moment(&self) -> Moment {
        Moment { now: self.clock.now() }
    }

    /// The traits that rules may name, as profile publishes them.
    async fn known_traits(&self) -> Result<Arc<Vec<KnownTrait>>, Error> {
        let mut held = self.schema.lock().await;
        if let Some((at, known)) = held.as_ref()
            && at.elapsed() < SCHEMA_LIFE
        {
            return Ok(known.clone());
        }
        let known = Arc::new(self.profiles.known_traits().await?);
        *held = Some((tokio::time::Instant::now(), known.clone()));
        Ok(known)
    }
}
