use std::collections::{BTreeMap, HashMap, HashSet};

use domain::{DateTime, NaiveDate};

use super::{
    names,
    programme::{Choice, DAY, MEDALS, MINUTE, Medal, Order, Programme, Refused, Row, Unit},
    table,
};
use crate::rsc::Rsc;

pub use super::table::BrokenTable;
use table::Table;

/// The tables of a Games, each the text of its file.
#[derive(Debug, Clone, Default)]
pub struct Tables {
    /// `schedules.csv`
    pub schedules: String,
    /// `medals.csv`
    pub medals: String,
    /// `medals-first-seen.csv`
    pub first_seen: String,
    /// `results/*.csv`, with their names
    pub results: Vec<(String, String)>,
}

/// The day of its first units.
const FIRST_DAY: NaiveDate = NaiveDate::from_ymd_opt(2024, 7, 24).unwrap();
/// Longest code of a venue.
const LONGEST_VENUE: usize = 8;
/// A unit whose times are missing or reversed takes this long.
const USUAL_LENGTH: i64 = 30 * MINUTE;
/// Disciplines without times as marks in which all compete at once.
const ALL_AT_ONCE: [&str; 1] = ["SAL"];
/// Disciplines with times as marks in which one follows the other.
const ONE_BY_ONE: [&str; 1] = ["CSL"];

/// See [`super::paris`].
pub fn programme(tables: &Tables, day: NaiveDate, choice: &Choice) -> Result<Programme, BrokenTable> {
    let schedules = Table::read(
        "schedules.csv",
        &tables.schedules,
        &[
            "start_date",
            "end_date",
            "day",
            "discipline",
            "discipline_code",
            "event",
            "gender",
            "venue_code",
            "url",
        ],
    )?;
    let mut results = Results::read(&tables.results)?;
    let mut medals = Medals::read(&tables.medals, &tables.first_seen, day)?;
    let text = day.to_string();
    let mut units: Vec<Unit> = Vec::new();
    let mut taken: HashSet<Rsc> = HashSet::new();
    for row in schedules.rows().filter(|row| row.get("day") == text) {
        let discipline = row.get("discipline_code");
        if !choice.discipline.is_empty() && discipline != choice.discipline {
            continue;
        }
        let number = units.len() + 1;
        let Some(code) = results.code_of(&row, number).filter(|code| taken.insert(*code)) else { continue };
        units.push(unit(&row, code, day, &mut results, &mut medals));
    }
    units.sort_by_key(|unit| (unit.start, unit.code));
    units.truncate(choice.units.unwrap_or(usize::MAX));
    let mut refused = results.refused;
    refused.retain(|refused| choice.discipline.is_empty() || refused.code.starts_with(&choice.discipline));
    Ok(Programme {
        day,
        first_day: FIRST_DAY,
        utc_offset: "+02:00",
        units,
        medals_before: medals.before,
        refused,
    })
}

fn unit(row: &table::Row<'_>, code: Rsc, day: NaiveDate, results: &mut Results, medals: &mut Medals) -> Unit {
    let start = local(row.get("start_date"), day).unwrap_or(12 * 60 * MINUTE);
    let end = local(row.get("end_date"), day).filter(|end| *end > start).unwrap_or(start + USUAL_LENGTH);
    let rows = results.by_unit.remove(&code).unwrap_or_default();
    let (decided, medals_at) =
        medals.of(row.get("discipline"), row.get("event"), tail(row.get("url")).as_str());
    Unit {
        code,
        name: [row.get("event"), row.get("phase")].join(" ").trim().to_owned(),
        venue: venue(row.get("venue_code")),
        location: venue(row.get("location_code")),
        start,
        end,
        medal: match row.get("event_medal") {
            "1" => "1",
            "3" => "3",
            _ => "",
        },
        is_cancelled: row.get("status") == "CANCELLED",
        order: order(&code, &rows),
        rows,
        medals: decided,
        medals_at,
    }
}

// The tables' own order of things: `/results/athletics/men-s-100m/fnl-000100--`.
fn tail(url: &str) -> String {
    url.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_uppercase()
}

// Milliseconds after the day's midnight, by the clock that the text itself shows.
fn local(text: &str, day: NaiveDate) -> Option<i64> {
    let midnight = day.and_hms_opt(0, 0, 0)?;
    let at = DateTime::parse_from_rfc3339(text).ok()?.naive_local();
    let after = (at - midnight).num_milliseconds();
    (-DAY..2 * DAY).contains(&after).then_some(after)
}

fn venue(code: &str) -> String {
    let code = code.to_uppercase();
    let code: String = code.chars().filter(char::is_ascii_alphanumeric).take(LONGEST_VENUE).collect();
    if code.is_empty() { "VEN".to_owned() } else { code }
}

fn order(code: &Rsc, rows: &[Row]) -> Order {
    if rows.len() == 2 && rows.iter().all(|row| row.rank.is_none()) {
        return Order::Match;
    }
    let timed = rows.iter().any(|row| matches!(row.mark_type.as_str(), "TIME" | "STROKES" | "RANK"));
    let discipline = code.discipline();
    if (timed && !ONE_BY_ONE.contains(&discipline)) || ALL_AT_ONCE.contains(&discipline) {
        Order::Race
    } else {
        Order::Turns
    }
}

// Discipline and event by name, and the last part of the unit's address.
type UnitOfTables = (String, String, String);

// Rows by unit, and what is needed to find a unit's code, which the schedule lacks.
struct Results {
    by_unit: BTreeMap<Rsc, Vec<Row>>,
    codes: HashMap<UnitOfTables, Rsc>,
    events: HashMap<(String, String), String>,
    refused: Vec<Refused>,
}

impl Results {
    fn read(tables: &[(String, String)]) -> Result<Self, BrokenTable> {
        let mut results = Self {
            by_unit: BTreeMap::new(),
            codes: HashMap::new(),
            events: HashMap::new(),
            refused: Vec::new(),
        };
        for (name, text) in tables {
            let needed = ["stage_code", "event_name", "discipline_name", "participant_code", "result"];
            for row in Table::read(name, text, &needed)?.rows() {
                results.take(&row);
            }
        }
        Ok(results)
    }

    fn take(&mut self, row: &table::Row<'_>) {
        let text = row.get("stage_code");
        let code: Rsc = match text.parse() {
            Ok(code) => code,
            Err(error) => {
                if !self.refused.iter().any(|refused| refused.code == text) {
                    self.refused.push(Refused { code: text.to_owned(), error });
                }
                return;
            }
        };
        let event = (row.get("discipline_name").to_owned(), row.get("event_name").to_owned());
        let (_, tail) = code.as_str().split_at(22);
        self.codes.entry((event.0.clone(), event.1.clone(), tail.to_owned())).or_insert(code);
        self.events.entry(event).or_insert_with(|| code.as_str()[..22].to_owned());
        let rows = self.by_unit.entry(code).or_default();
        let start_order =
            number(row.get("start_order")).unwrap_or(u32::try_from(rows.len() + 1).unwrap_or(1));
        let is_team = row.get("participant_type") == "Team";
        let (given_name, family_name) = match is_team {
            true => (String::new(), row.get("participant_name").to_owned()),
            false => names::split(row.get("participant_name")),
        };
        rows.push(Row {
            code: row.get("participant_code").to_owned(),
            given_name,
            family_name,
            is_team,
            gender: row.get("gender").to_owned(),
            noc: row.get("participant_country_code").to_owned(),
            bib: row.get("bib").to_owned(),
            start_order,
            rank: number(row.get("rank")),
            mark: row.get("result").to_owned(),
            mark_type: row.get("result_type").to_owned(),
            irm: row.get("result_IRM").to_owned(),
            difference: row.get("result_diff").to_owned(),
            wlt: row.get("result_WLT").to_owned(),
            qualification: row.get("qualification_mark").to_owned(),
        });
    }

    // By discipline, event and the last part of its address; where the results lack the unit, from those parts.
    fn code_of(&self, row: &table::Row<'_>, number: usize) -> Option<Rsc> {
        let (discipline, event, tail) = (row.get("discipline"), row.get("event"), tail(row.get("url")));
        let key = (discipline.to_owned(), event.to_owned(), tail.clone());
        if let Some(code) = self.codes.get(&key) {
            return Some(*code);
        }
        let head = match self.events.get(&(key.0, key.1)) {
            Some(head) => head.clone(),
            None => derived_event(row.get("discipline_code"), row.get("gender"), event),
        };
        let with_tail = format!("{head}{tail}").parse().ok();
        with_tail.or_else(|| format!("{head}UNIT{:04}00--", number % 10_000).parse().ok())
    }
}

// Discipline, gender and the event's name as the first eight letters and digits that tell it apart.
fn derived_event(discipline: &str, gender: &str, event: &str) -> String {
    let gender = if ["M", "W", "X", "O"].contains(&gender) { gender } else { "-" };
    let name: String = event
        .split_whitespace()
        .filter(|word| !["Men", "Men's", "Women", "Women's", "Mixed", "Individual"].contains(word))
        .flat_map(str::chars)
        .filter(char::is_ascii_alphanumeric)
        .collect();
    let team = if event.contains("Team") { "TEAM" } else { "" };
    let kind: String =
        format!("{}{team}", name.replace("Team", "")).to_uppercase().chars().take(18).collect();
    format!("{discipline}{gender}{kind:-<18}")
}

fn number(text: &str) -> Option<u32> {
    let whole = text.split('.').next().unwrap_or_default();
    whole.parse().ok().filter(|number| *number > 0)
}

struct Medals {
    decided: HashMap<UnitOfTables, Vec<(Medal, Option<i64>)>>,
    before: BTreeMap<String, [u32; 3]>,
}

impl Medals {
    fn read(medals: &str, first_seen: &str, day: NaiveDate) -> Result<Self, BrokenTable> {
        let seen = Table::read(
            "medals-first-seen.csv",
            first_seen,
            &["first_seen_unix", "noc", "discipline", "event", "color"],
        )?;
        let mut first: HashMap<[&str; 4], i64> = HashMap::new();
        for row in seen.rows() {
            let Ok(at) = row.get("first_seen_unix").parse::<i64>() else { continue };
            let key = [row.get("discipline"), row.get("event"), row.get("noc"), row.get("color")];
            first.entry(key).and_modify(|known| *known = at.min(*known)).or_insert(at);
        }
        let table = Table::read(
            "medals.csv",
            medals,
            &["medal_code", "medal_date", "country_code", "discipline", "event", "url_event", "code"],
        )?;
        let (mut decided, mut before) = (HashMap::<_, Vec<_>>::new(), BTreeMap::new());
        for row in table.rows() {
            let place = number(row.get("medal_code")).unwrap_or_default() as usize;
            let Some(medal) = place.checked_sub(1).and_then(|at| MEDALS.get(at)) else { continue };
            let noc = row.get("country_code").to_owned();
            if row.get("medal_date") < day.to_string().as_str() {
                let counts: &mut [u32; 3] = before.entry(noc).or_default();
                counts[place - 1] += 1;
                continue;
            }
            let (discipline, event) = (row.get("discipline"), row.get("event"));
            let color = ["G", "S", "B"][place - 1];
            let at =
                first.get(&[discipline, event, noc.as_str(), color]).and_then(|at| after_midnight(*at, day));
            let competitor = row.get("code").to_owned();
            let is_team = competitor.parse::<u64>().is_err();
            let key = (discipline.to_owned(), event.to_owned(), tail(row.get("url_event")));
            decided.entry(key).or_default().push((Medal { medal, competitor, is_team, noc }, at));
        }
        Ok(Self { decided, before })
    }

    fn of(&mut self, discipline: &str, event: &str, tail: &str) -> (Vec<Medal>, Option<i64>) {
        let key = (discipline.to_owned(), event.to_owned(), tail.to_owned());
        let decided = self.decided.remove(&key).unwrap_or_default();
        let at = decided.iter().filter_map(|(_, at)| *at).max();
        (decided.into_iter().map(|(medal, _)| medal).collect(), at)
    }
}

// Only while the day lasts: some were seen long after, when somebody began to look.
fn after_midnight(unix: i64, day: NaiveDate) -> Option<i64> {
    let midnight = DateTime::parse_from_rfc3339(&format!("{day}T00:00:00+02:00")).ok()?.timestamp();
    let after = (unix - midnight) * 1_000;
    (0..DAY + 3 * 60 * MINUTE).contains(&after).then_some(after)
}
