//! A leader, those that lost their lease, and the log, over one database.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;

use super::{
    Checked,
    database::{Database, Row, Transaction},
    schedule::{Flaw, KEYS, OPEN, PARTITIONS, Script, Step},
};
use crate::planner::{Input, Mark, Output, Planner};

#[derive(Debug, Clone, Copy)]
enum Why {
    Turn,
    Fence(usize),
}

type Queues = [VecDeque<(Row, Why)>; PARTITIONS];
type Range = (Mark, Mark);

fn partition(row: &Row) -> usize {
    row.key % PARTITIONS
}

/// A leader: the planner and what it has asked for.
struct Relay {
    planner: Planner,
    wanted: Option<(Mark, i64)>,
    page: Option<(Vec<Row>, bool)>,
    sent: Queues,
    acknowledged: Queues,
    // Unacknowledged records of the fences that it sends again.
    fenced: BTreeMap<usize, usize>,
    highest: Mark,
}

impl Relay {
    fn behind(cursor: Mark) -> Self {
        Self {
            planner: Planner::new(cursor),
            wanted: None,
            page: None,
            sent: Queues::default(),
            acknowledged: Queues::default(),
            fenced: BTreeMap::new(),
            highest: cursor,
        }
    }

    fn send(&mut self, row: Row, why: Why) {
        self.sent[partition(&row)].push_back((row, why));
    }
}

/// One that lost its lease and has not said so yet.
struct Late {
    sent: Queues,
    fences: Vec<Range>,
}

pub(super) struct World {
    flaw: Flaw,
    database: Database,
    waiting: VecDeque<Transaction>,
    open: Vec<Transaction>,
    relay: Relay,
    late: VecDeque<Late>,
    saved: Mark,
    // None when it is closed.
    fences: Vec<Option<Range>>,
    log: [Vec<Row>; PARTITIONS],
    // For the flaw of a page that is older than its horizon.
    old: Option<BTreeMap<Mark, Row>>,
}

impl World {
    pub(super) fn new(scripts: &[Script], flaw: Flaw) -> Self {
        let mut world = Self {
            flaw,
            database: Database::default(),
            waiting: scripts.iter().map(Transaction::new).collect(),
            open: Vec::new(),
            relay: Relay::behind(Mark::default()),
            late: VecDeque::new(),
            saved: Mark::default(),
            fences: Vec::new(),
            log: Default::default(),
            old: None,
        };
        world.begin_more();
        world
    }

    fn begin_more(&mut self) {
        while self.open.len() < OPEN
            && let Some(next) = self.waiting.pop_front()
        {
            self.open.push(next);
        }
    }

    pub(super) fn take(&mut self, step: Step) -> Checked {
        match step {
            Step::Write(which) => self.write(which).map(drop)?,
            Step::TakeHorizon => self.take_horizon(),
            Step::ReadPage(limit) => self.read_page(limit),
            Step::AnswerPage => self.answer_page(),
            Step::Land(partition) => self.land(partition),
            Step::Acknowledge(partition) => self.acknowledge(partition),
            Step::Tick => self.tick()?,
            Step::Tend => self.tend(),
            Step::Kill(arrive) => self.kill(arrive),
            Step::LoseLease => self.lose_lease()?,
            Step::LandLate(partition) => {
                let late = self.late.front_mut().and_then(|late| late.sent[partition].pop_front());
                self.log[partition].extend(late.map(|(row, _)| row));
            }
            Step::WriteFence => {
                let fences = self.late.pop_front().map_or(Vec::new(), |late| late.fences);
                if self.flaw != Flaw::NoFence {
                    self.fences.extend(fences.into_iter().map(Some));
                }
            }
        }
        Ok(())
    }

    // False when nothing could be done.
    fn write(&mut self, which: usize) -> Result<bool, TestCaseError> {
        let Some(transaction) = self.open.get_mut(which) else { return Ok(false) };
        let advanced = self.database.advance(transaction, self.flaw);
        if !transaction.acts.is_empty() {
            return Ok(advanced);
        }
        let ended = self.open.swap_remove(which);
        self.begin_more();
        let read = self.relay.planner.read_up_to();
        for row in ended.rows.iter().filter(|_| ended.commits) {
            prop_assert!(row.mark > self.saved, "{row:?} appears before the saved cursor {:?}", self.saved);
            prop_assert!(row.mark > read, "{row:?} appears in what was read already, up to {read:?}");
        }
        Ok(true)
    }

    fn take_horizon(&mut self) {
        if self.flaw == Flaw::HorizonAfterPage {
            self.old.get_or_insert_with(|| self.database.rows.clone());
            return;
        }
        self.want(self.database.horizon());
    }

    fn want(&mut self, horizon: i64) {
        if let Some(Output::Read { after, below }) = self.relay.planner.on(Input::Horizon(horizon)) {
            self.relay.wanted = Some((after, below));
        }
    }

    fn read_page(&mut self, limit: usize) {
        if self.flaw == Flaw::HorizonAfterPage {
            let Some(rows) = self.old.take() else { return };
            self.want(self.database.horizon());
            let Some((after, below)) = self.relay.wanted.take() else { return };
            let old = Database::of(rows);
            self.relay.page = Some(old.page(after, below, limit));
            return;
        }
        if let Some((after, below)) = self.relay.wanted.take() {
            self.relay.page = Some(self.database.page(after, below, limit));
        }
    }

    fn answer_page(&mut self) {
        let Some((rows, full)) = self.relay.page.take() else { return };
        let marks = rows.iter().map(|row| row.mark).collect();
        let full = full && self.flaw != Flaw::FullAsWhole;
        if let Some(Output::Produce(order)) = self.relay.planner.on(Input::Page { marks, full }) {
            for index in order {
                self.relay.send(rows[index], Why::Turn);
            }
        }
    }

    fn land(&mut self, partition: usize) {
        if let Some((row, why)) = self.relay.sent[partition].pop_front() {
            self.log[partition].push(row);
            self.relay.acknowledged[partition].push_back((row, why));
        }
    }

    fn acknowledge(&mut self, partition: usize) {
        match self.relay.acknowledged[partition].pop_front() {
            None => {}
            Some((row, Why::Turn)) => {
                self.relay.highest = self.relay.highest.max(row.mark);
                assert_eq!(self.relay.planner.on(Input::Acked(row.mark)), None);
            }
            Some((_, Why::Fence(fence))) => *self.relay.fenced.get_mut(&fence).unwrap() -= 1,
        }
    }

    fn tick(&mut self) -> Checked {
        let cursor = match self.relay.planner.on(Input::Tick) {
            _ if self.flaw == Flaw::CursorOverHole => self.relay.highest,
            Some(Output::Save(cursor)) => cursor,
            _ => return Ok(()),
        };
        prop_assert!(cursor >= self.saved, "the cursor goes back from {:?} to {cursor:?}", self.saved);
        self.saved = cursor;
        for row in self.database.rows.range(..=self.saved).map(|(_, row)| row) {
            prop_assert!(
                self.log[partition(row)].contains(row),
                "{row:?} is a hole before the cursor {:?}",
                self.saved
            );
        }
        Ok(())
    }

    // As the relay does it: all rows of the fence's keys from its begin to what was read.
    fn tend(&mut self) {
        let relay = &mut self.relay;
        for (fence, range) in self.fences.iter_mut().enumerate() {
            let Some((from, to)) = *range else { continue };
            match relay.fenced.get(&fence) {
                Some(0) => {
                    *range = None;
                    relay.fenced.remove(&fence);
                }
                Some(_) => {}
                None => {
                    let behind = |up_to| {
                        self.database.rows.values().filter(move |row| row.mark > from && row.mark <= up_to)
                    };
                    let keys: BTreeSet<usize> = behind(to).map(|row| row.key).collect();
                    let mut again: Vec<Row> = behind(relay.planner.read_up_to())
                        .filter(|row| keys.contains(&row.key))
                        .copied()
                        .collect();
                    again.sort_by_key(|row| row.mark.seq);
                    relay.fenced.insert(fence, again.len());
                    again.into_iter().for_each(|row| relay.send(row, Why::Fence(fence)));
                }
            }
        }
    }

    fn kill(&mut self, arrive: usize) {
        let dead = std::mem::replace(&mut self.relay, Relay::behind(self.saved));
        for (log, sent) in self.log.iter_mut().zip(dead.sent) {
            log.extend(sent.into_iter().take(arrive).map(|(row, _)| row));
        }
        self.old = None;
    }

    fn lose_lease(&mut self) -> Checked {
        let mut lost = std::mem::replace(&mut self.relay, Relay::behind(self.saved));
        self.old = None;
        let Some(Output::Stop { in_flight }) = lost.planner.on(Input::LeaseLost) else {
            return Err(TestCaseError::fail("a lost lease does not stop the planner"));
        };
        for row in lost.acknowledged.iter().flatten().map(|(row, _)| row) {
            prop_assert_eq!(lost.planner.on(Input::Acked(row.mark)), None);
        }
        prop_assert_eq!(lost.planner.on(Input::Tick), None);
        prop_assert_eq!(lost.planner.on(Input::Horizon(i64::MAX)), None);
        prop_assert!(!lost.planner.wants_horizon());
        let is_said = self.flaw != Flaw::NoSecondFence;
        let unfinished = lost.fenced.iter().filter(|(_, left)| is_said && **left > 0);
        let unfinished = unfinished.filter_map(|(fence, _)| self.fences[*fence]);
        let fences = in_flight.into_iter().chain(unfinished).collect();
        self.late.push_back(Late { sent: lost.sent, fences });
        Ok(())
    }

    // Everybody comes to an end, and then everything that was committed must have arrived.
    pub(super) fn settle(mut self) -> Checked {
        while !self.open.is_empty() {
            let mut advanced = false;
            for which in (0..self.open.len()).rev() {
                advanced |= self.write(which)?;
            }
            prop_assert!(advanced, "the writers wait for each other");
        }
        self.send_all()?;
        // As late as can be: one more record of those that lost their lease, and then what they say.
        for partition in 0..PARTITIONS {
            self.take(Step::LandLate(partition))?;
        }
        while !self.late.is_empty() {
            self.take(Step::WriteFence)?;
        }
        self.send_all()?;
        self.check_log()
    }

    fn send_all(&mut self) -> Checked {
        let last = self.database.rows.last_key_value().map_or(Mark::default(), |(mark, _)| *mark);
        let mut rounds = 0;
        while self.saved < last || self.fences.iter().any(Option::is_some) {
            rounds += 1;
            prop_assert!(rounds < 1_000, "it does not come to an end: {:?} of {last:?}", self.saved);
            for step in [Step::TakeHorizon, Step::ReadPage(3), Step::AnswerPage] {
                self.take(step)?;
            }
            for partition in 0..PARTITIONS {
                while !self.relay.sent[partition].is_empty() {
                    self.land(partition);
                }
                while !self.relay.acknowledged[partition].is_empty() {
                    self.acknowledge(partition);
                }
            }
            self.tick()?;
            self.tend();
        }
        Ok(())
    }

    fn check_log(&self) -> Checked {
        for key in 0..KEYS {
            let records: Vec<&Row> = self.log[key % PARTITIONS].iter().filter(|row| row.key == key).collect();
            let (mut seen, mut first) = (BTreeSet::new(), Vec::new());
            for row in &records {
                prop_assert_eq!(self.database.rows.get(&row.mark), Some(*row), "it was never committed");
                if seen.insert(row.version) {
                    first.push(row.version);
                }
            }
            let committed: Vec<i64> = (1..=self.database.versions[key]).collect();
            prop_assert_eq!(&first, &committed, "first deliveries of key {}", key);
            prop_assert_eq!(
                records.last().map(|row| row.version),
                committed.last().copied(),
                "the newest record"
            );
        }
        Ok(())
    }
}
