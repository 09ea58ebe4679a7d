//! What a campaign promises, as a pure function of what was seen.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    hash::Hash,
};

use domain::Uuid;

/// A change of a key, and the fact that tells it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Write {
    pub event_id: Uuid,
    pub key: String,
    pub version: i64,
}

/// What was seen.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// Whose commit was answered.
    pub acknowledged: Vec<Write>,
    /// Whose commit failed in a way that leaves the outcome open.
    pub unknown: Vec<Write>,
    /// What the database has.
    pub state: Vec<Write>,
    /// The commands of what the database has; each is carried out once, however often it was given.
    pub commands: Vec<Uuid>,
    /// The version in the row of each key.
    pub rows: BTreeMap<String, i64>,
    /// What Kafka has, each key in order.
    pub log: Vec<Write>,
    /// What the claiming consumer did, in order.
    pub effects: Vec<Write>,
    /// The version of each key that the other consumer keeps.
    pub view: BTreeMap<String, i64>,
}

/// What is wrong, in words; nothing is as it should be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Committed, and not in the log, or without effect, or not even in the database.
    pub lost: Vec<String>,
    /// Never committed, and there all the same.
    pub phantom: Vec<String>,
    /// First deliveries behind a later version of their key.
    pub inverted: Vec<String>,
    /// Happened twice.
    pub doubled: Vec<String>,
    /// Whose newest record, or kept version, is not the row's.
    pub stale: Vec<String>,
}

impl Verdict {
    pub fn is_clean(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = [
            ("lost", &self.lost),
            ("phantom", &self.phantom),
            ("inverted", &self.inverted),
            ("doubled", &self.doubled),
            ("stale", &self.stale),
        ];
        for (kind, found) in kinds {
            write!(f, "{} {kind}; ", found.len())?;
        }
        for (kind, found) in kinds {
            for one in found.iter().take(5) {
                write!(f, "\n    {kind}: {one}")?;
            }
        }
        Ok(())
    }
}

/// Compares what was seen with what is promised.
pub fn judge(seen: &Evidence) -> Verdict {
    Verdict {
        lost: lost(seen),
        phantom: phantom(seen),
        inverted: [inverted("the log", &seen.log), inverted("the effects", &seen.effects)].concat(),
        doubled: doubled(seen),
        stale: stale(seen),
    }
}

// Of an unknown outcome nothing is asked but that the database, the log and the effects agree.
fn lost(seen: &Evidence) -> Vec<String> {
    let [state, log, effects] = [&seen.state, &seen.log, &seen.effects].map(|writes| set(writes));
    let mut lost = without(&seen.acknowledged, &[&state], "was acknowledged and is not in the database");
    lost.extend(without(&seen.state, &[&log], "is in the database and not in the log"));
    lost.extend(without(&seen.state, &[&effects], "is in the database and had no effect"));
    lost
}

fn phantom(seen: &Evidence) -> Vec<String> {
    let [acknowledged, unknown, state] =
        [&seen.acknowledged, &seen.unknown, &seen.state].map(|writes| set(writes));
    let told = [&acknowledged, &unknown];
    let mut phantom = without(&seen.state, &told, "is in the database and nobody committed it");
    phantom.extend(without(&seen.log, &[&state], "is in the log and not in the database"));
    phantom.extend(without(&seen.effects, &[&state], "had an effect and is not in the database"));
    phantom
}

fn inverted(place: &str, delivered: &[Write]) -> Vec<String> {
    let (mut seen, mut highest) = (HashSet::new(), HashMap::<&str, i64>::new());
    let mut inverted = Vec::new();
    for write in delivered.iter().filter(|write| seen.insert(*write)) {
        let highest = highest.entry(&write.key).or_default();
        if write.version < *highest {
            inverted.push(format!("{} comes in {place} behind version {highest}", name(write)));
        }
        *highest = write.version.max(*highest);
    }
    inverted
}

fn doubled(seen: &Evidence) -> Vec<String> {
    let effects = twice(seen.effects.iter().map(|write| write.event_id));
    let versions = twice(seen.state.iter().map(|write| (write.key.as_str(), write.version)));
    let mut doubled: Vec<String> =
        effects.into_iter().map(|(id, count)| format!("{id} had {count} effects")).collect();
    let commands = twice(seen.commands.iter());
    doubled.extend(commands.into_iter().map(|(id, count)| format!("command {id} was done {count} times")));
    doubled.extend(
        versions
            .into_iter()
            .map(|((key, version), count)| format!("{key} had version {version} {count} times")),
    );
    doubled
}

fn stale(seen: &Evidence) -> Vec<String> {
    let newest: HashMap<&str, i64> =
        seen.log.iter().map(|write| (write.key.as_str(), write.version)).collect();
    let mut written = HashMap::<&str, i64>::new();
    for write in &seen.state {
        *written.entry(&write.key).or_default() += 1;
    }
    let mut stale = Vec::new();
    for (key, version) in &seen.rows {
        for (what, found) in [
            ("the newest record has", newest.get(key.as_str())),
            ("the reader keeps", seen.view.get(key)),
            // Each write adds one.
            ("so many writes are in the database:", written.get(key.as_str())),
        ] {
            if found != Some(version) {
                stale.push(format!("{key} has version {version}, {what} {found:?}"));
            }
        }
    }
    stale
}

fn set(writes: &[Write]) -> HashSet<&Write> {
    writes.iter().collect()
}

fn without(writes: &[Write], places: &[&HashSet<&Write>], why: &str) -> Vec<String> {
    let missing = writes.iter().filter(|write| !places.iter().any(|place| place.contains(write)));
    missing.map(|write| format!("{} {why}", name(write))).collect()
}

fn name(write: &Write) -> String {
    format!("{} version {} ({})", write.key, write.version, write.event_id)
}

fn twice<T: Eq + Hash>(all: impl Iterator<Item = T>) -> Vec<(T, usize)> {
    let mut counts = HashMap::new();
    for one in all {
        *counts.entry(one).or_insert(0) += 1;
    }
    counts.into_iter().filter(|(_, count)| *count > 1).collect()
}

fn write(key: &str, version: i64) -> Write {
    Write { event_id: domain::new_id(), key: key.to_owned(), version }
}

// Two keys, one outcome unknown that was a commit, one that was none, a late repeat that is corrected, as after a fence.
fn clean() -> Evidence {
    let (alice, bob): (Vec<Write>, Vec<Write>) =
        ((1..=3).map(|version| write("alice", version)).collect(), vec![write("bob", 1)]);
    let state = [alice.clone(), bob.clone()].concat();
    let repeats = alice[1..].to_vec();
    Evidence {
        acknowledged: [&alice[..2], &bob].concat(),
        unknown: vec![alice[2].clone(), write("bob", 2)],
        commands: state.iter().map(|_| domain::new_id()).collect(),
        rows: BTreeMap::from([("alice".to_owned(), 3), ("bob".to_owned(), 1)]),
        log: [alice, bob, repeats].concat(),
        effects: state.clone(),
        view: BTreeMap::from([("alice".to_owned(), 3), ("bob".to_owned(), 1)]),
        state,
    }
}

#[test]
fn what_was_seen_of_a_right_campaign_is_clean() {
    let verdict = judge(&clean());
    assert!(verdict.is_clean(), "{verdict}");
}

/// How many of each kind a wrong input gives: lost, phantom, inverted, doubled, stale.
fn found(spoil: impl FnOnce(&mut Evidence)) -> [usize; 5] {
    let mut seen = clean();
    spoil(&mut seen);
    let Verdict { lost, phantom, inverted, doubled, stale } = judge(&seen);
    [lost, phantom, inverted, doubled, stale].map(|found| found.len())
}

#[test]
fn what_is_lost_is_found() {
    assert_eq!(found(|seen| seen.log.retain(|write| write.key != "bob")), [1, 0, 0, 0, 1]);
    assert_eq!(found(|seen| seen.effects.truncate(3)), [1, 0, 0, 0, 0]);
    assert_eq!(found(|seen| seen.acknowledged.push(write("carol", 1))), [1, 0, 0, 0, 0], "by a crash");
    // An unknown outcome that the database has and the log has not.
    assert_eq!(found(|seen| seen.log.retain(|write| write.version != 3)), [1, 0, 0, 0, 1]);
}

#[test]
fn what_nobody_committed_is_found() {
    let rolled_back = write("alice", 2);
    assert_eq!(found(|seen| seen.log.insert(2, rolled_back.clone())), [0, 1, 0, 0, 0], "in the log");
    assert_eq!(found(|seen| seen.effects.insert(2, rolled_back)), [0, 1, 0, 0, 0], "as an effect");
    let in_the_database = |seen: &mut Evidence| {
        let write = write("bob", 2);
        *seen.rows.get_mut("bob").unwrap() = 2;
        *seen.view.get_mut("bob").unwrap() = 2;
        for place in [&mut seen.state, &mut seen.log, &mut seen.effects] {
            place.push(write.clone());
        }
    };
    assert_eq!(found(in_the_database), [0, 1, 0, 0, 0]);
    // An unknown outcome that the log has and the database has not.
    assert_eq!(found(|seen| seen.log.push(seen.unknown[1].clone())), [0, 1, 0, 0, 1]);
}

#[test]
fn first_deliveries_out_of_order_are_found_and_repeats_are_not() {
    assert_eq!(found(|seen| seen.log.swap(0, 1)), [0, 0, 1, 0, 0]);
    assert_eq!(found(|seen| seen.effects.swap(1, 2)), [0, 0, 1, 0, 0]);
    assert_eq!(found(|seen| seen.log.insert(3, seen.log[0].clone())), [0; 5]);
}

#[test]
fn what_happens_twice_is_found() {
    assert_eq!(found(|seen| seen.effects.push(seen.effects[0].clone())), [0, 0, 0, 1, 0]);
    assert_eq!(found(|seen| seen.commands[1] = seen.commands[0]), [0, 0, 0, 1, 0]);
    // Two writers that both drew a version.
    let both = |seen: &mut Evidence| {
        let write = write("alice", 3);
        for place in [&mut seen.acknowledged, &mut seen.state, &mut seen.log, &mut seen.effects] {
            place.push(write.clone());
        }
    };
    assert_eq!(found(both), [0, 0, 0, 1, 1]);
}

#[test]
fn a_key_whose_last_word_is_not_its_newest_is_found() {
    assert_eq!(found(|seen| seen.log.push(seen.log[1].clone())), [0, 0, 0, 0, 1], "a late repeat");
    assert_eq!(found(|seen| *seen.view.get_mut("alice").unwrap() = 2), [0, 0, 0, 0, 1]);
    assert_eq!(found(|seen| seen.view.clear()), [0, 0, 0, 0, 2]);
    assert_eq!(found(|seen| *seen.rows.get_mut("alice").unwrap() = 4), [0, 0, 0, 0, 3]);
}
