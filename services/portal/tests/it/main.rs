//! The portal through its pages, over real PostgreSQL and real gRPC; identity's pages and results-feed's events are stood in for
//! at the wire.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may fail by panic, and so may what its tests share"
)]

mod account;
mod browser;
mod consents;
mod logout;
mod outside;
mod pages;
mod peers;
mod results;
mod sign_in;
mod world;
