//! G2: one final at 4 frames a second to very many readers.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use testkit::measure::{Surroundings, Table, middle, number, quantile};
use tokio::time::{MissedTickBehavior, interval};

use crate::{
    UNKNOWN,
    contestants::{Contestant, Kind},
    documents::{FINAL, Head, result},
    readers::{Clock, Readers},
    size::Size,
};

/// Frames a second.
pub const RATE: u32 = 4;
/// Characters of a document that change, so that a frame has about a kilobyte.
const CHANGING: usize = 800;
const KINDS: [Kind; 7] =
    [Kind::Socket, Kind::Events, Kind::Floor, Kind::Nats, Kind::Mosquitto, Kind::Pushpin, Kind::Sockudo];

#[derive(Debug, Clone)]
struct Run {
    mean_ms: f64,
    p99_ms: f64,
    /// Seconds of processor for 100,000 deliveries: the server's, what of it was in the kernel, and PostgreSQL's for all.
    cpu: f64,
    kernel: f64,
    postgres: f64,
    bytes: usize,
    /// Frames, those of the warm-up too.
    all: usize,
    resident_mib: f64,
    /// Of the markers sent times the readers.
    delivered: f64,
}

pub async fn run(surroundings: &Surroundings, size: &Size) -> Result<Table> {
    let mut table = Table::new(&[
        "contestant",
        "mean ms",
        "p99 ms",
        "CPU-s per 100,000",
        "of it in the kernel",
        "PostgreSQL",
        "bytes a frame",
        "MiB",
        "KiB a connection",
        "delivered %",
    ]);
    // Until ours has said how long its frames are.
    let mut frame = 1_024;
    let mut found: Vec<(Kind, Run)> = Vec::new();
    for kind in KINDS {
        let runs = match all(surroundings, size, kind, frame).await {
            Ok(runs) => runs,
            Err(error) if !kind.is_ours() => {
                table.row(kind.could_not_be_run(&error));
                continue;
            }
            Err(error) => return Err(error),
        };
        if let (true, Some(run)) = (kind.is_ours(), runs.last()) {
            frame = run.bytes / run.all;
        }
        // The run in the middle by its mean.
        let Some(run) = middle(runs, |run| run.mean_ms) else {
            table.note(format!("{} is not installed here", kind.name()));
            continue;
        };
        table.row(cells(kind, &run, size.connections));
        found.push((kind, run));
    }
    judge(&mut table, &found, size.connections);
    table.note(format!("{} readers, {RATE} frames a second for {} s", size.connections, size.run.as_secs()));
    Ok(table)
}

fn cells(kind: Kind, run: &Run, connections: usize) -> Vec<String> {
    let each = run.resident_mib * 1_024.0 / connections as f64;
    let figures = [
        run.mean_ms,
        run.p99_ms,
        run.cpu,
        run.kernel,
        run.postgres,
        run.bytes as f64 / run.all as f64,
        run.resident_mib,
        each,
        run.delivered * 100.0,
    ];
    std::iter::once(kind.name().to_owned()).chain(figures.map(number)).collect()
}

fn judge(table: &mut Table, found: &[(Kind, Run)], connections: usize) {
    let of = |kind: Kind| found.iter().find(|(other, _)| *other == kind).map(|(_, run)| run);
    let (Some(ours), floor) = (of(Kind::Socket), of(Kind::Floor)) else { return };
    let nats = of(Kind::Nats);
    // A frame goes to one reader after another on one processor: the last has waited for all.
    let burst = format!("{:.0} ms of a processor for each frame", ours.cpu * connections as f64 / 100.0);
    table.at_most("mean ms", ours.mean_ms, 60.0, &burst);
    table.at_most("p99 ms", ours.p99_ms, 150.0, &burst);
    let share = format!(
        "the kernel with {:.2} of it, where the floor has {:.2}; {:.2} are ours",
        ours.kernel,
        floor.map_or(f64::NAN, |floor| floor.kernel),
        ours.cpu - ours.kernel
    );
    let ratio = |other: Option<&Run>| other.map_or(f64::NAN, |other| ours.cpu / other.cpu);
    table.at_most("CPU a delivery beside the floor's", ratio(floor), 1.25, &share);
    table.at_most("CPU a delivery beside NATS'", ratio(nats), 0.6, &share);
    table.at_most("MiB", ours.resident_mib, 100.0, UNKNOWN);
    if let Some(events) = of(Kind::Events) {
        table.told("server-sent events: p99 ms", events.p99_ms);
        table.told(
            "server-sent events: CPU beside the floor's",
            floor.map_or(f64::NAN, |floor| events.cpu / floor.cpu),
        );
    }
}

// None where it is not installed.
async fn all(surroundings: &Surroundings, size: &Size, kind: Kind, frame: usize) -> Result<Vec<Run>> {
    let mut runs = Vec::new();
    for _ in 0..size.runs {
        let Some(run) = one(surroundings, size, kind, frame).await? else { break };
        runs.push(run);
    }
    Ok(runs)
}

async fn one(surroundings: &Surroundings, size: &Size, kind: Kind, frame: usize) -> Result<Option<Run>> {
    let Some(mut contestant) = Contestant::start(kind, surroundings).await? else { return Ok(None) };
    let clock = Clock::new();
    contestant.send(1, &final_at(1), frame, &clock).await.context("the first document")?;
    let hails = contestant.hails(size.connections, &format!("prefix={FINAL}"));
    let readers = Readers::connect(hails, &clock).await.with_context(|| kind.name())?;
    let warm = RATE * u32::try_from(size.warm_up.as_secs())?;
    let measured = RATE * u32::try_from(size.run.as_secs())?;
    send_in_time(&mut contestant, 2..2 + warm, frame, &clock).await?;
    readers.measure_from(2 + warm);
    let last = 1 + warm + measured;
    readers.expect_last(last);
    let (cpu, postgres) = (contestant.process().cpu(), surroundings.postgres_cpu());
    let kernel = contestant.process().kernel_cpu();
    send_in_time(&mut contestant, 2 + warm..=last, frame, &clock).await?;
    // Whoever loses messages never has it: the share says so.
    let _ = readers.arrive(size.connections, Duration::from_secs(10)).await;
    let (cpu, postgres) = (contestant.process().cpu() - cpu, surroundings.postgres_cpu() - postgres);
    let kernel = contestant.process().kernel_cpu() - kernel;
    let (resident_mib, sent) =
        (contestant.process().resident_mib(), f64::from(measured) * size.connections as f64);
    let deliveries = readers.deliveries() as f64;
    let all = (warm + measured) as usize * size.connections;
    let mut seen = readers.end().await;
    let mean_ms = seen.latencies.iter().sum::<f64>() / seen.latencies.len().max(1) as f64;
    Ok(Some(Run {
        mean_ms,
        p99_ms: quantile(&mut seen.latencies, 0.99),
        cpu: cpu / deliveries * 1e5,
        kernel: kernel / deliveries * 1e5,
        postgres: postgres / deliveries * 1e5,
        bytes: usize::try_from(seen.bytes)?,
        all,
        resident_mib,
        delivered: deliveries / sent,
    }))
}

/// The final with eight in it, at this version.
pub fn final_at(number: u32) -> String {
    let head = Head { document_type: "DT_RESULT", code: FINAL, version: number, status: "LIVE", number };
    result(head, 8, CHANGING)
}

/// Sends these at the rate, each when it is due.
pub async fn send_in_time(
    contestant: &mut Contestant,
    numbers: impl IntoIterator<Item = u32>,
    frame: usize,
    clock: &Arc<Clock>,
) -> Result<()> {
    let mut ticks = interval(Duration::from_secs(1) / RATE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for number in numbers {
        ticks.tick().await;
        contestant.send(number, &final_at(number), frame, clock).await?;
    }
    Ok(())
}
