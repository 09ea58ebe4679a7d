//! What the consumer's transactions leave behind.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{
    Checked,
    schedule::{Fate, Flaw, KEYS, Record},
};
use crate::lane_planner::Fault;

#[derive(Debug)]
struct Parked {
    record: Record,
    due: bool,
}

pub(super) struct Database {
    flaw: Flaw,
    collapse: bool,
    claimed: BTreeSet<usize>,
    // Of each key the version of its last effect; every effect is one version further, but on a topic of states.
    effects: [usize; KEYS],
    parked: BTreeMap<usize, Parked>,
    pub(super) ill: BTreeSet<usize>,
}

impl Database {
    pub(super) fn new(flaw: Flaw, collapse: bool, ill: &[usize]) -> Self {
        Self {
            flaw,
            collapse,
            claimed: BTreeSet::new(),
            effects: [0; KEYS],
            parked: BTreeMap::new(),
            ill: ill.iter().copied().collect(),
        }
    }

    /// The handler's transaction. Atomic, since a claim waits for another one's claim of the same fact.
    pub(super) fn apply(&mut self, part: &[Record], fate: Fate) -> Result<Result<(), Fault>, TestCaseError> {
        let mut part = part.to_vec();
        let mut seen = BTreeSet::new();
        part.retain(|record| seen.insert(record.fact) || self.flaw == Flaw::RepeatInBatch);
        let new: Vec<Record> =
            part.iter().filter(|record| !self.claimed.contains(&record.fact)).copied().collect();
        if self.flaw == Flaw::ClaimApart {
            self.claimed.extend(&seen);
        }
        if part.iter().any(|record| self.ill.contains(&record.fact)) {
            return Ok(Err(Fault::Record));
        }
        if fate == Fate::Fails {
            return Ok(Err(Fault::Transient));
        }
        if !self.collapse {
            self.claimed.extend(&seen);
        }
        for record in if self.collapse { part } else { new } {
            self.take_effect(record)?;
        }
        Ok(if fate == Fate::Unknown { Err(Fault::Transient) } else { Ok(()) })
    }

    fn take_effect(&mut self, record: Record) -> Checked {
        let last = &mut self.effects[record.key];
        if self.collapse {
            // where version < $new
            *last = record.version.max(*last);
            return Ok(());
        }
        prop_assert!(record.version > *last, "{record:?} has its effect twice");
        prop_assert!(record.version == *last + 1, "{record:?} has its effect before its turn, behind {last}");
        *last = record.version;
        Ok(())
    }

    pub(super) fn park(&mut self, offset: usize, record: Record) {
        self.parked.entry(offset).or_insert(Parked { record, due: false });
    }

    /// Two transactions, and only one of them when nobody knows.
    pub(super) fn queue(&mut self, offset: usize, record: Record, fate: Fate) {
        self.parked.entry(offset).or_insert(Parked { record, due: true });
        if self.collapse && fate == Fate::Fine {
            self.parked.retain(|other, parked| {
                *other >= offset || parked.record.key != record.key || parked.record.version > record.version
            });
        }
    }

    pub(super) fn unpark(&mut self, offset: usize) {
        self.parked.remove(&offset);
    }

    pub(super) fn postpone(&mut self, offset: usize) {
        if let Some(parked) = self.parked.get_mut(&offset) {
            parked.due = false;
        }
    }

    pub(super) fn make_due(&mut self) {
        self.parked.values_mut().for_each(|parked| parked.due = true);
    }

    pub(super) fn parked_keys(&self) -> BTreeSet<usize> {
        self.parked.values().map(|parked| parked.record.key).collect()
    }

    /// The offsets of the first record of each key, if its turn has come.
    pub(super) fn due(&self) -> Vec<usize> {
        let mut keys = BTreeSet::new();
        let heads = self
            .parked
            .iter()
            .filter(|(_, parked)| keys.insert(parked.record.key) || self.flaw == Flaw::Overtakes);
        heads.filter(|(_, parked)| parked.due).map(|(offset, _)| *offset).collect()
    }

    /// Whether it has its effect, or will have it when its turn comes; of a state that of a newer one is as good.
    pub(super) fn is_kept(&self, record: Record) -> bool {
        self.has_effect(record)
            || self.parked.values().any(|parked| {
                parked.record.fact == record.fact
                    || self.collapse
                        && parked.record.key == record.key
                        && parked.record.version > record.version
            })
    }

    pub(super) fn has_effect(&self, record: Record) -> bool {
        self.effects[record.key] >= record.version
    }
}
