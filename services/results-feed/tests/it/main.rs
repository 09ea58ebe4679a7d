//! results-feed through its public interfaces, over real PostgreSQL.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may fail by panic, and so may what its tests share"
)]

mod access;
mod barrage;
mod days;
mod delivery;
mod delivery_failures;
mod desk;
mod events_over_http;
mod fanout;
mod hostile;
mod identity;
mod ingest;
mod journey;
mod pages;
mod policies;
mod quarantine;
mod refusals;
mod receiver;
mod replicas;
mod socket;
mod search;
mod world;
