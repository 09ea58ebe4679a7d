use std::collections::BTreeMap;

use domain::NaiveDate;

use crate::rsc::{InvalidRsc, Rsc};

/// What takes place on a day.
#[derive(Debug, Clone)]
pub struct Programme {
    /// The logical day.
    pub(super) day: NaiveDate,
    /// The day on which it all began: documents that go on for days have higher versions each day.
    pub(super) first_day: NaiveDate,
    /// The zone's offset as times show it, such as `+09:00`.
    pub(super) utc_offset: &'static str,
    /// In the order of their start.
    pub(super) units: Vec<Unit>,
    /// Gold, silver and bronze of earlier days, by NOC.
    pub(super) medals_before: BTreeMap<String, [u32; 3]>,
    /// What was left out since its code can't be read.
    pub(super) refused: Vec<Refused>,
}

impl Programme {
    /// How many units take place.
    #[must_use]
    pub const fn unit_count(&self) -> usize {
        self.units.len()
    }

    /// How many units have competitors of whom something is known.
    #[must_use]
    pub fn units_with_rows(&self) -> usize {
        self.units.iter().filter(|unit| !unit.rows.is_empty()).count()
    }

    /// What was left out since its code can't be read.
    #[must_use]
    pub fn refused(&self) -> &[Refused] {
        &self.refused
    }

    /// The codes of the units, in the order of their start.
    pub fn codes(&self) -> impl Iterator<Item = Rsc> + use<'_> {
        self.units.iter().map(|unit| unit.code)
    }
}

/// A code that is no RSC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// As it was given.
    pub code: String,
    /// Where it breaks the rule.
    pub error: InvalidRsc,
}

/// Which units.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// Three characters; all where empty.
    pub discipline: String,
    /// At most so many, the first ones.
    pub units: Option<usize>,
}

/// How results come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// All at once: who is first comes first.
    Race,
    /// One after the other in start order.
    Turns,
    /// Two, whose score grows.
    Match,
}

/// An event unit.
#[derive(Debug, Clone)]
pub struct Unit {
    /// Its code.
    pub code: Rsc,
    /// In English.
    pub name: String,
    /// Code of the venue, at most 8 characters of `A-Z 0-9`.
    pub venue: String,
    /// Code of the place within the venue.
    pub location: String,
    /// Milliseconds after the midnight with which the day begins, in local time.
    pub start: i64,
    /// As `start`, and after it.
    pub end: i64,
    /// `1` decides about gold, `3` about bronze; empty where it decides about no medal.
    pub medal: &'static str,
    /// It was called off.
    pub is_cancelled: bool,
    /// How results come in.
    pub order: Order,
    /// Who takes part, and how it ends; none where nothing is known.
    pub rows: Vec<Row>,
    /// What it decides.
    pub medals: Vec<Medal>,
    /// When the medals become known, in the same measure as `start`; some time after the end where it is not given.
    pub medals_at: Option<i64>,
}

/// A competitor in a unit, with the result.
#[derive(Debug, Clone, Default)]
pub struct Row {
    /// Of the athlete or the team.
    pub code: String,
    /// Empty for a team.
    pub given_name: String,
    /// Of the athlete, or the team's name.
    pub family_name: String,
    /// Whether it is a team.
    pub is_team: bool,
    /// `M`, `W`, `X` or `O`.
    pub gender: String,
    /// Organisation.
    pub noc: String,
    /// Number on the shirt.
    pub bib: String,
    /// Order of start, or lane.
    pub start_order: u32,
    /// Where there is one.
    pub rank: Option<u32>,
    /// As the sender writes it.
    pub mark: String,
    /// `TIME`, `POINTS`, ...
    pub mark_type: String,
    /// DNS, DNF, DSQ, ...
    pub irm: String,
    /// To the first.
    pub difference: String,
    /// W, L or T.
    pub wlt: String,
    /// Q, q, ...
    pub qualification: String,
}

/// A medal that a unit decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Medal {
    /// `ME_GOLD`, `ME_SILVER` or `ME_BRONZE`.
    pub medal: &'static str,
    /// Of the athlete or the team.
    pub competitor: String,
    /// Whether it is a team's.
    pub is_team: bool,
    /// Organisation.
    pub noc: String,
}

/// The three medals and their places in a count.
pub const MEDALS: [&str; 3] = ["ME_GOLD", "ME_SILVER", "ME_BRONZE"];
/// Milliseconds of a minute and of a day.
pub const MINUTE: i64 = 60_000;
/// See [`MINUTE`].
pub const DAY: i64 = 1_440 * MINUTE;
