use std::collections::BTreeMap;

use domain::{DateTime, NaiveDate, ProfileId, Utc};

/// What the index knows of one person: only what rules can ask.
#[derive(Debug, Clone)]
pub struct Person {
    /// Who.
    pub profile_id: ProfileId,
    /// Version of the profile record that is in here.
    pub profile_version: i64,
    /// Version of the consent record that is in here.
    pub consent_version: i64,
    /// The profile is active and not restricted.
    pub alive: bool,
    /// There is an address that mail systems take.
    pub reachable: bool,
    /// By name.
    pub traits: BTreeMap<String, TraitValue>,
    /// The newest answers, by purpose and recipient.
    pub consents: BTreeMap<(String, String), Consent>,
}

/// A trait's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TraitValue {
    /// Text, enum, date as ISO 8601, number as digits.
    One(String),
    /// Members of a set, sorted.
    Many(Vec<String>),
}

/// The newest answer for one purpose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consent {
    /// given, refused or withdrawn.
    pub status: String,
    /// Until when it holds.
    pub valid_until: Option<DateTime<Utc>>,
    /// The record that says so.
    pub record_id: String,
}

impl Person {
    /// Somebody of whom nothing is known yet.
    #[must_use]
    pub const fn unknown(profile_id: ProfileId) -> Self {
        Self {
            profile_id,
            profile_version: 0,
            consent_version: 0,
            alive: false,
            reachable: false,
            traits: BTreeMap::new(),
            consents: BTreeMap::new(),
        }
    }

    /// Whether the person permits a purpose at a time: only a given, valid consent does.
    #[must_use]
    pub fn permits(&self, purpose: &str, recipient: &str, now: DateTime<Utc>) -> bool {
        self.consent(purpose, recipient)
            .is_some_and(|held| held.status == "given" && held.valid_until.is_none_or(|until| now < until))
    }

    /// The newest answer for a purpose.
    #[must_use]
    pub fn consent(&self, purpose: &str, recipient: &str) -> Option<&Consent> {
        self.consents.get(&(purpose.to_owned(), recipient.to_owned()))
    }

    /// An ordinal of the person: `age` in whole years on a day.
    #[must_use]
    pub fn ordinal(&self, name: &str, today: NaiveDate) -> Option<i64> {
        match (name, self.traits.get("birth_date")) {
            ("age", Some(TraitValue::One(birth))) => {
                birth.parse::<NaiveDate>().ok().and_then(|birth| today.years_since(birth)).map(i64::from)
            }
            _ => None,
        }
    }
}
