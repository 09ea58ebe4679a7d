//! A synthetic day of competition as its senders would POST it, for tests, rehearsals and measurements. The same seed
//! gives the same bytes. Every text in the documents is ours; names and marks come from a [`Programme`].

mod bodies;
mod drafts;
mod faults;
mod names;
mod paris;
mod plan;
mod programme;
mod random;
mod synthetic;
mod table;
mod xml;

pub use faults::{Expected, Fault};
pub use paris::{BrokenTable, Tables};
pub use programme::{Choice, Programme, Refused};
pub use synthetic::DAY as SYNTHETIC_DAY;

use domain::NaiveDate;

use crate::document_type::ResultStatus;
use drafts::Drafts;
use faults::Faults;

/// Shortest pause between two keep-alives of a venue, in seconds: a type and code come at most each 0.25 s (ODF Foundation
/// Principles 9), and more than one a second proves nothing.
pub const SHORTEST_KEEP_ALIVE: u32 = 1;

/// How a programme becomes documents.
#[derive(Debug, Clone)]
pub struct Options {
    /// Of jitter and faults.
    pub seed: u64,
    /// CompetitionCode of every document.
    pub competition: String,
    /// FeedFlag `T` instead of `P`.
    pub test: bool,
    /// Whether senders make their mistakes.
    pub faults: bool,
    /// Seconds between two keep-alives of a venue; 0 for none.
    pub keep_alive: u32,
}

/// A document on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generated {
    /// Milliseconds after the first document.
    pub offset_ms: u64,
    /// The whole document, UTF-8.
    pub document: Vec<u8>,
    /// Such as `DT_RESULT`.
    pub document_type: &'static str,
    /// As the document has it, so one of 33 characters where that is the fault.
    pub document_code: String,
    /// From 1.
    pub version: u32,
    /// Where the type has one.
    pub status: Option<ResultStatus>,
    /// The mistake that it is part of.
    pub fault: Option<Fault>,
    /// What a feed that took everything before answers.
    pub expected: Expected,
}

/// The documents of a programme in the order in which they are sent.
pub fn generate(programme: Programme, options: &Options) -> impl Iterator<Item = Generated> + use<> {
    Faults::new(Drafts::new(programme, options), options)
}

/// The units that a seed makes up, on a day: 100 m and 100 m freestyle in eight lanes, judo bouts.
#[must_use]
pub fn synthetic(seed: u64, day: NaiveDate, choice: &Choice) -> Programme {
    synthetic::programme(seed, day, choice)
}

/// The units of a day in the tables of the Paris 2024 results.
///
/// # Errors
/// A table without a column that is needed.
pub fn paris(tables: &Tables, day: NaiveDate, choice: &Choice) -> Result<Programme, BrokenTable> {
    paris::programme(tables, day, choice)
}

#[cfg(test)]
#[path = "generator/tests.rs"]
mod tests;
