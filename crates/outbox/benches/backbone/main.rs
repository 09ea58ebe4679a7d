//! How fast the outbox, its consumers and the gRPC stack are, beside what people use instead, on one machine in one run.
//!
//! `deploy/local/bench-backbone` calls it, with PostgreSQL (`wal_level = logical`), Kafka and Debezium at hand. Each
//! contestant is a process of its own, on a database and a topic of its own; what it has done is seen from outside, and
//! its time and memory are read from /proc. Figures of a busy machine are of no use: the head says how busy it was.
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod calls;
mod commits;
mod consume;
mod consumers;
mod debezium;
mod drain;
mod effects;
mod limits;
mod naive;
mod notes;
mod producer;
mod roles;
mod rows;
mod size;
mod spawned;
mod surroundings;
mod usage;

use std::process::ExitCode;

use anyhow::Result;

use crate::{
    limits::Limits,
    size::{Size, Workload},
    surroundings::Surroundings,
};

fn main() -> ExitCode {
    // A contestant is this program again, told so by its environment.
    if let Ok(role) = std::env::var(roles::ROLE) {
        return roles::play(&role);
    }
    // `cargo bench` says --bench; `cargo test --benches` does not, and has nothing to test here.
    if !std::env::args().any(|argument| argument == "--bench") {
        return ExitCode::SUCCESS;
    }
    match run(&Size::from_arguments()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(size: &Size) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let surroundings = Surroundings::find().await?;
        let limits = Limits::measure(&surroundings, size).await?;
        println!("{limits}");
        let mut failed = Vec::new();
        for workload in &size.workloads {
            println!("\n## {workload}\n");
            let table = match workload {
                Workload::Drain => drain::run(&surroundings, &limits, size).await,
                Workload::Commits => commits::run(&surroundings, &limits, size).await,
                Workload::Effects => effects::run(&surroundings, &limits, size).await,
                Workload::Consume => consume::run(&surroundings, &limits, size).await,
                Workload::Calls => calls::run(&surroundings, size).await,
            };
            match table {
                Ok(table) => println!("{table}"),
                Err(error) => {
                    println!("could not be run: {error:#}");
                    failed.push(workload.to_string());
                }
            }
        }
        anyhow::ensure!(failed.is_empty(), "these could not be run: {}", failed.join(", "));
        Ok(())
    })
}
