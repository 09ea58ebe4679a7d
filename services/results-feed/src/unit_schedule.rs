use domain::{DateTime, Utc};

use crate::{canonical::Node, rsc::Rsc};

/// The status of a unit that is never shown (ODF Foundation Principles 6.20).
pub const UNSCHEDULED: &str = "UNSCHEDULED";
/// Longest text of a schedule field in characters; longer ones are cut.
const LONGEST: usize = 200;

/// When and where an event unit takes place. Ceremonies are units too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitSchedule {
    /// The unit.
    pub unit: Rsc,
    /// Grows by one with each change.
    pub version: i64,
    /// Where and when, as announced last.
    pub announced: Announcement,
    /// The start before the last move.
    pub previous_start: Option<DateTime<Utc>>,
    /// When that was learnt.
    pub changed_at: DateTime<Utc>,
}

/// One unit of a DT_SCHEDULE or DT_SCHEDULE_UPDATE: each is whole, so that it replaces what was announced before.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Announcement {
    /// SCHEDULED, RUNNING, ...: an open set.
    pub status: String,
    /// Start and end with their zone's offset applied.
    pub start: Option<DateTime<Utc>>,
    /// See `start`.
    pub end: Option<DateTime<Utc>>,
    /// Code of the venue.
    pub venue: String,
    /// Code of the place within the venue.
    pub location: String,
    /// The unit's name in English.
    pub name: String,
    /// Whether medals are decided in it.
    pub medal: bool,
}

impl UnitSchedule {
    /// What is known after an announcement; nothing where it says what is known already.
    #[must_use]
    pub fn announce(
        current: Option<&Self>,
        unit: Rsc,
        announced: Announcement,
        now: DateTime<Utc>,
    ) -> Option<Self> {
        let Some(current) = current else {
            return Some(Self { unit, version: 1, announced, previous_start: None, changed_at: now });
        };
        if current.announced == announced {
            return None;
        }
        let moved = announced.start != current.announced.start;
        Some(Self {
            unit,
            version: current.version + 1,
            previous_start: if moved { current.announced.start } else { current.previous_start },
            announced,
            changed_at: now,
        })
    }
}

/// The units of a schedule document; those whose code is no RSC are left out.
#[must_use]
pub fn announcements(body: &Node) -> Vec<(Rsc, Announcement)> {
    let Some(competition) = body.get("Competition") else { return Vec::new() };
    let mut units = Vec::new();
    for (_, unit) in competition.children("Unit") {
        let Ok(code) = unit.text("Code").parse() else { continue };
        let announcement = Announcement {
            status: cut(unit.text("ScheduleStatus")),
            start: time(unit.text("StartDate")),
            end: time(unit.text("EndDate")),
            venue: cut(unit.text("Venue")),
            location: cut(unit.text("Location")),
            name: cut(unit.get("ItemName").map(|name| name.text("Value")).unwrap_or_default()),
            medal: matches!(unit.text("Medal"), "1" | "2" | "3"),
        };
        units.push((code, announcement));
    }
    units
}

fn time(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc())
}

fn cut(text: &str) -> String {
    text.chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: &str = "ATHM100M--------------FNL-000100--";

    fn at(text: &str) -> Announcement {
        Announcement { start: time(text), ..Announcement::default() }
    }

    #[test]
    fn a_move_keeps_the_start_before_it() {
        let unit: Rsc = UNIT.parse().unwrap();
        let now = DateTime::UNIX_EPOCH;
        let first = UnitSchedule::announce(None, unit, at("2030-08-04T21:50:00+09:00"), now).unwrap();
        assert_eq!((first.version, first.previous_start), (1, None));
        assert_eq!(UnitSchedule::announce(Some(&first), unit, at("2030-08-04T12:50:00Z"), now), None);
        let moved = UnitSchedule::announce(Some(&first), unit, at("2030-08-04T22:10:00+09:00"), now).unwrap();
        assert_eq!((moved.version, moved.previous_start), (2, first.announced.start));
        let running = Announcement { status: "RUNNING".to_owned(), ..moved.announced.clone() };
        let running = UnitSchedule::announce(Some(&moved), unit, running, now).unwrap();
        assert_eq!(running.previous_start, first.announced.start);
    }

    #[test]
    fn units_are_read_and_odd_ones_left_out() {
        let body = Node::from_bytes(
            format!(
                r#"{{"Competition":{{"Unit":{{
                    "{UNIT}":{{"Code":"{UNIT}","ScheduleStatus":"RUNNING","StartDate":"2030-08-04T21:50:00+09:00","Venue":"STA","Medal":"1",
                               "ItemName":{{"Value":"Men's 100m Final"}}}},
                    "x":{{"Code":"x"}}}}}}}}"#
            )
            .as_bytes(),
        )
        .unwrap();
        let units = announcements(&body);
        assert_eq!(units.len(), 1);
        assert_eq!(units[0].1.name, "Men's 100m Final");
        assert!(units[0].1.medal && units[0].1.start.is_some());
        assert!(announcements(&Node::empty()).is_empty());
    }
}
