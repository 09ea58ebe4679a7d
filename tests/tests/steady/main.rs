//! Services that stay steady on real processes: while each is replaced under load, and under more load than one bears.
//!
//! `KOTINOS_STEADY_RATE` is how many calls a second a rollout goes on under; 300 if it is not set.

#![expect(
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panic, and prints what it saw"
)]

mod balancer;
mod load;
mod overload;
mod reads;
mod rolling;

use tokio::sync::Mutex;

/// One test at a time: two loads on one machine would measure each other.
static TURN: Mutex<()> = Mutex::const_new(());
