use std::{fmt, time::Duration};

use clap::{Parser, ValueEnum};
use testkit::measure::{Arguments, Scale};

/// What is asked of a feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Workload {
    /// G1: 200 readers of all, 50 documents of 8 KB a second, and a day's documents with its bursts and PDFs beside.
    Flow,
    /// G2: one final, 4 frames a second, very many readers.
    Fanout,
    /// G3: all of them drop and come back, a third of them from behind the ring; then the process is killed.
    Storm,
    /// G4: a hundred readers that take 1 KB a second among the others.
    Slow,
    /// G5: bytes of a frame beside those of the whole document.
    Frames,
    /// G8: what five hundred entitlements cost.
    Rights,
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_possible_value().map_or(Ok(()), |value| f.write_str(value.get_name()))
    }
}

#[derive(Debug, Parser)]
#[command(name = "bench-feed")]
struct CommandLine {
    #[command(flatten)]
    common: Arguments<Workload>,
    /// Connections, where not those of the size.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    connections: Option<u32>,
}

/// How much is done.
#[derive(Debug)]
pub struct Size {
    pub workloads: Vec<Workload>,
    pub runs: u8,
    /// Readers of the final.
    pub connections: usize,
    /// Readers of everything.
    pub readers: usize,
    pub warm_up: Duration,
    pub run: Duration,
    /// Entries in the log before a killed process starts again.
    pub entries: i64,
    pub entitlements: usize,
}

impl Size {
    pub fn from_arguments() -> Self {
        let CommandLine { common: arguments, connections: asked } = CommandLine::parse();
        let (connections, readers, warm_up, run, entries, entitlements) = match arguments.size {
            Scale::Small => (100, 20, 1, 3, 1_000, 20),
            Scale::Ci => (10_000, 200, 3, 20, 100_000, 500),
            Scale::Full => (10_000, 200, 10, 60, 1_000_000, 500),
        };
        Self {
            workloads: arguments.workloads(),
            runs: arguments.runs,
            connections: asked.map_or(connections, |connections| connections as usize),
            readers,
            warm_up: Duration::from_secs(warm_up),
            run: Duration::from_secs(run),
            entries,
            entitlements,
        }
    }
}
