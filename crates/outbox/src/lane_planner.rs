//! What a lane does next with its records, as a pure machine: no clock, no database, no broker.

use std::{
    collections::{HashSet, VecDeque},
    hash::Hash,
};

/// Tries of a record alone before its key is parked.
pub(crate) const TRIES: i32 = 3;

/// What happened: the answer to what was asked for last.
#[derive(Debug)]
pub(crate) enum Input<K> {
    /// To [`Output::LoadParked`]: these keys have parked records.
    Parked(HashSet<K>),
    /// To [`Output::Idle`]: records came, in order; of each its key.
    Batch(Vec<K>),
    /// To [`Output::FindDue`]: so many keys have a first record whose turn it is.
    Due(usize),
    /// It was carried out, and what it writes is committed.
    Done,
    /// To [`Output::Apply`] and [`Output::Try`]: it is not committed, or nobody knows.
    Failed(Fault),
    /// To [`Output::Wait`]: the time went by. To [`Output::Idle`]: it is time to look at what is parked.
    Tick,
    /// The partition goes to somebody else, and what was asked for is not begun any more.
    Revoked,
}

/// Whose fault a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The surroundings': it is tried again as often as it takes, without being counted.
    Transient,
    /// A record's.
    Record,
}

/// What to do, one thing after the other. Numbers are places in the batch, or among the heads that are due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Output {
    /// Say which keys have parked records.
    LoadParked,
    /// Give a batch; a tick now and then while keys are parked.
    Idle,
    /// Hand these records to the handler, whose effects are one transaction.
    Apply(Vec<usize>),
    /// Put the record behind its parked key.
    Queue(usize),
    /// Park the record, which failed [`TRIES`] times alone.
    Park(usize),
    /// The offset behind this record may be committed: this one and all before it have their effects or are parked.
    Store(usize),
    /// Wait before it is tried again.
    Wait(Fault),
    /// Find the first record of each parked key whose turn it is.
    FindDue,
    /// Hand this head to the handler, alone.
    Try(usize),
    /// The head has its effect: it is parked no more.
    Unpark(usize),
    /// The head failed again: its next turn comes later.
    Postpone(usize),
    /// Begin nothing any more.
    Stop,
}

/// A part of the batch: a failing one is halved until the record at fault is alone.
#[derive(Debug)]
struct Part {
    free: Vec<usize>,
    /// Records of keys that were parked when the part began.
    behind: VecDeque<usize>,
    /// Behind this record the next part begins.
    last: usize,
    /// Failures of its only record.
    failures: i32,
}

/// The heads of one round.
#[derive(Debug, Default)]
struct Round {
    due: usize,
    moved: bool,
}

/// A lane's state between inputs.
#[derive(Debug)]
pub(crate) struct LanePlanner<K> {
    asked: Output,
    parked: HashSet<K>,
    keys: Vec<K>,
    part: Option<Part>,
    parts: VecDeque<Part>,
    round: Round,
}

impl<K: Clone + Eq + Hash> LanePlanner<K> {
    pub(crate) fn new() -> Self {
        Self {
            asked: Output::LoadParked,
            parked: HashSet::new(),
            keys: Vec::new(),
            part: None,
            parts: VecDeque::new(),
            round: Round::default(),
        }
    }

    /// What it waits for.
    pub(crate) fn asked(&self) -> &Output {
        &self.asked
    }

    /// Keys that have parked records.
    pub(crate) fn parked(&self) -> usize {
        self.parked.len()
    }

    pub(crate) fn on(&mut self, input: Input<K>) -> &Output {
        // What is no answer to it leaves it asked for.
        if let Some(output) = self.next_after(input) {
            self.asked = output;
        }
        &self.asked
    }

    fn next_after(&mut self, input: Input<K>) -> Option<Output> {
        let output = match (&self.asked, input) {
            (Output::Stop, _) => return None,
            (_, Input::Revoked) => Output::Stop,
            (Output::LoadParked, Input::Parked(keys)) => {
                self.parked = keys;
                Output::Idle
            }
            (Output::Idle, Input::Batch(keys)) => {
                let last = keys.len().checked_sub(1)?;
                self.parts.push_back(Part::new((0..keys.len()).collect(), last));
                self.keys = keys;
                self.go_on()
            }
            (Output::Idle, Input::Tick) if !self.parked.is_empty() => Output::FindDue,
            (Output::Apply(_), Input::Done) => self.taken_in(),
            (Output::Apply(_), Input::Failed(fault)) => self.failed(fault),
            (Output::Queue(_) | Output::Store(_), Input::Done) | (Output::Wait(_), Input::Tick) => {
                self.go_on()
            }
            (Output::Park(record), Input::Done) => {
                self.parked.insert(self.keys[*record].clone());
                self.taken_in()
            }
            (Output::FindDue, Input::Due(due)) => {
                self.round = Round { due, moved: false };
                self.try_from(0)
            }
            (Output::Try(head), Input::Done) => {
                self.round.moved = true;
                Output::Unpark(*head)
            }
            (Output::Try(head), Input::Failed(Fault::Record)) => Output::Postpone(*head),
            (Output::Try(head), Input::Failed(Fault::Transient))
            | (Output::Unpark(head) | Output::Postpone(head), Input::Done) => self.try_from(head + 1),
            _ => return None,
        };
        Some(output)
    }

    fn go_on(&mut self) -> Output {
        if self.part.is_none() {
            let Some(mut part) = self.parts.pop_front() else { return Output::Idle };
            // Only now: a key may have been parked by the part before.
            if !self.parked.is_empty() {
                let is_parked = |record: &mut usize| self.parked.contains(&self.keys[*record]);
                part.behind = part.free.extract_if(.., is_parked).collect();
            }
            self.part = Some(part);
        }
        match &mut self.part {
            None => Output::Idle,
            Some(part) => match part.behind.pop_front() {
                Some(record) => Output::Queue(record),
                None if part.free.is_empty() => self.taken_in(),
                None => Output::Apply(part.free.clone()),
            },
        }
    }

    // All of the part is committed: the handler's effects, and before them what waits behind parked keys.
    fn taken_in(&mut self) -> Output {
        self.part.take().map_or(Output::Idle, |part| Output::Store(part.last))
    }

    fn failed(&mut self, fault: Fault) -> Output {
        let Some(part) = &mut self.part else { return Output::Idle };
        if fault == Fault::Transient {
            return Output::Wait(fault);
        }
        if let [record] = part.free[..] {
            part.failures += 1;
            return if part.failures < TRIES { Output::Wait(fault) } else { Output::Park(record) };
        }
        let last = part.last;
        let second = part.free.split_off(part.free.len() / 2);
        let first = std::mem::take(&mut part.free);
        // What waits behind its key was queued before both halves, so no offset leaves it out.
        let end = first.last().copied().unwrap_or(last);
        self.parts.push_front(Part::new(second, last));
        self.parts.push_front(Part::new(first, end));
        self.part = None;
        self.go_on()
    }

    // Each key on its own. What waited behind a head that went through is the next head of its key; in the end the keys
    // are asked for, since an operator may have discarded some.
    fn try_from(&self, head: usize) -> Output {
        if head < self.round.due {
            Output::Try(head)
        } else if self.round.moved {
            Output::FindDue
        } else {
            Output::LoadParked
        }
    }
}

impl Part {
    const fn new(free: Vec<usize>, last: usize) -> Self {
        Self { free, behind: VecDeque::new(), last, failures: 0 }
    }
}

#[cfg(test)]
mod model;

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: Input<&str> = Input::Failed(Fault::Record);
    const TRANSIENT: Input<&str> = Input::Failed(Fault::Transient);

    // A planner that knows its parked keys and was given a batch.
    fn lane(parked: &[&'static str], batch: &[&'static str]) -> LanePlanner<&'static str> {
        let mut lane = LanePlanner::new();
        assert_eq!(lane.asked(), &Output::LoadParked);
        assert_eq!(lane.on(Input::Parked(parked.iter().copied().collect())), &Output::Idle);
        lane.on(Input::Batch(batch.to_vec()));
        lane
    }

    #[test]
    fn the_offset_comes_after_the_commit() {
        let mut lane = lane(&[], &["a", "b"]);
        assert_eq!(lane.asked(), &Output::Apply(vec![0, 1]));
        assert_eq!(lane.on(Input::Done), &Output::Store(1));
        assert_eq!(lane.on(Input::Done), &Output::Idle);
    }

    #[test]
    fn a_failing_batch_is_halved_and_its_culprit_parked() {
        let mut lane = lane(&[], &["a", "b", "a", "b"]);
        assert_eq!(lane.on(RECORD), &Output::Apply(vec![0, 1]));
        assert_eq!(lane.on(RECORD), &Output::Apply(vec![0]));
        for _ in 1..TRIES {
            assert_eq!(lane.on(RECORD), &Output::Wait(Fault::Record));
            assert_eq!(lane.on(Input::Tick), &Output::Apply(vec![0]));
        }
        assert_eq!(lane.on(RECORD), &Output::Park(0));
        assert_eq!(lane.on(Input::Done), &Output::Store(0));
        assert_eq!(lane.on(Input::Done), &Output::Apply(vec![1]));
        assert_eq!(lane.on(Input::Done), &Output::Store(1));
        // What comes later of the key waits behind it.
        assert_eq!(lane.on(Input::Done), &Output::Queue(2));
        assert_eq!(lane.on(Input::Done), &Output::Apply(vec![3]));
        assert_eq!(lane.on(Input::Done), &Output::Store(3));
        assert_eq!(lane.on(Input::Done), &Output::Idle);
    }

    #[test]
    fn what_waits_behind_its_key_is_queued_first_and_covered_by_the_halves() {
        let mut lane = lane(&["a"], &["b", "a", "c", "a"]);
        assert_eq!(lane.asked(), &Output::Queue(1));
        assert_eq!(lane.on(Input::Done), &Output::Queue(3));
        assert_eq!(lane.on(Input::Done), &Output::Apply(vec![0, 2]));
        assert_eq!(lane.on(RECORD), &Output::Apply(vec![0]));
        assert_eq!(lane.on(Input::Done), &Output::Store(0));
        assert_eq!(lane.on(Input::Done), &Output::Apply(vec![2]));
        assert_eq!(lane.on(Input::Done), &Output::Store(3));
    }

    #[test]
    fn the_surroundings_are_never_a_records_fault() {
        let mut lane = lane(&[], &["a"]);
        for _ in 0..10 * TRIES {
            assert_eq!(lane.on(TRANSIENT), &Output::Wait(Fault::Transient));
            assert_eq!(lane.on(Input::Tick), &Output::Apply(vec![0]));
        }
        // Nor do they give it more tries.
        assert_eq!(lane.on(RECORD), &Output::Wait(Fault::Record));
        lane.on(Input::Tick);
        lane.on(TRANSIENT);
        lane.on(Input::Tick);
        assert_eq!(lane.on(RECORD), &Output::Wait(Fault::Record));
        lane.on(Input::Tick);
        assert_eq!(lane.on(RECORD), &Output::Park(0));
    }

    #[test]
    fn parked_keys_are_tried_one_by_one_until_none_moves() {
        let mut lane = LanePlanner::new();
        lane.on(Input::Parked(["a", "b", "c"].into()));
        assert_eq!(lane.on(Input::Tick), &Output::FindDue);
        assert_eq!(lane.on(Input::Due(3)), &Output::Try(0));
        assert_eq!(lane.on(Input::Done), &Output::Unpark(0));
        assert_eq!(lane.on(Input::Done), &Output::Try(1));
        assert_eq!(lane.on(RECORD), &Output::Postpone(1));
        assert_eq!(lane.on(Input::Done), &Output::Try(2));
        assert_eq!(lane.on(TRANSIENT), &Output::FindDue);
        assert_eq!(lane.on(Input::Due(1)), &Output::Try(0));
        assert_eq!(lane.on(TRANSIENT), &Output::LoadParked);
        assert_eq!(lane.on(Input::Parked(["b"].into())), &Output::Idle);
        assert_eq!(lane.parked(), 1);
    }

    #[test]
    fn without_parked_keys_a_tick_asks_nobody() {
        let mut lane = LanePlanner::new();
        lane.on(Input::Parked(HashSet::new()));
        assert_eq!(lane.on(Input::Tick), &Output::Idle);
        assert_eq!(lane.on(Input::Batch(vec!["a"])), &Output::Apply(vec![0]));
    }

    #[test]
    fn a_revoked_lane_begins_nothing() {
        let mut lane = lane(&[], &["a", "b"]);
        // What was committed meanwhile counts.
        assert_eq!(lane.on(Input::Done), &Output::Store(1));
        lane.on(Input::Done);
        assert_eq!(lane.on(Input::Revoked), &Output::Stop);
        assert_eq!(lane.on(Input::Batch(vec!["a"])), &Output::Stop);
    }
}
