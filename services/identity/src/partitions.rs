//! Tables whose rows are over after a time, whatever happened to them: partitions by the time inside their UUIDv7 keys
//! (RFC 9562 5.7), made ahead, and dropped when nothing in them can be alive. Pure.

use domain::{DateTime, TimeDelta, Utc, Uuid};

/// How long a partition is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// For rows of minutes or hours.
    Day,
    /// For rows of weeks: few partitions, since every look-up by another column asks each.
    Month,
}

/// A partitioned table.
#[derive(Debug, Clone, Copy)]
pub struct Partitioned {
    /// Its name in schema identity; `<name>_default` takes what no partition takes.
    pub table: &'static str,
    /// Its key.
    pub key: &'static str,
    /// Of its partitions.
    pub span: Span,
    /// After it a row is of no use; none: rows are kept, an operator drops partitions.
    pub life: Option<TimeDelta>,
    /// In percent, where rows change.
    pub fillfactor: u8,
}

const fn kept(table: &'static str, key: &'static str, span: Span, days: i64, fillfactor: u8) -> Partitioned {
    Partitioned { table, key, span, life: Some(TimeDelta::days(days)), fillfactor }
}

/// Every one. A table that an older schema does not have yet is passed over.
pub const TABLES: [Partitioned; 10] = [
    // A link lives an hour.
    kept("email_challenge", "challenge_id", Span::Day, 1, 100),
    // A code lives a minute; one that comes again within a day still revokes its family.
    kept("authorization_code", "code_id", Span::Day, 1, 100),
    kept("pushed_request", "request_id", Span::Day, 1, 100),
    // A challenge that was answered may not be answered again while its page could be sent: hours.
    kept("spent_ceremony", "ceremony_id", Span::Day, 1, 100),
    // No access token lives longer than minutes; a day is left for whoever looks for a cause.
    kept("revocation", "revocation_id", Span::Day, 1, 100),
    // A family lives 90 days.
    kept("token_family", "family_id", Span::Month, 91, 70),
    // A session lives 30 days, and is remembered 30 more.
    kept("browser_session", "session_id", Span::Month, 60, 100),
    kept("session_client", "session_id", Span::Month, 60, 100),
    // A delivery is tried for a day, and shown for a month.
    kept("logout_delivery", "delivery_id", Span::Month, 30, 100),
    Partitioned { table: "audit_record", key: "audit_id", span: Span::Month, life: None, fillfactor: 100 },
];

/// A partition that is there or is to be made: keys from one id, to another exclusively.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Its name.
    pub name: String,
    /// The first key.
    pub from: Uuid,
    /// Behind the last key.
    pub to: Uuid,
}

/// What is to be done with a table's partitions.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// To be made, in this order.
    pub make: Vec<Partition>,
    /// To be dropped.
    pub drop: Vec<String>,
}

/// The smallest id of this millisecond: 48 bits of time stand first.
pub fn first_id_of(at: DateTime<Utc>) -> Uuid {
    let milliseconds = u128::from(at.timestamp_millis().max(0).unsigned_abs());
    Uuid::from_u128(milliseconds << 80)
}

/// When an id was made.
pub fn time_of(id: Uuid) -> DateTime<Utc> {
    let milliseconds = i64::try_from(id.as_u128() >> 80).unwrap_or(i64::MAX);
    DateTime::from_timestamp_millis(milliseconds).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

impl Partitioned {
    /// The name of the partition that takes what no other takes: nothing, while the others are made in time.
    pub fn default_partition(&self) -> String {
        format!("{}_default", self.table)
    }

    /// The first id that a row may still be of use with.
    pub fn oldest(&self, now: DateTime<Utc>) -> Option<Uuid> {
        self.life.map(|life| first_id_of(now - life))
    }

    /// What is due. `made` is the time by which ids are made; `newest` is the newest key in the default partition, whose
    /// range no partition may take.
    pub fn due(
        &self,
        there: &[Partition],
        newest: Option<Uuid>,
        made: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Due {
        let over = self.oldest(now);
        let is_over = |partition: &&Partition| over.is_some_and(|oldest| partition.to <= oldest);
        let drop = there.iter().filter(is_over).map(|partition| partition.name.clone()).collect();
        let until = made + self.ahead();
        let mut from = self.start_of(made);
        if let Some(end) = there.iter().map(|partition| time_of(partition.to)).max() {
            from = from.max(end);
        }
        if newest.is_some_and(|newest| newest >= first_id_of(from)) {
            // Rows of today lie there already: they stay until they are over, and tomorrow's do not follow them.
            from = midnight(made) + TimeDelta::days(1);
        }
        let mut make = Vec::new();
        while from < until {
            let to = self.end_of(from);
            let name = format!("{}_{}", self.table, from.format("%Y%m%d"));
            make.push(Partition { name, from: first_id_of(from), to: first_id_of(to) });
            from = to;
        }
        Due { make, drop }
    }

    // So long the service may be away before rows fall into the default partition. Each partition costs every look-up a
    // little.
    const fn ahead(&self) -> TimeDelta {
        match self.span {
            Span::Day => TimeDelta::days(3),
            Span::Month => TimeDelta::days(10),
        }
    }

    fn start_of(&self, at: DateTime<Utc>) -> DateTime<Utc> {
        match self.span {
            Span::Day => midnight(at),
            Span::Month => month(at, 0),
        }
    }

    fn end_of(&self, at: DateTime<Utc>) -> DateTime<Utc> {
        match self.span {
            Span::Day => midnight(at) + TimeDelta::days(1),
            Span::Month => month(at, 1),
        }
    }
}

fn midnight(at: DateTime<Utc>) -> DateTime<Utc> {
    at.date_naive().and_time(chrono::NaiveTime::MIN).and_utc()
}

// The first moment of this month, or of the next one.
fn month(at: DateTime<Utc>, further: u32) -> DateTime<Utc> {
    use chrono::{Datelike as _, Months};
    let first = at.date_naive().with_day(1).unwrap_or(at.date_naive());
    let first = first.checked_add_months(Months::new(further)).unwrap_or(first);
    first.and_time(chrono::NaiveTime::MIN).and_utc()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn named(name: &str) -> Partitioned {
        TABLES.into_iter().find(|table| table.table == name).unwrap()
    }

    fn names(due: &Due) -> Vec<&str> {
        due.make.iter().map(|partition| partition.name.as_str()).collect()
    }

    #[test]
    fn ids_of_before_are_smaller_and_of_after_greater() {
        let id = domain::new_id();
        let at = time_of(id);
        assert!(first_id_of(at) < id);
        assert!(first_id_of(at + TimeDelta::milliseconds(1)) > id);
    }

    #[test]
    fn days_and_months_are_made_ahead_and_lie_side_by_side() {
        let now = at("2026-07-24T10:00:00Z");
        let due = named("authorization_code").due(&[], None, now, now);
        let days = ["20260724", "20260725", "20260726", "20260727"];
        assert_eq!(names(&due), days.map(|day| format!("authorization_code_{day}")));
        for pair in due.make.windows(2) {
            assert_eq!(pair[0].to, pair[1].from);
        }
        let again = named("authorization_code").due(&due.make, None, now, now);
        assert_eq!(again, Due::default());

        let due = named("token_family").due(&[], None, now, now);
        assert_eq!(names(&due), ["token_family_20260701", "token_family_20260801"]);
        assert!((due.make[0].from..due.make[0].to).contains(&first_id_of(now)));
        let december = at("2026-12-29T23:00:00Z");
        let due = named("token_family").due(&due.make, None, december, now);
        assert_eq!(names(&due), ["token_family_20261201", "token_family_20270101"]);
    }

    #[test]
    fn a_partition_goes_when_its_last_row_is_over() {
        let made = at("2026-07-24T10:00:00Z");
        let codes = named("authorization_code");
        let there = codes.due(&[], None, made, made).make;
        let dropped = |now| codes.due(&there, None, made, at(now)).drop;
        assert!(dropped("2026-07-25T23:59:59Z").is_empty());
        assert_eq!(dropped("2026-07-26T00:00:00Z"), ["authorization_code_20260724"]);
        let audit = named("audit_record");
        let there = audit.due(&[], None, made, made).make;
        assert!(audit.due(&there, None, made, at("2036-01-01T00:00:00Z")).drop.is_empty());
    }

    #[test]
    fn rows_that_lie_in_the_default_partition_are_passed_by() {
        let now = at("2026-07-24T10:00:00Z");
        let newest = Some(first_id_of(now));
        let due = named("browser_session").due(&[], newest, now, now);
        assert_eq!(names(&due), ["browser_session_20260725", "browser_session_20260801"]);
        assert_eq!(due.make[0].to, first_id_of(at("2026-08-01T00:00:00Z")));
        // Rows of before are in nobody's way.
        let old = Some(first_id_of(at("2026-06-30T23:59:59Z")));
        let due = named("browser_session").due(&[], old, now, now);
        assert_eq!(names(&due), ["browser_session_20260701", "browser_session_20260801"]);
    }
}
