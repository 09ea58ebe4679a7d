//! A person as the mailer sees one: a projection of profile and consents, with only what mails may use.

use domain::{ConsentKey, DateTime, EmailAddress, ProfileId, Purpose, Utc, Uuid};
use serde::{Deserialize, Serialize};

use crate::{mailbox, message::Skip};

/// The fields that templates may use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fields {
    /// Family name; empty when unknown.
    #[serde(default)]
    pub family_name: String,
    /// Given name; empty when unknown.
    #[serde(default)]
    pub given_name: String,
    /// ISO 3166-2:JP code; empty when unknown.
    #[serde(default)]
    pub prefecture: String,
    /// Discipline codes.
    #[serde(default)]
    pub favourite_sports: Vec<String>,
}

impl Fields {
    /// What a template is tried with before it is taken.
    #[must_use]
    pub fn sample() -> Self {
        Self {
            family_name: "山田".to_owned(),
            given_name: "Alice".to_owned(),
            prefecture: "JP-13".to_owned(),
            favourite_sports: vec!["ATH".to_owned(), "JUD".to_owned()],
        }
    }
}

/// The newest answer of a person for one purpose and recipient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Purpose, by its name.
    pub purpose: String,
    /// Empty where the purpose names none.
    #[serde(default)]
    pub recipient: String,
    /// unknown, given, refused, withdrawn, expired or stale: only `given` permits.
    pub status: String,
    /// Until when it holds.
    pub valid_until: Option<DateTime<Utc>>,
    /// The record behind it.
    pub record_id: Option<Uuid>,
    /// When it was answered.
    pub at: Option<DateTime<Utc>>,
}

/// One person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// Who.
    pub profile_id: ProfileId,
    /// active, merged, erasing or erased.
    pub state: String,
    /// Processing is restricted.
    pub restricted: bool,
    /// The verified address.
    pub email: Option<EmailAddress>,
    /// BCP 47.
    pub locale: String,
    /// For templates.
    pub fields: Fields,
    /// All consents.
    pub heads: Vec<Head>,
}

/// A person who may be mailed now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reachable {
    /// To which address.
    pub email: EmailAddress,
    /// The consent that permits it; none where none is needed.
    pub consent_record_id: Option<Uuid>,
    /// Whether opens and clicks may be measured.
    pub tracked: bool,
}

impl Recipient {
    /// The last check before a mail leaves.
    ///
    /// # Errors
    /// Why there must be no mail.
    pub fn check(&self, key: &ConsentKey, now: DateTime<Utc>) -> Result<Reachable, Skip> {
        if self.state != "active" {
            return Err(Skip::NotActive);
        }
        if self.restricted {
            return Err(Skip::Restricted);
        }
        let consent_record_id = self.permission(key, now)?;
        let email = self.email.clone().filter(|email| mailbox::wire_form(email).is_some());
        let email = email.ok_or(Skip::Unreachable)?;
        Ok(Reachable { email, consent_record_id, tracked: self.permits_tracking(now) })
    }

    /// Whether opens and clicks of this person may be kept now.
    #[must_use]
    pub fn permits_tracking(&self, now: DateTime<Utc>) -> bool {
        ConsentKey::new(Purpose::OpenTracking, "").is_ok_and(|key| self.permission(&key, now).is_ok())
    }

    fn permission(&self, key: &ConsentKey, now: DateTime<Utc>) -> Result<Option<Uuid>, Skip> {
        if !key.purpose().needs_consent() {
            return Ok(None);
        }
        let head = self.heads.iter().find(|head| head.is_about(key)).ok_or(Skip::NoConsent)?;
        match head.status.as_str() {
            "given" if head.valid_until.is_none_or(|until| now < until) => Ok(head.record_id),
            "given" | "expired" => Err(Skip::ConsentExpired),
            "withdrawn" => Err(Skip::ConsentWithdrawn),
            _ => Err(Skip::NoConsent),
        }
    }
}

impl Head {
    /// Whether it answers for this purpose and recipient.
    #[must_use]
    pub fn is_about(&self, key: &ConsentKey) -> bool {
        self.purpose == key.purpose().name() && self.recipient == key.recipient()
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_900_000_000 + seconds, 0).unwrap()
    }

    fn key() -> ConsentKey {
        ConsentKey::new(Purpose::CommitteeNewsletter, "").unwrap()
    }

    fn head(purpose: Purpose, status: &str) -> Head {
        Head {
            purpose: purpose.name().to_owned(),
            recipient: String::new(),
            status: status.to_owned(),
            valid_until: Some(at(100)),
            record_id: Some(domain::new_id()),
            at: Some(at(0)),
        }
    }

    fn alice() -> Recipient {
        Recipient {
            profile_id: ProfileId::new(),
            state: "active".to_owned(),
            restricted: false,
            email: Some(EmailAddress::classify(b"a..b@docomo.ne.jp").unwrap()),
            locale: "ja".to_owned(),
            fields: Fields::sample(),
            heads: vec![head(Purpose::CommitteeNewsletter, "given")],
        }
    }

    #[test]
    fn only_a_given_and_valid_consent_permits() {
        let mut alice = alice();
        let reachable = alice.check(&key(), at(99)).unwrap();
        assert_eq!((reachable.consent_record_id, reachable.tracked), (alice.heads[0].record_id, false));
        assert_eq!(alice.check(&key(), at(100)), Err(Skip::ConsentExpired));
        for (status, skip) in [
            ("withdrawn", Skip::ConsentWithdrawn),
            ("refused", Skip::NoConsent),
            ("stale", Skip::NoConsent),
            ("GIVEN", Skip::NoConsent),
        ] {
            alice.heads[0].status = status.to_owned();
            assert_eq!(alice.check(&key(), at(0)), Err(skip), "{status}");
        }
        alice.heads.clear();
        assert_eq!(alice.check(&key(), at(0)), Err(Skip::NoConsent));
        let service = ConsentKey::new(Purpose::Service, "").unwrap();
        assert!(alice.check(&service, at(0)).is_ok(), "what a person asked for needs no consent");
    }

    #[test]
    fn tracking_has_a_consent_of_its_own() {
        let mut alice = alice();
        alice.heads.push(head(Purpose::OpenTracking, "given"));
        assert!(alice.check(&key(), at(0)).unwrap().tracked);
        alice.heads[1].status = "withdrawn".to_owned();
        assert!(!alice.check(&key(), at(0)).unwrap().tracked);
    }

    #[test]
    fn nobody_is_mailed_who_is_gone_restricted_or_unreachable() {
        let check = |change: fn(&mut Recipient)| {
            let mut alice = alice();
            change(&mut alice);
            alice.check(&key(), at(0)).unwrap_err()
        };
        assert_eq!(check(|alice| alice.state = "erasing".to_owned()), Skip::NotActive);
        assert_eq!(check(|alice| alice.restricted = true), Skip::Restricted);
        assert_eq!(check(|alice| alice.email = None), Skip::Unreachable);
        assert_eq!(check(|alice| alice.email = EmailAddress::classify(b"nobody").ok()), Skip::Unreachable);
    }
}
