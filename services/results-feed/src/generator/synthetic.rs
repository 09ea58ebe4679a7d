use std::collections::BTreeMap;

use domain::NaiveDate;

use super::{
    programme::{Choice, MEDALS, MINUTE, Medal, Order, Programme, Refused, Row, Unit},
    random::Random,
};
use crate::rsc::Rsc;

/// The day where none is asked for.
pub const DAY: NaiveDate = NaiveDate::from_ymd_opt(2030, 8, 4).unwrap();
/// Units where no number is asked for.
const UNITS: usize = 12;
/// Most units: their numbers have four digits.
const MOST_UNITS: usize = 9_999;
/// Lanes of a race.
const LANES: usize = 8;
/// When the first units start, and how far apart those of one sport do.
const FIRST_START: i64 = 10 * 60 * MINUTE;
const APART: i64 = 10 * MINUTE;

const GIVEN_NAMES: [&str; 16] = [
    "Hayato", "Théo", "Marcus", "Dwight", "Kiprono", "Luca", "Owen", "Rafael", "Aiko", "Chloé", "Grace",
    "Shanice", "Wanjiru", "Giulia", "Maëlle", "Beatriz",
];
const FAMILY_NAMES: [&str; 16] = [
    "KITAMORI",
    "D'ARVILLE",
    "HOLLOWAY",
    "CAMPBELL-REID",
    "LAGAT",
    "FERRANTI",
    "MACRAE",
    "TEIXEIRA",
    "OKABE",
    "BEAUMONT",
    "SINCLAIR",
    "GORDON",
    "MUTISO",
    "BELLANDI",
    "ROUSSEL",
    "NOGUEIRA",
];
const NOCS: [&str; 8] = ["JPN", "FRA", "USA", "JAM", "KEN", "ITA", "CAN", "BRA"];

struct Sport {
    discipline: &'static str,
    gender: &'static str,
    event: &'static str,
    name: &'static str,
    heat: &'static str,
    venue: &'static str,
    order: Order,
    first_mark: u32,
    minutes: i64,
}

const SPORTS: [Sport; 3] = [
    Sport {
        discipline: "ATH",
        gender: "M",
        event: "100M",
        name: "Men's 100m",
        heat: "HEAT",
        venue: "STA",
        order: Order::Race,
        first_mark: 975,
        minutes: 2,
    },
    Sport {
        discipline: "SWM",
        gender: "W",
        event: "100MFR",
        name: "Women's 100m Freestyle",
        heat: "HEAT",
        venue: "AQC",
        order: Order::Race,
        first_mark: 5_200,
        minutes: 3,
    },
    Sport {
        discipline: "JUD",
        gender: "W",
        event: "57KG",
        name: "Women -57 kg",
        heat: "R32",
        venue: "BUD",
        order: Order::Match,
        first_mark: 0,
        minutes: 6,
    },
];
// A decathlon's key as it was seen in the open: 38 characters, so no RSC.
const BROKEN_DECATHLON: &str = "ATH_ATHMDECATH------------------------";

/// See [`super::synthetic`].
#[must_use]
pub fn programme(seed: u64, day: NaiveDate, choice: &Choice) -> Programme {
    let mut random = Random::new(seed);
    let sports: Vec<&Sport> = SPORTS
        .iter()
        .filter(|sport| choice.discipline.is_empty() || sport.discipline == choice.discipline)
        .collect();
    let count = choice.units.unwrap_or(UNITS).min(MOST_UNITS);
    let mut units = Vec::new();
    for at in 0..count {
        let Some(sport) = sports.get(at % sports.len().max(1)) else { break };
        let (nth, is_last) = (at / sports.len(), at + sports.len() >= count);
        units.extend(unit(&mut random, sport, nth, is_last));
    }
    units.sort_by_key(|unit: &Unit| (unit.start, unit.code));
    let mut refused = Vec::new();
    if choice.discipline.is_empty() || choice.discipline == "ATH" {
        let error = BROKEN_DECATHLON.parse::<Rsc>().err();
        refused.extend(error.map(|error| Refused { code: BROKEN_DECATHLON.to_owned(), error }));
    }
    Programme { day, first_day: DAY, utc_offset: "+09:00", units, medals_before: BTreeMap::new(), refused }
}

fn unit(random: &mut Random, sport: &Sport, nth: usize, is_last: bool) -> Option<Unit> {
    let Sport { discipline, gender, event, heat, .. } = sport;
    let (phase, number) = if is_last { ("FNL", 1) } else { (*heat, nth + 1) };
    let code = format!("{discipline}{gender}{event:-<18}{phase:-<4}{number:04}00--").parse().ok()?;
    let name =
        if is_last { format!("{} Final", sport.name) } else { format!("{} {heat} {number}", sport.name) };
    let rows = match sport.order {
        Order::Match => bout(random, sport),
        _ => race(random, sport),
    };
    let start = FIRST_START + i64::try_from(nth).ok()? * APART;
    let medals = if is_last { podium(&rows) } else { Vec::new() };
    Some(Unit {
        code,
        name,
        venue: sport.venue.to_owned(),
        location: sport.venue.to_owned(),
        start,
        end: start + sport.minutes * MINUTE,
        medal: if is_last { "1" } else { "" },
        is_cancelled: false,
        order: sport.order,
        rows,
        medals,
        medals_at: None,
    })
}

fn competitors(random: &mut Random, sport: &Sport, count: usize) -> Vec<Row> {
    let mut nocs: Vec<&str> = NOCS.to_vec();
    random.shuffle(&mut nocs);
    let mut rows = Vec::with_capacity(count);
    for noc in nocs.into_iter().take(count) {
        let start_order = u32::try_from(rows.len() + 1).unwrap_or_default();
        rows.push(Row {
            code: (1_900_000 + random.below(90_000)).to_string(),
            given_name: GIVEN_NAMES[random.below(GIVEN_NAMES.len())].to_owned(),
            family_name: FAMILY_NAMES[random.below(FAMILY_NAMES.len())].to_owned(),
            gender: sport.gender.to_owned(),
            noc: noc.to_owned(),
            bib: (101 + random.below(800)).to_string(),
            start_order,
            ..Row::default()
        });
    }
    // Codes name people: two of one would be one.
    rows.sort_by(|one, other| one.code.cmp(&other.code));
    rows.dedup_by(|one, other| one.code == other.code);
    rows.sort_by_key(|row| row.start_order);
    rows
}

fn race(random: &mut Random, sport: &Sport) -> Vec<Row> {
    let mut rows = competitors(random, sport, LANES);
    let mut places: Vec<usize> = (0..rows.len()).collect();
    random.shuffle(&mut places);
    let mut hundredths = sport.first_mark + u32::try_from(random.below(20)).unwrap_or_default();
    let first = hundredths;
    let mut rank = 0;
    for place in places {
        rank += 1;
        let row = &mut rows[place];
        row.rank = Some(rank);
        row.mark = mark(hundredths);
        row.mark_type = "TIME".to_owned();
        if hundredths > first {
            row.difference = format!("+{}", mark(hundredths - first));
        }
        if rank <= 2 {
            row.qualification = "Q".to_owned();
        }
        hundredths += 1 + u32::try_from(random.below(9)).unwrap_or_default();
    }
    // One of eight fields has somebody who does not finish.
    if random.below(8) == 0
        && let Some(last) = rows.iter_mut().find(|row| row.rank == Some(rank))
    {
        last.rank = None;
        last.mark = String::new();
        last.difference = String::new();
        last.irm = "DNF".to_owned();
    }
    rows
}

fn bout(random: &mut Random, sport: &Sport) -> Vec<Row> {
    let mut rows = competitors(random, sport, 2);
    let winner = random.below(2);
    for (at, row) in rows.iter_mut().enumerate() {
        let (points, wlt) = if at == winner { (10, "W") } else { (random.below(2), "L") };
        row.mark = points.to_string();
        row.mark_type = "POINTS".to_owned();
        row.wlt = wlt.to_owned();
    }
    rows
}

fn podium(rows: &[Row]) -> Vec<Medal> {
    let mut order: Vec<&Row> = rows.iter().filter(|row| row.irm.is_empty()).collect();
    order.sort_by_key(|row| (row.rank.unwrap_or(u32::MAX), row.wlt != "W"));
    let medals = MEDALS.iter().zip(order);
    medals
        .map(|(medal, row)| Medal {
            medal,
            competitor: row.code.clone(),
            is_team: false,
            noc: row.noc.clone(),
        })
        .collect()
}

fn mark(hundredths: u32) -> String {
    let (seconds, rest) = (hundredths / 100, hundredths % 100);
    match seconds / 60 {
        0 => format!("{seconds}.{rest:02}"),
        minutes => format!("{minutes}:{:02}.{rest:02}", seconds % 60),
    }
}
