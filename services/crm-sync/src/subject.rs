//! A person as the projection knows them: the newest profile and the newest consents, each with its version.

use std::collections::BTreeMap;

use domain::{ConsentKey, DateTime, EmailAddress, Locale, Pii, ProfileId, Utc};
use serde::{Deserialize, Serialize};

/// A person of the projection.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Who.
    pub profile_id: ProfileId,
    /// Dense number of the projection: loads go by ranges of it.
    pub ordinal: i64,
    /// Version of the profile; 0 when only consents came so far.
    pub profile_version: i64,
    /// Version of the consents; 0 when the person has said nothing.
    pub consent_version: i64,
    /// Whether the profile is active.
    pub state: Standing,
    /// Processing is restricted at the person's wish.
    pub restricted: bool,
    /// Language of mails.
    pub locale: Option<Locale>,
    /// The verified address.
    pub email: Option<EmailAddress>,
    /// Values by trait name.
    pub traits: Pii<BTreeMap<String, TraitValue>>,
    /// The newest answer of each key.
    pub heads: Heads,
}

/// The newest answers of a person.
pub type Heads = BTreeMap<ConsentKey, Head>;

/// Where a profile stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Consents came first, the profile not yet.
    Unknown,
    /// In use.
    Active,
    /// Merged into another.
    Merged,
    /// Being erased.
    Erasing,
    /// Erased.
    Erased,
}

/// A trait's value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TraitValue {
    /// Text, codes, numbers of telephones.
    Text(String),
    /// ISO 8601.
    Date(String),
    /// Yes or no.
    Flag(bool),
    /// A whole number.
    Number(i64),
    /// Codes.
    Set(Vec<String>),
}

/// The newest answer for one purpose and recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// What the person said.
    pub status: Status,
    /// Until when a given consent holds.
    pub valid_until: Option<DateTime<Utc>>,
    /// Hex SHA-256 of the words that were shown; empty where none were.
    pub notice_sha256: String,
}

/// What a person said; only `given` permits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Yes.
    Given,
    /// No.
    Refused,
    /// Not any more.
    Withdrawn,
    /// Nothing, or an answer that does not count any longer.
    Unknown,
}

impl Standing {
    /// Name on the wire and in SQL.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Active => "active",
            Self::Merged => "merged",
            Self::Erasing => "erasing",
            Self::Erased => "erased",
        }
    }

    /// The state of this name; what is not known counts as `unknown`, which permits nothing.
    #[must_use]
    pub fn of(name: &str) -> Self {
        let all = [Self::Active, Self::Merged, Self::Erasing, Self::Erased];
        all.into_iter().find(|state| state.name() == name).unwrap_or(Self::Unknown)
    }
}

impl Status {
    /// Name on the wire and in SQL.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Given => "given",
            Self::Refused => "refused",
            Self::Withdrawn => "withdrawn",
            Self::Unknown => "unknown",
        }
    }

    /// The status of this name; what is not known counts as `unknown`, which permits nothing.
    #[must_use]
    pub fn of(name: &str) -> Self {
        let all = [Self::Given, Self::Refused, Self::Withdrawn];
        all.into_iter().find(|status| status.name() == name).unwrap_or(Self::Unknown)
    }
}
