//! What to do about a row that the recipient refused. Codes are kept, texts never: they quote values.

use domain::TimeDelta;

/// Tries of a row that may go again.
pub const MOST_TRIES: i32 = 6;

/// A refused row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowFailure {
    /// What to do about it.
    pub class: Class,
    /// The recipient's code, or ours.
    pub code: String,
    /// Fields that it names.
    pub fields: Vec<String>,
}

/// What to do about a refused row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// It passes: the same row again, later.
    Again,
    /// The row's values: waits for another row.
    Data,
    /// Two records claim the key: a person decides.
    Identity,
    /// The record was deleted there: it is created anew.
    Gone,
    /// The recipient's set-up does not fit the mapping: a person decides.
    Config,
}

impl RowFailure {
    /// By the recipient's code.
    #[must_use]
    pub fn of(code: &str, fields: Vec<String>) -> Self {
        let class = match code {
            "UNABLE_TO_LOCK_ROW"
            | "UNPROCESSED"
            | "REQUEST_LIMIT_EXCEEDED"
            | "SERVER_UNAVAILABLE"
            | "ALL_OR_NONE_OPERATION_ROLLED_BACK"
            | "UNKNOWN_EXCEPTION"
            | "NO_RESULT" => Class::Again,
            "DUPLICATE_VALUE" | "DUPLICATES_DETECTED" | "DUPLICATE_EXTERNAL_ID" => Class::Identity,
            "ENTITY_IS_DELETED" => Class::Gone,
            "INVALID_FIELD"
            | "INVALID_FIELD_FOR_INSERT_UPDATE"
            | "INVALID_TYPE"
            | "INSUFFICIENT_ACCESS_OR_READONLY" => Class::Config,
            _ => Class::Data,
        };
        Self { class, code: code.to_owned(), fields }
    }

    /// When it goes again after so many tries: 30 s doubling up to 15 min; never after six.
    #[must_use]
    pub fn again_after(&self, tries: i32) -> Option<TimeDelta> {
        if !matches!(self.class, Class::Again | Class::Gone) || !(1..MOST_TRIES).contains(&tries) {
            return None;
        }
        Some(TimeDelta::seconds(30 << (tries - 1)).min(TimeDelta::minutes(15)))
    }
}

impl Class {
    /// Name on the wire and in SQL.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Again => "again",
            Self::Data => "data",
            Self::Identity => "identity",
            Self::Gone => "gone",
            Self::Config => "config",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_goes_again_six_times_at_most() {
        let locked = RowFailure::of("UNABLE_TO_LOCK_ROW", Vec::new());
        let waits: Vec<i64> =
            (1..=5).filter_map(|tries| locked.again_after(tries)).map(|wait| wait.num_seconds()).collect();
        assert_eq!(waits, [30, 60, 120, 240, 480]);
        assert_eq!(locked.again_after(6), None);
    }

    #[test]
    fn wrong_data_waits_for_another_row() {
        for code in [
            "REQUIRED_FIELD_MISSING",
            "STRING_TOO_LONG",
            "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
            "UNKNOWN_CODE",
        ] {
            let failure = RowFailure::of(code, Vec::new());
            assert_eq!((failure.class, failure.again_after(1)), (Class::Data, None), "{code}");
        }
    }
}
