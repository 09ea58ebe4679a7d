mod state;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

use domain::{DateTime, Utc};
use tokio::sync::{Notify, watch};

use self::state::State;
use super::{
    budget::Budget,
    figures::Figures,
    filter::Filter,
    topic::{Representation, Topic},
    view::View,
};
use crate::{entitlement::Rights, entry::Entry, frame::Stale, store::Position, stream_name::StreamName};

/// Most epochs of which is known what Kafka told: a topic goes back a day, in which hardly two begin.
const MOST_EPOCHS: usize = 64;

/// The newest entries of one stream in this process, and the topics of their readers.
#[derive(Debug)]
pub struct Hub {
    stream_id: String,
    stream: StreamName,
    state: Mutex<State>,
    newest: watch::Sender<Option<Position>>,
    behind: Notify,
    draining: watch::Sender<bool>,
    confirmed_at: RwLock<Option<DateTime<Utc>>>,
    stale: RwLock<Arc<[Stale]>>,
    /// The highest number that Kafka told of, by epoch. Kafka may be heard before the database was ever read, and tells of an
    /// old entry only once.
    heard: Mutex<HashMap<String, i64>>,
    figures: Arc<Figures>,
    /// One reader at a time asks the database for rights that are not known.
    rights: tokio::sync::Mutex<()>,
}

impl Hub {
    /// Of a stream, before anything is known of it.
    #[must_use]
    pub fn new(
        stream_id: String,
        stream: impl Into<StreamName>,
        budget: &Arc<Budget>,
        figures: &Arc<Figures>,
    ) -> Self {
        Self {
            stream_id,
            stream: stream.into(),
            state: Mutex::new(State::new(Arc::clone(budget))),
            newest: watch::Sender::new(None),
            behind: Notify::new(),
            draining: watch::Sender::new(false),
            confirmed_at: RwLock::default(),
            stale: RwLock::new(Arc::from([])),
            heard: Mutex::default(),
            figures: Arc::clone(figures),
            rights: tokio::sync::Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which stream.
    #[must_use]
    pub fn stream_id(&self) -> &str {
        &self.stream_id
    }

    /// What operators see of the feed.
    #[must_use]
    pub const fn figures(&self) -> &Arc<Figures> {
        &self.figures
    }

    /// Where the stream is; nothing until the log was first seen.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        self.newest.borrow().clone()
    }

    /// Of the newest entry that was given to every topic that wants it.
    #[must_use]
    pub fn seq(&self) -> i64 {
        self.newest.borrow().as_ref().map_or(0, |position| position.seq)
    }

    /// Changes of the position.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Option<Position>> {
        self.newest.subscribe()
    }

    /// Whether this process is going down.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// Resolves when this process is going down.
    pub async fn wait_until_draining(&self) {
        // It ends with the hub, which this borrows.
        let _ = self.draining.subscribe().wait_for(|draining| *draining).await;
    }

    /// Tells readers to say goodbye.
    pub fn drain(&self) {
        self.draining.send_replace(true);
        let topics: Vec<Arc<Topic>> = self.state().topics().collect();
        topics.iter().for_each(|topic| topic.wake());
    }

    /// When the stream's row was last read.
    #[must_use]
    pub fn confirmed_at(&self) -> Option<DateTime<Utc>> {
        *self.confirmed_at.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the stream's row was read.
    pub fn confirm(&self, now: DateTime<Utc>) {
        *self.confirmed_at.write().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    /// Venues whose data is late, for heartbeats.
    #[must_use]
    pub fn stale(&self) -> Arc<[Stale]> {
        Arc::clone(&self.stale.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Says which venues' data is late.
    pub fn set_stale(&self, stale: Arc<[Stale]>) {
        *self.stale.write().unwrap_or_else(PoisonError::into_inner) = stale;
    }

    /// Starts at a position with empty rings: at the start of the process, and when committed entries were lost. `rights`
    /// says where the rights of each client changed last.
    pub fn restart(&self, position: &Position, rights: HashMap<String, i64>) {
        let mut state = self.state();
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).retain(|epoch, _| *epoch == position.epoch);
        self.set_stale(Arc::from([]));
        let closed = state.restart(position, rights);
        // Under the lock, so that nobody is woken for rings that are not there yet.
        self.newest.send_replace(Some(position.clone()));
        drop(state);
        closed.iter().for_each(|topic| topic.close(None));
    }

    /// Adds committed entries, and gives by how many the stream moved on. Those that are there already are passed over;
    /// entries behind a hole wait for what is missing.
    pub fn append(&self, epoch: &str, entries: impl IntoIterator<Item = Arc<Entry>>) -> i64 {
        let mut state = self.state();
        if !state.is_of(epoch) {
            drop(state);
            self.hurry();
            return 0;
        }
        let before = state.seq();
        let touched = state.append(entries, self.stream);
        let moved = state.seq() - before;
        if moved > 0 {
            self.newest.send_replace(Some(state.position()));
        }
        drop(state);
        touched.iter().for_each(|topic| topic.wake());
        moved
    }

    /// Notes the number of an entry that Kafka told of: the log must have it.
    pub fn hear(&self, epoch: &str, seq: i64) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(highest) = heard.get_mut(epoch) {
            *highest = seq.max(*highest);
        } else if heard.len() < MOST_EPOCHS {
            heard.insert(epoch.to_owned(), seq);
        }
    }

    /// The highest number that Kafka told of in an epoch; 0 where of none.
    #[must_use]
    pub fn heard(&self, epoch: &str) -> i64 {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).get(epoch).copied().unwrap_or_default()
    }

    /// Has the stream's row read at once.
    pub fn hurry(&self) {
        self.behind.notify_one();
    }

    /// Resolves when entries of another epoch came.
    pub async fn wait_until_behind(&self) {
        self.behind.notified().await;
    }

    /// The topic for readers who ask for this; nothing where rights have changed since `generation`.
    #[must_use]
    pub fn topic(
        &self,
        filter: &Filter,
        rights: &Arc<Rights>,
        representation: Representation,
        generation: u64,
    ) -> Option<Arc<Topic>> {
        let mut state = self.state();
        if state.generation() != generation {
            return None;
        }
        let view = View::new(Arc::clone(rights), self.stream, representation);
        Some(state.topic(filter, view, representation))
    }

    /// The rights of a reader as they are known, and the generation to which that refers.
    #[must_use]
    pub fn known_rights(&self, client_id: &str) -> (u64, Option<Arc<Rights>>) {
        let state = self.state();
        (state.generation(), state.rights(client_id))
    }

    /// Keeps the rights of a reader that were read while this was the generation.
    pub fn keep_rights(&self, client_id: &str, rights: &Arc<Rights>, generation: u64) {
        self.state().keep_rights(client_id, rights, generation);
    }

    /// The turn to ask the database for rights.
    pub async fn rights_turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.rights.lock().await
    }

    /// Where one of these clients' rights changed last; 0 where that is before everything that is known.
    #[must_use]
    pub fn rights_changed_at(&self, rights: &Rights) -> i64 {
        self.state().rights_changed_at(rights)
    }

    /// Forgets topics that are idle for long, and says how many there are.
    pub fn sweep(&self, now: tokio::time::Instant) -> usize {
        self.state().sweep(now)
    }
}

#[cfg(test)]
#[path = "hub_tests.rs"]
mod tests;
