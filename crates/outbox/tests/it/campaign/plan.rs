//! What is done to whom, drawn from a seed alone: the same seed gives the same faults in the same order.

use std::{collections::BTreeSet, ops::RangeInclusive, time::Duration};

/// Pseudo-random numbers (xorshift, Marsaglia 2003).
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        // Small seeds would begin with small numbers, and of nothing comes nothing.
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03)
    }

    pub fn below(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 11) % u64::try_from(sides).unwrap()).unwrap()
    }

    /// True in so many of a hundred.
    pub fn percent(&mut self, of_hundred: usize) -> bool {
        self.below(100) < of_hundred
    }

    pub fn milliseconds(&mut self, range: RangeInclusive<usize>) -> Duration {
        let time = range.start() + self.below(range.end() - range.start() + 1);
        Duration::from_millis(u64::try_from(time).unwrap())
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

/// One thing that is done, and healed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL to a relay, the leader first; it is started again at once.
    KillRelay,
    /// SIGKILL to a reader; it is started again at once.
    KillReader(usize),
    /// SIGKILL to the broker; it is started again at once.
    KillBroker,
    /// SIGKILL to the postmaster, whose children find out by themselves; it is started again at once.
    KillPostgres,
    /// SIGSTOP to a relay, the leader first, and SIGCONT.
    StopRelay(Duration),
    /// SIGSTOP to a reader, and SIGCONT.
    StopReader(usize, Duration),
    /// The leader is stopped and its session cut, so that another leads while records wait in it; then it goes on.
    LoseLeader(Duration),
    /// The way to the database of one node, or of some writers.
    CutDatabase { of: usize, cut: Cut },
    /// The way of all nodes to the broker.
    CutKafka(Cut),
}

/// How a connection is broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// Swallows everything; else it hangs up.
    pub half_open: bool,
    pub time: Duration,
}

/// Whose database connections can be cut: two relays, two readers, some writers.
pub const WAYS_TO_DATABASE: usize = 5;

/// What happens at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Round {
    /// Since the last one was healed.
    pub after: Duration,
    pub faults: Vec<Fault>,
}

impl Fault {
    // What is hit, and how many of it there are.
    fn place(&self) -> (&'static str, usize) {
        match self {
            Self::KillRelay | Self::StopRelay(_) | Self::LoseLeader(_) => ("relay", 2),
            Self::KillReader(_) | Self::StopReader(..) => ("reader", 2),
            Self::KillBroker => ("broker", 1),
            Self::KillPostgres => ("postgres", 1),
            Self::CutDatabase { .. } => ("database", 1),
            Self::CutKafka(_) => ("kafka", 1),
        }
    }
}

/// So many faults in rounds of so many.
pub fn rounds(seed: u64, faults: usize, together: RangeInclusive<usize>) -> Vec<Round> {
    let mut dice = Dice::new(seed);
    let mut rounds = vec![Round { after: dice.milliseconds(500..=1_500), faults: Vec::new() }];
    let mut size = together.start() + dice.below(together.end() - together.start() + 1);
    for fault in all(&mut dice, faults) {
        let faults = &rounds.last().unwrap().faults;
        let (place, most) = fault.place();
        let same = faults.iter().filter(|other| other.place().0 == place).count();
        if faults.len() >= size || same >= most {
            rounds.push(Round { after: dice.milliseconds(500..=1_500), faults: Vec::new() });
            size = together.start() + dice.below(together.end() - together.start() + 1);
        }
        rounds.last_mut().unwrap().faults.push(fault);
    }
    for round in &mut rounds {
        // It must be the leader's, which goes to the first.
        round.faults.sort_by_key(|fault| !matches!(fault, Fault::LoseLeader(_)));
    }
    rounds
}

// Decks of ten, so that a short campaign has some of everything.
fn all(dice: &mut Dice, count: usize) -> Vec<Fault> {
    let mut all = Vec::new();
    while all.len() < count {
        let mut deck = vec![
            Fault::KillRelay,
            Fault::KillRelay,
            Fault::KillReader(dice.below(2)),
            Fault::KillReader(dice.below(2)),
            Fault::KillBroker,
            Fault::KillPostgres,
            stopped_relay(dice),
            Fault::StopReader(dice.below(2), stop(dice)),
            Fault::CutDatabase { of: dice.below(WAYS_TO_DATABASE), cut: cut(dice) },
            Fault::CutKafka(cut(dice)),
        ];
        dice.shuffle(&mut deck);
        all.extend(deck);
    }
    all.truncate(count);
    all
}

fn stopped_relay(dice: &mut Dice) -> Fault {
    // Long enough for another to lead: 6 s after the session's end.
    if dice.percent(50) {
        Fault::LoseLeader(dice.milliseconds(7_000..=8_000))
    } else {
        Fault::StopRelay(stop(dice))
    }
}

// A lease lasts 5 s, the session of a group's member 8 s.
fn stop(dice: &mut Dice) -> Duration {
    if dice.percent(30) { dice.milliseconds(5_500..=9_000) } else { dice.milliseconds(200..=2_500) }
}

fn cut(dice: &mut Dice) -> Cut {
    let half_open = dice.percent(40);
    // Deaf for longer than a lease now and then.
    let long = half_open && dice.percent(30);
    let time = if long { dice.milliseconds(5_500..=7_000) } else { dice.milliseconds(100..=3_000) };
    Cut { half_open, time }
}

#[test]
fn a_seed_gives_the_same_plan_again_and_another_gives_another() {
    assert_eq!(rounds(7, 100, 1..=3), rounds(7, 100, 1..=3));
    assert_ne!(rounds(7, 100, 1..=3), rounds(8, 100, 1..=3));
}

#[test]
fn ten_faults_have_some_of_everything_and_no_round_hits_one_thing_too_often() {
    for seed in 0..200 {
        let rounds = rounds(seed, 10, 3..=4);
        let faults: Vec<&Fault> = rounds.iter().flat_map(|round| &round.faults).collect();
        let places: BTreeSet<&str> = faults.iter().map(|fault| fault.place().0).collect();
        assert_eq!((faults.len(), places.len()), (10, 6), "{rounds:?}");
        for round in &rounds {
            assert!((1..=4).contains(&round.faults.len()), "{round:?}");
            for fault in &round.faults {
                let (place, most) = fault.place();
                let same = round.faults.iter().filter(|other| other.place().0 == place).count();
                assert!(same <= most, "{round:?}");
            }
        }
    }
}
