//! How fast identity is beside Keycloak, on one machine in one run, with one load generator and one PostgreSQL.
//!
//! `deploy/local/bench-identity` calls it, with PostgreSQL, Kafka and, where it can be had, Keycloak at hand. Each
//! contestant is a process of its own on a database of its own; its processor time and PostgreSQL's are read from /proc.
//! Figures of a busy machine are of no use: each table says how busy it was.
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod compare;
mod fakes;
mod hash;
mod keycloak;
mod load;
mod ours;
mod provider;
mod rollout;
mod server;
mod size;
mod storm;
mod web;

use std::process::ExitCode;

use anyhow::Result;
use testkit::measure::{Surroundings, system};

use crate::size::{Size, Workload};

fn main() -> ExitCode {
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
        println!("{}, {} users, runs of {} s", system::machine(), size.users, size.run.as_secs());
        let mut failed = Vec::new();
        let compared: Vec<Workload> = size.workloads.iter().copied().filter(Workload::is_compared).collect();
        if !compared.is_empty()
            && let Err(error) = compare::run(&surroundings, size, &compared).await
        {
            println!("could not be compared: {error:#}");
            failed.push("beside Keycloak".to_owned());
        }
        for workload in size.workloads.iter().filter(|workload| !workload.is_compared()) {
            println!("\n## {workload}\n");
            let table = match workload {
                Workload::Storm => storm::run(&surroundings, size).await,
                _ => rollout::run(&surroundings, size).await,
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
