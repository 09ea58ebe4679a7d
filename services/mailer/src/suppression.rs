//! Who is not to be mailed, why, and by whose mail.

use aws_lc_rs::hmac;
use domain::{CampaignId, ConsentKey, DateTime, EmailAddress, ProfileId, Utc, Uuid};

use crate::recipient::Head;

/// Why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The person used an unsubscribe link.
    Unsubscribed,
    /// The address does not exist.
    HardBounce,
    /// The person called the mail spam.
    Complaint,
    /// Staff said so.
    Manual,
    /// The address was unreachable too often.
    RepeatedSoft,
}

/// Whose mail it stops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All.
    All,
    /// That of one sender, and of every sender with the same purpose.
    Sender {
        /// The sender.
        key: String,
        /// What the sender's mail is for.
        purpose: ConsentKey,
    },
}

/// A suppression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppression {
    /// Its id.
    pub suppression_id: Uuid,
    /// Counts its changes.
    pub version: i64,
    /// Who.
    pub profile_id: ProfileId,
    /// Keyed hash of the address, where the address and not the person is meant.
    pub address_hash: Option<Vec<u8>>,
    /// Whose mail.
    pub scope: Scope,
    /// Why.
    pub reason: Reason,
    /// The campaign whose mail led to it.
    pub campaign_id: Option<CampaignId>,
    /// Since when.
    pub at: DateTime<Utc>,
    /// Until when; none while it stands.
    pub ended_at: Option<DateTime<Utc>>,
}

impl Suppression {
    /// Whether it stops mail of this sender to this address.
    #[must_use]
    pub fn stops(&self, sender_key: &str, purpose: &ConsentKey, address_hash: &[u8]) -> bool {
        let meant = self.address_hash.as_deref().is_none_or(|held| held == address_hash);
        let reached = match &self.scope {
            Scope::All => true,
            Scope::Sender { key, purpose: held } => key == sender_key || held == purpose,
        };
        self.ended_at.is_none() && meant && reached
    }

    /// Whether a newer consent ends it: only what the person did by a link, never a bounce or a complaint.
    #[must_use]
    pub fn is_ended_by(&self, head: &Head) -> bool {
        let Scope::Sender { purpose, .. } = &self.scope else { return false };
        self.ended_at.is_none()
            && self.reason == Reason::Unsubscribed
            && head.is_about(purpose)
            && head.status == "given"
            && head.at.is_some_and(|at| at > self.at)
    }

    /// Ends it.
    pub fn end(&mut self, now: DateTime<Utc>) {
        self.ended_at = Some(now);
        self.version += 1;
    }
}

/// The keyed hash by which an address is known outside of this database.
#[must_use]
pub fn address_hash(key: &[u8], address: &EmailAddress) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::sign(&key, &address.key()).as_ref().to_vec()
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 5] =
        [Self::Unsubscribed, Self::HardBounce, Self::Complaint, Self::Manual, Self::RepeatedSoft];

    /// Name on the wire and in SQL.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unsubscribed => "unsubscribed",
            Self::HardBounce => "hard_bounce",
            Self::Complaint => "complaint",
            Self::Manual => "manual",
            Self::RepeatedSoft => "repeated_soft",
        }
    }

    /// The reason of this name.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.name() == name)
    }
}

impl Scope {
    /// Name on the wire and in SQL.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Sender { .. } => "sender",
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::Purpose;

    use super::*;
    use crate::recipient::tests::at;

    fn key(purpose: Purpose) -> ConsentKey {
        ConsentKey::new(purpose, "").unwrap()
    }

    fn suppression(scope: Scope, reason: Reason) -> Suppression {
        Suppression {
            suppression_id: domain::new_id(),
            version: 1,
            profile_id: ProfileId::new(),
            address_hash: None,
            scope,
            reason,
            campaign_id: None,
            at: at(10),
            ended_at: None,
        }
    }

    fn committee() -> Scope {
        Scope::Sender { key: "committee".to_owned(), purpose: key(Purpose::CommitteeNewsletter) }
    }

    fn given(purpose: Purpose, seconds: i64) -> Head {
        Head {
            purpose: purpose.name().to_owned(),
            recipient: String::new(),
            status: "given".to_owned(),
            valid_until: None,
            record_id: None,
            at: Some(at(seconds)),
        }
    }

    #[test]
    fn an_unsubscription_stops_every_sender_of_the_purpose_and_no_other() {
        let held = suppression(committee(), Reason::Unsubscribed);
        assert!(held.stops("committee", &key(Purpose::CommitteeNewsletter), b""));
        assert!(held.stops("second", &key(Purpose::CommitteeNewsletter), b""));
        assert!(!held.stops("ioc", &key(Purpose::IocNewsletter), b""));
        assert!(suppression(Scope::All, Reason::Manual).stops("ioc", &key(Purpose::IocNewsletter), b""));
    }

    #[test]
    fn a_bounce_is_of_the_address_and_a_new_address_is_mailed() {
        let mut held = suppression(Scope::All, Reason::HardBounce);
        held.address_hash = Some(b"old".to_vec());
        assert!(held.stops("ioc", &key(Purpose::IocNewsletter), b"old"));
        assert!(!held.stops("ioc", &key(Purpose::IocNewsletter), b"new"));
    }

    #[test]
    fn only_a_later_consent_ends_an_unsubscription_and_nothing_ends_a_complaint() {
        let held = suppression(committee(), Reason::Unsubscribed);
        assert!(held.is_ended_by(&given(Purpose::CommitteeNewsletter, 11)));
        assert!(!held.is_ended_by(&given(Purpose::CommitteeNewsletter, 10)));
        assert!(!held.is_ended_by(&given(Purpose::IocNewsletter, 11)));
        let held = suppression(committee(), Reason::Complaint);
        assert!(!held.is_ended_by(&given(Purpose::CommitteeNewsletter, 11)));
    }
}
