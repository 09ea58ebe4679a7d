use chrono_tz::Tz;
use domain::{DateTime, NaiveDate, TimeDelta, Utc};

use crate::document_type::DocumentType;

/// The day of competition rolls at this hour, local time: what begins after midnight belongs to the evening before (ODF
/// Foundation Principles 4.2: at 03:00 or later).
const ROLLS_AT_HOUR: i64 = 3;

/// A day of competition: it opens with GLOBAL_GM and closes with GLOBAL_GN, once every venue has said LOCAL_OFF (ODF
/// Foundation Principles 4.2). It ends after midnight, at 03:00 or later: documents name the day that they belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogicalDay {
    /// Which day.
    pub date: NaiveDate,
    /// How far it is.
    pub state: DayState,
}

/// How far a day is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DayState {
    /// Documents come.
    Open,
    /// Good night was said, and a venue is still open.
    Closing,
    /// All is said; what comes still is late, and makes another revision of the manifest.
    Closed,
}

impl DayState {
    /// The name on the wire and in SQL.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closing => "closing",
            Self::Closed => "closed",
        }
    }

    /// The state of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Open, Self::Closing, Self::Closed].into_iter().find(|state| state.name() == name)
    }
}

impl LogicalDay {
    /// The day after a document of it came, with so many venues still open; nothing where it changes no day. Days may
    /// come in any order, and a closed one does not open again.
    #[must_use]
    pub fn after(
        known: Option<Self>,
        date: NaiveDate,
        document_type: DocumentType,
        open_venues: usize,
    ) -> Option<Self> {
        let state = known.map(|day| day.state);
        let next = match (document_type.name(), state) {
            (_, Some(DayState::Closed)) => return None,
            ("DT_GLOBAL_GN", _) | (_, Some(DayState::Closing)) if open_venues == 0 => DayState::Closed,
            ("DT_GLOBAL_GN", _) => DayState::Closing,
            ("DT_GLOBAL_GM", None) => DayState::Open,
            _ => return None,
        };
        (state != Some(next)).then_some(Self { date, state: next })
    }
}

/// From when to when a day of competition lasts: 03:00 to 03:00, local time.
#[must_use]
pub fn bounds(logical_date: NaiveDate, zone: Tz) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
    let begin = |date: NaiveDate| {
        let local = date.and_hms_opt(0, 0, 0)? + TimeDelta::hours(ROLLS_AT_HOUR);
        // Where the hour comes twice or not at all, as clocks change, the earlier reading or the next hour stands.
        let begin = local.and_local_timezone(zone);
        let begin =
            begin.earliest().or_else(|| (local + TimeDelta::hours(1)).and_local_timezone(zone).earliest());
        begin.map(|begin| begin.to_utc())
    };
    Some((begin(logical_date)?, begin(logical_date.succ_opt()?)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn date() -> NaiveDate {
        NaiveDate::from_ymd_opt(2030, 8, 4).unwrap()
    }

    #[test]
    fn a_day_lasts_from_three_to_three() {
        let (from, to) = bounds(date(), chrono_tz::Asia::Tokyo).unwrap();
        assert_eq!(
            (from.to_rfc3339(), to.to_rfc3339()),
            ("2030-08-03T18:00:00+00:00".into(), "2030-08-04T18:00:00+00:00".into())
        );
        // Clocks change at 01:00 in Lisbon; at 03:00 in none of these zones does an hour lack.
        let spring = NaiveDate::from_ymd_opt(2030, 3, 31).unwrap();
        let (from, _) = bounds(spring, chrono_tz::Europe::Lisbon).unwrap();
        assert_eq!(from.to_rfc3339(), "2030-03-31T02:00:00+00:00");
    }

    proptest! {
        #[test]
        fn days_meet_without_gap_or_overlap(offset in 0..20_000_i64) {
            let date = NaiveDate::from_ymd_opt(2000, 1, 1).unwrap() + TimeDelta::days(offset);
            for zone in [chrono_tz::Asia::Tokyo, chrono_tz::Europe::Paris, chrono_tz::America::Sao_Paulo] {
                let (from, to) = bounds(date, zone).unwrap();
                prop_assert_eq!(bounds(date.succ_opt().unwrap(), zone).unwrap().0, to);
                prop_assert!(from < to);
            }
        }
    }

    fn after(known: Option<DayState>, name: &str, open_venues: usize) -> Option<DayState> {
        let date = NaiveDate::default();
        let known = known.map(|state| LogicalDay { date, state });
        LogicalDay::after(known, date, name.parse().unwrap(), open_venues).map(|day| day.state)
    }

    #[test]
    fn good_morning_opens_and_good_night_closes_once_all_venues_are_closed() {
        use DayState::{Closed, Closing, Open};
        assert_eq!(after(None, "DT_GLOBAL_GM", 0), Some(Open));
        assert_eq!(after(Some(Open), "DT_RESULT", 2), None);
        assert_eq!(after(Some(Open), "DT_GLOBAL_GN", 2), Some(Closing));
        assert_eq!(after(Some(Closing), "DT_LOCAL_OFF", 1), None);
        assert_eq!(after(Some(Closing), "DT_LOCAL_OFF", 0), Some(Closed));
        assert_eq!(after(Some(Open), "DT_GLOBAL_GN", 0), Some(Closed));
        // In any order, and never twice.
        assert_eq!(after(None, "DT_GLOBAL_GN", 0), Some(Closed));
        assert_eq!(after(Some(Closed), "DT_GLOBAL_GM", 0), None);
        assert_eq!(after(Some(Open), "DT_GLOBAL_GM", 0), None);
    }
}
