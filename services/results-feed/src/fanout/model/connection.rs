use std::sync::Arc;

use bytes::Bytes;
use domain::DateTime;

use crate::{
    cursor::Cursor,
    entitlement::Rights,
    fanout::{
        Filter, Representation, Sent,
        place::{Place, Resume, Step, Taken},
        topic::{Next, Topic},
        view::Form,
    },
    frame::{Frame, ResetCause},
    store::Position,
};

use super::{
    cast::Part,
    moving::Moving,
    mutant::Mutant,
    replica::Replica,
    store::Store,
    walk::{CatchUp, PAGE, Walker},
};

/// A process's side of a connection: what a reader of the feed does, step by step, without time and database.
#[derive(Debug)]
pub struct Connection {
    /// Index of the process.
    pub replica: usize,
    pub(super) part: Part,
    pub(super) filter: Filter,
    cursor: Option<String>,
    pub(super) phase: Phase,
    pub(super) epoch: String,
    batch: usize,
    pub(super) mutant: Option<Mutant>,
    /// Frames that were sent.
    count: usize,
}

/// What a connection is about.
#[derive(Debug)]
pub enum Phase {
    /// Nothing yet.
    Start,
    /// A snapshot.
    Snapshot {
        /// Whose.
        topic: Arc<Topic>,
        /// At which place.
        seq: i64,
        /// Behind which handle.
        after: i64,
    },
    /// The changes.
    Live {
        /// Whose.
        topic: Arc<Topic>,
        /// Where.
        place: Place,
        /// Where it is behind a ring.
        catch_up: CatchUp,
    },
    /// Between the rights of before and those of now.
    Moving(Moving),
}

/// What goes over the wire.
#[derive(Debug, Clone)]
pub struct Wire {
    /// A cursor, where there is one.
    pub id: Option<String>,
    /// The frame.
    pub json: Bytes,
    /// Beside the wire: where a snapshot is of; nothing for any other frame, which is of its own place.
    pub snapshot_at: Option<i64>,
    /// Beside the wire: the epoch of its connection.
    pub epoch: String,
}

impl Connection {
    /// At its start.
    pub fn new(
        replica: usize,
        part: &Part,
        cursor: Option<String>,
        batch: usize,
        mutant: Option<Mutant>,
    ) -> Self {
        let filter =
            if mutant == Some(Mutant::ForgottenFilter) { Filter::new(Vec::new()) } else { part.filter() };
        Self {
            replica,
            part: part.clone(),
            filter,
            cursor,
            phase: Phase::Start,
            epoch: String::new(),
            batch,
            mutant,
            count: 0,
        }
    }

    /// The next frames; none where there is nothing to tell.
    pub fn next(&mut self, replica: &Replica, store: &Store) -> Vec<Wire> {
        // Each round without a frame moves on.
        for _ in 0..10_000 {
            let snapshot_at = match &self.phase {
                Phase::Snapshot { seq, .. } => Some(*seq),
                _ => None,
            };
            let (frames, rests) = match &self.phase {
                Phase::Start => (self.start(replica, store), false),
                Phase::Snapshot { .. } => self.page(replica, store),
                Phase::Live { .. } => self.changes(replica, store),
                Phase::Moving(_) => self.move_on(replica, store),
            };
            if rests || !frames.is_empty() {
                return self.wire(&frames, snapshot_at);
            }
        }
        Vec::new()
    }

    /// A sign of life.
    pub fn heartbeat(&mut self, replica: &Replica) -> Vec<Wire> {
        let (seen, mode, batch) = (replica.hub.seq(), self.part.mode, self.batch);
        let Phase::Live { topic, place, .. } = &mut self.phase else { return Vec::new() };
        let Next::Taken(taken) = topic.take(place, mode, seen, batch) else { return Vec::new() };
        let frames = match place.rest(seen).filter(|_| taken.steps.is_empty()) {
            Some(at) => {
                let cursor = Cursor { epoch: self.epoch.clone(), at };
                let frame =
                    Frame::Heartbeat { seq: seen, at: DateTime::UNIX_EPOCH, lag_ms: 0, stale: Arc::from([]) };
                vec![Sent::own(frame, Some(cursor))]
            }
            None => self.give(taken),
        };
        self.wire(&frames, None)
    }

    // As the carrier of a browser writes it.
    fn wire(&mut self, frames: &[Sent], snapshot_at: Option<i64>) -> Vec<Wire> {
        let mut text = Vec::new();
        frames.iter().for_each(|sent| sent.events(|piece| text.extend_from_slice(&piece)));
        let text = String::from_utf8(text).expect("events are text");
        let mut wires = Vec::new();
        for event in text.split_terminator("\n\n") {
            let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
            let json = field("data: ").unwrap_or_default();
            self.count += 1;
            let is_content = json.starts_with(r#"{"t":"full""#) || json.starts_with(r#"{"t":"delta""#);
            if self.mutant == Some(Mutant::LostFrame) && is_content && self.count.is_multiple_of(5) {
                continue;
            }
            let mut id = field("id: ").map(str::to_owned);
            if self.mutant == Some(Mutant::IdOnSnapshot) && json.starts_with(r#"{"t":"snap""#) {
                id = Some(format!("{}.1", self.epoch));
            }
            let json = Bytes::from(json.to_owned());
            wires.push(Wire { id, json, snapshot_at, epoch: self.epoch.clone() });
        }
        wires
    }

    fn start(&mut self, replica: &Replica, store: &Store) -> Vec<Sent> {
        let topic = self.topic(replica, store);
        // Behind the topic: one that ended meanwhile says so.
        let position = replica.hub.position().expect("a position since its start");
        self.epoch.clone_from(&position.epoch);
        let cursor = Cursor::new(self.epoch.clone(), position.seq);
        let mut frames = vec![Sent::own(Frame::Hello { stream: "SYN2030-P".to_owned(), cursor }, None)];
        match self.resume_at(&position, store, &topic) {
            Ok(Some(cursor)) => self.go_on(replica, store, topic, Place::new(cursor.at)),
            Ok(None) => self.begin_snapshot(replica, topic),
            Err(why) => frames.push(self.reset(why, replica, topic)),
        }
        frames
    }

    /// The changes from a place on.
    pub fn go_live(&mut self, topic: Arc<Topic>, place: Place) {
        self.phase = Phase::Live { topic, place, catch_up: CatchUp::default() };
    }

    /// The stream began anew, or the reader's rights changed.
    pub fn begin_again(&mut self, replica: &Replica, store: &Store) -> Vec<Sent> {
        if let Some(moving) = Moving::from_live(&self.phase) {
            self.phase = Phase::Moving(moving);
            return Vec::new();
        }
        let topic = self.topic(replica, store);
        let position = replica.hub.position().expect("a position since its start");
        let is_same = position.epoch == self.epoch;
        let why = if is_same { ResetCause::FilterChanged } else { ResetCause::EpochChanged };
        self.epoch = position.epoch;
        vec![self.reset(why, replica, topic)]
    }

    /// Its topic by the rights of where the process is.
    pub fn topic(&self, replica: &Replica, store: &Store) -> Arc<Topic> {
        let hub = &replica.hub;
        let (generation, known) = hub.known_rights(self.part.client_id());
        let rights = known.unwrap_or_else(|| {
            let rights: Arc<Rights> = Arc::new(store.rights_at(&self.part, hub.seq()));
            hub.keep_rights(self.part.client_id(), &rights, generation);
            rights
        });
        hub.topic(&self.filter, &rights, Representation::Json, generation).expect("nothing changed meanwhile")
    }

    fn resume_at(
        &self,
        position: &Position,
        store: &Store,
        topic: &Topic,
    ) -> Result<Option<Cursor>, ResetCause> {
        let Some(text) = &self.cursor else { return Ok(None) };
        let cursor: Cursor = text.parse().map_err(|_| ResetCause::CursorInvalid)?;
        if cursor.epoch != position.epoch {
            return Err(ResetCause::EpochChanged);
        }
        let is_ahead = store.epoch_name() != cursor.epoch || store.seq < cursor.highest();
        if cursor.highest() > position.seq && is_ahead {
            return Err(ResetCause::CursorAhead);
        }
        if !topic.reaches_back_to(&cursor.at)
            && store.is_cut_behind(cursor.lowest())
            && self.mutant != Some(Mutant::CutLog)
        {
            return Err(ResetCause::CursorTooOld);
        }
        Ok(Some(cursor))
    }

    fn begin_snapshot(&mut self, replica: &Replica, topic: Arc<Topic>) {
        let seq = topic.snapshot(replica.hub.seq()).seq();
        self.phase = Phase::Snapshot { topic, seq, after: 0 };
    }

    /// What the reader holds is void.
    pub fn reset(&mut self, why: ResetCause, replica: &Replica, topic: Arc<Topic>) -> Sent {
        self.begin_snapshot(replica, topic);
        let cursor = Cursor::new(self.epoch.clone(), replica.hub.seq());
        Sent::own(Frame::Reset { why, cursor }, None)
    }

    // Frames, and whether there is nothing more for now.
    fn page(&mut self, replica: &Replica, store: &Store) -> (Vec<Sent>, bool) {
        let Phase::Snapshot { topic, seq, after } = &mut self.phase else { return (Vec::new(), false) };
        if topic.is_closed() {
            return (self.begin_again(replica, store), false);
        }
        if store.epoch_name() != self.epoch {
            return (Vec::new(), true);
        }
        let editions = store.list_state(&self.filter, *seq, *after, PAGE);
        let is_last = editions.len() < PAGE;
        *after = editions.last().map_or(*after, |edition| edition.handle);
        let until = store.released_at(*seq);
        let seen = editions.into_iter().filter(|edition| topic.view().sees(edition, until));
        let mut frames: Vec<Sent> =
            seen.map(|edition| Sent::own(Frame::Snap { edition, raw: None }, None)).collect();
        if is_last {
            let seq = if self.mutant == Some(Mutant::EarlyLive) { replica.hub.seq() } else { *seq };
            let (topic, cursor) = (Arc::clone(topic), Cursor::new(self.epoch.clone(), seq));
            self.go_live(topic, Place::new(cursor.at));
            frames.push(Sent::own(Frame::Live { cursor: cursor.clone() }, Some(cursor)));
        }
        (frames, false)
    }

    // Frames, and whether there is nothing more for now.
    fn changes(&mut self, replica: &Replica, store: &Store) -> (Vec<Sent>, bool) {
        let (seen, mode, batch) = (replica.hub.seq(), self.part.mode, self.batch);
        let Phase::Live { topic, place, catch_up } = &mut self.phase else { return (Vec::new(), true) };
        let taken = match topic.take(place, mode, seen, batch) {
            Next::Taken(taken) => taken,
            Next::Closed => return (self.begin_again(replica, store), false),
        };
        if !taken.steps.is_empty() {
            return (self.give(taken), false);
        }
        let Some(lane) = taken.behind else { return (Vec::new(), true) };
        if store.is_cut_behind(place.at(lane)) && self.mutant != Some(Mutant::CutLog) {
            let topic = Arc::clone(topic);
            return (vec![self.reset(ResetCause::CursorTooOld, replica, topic)], false);
        }
        let walker = Walker { store, topic, mode, epoch: &self.epoch, seen };
        match catch_up.walk(&walker, place, lane) {
            Some(frames) => (frames, false),
            None => (Vec::new(), true),
        }
    }

    fn give(&self, taken: Taken) -> Vec<Sent> {
        let steps = taken.steps.into_iter();
        let give = |(resume, step)| {
            let cursor = match resume {
                Resume::At(at) => Some(Cursor { epoch: self.epoch.clone(), at }),
                Resume::Shared | Resume::No => None,
            };
            match (step, resume) {
                (Step::Own(frame), _) => Sent::own(frame, cursor),
                (Step::Behind(slot, form, previous), resume) => {
                    let cursor = cursor.or_else(|| (resume == Resume::Shared).then(|| slot.cursor()));
                    Sent::own(slot.frame_behind(form, previous).expect("a frame of an entry"), cursor)
                }
                (Step::Slot(slot, form), resume) => {
                    let form = if self.mutant == Some(Mutant::PatchOfLeftOut) { Form::Change } else { form };
                    match resume {
                        Resume::Shared => Sent::shared(slot, form),
                        _ => Sent::shared_at(slot, form, cursor),
                    }
                }
            }
        };
        steps.map(give).collect()
    }
}
