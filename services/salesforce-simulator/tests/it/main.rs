//! The simulator through its two ports.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod bulk;
mod collections;
mod control;
mod faults;
mod garbage;
mod query;
mod token;
mod world;
