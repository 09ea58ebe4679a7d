//! From a commit here to its effect, committed in another database, at a steady rate: our relay and our consumer, and
//! Debezium with a plain consumer.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Result;
use testkit::measure::{Table, middle, number, quantile, until};
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep},
};

use crate::{
    commits::{ARRIVE, WRITERS, make_aggregates, warm, write, writers_pool},
    consumers, debezium,
    limits::Limits,
    notes::{self, Times},
    roles,
    size::Size,
    spawned::Spawned,
    surroundings::{Ground, Surroundings},
    usage::{Look, Usage},
};

/// Commits a second, and the target for the slowest hundredth, in milliseconds.
const RATES: [(u32, f64); 2] = [(200, 60.0), (3_000, 400.0)];

#[derive(Debug, Clone, Copy)]
enum Way {
    Ours,
    Debezium,
}

#[derive(Debug)]
struct Paced {
    commits: f64,
    usage: Usage,
    peak_mib: f64,
    half: f64,
    late: f64,
    missing: usize,
}

pub async fn run(surroundings: &Surroundings, limits: &Limits, size: &Size) -> Result<Table> {
    let mut table = Table::new(&[
        "commit to effect elsewhere",
        "commits/s asked",
        "done",
        "p50, ms",
        "p99, ms",
        "not seen",
        "CPU-s per 100,000",
        "peak MiB",
    ]);
    for (rate, target) in RATES {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..size.runs {
            ours.push(one(surroundings, Way::Ours, rate, size.paced).await?);
            match one(surroundings, Way::Debezium, rate, size.paced).await {
                Ok(paced) => theirs.push(paced),
                Err(error) => table.note(format!("Debezium at {rate}/s was not measured: {error:#}")),
            }
        }
        let (ours, theirs) = (middle(ours, |paced| paced.late), middle(theirs, |paced| paced.late));
        for (name, paced) in [("ours", &ours), ("Debezium, plain consumer", &theirs)] {
            if let Some(paced) = paced {
                table.row(cells(name, rate, paced));
            }
        }
        if let Some(ours) = ours {
            judge(&mut table, limits, (rate, target), &ours, theirs.as_ref());
        }
    }
    table.note("CPU-seconds and memory are those of relay and consumer together".to_owned());
    Ok(table)
}

fn judge(
    table: &mut Table,
    limits: &Limits,
    (rate, target): (u32, f64),
    ours: &Paced,
    theirs: Option<&Paced>,
) {
    let bound = ours.usage.bound("the relay's poll, the producer's linger, a commit there");
    table.at_most(&format!("p99 at {rate}/s, ms"), ours.late, target, &bound);
    if let Some(theirs) = theirs {
        table.told(&format!("p99 at {rate}/s, share of Debezium's"), ours.late / theirs.late);
    }
    let done = ours.commits / ours.usage.seconds;
    if done < 0.95 * f64::from(rate) {
        table.note(format!("{rate}/s were asked, the writers reached {}: {bound}", number(done)));
    }
    table.note(format!(
        "at {rate}/s half of all within {} ms: a record acknowledged and a commit, each alone, are {} ms of it, the relay's \
         poll and the producer's linger up to 5 ms each",
        number(ours.half),
        number(limits.acknowledged_ms + limits.commit_ms)
    ));
}

fn cells(name: &str, rate: u32, paced: &Paced) -> Vec<String> {
    vec![
        name.to_owned(),
        number(f64::from(rate)),
        number(paced.commits / paced.usage.seconds),
        number(paced.half),
        number(paced.late),
        paced.missing.to_string(),
        number(100_000.0 * paced.usage.own / paced.commits),
        number(paced.peak_mib),
    ]
}

async fn one(surroundings: &Surroundings, way: Way, rate: u32, length: Duration) -> Result<Paced> {
    let (here, there) = (surroundings.ground().await?, surroundings.ground().await?);
    let paced = match way {
        Way::Ours => {
            let relay = Spawned::role(surroundings, roles::RELAY, Some(&here), &[])?;
            measure(surroundings, relay, roles::CLAIMED, (&here, &there), (rate, length)).await
        }
        Way::Debezium => {
            debezium::make_slot(&here).await?;
            let paced = match debezium::start_and_wait(surroundings, &here).await {
                Ok(relay) => {
                    measure(surroundings, relay, roles::PLAIN, (&here, &there), (rate, length)).await
                }
                Err(error) => Err(error),
            };
            debezium::drop_slot(&here).await?;
            paced
        }
    };
    surroundings.clear(here).await?;
    surroundings.clear(there).await?;
    paced
}

async fn measure(
    surroundings: &Surroundings,
    mut relay: Spawned,
    role: &str,
    (here, there): (&Ground, &Ground),
    (rate, length): (u32, Duration),
) -> Result<Paced> {
    let times = Arc::new(Times::of(u64::from(rate) * length.as_secs() + 10_000)?);
    let mut consumer = Spawned::role(
        surroundings,
        role,
        Some(there),
        &[
            // It reads the topic here and writes to the database there.
            ("KOTINOS_TOPIC_PREFIX", here.topics.prefix.clone()),
            (consumers::NOTES, times.notes.path.display().to_string()),
            (consumers::TIMED, "yes".to_owned()),
            (consumers::NAME, "mailer.bench".to_owned()),
        ],
    )?;
    let pool = writers_pool(here, &[]).await?;
    make_aggregates(&pool).await?;
    warm(&pool, &times).await?;
    let since = notes::now();
    let begin = Look::take(surroundings, &[&relay, &consumer])?;
    let commits = pace(&pool, &times, rate, length).await?;
    let usage = begin.until(&Look::take(surroundings, &[&relay, &consumer])?);
    // What is not there then is told as not seen.
    let _ = until("all seen", ARRIVE, async || Ok(times.missing()? == 0)).await;
    relay.check()?;
    consumer.check()?;
    let mut delays = times.delays(since)?;
    let paced = Paced {
        commits: f64::from(commits),
        usage,
        peak_mib: relay.peak_mib() + consumer.peak_mib(),
        half: quantile(&mut delays, 0.5),
        late: quantile(&mut delays, 0.99),
        missing: times.missing()?,
    };
    relay.stop().await?;
    consumer.stop().await?;
    pool.close().await;
    Ok(paced)
}

// Commits of all writers.
async fn pace(pool: &sqlx::PgPool, times: &Arc<Times>, rate: u32, length: Duration) -> Result<u32> {
    let begin = Instant::now();
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let (pool, times) = (pool.clone(), Arc::clone(times));
        writers.spawn(async move {
            // Not all at the same moment.
            sleep(Duration::from_secs(1).mul_f64(f64::from(writer) / f64::from(rate))).await;
            let mut tick = interval(Duration::from_secs_f64(f64::from(WRITERS) / f64::from(rate)));
            tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
            let mut done = 0;
            while begin.elapsed() < length {
                tick.tick().await;
                write(&pool, &format!("{writer}-{}", done % 1_000), Some(&times)).await?;
                done += 1;
            }
            anyhow::Ok(done)
        });
    }
    let mut commits = 0;
    while let Some(done) = writers.join_next().await {
        commits += done??;
    }
    Ok(commits)
}
