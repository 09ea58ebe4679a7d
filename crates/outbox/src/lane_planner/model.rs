//! The planner against a model: lanes of one partition that are revoked, lost and killed at any moment, over a log with
//! repeats, a database whose commits may fail or be unknown, and records that fail for a time.
//!
//! Cases: `PROPTEST_CASES`, by default 100,000.

mod database;
mod schedule;
mod world;

use proptest::{
    prelude::*,
    test_runner::{RngAlgorithm, TestError, TestRng, TestRunner},
};

use self::{
    schedule::{Flaw, Schedule, schedules, step},
    world::World,
};

const CASES: u32 = 100_000;

type Checked = Result<(), TestCaseError>;

fn run(schedule: &Schedule, flaw: Flaw) -> Checked {
    let mut world = World::new(schedule, flaw);
    for number in &schedule.steps {
        world.take(step(*number))?;
    }
    world.settle()
}

fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig { cases: cases.unwrap_or(CASES), ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn no_schedule_loses_doubles_or_inverts(schedule in schedules()) {
        run(&schedule, Flaw::None)?;
    }
}

// Always the same schedules, so that a model that grew blind is seen at once.
fn finds(flaw: Flaw) -> String {
    let config = ProptestConfig {
        cases: CASES / 5,
        failure_persistence: None,
        max_shrink_iters: 0,
        ..ProptestConfig::default()
    };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    match runner.run(&schedules(), |schedule| run(&schedule, flaw)) {
        Err(TestError::Fail(why, _)) => why.to_string(),
        other => panic!("{flaw:?} is not seen: {other:?}"),
    }
}

#[test]
fn an_offset_before_the_commit_is_seen_to_lose() {
    assert!(finds(Flaw::OffsetBeforeCommit).contains("is lost behind the offset"));
}

#[test]
fn a_record_not_queued_behind_its_parked_key_is_seen_to_be_lost() {
    assert!(finds(Flaw::NotQueued).contains("is lost behind the offset"));
}

#[test]
fn a_record_that_does_not_wait_behind_its_parked_key_is_seen_to_invert() {
    assert!(finds(Flaw::NotBehind).contains("before its turn"));
}

#[test]
fn a_parked_key_that_is_forgotten_is_seen_to_wait_for_ever() {
    assert!(finds(Flaw::ForgetsParked).contains("has no effect"));
}

#[test]
fn an_offset_over_a_failed_half_is_seen_to_lose() {
    assert!(finds(Flaw::StoreOverHalf).contains("is lost behind the offset"));
}

#[test]
fn a_parked_record_that_a_later_one_overtakes_is_seen() {
    assert!(finds(Flaw::Overtakes).contains("before its turn"));
}

#[test]
fn a_claim_apart_from_its_effect_is_seen_to_pass_it_over() {
    assert!(finds(Flaw::ClaimApart).contains("before its turn"));
}

#[test]
fn a_repeat_inside_a_batch_is_seen_to_double() {
    assert!(finds(Flaw::RepeatInBatch).contains("twice"));
}
