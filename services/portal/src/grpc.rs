//! gRPC out: what the portal asks of the other services, in its own words.

pub mod identity;
pub mod profile;
pub mod results;
