use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use crate::{
    document_type::{DocumentType, ResultStatus},
    entitlement::{Rights, Subject},
    entry::{Base, Change, Edition, Entry, What, Withdrawal},
    frame::Frame,
    header::DocumentKey,
};

use super::{Mode, Subscription};

/// What a reader that follows the log holds, as far as the next frames depend on it.
#[derive(Debug)]
pub struct Live {
    at: i64,
    last: i64,
    /// Documents of the snapshot that were newer than its start, by handle: entries up to there are known.
    newer: HashMap<i64, i64>,
    /// The snapshot was read while the log went on up to here: only then it is complete, and until then an entry's base
    /// may not be what the reader holds.
    complete_at: Option<i64>,
    /// Documents of which a version was left out and the newer one not yet sent.
    left_out: HashSet<i64>,
}

/// Frames, each with the sequence number to resume from after it, where that is possible.
#[derive(Debug, Default)]
pub struct Taken {
    /// In order.
    pub frames: Vec<(Option<i64>, Frame)>,
    /// Where the reader's rights changed: nothing behind it was looked at.
    pub rights_changed_at: Option<i64>,
}

/// What one reader may and wants to see.
#[derive(Debug)]
pub struct View<'a> {
    /// What it may see.
    pub rights: &'a Rights,
    /// What it wants to see.
    pub asked: &'a Subscription,
}

type Make = Box<dyn FnOnce(i64) -> Frame>;

impl Live {
    /// A reader that holds everything up to `seq`.
    #[must_use]
    pub fn resumed(seq: i64) -> Self {
        Self { at: seq, last: seq, newer: HashMap::new(), complete_at: None, left_out: HashSet::new() }
    }

    /// A reader of a snapshot whose pages were read when the log was between `from` and `until`.
    #[must_use]
    pub fn after_snapshot(from: i64, newer: HashMap<i64, i64>, until: i64) -> Self {
        Self { newer, complete_at: Some(until), ..Self::resumed(from) }
    }

    /// Of the newest entry that was looked at.
    #[must_use]
    pub const fn at(&self) -> i64 {
        self.at
    }

    /// Whether what the reader holds is the state at some sequence number.
    #[must_use]
    pub fn is_resumable(&self) -> bool {
        self.complete_at.is_none() && self.left_out.is_empty()
    }

    /// Once, when the snapshot has become complete: where.
    pub fn completes_snapshot(&mut self) -> Option<i64> {
        let until = self.complete_at?;
        if self.at < until {
            return None;
        }
        self.complete_at = None;
        self.newer = HashMap::new();
        self.last = self.at;
        Some(self.at)
    }

    /// The frames for entries that follow the place of this reader.
    pub fn take(&mut self, view: &View<'_>, entries: &[Arc<Entry>]) -> Taken {
        let newest = newest_by_document(entries);
        let mut taken = Taken::default();
        let mut skipped: Option<(i64, u32)> = None;
        for entry in entries {
            if self.complete_at.is_some_and(|until| entry.seq > until) {
                break;
            }
            self.at = entry.seq;
            if let What::Entitlement(client_id) = &entry.what
                && view.rights.depend_on(client_id)
            {
                taken.rights_changed_at = Some(entry.seq);
                break;
            }
            if let Some(handle) = view.may_leave_out(entry, &newest)
                && self.complete_at.is_none()
            {
                self.left_out.insert(handle);
                skipped = Some((entry.seq, skipped.map_or(1, |(_, count)| count + 1)));
                continue;
            }
            let Some(make) = self.frame(view, entry) else { continue };
            if let Some((seq, count)) = skipped.take() {
                // Not resumable: what was left out comes only behind it.
                taken.frames.push((None, Frame::Skip { previous: self.last, seq, count }));
                self.last = seq;
            }
            taken.frames.push((self.is_resumable().then_some(entry.seq), make(self.last)));
            self.last = entry.seq;
        }
        taken
    }

    fn frame(&mut self, view: &View<'_>, entry: &Entry) -> Option<Make> {
        match &entry.what {
            What::Edition(change) if !self.knows(change.edition.handle, entry.seq) => {
                self.edition(view, change)
            }
            What::Gone(gone) if !self.knows(gone.handle, entry.seq) => self.gone(view, gone, entry.seq),
            _ => None,
        }
    }

    fn knows(&self, handle: i64, seq: i64) -> bool {
        self.newer.get(&handle).is_some_and(|held| *held >= seq)
    }

    fn edition(&mut self, view: &View<'_>, change: &Change) -> Option<Make> {
        let edition = Arc::clone(&change.edition);
        if !view.wants(&edition.key) {
            return None;
        }
        let base = change.base.filter(|base| view.permits(&edition.key, edition.document_type, base.status));
        let was_left_out = self.left_out.remove(&edition.handle);
        if !view.sees(&edition) {
            return base.map(|_| superseded(&edition));
        }
        match (&change.patch, base) {
            (Some(patch), Some(Base { version, .. })) if !was_left_out && self.complete_at.is_none() => {
                let patch = patch.clone();
                Some(Box::new(move |previous| Frame::Delta {
                    edition,
                    base_version: version,
                    patch,
                    previous,
                }))
            }
            _ => Some(Box::new(move |previous| Frame::Full { edition, previous })),
        }
    }

    fn gone(&mut self, view: &View<'_>, gone: &Withdrawal, seq: i64) -> Option<Make> {
        self.left_out.remove(&gone.handle);
        let base = gone.base?;
        if !view.wants(&gone.key) || !view.permits(&gone.key, gone.document_type, base.status) {
            return None;
        }
        let handle = gone.handle;
        Some(Box::new(move |previous| Frame::Gone { handle, seq, previous }))
    }
}

impl View<'_> {
    fn wants(&self, key: &DocumentKey) -> bool {
        let prefixes = &self.asked.prefixes;
        prefixes.is_empty() || prefixes.iter().any(|prefix| prefix.matches(&key.document_code))
    }

    fn permits(&self, key: &DocumentKey, document_type: DocumentType, status: Option<ResultStatus>) -> bool {
        let feed_flag = self.asked.stream.feed_flag();
        self.rights.permit(&Subject { code: &key.document_code, document_type, status, feed_flag })
    }

    fn sees(&self, edition: &Edition) -> bool {
        self.wants(&edition.key) && self.rights.permit(&edition.subject(self.asked.stream.feed_flag()))
    }

    // The document comes again among these entries, so the reader is late, and this version says nothing that must be
    // heard.
    fn may_leave_out(&self, entry: &Entry, newest: &HashMap<i64, i64>) -> Option<i64> {
        let What::Edition(change) = &entry.what else { return None };
        let handle = change.edition.handle;
        let comes_again = newest.get(&handle).is_some_and(|seq| *seq > entry.seq);
        let may =
            self.asked.mode == Mode::State && change.conflatable && comes_again && self.sees(&change.edition);
        may.then_some(handle)
    }
}

fn newest_by_document(entries: &[Arc<Entry>]) -> HashMap<i64, i64> {
    let mut newest = HashMap::new();
    for entry in entries {
        match &entry.what {
            What::Edition(change) => newest.insert(change.edition.handle, entry.seq),
            What::Gone(gone) => newest.insert(gone.handle, entry.seq),
            What::Late | What::Entitlement(_) => None,
        };
    }
    newest
}

fn superseded(edition: &Edition) -> Make {
    let (handle, version, status, seq) = (edition.handle, edition.version, edition.status, edition.seq);
    Box::new(move |previous| Frame::Superseded { handle, version, status, seq, previous })
}

#[cfg(test)]
#[path = "live_tests.rs"]
mod tests;
