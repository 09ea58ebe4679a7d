//! results-feed through its public interfaces, over real PostgreSQL.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may fail by panic, and so may what its tests share"
)]

mod access;
mod events_over_http;
mod hostile;
mod ingest;
mod journey;
mod pages;
mod policies;
mod quarantine;
mod refusals;
mod replicas;
mod world;
