//! A sync run: a plan over everybody, and its application in chunks.

use std::collections::BTreeMap;

use domain::{DateTime, TimeDelta, Utc, Uuid};
use serde::{Deserialize, Serialize};

/// A plan can be applied for so long.
pub const PLAN_HOLDS: TimeDelta = TimeDelta::hours(24);

/// A run of an object's destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Its id.
    pub run_id: Uuid,
    /// Where to.
    pub destination_id: Uuid,
    /// Where to.
    pub object_id: Uuid,
    /// How far it is.
    pub state: State,
    /// What was found without sending.
    pub plan: Plan,
    /// What became of the rows.
    pub counts: Counts,
    /// Next ordinal to be sent.
    pub cursor: i64,
    /// Last ordinal of the plan; people who came later go by the change lane.
    pub last_ordinal: i64,
    /// When it was planned.
    pub created_at: DateTime<Utc>,
    /// When it settled or failed.
    pub ended_at: Option<DateTime<Utc>>,
    /// Why it failed, as a code.
    pub failure: Option<String>,
    /// Trace of whoever applied it.
    pub traceparent: Option<String>,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Counted, not sent.
    Planned,
    /// Being sent.
    Running,
    /// Every row is accounted for.
    Settled,
    /// Given up.
    Failed,
}

/// What a pass over everybody found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Plan {
    /// Hex SHA-256 of its inputs and of each person's verdict and row.
    pub hash: String,
    /// As of when.
    pub cutoff: DateTime<Utc>,
    /// The agreement that it was made under.
    pub agreement_id: Uuid,
    /// The mapping that it was made by.
    pub mapping_version_id: Uuid,
    /// Everybody.
    pub people: i64,
    /// Records that will be new there.
    pub creates: i64,
    /// Records that will change.
    pub changes: i64,
    /// Records that are as they should be.
    pub unchanged: i64,
    /// Rows that cannot be made, by code.
    pub unfit: BTreeMap<String, i64>,
    /// People who stay here, by reason.
    pub withheld: BTreeMap<String, i64>,
    /// Records that will be emptied, by reason.
    pub ceased: BTreeMap<String, i64>,
    /// Values that go out, by field.
    pub sent: BTreeMap<String, i64>,
    /// Fields that are emptied, by field.
    pub cleared: BTreeMap<String, i64>,
}

/// What became of a run's people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Everybody that was looked at.
    pub rows: i64,
    /// The recipient has the row.
    pub delivered: i64,
    /// It had it already.
    pub unchanged: i64,
    /// Stayed here.
    pub withheld: i64,
    /// Emptied there.
    pub ceased: i64,
    /// Refused, or could not be made.
    pub failed: i64,
}

/// Why a plan is not applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stale {
    /// Another hash.
    Hash,
    /// Older than a day.
    Age,
    /// The agreement or the mapping is another one now.
    Inputs,
    /// It was applied, or has failed.
    State(State),
}

impl Run {
    /// Starts to send. False when it runs already, under the same hash.
    ///
    /// # Errors
    /// What the plan does not hold for any longer.
    pub fn apply(
        &mut self,
        hash: &str,
        agreement_id: Option<Uuid>,
        mapping_version_id: Option<Uuid>,
        now: DateTime<Utc>,
    ) -> Result<bool, Stale> {
        if hash != self.plan.hash {
            return Err(Stale::Hash);
        }
        match self.state {
            State::Planned => {}
            State::Running | State::Settled => return Ok(false),
            State::Failed => return Err(Stale::State(self.state)),
        }
        if agreement_id != Some(self.plan.agreement_id)
            || mapping_version_id != Some(self.plan.mapping_version_id)
        {
            return Err(Stale::Inputs);
        }
        if now - self.plan.cutoff > PLAN_HOLDS {
            return Err(Stale::Age);
        }
        self.state = State::Running;
        Ok(true)
    }

    /// Ends it: settled only if every row is accounted for.
    pub fn end(&mut self, now: DateTime<Utc>) {
        if self.counts.adds_up() {
            self.state = State::Settled;
        } else {
            self.state = State::Failed;
            self.failure = Some("COUNTS_DIFFER".to_owned());
        }
        self.ended_at = Some(now);
    }

    /// Gives it up.
    pub fn fail(&mut self, code: &str, now: DateTime<Utc>) {
        self.state = State::Failed;
        self.failure = Some(code.to_owned());
        self.ended_at = Some(now);
    }
}

impl Counts {
    /// Whether every row is one of the others.
    #[must_use]
    pub const fn adds_up(&self) -> bool {
        self.rows == self.delivered + self.unchanged + self.withheld + self.ceased + self.failed
    }

    /// Adds a chunk's.
    pub const fn add(&mut self, other: Self) {
        self.rows += other.rows;
        self.delivered += other.delivered;
        self.unchanged += other.unchanged;
        self.withheld += other.withheld;
        self.ceased += other.ceased;
        self.failed += other.failed;
    }
}

impl State {
    /// Name on the wire and in SQL.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Running => "running",
            Self::Settled => "settled",
            Self::Failed => "failed",
        }
    }

    /// The state of this name.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        [Self::Planned, Self::Running, Self::Settled, Self::Failed]
            .into_iter()
            .find(|state| state.name() == name)
    }
}

impl Stale {
    /// What to tell the caller.
    #[must_use]
    pub const fn why(self) -> &'static str {
        match self {
            Self::Hash => "the hash is another plan's",
            Self::Age => "the plan is older than 24 hours",
            Self::Inputs => "the agreement or the mapping has changed",
            Self::State(_) => "the run has ended",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_900_000_000 + seconds, 0).unwrap()
    }

    fn planned() -> Run {
        let plan = Plan {
            hash: "aa".to_owned(),
            cutoff: at(0),
            agreement_id: Uuid::from_u128(1),
            mapping_version_id: Uuid::from_u128(2),
            ..Plan::default()
        };
        Run {
            run_id: Uuid::nil(),
            destination_id: Uuid::nil(),
            object_id: Uuid::nil(),
            state: State::Planned,
            plan,
            counts: Counts::default(),
            cursor: 0,
            last_ordinal: 2,
            created_at: at(0),
            ended_at: None,
            failure: None,
            traceparent: None,
        }
    }

    fn apply(run: &mut Run, hash: &str, mapping: u128, seconds: i64) -> Result<bool, Stale> {
        run.apply(hash, Some(Uuid::from_u128(1)), Some(Uuid::from_u128(mapping)), at(seconds))
    }

    #[test]
    fn only_the_plan_that_was_seen_is_applied() {
        assert_eq!(apply(&mut planned(), "bb", 2, 1), Err(Stale::Hash));
        assert_eq!(apply(&mut planned(), "aa", 3, 1), Err(Stale::Inputs));
        assert_eq!(apply(&mut planned(), "aa", 2, 86_401), Err(Stale::Age));
        assert_eq!(planned().apply("aa", None, None, at(1)), Err(Stale::Inputs));
        let mut run = planned();
        assert_eq!(apply(&mut run, "aa", 2, 1), Ok(true));
        assert_eq!(apply(&mut run, "aa", 2, 1), Ok(false));
    }

    #[test]
    fn a_run_is_settled_only_if_every_row_is_accounted_for() {
        let mut run = planned();
        run.counts = Counts { rows: 3, delivered: 1, withheld: 1, ..Counts::default() };
        run.end(at(5));
        assert_eq!((run.state, run.failure.as_deref()), (State::Failed, Some("COUNTS_DIFFER")));
        run.counts.failed = 1;
        run.failure = None;
        run.end(at(6));
        assert_eq!((run.state, run.failure), (State::Settled, None));
    }
}
