use std::{fmt, time::Duration};

use clap::{Parser, ValueEnum};

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

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Scale {
    /// Seconds, to see that it runs; no figure of it means anything.
    Small,
    /// A quarter of an hour.
    Ci,
    /// What the targets are set for: some hours with --runs 3.
    Full,
}

#[derive(Debug, Parser)]
#[command(name = "bench-backbone")]
struct Arguments {
    /// Which workloads, with commas between; all by default.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Workload>,
    /// Runs of each contestant; the middle one counts.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=9))]
    runs: u8,
    /// How much is done.
    #[arg(long, default_value = "ci")]
    size: Scale,
    /// Said by cargo.
    #[arg(long, hide = true)]
    bench: bool,
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
        let arguments = Arguments::parse();
        let workloads =
            if arguments.only.is_empty() { Workload::value_variants().to_vec() } else { arguments.only };
        let (rows, writing, paced, records, one_by_one, calling) = match arguments.size {
            Scale::Small => (60_000, 4, 4, 60_000, 3, 2),
            Scale::Ci => (500_000, 30, 30, 300_000, 10, 5),
            Scale::Full => (5_000_000, 600, 60, 1_000_000, 30, 20),
        };
        let seconds = Duration::from_secs;
        Self {
            workloads,
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
