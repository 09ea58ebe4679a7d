//! All SQL of identity, a file for each group of tables. Domain types in and out. Each
//! operation is a span, but for those that a loop repeats without work.

pub mod audit;
pub mod challenge;
pub mod client;
pub mod client_admin;
pub mod consent;
pub mod credential;
pub mod delivery;
pub mod device_grant;
pub mod grant;
pub mod partition;
pub mod passkey;
pub mod pushed_request;
pub mod record;
pub mod recovery;
pub mod registration;
pub mod second_factor;
pub mod secret_key;
pub mod revocation;
pub mod session;
pub mod signing_key;
pub mod staff;
pub mod sweep;
pub mod throttle;
pub mod user;
pub mod user_admin;

use crate::error::Error;

fn stored<T, E>(what: &'static str, parsed: Result<T, E>) -> Result<T, Error> {
    parsed.map_err(|_| Error::Stored { what })
}

// PostgreSQL has no unsigned integers; our counters stay far below the limit.
fn count(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn uncount(number: i32) -> u32 {
    u32::try_from(number).unwrap_or(0)
}
