//! profile through its public interfaces: facts of identity in, gRPC, and facts out, over real PostgreSQL and Kafka.
#![expect(clippy::unwrap_used, reason = "a test may fail by panic, and so may what its tests share")]

mod consents;
mod hostile;
mod policies;
mod profiles;
mod reach;
mod refusals;
mod users;
mod verbs;
mod world;
