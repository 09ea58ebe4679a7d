//! Processor time of one hash, each backend beside crate `argon2` and, where `deploy/local/bench-hash` has built them, the
//! C implementation as distributions ship it and as built for this processor.
//!
//! Figures are the least of several runs, taken in turn: what else the machine does disturbs them upwards only.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::{env, process::Command, time::Duration};

use anyhow::{Context as _, ensure};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use argon2_wide::{Backend, Cost, Input, Memory};
use rustix::time::{ClockId, clock_gettime};

/// The costs that are compared: what OWASP lists first with one lane, and what identity uses.
const COSTS: [Cost; 2] =
    [Cost { memory: 7_168, passes: 5, lanes: 1 }, Cost { memory: 19_456, passes: 2, lanes: 1 }];
const ROUNDS: usize = 12;
const PASSWORD: &[u8] = b"correct horse battery staple";
const SALT: &[u8] = b"sixteen bytes...";

enum Subject {
    Ours(Backend, Memory),
    Crate(Vec<Block>),
    // A program that prints the milliseconds of one hash for memory, passes and lanes.
    Program(String, String),
}

impl Subject {
    fn name(&self) -> String {
        match self {
            Self::Ours(backend, _) => format!("argon2-wide {}", backend.name()),
            Self::Crate(_) => "crate argon2".to_owned(),
            Self::Program(name, _) => name.clone(),
        }
    }

    fn milliseconds(&mut self, cost: Cost) -> anyhow::Result<f64> {
        match self {
            Self::Ours(backend, memory) => {
                let input = Input { password: PASSWORD, salt: SALT, secret: &[], associated_data: &[] };
                let start = processor_time()?;
                backend.argon2id(input, cost, memory, &mut [0; 32])?;
                Ok((processor_time()? - start).as_secs_f64() * 1e3)
            }
            Self::Crate(memory) => {
                let params = Params::new(cost.memory, cost.passes, cost.lanes, Some(32)).context("params")?;
                memory.resize(params.block_count(), Block::new());
                let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
                let start = processor_time()?;
                argon
                    .hash_password_into_with_memory(PASSWORD, SALT, &mut [0; 32], memory.as_mut_slice())
                    .context("hash")?;
                Ok((processor_time()? - start).as_secs_f64() * 1e3)
            }
            Self::Program(name, path) => {
                let costs = [cost.memory, cost.passes, cost.lanes].map(|cost| cost.to_string());
                let output = Command::new(path).args(costs).output()?;
                ensure!(output.status.success(), "{name} failed");
                Ok(String::from_utf8(output.stdout)?.trim().parse()?)
            }
        }
    }
}

fn processor_time() -> anyhow::Result<Duration> {
    Ok(Duration::try_from(clock_gettime(ClockId::ThreadCPUTime))?)
}

// `BENCH_ARGON2_C` lists programs as `name=path`, separated by `:`.
fn subjects() -> Vec<Subject> {
    let mut subjects: Vec<Subject> =
        Backend::all().map(|backend| Subject::Ours(backend, Memory::new())).collect();
    subjects.push(Subject::Crate(Vec::new()));
    let programs = env::var("BENCH_ARGON2_C").unwrap_or_default();
    let programs = programs.split(':').filter_map(|program| program.split_once('='));
    subjects.extend(programs.map(|(name, path)| Subject::Program(name.to_owned(), path.to_owned())));
    subjects
}

fn main() -> anyhow::Result<()> {
    let mut subjects = subjects();
    println!("{:<28}{:>18}{:>18}{:>10}", "Argon2id, CPU-ms a hash", "7 MiB, t 5", "19 MiB, t 2", "ratio");
    let mut least = vec![[f64::INFINITY; COSTS.len()]; subjects.len()];
    for _ in 0..ROUNDS {
        for (subject, least) in subjects.iter_mut().zip(&mut least) {
            for (cost, least) in COSTS.into_iter().zip(least) {
                *least = least.min(subject.milliseconds(cost)?);
            }
        }
    }
    let ours = least[0];
    for (subject, least) in subjects.iter().zip(&least) {
        let name = subject.name();
        println!("{name:<28}{:>18.2}{:>18.2}{:>10.2}", least[0], least[1], least[0] / ours[0]);
    }
    Ok(())
}
