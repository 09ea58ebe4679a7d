//! How fast the feed is beside what people use for the same today, on one machine in one run, with one load generator.
//!
//! `deploy/local/bench-feed` calls it, with PostgreSQL and Kafka and, where they can be had, NATS, Mosquitto,
//! Pushpin and Sockudo at hand.
//! Each contestant is a process of its own; its processor time and memory are read from /proc. The server has the first
//! processor for itself and the load the others, as far as there are others. Peers are given the bytes of our frames.
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

/// What bounds a figure that nobody has taken apart yet.
const UNKNOWN: &str = "what is not found out yet";

mod contestants;
mod documents;
mod fanout;
mod floor;
mod flow;
mod frames;
mod mosquitto;
mod nats;
mod ours;
mod processors;
mod publisher;
mod pushpin;
mod readers;
mod rights;
mod size;
mod slow;
mod sockudo;
mod storm;

use std::process::ExitCode;

use anyhow::Result;
use testkit::measure::{Surroundings, Table, system};

use crate::size::{Size, Workload};

fn main() -> ExitCode {
    // The bare floor runs as a process of its own, as every contestant does.
    if let Some(address) = std::env::args().skip_while(|argument| argument != floor::ARGUMENT).nth(1) {
        return floor::serve(&address).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
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
    // Before the load has fewer.
    let machine = system::machine();
    processors::give_load_its_own();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let surroundings = Surroundings::find().await?;
        println!("{machine}, {} connections, runs of {} s", size.connections, size.run.as_secs());
        let mut failed = Vec::new();
        for workload in &size.workloads {
            println!("\n## {workload}\n");
            match one(&surroundings, size, *workload).await {
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

async fn one(surroundings: &Surroundings, size: &Size, workload: Workload) -> Result<Table> {
    match workload {
        Workload::Flow => flow::run(surroundings, size).await,
        Workload::Fanout => fanout::run(surroundings, size).await,
        Workload::Storm => storm::run(surroundings, size).await,
        Workload::Slow => slow::run(surroundings, size).await,
        Workload::Frames => frames::run(surroundings, size).await,
        Workload::Rights => rights::run(surroundings, size).await,
    }
}
