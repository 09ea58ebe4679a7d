//! results-feed through its public interfaces, over real PostgreSQL.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may fail by panic, and so may what its tests share"
)]

mod access;
mod events_over_http;
mod fanout;
mod hostile;
mod journey;
mod pages;
mod policies;
mod refusals;
mod replicas;
mod socket;
mod world;
