//! Drives a provider with a workload and sees how it does.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use testkit::measure::{Surroundings, milliseconds, quantile, system};
use tokio::{task::JoinSet, time::sleep_until};

use crate::{
    provider::{Provider, Worker},
    server::Server,
    size::{Size, Workload},
};

/// Requests under way at once.
const WORKERS: usize = 16;

/// What a run showed.
#[derive(Debug, Clone)]
pub struct Run {
    pub a_second: f64,
    /// Milliseconds of processor for one: the provider's and PostgreSQL's.
    pub own_ms: f64,
    pub postgres_ms: f64,
    /// Bytes that PostgreSQL logged for one.
    pub logged: f64,
    pub p99_ms: f64,
    /// The same at half the rate.
    pub half_p99_ms: f64,
    pub resident_mib: f64,
    pub failures: usize,
    pub first_failure: Option<String>,
    /// Share of the machine's processors that was at work, for whomever.
    pub busy: f64,
}

impl Run {
    pub fn cpu_ms(&self) -> f64 {
        self.own_ms + self.postgres_ms
    }
}

#[derive(Default)]
struct Seen {
    times: Vec<f64>,
    failures: usize,
    first_failure: Option<String>,
}

/// As much as it can take, then half of that.
pub async fn drive(
    surroundings: &Surroundings,
    provider: &Arc<Provider>,
    server: &Server,
    workload: Workload,
    size: &Size,
) -> Result<Run> {
    let mut workers = prepared(provider, workload, size.families / WORKERS + 1).await?;
    surroundings.checkpoint().await?;
    (_, workers) = go(workers, workload, size.warm_up, None).await?;
    let cpu = || (server.cpu(), surroundings.postgres_cpu());
    let (logged, machine, before, begin) =
        (surroundings.logged().await?, system::machine_seconds()?, cpu(), Instant::now());
    let (mut seen, workers) = go(workers, workload, size.run, None).await?;
    let (seconds, after) = (begin.elapsed().as_secs_f64(), cpu());
    let busy = system::machine_seconds()?;
    let logged = surroundings.logged().await? - logged;
    let done = seen.times.len() as f64;
    ensure!(
        done > 0.0,
        "all failed: {}",
        seen.first_failure.as_deref().unwrap_or("nothing was answered in time")
    );
    let a_second = done / seconds;
    let pause = Duration::from_secs_f64(2.0 * WORKERS as f64 / a_second);
    let (mut half, _) = go(workers, workload, size.run / 2, Some(pause)).await?;
    Ok(Run {
        a_second,
        own_ms: (after.0 - before.0) * 1e3 / done,
        postgres_ms: (after.1 - before.1) * 1e3 / done,
        logged: logged / done,
        p99_ms: quantile(&mut seen.times, 0.99),
        half_p99_ms: quantile(&mut half.times, 0.99),
        resident_mib: server.resident_mib(),
        failures: seen.failures + half.failures,
        first_failure: seen.first_failure.or(half.first_failure),
        busy: (busy.0 - machine.0) / (busy.1 - machine.1),
    })
}

async fn prepared(provider: &Arc<Provider>, workload: Workload, families: usize) -> Result<Vec<Worker>> {
    let mut making = JoinSet::new();
    for number in 0..WORKERS {
        let mut worker = Worker::new(Arc::clone(provider), number);
        making.spawn(async move {
            worker.prepare(workload, families).await.with_context(|| format!("{workload} cannot begin"))?;
            anyhow::Ok(worker)
        });
    }
    making.join_all().await.into_iter().collect()
}

// With a pause, each worker begins its next step so long after its last one: lateness counts as time.
async fn go(
    workers: Vec<Worker>,
    workload: Workload,
    length: Duration,
    pause: Option<Duration>,
) -> Result<(Seen, Vec<Worker>)> {
    let is_over = Arc::new(AtomicBool::new(false));
    let mut running = JoinSet::new();
    let begin = Instant::now();
    for (number, mut worker) in workers.into_iter().enumerate() {
        let is_over = Arc::clone(&is_over);
        running.spawn(async move {
            let mut seen = Seen::default();
            let mut due = begin + pause.unwrap_or_default().mul_f64(number as f64 / WORKERS as f64);
            while !is_over.load(Ordering::Relaxed) {
                let start = match pause {
                    Some(pause) => {
                        sleep_until(due.into()).await;
                        let start = due;
                        due += pause;
                        start
                    }
                    None => Instant::now(),
                };
                match worker.step(workload).await {
                    Ok(()) => seen.times.push(milliseconds(start.elapsed())),
                    Err(error) => {
                        seen.failures += 1;
                        seen.first_failure.get_or_insert_with(|| format!("{error:#}"));
                    }
                }
            }
            (seen, worker)
        });
    }
    tokio::time::sleep(length).await;
    is_over.store(true, Ordering::Relaxed);
    let (mut all, mut workers) = (Seen::default(), Vec::new());
    for (seen, worker) in running.join_all().await {
        all.times.extend(seen.times);
        all.failures += seen.failures;
        all.first_failure = all.first_failure.or(seen.first_failure);
        workers.push(worker);
    }
    Ok((all, workers))
}
