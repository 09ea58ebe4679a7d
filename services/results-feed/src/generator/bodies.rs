use std::{collections::BTreeMap, fmt::Write as _};

use domain::{NaiveDate, TimeDelta};

use super::{
    programme::{DAY, Medal, Order, Programme, Row, Unit},
    xml::Xml,
};

/// How much of a result is out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// Who starts.
    StartList,
    /// The part `nth` of `of`.
    Part(usize, usize),
    /// All.
    All,
}

/// Date and time of a moment, as the header has them.
#[must_use]
pub fn stamp(day: NaiveDate, at: i64) -> (String, String) {
    let date = day + TimeDelta::days(at.div_euclid(DAY));
    let millisecond = at.rem_euclid(DAY);
    let second = millisecond / 1_000;
    let time =
        format!("{:02}{:02}{:02}{:03}", second / 3_600, second / 60 % 60, second % 60, millisecond % 1_000);
    (date.to_string(), time)
}

fn instant(programme: &Programme, at: i64) -> String {
    let (date, time) = stamp(programme.day, at);
    // `hhmmssfff`: digits only.
    let part = |from: usize, to: usize| time.get(from..to).unwrap_or_default();
    format!("{date}T{}:{}:{}{}", part(0, 2), part(2, 4), part(4, 6), programme.utc_offset)
}

/// A unit in a schedule.
pub fn unit(xml: &mut Xml, programme: &Programme, unit: &Unit, status: &str, start: i64, end: i64) {
    xml.begin("Unit").attribute("Code", unit.code.as_str()).attribute("ScheduleStatus", status);
    xml.attribute("StartDate", &instant(programme, start)).attribute("EndDate", &instant(programme, end));
    xml.attribute("Medal", unit.medal).attribute("Venue", &unit.venue).attribute("Location", &unit.location);
    xml.attribute("SessionCode", &format!("{}01", unit.code.discipline()));
    xml.begin("ItemName").attribute("Language", "ENG").attribute("Value", &unit.name).end();
    xml.end();
}

/// Everybody of a discipline; teams have a document of their own.
#[must_use]
pub fn participants(programme: &Programme, discipline: &str) -> String {
    let mut known: BTreeMap<&str, &Row> = BTreeMap::new();
    for row in rows_of(programme, discipline).filter(|row| !row.is_team) {
        known.entry(&row.code).or_insert(row);
    }
    let mut xml = Xml::default();
    for row in known.values() {
        xml.begin("Participant").attribute("Code", &row.code);
        xml.attribute("GivenName", &row.given_name).attribute("FamilyName", &row.family_name);
        xml.attribute("Gender", &row.gender).attribute("Organisation", &row.noc);
        xml.begin("Discipline").attribute("Code", discipline).end().end();
    }
    xml.finish()
}

/// The teams of a discipline; empty where it has none.
#[must_use]
pub fn teams(programme: &Programme, discipline: &str) -> String {
    let mut known: BTreeMap<&str, &Row> = BTreeMap::new();
    for row in rows_of(programme, discipline).filter(|row| row.is_team) {
        known.entry(&row.code).or_insert(row);
    }
    let mut xml = Xml::default();
    for row in known.values() {
        xml.begin("Team").attribute("Code", &row.code).attribute("Name", &row.family_name);
        xml.attribute("Gender", &row.gender).attribute("Organisation", &row.noc).end();
    }
    xml.finish()
}

fn rows_of<'a>(programme: &'a Programme, discipline: &'a str) -> impl Iterator<Item = &'a Row> {
    let units = programme.units.iter().filter(move |unit| unit.code.discipline() == discipline);
    units.flat_map(|unit| &unit.rows)
}

/// A start list or a result.
#[must_use]
pub fn result(unit: &Unit, shown: Shown) -> String {
    let mut xml = Xml::default();
    for (place, line) in lines(unit, shown).into_iter().enumerate() {
        write_line(&mut xml, place + 1, &line);
    }
    xml.finish()
}

/// The leader and the state of play: never official, and gone with the next one.
#[must_use]
pub fn current(unit: &Unit, nth: usize, of: usize) -> String {
    let mut xml = Xml::default();
    xml.begin("Progress").number("Step", nth).number("Of", of).end();
    if let Some(line) = lines(unit, Shown::Part(nth, of)).first() {
        write_line(&mut xml, 1, line);
    }
    xml.finish()
}

// A row as far as it is out.
struct Line<'a> {
    row: &'a Row,
    rank: Option<u32>,
    mark: String,
    is_out: bool,
    is_final: bool,
}

fn lines(unit: &Unit, shown: Shown) -> Vec<Line<'_>> {
    let mut rows: Vec<&Row> = unit.rows.iter().collect();
    let out = match shown {
        Shown::StartList => 0,
        _ if unit.order == Order::Match => rows.len(),
        Shown::Part(nth, of) => (rows.len() * nth).div_ceil(of.max(1)).min(rows.len()),
        Shown::All => rows.len(),
    };
    match unit.order {
        Order::Race => rows.sort_by_key(|row| (row.rank.unwrap_or(u32::MAX), row.start_order)),
        Order::Turns | Order::Match => rows.sort_by_key(|row| row.start_order),
    }
    let (gone, waiting) = rows.split_at(out);
    let mut lines: Vec<Line<'_>> = gone
        .iter()
        .map(|row| Line {
            row,
            // Of those who had their turn.
            rank: row
                .rank
                .map(|rank| 1 + count(gone.iter().filter(|other| other.rank.is_some_and(|of| of < rank)))),
            mark: mark(row, unit.order, shown),
            is_out: true,
            is_final: shown == Shown::All,
        })
        .collect();
    lines.sort_by_key(|line| (line.rank.unwrap_or(u32::MAX), line.row.start_order));
    let mut waiting = waiting.to_vec();
    waiting.sort_by_key(|row| row.start_order);
    lines.extend(waiting.into_iter().map(|row| Line {
        row,
        rank: None,
        mark: String::new(),
        is_out: false,
        is_final: false,
    }));
    lines
}

fn count<T>(things: impl Iterator<Item = T>) -> u32 {
    u32::try_from(things.count()).unwrap_or(u32::MAX)
}

// A score grows; a time or a distance is there or not.
fn mark(row: &Row, order: Order, shown: Shown) -> String {
    match (order, shown, row.mark.parse::<usize>()) {
        (Order::Match, Shown::Part(nth, of), Ok(score)) => (score * nth / of.max(1)).to_string(),
        (Order::Match, Shown::Part(..), Err(_)) => String::new(),
        _ => row.mark.clone(),
    }
}

fn write_line(xml: &mut Xml, place: usize, line: &Line<'_>) {
    let row = line.row;
    xml.begin("Result").number("SortOrder", place);
    xml.number("StartOrder", row.start_order).number("StartSortOrder", row.start_order);
    if line.is_out {
        xml.attribute("Rank", &line.rank.map(|rank| rank.to_string()).unwrap_or_default());
        xml.attribute("Result", &line.mark).attribute("IRM", &row.irm);
        xml.attribute("ResultType", if line.mark.is_empty() { "" } else { &row.mark_type });
    }
    if line.is_final {
        xml.attribute("Diff", &row.difference).attribute("WLT", &row.wlt);
        xml.attribute("QualificationMark", &row.qualification);
    }
    competitor(xml, row);
    xml.end();
}

fn competitor(xml: &mut Xml, row: &Row) {
    xml.begin("Competitor").attribute("Code", &row.code);
    xml.attribute("Type", if row.is_team { "T" } else { "A" }).attribute("Organisation", &row.noc);
    if row.is_team {
        xml.attribute("Bib", &row.bib).begin("Description").attribute("TeamName", &row.family_name).end();
    } else {
        xml.begin("Composition").begin("Athlete").attribute("Code", &row.code).number("Order", 1);
        xml.attribute("Bib", &row.bib).begin("Description");
        xml.attribute("GivenName", &row.given_name).attribute("FamilyName", &row.family_name);
        xml.attribute("Gender", &row.gender).attribute("Organisation", &row.noc).end().end().end();
    }
    xml.end();
}

/// Who has the medals of an event, with the unit that decided about each.
#[must_use]
pub fn medallists(day: NaiveDate, medals: &[(Medal, String)]) -> String {
    let mut xml = Xml::default();
    for (medal, unit) in medals {
        xml.begin("Medal").attribute("Code", medal.medal).attribute("Unit", unit);
        xml.attribute("Date", &day.to_string());
        xml.begin("Competitor").attribute("Code", &medal.competitor);
        xml.attribute("Type", if medal.is_team { "T" } else { "A" }).attribute("Organisation", &medal.noc);
        xml.end().end();
    }
    xml.finish()
}

/// The standings by gold, then silver, then bronze.
#[must_use]
pub fn standings(counts: &BTreeMap<String, [u32; 3]>) -> String {
    let mut lines: Vec<(&String, &[u32; 3])> = counts.iter().collect();
    lines.sort_by(|(one, a), (other, b)| b.cmp(a).then_with(|| one.cmp(other)));
    let mut xml = Xml::default();
    let mut rank = 0;
    let mut before: Option<&[u32; 3]> = None;
    for (at, (noc, counted)) in lines.into_iter().enumerate() {
        if before != Some(counted) {
            rank = at + 1;
        }
        before = Some(counted);
        let [gold, silver, bronze] = counted;
        xml.begin("MedalLine").number("Rank", rank).number("SortRank", at + 1).attribute("Organisation", noc);
        xml.begin("MedalNumber").attribute("Type", "TOT").number("Gold", gold).number("Silver", silver);
        xml.number("Bronze", bronze).number("Total", gold + silver + bronze).end().end();
    }
    xml.finish()
}

/// What a header says.
#[derive(Debug)]
pub struct Header<'a> {
    /// `CompetitionCode`
    pub competition: &'a str,
    /// `DocumentCode`
    pub code: &'a str,
    /// `DocumentType`
    pub document_type: &'a str,
    /// `Version`
    pub version: u32,
    /// `ResultStatus`, or nothing
    pub status: &'a str,
    /// `FeedFlag`
    pub feed_flag: &'a str,
    /// `LogicalDate`
    pub day: NaiveDate,
    /// For `Date` and `Time`: milliseconds after the day's midnight.
    pub at: i64,
    /// `Source`
    pub source: String,
}

/// A whole document; without a body it invalidates the version that it names (ODF Foundation Principles 6.8).
#[must_use]
pub fn document(header: &Header<'_>, body: Option<&str>) -> Vec<u8> {
    let (date, time) = stamp(header.day, header.at);
    let mut xml = Xml::default();
    xml.begin("OdfBody").attribute("CompetitionCode", header.competition);
    xml.attribute("DocumentCode", header.code).attribute("DocumentType", header.document_type);
    xml.number("Version", header.version).attribute("ResultStatus", header.status);
    xml.attribute("FeedFlag", header.feed_flag).attribute("Date", &date).attribute("Time", &time);
    xml.attribute("LogicalDate", &header.day.to_string()).attribute("Source", &header.source);
    if let Some(body) = body {
        xml.begin("Competition")
            .attribute("Gen", "SYN-1")
            .attribute("Sport", "SYN-1")
            .attribute("Codes", "SYN-1");
        xml.inside(body).end();
    }
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    // Writing to a string has no way to fail.
    let _ = writeln!(text, "{}", xml.finish());
    text.into_bytes()
}
