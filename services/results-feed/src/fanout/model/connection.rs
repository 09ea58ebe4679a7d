use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use domain::DateTime;

use crate::{
    cursor::Cursor,
    entitlement::Rights,
    fanout::{
        Filter, Mode, Representation, Sent,
        place::{Place, Resume, Step, Taken},
        topic::{Next, Topic},
        view::Form,
    },
    frame::{Frame, ResetCause},
    lane::Lane,
    store::{Missed, Position},
};

use super::{cast::Part, mutant::Mutant, replica::Replica, store::Store};

/// Documents of a page: few, so that the log moves between pages.
const PAGE: usize = 2;

/// A process's side of a connection: what a reader of the feed does, step by step, without time and database.
#[derive(Debug)]
pub struct Connection {
    /// Index of the process.
    pub replica: usize,
    part: Part,
    filter: Filter,
    cursor: Option<String>,
    phase: Phase,
    epoch: String,
    batch: usize,
    mutant: Option<Mutant>,
    /// Frames that were sent.
    count: usize,
    rights_of: i64,
}

#[derive(Debug)]
enum Phase {
    Start,
    Snapshot { topic: Arc<Topic>, seq: i64, after: i64 },
    Live { topic: Arc<Topic>, place: Place, way: Option<Way> },
}

/// The way back from behind a ring.
#[derive(Debug)]
struct Way {
    lane: Lane,
    until: i64,
    rest: VecDeque<Missed>,
}

/// What goes over the wire.
#[derive(Debug, Clone)]
pub struct Wire {
    /// A cursor, where there is one.
    pub id: Option<String>,
    /// The frame.
    pub json: Bytes,
    /// Beside the wire: the newest entry of the log when the rights were read by which the frame was made.
    pub rights_of: i64,
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
            rights_of: 0,
        }
    }

    /// The next frames; none where there is nothing to tell.
    pub fn next(&mut self, replica: &Replica, store: &Store) -> Vec<Wire> {
        // Each round without a frame moves on.
        for _ in 0..10_000 {
            let rights_of = self.rights_of;
            let (frames, rests) = match &self.phase {
                Phase::Start => (self.start(replica, store), false),
                Phase::Snapshot { .. } => (self.page(replica, store), false),
                Phase::Live { .. } => self.changes(replica, store),
            };
            if rests || !frames.is_empty() {
                return self.wire(&frames, rights_of);
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
        self.wire(&frames, self.rights_of)
    }

    // As the carrier of a browser writes it.
    fn wire(&mut self, frames: &[Sent], rights_of: i64) -> Vec<Wire> {
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
            wires.push(Wire { id, json, rights_of, epoch: self.epoch.clone() });
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
        match self.resume_at(&position, replica, store, &topic) {
            Ok(Some(cursor)) => self.phase = Phase::Live { topic, place: Place::new(cursor.at), way: None },
            Ok(None) => self.begin_snapshot(replica, topic),
            Err(why) => frames.push(self.reset(why, replica, topic)),
        }
        frames
    }

    fn begin_again(&mut self, replica: &Replica, store: &Store) -> Vec<Sent> {
        let topic = self.topic(replica, store);
        let position = replica.hub.position().expect("a position since its start");
        let is_same = position.epoch == self.epoch;
        let why = if is_same { ResetCause::FilterChanged } else { ResetCause::EpochChanged };
        self.epoch = position.epoch;
        vec![self.reset(why, replica, topic)]
    }

    // Rights are known to the process, or read from the database.
    fn topic(&mut self, replica: &Replica, store: &Store) -> Arc<Topic> {
        let hub = &replica.hub;
        let (mut generation, known) = hub.known_rights(self.part.client_id());
        let rights = known.unwrap_or_else(|| {
            // They are of the stored state: the process waits until it knows that.
            replica.tail(store, usize::MAX);
            generation = hub.known_rights(self.part.client_id()).0;
            let rights: Arc<Rights> = Arc::new(store.rights(&self.part));
            hub.keep_rights(self.part.client_id(), &rights, generation);
            rights
        });
        self.rights_of = hub.rights_changed_at(&rights);
        hub.topic(&self.filter, &rights, Representation::Json, generation).expect("nothing changed meanwhile")
    }

    fn resume_at(
        &self,
        position: &Position,
        replica: &Replica,
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
        let changed_at = replica.hub.rights_changed_at(topic.view().rights());
        if cursor.lowest() < changed_at && self.mutant != Some(Mutant::ResumeAcrossRights) {
            return Err(ResetCause::FilterChanged);
        }
        let reaches = store.oldest_seq().is_none_or(|oldest| oldest <= cursor.lowest() + 1);
        if !topic.reaches_back_to(&cursor.at) && !reaches && self.mutant != Some(Mutant::CutLog) {
            return Err(ResetCause::CursorTooOld);
        }
        Ok(Some(cursor))
    }

    fn begin_snapshot(&mut self, replica: &Replica, topic: Arc<Topic>) {
        let seq = topic.snapshot(replica.hub.seq()).seq();
        self.phase = Phase::Snapshot { topic, seq, after: 0 };
    }

    fn reset(&mut self, why: ResetCause, replica: &Replica, topic: Arc<Topic>) -> Sent {
        self.begin_snapshot(replica, topic);
        let cursor = Cursor::new(self.epoch.clone(), replica.hub.seq());
        Sent::own(Frame::Reset { why, cursor }, None)
    }

    fn page(&mut self, replica: &Replica, store: &Store) -> Vec<Sent> {
        let Phase::Snapshot { topic, seq, after } = &mut self.phase else { return Vec::new() };
        if topic.is_closed() {
            return self.begin_again(replica, store);
        }
        let editions = store.list_state(&self.filter, *seq, *after, PAGE);
        let is_last = editions.len() < PAGE;
        *after = editions.last().map_or(*after, |edition| edition.handle);
        let seen = editions.into_iter().filter(|edition| topic.view().sees(edition));
        let mut frames: Vec<Sent> =
            seen.map(|edition| Sent::own(Frame::Snap { edition, raw: None }, None)).collect();
        if is_last {
            let seq = if self.mutant == Some(Mutant::EarlyLive) { replica.hub.seq() } else { *seq };
            let (topic, cursor) = (Arc::clone(topic), Cursor::new(self.epoch.clone(), seq));
            self.phase = Phase::Live { topic, place: Place::new(cursor.at), way: None };
            frames.push(Sent::own(Frame::Live { cursor: cursor.clone() }, Some(cursor)));
        }
        frames
    }

    // Frames, and whether there is nothing more for now.
    fn changes(&mut self, replica: &Replica, store: &Store) -> (Vec<Sent>, bool) {
        let (seen, mode, batch) = (replica.hub.seq(), self.part.mode, self.batch);
        let Phase::Live { topic, place, .. } = &mut self.phase else { return (Vec::new(), true) };
        let taken = match topic.take(place, mode, seen, batch) {
            Next::Taken(taken) => taken,
            Next::Closed => return (self.begin_again(replica, store), false),
        };
        if !taken.steps.is_empty() {
            return (self.give(taken), false);
        }
        let Some(lane) = taken.behind else { return (Vec::new(), true) };
        let is_cut = store.oldest_seq().is_some_and(|oldest| oldest > place.at(lane) + 1);
        if is_cut && self.mutant != Some(Mutant::CutLog) {
            let topic = Arc::clone(topic);
            return (vec![self.reset(ResetCause::CursorTooOld, replica, topic)], false);
        }
        let frames = match mode {
            Mode::Every => self.read_log(store, lane, seen),
            Mode::State => self.tell_missed(store, lane, seen),
        };
        (frames, false)
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

    fn read_log(&mut self, store: &Store, lane: Lane, seen: i64) -> Vec<Sent> {
        let Phase::Live { topic, place, .. } = &mut self.phase else { return Vec::new() };
        let wanted = |code: &str| self.filter.prefixes().iter().any(|prefix| prefix.matches(code));
        let entries = store.list_after(place.at(lane), seen).filter(|entry| {
            let document = entry.document();
            document.is_some_and(|(_, key, of)| Lane::of(of) == lane && wanted(&key.document_code))
        });
        let entries: Vec<_> = entries.take(PAGE).cloned().collect();
        let mut frames = Vec::new();
        for entry in &entries {
            let frame = place.tell_logged(topic.view(), entry, None);
            let cursor = Cursor { epoch: self.epoch.clone(), at: place.exact() };
            frames.extend(frame.map(|frame| Sent::own(frame, Some(cursor))));
        }
        if entries.len() < PAGE {
            place.arrive(lane, seen);
        }
        frames
    }

    fn tell_missed(&mut self, store: &Store, lane: Lane, seen: i64) -> Vec<Sent> {
        let Phase::Live { topic, place, way } = &mut self.phase else { return Vec::new() };
        let mut on = way.take().filter(|way| way.lane == lane).unwrap_or_else(|| Way {
            lane,
            until: seen,
            rest: store.list_missed(&self.filter, lane, place.at(lane), seen).into(),
        });
        let mut frames = Vec::new();
        for missed in on.rest.drain(..on.rest.len().min(PAGE)) {
            let found = store.list_after(missed.seq - 1, missed.seq).next();
            let Some((entry, (_, key, of))) = found.and_then(|entry| Some((entry, entry.document()?))) else {
                continue;
            };
            let held = missed.held.iter().any(|status| topic.view().permits(key, of, *status));
            frames.extend(place.tell_missed(topic.view(), entry, None, held));
        }
        if on.rest.is_empty() {
            place.arrive(lane, on.until);
        } else {
            *way = Some(on);
        }
        // Only behind the last frame is there a place to go on from.
        let (count, cursor) = (frames.len(), Cursor { epoch: self.epoch.clone(), at: place.exact() });
        let sent = |(at, frame)| Sent::own(frame, (at + 1 == count).then(|| cursor.clone()));
        frames.into_iter().enumerate().map(sent).collect()
    }
}
