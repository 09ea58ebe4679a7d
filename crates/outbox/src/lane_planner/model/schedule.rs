//! What a schedule is made of: a log, and steps.

use proptest::{collection::vec, prelude::*};

pub(super) const KEYS: usize = 3;

/// What is wrong with the consumer: the model must see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    None,
    /// A batch's offset is stored before its effects are committed.
    OffsetBeforeCommit,
    /// A record behind a parked key is passed over.
    NotQueued,
    /// A record behind a parked key is given to the handler.
    NotBehind,
    /// A lane does not ask which keys are parked when it begins.
    ForgetsParked,
    /// When one half of a failed part has its effects, the offset behind the whole part is stored.
    StoreOverHalf,
    /// Every parked record has its turn, not only the first one of a key.
    Overtakes,
    /// Facts are claimed in a transaction of their own.
    ClaimApart,
    /// A fact that comes twice in a batch is given to the handler twice.
    RepeatInBatch,
}

/// A record of the partition; its offset is its place. The same fact may come again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) fact: usize,
    pub(super) key: usize,
    /// From 1, without gaps.
    pub(super) version: usize,
}

#[derive(Debug, Clone)]
pub(super) struct Schedule {
    pub(super) log: Vec<Record>,
    /// Facts that fail at first.
    pub(super) ill: Vec<usize>,
    /// A topic of states: what waits behind a parked key collapses to the newest.
    pub(super) collapse: bool,
    pub(super) steps: Vec<u16>,
}

pub(super) fn schedules() -> impl Strategy<Value = Schedule> {
    (vec(any::<u8>(), 1..16), prop::bool::weighted(0.2), vec(any::<u16>(), 0..300)).prop_map(
        |(facts, collapse, steps)| {
            let (log, ill) = log(&facts);
            Schedule { log, ill, collapse, steps }
        },
    )
}

fn log(facts: &[u8]) -> (Vec<Record>, Vec<usize>) {
    let (mut log, mut ill, mut versions): (Vec<Record>, _, _) = (Vec::new(), Vec::new(), [0; KEYS]);
    for (fact, number) in facts.iter().map(|number| usize::from(*number)).enumerate() {
        let key = number % KEYS;
        versions[key] += 1;
        log.push(Record { fact, key, version: versions[key] });
        if (number / KEYS).is_multiple_of(4) {
            ill.push(fact);
        }
        // The relay began again a little before.
        if (number / 12).is_multiple_of(4) {
            let repeats = log.len().saturating_sub(1 + number / 48)..log.len();
            log.extend_from_within(repeats);
        }
    }
    (log, ill)
}

/// How something ends in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Fine,
    /// Nothing is committed.
    Fails,
    /// It is committed, and who asked hears that it failed.
    Unknown,
}

/// What happens next. A step that cannot be taken now is passed over.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    /// A lane does what its planner asks for, or tells it how that ended. Without records a resting lane gets a tick.
    Act {
        lane: usize,
        fate: Fate,
        records: usize,
    },
    /// The owner's offset reaches the broker.
    Commit,
    /// The owner is killed in the middle of what it does.
    Kill,
    /// The partition is taken from the owner without asking: it hears of it, and commits no offset any more.
    Lose,
    /// The same, but it does not hear of it yet.
    Expel,
    /// One of those hears of it.
    Notice,
    /// The owner gives the partition back: it ends what it does, or does not within its time, and commits its offset.
    Revoke {
        ends: bool,
    },
    Assign,
    /// A fact that failed goes through from now on, or the other way round.
    Turn(usize),
    /// It is time for what is parked.
    Time,
}

// A step as a number: see the relay's model.
pub(super) fn step(number: u16) -> Step {
    let argument = usize::from(number / 64);
    let fate = match argument / 5 % 8 {
        0 => Fate::Fails,
        1 => Fate::Unknown,
        _ => Fate::Fine,
    };
    match number % 64 {
        0..32 => Step::Act { lane: 0, fate, records: argument % 5 },
        32..40 => Step::Act { lane: 1 + argument / 40 % 3, fate, records: argument % 5 },
        40..46 => Step::Commit,
        46 => Step::Kill,
        47 => Step::Lose,
        48 => Step::Expel,
        49 => Step::Notice,
        50 => Step::Revoke { ends: argument.is_multiple_of(2) },
        51..56 => Step::Assign,
        56..59 => Step::Turn(argument),
        _ => Step::Time,
    }
}
