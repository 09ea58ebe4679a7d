//! Who waits for a password hash, who goes first and who is sent away. The hashes are computed in [`crate::hash_lane`].

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// The queue holds this much work; who comes when it is full is asked to come back.
pub const LONGEST: Duration = Duration::from_secs(2);
/// Whoever was overtaken for so long has gone, or tried again: twice the longest queue.
const OVERDUE: Duration = Duration::from_secs(4);
/// What a hash is taken to cost until one was computed.
const FIRST_COST: Duration = Duration::from_millis(20);
/// A hash moves the average by this part of its difference.
const WEIGHT: u32 = 8;

/// Whose hash it is; later ones go first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// From a network that guessed too often; behind it may be a whole carrier.
    Throttled,
    /// Anybody.
    Normal,
    /// A browser in which this user has signed in before.
    Known,
    /// Somebody who is signed in proves it again, for instance to buy.
    StepUp,
}

impl Class {
    /// Of a sign-in: by somebody who is signed in already, in a browser that this user is known in, from a network that
    /// guessed too often.
    pub const fn of_sign_in(renews: bool, is_known: bool, is_throttled: bool) -> Self {
        match (renews, is_known, is_throttled) {
            (true, ..) => Self::StepUp,
            (_, true, _) => Self::Known,
            (.., true) => Self::Throttled,
            _ => Self::Normal,
        }
    }
}

const CLASSES: usize = 4;

/// The queue of one lane; `T` is the work.
#[derive(Debug)]
pub struct HashQueue<T> {
    threads: u32,
    cost: Duration,
    waiting: [VecDeque<Waiting<T>>; CLASSES],
    next_id: u64,
}

#[derive(Debug)]
struct Waiting<T> {
    id: u64,
    since: Instant,
    work: T,
}

/// What an arrival leads to.
#[derive(Debug)]
pub struct Entered<T> {
    /// To leave again; none for whoever is sent away.
    pub id: Option<u64>,
    /// The work that has no place, this one or one of a lower class.
    pub refused: Option<T>,
}

/// The next work.
#[derive(Debug)]
pub struct Taken<T> {
    /// To do; none when there is only [`Taken::overdue`].
    pub work: Option<(T, Duration)>,
    /// What nobody waits for any more.
    pub overdue: Vec<T>,
}

impl<T> HashQueue<T> {
    /// An empty queue in front of so many threads, at least one.
    pub fn new(threads: usize) -> Self {
        Self {
            threads: u32::try_from(threads).unwrap_or(u32::MAX).max(1),
            cost: FIRST_COST,
            waiting: Default::default(),
            next_id: 0,
        }
    }

    /// One more. In a full queue the last of a lower class makes room; when there is none, the arrival is refused.
    pub fn enter(&mut self, class: Class, work: T, now: Instant) -> Entered<T> {
        let mut refused = None;
        if self.depth() >= self.most() {
            let below = &mut self.waiting[..class as usize];
            let Some(last) = below.iter_mut().find_map(VecDeque::pop_back) else {
                return Entered { id: None, refused: Some(work) };
            };
            refused = Some(last.work);
        }
        let id = self.next_id;
        self.next_id += 1;
        self.waiting[class as usize].push_back(Waiting { id, since: now, work });
        Entered { id: Some(id), refused }
    }

    /// Whoever has lost interest; none when it is being computed already, or was refused.
    pub fn leave(&mut self, id: u64) -> Option<T> {
        for waiting in &mut self.waiting {
            if let Ok(at) = waiting.binary_search_by_key(&id, |waiting| waiting.id) {
                return waiting.remove(at).map(|waiting| waiting.work);
            }
        }
        None
    }

    /// The next one: the highest class, and in it who came first.
    pub fn take(&mut self, now: Instant) -> Taken<T> {
        let mut overdue = Vec::new();
        for waiting in self.waiting.iter_mut().rev() {
            while let Some(Waiting { since, work, .. }) = waiting.pop_front() {
                let waited = now.saturating_duration_since(since);
                if waited < OVERDUE {
                    return Taken { work: Some((work, waited)), overdue };
                }
                overdue.push(work);
            }
        }
        Taken { work: None, overdue }
    }

    /// A hash took so long: the average follows.
    pub fn note(&mut self, took: Duration) {
        self.cost = (self.cost * (WEIGHT - 1) + took) / WEIGHT;
    }

    /// How many wait.
    pub fn depth(&self) -> usize {
        self.waiting.iter().map(VecDeque::len).sum()
    }

    /// What a hash costs, on the average of the last ones.
    pub const fn cost(&self) -> Duration {
        self.cost
    }

    /// How many may wait: [`LONGEST`] of work, and a place a thread however slow they are.
    pub fn most(&self) -> usize {
        let in_time = LONGEST.as_nanos() * u128::from(self.threads) / self.cost.as_nanos().max(1);
        usize::try_from(in_time).unwrap_or(usize::MAX).clamp(self.threads as usize, 100_000)
    }
}

#[cfg(test)]
#[path = "hash_queue_tests.rs"]
mod tests;
