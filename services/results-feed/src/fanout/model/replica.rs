use std::sync::Arc;

use crate::{
    document_type::FeedFlag,
    entry::Entry,
    fanout::{Budget, Figures, Hub},
    store::Position,
};

use super::store::Store;

/// About what an entry of a run weighs in memory with its frames, in bytes.
const WEIGHT: usize = 2_000;

/// A process: the hub of the feed itself, fed by hand.
#[derive(Debug)]
pub struct Replica {
    /// What readers read.
    pub hub: Hub,
}

impl Replica {
    /// A process that has just started; its rings hold about so many entries.
    pub fn start(store: &Store, most: usize) -> Self {
        let budget = Arc::new(Budget::default());
        // All of it is spent but for a little, so that rings are short.
        while !budget.is_spent() {
            budget.add(WEIGHT);
        }
        budget.give_back(WEIGHT * (most + 1));
        let hub =
            Hub::new("SYN2030-P".to_owned(), FeedFlag::Production, &budget, &Arc::new(Figures::default()));
        let replica = Self { hub };
        replica.restart(store);
        replica
    }

    fn restart(&self, store: &Store) {
        let position = Position { epoch: store.epoch_name(), seq: store.seq };
        self.hub.restart(&position, store.rights_changes());
    }

    /// Learns what it does not know yet, at most so many entries.
    pub fn tail(&self, store: &Store, most: usize) {
        let seen = self.hub.position().expect("a position since its start");
        if seen.epoch != store.epoch_name() || seen.seq > store.seq {
            self.restart(store);
            return;
        }
        let entries: Vec<Arc<Entry>> = store.list_after(seen.seq, store.seq).take(most).cloned().collect();
        if entries.first().map_or(seen.seq < store.seq, |entry| entry.seq != seen.seq + 1) {
            // What it lacks is no longer there.
            self.restart(store);
            return;
        }
        self.hub.append(&seen.epoch, entries);
    }
}
