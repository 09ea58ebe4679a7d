//! People as profile tells of them.

use domain::{DateTime, EventId, ProfileId, TimeDelta, Utc};
use outbox::{Fact, Topic};
use prost_types::Timestamp;
use proto::profile::v1::{self as profile, trait_value::Kind};

/// A person as profile tells of them.
#[derive(Debug, Clone)]
pub struct Person {
    pub id: ProfileId,
    pub profile_version: i64,
    pub consent_version: i64,
    pub prefecture: Option<&'static str>,
    pub sports: &'static [&'static str],
    /// Purpose and status.
    pub consents: Vec<(&'static str, &'static str)>,
    pub restricted: bool,
    /// The record behind every answer.
    pub record_id: String,
}

/// Alice lives in Tokyo, likes athletics and judo, and gives what the committee's magazine needs.
pub fn alice() -> Person {
    Person {
        id: ProfileId::new(),
        profile_version: 1,
        consent_version: 1,
        prefecture: Some("JP-13"),
        sports: &["ATH", "JUD"],
        consents: vec![("committee_newsletter", "given"), ("profiling", "given")],
        restricted: false,
        record_id: domain::new_id().to_string(),
    }
}

/// Bob lives in Paris and gives nothing.
pub fn bob() -> Person {
    Person { prefecture: None, sports: &["FEN"], consents: Vec::new(), ..alice() }
}

/// Chie lives in Tokyo and likes athletics, and gives nothing.
pub fn chie() -> Person {
    Person { consents: Vec::new(), ..alice() }
}

impl Person {
    pub fn says(mut self, purpose: &'static str, status: &'static str) -> Self {
        self.consents.retain(|(held, _)| *held != purpose);
        self.consents.push((purpose, status));
        self.consent_version += 1;
        self
    }

    pub fn moves_to(mut self, prefecture: &'static str) -> Self {
        self.prefecture = Some(prefecture);
        self.profile_version += 1;
        self
    }

    pub fn restricted(mut self) -> Self {
        self.restricted = true;
        self.profile_version += 1;
        self
    }

    pub fn profile_state(&self) -> profile::ProfileState {
        let one = |name: &str, kind: Kind| profile::Trait {
            name: name.to_owned(),
            value: Some(profile::TraitValue { kind: Some(kind) }),
            ..profile::Trait::default()
        };
        let sports = self.sports.iter().map(|sport| (*sport).to_owned()).collect();
        let mut traits = vec![
            one("birth_date", Kind::Date("1990-04-01".to_owned())),
            one("favourite_olympic_sports", Kind::Set(profile::StringSet { values: sports })),
        ];
        traits.extend(self.prefecture.map(|prefecture| one("prefecture", Kind::Text(prefecture.to_owned()))));
        profile::ProfileState {
            profile_id: self.id.to_string(),
            version: self.profile_version,
            state: "active".to_owned(),
            traits,
            email: Some(profile::ProfileEmail {
                address: b"alice@example.org".to_vec(),
                class: "conforming".to_owned(),
            }),
            locale: "ja".to_owned(),
            restricted: self.restricted,
            ..profile::ProfileState::default()
        }
    }

    /// The person's answers, given at this time and valid for two years.
    pub fn consent_state(&self, at: DateTime<Utc>) -> profile::ConsentState {
        let until = (at + TimeDelta::days(730)).timestamp();
        let head = |(purpose, status): &(&str, &str)| profile::ConsentHead {
            purpose: (*purpose).to_owned(),
            status: (*status).to_owned(),
            valid_until: (*status == "given").then_some(Timestamp { seconds: until, nanos: 0 }),
            record_id: self.record_id.clone(),
            ..profile::ConsentHead::default()
        };
        profile::ConsentState {
            profile_id: self.id.to_string(),
            version: self.consent_version,
            heads: self.consents.iter().map(head).collect(),
            ..profile::ConsentState::default()
        }
    }

    /// A fact about the person; none is a tombstone.
    pub fn fact(
        &self,
        topic: &'static Topic,
        version: i64,
        payload: Option<Vec<u8>>,
        at: DateTime<Utc>,
    ) -> Fact {
        Fact {
            topic,
            key: self.id.to_string(),
            fact_type: "ProfileUpdated",
            payload,
            version,
            occurred_at: at,
            event_id: EventId::new(),
        }
    }
}
