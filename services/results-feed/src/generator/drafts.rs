use std::collections::{BTreeMap, HashMap};

use domain::NaiveDate;

use super::{
    Options,
    bodies::{self, Shown},
    plan::{Plan, Step},
    programme::{MEDALS, Medal, Programme, Unit},
    random::Random,
    xml::Xml,
};
use crate::document_type::ResultStatus;

/// A document before it has a version.
#[derive(Debug, Clone)]
pub struct Draft {
    /// When it is sent, in milliseconds after the day's midnight.
    pub at: i64,
    /// Such as `DT_RESULT`.
    pub document_type: &'static str,
    /// Its code.
    pub code: String,
    /// Where the type has one.
    pub status: Option<ResultStatus>,
    /// What is inside `Competition`.
    pub body: String,
    /// Of a discipline, or `GLO`: whose system sends it.
    pub sender: String,
    /// Where it stands in the life of its unit.
    pub moment: Moment,
}

/// Where a result stands in the life of its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// No result.
    Other,
    /// The first version.
    StartList,
    /// The version `nth` of `of` that are live.
    Live(usize, usize),
    /// All marks.
    Unofficial,
    /// They stand.
    Official,
}

/// The drafts of a programme, in order.
#[derive(Debug)]
pub struct Drafts {
    programme: Programme,
    plan: Plan,
    next: usize,
    medals: BTreeMap<String, [u32; 3]>,
    medallists: HashMap<String, Vec<(Medal, String)>>,
}

impl Drafts {
    /// Of a programme.
    #[must_use]
    pub fn new(mut programme: Programme, options: &Options) -> Self {
        let mut random = Random::new(options.seed ^ 0x6a09_e667_f3bc_c908);
        let plan = Plan::new(&mut programme, &mut random, options.keep_alive, options.faults);
        let medals = programme.medals_before.clone();
        Self { programme, plan, next: 0, medals, medallists: HashMap::new() }
    }

    /// The logical day.
    #[must_use]
    pub const fn day(&self) -> NaiveDate {
        self.programme.day
    }

    /// Days since it all began; 0 before.
    #[must_use]
    pub fn day_number(&self) -> u32 {
        u32::try_from((self.programme.day - self.programme.first_day).num_days()).unwrap_or_default()
    }

    fn draft(&mut self, at: i64, step: Step) -> Option<Draft> {
        match step {
            Step::GoodMorning => Some(global("DT_GLOBAL_GM", at, String::new())),
            Step::GoodNight => Some(global("DT_GLOBAL_GN", at, String::new())),
            Step::LocalOn(place) => self.venue("DT_LOCAL_ON", place, at),
            Step::KeepAlive(place) => self.venue("DT_KA", place, at),
            Step::LocalOff(place) => self.venue("DT_LOCAL_OFF", place, at),
            Step::Schedule(place) => self.discipline("DT_SCHEDULE", place, at),
            Step::Participants(place) => self.discipline("DT_PARTIC", place, at),
            Step::Teams(place) => self.discipline("DT_PARTIC_TEAMS", place, at),
            Step::Status(unit, status) => self.status(unit, status, at),
            Step::StartList(unit) => self.result(unit, at, Moment::StartList),
            Step::Live(unit, nth, of) => self.result(unit, at, Moment::Live(nth, of)),
            Step::Unofficial(unit) => self.result(unit, at, Moment::Unofficial),
            Step::Official(unit) => self.result(unit, at, Moment::Official),
            Step::Current(unit, nth, of) => {
                let unit = self.programme.units.get(unit)?;
                Some(Draft {
                    document_type: "DT_CURRENT",
                    ..of_unit(unit, at, bodies::current(unit, nth, of))
                })
            }
            Step::Medallists(unit) => self.medallists(unit, at),
            Step::Medals(unit) => self.standings(unit, at),
        }
    }

    fn venue(&self, document_type: &'static str, place: usize, at: i64) -> Option<Draft> {
        let (venue, discipline) = self.plan.venues.get(place)?;
        let code = format!("{discipline}{:-<23}{venue:-<8}", "");
        Some(Draft { document_type, code, sender: discipline.clone(), ..global("", at, String::new()) })
    }

    fn discipline(&self, document_type: &'static str, place: usize, at: i64) -> Option<Draft> {
        let discipline = self.plan.disciplines.get(place)?;
        let body = match document_type {
            "DT_SCHEDULE" => self.schedule(discipline),
            "DT_PARTIC" => bodies::participants(&self.programme, discipline),
            _ => bodies::teams(&self.programme, discipline),
        };
        let code = format!("{discipline:-<34}");
        // A discipline without teams sends no empty document about them.
        let is_sent = !body.is_empty();
        is_sent.then(|| Draft { document_type, code, sender: discipline.clone(), ..global("", at, body) })
    }

    fn schedule(&self, discipline: &str) -> String {
        let mut xml = Xml::default();
        for (at, unit) in self.programme.units.iter().enumerate() {
            if unit.code.discipline() == discipline {
                let announced = self.plan.announced.filter(|(moved, ..)| *moved == at);
                let (start, end) = announced.map_or((unit.start, unit.end), |(_, start, end)| (start, end));
                bodies::unit(&mut xml, &self.programme, unit, "SCHEDULED", start, end);
            }
        }
        xml.finish()
    }

    fn status(&self, unit: usize, status: &'static str, at: i64) -> Option<Draft> {
        let unit = self.programme.units.get(unit)?;
        let mut xml = Xml::default();
        bodies::unit(&mut xml, &self.programme, unit, status, unit.start, unit.end);
        let discipline = unit.code.discipline().to_owned();
        Some(Draft {
            document_type: "DT_SCHEDULE_UPDATE",
            code: format!("{discipline:-<34}"),
            sender: discipline,
            ..global("", at, xml.finish())
        })
    }

    fn result(&self, unit: usize, at: i64, moment: Moment) -> Option<Draft> {
        let unit = self.programme.units.get(unit)?;
        let (shown, status) = match moment {
            Moment::StartList => (Shown::StartList, ResultStatus::StartList),
            Moment::Live(nth, of) => (Shown::Part(nth, of), ResultStatus::Live),
            Moment::Official => (Shown::All, ResultStatus::Official),
            Moment::Unofficial | Moment::Other => (Shown::All, ResultStatus::Unofficial),
        };
        Some(Draft { status: Some(status), moment, ..of_unit(unit, at, bodies::result(unit, shown)) })
    }

    fn medallists(&mut self, unit: usize, at: i64) -> Option<Draft> {
        let unit = self.programme.units.get(unit)?;
        let event = unit.code.sport_event();
        let known = self.medallists.entry(event.to_string()).or_default();
        known.extend(unit.medals.iter().map(|medal| (medal.clone(), unit.code.to_string())));
        Some(Draft {
            document_type: "DT_MEDALLISTS",
            code: event.to_string(),
            status: Some(ResultStatus::Official),
            ..of_unit(unit, at, bodies::medallists(self.programme.day, known))
        })
    }

    fn standings(&mut self, unit: usize, at: i64) -> Option<Draft> {
        for medal in &self.programme.units.get(unit)?.medals {
            if let Some(place) = MEDALS.iter().position(|name| *name == medal.medal) {
                self.medals.entry(medal.noc.clone()).or_default()[place] += 1;
            }
        }
        Some(global("DT_MEDALS", at, bodies::standings(&self.medals)))
    }
}

impl Iterator for Drafts {
    type Item = Draft;

    fn next(&mut self) -> Option<Draft> {
        loop {
            let (at, step) = *self.plan.steps.get(self.next)?;
            self.next += 1;
            if let Some(draft) = self.draft(at, step) {
                return Some(draft);
            }
        }
    }
}

fn global(document_type: &'static str, at: i64, body: String) -> Draft {
    Draft {
        at,
        document_type,
        code: format!("{:-<34}", "GLO"),
        status: None,
        body,
        sender: "GLO".to_owned(),
        moment: Moment::Other,
    }
}

fn of_unit(unit: &Unit, at: i64, body: String) -> Draft {
    Draft {
        document_type: "DT_RESULT",
        code: unit.code.to_string(),
        sender: unit.code.discipline().to_owned(),
        ..global("", at, body)
    }
}
