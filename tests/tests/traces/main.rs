//! What real processes tell of themselves: whole traces, none of which is lost at the end of a process, and calls that
//! go on while nobody takes spans.

#![expect(
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panic, and prints what it saw"
)]

mod asked;
mod caller;
mod chain;
mod collector;
mod documents;
mod ended;
mod exemplars;
mod flows;
mod index;

use anyhow::Result;
use domain::Service;
use e2e::{Shape, Suite};
use tokio::sync::Mutex;

/// One suite at a time: several on one machine would hold each other up.
static TURN: Mutex<()> = Mutex::const_new(());

/// Starts services, goes over them, and stops them; fails with the ends of the logs.
async fn over<T>(
    name: &str,
    services: &[Service],
    settings: &[(&str, &str)],
    go: impl AsyncFnOnce(&Suite) -> Result<T>,
) -> T {
    let _turn = TURN.lock().await;
    let suite = Suite::start_some(name, Shape::Services, services, settings).await;
    let suite = suite.unwrap_or_else(|error| panic!("{error:?}"));
    let seen = match go(&suite).await {
        Ok(seen) => seen,
        Err(error) => panic!("{:?}", suite.with_logs(error).await),
    };
    suite.stop().await.unwrap_or_else(|error| panic!("{error:?}"));
    seen
}
