//! The reference model: what was published is folded in the plainest way, and every reader, whatever happened to it on its
//! way, must hold what that fold says. The steps of a run come from its seed; a run that fails is told with the fewest
//! steps that still fail. `KOTINOS_MODEL_ALL=1` takes ten times as many runs, `KOTINOS_MODEL_SEED` one of them.

mod cast;
mod client;
mod connection;
mod embargoes;
mod fault;
mod met;
mod moving;
mod mutant;
mod plan;
mod random;
mod replica;
mod stage;
mod store;
mod truth;
mod walk;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use fault::{Fault, Kind};
use mutant::Mutant;
use plan::Step;
use stage::Stage;

/// Runs of `make test`.
const RUNS: u64 = 10_000;
/// Runs in which a planted mutant must be found.
const RUNS_OF_A_MUTANT: u64 = 5_000;

/// One run: its steps, then rest, then the verdict.
fn run(seed: u64, steps: &[Step], mutant: Option<Mutant>) -> Result<(), Fault> {
    let mut stage = Stage::new(seed, mutant);
    for step in steps {
        stage.take(step)?;
    }
    stage.settle()
}

/// The fewest steps that fail in the same way: pieces are left out as long as it still fails.
fn shrink(seed: u64, mut steps: Vec<Step>, kind: Kind) -> (Vec<Step>, Fault) {
    let fails = |steps: &[Step]| run(seed, steps, None).err().filter(|fault| fault.kind == kind);
    let mut piece = steps.len().div_ceil(2);
    while piece > 0 {
        let mut from = 0;
        while from < steps.len() {
            let mut fewer = steps.clone();
            fewer.drain(from..(from + piece).min(fewer.len()));
            if fails(&fewer).is_some() {
                steps = fewer;
            } else {
                from += piece;
            }
        }
        piece /= 2;
    }
    let fault = fails(&steps).unwrap_or_else(|| Fault::new(kind, "it does not fail any more"));
    (steps, fault)
}

fn demand(seed: u64) {
    let steps = plan::steps(seed);
    let Err(fault) = run(seed, &steps, None) else { return };
    let count = steps.len();
    let (fewest, fault) = shrink(seed, steps, fault.kind);
    let told: Vec<String> = fewest.iter().map(|step| format!("  {step:?}")).collect();
    panic!(
        "KOTINOS_MODEL_SEED={seed}: {fault}\n{} of {count} steps suffice:\n{}\n{:#?}",
        fewest.len(),
        told.join("\n"),
        cast::Cast::of(seed)
    );
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name} must be a number")))
}

#[test]
fn every_reader_ends_with_what_its_rights_allow_whatever_happened_on_the_way() {
    if let Some(seed) = setting("KOTINOS_MODEL_SEED") {
        demand(seed);
        return;
    }
    let runs = if setting("KOTINOS_MODEL_ALL") == Some(1) { RUNS * 10 } else { RUNS };
    let next = AtomicU64::new(0);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= runs {
                        break;
                    }
                    demand(seed);
                }
            });
        }
    });
}

#[test]
fn a_planted_mutant_is_found() {
    for (mutant, kinds) in Mutant::ALL {
        let found = (0..RUNS_OF_A_MUTANT)
            .find_map(|seed| run(seed, &plan::steps(seed), Some(*mutant)).err().map(|fault| (seed, fault)));
        let Some((seed, fault)) = found else { panic!("{mutant:?} is not found") };
        println!("{mutant:?} is found by run {seed}: {fault}");
        assert!(kinds.contains(&fault.kind), "{mutant:?} is found by another check: {fault}");
    }
}

#[test]
fn runs_meet_what_they_are_about() {
    let mut met = met::Met::default();
    for seed in 0..300 {
        let mut stage = Stage::new(seed, None);
        for step in &plan::steps(seed) {
            stage.take(step).unwrap();
        }
        stage.settle().unwrap();
        met.add(&stage.met());
    }
    let never: Vec<&str> = met.never();
    assert!(never.is_empty(), "no run meets {never:?}: {met:?}");
}
