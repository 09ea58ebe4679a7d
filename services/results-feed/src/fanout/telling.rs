use std::{
    collections::HashMap,
    sync::{Arc, atomic::AtomicBool},
};

use super::{budget::Budget, slot::Slot, topic::Representation, view::Sight};
use crate::{entitlement::Participants, entry::Entry};

/// About how many bytes a topic's ring needs for one frame that is not its alone.
const PLACE: usize = 64;

/// An entry, and the frames that tell it: topics whose readers get the same of it share one. So it is
/// encoded once for five hundred partners with rights of their own.
#[derive(Debug)]
pub struct Telling {
    entry: Arc<Entry>,
    /// The frame that was asked for last: mostly there is no other.
    latest: Option<(Likeness, Arc<Slot>)>,
    others: HashMap<Likeness, Arc<Slot>>,
    is_traced: Arc<AtomicBool>,
    places: usize,
}

/// What two topics have in common whose frames of an entry are the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Likeness {
    /// What the entry means.
    pub sight: Sight,
    /// Which participants are shown.
    pub participants: Participants,
    /// Number of the frame before in the lane.
    pub previous: i64,
    /// In which form.
    pub representation: Representation,
}

impl Telling {
    /// Of an entry that no topic has yet.
    #[must_use]
    pub fn new(entry: Arc<Entry>) -> Self {
        Self { entry, latest: None, others: HashMap::new(), is_traced: Arc::default(), places: 0 }
    }

    /// The entry.
    #[must_use]
    pub const fn entry(&self) -> &Arc<Entry> {
        &self.entry
    }

    /// A topic's frame of it; nothing where it is about no document.
    pub fn slot(&mut self, like: Likeness, epoch: &Arc<str>, budget: &Arc<Budget>) -> Option<Arc<Slot>> {
        self.places += 1;
        budget.add(PLACE);
        if let Some((_, slot)) = self.latest.as_ref().filter(|(latest, _)| *latest == like) {
            return Some(Arc::clone(slot));
        }
        let slot = match self.others.get(&like) {
            Some(slot) => Arc::clone(slot),
            None => Arc::new(Slot::new(&self.entry, &like, (epoch, &self.is_traced), budget)?),
        };
        if let Some((before, slot)) = self.latest.replace((like, Arc::clone(&slot))) {
            self.others.insert(before, slot);
        }
        Some(slot)
    }

    /// About how many bytes it holds beside its frames, which count themselves.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.entry.weight() + self.places * PLACE
    }
}
