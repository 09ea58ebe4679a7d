//! People as profile tells of them.

use domain::{DateTime, EventId, ProfileId, Utc};
use outbox::{Fact, Topic};
use prost_types::Timestamp;
use proto::profile::v1::{self as profile, trait_value::Kind};

/// A person as profile tells of them.
#[derive(Debug, Clone)]
pub struct Person {
    pub id: ProfileId,
    pub version: i64,
    pub email: &'static [u8],
    pub locale: &'static str,
    pub traits: Vec<(&'static str, Kind)>,
    pub consents: Vec<(&'static str, &'static str)>,
}

fn text(text: &str) -> Kind {
    Kind::Text(text.to_owned())
}

pub fn alice() -> Person {
    let sports = profile::StringSet { values: vec!["ATH".to_owned(), "JUD".to_owned()] };
    Person {
        id: ProfileId::new(),
        version: 1,
        email: b"alice@example.org",
        locale: "ja",
        traits: vec![
            ("given_name", text("Alice")),
            ("family_name", text("Aoki")),
            ("prefecture", text("JP-13")),
            ("country", text("JP")),
            ("birth_date", Kind::Date("1990-04-01".to_owned())),
            ("favourite_olympic_sports", Kind::Set(sports)),
        ],
        consents: vec![("ioc_newsletter", "given"), ("profiling", "given")],
    }
}

pub fn bob() -> Person {
    let traits = vec![("country", text("FR"))];
    Person {
        id: ProfileId::new(),
        version: 1,
        email: b"bob@example.org",
        locale: "fr",
        traits,
        consents: vec![],
    }
}

impl Person {
    /// The person after a change.
    pub fn next(&self) -> Self {
        Self { version: self.version + 1, ..self.clone() }
    }

    pub fn with(mut self, name: &'static str, value: Kind) -> Self {
        self.traits.retain(|(held, _)| *held != name);
        self.traits.push((name, value));
        self
    }

    pub fn says(mut self, purpose: &'static str, status: &'static str) -> Self {
        self.consents.retain(|(held, _)| *held != purpose);
        self.consents.push((purpose, status));
        self
    }

    pub fn profile_state(&self) -> profile::ProfileState {
        let one = |(name, kind): &(&str, Kind)| profile::Trait {
            name: (*name).to_owned(),
            value: Some(profile::TraitValue { kind: Some(kind.clone()) }),
            ..Default::default()
        };
        profile::ProfileState {
            profile_id: self.id.to_string(),
            version: self.version,
            state: "active".to_owned(),
            traits: self.traits.iter().map(one).collect(),
            email: Some(profile::ProfileEmail { address: self.email.to_vec(), class: String::new() }),
            locale: self.locale.to_owned(),
            ..Default::default()
        }
    }

    pub fn consent_state(&self) -> profile::ConsentState {
        let split = |purpose: &str| match purpose.split_once('(') {
            Some((purpose, rest)) => (purpose.to_owned(), rest.trim_end_matches(')').to_owned()),
            None => (purpose.to_owned(), String::new()),
        };
        let head = |(purpose, status): &(&str, &str)| {
            let (purpose, recipient) = split(purpose);
            let valid_until = Some(Timestamp { seconds: 2_000_000_000, nanos: 0 });
            profile::ConsentHead {
                purpose,
                recipient,
                status: (*status).to_owned(),
                valid_until,
                ..Default::default()
            }
        };
        let record = |(purpose, status): &(&str, &str)| {
            let (purpose, recipient) = split(purpose);
            profile::ConsentRecord { purpose, recipient, status: (*status).to_owned(), ..Default::default() }
        };
        profile::ConsentState {
            profile_id: self.id.to_string(),
            version: self.version,
            heads: self.consents.iter().map(head).collect(),
            changed: self.consents.last().iter().map(|last| record(last)).collect(),
        }
    }

    /// A fact of this topic.
    pub fn fact(&self, topic: &'static Topic, fact_type: &'static str, payload: Vec<u8>) -> Fact {
        Fact {
            topic,
            key: self.id.to_string(),
            fact_type,
            payload: Some(payload),
            version: self.version,
            occurred_at: DateTime::<Utc>::from_timestamp(1_900_000_000, 0).unwrap(),
            event_id: EventId::new(),
        }
    }
}
