use std::{fmt, time::Duration};

use clap::{Parser, ValueEnum};
use testkit::measure::{Arguments, Scale};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Workload {
    /// Rows wait in the outbox; a relay sends them all.
    Drain,
    /// Sixteen writers, one event a transaction.
    Commits,
    /// From a commit here to its effect in another database.
    Effects,
    /// Records wait in a topic; a consumer takes them in.
    Consume,
    /// A gRPC method that has nothing to do.
    Calls,
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_possible_value().map_or(Ok(()), |value| f.write_str(value.get_name()))
    }
}

#[derive(Debug, Parser)]
#[command(name = "bench-backbone")]
struct CommandLine {
    #[command(flatten)]
    common: Arguments<Workload>,
}

/// How much is done.
#[derive(Debug)]
pub struct Size {
    pub workloads: Vec<Workload>,
    pub runs: u8,
    /// Rows that wait in the outbox.
    pub rows: i64,
    /// A phase of one event a transaction.
    pub writing: Duration,
    /// A rate of commits whose effects are waited for.
    pub paced: Duration,
    /// Records that a consumer takes in.
    pub records: i64,
    /// So long a consumer of one transaction a record goes on, which would need minutes for all.
    pub one_by_one: Duration,
    /// Calls of one gRPC server.
    pub calling: Duration,
}

impl Size {
    pub fn from_arguments() -> Self {
        let arguments = CommandLine::parse().common;
        let (rows, writing, paced, records, one_by_one, calling) = match arguments.size {
            Scale::Small => (60_000, 4, 4, 60_000, 3, 2),
            Scale::Ci => (500_000, 30, 30, 300_000, 10, 5),
            Scale::Full => (5_000_000, 600, 60, 1_000_000, 30, 20),
        };
        let seconds = Duration::from_secs;
        Self {
            workloads: arguments.workloads(),
            runs: arguments.runs,
            rows,
            writing: seconds(writing),
            paced: seconds(paced),
            records,
            one_by_one: seconds(one_by_one),
            calling: seconds(calling),
        }
    }
}
