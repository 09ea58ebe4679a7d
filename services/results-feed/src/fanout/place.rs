use std::{collections::HashSet, sync::Arc};

use crate::{
    entry::{Entry, GoneCause, What},
    frame::{Frame, Raw},
    lane::{LANES, Lane},
};

use super::{
    rings::Rings,
    slot::Slot,
    view::{Form, Sight, View, tell},
};

/// Which versions a reader gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// The newest, where it is late.
    #[default]
    State,
    /// Every one.
    Every,
}

/// Where a connection is on its topic: everything that the process keeps of it.
#[derive(Debug, Clone)]
pub struct Place {
    lanes: [LanePlace; LANES],
}

#[derive(Debug, Clone)]
struct LanePlace {
    /// Everything up to here was looked at.
    at: i64,
    /// The reader was told of a frame, a bridge or a heartbeat of this number last.
    told: i64,
    /// Of the last frame or bridge: what the next frame names.
    last: i64,
    /// Whether that was on this connection, whose reader then knows what the next frame must name.
    is_known: bool,
    /// What the reader holds is the state up to here: behind it something may have been left out.
    exact: i64,
    /// Documents of which a version was left out, and the newer one not yet sent.
    left_out: HashSet<i64>,
    /// Versions left out since `told`.
    uncounted: u32,
}

/// What to resume with after a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resume {
    /// Nothing new.
    No,
    /// The number of the frame itself, for every lane.
    Shared,
    /// These, by lane.
    At([i64; LANES]),
}

/// A frame of a topic for one connection.
#[derive(Debug)]
pub enum Step {
    /// A frame that all share.
    Slot(Arc<Slot>, Form),
    /// The same behind another frame than the others have before it: this connection was told of something on its way back
    /// that was none of theirs.
    Behind(Arc<Slot>, Form, i64),
    /// A bridge of its own.
    Own(Frame),
}

/// What a connection gets next.
#[derive(Debug, Default)]
pub struct Taken {
    /// In order.
    pub steps: Vec<(Resume, Step)>,
    /// Versions that were left out.
    pub conflated: u32,
    /// The most urgent lane whose ring no longer reaches back to the place.
    pub behind: Option<Lane>,
}

impl Place {
    /// By lane: the reader holds everything up to here.
    #[must_use]
    pub fn new(at: [i64; LANES]) -> Self {
        let lane = |at| LanePlace {
            at,
            told: at,
            last: at,
            is_known: false,
            exact: at,
            left_out: HashSet::new(),
            uncounted: 0,
        };
        Self { lanes: at.map(lane) }
    }

    fn lane(&self, lane: Lane) -> &LanePlace {
        let [urgent, derived, bulk] = &self.lanes;
        match lane {
            Lane::Urgent => urgent,
            Lane::Derived => derived,
            Lane::Bulk => bulk,
        }
    }

    fn lane_mut(&mut self, lane: Lane) -> &mut LanePlace {
        let [urgent, derived, bulk] = &mut self.lanes;
        match lane {
            Lane::Urgent => urgent,
            Lane::Derived => derived,
            Lane::Bulk => bulk,
        }
    }

    /// Up to where a lane was looked at.
    #[must_use]
    pub fn at(&self, lane: Lane) -> i64 {
        self.lane(lane).at
    }

    /// A place from which a reader that resumes misses nothing.
    #[must_use]
    pub fn exact(&self) -> [i64; LANES] {
        self.lanes.each_ref().map(|lane| lane.exact)
    }

    /// The next frames, at most `most`. Everything up to `seen` is in the rings, or was evaluated and is no frame.
    pub fn take(&mut self, rings: &Rings, mode: Mode, seen: i64, most: usize) -> Taken {
        let mut taken = Taken::default();
        // Of each lane: the first frame that is not sent.
        let mut next =
            Lane::ALL.map(|lane| rings.of(lane).after(self.at(lane)).next().map(|slot| slot.seq()));
        for lane in Lane::ALL {
            if self.at(lane) < rings.of(lane).floor() {
                taken.behind = taken.behind.or(Some(lane));
                continue;
            }
            self.take_lane(rings, (lane, mode, most), &mut next, &mut taken);
            if next.get(lane.index()).is_some_and(Option::is_none) {
                self.lane_mut(lane).reach(seen);
            }
        }
        taken
    }

    fn take_lane(
        &mut self,
        rings: &Rings,
        (lane, mode, most): (Lane, Mode, usize),
        next: &mut [Option<i64>; LANES],
        taken: &mut Taken,
    ) {
        let ring = rings.of(lane);
        let mut slots = ring.after(self.at(lane)).peekable();
        while taken.steps.len() < most {
            let Some(slot) = slots.next() else { break };
            if let Some(first) = next.get_mut(lane.index()) {
                *first = slots.peek().map(|slot| slot.seq());
            }
            let place = self.lane_mut(lane);
            if mode == Mode::State && slot.may_be_left_out() && ring.has_newer(slot) {
                place.leave_out(slot);
                taken.conflated += 1;
                continue;
            }
            if let Some(bridge) = place.bridge(slot.previous(), lane) {
                taken.steps.push((Resume::No, Step::Own(bridge)));
            }
            let behind = Some(place.last).filter(|last| place.is_known && slot.previous() < *last);
            let form = place.advance(slot);
            let step = match behind {
                Some(previous) => Step::Behind(Arc::clone(slot), form, previous),
                None => Step::Slot(Arc::clone(slot), form),
            };
            taken.steps.push((self.resume(slot.seq(), next, rings), step));
        }
    }

    fn resume(&self, seq: i64, next: &[Option<i64>; LANES], rings: &Rings) -> Resume {
        let mut at = [0; LANES];
        let mut agree = true;
        for ((lane, first), at) in Lane::ALL.into_iter().zip(next).zip(&mut at) {
            let place = self.lane(lane);
            let complete = place.left_out.is_empty() && place.at >= rings.of(lane).floor();
            *at = match first {
                _ if !complete => place.exact,
                Some(first) => first - 1,
                None => seq.max(place.at),
            };
            // Where another lane is ahead, the number of the frame would be a step back.
            agree &= complete && *at >= seq && place.told <= seq;
        }
        if agree { Resume::Shared } else { Resume::At(at) }
    }

    /// A heartbeat: everything up to `seen` was given in every lane. Nothing where that is not so. It is no frame of a lane:
    /// the next one's `p` is as if it had not been.
    #[must_use]
    pub fn rest(&self, seen: i64) -> Option<[i64; LANES]> {
        let is_behind = |lane: &LanePlace| lane.at < seen || !lane.left_out.is_empty();
        if self.lanes.iter().any(is_behind) { None } else { Some(self.exact()) }
    }

    /// An entry of the log for a reader that gets every version and is behind the ring. Entries of other lanes, and those
    /// that mean nothing to it, only move its place.
    pub fn tell_logged(&mut self, view: &View, entry: &Entry, raw: Option<Raw>) -> Option<Frame> {
        let (_, _, document_type) = entry.document()?;
        let place = self.lane_mut(Lane::of(document_type));
        if entry.seq <= place.at {
            return None;
        }
        let sight = view.judge(entry);
        let frame = sight.and_then(|sight| tell(entry, sight, Form::Change, raw, place.last));
        if frame.is_some() {
            place.follow(entry.seq);
        }
        place.reach(entry.seq);
        frame
    }

    /// A document that changed while the reader was away, or a version on the way that must be heard. `held` says whether
    /// the reader may hold a version of before. The place moves only with [`Self::arrive`]: on a way that begins anew after
    /// [`Self::go_back`], what was told the first time is passed over.
    pub fn tell_missed(&mut self, view: &View, entry: &Entry, raw: Option<Raw>, held: bool) -> Option<Frame> {
        let (_, _, document_type) = entry.document()?;
        if entry.seq <= self.lane(Lane::of(document_type)).told {
            return None;
        }
        let sight = match &entry.what {
            What::Edition(change) if view.sees(&change.edition, entry.released_until) => {
                Sight::Shown { base: None }
            }
            What::Release(_) => view.judge(entry)?,
            _ if !held => return None,
            What::Edition(change) => view.refusal(&change.edition, entry.released_until),
            _ => Sight::Gone(GoneCause::Invalidated),
        };
        let place = self.lane_mut(Lane::of(document_type));
        let frame = tell(entry, sight, Form::Whole, raw, place.last)?;
        place.follow(entry.seq);
        Some(frame)
    }

    /// Goes back to what the reader holds for sure: what was left out behind it comes by another way.
    pub fn go_back(&mut self) {
        for lane in &mut self.lanes {
            lane.at = lane.exact;
            lane.left_out.clear();
            lane.uncounted = 0;
        }
    }

    /// A frame of this connection alone; gives the number of the one before in its lane.
    pub fn tell(&mut self, lane: Lane, seq: i64) -> i64 {
        let place = self.lane_mut(lane);
        let before = place.last;
        place.follow(seq);
        before
    }

    /// The reader holds everything of a lane up to here.
    pub fn arrive(&mut self, lane: Lane, seq: i64) {
        let place = self.lane_mut(lane);
        place.left_out.clear();
        place.uncounted = 0;
        place.reach(seq);
    }
}

impl LanePlace {
    fn reach(&mut self, seq: i64) {
        self.at = self.at.max(seq);
        if self.left_out.is_empty() {
            self.exact = self.at;
        }
    }

    const fn follow(&mut self, seq: i64) {
        self.told = seq;
        self.last = seq;
        self.is_known = true;
    }

    fn leave_out(&mut self, slot: &Slot) {
        self.at = slot.seq();
        self.left_out.insert(slot.handle());
        self.uncounted += 1;
    }

    fn advance(&mut self, slot: &Slot) -> Form {
        self.follow(slot.seq());
        let was_left_out = !self.left_out.is_empty() && self.left_out.remove(&slot.handle());
        let form = if was_left_out { Form::Whole } else { Form::Change };
        self.reach(slot.seq());
        form
    }

    fn bridge(&mut self, previous: i64, lane: Lane) -> Option<Frame> {
        if previous <= self.told {
            return None;
        }
        let count = std::mem::take(&mut self.uncounted);
        let bridge = Frame::Skip { previous: self.last, seq: previous, count, lane };
        self.follow(previous);
        Some(bridge)
    }
}

#[cfg(test)]
#[path = "place_tests.rs"]
mod tests;
