//! The planner against a model: PostgreSQL's transaction ids, row locks and snapshots on one side, a partitioned log on
//! the other, and a schedule that interleaves writers, relay, broker, kills and lost leases.
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
    schedule::{Flaw, Script, schedules, step},
    world::World,
};

const CASES: u32 = 100_000;

type Checked = Result<(), TestCaseError>;

fn run(scripts: &[Script], steps: &[u16], flaw: Flaw) -> Checked {
    let mut world = World::new(scripts, flaw);
    for number in steps {
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
    fn no_schedule_loses_inverts_or_skips((scripts, steps) in schedules()) {
        run(&scripts, &steps, Flaw::None)?;
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
    match runner.run(&schedules(), |(scripts, steps)| run(&scripts, &steps, flaw)) {
        Err(TestError::Fail(why, _)) => why.to_string(),
        other => panic!("{flaw:?} is not seen: {other:?}"),
    }
}

#[test]
fn transaction_ids_as_positions_are_seen_to_invert() {
    assert!(finds(Flaw::OwnId).contains("first deliveries"));
}

#[test]
fn a_cursor_over_a_hole_is_seen() {
    assert!(finds(Flaw::CursorOverHole).contains("is a hole"));
}

#[test]
fn a_horizon_younger_than_its_page_is_seen() {
    finds(Flaw::HorizonAfterPage);
}

#[test]
fn a_part_of_a_page_taken_for_the_whole_is_seen() {
    finds(Flaw::FullAsWhole);
}

#[test]
fn a_stale_record_without_a_fence_is_seen() {
    assert!(finds(Flaw::NoFence).contains("the newest record"));
}

#[test]
fn a_second_lost_lease_that_forgets_the_first_is_seen() {
    assert!(finds(Flaw::NoSecondFence).contains("the newest record"));
}
