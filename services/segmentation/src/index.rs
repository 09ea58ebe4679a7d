//! Everybody, in memory: what rules can ask of each person, and how far the topics have been read.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, PoisonError, RwLock},
};

use domain::ProfileId;

use crate::{
    freeze::Watermark,
    person::{Consent, Person, TraitValue},
    rule::{Moment, Rule},
};

/// The index of one replica. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Index(Arc<RwLock<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    people: HashMap<ProfileId, Person>,
    watermark: BTreeMap<(String, i32), i64>,
    caught_up: bool,
}

/// What a profile record says about a person.
#[derive(Debug)]
pub struct ProfileRecord {
    /// Who.
    pub profile_id: ProfileId,
    /// An older one than known changes nothing.
    pub version: i64,
    /// Active, and not restricted.
    pub alive: bool,
    /// Has an address that mail systems take.
    pub reachable: bool,
    /// By name.
    pub traits: BTreeMap<String, TraitValue>,
}

/// What a consent record says about a person.
#[derive(Debug)]
pub struct ConsentRecord {
    /// Who.
    pub profile_id: ProfileId,
    /// An older one than known changes nothing.
    pub version: i64,
    /// Newest answers, by purpose and recipient.
    pub heads: BTreeMap<(String, String), Consent>,
}

impl Index {
    /// Takes a profile record. False when it changed nothing.
    pub fn apply_profile(&self, record: ProfileRecord) -> bool {
        self.write(|inner| {
            let person = inner.person(record.profile_id);
            if person.profile_version >= record.version {
                return false;
            }
            person.profile_version = record.version;
            person.alive = record.alive;
            person.reachable = record.reachable;
            person.traits = record.traits;
            true
        })
    }

    /// Takes a consent record. False when it changed nothing.
    pub fn apply_consents(&self, record: ConsentRecord) -> bool {
        self.write(|inner| {
            let person = inner.person(record.profile_id);
            if person.consent_version >= record.version {
                return false;
            }
            person.consent_version = record.version;
            person.consents = record.heads;
            true
        })
    }

    /// The person is in no set any more.
    pub fn remove(&self, profile_id: ProfileId) -> bool {
        self.write(|inner| inner.people.remove(&profile_id).is_some())
    }

    /// Notes that a topic has been read up to here.
    pub fn advance(&self, topic: &str, partition: i32, next_offset: i64) {
        self.write(|inner| {
            inner.watermark.insert((topic.to_owned(), partition), next_offset);
        });
    }

    /// Notes that everything that was there at the start has been read.
    pub fn set_caught_up(&self) {
        self.write(|inner| inner.caught_up = true);
    }

    /// Whether everything that was there at the start has been read.
    #[must_use]
    pub fn is_caught_up(&self) -> bool {
        self.read(|inner| inner.caught_up)
    }

    /// How far the topics have been read.
    #[must_use]
    pub fn watermark(&self) -> Watermark {
        self.read(Inner::offsets)
    }

    /// One person.
    #[must_use]
    pub fn find(&self, profile_id: ProfileId) -> Option<Person> {
        self.read(|inner| inner.people.get(&profile_id).cloned())
    }

    /// Everybody for whom a rule holds, ascending, with the watermark of the very same moment.
    #[must_use]
    pub fn members(&self, rule: &Rule, moment: Moment) -> (BTreeSet<ProfileId>, Watermark) {
        self.read(|inner| {
            let holds = |person: &&Person| rule.holds(person, moment);
            let members = inner.people.values().filter(holds).map(|person| person.profile_id).collect();
            (members, inner.offsets())
        })
    }

    fn read<T>(&self, look: impl FnOnce(&Inner) -> T) -> T {
        look(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Inner {
    fn person(&mut self, profile_id: ProfileId) -> &mut Person {
        self.people.entry(profile_id).or_insert_with(|| Person::unknown(profile_id))
    }

    fn offsets(&self) -> Watermark {
        self.watermark
            .iter()
            .map(|((topic, partition), offset)| (topic.clone(), *partition, *offset))
            .collect()
    }
}
