//! G4: a hundred readers that take 1 KB a second among the others.

use std::time::Duration;

use anyhow::Result;
use testkit::measure::{Surroundings, Table, number, quantile};

use crate::{
    UNKNOWN,
    contestants::{Contestant, Kind},
    documents::FINAL,
    fanout::{RATE, final_at, send_in_time},
    readers::{Clock, Readers},
    size::Size,
};

/// Bytes a second that a slow reader takes.
const PACE: usize = 1_024;
/// So long a slow reader may take to have the last document, once nothing more comes.
const PATIENCE: Duration = Duration::from_secs(120);

pub async fn run(surroundings: &Surroundings, size: &Size) -> Result<Table> {
    let slow = size.connections.min(100);
    let mut table = Table::new(&[
        "contestant",
        "p99 ms alone",
        "p99 ms beside slow ones",
        "KiB a slow reader",
        "cut",
        "arrived",
    ]);
    for kind in [Kind::Socket, Kind::Nats, Kind::Pushpin, Kind::Sockudo] {
        let (alone, beside, slow_ones) = match both(surroundings, size, kind, slow).await {
            Ok(Some(figures)) => figures,
            Ok(None) => {
                table.note(format!("{} is not installed here", kind.name()));
                continue;
            }
            Err(error) if !kind.is_ours() => {
                table.row(kind.could_not_be_run(&error));
                continue;
            }
            Err(error) => return Err(error),
        };
        let grown = (beside.resident_mib - alone.resident_mib) * 1_024.0 / slow as f64;
        table.row(vec![
            kind.name().to_owned(),
            number(alone.p99_ms),
            number(beside.p99_ms),
            number(grown),
            slow_ones.cut.to_string(),
            format!("{} of {slow}", slow_ones.arrived),
        ]);
        if kind == Kind::Socket {
            let growth = (beside.p99_ms / alone.p99_ms - 1.0) * 100.0;
            table.at_most("p99 of healthy readers grows by, %", growth, 10.0, UNKNOWN);
            table.at_most("KiB a slow reader", grown, 64.0, UNKNOWN);
            table.at_most("slow readers cut", slow_ones.cut as f64, 0.0, UNKNOWN);
            table.at_least(
                "slow readers with the last document",
                slow_ones.arrived as f64,
                slow as f64,
                "their pace",
            );
        }
    }
    Ok(table)
}

struct Healthy {
    p99_ms: f64,
    resident_mib: f64,
}

struct SlowOnes {
    cut: usize,
    arrived: usize,
}

// Without slow readers, and with them.
async fn both(
    surroundings: &Surroundings,
    size: &Size,
    kind: Kind,
    slow: usize,
) -> Result<Option<(Healthy, Healthy, SlowOnes)>> {
    let Some((alone, _)) = one(surroundings, size, kind, 0).await? else { return Ok(None) };
    let Some((beside, slow_ones)) = one(surroundings, size, kind, slow).await? else { return Ok(None) };
    Ok(Some((alone, beside, slow_ones)))
}

async fn one(
    surroundings: &Surroundings,
    size: &Size,
    kind: Kind,
    slow: usize,
) -> Result<Option<(Healthy, SlowOnes)>> {
    let Some(mut contestant) = Contestant::start(kind, surroundings).await? else { return Ok(None) };
    let (clock, query) = (Clock::new(), format!("prefix={FINAL}"));
    contestant.send(1, &final_at(1), 1_024, &clock).await?;
    let mut hails = contestant.hails(slow, &query);
    hails.iter_mut().for_each(|hail| hail.pace = Some(PACE));
    let slow_ones = Readers::connect(hails, &clock).await?;
    let healthy = Readers::connect(contestant.hails(size.connections - slow, &query), &clock).await?;
    let last = 1 + RATE * u32::try_from(size.run.as_secs())?;
    healthy.measure_from(2);
    healthy.expect_last(last);
    slow_ones.expect_last(last);
    send_in_time(&mut contestant, 2..=last, 1_024, &clock).await?;
    healthy.arrive(healthy.count(), Duration::from_secs(30)).await?;
    let resident_mib = contestant.process().resident_mib();
    let mut seen = healthy.end().await;
    let _ = slow_ones.arrive(slow, PATIENCE).await;
    let arrived = slow_ones.arrived();
    let cut = slow_ones.end().await.cut;
    let p99_ms = quantile(&mut seen.latencies, 0.99);
    Ok(Some((Healthy { p99_ms, resident_mib }, SlowOnes { cut, arrived })))
}
