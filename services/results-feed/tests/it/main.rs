//! results-feed through its public interfaces, over real PostgreSQL.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may fail by panic, and so may what its tests share; it says what it skips or drew"
)]

mod access;
mod barrage;
mod control;
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
mod generator;
mod guide;
mod hostile;
mod identity;
mod ingest;
mod interleavings;
mod interop;
mod journey;
mod kills;
mod pages;
mod partitions;
mod policies;
mod quarantine;
mod process;
mod refusals;
mod receiver;
mod rehearsal;
mod rehearsal_day;
mod replicas;
mod rights;
mod rights_day;
mod socket;
mod search;
mod time_travel;
mod world;
