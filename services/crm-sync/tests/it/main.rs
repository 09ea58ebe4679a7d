//! crm-sync through its public interfaces: gRPC in, facts of profile in, and a simulated Salesforce org at the other end.

mod agreements;
mod faults;
mod garbage;
mod live;
mod load;
mod people;
mod setup;
mod world;
