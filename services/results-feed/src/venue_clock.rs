use std::time::Duration;

use domain::{DateTime, Utc};

use crate::{document_type::DocumentType, header::DocumentKey};

/// How often a venue may leave out its keep-alive before its data is late, and how often before it is stale.
const STALE_AFTER: u32 = 3;

/// Whether the data of a discipline flows from a venue (ODF Foundation Principles 4.2): opened by LOCAL_ON, heard of by
/// keep-alives, closed by LOCAL_OFF. Lateness is a function of time, so it needs no entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VenueClock {
    /// Such as `STA`.
    pub venue: String,
    /// Three characters.
    pub discipline: String,
    /// Between LOCAL_ON and LOCAL_OFF.
    pub is_open: bool,
    /// When it was last heard of.
    pub heard_at: DateTime<Utc>,
}

/// How fresh a venue's data is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Freshness {
    /// Nothing is expected.
    Closed,
    /// Heard of within the time-out.
    Fresh,
    /// Longer ago.
    Late,
    /// Three times as long ago, or more.
    Stale,
}

impl Freshness {
    /// Every value.
    pub const ALL: [Self; 4] = [Self::Closed, Self::Fresh, Self::Late, Self::Stale];

    /// The name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Fresh => "fresh",
            Self::Late => "late",
            Self::Stale => "stale",
        }
    }
}

/// What a document says of a venue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// LOCAL_ON.
    Opened,
    /// A keep-alive.
    Alive,
    /// LOCAL_OFF.
    Closed,
}

impl Sign {
    /// What a document says of which venue and discipline; nothing where it is no clock. The venue is the unit of its code.
    #[must_use]
    pub fn of(key: &DocumentKey, document_type: DocumentType) -> Option<(String, String, Self)> {
        let sign = match document_type.name() {
            "DT_LOCAL_ON" => Self::Opened,
            "DT_LOCAL_OFF" => Self::Closed,
            "DT_KA" => Self::Alive,
            _ => return None,
        };
        let rsc = key.rsc().filter(crate::rsc::Rsc::is_unit)?;
        Some((rsc.unit().to_owned(), rsc.discipline().to_owned(), sign))
    }
}

impl VenueClock {
    /// The clock after a sign; a keep-alive of a venue that nobody opened changes only when it was heard of.
    #[must_use]
    pub fn after(
        known: Option<&Self>,
        venue: &str,
        discipline: &str,
        sign: Sign,
        now: DateTime<Utc>,
    ) -> Self {
        let is_open = match sign {
            Sign::Opened => true,
            Sign::Closed => false,
            Sign::Alive => known.is_some_and(|clock| clock.is_open),
        };
        Self { venue: venue.to_owned(), discipline: discipline.to_owned(), is_open, heard_at: now }
    }

    /// How fresh its data is now, with keep-alives each `timeout` at most.
    #[must_use]
    pub fn freshness(&self, now: DateTime<Utc>, timeout: Duration) -> Freshness {
        let age = self.age(now);
        if !self.is_open {
            Freshness::Closed
        } else if age <= timeout {
            Freshness::Fresh
        } else if age <= timeout * STALE_AFTER {
            Freshness::Late
        } else {
            Freshness::Stale
        }
    }

    /// Since it was last heard of.
    #[must_use]
    pub fn age(&self, now: DateTime<Utc>) -> Duration {
        (now - self.heard_at).to_std().unwrap_or_default()
    }

    /// Its code, as its documents have it.
    #[must_use]
    pub fn code(&self) -> String {
        format!("{:-<26}{:-<8}", self.discipline, self.venue)
    }
}

#[cfg(test)]
mod tests {
    use domain::TimeDelta;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(30);

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    fn clock(sign: Sign) -> VenueClock {
        VenueClock::after(None, "JAL", "ALP", sign, at(0))
    }

    #[test]
    fn an_open_venue_gets_late_then_stale() {
        let clock = clock(Sign::Opened);
        let freshness = |seconds| clock.freshness(at(seconds), TIMEOUT).name();
        assert_eq!([0, 30, 31, 90, 91].map(freshness), ["fresh", "fresh", "late", "late", "stale"]);
        // A clock of another machine that is ahead is no age.
        assert_eq!(freshness(-5), "fresh");
    }

    #[test]
    fn before_it_is_opened_and_after_it_is_closed_nothing_is_expected() {
        assert_eq!(clock(Sign::Alive).freshness(at(1_000), TIMEOUT), Freshness::Closed);
        let open = clock(Sign::Opened);
        let alive = VenueClock::after(Some(&open), "JAL", "ALP", Sign::Alive, at(20));
        assert_eq!(alive.freshness(at(49), TIMEOUT), Freshness::Fresh);
        let closed = VenueClock::after(Some(&alive), "JAL", "ALP", Sign::Closed, at(50));
        assert_eq!(closed.freshness(at(5_000), TIMEOUT), Freshness::Closed);
        let late_ka = VenueClock::after(Some(&closed), "JAL", "ALP", Sign::Alive, at(60));
        assert_eq!(late_ka.freshness(at(61), TIMEOUT), Freshness::Closed);
    }

    #[test]
    fn the_venue_is_the_unit_of_a_code() {
        let key = DocumentKey {
            competition_code: "SYN2030".to_owned(),
            document_code: clock(Sign::Opened).code(),
            document_subcode: String::new(),
            document_type: "DT_KA".to_owned(),
            document_subtype: String::new(),
            language: "ENG".to_owned(),
        };
        assert_eq!(key.document_code, "ALP-----------------------JAL-----");
        let sign = |name: &str| Sign::of(&key, name.parse().unwrap());
        assert_eq!(sign("DT_KA"), Some(("JAL".to_owned(), "ALP".to_owned(), Sign::Alive)));
        assert_eq!(sign("DT_RESULT"), None);
        let nowhere = DocumentKey { document_code: format!("{:-<34}", "ALP"), ..key.clone() };
        assert_eq!(Sign::of(&nowhere, "DT_KA".parse().unwrap()), None);
    }
}
