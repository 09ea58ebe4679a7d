//! A destination: a recipient's system, and the object there that receives people.

use domain::{DateTime, Utc, Uuid};
use serde::{Deserialize, Serialize};

/// A recipient's system with its one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// Its id.
    pub destination_id: Uuid,
    /// Unique.
    pub name: String,
    /// Who receives, as agreements name them.
    pub recipient: String,
    /// Where it stands.
    pub state: State,
    /// How it is reached.
    pub salesforce: Salesforce,
    /// What receives.
    pub object: Object,
    /// Raised by each change.
    pub version: i64,
    /// When it changed last.
    pub changed_at: DateTime<Utc>,
}

/// A Salesforce org. Its private key is a setting of the service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Salesforce {
    /// Where tokens are asked for, without a slash at the end.
    pub login_url: String,
    /// The connected app's consumer key.
    pub client_id: String,
    /// The integration user.
    pub username: String,
    /// `aud` of the assertion.
    pub audience: String,
}

/// The object that receives. Rows are upserted; a cease suppresses: flags off, the rest cleared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its id.
    pub object_id: Uuid,
    /// API name.
    pub name: String,
    /// API name of the external id field.
    pub match_key_field: String,
    /// The agreement that counts.
    pub agreement_id: Option<Uuid>,
    /// The published mapping.
    pub mapping_version_id: Option<Uuid>,
}

/// Where a destination stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Being set up: nothing is sent.
    Draft,
    /// Everything is sent.
    Active,
    /// Only ceases are sent.
    Paused,
    /// Over.
    Archived,
}

/// Why a step is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There is no active agreement.
    NoAgreement,
    /// There is no published mapping.
    NoMapping,
    /// Not from where it stands.
    State(State),
}

impl Destination {
    /// Starts a draft, or goes on after a pause. True when that changed something.
    ///
    /// # Errors
    /// Nothing to send by, or an archived one.
    pub fn resume(&mut self, agreement_is_active: bool) -> Result<bool, Refusal> {
        match self.state {
            State::Active => return Ok(false),
            State::Archived => return Err(Refusal::State(State::Archived)),
            State::Draft | State::Paused => {}
        }
        if !agreement_is_active {
            return Err(Refusal::NoAgreement);
        }
        if self.object.mapping_version_id.is_none() {
            return Err(Refusal::NoMapping);
        }
        self.state = State::Active;
        Ok(true)
    }

    /// Stops loads and changes. True when that changed something.
    ///
    /// # Errors
    /// One that was never started, or is archived.
    pub fn pause(&mut self) -> Result<bool, Refusal> {
        match self.state {
            State::Paused => Ok(false),
            State::Active => {
                self.state = State::Paused;
                Ok(true)
            }
            other => Err(Refusal::State(other)),
        }
    }
}

impl State {
    /// Name on the wire and in SQL.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Archived => "archived",
        }
    }

    /// The state of this name.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        [Self::Draft, Self::Active, Self::Paused, Self::Archived]
            .into_iter()
            .find(|state| state.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(mapping: Option<Uuid>) -> Destination {
        Destination {
            destination_id: Uuid::from_u128(1),
            name: "ioc-crm".to_owned(),
            recipient: "ioc".to_owned(),
            state: State::Draft,
            salesforce: Salesforce {
                login_url: "https://login.example.org".to_owned(),
                client_id: "key".to_owned(),
                username: "integration@example.org".to_owned(),
                audience: "https://login.example.org".to_owned(),
            },
            object: Object {
                object_id: Uuid::from_u128(2),
                name: "Contact".to_owned(),
                match_key_field: "Kotinos_Id__c".to_owned(),
                agreement_id: None,
                mapping_version_id: mapping,
            },
            version: 1,
            changed_at: DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn nothing_starts_without_agreement_and_mapping() {
        assert_eq!(draft(None).resume(true), Err(Refusal::NoMapping));
        assert_eq!(draft(Some(Uuid::nil())).resume(false), Err(Refusal::NoAgreement));
        let mut destination = draft(Some(Uuid::nil()));
        assert_eq!(destination.resume(true), Ok(true));
        assert_eq!(destination.resume(true), Ok(false));
        assert_eq!(destination.pause(), Ok(true));
        assert_eq!(destination.resume(true), Ok(true));
    }

    #[test]
    fn a_draft_is_not_paused() {
        assert_eq!(draft(None).pause(), Err(Refusal::State(State::Draft)));
    }
}
