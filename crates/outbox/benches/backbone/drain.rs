//! Rows wait in the outbox; a relay sends them all. What it has done is seen by the ends of its topic.

use std::time::Duration;

use anyhow::Result;
use rdkafka::consumer::BaseConsumer;
use testkit::measure::{Table, middle, number};

use crate::{
    debezium,
    limits::Limits,
    naive, roles,
    rows::{fill_naive_outbox, fill_outbox},
    size::Size,
    spawned::Spawned,
    surroundings::{Ground, Surroundings, client},
    usage::{TITLES, Work, watch},
};

// Each look asks the broker for the ends of all partitions.
const LOOK: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(3_600);

#[derive(Debug, Clone, Copy)]
enum Relay {
    Ours,
    Debezium,
    Naive,
}

const RELAYS: [Relay; 3] = [Relay::Ours, Relay::Debezium, Relay::Naive];

pub async fn run(surroundings: &Surroundings, limits: &Limits, size: &Size) -> Result<Table> {
    let mut table = Table::new(&[&["relay"], TITLES.as_slice()].concat());
    let mut runs: [Vec<Work>; 3] = Default::default();
    for _ in 0..size.runs {
        for (relay, runs) in RELAYS.iter().zip(&mut runs) {
            match one(surroundings, *relay, size.rows).await {
                Ok(work) => runs.push(work),
                Err(error) => table.note(format!("{relay:?} was not measured: {error:#}")),
            }
        }
    }
    let works = runs.map(|runs| middle(runs, Work::a_second));
    for (relay, work) in RELAYS.iter().zip(&works) {
        let name = match relay {
            Relay::Ours => "ours".to_owned(),
            Relay::Debezium => "Debezium Embedded".to_owned(),
            Relay::Naive => format!("skip locked and delete, {} rows at once", naive::ROWS),
        };
        if let Some(work) = work {
            table.row([vec![name], work.cells()].concat());
        }
    }
    let [ours, debezium, naive] = works;
    if let Some(ours) = ours {
        judge(&mut table, limits, &ours, debezium, naive);
    }
    table.note(format!(
        "{} rows of 400 B, committed by 2,000 before the relay starts; from the first record in the topic to the last",
        number(size.rows as f64)
    ));
    Ok(table)
}

fn judge(table: &mut Table, limits: &Limits, ours: &Work, debezium: Option<Work>, naive: Option<Work>) {
    let bound = ours.usage.bound("acknowledgements, and pages one after another");
    table.at_least("rows/s", ours.a_second(), 20_000.0, &bound);
    if let Some(debezium) = debezium {
        let ratio = ours.a_cpu_second() / debezium.a_cpu_second();
        let what = "rows per CPU-second of relay and PostgreSQL, times Debezium's";
        table.at_least(what, ratio, 2.0, "PostgreSQL's share, which reads rows here and its log there");
        let own = debezium.usage.own / debezium.records / (ours.usage.own / ours.records);
        table.told("rows per CPU-second of the relay alone, times Debezium's", own);
        let memory = ours.peak_mib / debezium.peak_mib;
        table.at_most("peak memory, share of Debezium's", memory, 0.2, "the pages in flight");
        table.told("rows/s, times Debezium's", ours.a_second() / debezium.a_second());
    }
    if let Some(naive) = naive {
        table.at_least("rows/s, times the naive relay's", ours.a_second() / naive.a_second(), 3.0, &bound);
    }
    table.note(format!("ours is bound by {bound}"));
    table.note(format!(
        "{:.2} of what the client alone sends, {:.2} of what pages alone are read at",
        ours.a_second() / limits.produced_a_second,
        ours.a_second() / limits.rows_read_a_second()
    ));
}

async fn one(surroundings: &Surroundings, relay: Relay, rows: i64) -> Result<Work> {
    let ground = surroundings.ground().await?;
    let work = match relay {
        Relay::Ours => {
            fill_outbox(&ground.db.pool, rows).await?;
            let process = Spawned::role(surroundings, roles::RELAY, Some(&ground), &[])?;
            drain(surroundings, process, &ground, rows).await
        }
        Relay::Naive => {
            fill_naive_outbox(&ground.db.pool, rows).await?;
            let process = Spawned::role(surroundings, roles::NAIVE_RELAY, Some(&ground), &[])?;
            drain(surroundings, process, &ground, rows).await
        }
        Relay::Debezium => {
            debezium::make_slot(&ground).await?;
            let work = with_debezium(surroundings, &ground, rows).await;
            debezium::drop_slot(&ground).await?;
            work
        }
    };
    surroundings.clear(ground).await?;
    work
}

async fn with_debezium(surroundings: &Surroundings, ground: &Ground, rows: i64) -> Result<Work> {
    fill_outbox(&ground.db.pool, rows).await?;
    let process = debezium::start(surroundings, ground)?;
    drain(surroundings, process, ground, rows).await
}

async fn drain(
    surroundings: &Surroundings,
    mut process: Spawned,
    ground: &Ground,
    rows: i64,
) -> Result<Work> {
    let consumer: BaseConsumer = client(&surroundings.brokers).create()?;
    let work = watch(surroundings, &mut process, (LOOK, PATIENCE), rows, || ground.records(&consumer)).await;
    process.stop().await?;
    work
}
