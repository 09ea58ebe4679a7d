//! Lanes of one partition, one after the other and at the same time, over one log and one database.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{
    Checked,
    database::Database,
    schedule::{Fate, Flaw, Record, Schedule, Step},
};
use crate::lane_planner::{Input, LanePlanner, Output};

/// A lane as its worker runs it: the planner, and what was asked for last.
struct Lane {
    planner: LanePlanner<usize>,
    // The next record to fetch.
    next: usize,
    batch: Vec<usize>,
    heads: Vec<usize>,
    // It is carried out, and the planner does not know yet.
    ended: Option<Input<usize>>,
    stored: usize,
    // It heard that the partition is gone.
    stops: bool,
    // The last record of the part that failed last.
    failed: usize,
}

impl Lane {
    fn at(offset: usize) -> Self {
        Self {
            planner: LanePlanner::new(),
            next: offset,
            batch: Vec::new(),
            heads: Vec::new(),
            ended: None,
            stored: offset,
            stops: false,
            failed: 0,
        }
    }

    fn is_over(&self) -> bool {
        *self.planner.asked() == Output::Stop
    }

    fn is_resting(&self) -> bool {
        *self.planner.asked() == Output::Idle && self.ended.is_none()
    }

    // What is begun goes on; a rest or a wait ends at once.
    fn stop(&mut self) {
        self.stops = true;
        if matches!(self.planner.asked(), Output::Idle | Output::Wait(_)) {
            self.ended = None;
            self.planner.on(Input::Revoked);
        }
    }

    fn hear(&mut self, input: Input<usize>, flaw: Flaw) {
        if let (Output::Apply(places), Input::Failed(_)) = (self.planner.asked(), &input) {
            self.failed = places.last().copied().unwrap_or(0);
        }
        let mut asked = self.planner.on(input).clone();
        while let Output::Store(place) = asked {
            let place = if flaw == Flaw::StoreOverHalf { place.max(self.failed) } else { place };
            self.stored = self.batch[place] + 1;
            asked = self.planner.on(Input::Done).clone();
        }
        if self.stops {
            self.planner.on(Input::Revoked);
        } else if let Output::Apply(places) = asked
            && flaw == Flaw::OffsetBeforeCommit
        {
            self.stored = places.last().map_or(self.stored, |place| self.batch[*place] + 1);
        }
    }
}

pub(super) struct World {
    flaw: Flaw,
    log: Vec<Record>,
    database: Database,
    owner: Option<Lane>,
    // Lanes that are not the partition's any more and have not ended.
    others: Vec<Lane>,
    committed: usize,
}

impl World {
    pub(super) fn new(schedule: &Schedule, flaw: Flaw) -> Self {
        Self {
            flaw,
            log: schedule.log.clone(),
            database: Database::new(flaw, schedule.collapse, &schedule.ill),
            owner: None,
            others: Vec::new(),
            committed: 0,
        }
    }

    pub(super) fn take(&mut self, step: Step) -> Checked {
        match step {
            Step::Act { lane, fate, records } => self.act(lane, fate, records)?,
            Step::Commit => self.commit()?,
            Step::Kill => self.owner = None,
            Step::Lose => self.lose(true),
            Step::Expel => self.lose(false),
            Step::Notice => {
                if let Some(lane) = self.others.iter_mut().find(|lane| !lane.stops) {
                    lane.stop();
                }
            }
            Step::Revoke { ends } => self.revoke(ends)?,
            Step::Assign => {
                self.owner.get_or_insert_with(|| Lane::at(self.committed));
            }
            Step::Turn(number) => {
                let fact = self.log[number % self.log.len()].fact;
                if !self.database.ill.remove(&fact) {
                    self.database.ill.insert(fact);
                }
            }
            Step::Time => self.database.make_due(),
        }
        self.others.retain(|lane| !lane.is_over());
        Ok(())
    }

    fn lose(&mut self, hears: bool) {
        if let Some(mut lane) = self.owner.take() {
            if hears {
                lane.stop();
            }
            self.others.push(lane);
        }
    }

    fn revoke(&mut self, ends: bool) -> Checked {
        let Some(owner) = &mut self.owner else { return Ok(()) };
        owner.stop();
        while ends && self.owner.as_ref().is_some_and(|owner| !owner.is_over()) {
            self.act(0, Fate::Fine, 0)?;
        }
        self.commit()?;
        self.others.extend(self.owner.take());
        Ok(())
    }

    fn commit(&mut self) -> Checked {
        let Some(owner) = &self.owner else { return Ok(()) };
        self.committed = owner.stored;
        for (offset, record) in self.log[..self.committed].iter().enumerate() {
            prop_assert!(
                self.database.is_kept(*record),
                "{record:?} at {offset} is lost behind the offset {}",
                self.committed
            );
        }
        Ok(())
    }

    fn act(&mut self, which: usize, fate: Fate, records: usize) -> Checked {
        let lane = match which.checked_sub(1) {
            None => self.owner.as_mut(),
            Some(other) => self.others.get_mut(other),
        };
        let Some(lane) = lane else { return Ok(()) };
        if let Some(input) = lane.ended.take() {
            lane.hear(input, self.flaw);
            return Ok(());
        }
        lane.ended = carry_out(lane, &mut self.database, (&self.log, self.flaw), fate, records)?;
        Ok(())
    }

    // Everybody but a last owner comes to an end. First nothing heals, and only ill facts hold their keys up; then
    // everything does, and everything must have its effect.
    pub(super) fn settle(mut self) -> Checked {
        for lane in 0..self.others.len() {
            self.others[lane].stop();
            while !self.others[lane].is_over() {
                self.act(1 + lane, Fate::Fine, 0)?;
            }
        }
        self.take(Step::Assign)?;
        self.run_to_the_end()?;
        let ill: BTreeSet<usize> = self
            .log
            .iter()
            .filter(|record| self.database.ill.contains(&record.fact))
            .map(|record| record.key)
            .collect();
        self.check_effects(|key| !ill.contains(&key))?;
        self.database.ill.clear();
        // A new one knows also of what another one parked that had lost the partition.
        self.take(Step::Kill)?;
        self.take(Step::Assign)?;
        self.run_to_the_end()?;
        self.check_effects(|_| true)?;
        prop_assert!(self.database.parked_keys().is_empty(), "something stays parked");
        let held = self.owner.map_or(0, |owner| owner.planner.parked());
        prop_assert_eq!(held, 0, "a key without parked records is held up");
        Ok(())
    }

    // Until the log is read and everything parked had its turn.
    fn run_to_the_end(&mut self) -> Checked {
        let mut acts = 0;
        for records in [3, 0] {
            self.database.make_due();
            while let Some(owner) = &self.owner {
                let is_read = records == 0 || owner.next == self.log.len();
                if owner.is_resting() && is_read {
                    break;
                }
                acts += 1;
                prop_assert!(acts < 5_000, "it does not come to an end: {:?}", owner.planner);
                self.act(0, Fate::Fine, records)?;
            }
            // With a tick at last.
            self.act(0, Fate::Fine, 0)?;
        }
        while self.owner.as_ref().is_some_and(|owner| !owner.is_resting()) {
            acts += 1;
            prop_assert!(acts < 5_000, "parked records do not come to an end");
            self.act(0, Fate::Fine, 3)?;
        }
        self.commit()?;
        prop_assert_eq!(self.committed, self.log.len(), "the offset stops");
        Ok(())
    }

    fn check_effects(&self, is_due: impl Fn(usize) -> bool) -> Checked {
        for record in self.log.iter().filter(|record| is_due(record.key)) {
            prop_assert!(self.database.has_effect(*record), "{record:?} has no effect");
        }
        Ok(())
    }
}

// None while it is asked for again.
fn carry_out(
    lane: &mut Lane,
    database: &mut Database,
    (log, flaw): (&[Record], Flaw),
    fate: Fate,
    records: usize,
) -> Result<Option<Input<usize>>, TestCaseError> {
    let fails = fate == Fate::Fails;
    let ended = match lane.planner.asked().clone() {
        Output::LoadParked | Output::FindDue if fate != Fate::Fine => return Ok(None),
        Output::LoadParked if flaw == Flaw::ForgetsParked => Input::Parked(Default::default()),
        Output::LoadParked => Input::Parked(database.parked_keys().into_iter().collect()),
        Output::Idle if records == 0 => Input::Tick,
        Output::Idle => {
            lane.batch = (lane.next..log.len().min(lane.next + records)).collect();
            lane.next += lane.batch.len();
            lane.failed = 0;
            Input::Batch(lane.batch.iter().map(|offset| log[*offset].key).collect())
        }
        Output::Wait(_) => Input::Tick,
        Output::Apply(places) => {
            let part: Vec<Record> = places.iter().map(|place| log[lane.batch[*place]]).collect();
            database.apply(&part, fate)?.map_or_else(Input::Failed, |()| Input::Done)
        }
        Output::FindDue => {
            lane.heads = database.due();
            Input::Due(lane.heads.len())
        }
        Output::Try(head) => {
            database.apply(&[log[lane.heads[head]]], fate)?.map_or_else(Input::Failed, |()| Input::Done)
        }
        _ if fails => return Ok(None),
        Output::Queue(_) if flaw == Flaw::NotQueued => Input::Done,
        Output::Queue(place) if flaw == Flaw::NotBehind => {
            let _ = database.apply(&[log[lane.batch[place]]], fate)?;
            Input::Done
        }
        output => {
            match output {
                Output::Queue(place) => database.queue(lane.batch[place], log[lane.batch[place]], fate),
                Output::Park(place) => database.park(lane.batch[place], log[lane.batch[place]]),
                Output::Unpark(head) => database.unpark(lane.heads[head]),
                Output::Postpone(head) => database.postpone(lane.heads[head]),
                _ => return Ok(None),
            }
            if fate == Fate::Unknown {
                return Ok(None);
            }
            Input::Done
        }
    };
    Ok(Some(ended))
}
