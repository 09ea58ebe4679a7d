use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use crate::lane::{LANES, Lane};

use super::slot::Slot;

/// So many frames from the end a place is looked for one by one.
const NEAR: usize = 4;

/// The newest frames of a topic, a ring for each lane.
#[derive(Debug)]
pub struct Rings {
    lanes: [Ring; LANES],
}

/// The newest frames of a lane, without a hole.
#[derive(Debug)]
pub struct Ring {
    /// With their numbers, so that a place is found without a look at frames that are not sent.
    slots: VecDeque<(i64, Arc<Slot>)>,
    /// Of the newest frame ever; at first where the ring begins.
    last: i64,
    /// Every frame behind this is there.
    floor: i64,
    /// By document: its newest frame.
    newest: HashMap<i64, i64>,
}

impl Rings {
    /// Empty, and complete from here on.
    #[must_use]
    pub fn starting_at(seq: i64) -> Self {
        let ring = || Ring { slots: VecDeque::new(), last: seq, floor: seq, newest: HashMap::new() };
        Self { lanes: [ring(), ring(), ring()] }
    }

    /// The ring of a lane.
    #[must_use]
    pub fn of(&self, lane: Lane) -> &Ring {
        let [urgent, derived, bulk] = &self.lanes;
        match lane {
            Lane::Urgent => urgent,
            Lane::Derived => derived,
            Lane::Bulk => bulk,
        }
    }

    fn of_mut(&mut self, lane: Lane) -> &mut Ring {
        let [urgent, derived, bulk] = &mut self.lanes;
        match lane {
            Lane::Urgent => urgent,
            Lane::Derived => derived,
            Lane::Bulk => bulk,
        }
    }

    /// Adds a frame at the end of its lane.
    pub fn push(&mut self, slot: Arc<Slot>) {
        let ring = self.of_mut(slot.lane());
        ring.last = slot.seq();
        ring.newest.insert(slot.handle(), slot.seq());
        ring.slots.push_back((slot.seq(), slot));
    }

    /// Forgets frames up to this one.
    pub fn forget(&mut self, lane: Lane, seq: i64) {
        let ring = self.of_mut(lane);
        while let Some((gone, slot)) = ring.slots.pop_front_if(|(at, _)| *at <= seq) {
            ring.floor = gone;
            if ring.newest.get(&slot.handle()) == Some(&gone) {
                ring.newest.remove(&slot.handle());
            }
        }
    }
}

impl Ring {
    /// Of the newest frame ever.
    #[must_use]
    pub const fn last(&self) -> i64 {
        self.last
    }

    /// Every frame behind this is there.
    #[must_use]
    pub const fn floor(&self) -> i64 {
        self.floor
    }

    /// Whether a newer frame of the same document is there.
    #[must_use]
    pub fn has_newer(&self, slot: &Slot) -> bool {
        self.last > slot.seq() && self.newest.get(&slot.handle()).is_some_and(|newest| *newest > slot.seq())
    }

    /// The frames behind a place, in order. Most readers are near the end.
    pub fn after(&self, seq: i64) -> impl Iterator<Item = &Arc<Slot>> {
        let near = self.slots.iter().rev().take(NEAR).take_while(|(at, _)| *at > seq).count();
        let from = if near < NEAR {
            self.slots.len() - near
        } else {
            self.slots.partition_point(|(at, _)| *at <= seq)
        };
        self.slots.range(from..).map(|(_, slot)| slot)
    }
}
