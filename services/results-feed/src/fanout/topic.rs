use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use tokio::{
    sync::{OnceCell, watch},
    time::Instant,
};

use super::{
    filter::Filter,
    moved::Move,
    place::{Mode, Place, Taken},
    rings::Rings,
    slot::Slot,
    snapshot::Snapshot,
    view::View,
};
use crate::{Error, app::App, entitlement::Rights, lane::Lane};

/// Groups in which the connections of a topic are woken: a change of one that all share would wake them under one lock.
const WAKES: usize = 16;

pub use crate::entitlement::Representation;

/// What readers share who ask for the same with the same rights: which frames they get, in bytes.
#[derive(Debug)]
pub struct Topic {
    filter: Filter,
    view: View,
    representation: Representation,
    state: RwLock<State>,
    /// There where a connection of the group ever was: of topics there are many more with few readers than with many.
    wakes: [OnceLock<watch::Sender<()>>; WAKES],
    snapshot: Mutex<Option<(Arc<Snapshot>, Instant)>>,
    moved: OnceCell<Arc<Move>>,
}

#[derive(Debug)]
struct State {
    rings: Rings,
    is_closed: bool,
    /// Where the rights of its readers changed.
    changed_at: Option<i64>,
}

/// What a connection gets of its topic.
#[derive(Debug)]
pub enum Next {
    /// This.
    Taken(Taken),
    /// Nothing more: its rights changed, or the stream began anew.
    Closed,
}

impl Topic {
    /// A topic without a frame yet, complete from `seq` on.
    #[must_use]
    pub fn new(filter: Filter, view: View, representation: Representation, seq: i64) -> Self {
        let state = State { rings: Rings::starting_at(seq), is_closed: false, changed_at: None };
        Self {
            filter,
            view,
            representation,
            state: RwLock::new(state),
            wakes: Default::default(),
            snapshot: Mutex::new(None),
            moved: OnceCell::new(),
        }
    }

    /// What its readers want to see.
    #[must_use]
    pub const fn filter(&self) -> &Filter {
        &self.filter
    }

    /// What its readers may see.
    #[must_use]
    pub const fn view(&self) -> &View {
        &self.view
    }

    /// In which form.
    #[must_use]
    pub const fn representation(&self) -> Representation {
        self.representation
    }

    /// Adds the frame that `make` makes behind the newest one of its lane. Readers are woken by [`Self::wake`].
    pub fn push(&self, lane: Lane, make: impl FnOnce(i64) -> Option<Arc<Slot>>) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = make(state.rings.of(lane).last()) {
            state.rings.push(slot);
        }
    }

    /// Forgets the frames of a lane up to this one.
    pub fn forget(&self, lane: Lane, seq: i64) {
        self.state.write().unwrap_or_else(PoisonError::into_inner).rings.forget(lane, seq);
    }

    /// Its readers get nothing more here: the stream began anew, or, at `changed_at`, their rights changed.
    pub fn close(&self, changed_at: Option<i64>) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.is_closed = true;
        state.changed_at = changed_at;
        drop(state);
        self.wake();
    }

    /// Where the rights of its readers changed; nothing while they did not, and where the stream began anew.
    #[must_use]
    pub fn changed_at(&self) -> Option<i64> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).changed_at
    }

    /// What a change of rights at `seq` means for its readers: found out by the first of them, for all.
    ///
    /// # Errors
    /// The database.
    pub async fn moved(&self, app: &App, after: &Arc<Rights>, seq: i64) -> Result<Arc<Move>, Error> {
        let moved =
            self.moved.get_or_try_init(|| async { Move::load(app, self, after, seq).await.map(Arc::new) });
        moved.await.cloned()
    }

    /// Whether it ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state.read().unwrap_or_else(PoisonError::into_inner).is_closed
    }

    /// Tells its readers to look.
    pub fn wake(&self) {
        for wake in self.wakes.iter().filter_map(OnceLock::get) {
            wake.send_replace(());
        }
    }

    /// What tells one of its readers to look.
    #[must_use]
    pub fn wakes(&self, reader: u32) -> watch::Receiver<()> {
        let group = usize::try_from(reader).unwrap_or_default() % WAKES;
        let wake = self.wakes.get(group).map(|wake| wake.get_or_init(|| watch::Sender::new(())));
        wake.map_or_else(|| watch::channel(()).1, watch::Sender::subscribe)
    }

    /// The next frames for a connection; see [`Place::take`].
    pub fn take(&self, place: &mut Place, mode: Mode, seen: i64, most: usize) -> Next {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        if state.is_closed { Next::Closed } else { Next::Taken(place.take(&state.rings, mode, seen, most)) }
    }

    /// Whether its rings reach back to these places.
    #[must_use]
    pub fn reaches_back_to(&self, at: &[i64]) -> bool {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        Lane::ALL.iter().zip(at).all(|(lane, at)| state.rings.of(*lane).floor() <= *at)
    }

    /// The state that its readers begin with. Where nothing of theirs has changed since, and where many come at once, it
    /// is one that others have read: the rings go on from it.
    #[must_use]
    pub fn snapshot(&self, seq: i64) -> Arc<Snapshot> {
        let mut kept = self.snapshot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((snapshot, made_at)) = &*kept
            && (snapshot.is_for_a_crowd(made_at.elapsed()) || self.is_unchanged_since(snapshot.seq()))
            && self.reaches_back_to(&[snapshot.seq(); 3])
        {
            snapshot.begin();
            return Arc::clone(snapshot);
        }
        let snapshot = Arc::new(Snapshot::new(seq));
        *kept = Some((Arc::clone(&snapshot), Instant::now()));
        snapshot
    }

    fn is_unchanged_since(&self, seq: i64) -> bool {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        Lane::ALL.iter().all(|lane| state.rings.of(*lane).last() <= seq)
    }

    /// Forgets a snapshot that nobody comes for any more.
    pub fn forget_snapshot(&self) {
        let mut kept = self.snapshot.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.as_ref().is_some_and(|(_, made_at)| made_at.elapsed() > Snapshot::FRESH) {
            *kept = None;
        }
    }
}
