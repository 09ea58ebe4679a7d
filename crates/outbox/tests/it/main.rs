//! Both ends of delivery over real PostgreSQL and Kafka: order, loss, repeats, failures, leadership, topics.
#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panic")]
#![expect(clippy::unwrap_used, reason = "a test may fail by panic, and so may what its tests share")]

mod batches;
mod broker;
mod campaign;
mod days;
mod full_disk;
mod leaders;
mod ordering;
mod outage;
mod parking;
mod publishing;
mod recreated;
mod refusals;
mod repeats;
mod secured;
mod storm;
mod tails;
mod topics;
mod verbs;
mod world;
