use std::collections::{BTreeMap, BTreeSet, HashSet};

use domain::{DateTime, Utc, Uuid};
use tokio::time::Instant;

use crate::delivery_target::DeliveryMode;

use super::Candidate;

/// Documents that are sent at once (ODF Foundation Principles 8.2 leave it to sender and receiver).
pub const WORKERS: usize = 4;
/// Most documents that are read and not sent, and most that were taken behind one that is refused.
pub const WINDOW: usize = 1_024;

/// What is under way to one target: which documents may be sent now, and what is safe to forget. Pure: it sends nothing.
///
/// Of one document only the lowest version that waits is sent, so a target gets its versions in order. Documents that
/// are refused do not stop others; but while nothing is taken, only the oldest are tried, and a fresh one now and then.
#[derive(Debug)]
pub struct Lane {
    mode: DeliveryMode,
    /// Everything up to here was looked at.
    read_to: i64,
    pending: BTreeMap<i64, Pending>,
    /// Taken, with an earlier one still pending.
    ahead: BTreeSet<i64>,
    /// Since when the first document was refused before this process took over.
    inherited: Option<DateTime<Utc>>,
    failures_in_a_row: usize,
    probe_at: Option<Instant>,
}

#[derive(Debug)]
struct Pending {
    candidate: Candidate,
    under_way: bool,
    not_before: Option<Instant>,
    since: Option<DateTime<Utc>>,
}

/// What a lane goes on without.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aside {
    /// Which document.
    pub document_id: Uuid,
    /// Its versions that wait.
    pub seqs: Vec<i64>,
    /// Since when the first is refused.
    pub since: DateTime<Utc>,
}

/// What must survive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Everything up to here is done.
    pub acknowledged: i64,
    /// Done behind that.
    pub ahead: Vec<i64>,
    /// Since when the document is refused that is refused the longest.
    pub failing_since: Option<DateTime<Utc>>,
}

impl Lane {
    /// Goes on from what survived.
    pub fn new(mode: DeliveryMode, progress: &Progress) -> Self {
        Self {
            mode,
            read_to: progress.acknowledged,
            pending: BTreeMap::new(),
            ahead: progress.ahead.iter().copied().collect(),
            inherited: progress.failing_since,
            failures_in_a_row: 0,
            probe_at: None,
        }
    }

    /// Where to read on.
    pub const fn read_to(&self) -> i64 {
        self.read_to
    }

    /// How many more may be read.
    pub fn room(&self) -> usize {
        WINDOW.saturating_sub(self.pending.len() + self.ahead.len())
    }

    /// When the oldest document that waits came.
    pub fn oldest(&self) -> Option<DateTime<Utc>> {
        self.pending.first_key_value().map(|(_, pending)| pending.candidate.received_at)
    }

    /// Takes the next one that was read; in order.
    pub fn push(&mut self, candidate: Candidate) {
        let seq = candidate.seq;
        self.read_to = self.read_to.max(seq);
        if self.ahead.contains(&seq) || self.pending.contains_key(&seq) {
            return;
        }
        let mut since = candidate.refused_since.or(self.inherited.take());
        if self.mode == DeliveryMode::State
            && let Some(older) = self.conflatable(candidate.document_id)
            && let Some(older) = self.pending.remove(&older)
        {
            // A target that refuses every version does not become patient by the newer ones.
            since = since.or(older.since);
        }
        self.pending.insert(seq, Pending { candidate, under_way: false, not_before: None, since });
    }

    /// Nothing up to here is left to read.
    pub fn pass(&mut self, seq: i64) {
        self.read_to = self.read_to.max(seq);
        self.forget();
    }

    fn conflatable(&self, document_id: Uuid) -> Option<i64> {
        let newest = self.pending.iter().rev().find(|(_, one)| one.candidate.document_id == document_id);
        newest.filter(|(_, one)| !one.under_way && one.candidate.conflatable).map(|(seq, _)| *seq)
    }

    /// The next one to send, which is under way from now on.
    pub fn take(&mut self, now: Instant, retry: std::time::Duration) -> Option<Candidate> {
        if self.pending.values().filter(|one| one.under_way).count() >= WORKERS {
            return None;
        }
        let is_down = self.failures_in_a_row >= WORKERS;
        let may_probe = self.probe_at.is_none_or(|at| at <= now);
        let mut seen = HashSet::new();
        let mut heads = 0;
        let mut chosen = None;
        for (seq, one) in &self.pending {
            if !seen.insert(one.candidate.document_id) {
                continue;
            }
            heads += 1;
            if one.under_way || one.not_before.is_some_and(|at| at > now) {
                continue;
            }
            let probes = one.not_before.is_none() && may_probe;
            if !is_down || heads <= WORKERS || probes {
                chosen = Some((*seq, is_down && heads > WORKERS));
                break;
            }
        }
        let (seq, probes) = chosen?;
        if probes {
            self.probe_at = Some(now + retry);
        }
        let one = self.pending.get_mut(&seq)?;
        one.under_way = true;
        Some(one.candidate.clone())
    }

    /// When the next one may be sent that may not be sent yet.
    pub fn due(&self, now: Instant) -> Option<Instant> {
        let waits = self.pending.values().filter(|one| !one.under_way).filter_map(|one| one.not_before);
        waits.chain(self.probe_at).filter(|at| *at > now).min()
    }

    /// It was taken.
    pub fn taken(&mut self, seq: i64) {
        if self.pending.remove(&seq).is_some() {
            self.ahead.insert(seq);
        }
        (self.failures_in_a_row, self.probe_at) = (0, None);
        self.forget();
    }

    /// It was not taken, and may be sent again from `again` on.
    pub fn refused(&mut self, seq: i64, again: Instant, now: DateTime<Utc>) {
        self.failures_in_a_row += 1;
        if let Some(one) = self.pending.get_mut(&seq) {
            (one.under_way, one.not_before) = (false, Some(again));
            one.since.get_or_insert(now);
        }
    }

    /// A document whose refusals make the lane carry too much, out of it: its versions that wait, the first refusal.
    pub fn set_aside(&mut self, now: DateTime<Utc>) -> Option<Aside> {
        if self.ahead.len() < WINDOW / 2 {
            return None;
        }
        let (_, refused) = self.pending.first_key_value().filter(|(_, one)| !one.under_way)?;
        let (document_id, since) = (refused.candidate.document_id, refused.since.unwrap_or(now));
        let of_it = self.pending.iter().filter(|(_, one)| one.candidate.document_id == document_id);
        let seqs: Vec<i64> = of_it.map(|(seq, _)| *seq).collect();
        self.pending.retain(|_, one| one.candidate.document_id != document_id);
        self.forget();
        Some(Aside { document_id, seqs, since })
    }

    /// What waits or is under way.
    pub fn seqs(&self) -> Vec<i64> {
        self.pending.keys().copied().collect()
    }

    /// Forgets what was taken, where it is kept nowhere else.
    pub fn forget_taken(&mut self) {
        self.ahead.clear();
    }

    /// Drops what may not be sent any more and is not under way.
    pub fn retain(&mut self, may: impl Fn(&Candidate) -> bool) {
        self.pending.retain(|_, one| one.under_way || may(&one.candidate));
        self.forget();
    }

    /// What must survive.
    pub fn progress(&self) -> Progress {
        Progress {
            acknowledged: self.acknowledged(),
            ahead: self.ahead.iter().copied().collect(),
            failing_since: self.pending.values().filter_map(|one| one.since).chain(self.inherited).min(),
        }
    }

    fn acknowledged(&self) -> i64 {
        self.pending.first_key_value().map_or(self.read_to, |(seq, _)| seq - 1)
    }

    fn forget(&mut self) {
        let acknowledged = self.acknowledged();
        self.ahead = self.ahead.split_off(&(acknowledged + 1));
    }
}

#[cfg(test)]
#[path = "lane_tests.rs"]
mod tests;
