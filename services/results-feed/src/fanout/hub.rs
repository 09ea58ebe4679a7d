use std::{
    collections::VecDeque,
    sync::{Arc, PoisonError, RwLock},
};

use domain::{DateTime, Utc};
use tokio::sync::{Notify, watch};

use crate::{entry::Entry, store::Position};

/// Most bytes of entries that the ring of a stream holds; older ones are read from the log.
const LARGEST: usize = 64 << 20;
/// Most entries that the ring holds.
const LONGEST: usize = 65_536;

/// The newest entries of one stream in this process.
#[derive(Debug)]
pub struct Hub {
    stream_id: String,
    ring: RwLock<Ring>,
    newest: watch::Sender<Option<Position>>,
    behind: Notify,
    draining: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Ring {
    epoch: String,
    /// Of the newest entry, whether the ring holds it or not.
    seq: i64,
    entries: VecDeque<Arc<Entry>>,
    weight: usize,
    confirmed_at: Option<DateTime<Utc>>,
}

/// What lies behind a place.
#[derive(Debug)]
pub enum Read {
    /// These, in order; none when the place is the newest.
    Entries(Vec<Arc<Entry>>),
    /// More than the ring holds: read the log.
    Older,
    /// The stream has another epoch now.
    OtherEpoch,
}

impl Hub {
    /// Of a stream, before anything is known of it.
    #[must_use]
    pub fn new(stream_id: String) -> Self {
        Self {
            stream_id,
            ring: RwLock::default(),
            newest: watch::Sender::new(None),
            behind: Notify::new(),
            draining: watch::Sender::new(false),
        }
    }

    /// Which stream.
    #[must_use]
    pub fn stream_id(&self) -> &str {
        &self.stream_id
    }

    /// Where the stream is; nothing until the log was first seen.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        self.newest.borrow().clone()
    }

    /// Changes of the position.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Option<Position>> {
        self.newest.subscribe()
    }

    /// Whether this process is going down.
    #[must_use]
    pub fn draining(&self) -> watch::Receiver<bool> {
        self.draining.subscribe()
    }

    /// Tells readers to say goodbye.
    pub fn drain(&self) {
        self.draining.send_replace(true);
    }

    /// When the stream's row was last read.
    #[must_use]
    pub fn confirmed_at(&self) -> Option<DateTime<Utc>> {
        self.ring.read().unwrap_or_else(PoisonError::into_inner).confirmed_at
    }

    /// Notes that the stream's row was read.
    pub fn confirm(&self, now: DateTime<Utc>) {
        self.ring.write().unwrap_or_else(PoisonError::into_inner).confirmed_at = Some(now);
    }

    /// Starts at a position with an empty ring: at the start of the process, and when committed entries were lost.
    pub fn restart(&self, position: &Position) {
        let mut ring = self.ring.write().unwrap_or_else(PoisonError::into_inner);
        let confirmed_at = ring.confirmed_at;
        *ring = Ring { epoch: position.epoch.clone(), seq: position.seq, confirmed_at, ..Ring::default() };
        // Under the lock, so that nobody is woken for a ring that is not there yet.
        self.newest.send_replace(Some(position.clone()));
    }

    /// Adds committed entries. Those that are there already are passed over; entries behind a hole wait until the tail
    /// has read what is missing from the log.
    pub fn append(&self, epoch: &str, entries: &[Arc<Entry>]) {
        let mut ring = self.ring.write().unwrap_or_else(PoisonError::into_inner);
        if ring.epoch != epoch {
            self.behind.notify_one();
            return;
        }
        let before = ring.seq;
        for entry in entries {
            if entry.seq > ring.seq + 1 {
                self.behind.notify_one();
                break;
            }
            if entry.seq == ring.seq + 1 {
                ring.push(Arc::clone(entry));
            }
        }
        if ring.seq > before {
            self.newest.send_replace(Some(Position { epoch: ring.epoch.clone(), seq: ring.seq }));
        }
    }

    /// Resolves when there is a hole to fill.
    pub async fn wait_until_behind(&self) {
        self.behind.notified().await;
    }

    /// At most `most` entries behind a place.
    #[must_use]
    pub fn read_after(&self, epoch: &str, seq: i64, most: usize) -> Read {
        let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
        if ring.epoch != epoch {
            return Read::OtherEpoch;
        }
        if seq >= ring.seq {
            return Read::Entries(Vec::new());
        }
        let Some(first) = ring.entries.front().map(|entry| entry.seq) else { return Read::Older };
        // The ring has no holes, so an entry's place is its distance from the first.
        let Ok(from) = usize::try_from(seq + 1 - first) else { return Read::Older };
        Read::Entries(ring.entries.iter().skip(from).take(most).cloned().collect())
    }
}

impl Ring {
    fn push(&mut self, entry: Arc<Entry>) {
        self.seq = entry.seq;
        self.weight += entry.weight();
        self.entries.push_back(entry);
        while self.weight > LARGEST || self.entries.len() > LONGEST {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.weight -= oldest.weight();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::What;

    fn entries(range: std::ops::RangeInclusive<i64>) -> Vec<Arc<Entry>> {
        range
            .map(|seq| Arc::new(Entry { seq, received_at: DateTime::UNIX_EPOCH, what: What::Late }))
            .collect()
    }

    fn started(seq: i64) -> Hub {
        let hub = Hub::new("SYN2030-P".to_owned());
        hub.restart(&Position { epoch: "7f".to_owned(), seq });
        hub
    }

    fn seqs(read: Read) -> Vec<i64> {
        match read {
            Read::Entries(entries) => entries.iter().map(|entry| entry.seq).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn entries_are_taken_in_order_and_once() {
        let hub = started(10);
        hub.append("7f", &entries(11..=12));
        hub.append("7f", &entries(11..=13));
        assert_eq!(hub.position().unwrap().seq, 13);
        assert_eq!(seqs(hub.read_after("7f", 11, 10)), [12, 13]);
        assert_eq!(seqs(hub.read_after("7f", 10, 2)), [11, 12]);
        assert_eq!(seqs(hub.read_after("7f", 13, 10)), [0; 0]);
    }

    #[test]
    fn nothing_is_shown_behind_a_hole() {
        let hub = started(10);
        hub.append("7f", &entries(12..=13));
        assert_eq!(hub.position().unwrap().seq, 10);
        hub.append("7f", &entries(11..=11));
        assert_eq!(hub.position().unwrap().seq, 11);
    }

    #[test]
    fn what_the_ring_does_not_hold_is_older() {
        let hub = started(10);
        assert!(matches!(hub.read_after("7f", 9, 10), Read::Older));
        hub.append("7f", &entries(11..=11));
        assert!(matches!(hub.read_after("7f", 9, 10), Read::Older));
        assert!(matches!(hub.read_after("8a", 10, 10), Read::OtherEpoch));
    }

    #[test]
    fn entries_of_a_lost_epoch_are_refused() {
        let hub = started(10);
        hub.restart(&Position { epoch: "8a".to_owned(), seq: 5 });
        hub.append("7f", &entries(6..=6));
        assert_eq!(hub.position().unwrap().seq, 5);
    }
}
