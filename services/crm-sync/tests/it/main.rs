//! crm-sync through its public interfaces: gRPC in, facts of profile in, and a simulated Salesforce org at the other end.
#![expect(clippy::unwrap_used, reason = "a test fails by panic")]

mod agreements;
mod faults;
mod garbage;
mod live;
mod load;
mod people;
mod refusals;
mod setup;
mod world;
