//! segmentation through its public interfaces: facts of profile in, gRPC, and facts out, over real PostgreSQL and Kafka.
#![expect(clippy::unwrap_used, reason = "a test may fail by panic, and so may what its tests share")]

mod freezes;
mod hostile;
mod memberships;
mod people;
mod policies;
mod refusals;
mod restarts;
mod segments;
mod world;
