use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use domain::DateTime;

use crate::{
    cursor::Cursor,
    entitlement::Rights,
    entry::Entry,
    fanout::{
        Subscription,
        live::{Live, View},
    },
    frame::{Frame, ResetCause, Sent},
    rsc::Prefix,
};

use super::{cast::Part, mutant::Mutant, store::Store};

/// Documents of a page of the snapshot: few, so that the log moves between pages.
const PAGE: usize = 2;

/// What a process knows of the stream.
#[derive(Debug, Clone)]
pub struct Replica {
    /// Of what it knows.
    pub epoch: u32,
    /// Of the newest entry that it knows.
    pub seq: i64,
    ring: VecDeque<Arc<Entry>>,
    most: usize,
}

/// A process's side of a connection: what a reader of the feed does around [`Live`], without time and database.
#[derive(Debug)]
pub struct Connection {
    /// Index of the process.
    pub replica: usize,
    part: Part,
    asked: Subscription,
    rights: Rights,
    phase: Phase,
    epoch: u32,
    batch: usize,
    mutant: Option<Mutant>,
    /// Frames that were sent.
    count: usize,
    rights_of: i64,
}

#[derive(Debug)]
enum Phase {
    Start,
    Snapshot { from: i64, after: i64, newer: HashMap<i64, i64> },
    Live(Live),
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
    pub epoch: u32,
}

impl Replica {
    /// A process that has just started.
    pub fn start(store: &Store, most: usize) -> Self {
        Self { epoch: store.epoch, seq: store.seq, ring: VecDeque::new(), most }
    }

    /// Learns what it does not know yet, at most so many entries.
    pub fn tail(&mut self, store: &Store, most: usize) {
        if self.epoch != store.epoch || self.seq > store.seq {
            *self = Self::start(store, self.most);
            return;
        }
        let entries = store.list_after(self.seq, store.seq, most);
        if entries.first().is_some_and(|entry| entry.seq != self.seq + 1)
            || (entries.is_empty() && self.seq < store.seq)
        {
            // What it lacks is no longer there.
            *self = Self::start(store, self.most);
            return;
        }
        entries.iter().for_each(|entry| self.push(entry));
    }

    /// Takes what its own writer committed, where nothing is missing before it.
    pub fn wrote(&mut self, epoch: u32, entries: &[Arc<Entry>]) {
        for entry in entries {
            if self.epoch == epoch && entry.seq == self.seq + 1 {
                self.push(entry);
            }
        }
    }

    fn push(&mut self, entry: &Arc<Entry>) {
        self.seq = entry.seq;
        self.ring.push_back(Arc::clone(entry));
        while self.ring.len() > self.most {
            self.ring.pop_front();
        }
    }

    fn read_after(&self, store: &Store, seq: i64, most: usize) -> Vec<Arc<Entry>> {
        match self.ring.front() {
            Some(first) if first.seq <= seq + 1 => {
                self.ring.iter().filter(|entry| entry.seq > seq).take(most).cloned().collect()
            }
            _ => store.list_after(seq, self.seq, most),
        }
    }
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
        Self {
            replica,
            part: part.clone(),
            asked: part.asks(cursor),
            rights: Rights::default(),
            phase: Phase::Start,
            epoch: 0,
            batch,
            mutant,
            count: 0,
            rights_of: 0,
        }
    }

    /// The next frames; none where there is nothing to tell.
    pub fn next(&mut self, replica: &Replica, store: &Store) -> Vec<Wire> {
        for _ in 0..1_000 {
            let (before, rights_of) = (self.at(), self.rights_of);
            let frames = match &self.phase {
                Phase::Start => self.start(replica, store),
                Phase::Snapshot { .. } => self.page(store),
                Phase::Live(_) => self.changes(replica, store),
            };
            let is_live = matches!(self.phase, Phase::Live(_));
            if !frames.is_empty() || (is_live && before == self.at()) {
                return frames.into_iter().filter_map(|sent| self.wire(sent, rights_of)).collect();
            }
        }
        Vec::new()
    }

    /// A sign of life.
    pub fn heartbeat(&mut self) -> Vec<Wire> {
        let Phase::Live(live) = &self.phase else { return Vec::new() };
        let seq = live.at();
        let cursor = live.is_resumable().then(|| self.cursor(seq));
        let frame = Frame::Heartbeat { seq, at: DateTime::UNIX_EPOCH, lag_ms: 0 };
        self.wire(Sent { cursor, frame }, self.rights_of).into_iter().collect()
    }

    fn at(&self) -> Option<i64> {
        match &self.phase {
            Phase::Live(live) => Some(live.at()),
            _ => None,
        }
    }

    fn wire(&mut self, sent: Sent, rights_of: i64) -> Option<Wire> {
        self.count += 1;
        let is_content = matches!(sent.frame, Frame::Full { .. } | Frame::Delta { .. });
        if self.mutant == Some(Mutant::LostFrame) && is_content && self.count.is_multiple_of(5) {
            return None;
        }
        let cursor = match (&sent.frame, self.mutant) {
            (Frame::Snap(edition), Some(Mutant::IdOnSnapshot)) => Some(self.cursor(edition.seq)),
            _ => sent.cursor,
        };
        Some(Wire {
            id: cursor.map(|cursor| cursor.to_string()),
            json: sent.frame.to_json(),
            rights_of,
            epoch: self.epoch,
        })
    }

    fn cursor(&self, seq: i64) -> Cursor {
        Cursor { epoch: format!("{:x}", self.epoch), seq }
    }

    fn read_rights(&mut self, store: &Store) {
        self.rights = store.rights(&self.part);
        self.rights_of = store.seq;
    }

    fn start(&mut self, replica: &Replica, store: &Store) -> Vec<Sent> {
        self.epoch = replica.epoch;
        self.read_rights(store);
        let hello = Frame::Hello { stream: "SYN2030-P".to_owned(), cursor: self.cursor(replica.seq) };
        let mut frames = vec![Sent { cursor: None, frame: hello }];
        match self.resume_at(replica, store) {
            Ok(Some(seq)) => self.phase = Phase::Live(Live::resumed(seq)),
            Ok(None) => self.begin_snapshot(replica.seq),
            Err(why) => frames.push(self.reset(why, replica.seq)),
        }
        frames
    }

    fn resume_at(&self, replica: &Replica, store: &Store) -> Result<Option<i64>, ResetCause> {
        let Some(text) = &self.asked.cursor else { return Ok(None) };
        let cursor: Cursor = text.parse().map_err(|_| ResetCause::CursorInvalid)?;
        if cursor.epoch != format!("{:x}", replica.epoch) {
            return Err(ResetCause::EpochChanged);
        }
        if cursor.seq > replica.seq && (store.epoch != replica.epoch || store.seq < cursor.seq) {
            return Err(ResetCause::CursorAhead);
        }
        // What lies between would be told by other rights than it was when the reader held it.
        if store.rights_changed_since(&self.part, cursor.seq)
            && self.mutant != Some(Mutant::ResumeAcrossRights)
        {
            return Err(ResetCause::FilterChanged);
        }
        let reaches = store.oldest_seq().is_none_or(|oldest| oldest <= cursor.seq + 1);
        let is_there = reaches || self.mutant == Some(Mutant::CutLog);
        if is_there { Ok(Some(cursor.seq)) } else { Err(ResetCause::CursorTooOld) }
    }

    fn begin_snapshot(&mut self, from: i64) {
        self.phase = Phase::Snapshot { from, after: 0, newer: HashMap::new() };
    }

    fn reset(&mut self, why: ResetCause, seq: i64) -> Sent {
        self.begin_snapshot(seq);
        Sent { cursor: None, frame: Frame::Reset { why, cursor: self.cursor(seq) } }
    }

    fn page(&mut self, store: &Store) -> Vec<Sent> {
        let Phase::Snapshot { from, after, newer } = &mut self.phase else { return Vec::new() };
        let editions = store.list_editions(&self.part, *after, PAGE);
        if store.rights_changed_since(&self.part, self.rights_of) && self.mutant != Some(Mutant::StalePage) {
            // The page may be of after the change.
            let from = *from;
            self.read_rights(store);
            return vec![self.reset(ResetCause::FilterChanged, from)];
        }
        let is_last = editions.len() < PAGE;
        let mut frames = Vec::new();
        for edition in editions {
            *after = edition.handle;
            if edition.seq > *from {
                newer.insert(edition.handle, edition.seq);
            }
            if self.rights.permit(&edition.subject(self.asked.feed_flag)) {
                frames.push(Sent { cursor: None, frame: Frame::Snap(Arc::new(edition)) });
            }
        }
        if is_last {
            let (from, newer) = (*from, std::mem::take(newer));
            let until = if self.mutant == Some(Mutant::EarlyLive) { from } else { store.seq.max(from) };
            self.phase = Phase::Live(Live::after_snapshot(from, newer, until));
        }
        frames
    }

    fn changes(&mut self, replica: &Replica, store: &Store) -> Vec<Sent> {
        let Phase::Live(live) = &mut self.phase else { return Vec::new() };
        if let Some(seq) = live.completes_snapshot() {
            let cursor = self.cursor(seq);
            return vec![Sent { cursor: Some(cursor.clone()), frame: Frame::Live { cursor } }];
        }
        if self.epoch != replica.epoch {
            self.epoch = replica.epoch;
            self.read_rights(store);
            return vec![self.reset(ResetCause::EpochChanged, replica.seq)];
        }
        let at = live.at();
        if at >= replica.seq {
            return Vec::new();
        }
        let entries = replica.read_after(store, at, self.batch);
        if entries.first().is_none_or(|entry| entry.seq != at + 1) && self.mutant != Some(Mutant::CutLog) {
            return vec![self.reset(ResetCause::CursorTooOld, replica.seq)];
        }
        self.take(store, &entries)
    }

    fn take(&mut self, store: &Store, entries: &[Arc<Entry>]) -> Vec<Sent> {
        let Phase::Live(live) = &mut self.phase else { return Vec::new() };
        if self.mutant == Some(Mutant::ForgottenFilter) {
            self.asked.prefixes = Vec::<Prefix>::new();
        }
        let mut taken = live.take(&View { rights: &self.rights, asked: &self.asked }, entries);
        if self.mutant == Some(Mutant::PatchOfLeftOut) {
            patch_what_was_left_out(&mut taken.frames, entries);
        }
        let epoch = format!("{:x}", self.epoch);
        let cursor = |seq| Cursor { epoch: epoch.clone(), seq };
        let frames = taken.frames.into_iter();
        let mut frames: Vec<Sent> =
            frames.map(|(resumable, frame)| Sent { cursor: resumable.map(cursor), frame }).collect();
        if let Some(seq) = taken.rights_changed_at {
            self.read_rights(store);
            frames.push(self.reset(ResetCause::FilterChanged, seq));
        }
        frames
    }
}

fn patch_what_was_left_out(frames: &mut [(Option<i64>, Frame)], entries: &[Arc<Entry>]) {
    for (_, frame) in frames {
        let Frame::Full { edition, previous } = frame else { continue };
        let change = entries.iter().find_map(|entry| match &entry.what {
            crate::entry::What::Edition(change) if entry.seq == edition.seq => Some(change),
            _ => None,
        });
        if let Some(change) = change
            && let (Some(base), Some(patch)) = (change.base, &change.patch)
        {
            *frame = Frame::Delta {
                edition: Arc::clone(edition),
                base_version: base.version,
                patch: patch.clone(),
                previous: *previous,
            };
        }
    }
}
