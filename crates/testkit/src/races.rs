//! Sample races as ODF documents. Synthetic: no athlete, competition or text of a real event.

use std::fmt::Write;

/// CompetitionCode of every sample document.
pub const COMPETITION: &str = "SYN2030";
/// RSC of the men's 100 m final.
pub const FINAL_100M: &str = "ATHM100M--------------FNL-000100--";
/// RSC of its sport event.
pub const EVENT_100M: &str = "ATHM100M--------------------------";

const ATHLETICS: &str = "ATH-------------------------------";
const ALL_SPORTS: &str = "GLO-------------------------------";
const DAY: &str = "2030-08-04";
/// Distances in metres at which positions are announced.
const SPLITS: [u32; 3] = [30, 60, 80];

/// A document as timing and scoring would POST it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OdfDocument {
    /// The whole document.
    pub xml: String,
    /// Such as `DT_RESULT`.
    pub document_type: &'static str,
    /// Its RSC.
    pub document_code: &'static str,
    /// From 1.
    pub version: u32,
    /// Empty where the type has none.
    pub result_status: &'static str,
}

/// An athlete in a lane, with the finish in hundredths of a second.
#[derive(Debug, Clone)]
struct Runner {
    code: u32,
    given_name: &'static str,
    family_name: &'static str,
    noc: &'static str,
    bib: u32,
    lane: usize,
    finish: u32,
    /// Positions at the splits, from 1.
    positions: [usize; 3],
}

const FIELD: [(&str, &str, &str); 8] = [
    ("Hayato", "KITAMORI", "JPN"),
    ("Théo", "D'ARVILLE", "FRA"),
    ("Marcus", "HOLLOWAY", "USA"),
    ("Dwight", "CAMPBELL-REID", "JAM"),
    ("Kiprono", "LAGAT", "KEN"),
    ("Luca", "FERRANTI", "ITA"),
    ("Owen", "MACRAE", "CAN"),
    ("Rafael", "TEIXEIRA", "BRA"),
];

/// The men's 100 m final in eight lanes, in the order in which its documents are sent: schedule, start list, running,
/// positions and marks as they come, unofficial, official, medallists, standings. The same seed gives the same bytes.
#[must_use]
pub fn hundred_metres_final(seed: u64) -> Vec<OdfDocument> {
    run(&runners(seed)).documents
}

/// What follows [`hundred_metres_final`] when its result is protested against: the same result, PROTESTED; the official one
/// in which the first across the line is disqualified and the others move up; medallists and standings again.
#[must_use]
pub fn hundred_metres_protest(seed: u64) -> Vec<OdfDocument> {
    let mut runners = runners(seed);
    let mut race = run(&runners);
    let before = race.documents.len();
    race.result("PROTESTED", 600_000, &finishers(&runners, 8));
    runners.sort_by_key(|runner| runner.finish);
    let disqualified = runners.remove(0);
    let mut rows = finishers(&runners, 7);
    row(&mut rows, &disqualified, 8, r#" IRM="DSQ""#);
    race.result("OFFICIAL", 1_800_000, &rows);
    race.medals(2, &runners);
    race.documents.split_off(before)
}

fn run(runners: &[Runner]) -> Race {
    let mut race =
        Race { documents: Vec::new(), schedule: 0, result: 0, millisecond: 21 * 3_600_000 + 30 * 60_000 };
    race.schedule("SCHEDULED", 0);
    race.schedule("GETTING_READY", 600_000);
    race.result("START_LIST", 60_000, &start_list(runners));
    race.schedule("RUNNING", 540_000);
    for (at, metres) in SPLITS.into_iter().enumerate() {
        race.result("LIVE", metres * 90, &positions(runners, at));
    }
    for finished in [1, 3, 8] {
        race.result("LIVE", 250, &finishers(runners, finished));
    }
    race.schedule("FINISHED", 2_000);
    race.result("UNOFFICIAL", 5_000, &finishers(runners, 8));
    race.result("OFFICIAL", 240_000, &finishers(runners, 8));
    race.medals(1, runners);
    race
}

struct Race {
    documents: Vec<OdfDocument>,
    schedule: u32,
    result: u32,
    /// Of the day, in local time.
    millisecond: u32,
}

impl Race {
    fn schedule(&mut self, status: &str, after: u32) {
        self.schedule += 1;
        let unit = format!(
            r#"<Unit Code="{FINAL_100M}" PhaseType="3" ScheduleStatus="{status}" StartDate="{DAY}T21:50:00+09:00" EndDate="{DAY}T21:55:00+09:00" Medal="1" Venue="STA" Location="STA" SessionCode="ATH08"><ItemName Language="ENG" Value="Men&apos;s 100m Final"/></Unit>"#
        );
        self.send(("DT_SCHEDULE_UPDATE", ATHLETICS, self.schedule, ""), after, &unit);
    }

    fn result(&mut self, status: &'static str, after: u32, rows: &str) {
        self.result += 1;
        self.send(("DT_RESULT", FINAL_100M, self.result, status), after, rows);
    }

    fn medals(&mut self, version: u32, runners: &[Runner]) {
        self.send(("DT_MEDALLISTS", EVENT_100M, version, "OFFICIAL"), 1_000, &medallists(runners));
        self.send(("DT_MEDALS", ALL_SPORTS, version, ""), 1_000, &standings(runners));
    }

    fn send(&mut self, header: (&'static str, &'static str, u32, &'static str), after: u32, inside: &str) {
        let (document_type, document_code, version, result_status) = header;
        self.millisecond += after;
        let status = match result_status {
            "" => String::new(),
            status => format!(r#" ResultStatus="{status}""#),
        };
        let time = time(self.millisecond);
        let xml = format!(
            r#"<?xml version="1.0" encoding="UTF-8"?>
<OdfBody CompetitionCode="{COMPETITION}" DocumentCode="{document_code}" DocumentType="{document_type}" Version="{version}"{status} FeedFlag="P" Date="{DAY}" Time="{time}" LogicalDate="{DAY}" Source="SYNATH1"><Competition Gen="SYN-1" Sport="SYN-1" Codes="SYN-1">{inside}</Competition></OdfBody>
"#
        );
        self.documents.push(OdfDocument { xml, document_type, document_code, version, result_status });
    }
}

// hhmmssfff
fn time(millisecond: u32) -> String {
    let second = millisecond / 1_000;
    format!("{:02}{:02}{:02}{:03}", second / 3_600, second / 60 % 60, second % 60, millisecond % 1_000)
}

fn runners(seed: u64) -> Vec<Runner> {
    let mut random = SplitMix(seed);
    let mut lanes: Vec<usize> = (1..=8).collect();
    for at in (1..lanes.len()).rev() {
        let other = random.below(at + 1);
        lanes.swap(at, other);
    }
    let mut finish = 975 + u32::try_from(random.below(10)).unwrap_or_default();
    let mut runners: Vec<Runner> = FIELD
        .iter()
        .zip(lanes)
        .enumerate()
        .map(|(at, ((given_name, family_name, noc), lane))| {
            // Each a little later than the one before, so that no two share a mark.
            finish += 1 + u32::try_from(random.below(7)).unwrap_or_default();
            let at = u32::try_from(at).unwrap_or_default();
            Runner {
                code: 1_930_101 + at * 37,
                given_name,
                family_name,
                noc,
                bib: 101 + at,
                lane,
                finish,
                positions: [0; 3],
            }
        })
        .collect();
    // Who wins is drawn too: finishes are dealt out by a shuffle.
    for at in (1..runners.len()).rev() {
        let other = random.below(at + 1);
        let (one, two) = (runners[at].finish, runners[other].finish);
        runners[at].finish = two;
        runners[other].finish = one;
    }
    for split in 0..SPLITS.len() {
        let mut order: Vec<(u32, usize)> = runners
            .iter()
            .enumerate()
            .map(|(at, runner)| (runner.finish + u32::try_from(random.below(12)).unwrap_or_default(), at))
            .collect();
        order.sort_unstable();
        for (position, (_, at)) in order.into_iter().enumerate() {
            runners[at].positions[split] = position + 1;
        }
    }
    runners
}

fn start_list(runners: &[Runner]) -> String {
    let mut by_lane: Vec<&Runner> = runners.iter().collect();
    by_lane.sort_by_key(|runner| runner.lane);
    by_lane.iter().fold(String::new(), |mut rows, runner| {
        row(&mut rows, runner, runner.lane, "");
        rows
    })
}

fn positions(runners: &[Runner], split: usize) -> String {
    let mut order: Vec<&Runner> = runners.iter().collect();
    order.sort_by_key(|runner| runner.positions[split]);
    order.iter().fold(String::new(), |mut rows, runner| {
        let position = runner.positions[split];
        row(&mut rows, runner, position, &format!(r#" Rank="{position}""#));
        rows
    })
}

// Those who have not finished yet keep their last position behind those who have.
fn finishers(runners: &[Runner], finished: usize) -> String {
    let mut order: Vec<&Runner> = runners.iter().collect();
    order.sort_by_key(|runner| runner.finish);
    let mut running = order.split_off(finished);
    running.sort_by_key(|runner| runner.positions[2]);
    let mut rows = String::new();
    for (at, runner) in order.iter().enumerate() {
        let (rank, behind) = (at + 1, runner.finish - order[0].finish);
        let mark = mark_of(runner.finish);
        let difference = if behind == 0 { String::new() } else { format!(r#" Diff="+{}""#, mark_of(behind)) };
        row(
            &mut rows,
            runner,
            rank,
            &format!(r#" Rank="{rank}" ResultType="TIME" Result="{mark}"{difference}"#),
        );
    }
    for (at, runner) in running.iter().enumerate() {
        row(&mut rows, runner, order.len() + at + 1, "");
    }
    rows
}

fn mark_of(hundredths: u32) -> String {
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

fn row(rows: &mut String, runner: &Runner, order: usize, result: &str) {
    let Runner { code, given_name, family_name, noc, bib, lane, .. } = runner;
    let family_name = family_name.replace('\'', "&apos;");
    // Writing to a string has no way to fail.
    let _ = write!(
        rows,
        r#"<Result SortOrder="{order}" StartOrder="{lane}" StartSortOrder="{lane}"{result}><Competitor Code="{code}" Type="A" Organisation="{noc}"><Composition><Athlete Code="{code}" Order="1" Bib="{bib}"><Description GivenName="{given_name}" FamilyName="{family_name}" Gender="M" Organisation="{noc}"/></Athlete></Composition></Competitor></Result>"#
    );
}

fn podium(runners: &[Runner]) -> Vec<&Runner> {
    let mut order: Vec<&Runner> = runners.iter().collect();
    order.sort_by_key(|runner| runner.finish);
    order.truncate(3);
    order
}

fn medallists(runners: &[Runner]) -> String {
    let medals = ["ME_GOLD", "ME_SILVER", "ME_BRONZE"];
    medals.iter().zip(podium(runners)).fold(String::new(), |mut lines, (medal, runner)| {
        let Runner { code, noc, .. } = runner;
        let _ = write!(
            lines,
            r#"<Medal Code="{medal}" Unit="{FINAL_100M}" Date="{DAY}"><Competitor Code="{code}" Type="A" Organisation="{noc}"/></Medal>"#
        );
        lines
    })
}

fn standings(runners: &[Runner]) -> String {
    let counts = [(1, 0, 0), (0, 1, 0), (0, 0, 1)];
    podium(runners).iter().zip(counts).enumerate().fold(String::new(), |mut lines, (at, (runner, counts))| {
        let (rank, noc, (gold, silver, bronze)) = (at + 1, runner.noc, counts);
        let _ = write!(
            lines,
            r#"<MedalLine Rank="{rank}" SortRank="{rank}" Organisation="{noc}"><MedalNumber Type="TOT" Gold="{gold}" Silver="{silver}" Bronze="{bronze}" Total="1"/></MedalLine>"#
        );
        lines
    })
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, and the same everywhere.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.next() % bound).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_bytes_and_another_one_another_race() {
        assert_eq!(hundred_metres_final(1), hundred_metres_final(1));
        assert_ne!(hundred_metres_final(1), hundred_metres_final(2));
    }

    #[test]
    fn the_final_goes_from_the_start_list_to_the_medals() {
        let documents = hundred_metres_final(7);
        let statuses: Vec<&str> = documents
            .iter()
            .filter(|document| document.document_type == "DT_RESULT")
            .map(|document| document.result_status)
            .collect();
        let live = ["LIVE"; 6];
        assert_eq!(statuses, [&["START_LIST"][..], &live, &["UNOFFICIAL", "OFFICIAL"]].concat());
        assert_eq!(documents.last().map(|document| document.document_type), Some("DT_MEDALS"));
        assert!(documents.iter().all(|document| document.document_code.len() == 34));
    }

    #[test]
    fn a_protest_goes_on_from_the_final_and_the_second_wins() {
        let (before, after) = (hundred_metres_final(7), hundred_metres_protest(7));
        let told: Vec<(&str, u32, &str)> = after
            .iter()
            .map(|document| (document.document_type, document.version, document.result_status))
            .collect();
        assert_eq!(
            told,
            [
                ("DT_RESULT", 10, "PROTESTED"),
                ("DT_RESULT", 11, "OFFICIAL"),
                ("DT_MEDALLISTS", 2, "OFFICIAL"),
                ("DT_MEDALS", 2, "")
            ]
        );
        let codes = |document: &OdfDocument| -> Vec<String> {
            let parts = document.xml.split("<Competitor Code=\"").skip(1);
            parts.map(|part| part.split('"').next().unwrap_or_default().to_owned()).collect()
        };
        let (official, decided) = (codes(&before[before.len() - 3]), codes(&after[1]));
        let (first, others) = official.split_first().unwrap();
        assert_eq!(decided, [others, std::slice::from_ref(first)].concat());
        assert_eq!(codes(&after[2]), decided[..3]);
    }
}
