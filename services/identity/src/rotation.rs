//! When keys change: staged and published, active, retired and still known, deleted. Pure; one planner for the keys that
//! sign and for those behind handles.

use std::str::FromStr;

use domain::{DateTime, TimeDelta, Utc};

/// Where a key stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Known everywhere, and not used yet.
    Staged,
    /// Makes what is new.
    Active,
    /// Only reads what it made.
    Retired,
}

impl State {
    /// The name in SQL and on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Staged => "staged",
            Self::Active => "active",
            Self::Retired => "retired",
        }
    }
}

impl FromStr for State {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Staged, Self::Active, Self::Retired].into_iter().find(|state| state.name() == text).ok_or(())
    }
}

/// How long a key is in each state.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    /// Active.
    pub period: TimeDelta,
    /// Staged, at least: by then everyone who may meet it has it.
    pub published: TimeDelta,
    /// Retired: the longest life of what it made.
    pub kept: TimeDelta,
}

/// Keys that sign. An old ID token still names its session, and a session lives 30 days.
pub const SIGNING: Schedule =
    Schedule { period: TimeDelta::days(90), published: TimeDelta::hours(24), kept: TimeDelta::days(31) };

/// Keys behind handles and seals. A family of refresh tokens keeps its key, and lives 90 days.
pub const HANDLES: Schedule =
    Schedule { period: TimeDelta::days(30), published: TimeDelta::hours(1), kept: TimeDelta::days(91) };

/// A key as the planner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// Its id.
    pub id: String,
    /// Where it stands.
    pub state: State,
    /// Since when.
    pub since: DateTime<Utc>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Make a key in this state.
    Create(State),
    /// The staged key of this id becomes active, and the active one retired.
    Promote(String),
    /// Nothing that this key made is alive.
    Delete(String),
}

/// What is due for the keys of one purpose. With the same keys and the same time everybody plans the same.
pub fn plan(schedule: &Schedule, keys: &[Planned], now: DateTime<Utc>) -> Vec<Step> {
    let of = |state: State| keys.iter().filter(move |key| key.state == state);
    let mut steps = Vec::new();
    match (of(State::Active).next(), of(State::Staged).min_by_key(|key| key.since)) {
        // The first of all is used at once: nobody can have had it before.
        (None, None) => steps.push(Step::Create(State::Active)),
        (None, Some(staged)) => steps.push(Step::Promote(staged.id.clone())),
        (Some(active), None) if now >= active.since + schedule.period - schedule.published => {
            steps.push(Step::Create(State::Staged));
        }
        (Some(active), Some(staged))
            if now >= active.since + schedule.period && now >= staged.since + schedule.published =>
        {
            steps.push(Step::Promote(staged.id.clone()));
        }
        (Some(_), _) => {}
    }
    let over = of(State::Retired).filter(|key| now >= key.since + schedule.kept);
    steps.extend(over.map(|key| Step::Delete(key.id.clone())));
    steps
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn start() -> DateTime<Utc> {
        "2026-07-24T10:00:00Z".parse().unwrap()
    }

    // What the shell does with a step.
    fn apply(keys: &mut Vec<Planned>, step: Step, now: DateTime<Utc>, made: &mut u32) {
        match step {
            Step::Create(state) => {
                *made += 1;
                keys.push(Planned { id: made.to_string(), state, since: now });
            }
            Step::Promote(id) => {
                for key in keys.iter_mut() {
                    if key.state == State::Active {
                        (key.state, key.since) = (State::Retired, now);
                    } else if key.id == id {
                        (key.state, key.since) = (State::Active, now);
                    }
                }
            }
            Step::Delete(id) => keys.retain(|key| key.id != id),
        }
    }

    #[test]
    fn a_key_is_staged_a_day_ahead_and_kept_until_nothing_of_it_lives() {
        let (mut keys, mut made) = (Vec::new(), 0);
        let mut at = |day: i64, keys: &mut Vec<Planned>| {
            let now = start() + TimeDelta::days(day);
            for step in plan(&SIGNING, keys, now) {
                apply(keys, step, now, &mut made);
            }
            keys.iter().map(|key| (key.id.clone(), key.state)).collect::<Vec<_>>()
        };
        let key = |id: u32, state| (id.to_string(), state);
        assert_eq!(at(0, &mut keys), [key(1, State::Active)]);
        assert_eq!(at(88, &mut keys), [key(1, State::Active)]);
        assert_eq!(at(89, &mut keys), [key(1, State::Active), key(2, State::Staged)]);
        assert_eq!(at(90, &mut keys), [key(1, State::Retired), key(2, State::Active)]);
        assert_eq!(at(120, &mut keys), [key(1, State::Retired), key(2, State::Active)]);
        assert_eq!(at(121, &mut keys), [key(2, State::Active)]);
    }

    #[test]
    fn a_key_made_late_is_published_as_long_all_the_same() {
        let late = start() + TimeDelta::days(200);
        let mut keys = vec![Planned { id: "1".into(), state: State::Active, since: start() }];
        assert_eq!(plan(&SIGNING, &keys, late), [Step::Create(State::Staged)]);
        keys.push(Planned { id: "2".into(), state: State::Staged, since: late });
        assert_eq!(plan(&SIGNING, &keys, late + TimeDelta::hours(23)), []);
        assert_eq!(plan(&SIGNING, &keys, late + TimeDelta::hours(24)), [Step::Promote("2".into())]);
    }

    proptest! {
        // Whenever it is looked at, after whatever pauses.
        #[test]
        fn there_is_always_one_active_key_and_none_unpublished_becomes_it(
            pauses in proptest::collection::vec(1_i64..5_000, 1..60),
        ) {
            let (mut keys, mut made, mut now) = (Vec::new(), 0, start());
            for pause in pauses {
                now += TimeDelta::hours(pause);
                for step in plan(&SIGNING, &keys, now) {
                    if let Step::Promote(id) = &step {
                        let staged = keys.iter().find(|key: &&Planned| key.id == *id).unwrap();
                        prop_assert!(now >= staged.since + SIGNING.published);
                    }
                    apply(&mut keys, step, now, &mut made);
                }
                prop_assert_eq!(keys.iter().filter(|key| key.state == State::Active).count(), 1);
                prop_assert!(keys.iter().filter(|key| key.state == State::Staged).count() <= 1);
            }
        }
    }
}
