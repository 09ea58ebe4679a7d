//! A foreign CRM at the wire: Salesforce's OAuth JWT bearer flow, REST, sObject Collections and Bulk API 2.0 ingest,
//! for rehearsals and tests. It shares no code with the suite and is never part of a production install.
//!
//! Owns: the records, jobs, sessions and limits of one simulated org, in memory, under its own clock.
//! In: HTTP of a CRM client on the data port; seeds, faults and clock steps on the control port.
//! Out: replies as Salesforce gives them, and on the control port everything it holds and every call it saw.

pub mod auth;
pub mod budget;
pub mod bulk;
pub mod calls;
pub mod clock;
pub mod collections;
pub mod config;
pub mod control;
pub mod describe;
pub mod fault;
mod http;
pub mod id;
pub mod org;
pub mod query;
pub mod refusal;
pub mod rows;
pub mod simulator;
pub mod soql;
pub mod value;

pub use config::{Args, Config};
pub use simulator::{Running, Simulator};
