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
mod balancer;
mod dice;
mod events_over_http;
mod failover;
mod fanout;
mod follower;
mod guide;
mod hostile;
mod identity;
mod ingest;
mod interleavings;
mod interop;
mod journey;
mod kills;
mod pages;
mod policies;
mod quarantine;
mod process;
mod refusals;
mod receiver;
mod replicas;
mod rights;
mod rights_day;
mod socket;
mod search;
mod world;
