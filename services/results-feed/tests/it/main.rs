//! results-feed through its public interfaces, over real PostgreSQL.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may fail by panic, and so may what its tests share"
)]

mod access;
mod balancer;
mod dice;
mod events_over_http;
mod failover;
mod fanout;
mod follower;
mod guide;
mod hostile;
mod interleavings;
mod interop;
mod journey;
mod kills;
mod pages;
mod policies;
mod process;
mod refusals;
mod replicas;
mod socket;
mod world;
