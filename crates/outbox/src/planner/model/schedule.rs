//! What a schedule is made of: transactions, and steps.

use std::collections::BTreeMap;

use proptest::{
    collection::{btree_map, vec},
    prelude::*,
};

pub(super) const KEYS: usize = 4;
pub(super) const PARTITIONS: usize = 3;
/// Transactions that are open at once.
pub(super) const OPEN: usize = 5;

/// What is wrong with the relay: the model must see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    None,
    /// A row's position is its transaction's id.
    OwnId,
    /// The cursor is the highest row that was acknowledged.
    CursorOverHole,
    /// The horizon is taken after the page was read.
    HorizonAfterPage,
    /// A page that is not complete is taken as if it were.
    FullAsWhole,
    /// Who lost the lease does not say what may be on its way.
    NoFence,
    /// Nor that it was sending the keys of another one's fence again.
    NoSecondFence,
}

/// A transaction before it runs.
#[derive(Debug, Clone)]
pub(super) struct Script {
    /// Has an id before it waits for anything, as after an inbox claim.
    pub(super) early: bool,
    /// Facts per aggregate, whose locks are taken in one order: no deadlock.
    pub(super) facts: BTreeMap<usize, usize>,
    pub(super) commits: bool,
}

fn script() -> impl Strategy<Value = Script> {
    let facts = btree_map(0..KEYS, 1..3_usize, 0..=2);
    (any::<bool>(), facts, prop::bool::weighted(0.8)).prop_map(|(early, facts, commits)| Script {
        early,
        facts,
        commits,
    })
}

pub(super) fn schedules() -> impl Strategy<Value = (Vec<Script>, Vec<u16>)> {
    (vec(script(), 1..14), vec(any::<u16>(), 0..300))
}

/// What happens next. A step that cannot be taken now is passed over.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    /// Of one of the open transactions.
    Write(usize),
    TakeHorizon,
    /// At most so many rows.
    ReadPage(usize),
    AnswerPage,
    /// The broker appends the next record of a partition.
    Land(usize),
    /// The relay hears of it.
    Acknowledge(usize),
    Tick,
    /// The leader looks for fences.
    Tend,
    /// The relay dies; so many of its records still arrive in each partition.
    Kill(usize),
    /// The relay learns late that another one leads.
    LoseLease,
    /// A record of the one that lost its lease arrives.
    LandLate(usize),
    /// The one that lost its lease gives up what has not arrived, and says so.
    WriteFence,
}

// A step as a number, since a strategy for each of hundreds would cost more time than the steps.
pub(super) fn step(number: u16) -> Step {
    let argument = usize::from(number / 64);
    match number % 64 {
        0..17 => Step::Write(argument % OPEN),
        17..23 => Step::TakeHorizon,
        23..29 => Step::ReadPage(1 + argument % 6),
        29..35 => Step::AnswerPage,
        35..42 => Step::Land(argument % PARTITIONS),
        42..49 => Step::Acknowledge(argument % PARTITIONS),
        49..54 => Step::Tick,
        54..57 => Step::Tend,
        57 => Step::Kill(argument % 8),
        58 => Step::LoseLease,
        59..63 => Step::LandLate(argument % PARTITIONS),
        _ => Step::WriteFence,
    }
}
