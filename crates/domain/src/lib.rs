//! Words that the services share: typed ids, the e-mail address with its class, locales, sport and NOC codes, consent
//! purposes, personal data that prints redacted, and the clock. No I/O, no async, no wire format.

mod clock;
mod email_address;
mod id;
mod locale;
mod noc;
mod pii;
mod purpose;
mod service;
mod sport_code;

pub use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
pub use clock::Clock;
pub use email_address::{AddressClass, EmailAddress};
pub use id::{CampaignId, EventId, ParseIdError, ProfileId, RequestId, SegmentId, SessionId, UserId, new_id};
pub use locale::Locale;
pub use noc::Noc;
pub use pii::Pii;
pub use purpose::{ConsentKey, Purpose};
pub use service::Service;
pub use sport_code::SportCode;
pub use uuid::Uuid;

/// A value that breaks a rule of its type. `rule` says what the value must be; the value itself is never repeated,
/// since it may be personal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{rule}")]
pub struct InvalidValue {
    /// What a right value looks like.
    pub rule: &'static str,
}

impl InvalidValue {
    pub(crate) const fn new(rule: &'static str) -> Self {
        Self { rule }
    }
}
