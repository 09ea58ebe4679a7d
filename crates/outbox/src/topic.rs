/// How many partitions a topic has. Never changed: a key would move to another partition and its order would end there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partitions(pub(crate) i32);

impl Partitions {
    /// Keys are people, who are many; all such topics have the same number, so that a key has one partition number.
    pub const PERSON: Self = Self(32);
    /// Keys are definitions (campaigns, segments, units), which are few.
    pub const DEFINITION: Self = Self(8);
}

/// What a record of the topic means to its readers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The whole state of a key, compacted; the version is the row's, and the highest one counts.
    State,
    /// What happened to a key, in order; the version is the row's.
    Ordered,
    /// What happened, without a lock or order: version 0, readers claim by id.
    Unordered,
}

/// A topic as its owner declares it, under its name without a site's or a test's prefix.
#[derive(Debug)]
pub struct Topic {
    pub(crate) name: &'static str,
    pub(crate) class: Class,
    pub(crate) partitions: Partitions,
    pub(crate) retain_days: i64,
}

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

impl Topic {
    /// A compacted topic with the whole state of each key; tombstones stay seven days.
    #[must_use]
    pub const fn state(name: &'static str, partitions: Partitions) -> Self {
        Self { name, class: Class::State, partitions, retain_days: 7 }
    }

    /// Facts in the order of their key's versions, kept seven days.
    #[must_use]
    pub const fn ordered(name: &'static str, partitions: Partitions) -> Self {
        Self { name, class: Class::Ordered, partitions, retain_days: 7 }
    }

    /// Facts without order, kept seven days.
    #[must_use]
    pub const fn unordered(name: &'static str, partitions: Partitions) -> Self {
        Self { name, class: Class::Unordered, partitions, retain_days: 7 }
    }

    /// Keeps facts for so many days, and of a state topic the tombstones.
    #[must_use]
    pub const fn retain_days(mut self, days: i64) -> Self {
        self.retain_days = days;
        self
    }

    /// Its name without a prefix.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Its class.
    #[must_use]
    pub const fn class(&self) -> Class {
        self.class
    }

    /// Topic configuration (names of Apache Kafka's topic settings). Erasure is a tombstone and compaction within the
    /// hour, so a segment is closed and compacted at that pace.
    pub(crate) fn config(&self) -> Vec<(&'static str, String)> {
        match self.class {
            Class::State => vec![
                ("cleanup.policy", "compact".to_owned()),
                ("segment.ms", HOUR_MS.to_string()),
                ("max.compaction.lag.ms", HOUR_MS.to_string()),
                ("delete.retention.ms", (self.retain_days * DAY_MS).to_string()),
            ],
            Class::Ordered | Class::Unordered => vec![
                ("cleanup.policy", "delete".to_owned()),
                ("retention.ms", (self.retain_days * DAY_MS).to_string()),
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static PROFILE: Topic = Topic::state("kotinos.profile.profile.v1", Partitions::PERSON);
    static ERASURE: Topic = Topic::ordered("kotinos.profile.erasure.v1", Partitions::PERSON).retain_days(30);

    #[test]
    fn a_state_topic_is_compacted_within_the_hour() {
        assert!(PROFILE.config().contains(&("max.compaction.lag.ms", "3600000".to_owned())));
        assert!(PROFILE.config().contains(&("delete.retention.ms", "604800000".to_owned())));
    }

    #[test]
    fn facts_are_kept_as_long_as_declared() {
        assert!(ERASURE.config().contains(&("retention.ms", "2592000000".to_owned())));
    }
}
