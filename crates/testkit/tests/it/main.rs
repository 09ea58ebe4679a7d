//! What needs PostgreSQL, Kafka and a whole process.
#![expect(clippy::unwrap_used, reason = "a test may fail by panic, and so may what its tests share")]

mod databases;
mod processes;
