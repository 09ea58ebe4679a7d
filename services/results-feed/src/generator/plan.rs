use std::collections::BTreeMap;

use super::{
    programme::{MINUTE, Order, Programme, Unit},
    random::Random,
};

/// Versions with status LIVE of a unit, at least and at most.
const FEWEST_LIVE: usize = 4;
/// See [`FEWEST_LIVE`].
const MOST_LIVE: usize = 12;
/// Where a unit that is put off begins, so that it ends after midnight.
const LATE_START: i64 = (23 * 60 + 55) * MINUTE;
/// And how long it takes.
const LATE_LENGTH: i64 = 20 * MINUTE;
/// From an official result to its medals, where nobody knows better.
const TO_MEDALS: i64 = MINUTE;

/// What is sent at some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The day begins.
    GoodMorning,
    /// The units of a discipline, by its place in [`Plan::disciplines`].
    Schedule(usize),
    /// Who takes part in it.
    Participants(usize),
    /// Its teams.
    Teams(usize),
    /// A venue begins with a discipline, by their place in [`Plan::venues`].
    LocalOn(usize),
    /// It is still there.
    KeepAlive(usize),
    /// It ends.
    LocalOff(usize),
    /// The day ends.
    GoodNight,
    /// A unit's status.
    Status(usize, &'static str),
    /// Who starts.
    StartList(usize),
    /// The state of play before the version `nth` of `of`.
    Current(usize, usize, usize),
    /// The version `nth` of `of`, from 1.
    Live(usize, usize, usize),
    /// All marks.
    Unofficial(usize),
    /// They stand.
    Official(usize),
    /// Who has the medals of the event.
    Medallists(usize),
    /// The standings of all sports.
    Medals(usize),
}

/// What is sent, and when.
#[derive(Debug)]
pub struct Plan {
    /// In order; milliseconds after midnight.
    pub steps: Vec<(i64, Step)>,
    /// Venues, each with a discipline.
    pub venues: Vec<(String, String)>,
    /// Three characters each.
    pub disciplines: Vec<String>,
    /// Start and end that the schedule has for a unit that is put off.
    pub announced: Option<(usize, i64, i64)>,
}

impl Plan {
    /// Of a programme. With `rolls` one unit is put off beyond midnight, in the programme too.
    pub fn new(programme: &mut Programme, random: &mut Random, keep_alive: u32, rolls: bool) -> Self {
        let announced = if rolls { put_off(&mut programme.units) } else { None };
        let mut steps = Vec::new();
        if let Some((unit, start, _)) = announced {
            steps.push((start - 30 * MINUTE, Step::Status(unit, "RESCHEDULED")));
        }
        let mut plan = Self { steps, venues: Vec::new(), disciplines: Vec::new(), announced };
        let mut open: BTreeMap<(String, String), (i64, i64)> = BTreeMap::new();
        for (at, unit) in programme.units.iter().enumerate() {
            let end = plan.unit(at, unit, random);
            let start =
                announced.filter(|(moved, ..)| *moved == at).map_or(unit.start, |(_, start, _)| start);
            let place = (unit.venue.clone(), unit.code.discipline().to_owned());
            let (first, last) = open.entry(place).or_insert((start, end));
            *first = start.min(*first);
            *last = end.max(*last);
        }
        plan.frame(open, keep_alive);
        plan.steps.sort_by_key(|(at, _)| *at);
        plan
    }

    // Gives the time of its last document.
    fn unit(&mut self, at: usize, unit: &Unit, random: &mut Random) -> i64 {
        let (start, end) = (unit.start, unit.end);
        if unit.is_cancelled {
            self.steps.push((start - 20 * MINUTE, Step::Status(at, "CANCELLED")));
            return start;
        }
        let mut send = |when: i64, step: Step| self.steps.push((when, step));
        send(start - 10 * MINUTE, Step::Status(at, "GETTING_READY"));
        send(start, Step::Status(at, "RUNNING"));
        send(end, Step::Status(at, "FINISHED"));
        let official = end + 4 * MINUTE;
        if !unit.rows.is_empty() {
            send(start - 9 * MINUTE, Step::StartList(at));
            let from = if unit.order == Order::Race { start + (end - start) / 2 } else { start + 2_000 };
            let of = unit.rows.len().clamp(FEWEST_LIVE, MOST_LIVE);
            let pause = ((end - from) / i64::try_from(of + 1).unwrap_or(i64::MAX)).max(10);
            for nth in 1..=of {
                let jitter = random.below(usize::try_from(pause / 2).unwrap_or(1));
                let when = from + pause * i64::try_from(nth).unwrap_or_default();
                let when = when + i64::try_from(jitter).unwrap_or_default();
                send(when - pause / 4, Step::Current(at, nth, of));
                send(when, Step::Live(at, nth, of));
            }
            send(end + 5_000, Step::Unofficial(at));
            send(official, Step::Official(at));
        }
        if unit.medals.is_empty() {
            return official;
        }
        let medals = unit.medals_at.unwrap_or(official + TO_MEDALS).max(official + 1_000);
        send(medals, Step::Medallists(at));
        send(medals + 1_000, Step::Medals(at));
        medals + 1_000
    }

    fn frame(&mut self, open: BTreeMap<(String, String), (i64, i64)>, keep_alive: u32) {
        let begins = self.steps.iter().map(|(at, _)| *at).min().unwrap_or(12 * 60 * MINUTE);
        let begins = open.values().map(|(first, _)| *first).min().unwrap_or(begins).min(begins) - 60 * MINUTE;
        self.steps.push((begins, Step::GoodMorning));
        self.disciplines = open.keys().map(|(_, discipline)| discipline.clone()).collect();
        self.disciplines.sort_unstable();
        self.disciplines.dedup();
        let mut when = begins;
        for discipline in 0..self.disciplines.len() {
            for step in [Step::Schedule(discipline), Step::Participants(discipline), Step::Teams(discipline)]
            {
                when += 300;
                self.steps.push((when, step));
            }
        }
        let mut ends = when;
        for (at, (place, (first, last))) in open.into_iter().enumerate() {
            let (on, off) = ((first - 40 * MINUTE).max(when), last + 5 * MINUTE);
            self.steps.push((on, Step::LocalOn(at)));
            self.steps.push((off, Step::LocalOff(at)));
            let pause = i64::from(keep_alive) * 1_000;
            if pause > 0 {
                // Not all in one moment: every venue has its own clock.
                let first = on + pause - i64::try_from(at % 20).unwrap_or_default() * pause / 20;
                let beats = (first..off).step_by(usize::try_from(pause).unwrap_or(usize::MAX));
                self.steps.extend(beats.map(|beat| (beat, Step::KeepAlive(at))));
            }
            self.venues.push(place);
            ends = ends.max(off);
        }
        self.steps.push((ends + MINUTE, Step::GoodNight));
    }
}

// The last unit of which something is known.
fn put_off(units: &mut [Unit]) -> Option<(usize, i64, i64)> {
    let known = units.iter().enumerate().filter(|(_, unit)| !unit.rows.is_empty() && !unit.is_cancelled);
    let (at, _) = known.max_by_key(|(_, unit)| unit.end)?;
    let unit = units.get_mut(at)?;
    let announced = (at, unit.start, unit.end);
    if unit.start >= LATE_START {
        return None;
    }
    (unit.start, unit.end, unit.medals_at) = (LATE_START, LATE_START + LATE_LENGTH, None);
    Some(announced)
}
