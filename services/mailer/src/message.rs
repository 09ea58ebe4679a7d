//! The ledger: one row for each campaign and person, written when the outcome is known (or, for `at_most_once`, before
//! the mail leaves).

use aws_lc_rs::hmac;
use domain::{CampaignId, DateTime, ProfileId, TimeDelta, Utc, Uuid};

/// Where a mail stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// About to leave, `at_most_once` only.
    Handing,
    /// A relay took it.
    Accepted,
    /// A relay asked for a later attempt.
    Deferred,
    /// A relay refused it for good.
    Bounced,
    /// Never sent; the reason says why.
    Skipped,
    /// Its deadline passed before a relay took it.
    Expired,
    /// It could not be made.
    Failed,
    /// It may have left: never sent again, listed by name.
    Unknown,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 8] = [
        Self::Handing,
        Self::Accepted,
        Self::Deferred,
        Self::Bounced,
        Self::Skipped,
        Self::Expired,
        Self::Failed,
        Self::Unknown,
    ];

    /// Name on the wire and in SQL.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Handing => "handing",
            Self::Accepted => "accepted",
            Self::Deferred => "deferred",
            Self::Bounced => "bounced",
            Self::Skipped => "skipped",
            Self::Expired => "expired",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }

    /// The state of this name.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// Why a person of a freeze gets no mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skip {
    /// Never given, or refused.
    NoConsent,
    /// Given once, and withdrawn.
    ConsentWithdrawn,
    /// Given, and no longer valid.
    ConsentExpired,
    /// A suppression stands.
    Suppressed,
    /// No address, or one that cannot be mailed.
    Unreachable,
    /// Merged, being erased or erased.
    NotActive,
    /// Processing is restricted.
    Restricted,
    /// The profile never arrived here.
    UnknownRecipient,
    /// The campaign was cancelled.
    Cancelled,
}

impl Skip {
    /// Name on the wire and in SQL.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoConsent => "no_consent",
            Self::ConsentWithdrawn => "consent_withdrawn",
            Self::ConsentExpired => "consent_expired",
            Self::Suppressed => "suppressed",
            Self::Unreachable => "unreachable",
            Self::NotActive => "not_active",
            Self::Restricted => "restricted",
            Self::UnknownRecipient => "unknown_recipient",
            Self::Cancelled => "cancelled",
        }
    }
}

/// What became of one mail, as it goes into the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Where it stands now.
    pub state: State,
    /// Skip reason, error, or the enhanced status code of the relay.
    pub reason: String,
    /// With angle brackets; empty when none was made.
    pub message_id: String,
    /// The relay's status code.
    pub relay_code: Option<u16>,
    /// The relay's words, cut to 500 characters. They may repeat the address, so they never leave the database.
    pub relay_reply: String,
    /// In which language.
    pub language: String,
    /// Whether it carries tracking.
    pub tracked: bool,
    /// The consent that permitted it.
    pub consent_record_id: Option<Uuid>,
    /// A later attempt, for `deferred`.
    pub retry_at: Option<DateTime<Utc>>,
    /// The address does not exist: it is suppressed.
    pub hard_bounce: bool,
}

impl Outcome {
    /// A person who gets no mail.
    #[must_use]
    pub fn skipped(skip: Skip) -> Self {
        Self::without_relay(State::Skipped, skip.name())
    }

    /// A mail that never met a relay.
    #[must_use]
    pub fn without_relay(state: State, reason: &str) -> Self {
        Self {
            state,
            reason: reason.to_owned(),
            message_id: String::new(),
            relay_code: None,
            relay_reply: String::new(),
            language: String::new(),
            tracked: false,
            consent_record_id: None,
            retry_at: None,
            hard_bounce: false,
        }
    }
}

/// The same on every attempt and in every process: `HMAC(campaign, profile) @ sender's domain`.
#[must_use]
pub fn message_id(key: &[u8], campaign_id: CampaignId, profile_id: ProfileId, domain: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let ids = [campaign_id.0.as_bytes().as_slice(), profile_id.0.as_bytes().as_slice()].concat();
    let digest = hmac::sign(&key, &ids);
    let name: String = digest.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("<{name}@{domain}>")
}

/// When a deferred mail is tried again: one minute, doubling to four hours. `jitter` is 0 to 1,000 thousandths of a
/// quarter, so that a storm of refusals does not come back as one.
#[must_use]
pub fn retry_after(attempts: u32, jitter: u32) -> TimeDelta {
    let minutes = 1_i64 << attempts.saturating_sub(1).min(8);
    let seconds = (minutes * 60).min(4 * 3_600);
    TimeDelta::seconds(seconds + seconds * i64::from(jitter.min(1_000)) / 4_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_id_is_the_same_on_every_attempt_and_another_for_others() {
        let (campaign, alice, bob) = (CampaignId::new(), ProfileId::new(), ProfileId::new());
        let id = message_id(b"key", campaign, alice, "committee.example");
        assert_eq!(id, message_id(b"key", campaign, alice, "committee.example"));
        assert_ne!(id, message_id(b"key", campaign, bob, "committee.example"));
        assert_ne!(id, message_id(b"other", campaign, alice, "committee.example"));
        assert!(id.len() == 1 + 32 + 1 + 17 + 1 && id.ends_with("@committee.example>"), "{id}");
    }

    #[test]
    fn attempts_wait_longer_up_to_four_hours() {
        assert_eq!(retry_after(1, 0), TimeDelta::seconds(60));
        assert_eq!(retry_after(2, 0), TimeDelta::seconds(120));
        assert_eq!(retry_after(99, 0), TimeDelta::hours(4));
        assert_eq!(retry_after(1, 1_000), TimeDelta::seconds(75));
    }

    #[test]
    fn a_state_has_one_name() {
        for state in State::ALL {
            assert_eq!(State::find(state.name()), Some(state));
        }
    }
}
