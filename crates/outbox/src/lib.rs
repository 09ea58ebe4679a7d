//! Both ends of at-least-once delivery between PostgreSQL and Kafka, and the only crate that knows Kafka.
//!
//! It owns the tables of `schema.sql` in each service's schema: the outbox and how far its relay is, the inbox and how far
//! consumers are, parked and paused.
//! In: [`append`] writes a [`Fact`] in the transaction that made it true; [`publish`] adds the relay that sends the rows.
//! Out: [`consume`] brings the records of topics to a handler in batches, [`inbox::claim`] tells it which are new to it;
//! [`Tail`] reads topics from a position for a view in memory. Operators: [`VERBS`] are `records`, `consumer`, `outbox`,
//! `topics` and `republish` on the command line of each service.
//!
//! Promised: a committed fact arrives at least once, a rolled-back one never; the first deliveries of a key come in the
//! order of its versions; each claimed effect happens once a consumer; nothing is skipped silently. Not promised: order
//! between keys or topics, and the absence of late repeats, so readers keep the highest version of a key.

mod client;
mod component;
mod consumer;
mod days;
mod delivery;
mod ends;
mod error;
mod fact;
mod failure;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod inbox;
mod lane;
mod lane_planner;
mod lease;
mod measure;
mod parking;
mod pause;
mod places;
mod planner;
mod producer;
mod record;
mod relay;
mod resend;
mod subscription;
mod tail;
mod topic;
mod topics;
pub mod trace;
mod verbs;

pub use component::{consume, publish, republish};
pub use error::Error;
pub use fact::{Fact, MAX_FACT_BYTES, append};
pub use failure::Failure;
pub use record::{Batch, Record};
pub use subscription::Subscription;
pub use tail::{Tail, TailRecord, TailStart};
pub use topic::{Class, Partitions, Topic};
pub use topics::delete_prefixed;
pub use verbs::{StatePage, VERBS};
