use super::{
    cast::{CLIENTS, DOCUMENTS, READERS, REPLICAS, RULES},
    random::Random,
};

/// What happens next. A step makes sense after any others, so that some can be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A sender gives a document; it waits for the next commit.
    Offer {
        /// Index of the document.
        document: usize,
        /// What of it.
        what: Offer,
    },
    /// A replica writes what waits in one transaction.
    Commit {
        /// Which.
        replica: usize,
    },
    /// A replica learns what others wrote.
    Tail {
        /// Which.
        replica: usize,
        /// Most entries.
        most: usize,
    },
    /// A reader comes, or comes again.
    Connect {
        /// Which.
        reader: usize,
        /// Where to.
        replica: usize,
        /// What with.
        from: From,
    },
    /// A reader takes frames from its connection.
    Receive {
        /// Which.
        reader: usize,
        /// Most frames.
        most: usize,
    },
    /// A connection has been idle for long.
    Heartbeat {
        /// Whose.
        reader: usize,
    },
    /// A connection breaks; what was on its way is lost.
    Break {
        /// Whose.
        reader: usize,
    },
    /// A process ends and its successor begins: connections break, memory is empty.
    Restart {
        /// Which.
        replica: usize,
    },
    /// An operator sets the rules of a client.
    Entitle {
        /// Whose.
        client: usize,
        /// Which.
        rules: usize,
    },
    /// Time goes on.
    Wait {
        /// By so many minutes.
        minutes: i64,
    },
    /// Embargoes end that are over.
    Release,
    /// The log gives up all but its newest entries.
    Forget {
        /// How many it keeps.
        keep: usize,
    },
    /// The database comes back without its newest commits.
    Lose {
        /// How many commits.
        commits: usize,
    },
}

/// What a sender gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    /// The next version, or one after a hole.
    Next {
        /// Versions that never come.
        hole: usize,
        /// Its status, by index.
        status: usize,
        /// Whether a note is added.
        note: bool,
    },
    /// The same bytes again.
    Again {
        /// How many versions ago.
        ago: usize,
    },
    /// Another content under the newest version.
    Conflict,
    /// A version below the newest, never seen before.
    Late,
    /// The newest version stands no longer.
    Invalidate,
    /// The invalidation of a version that comes later or never.
    InvalidateAhead,
    /// What an invalidation before it was of.
    Overtaken,
}

/// What a reader comes with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// No cursor.
    Nothing,
    /// The newest cursor that it was given.
    Newest,
    /// One of before.
    Older {
        /// How many cursors ago.
        ago: usize,
    },
}

/// Statuses that a result goes through, the frequent ones more than once.
pub const STATUSES: [&str; 8] =
    ["START_LIST", "LIVE", "LIVE", "INTERMEDIATE", "UNOFFICIAL", "OFFICIAL", "OFFICIAL", "PROTESTED"];

/// The steps of a seed: 10 to 90.
pub fn steps(seed: u64) -> Vec<Step> {
    let mut random = Random::new(seed, 2);
    // Few documents, so that they meet; and runs with many readers or many writes.
    let documents = 1 + random.below(DOCUMENTS.len());
    let (first, busy) = (random.below(DOCUMENTS.len()), 2 + random.below(6));
    let count = 10 + random.below(80);
    let mut steps = Vec::with_capacity(count * 2);
    for reader in 0..READERS {
        if random.once_in(2) {
            steps.push(Step::Connect { reader, replica: random.below(REPLICAS), from: From::Nothing });
        }
    }
    while steps.len() < count {
        if random.below(10) < busy {
            for _ in 0..=random.below(4) {
                let document = (first + random.below(documents)) % DOCUMENTS.len();
                steps.push(Step::Offer { document, what: offer(&mut random) });
            }
            steps.push(Step::Commit { replica: random.below(REPLICAS) });
            if random.once_in(4) {
                steps.push(Step::Wait { minutes: random.pick(&[1, 5, 10]) });
                steps.push(Step::Release);
            }
        } else {
            match other(&mut random) {
                Step::Entitle { client, rules } if random.once_in(2) => {
                    move_reader(&mut random, &mut steps, (client, rules));
                }
                step => steps.push(step),
            }
        }
    }
    steps
}

// A reader that is not yet told all of before when its rights change, and is lost on the way.
fn move_reader(random: &mut Random, steps: &mut Vec<Step>, (client, rules): (usize, usize)) {
    let (reader, replica) = (random.below(READERS), random.below(REPLICAS));
    steps.push(Step::Receive { reader, most: 50 });
    for _ in 0..=random.below(3) {
        // The last lane, where its end is the end of the way.
        let document = if random.once_in(2) { DOCUMENTS.len() - 1 } else { random.below(DOCUMENTS.len()) };
        steps.push(Step::Offer { document, what: offer(random) });
    }
    steps.push(Step::Commit { replica });
    steps.push(Step::Entitle { client, rules });
    steps.push(Step::Tail { replica, most: 100 });
    steps.push(Step::Tail { replica: random.below(REPLICAS), most: random.pick(&[1, 100]) });
    steps.push(Step::Receive { reader, most: 1 + random.below(3) });
    if random.once_in(2) {
        steps.push(Step::Connect { reader, replica: random.below(REPLICAS), from: From::Newest });
    } else {
        steps.push(Step::Lose { commits: 1 + random.below(2) });
        steps.push(Step::Tail { replica, most: 100 });
    }
}

fn offer(random: &mut Random) -> Offer {
    match random.below(20) {
        0 => Offer::Again { ago: 0 },
        1 => Offer::Again { ago: 1 + random.below(3) },
        2 => Offer::Conflict,
        3 => Offer::Late,
        4 | 5 => Offer::Invalidate,
        6 => Offer::InvalidateAhead,
        7 => Offer::Overtaken,
        _ => Offer::Next {
            hole: if random.once_in(6) { 1 + random.below(3) } else { 0 },
            status: random.below(STATUSES.len()),
            note: random.once_in(6),
        },
    }
}

fn other(random: &mut Random) -> Step {
    let (reader, replica) = (random.below(READERS), random.below(REPLICAS));
    match random.below(44) {
        0..=9 => Step::Receive { reader, most: 1 + random.below(3) },
        10..=15 => Step::Receive { reader, most: 50 },
        16..=21 => Step::Tail { replica, most: random.pick(&[1, 2, 100]) },
        22..=25 => Step::Break { reader },
        26..=28 => Step::Connect { reader, replica, from: From::Newest },
        29 | 30 => Step::Connect { reader, replica, from: From::Older { ago: 1 + random.below(5) } },
        31 => Step::Connect { reader, replica, from: From::Nothing },
        32..=34 => Step::Heartbeat { reader },
        35 | 36 => Step::Entitle { client: random.below(CLIENTS.len()), rules: random.below(RULES.len()) },
        37 => Step::Restart { replica },
        38..=40 => Step::Wait { minutes: random.pick(&[1, 5, 10, 15]) },
        41 => Step::Release,
        42 => Step::Forget { keep: random.below(12) },
        _ => Step::Lose { commits: 1 + random.below(3) },
    }
}
