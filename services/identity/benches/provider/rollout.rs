//! Two processes of the version before are replaced, one after the other, while people sign in and come and go.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use testkit::measure::{Surroundings, Table, free_address, milliseconds, number};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    ours::{self, Identity, Process},
    provider::Worker,
    server,
    size::{Size, Workload},
};

const WORKERS: usize = 8;
/// Of each worker: together 80 a second.
const PAUSE: Duration = Duration::from_millis(100);
const STEADY: Duration = Duration::from_secs(3);

// What stands before processes in an installation: it knows which of them take requests.
type Ready = Arc<Mutex<Vec<(SocketAddr, SocketAddr, bool)>>>;

pub async fn run(surroundings: &Surroundings, size: &Size) -> Result<Table> {
    let identity = Identity::install(surroundings, None).await?;
    let (before, now) = (ours::program("BENCH_IDENTITY_BEFORE")?, ours::program("BENCH_IDENTITY")?);
    let mut first = identity.start(&before, identity.issuer())?;
    first.server.ready().await?;
    identity.fill(100).await?;
    identity.add_sessions(size.present, "7 days").await?;
    let mut second = identity.start(&before, free_address()?)?;
    second.server.ready().await?;
    let ready: Ready = Arc::default();
    for process in [&first, &second] {
        add(&ready, process);
    }
    let _looking = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(look(Arc::clone(&ready))));
    let (load, is_over) = begin(&identity, &ready).await?;
    sleep(STEADY).await;
    let mut starts = Vec::new();
    let mut processes = Vec::new();
    for old in [first, second] {
        let mut new = identity.start(&now, free_address()?)?;
        starts.push(milliseconds(new.server.ready().await?));
        add(&ready, &new);
        old.server.stop().await?;
        processes.push(new);
        sleep(STEADY).await;
    }
    is_over.store(true, Ordering::Relaxed);
    let (mut done, mut failures) = (0, Vec::new());
    for (flows, failed) in load.join_all().await {
        done += flows;
        failures.extend(failed);
    }
    Ok(table(&processes, &starts, done, &failures))
}

fn table(processes: &[Process], starts: &[f64], done: usize, failures: &[String]) -> Table {
    let slowest = starts.iter().copied().fold(0.0, f64::max);
    let largest = processes.iter().map(|process| process.server.resident_mib()).fold(0.0, f64::max);
    let mut table = Table::new(&["flows", "failed", "ready, ms", "RSS, MiB"]);
    table.row(vec![done.to_string(), failures.len().to_string(), number(slowest), number(largest)]);
    table.at_most("failed flows", failures.len() as f64, 0.0, "see the first failure");
    table.at_most("ready, ms", slowest, 500.0, "its start: connections, keys, topics");
    table.at_most(
        "RSS, MiB",
        largest,
        100.0,
        "the blocks of the hash lane, 19 MiB a thread, and Kafka's client",
    );
    if let Some(first) = failures.first() {
        table.note(format!("first failure: {first}"));
    }
    table
}

fn add(ready: &Ready, process: &Process) {
    ready.lock().unwrap_or_else(PoisonError::into_inner).push((process.http, process.ops, true));
}

async fn look(ready: Ready) {
    loop {
        let known = ready.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (_, ops, _) in known {
            let says = server::is_ready(ops, "/readyz").await;
            let mut ready = ready.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(place) = ready.iter_mut().find(|(_, own, _)| *own == ops) {
                place.2 = says;
            }
        }
        sleep(Duration::from_millis(50)).await;
    }
}

fn choose(ready: &Ready, turn: &AtomicUsize) -> Result<SocketAddr> {
    let ready = ready.lock().unwrap_or_else(PoisonError::into_inner);
    let up: Vec<SocketAddr> = ready.iter().filter(|(.., up)| *up).map(|(http, ..)| *http).collect();
    let turn = turn.fetch_add(1, Ordering::Relaxed);
    up.get(turn % up.len().max(1)).copied().context("no process is ready")
}

type Load = JoinSet<(usize, Vec<String>)>;

async fn begin(identity: &Identity, ready: &Ready) -> Result<(Load, Arc<AtomicBool>)> {
    let (is_over, turn) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut load = JoinSet::new();
    for number in 0..WORKERS {
        let mut worker = Worker::new(identity.provider(100), number);
        worker.prepare(Workload::Sso, 0).await?;
        let (ready, turn, is_over) = (Arc::clone(ready), Arc::clone(&turn), Arc::clone(&is_over));
        load.spawn(async move {
            let (mut done, mut failures, mut due) = (0, Vec::new(), Instant::now());
            while !is_over.load(Ordering::Relaxed) {
                due += PAUSE;
                sleep_until(due).await;
                let flow = async {
                    worker.client.turn_to(choose(&ready, &turn)?);
                    worker.step(Workload::Sso).await
                };
                match flow.await {
                    Ok(()) => done += 1,
                    Err(error) => failures.push(format!("{error:#}")),
                }
            }
            (done, failures)
        });
    }
    Ok((load, is_over))
}
