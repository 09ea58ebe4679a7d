//! Both ends of delivery over real PostgreSQL and Kafka: order, loss, repeats, failures, leadership, topics.
#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panic")]
#![expect(clippy::unwrap_used, reason = "a test may fail by panic, and so may what its tests share")]

mod batches;
mod broker;
mod days;
mod leaders;
mod ordering;
mod parking;
mod publishing;
mod refusals;
mod repeats;
mod secured;
mod tails;
mod topics;
mod verbs;
mod world;
