//! Sixteen writers, one event a transaction: without the outbox's row, with it, and with the relay that sends it.

use std::{
    fmt,
    str::FromStr as _,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use anyhow::Result;
use domain::{Clock, EventId};
use outbox::Fact;
use rdkafka::message::Message as _;
use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use testkit::measure::{Table, middle, number, quantile, until};
use tokio::task::JoinSet;

use crate::{
    limits::Limits,
    notes::{self, Times, number_in, payload},
    roles,
    size::Size,
    spawned::Spawned,
    surroundings::{Ground, PARTITIONS, SERVICE, Surroundings, TOPIC, consumer},
    usage::{Look, Usage},
};

pub const WRITERS: u32 = 16;
const AGGREGATES: u32 = 1_000;
/// A second, more than a disk bears.
const MOST: u64 = 20_000;
const WARM: Duration = Duration::from_secs(1);
pub const ARRIVE: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Without,
    RowOnly,
    With,
    SlowWithout,
    SlowWith,
}

const KINDS: [Kind; 5] = [Kind::Without, Kind::RowOnly, Kind::With, Kind::SlowWithout, Kind::SlowWith];
/// What the targets were set for: a disk whose sync takes 4 ms. Whoever syncs the log for all waits so long first.
const SLOW_SYNC: [(&str, &str); 2] = [("commit_delay", "4000"), ("commit_siblings", "0")];

impl Kind {
    fn has_relay(self) -> bool {
        matches!(self, Self::With | Self::SlowWith)
    }

    fn has_row(self) -> bool {
        self.has_relay() || self == Self::RowOnly
    }

    fn settings(self) -> &'static [(&'static str, &'static str)] {
        if matches!(self, Self::SlowWithout | Self::SlowWith) { &SLOW_SYNC } else { &[] }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Without => "without the outbox",
            Self::RowOnly => "with the outbox's row, no relay",
            Self::With => "with the outbox, the relay sending",
            Self::SlowWithout => "without the outbox, syncs of 4 ms",
            Self::SlowWith => "with the outbox, the relay sending, syncs of 4 ms",
        })
    }
}

#[derive(Debug)]
struct Phase {
    commits: f64,
    usage: Usage,
    relay_peak_mib: Option<f64>,
    /// From commit to broker, p50 and p99, in milliseconds; and how many did not come.
    arrival: Option<(f64, f64, usize)>,
}

impl Phase {
    fn a_second(&self) -> f64 {
        self.commits / self.usage.seconds
    }

    fn cells(&self, kind: Kind) -> Vec<String> {
        let each = |seconds: f64| number(100_000.0 * seconds / self.commits);
        let mut cells = vec![
            kind.to_string(),
            number(self.a_second()),
            each(self.usage.postgres),
            self.relay_peak_mib.map(|_| each(self.usage.own)).unwrap_or_default(),
            self.relay_peak_mib.map(number).unwrap_or_default(),
        ];
        if let Some((half, late, missing)) = self.arrival {
            cells.extend([number(half), number(late), missing.to_string()]);
        }
        cells
    }
}

pub async fn run(surroundings: &Surroundings, limits: &Limits, size: &Size) -> Result<Table> {
    let mut table = Table::new(&[
        "16 writers",
        "commits/s",
        "PostgreSQL CPU-s per 100,000",
        "relay CPU-s",
        "relay peak MiB",
        "commit to broker p50, ms",
        "p99, ms",
        "not seen",
    ]);
    let mut phases: [Vec<Phase>; KINDS.len()] = Default::default();
    for run in 0..size.runs {
        let mut order: Vec<usize> = (0..KINDS.len()).collect();
        // Each kind first once, so that none gains by what the machine does meanwhile.
        order.rotate_left(usize::from(run) % KINDS.len());
        for at in order {
            phases[at].push(phase(surroundings, KINDS[at], size.writing).await?);
        }
    }
    let phases = phases.map(|phases| middle(phases, Phase::a_second));
    for (kind, phase) in KINDS.iter().zip(&phases) {
        table.row(phase.as_ref().map(|phase| phase.cells(*kind)).unwrap_or_default());
    }
    let [Some(without), Some(row_only), Some(with), Some(slow_without), Some(slow_with)] = phases else {
        anyhow::bail!("nothing was run")
    };
    judge(&mut table, "", &without, &with);
    table.told("share with the row alone", row_only.a_second() / without.a_second());
    judge(&mut table, "syncs of 4 ms: ", &slow_without, &slow_with);
    table.note(format!("without the outbox, bound by {}", without.usage.bound("the disk's syncs")));
    table.note(format!(
        "16 commits each sync of {} ms would be {} commits/s: with the outbox {:.2} of it; with syncs of 4 ms {:.2} of 4,000",
        number(limits.sync_ms),
        number(limits.commits_a_second(WRITERS)),
        with.a_second() / limits.commits_a_second(WRITERS),
        slow_with.a_second() / 4_000.0
    ));
    table.note(
        "arrival is seen by a reader of the topic; syncs of 4 ms are made by PostgreSQL's commit_delay"
            .to_owned(),
    );
    Ok(table)
}

fn judge(table: &mut Table, disk: &str, without: &Phase, with: &Phase) {
    let bound = with.usage.bound("the disk's syncs");
    let share = with.a_second() / without.a_second();
    table.at_least(&format!("{disk}commits/s, share of that without the outbox"), share, 0.9, &bound);
    table.at_least(&format!("{disk}commits/s"), with.a_second(), 3_000.0, &bound);
    if let Some((_, late, _)) = with.arrival {
        table.at_most(&format!("{disk}commit to broker p99, ms"), late, 250.0, &bound);
    }
    table.note(format!("{disk}with the outbox, bound by {bound}"));
}

async fn phase(surroundings: &Surroundings, kind: Kind, length: Duration) -> Result<Phase> {
    let ground = surroundings.ground().await?;
    let pool = writers_pool(&ground, kind.settings()).await?;
    make_aggregates(&pool).await?;
    let times = Arc::new(Times::of(MOST * (length + WARM).as_secs())?);
    let mut relay = None;
    let mut reader = None;
    if kind.has_relay() {
        let mut process = Spawned::role(surroundings, roles::RELAY, Some(&ground), &[])?;
        process.ready().await?;
        relay = Some(process);
        reader = Some(Reader::start(surroundings, &ground, Arc::clone(&times))?);
        warm(&pool, &times).await?;
    }
    let own: Vec<&Spawned> = relay.iter().collect();
    let told = kind.has_row().then(|| Arc::clone(&times));
    let (since, commits, usage) = write_all(surroundings, (&pool, told), &own, length).await?;
    let mut arrival = None;
    if reader.is_some() {
        // What is not there then is told as not seen.
        let _ = until("all seen", ARRIVE, async || Ok(times.missing()? == 0)).await;
        let mut delays = times.delays(since)?;
        arrival = Some((quantile(&mut delays, 0.5), quantile(&mut delays, 0.99), times.missing()?));
    }
    drop(reader);
    let relay_peak_mib = relay.as_ref().map(Spawned::peak_mib);
    if let Some(relay) = relay {
        relay.stop().await?;
    }
    pool.close().await;
    surroundings.clear(ground).await?;
    Ok(Phase { commits, usage, relay_peak_mib, arrival })
}

// All writers, as fast as they can: when they were warm, the commits from then on, and who used the processors.
async fn write_all(
    surroundings: &Surroundings,
    (pool, times): (&PgPool, Option<Arc<Times>>),
    own: &[&Spawned],
    length: Duration,
) -> Result<(i64, f64, Usage)> {
    let (done, over) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let (pool, times) = (pool.clone(), times.clone());
        let (done, over) = (Arc::clone(&done), Arc::clone(&over));
        writers.spawn(async move {
            let mut number = 0;
            while !over.load(Ordering::Relaxed) {
                write(&pool, &format!("{writer}-{}", number % AGGREGATES), times.as_deref()).await?;
                number += 1;
                done.fetch_add(1, Ordering::Relaxed);
            }
            anyhow::Ok(())
        });
    }
    tokio::time::sleep(WARM).await;
    let (since, begin) = (notes::now(), Look::take(surroundings, own)?);
    let before = done.load(Ordering::Relaxed);
    tokio::time::sleep(length).await;
    let usage = begin.until(&Look::take(surroundings, own)?);
    let commits = f64::from(done.load(Ordering::Relaxed) - before);
    over.store(true, Ordering::Relaxed);
    while let Some(writer) = writers.join_next().await {
        writer??;
    }
    Ok((since, commits, usage))
}

/// A connection a writer.
pub async fn writers_pool(ground: &Ground, settings: &[(&str, &str)]) -> Result<PgPool> {
    let options = PgConnectOptions::from_str(&ground.db.url)?.options(settings.iter().copied());
    let pool = PgPoolOptions::new().min_connections(WRITERS).max_connections(WRITERS);
    Ok(pool.connect_with(options).await?)
}

pub async fn make_aggregates(pool: &PgPool) -> Result<()> {
    sqlx::query(
        "insert into mailer.aggregate (aggregate_id, version)
         select writer || '-' || number, 0 from generate_series(0, $1) as writer, generate_series(0, $2) as number",
    )
    .bind(i32::try_from(WRITERS - 1)?)
    .bind(i32::try_from(AGGREGATES - 1)?)
    .execute(pool)
    .await?;
    sqlx::raw_sql("vacuum analyze mailer.aggregate").execute(pool).await?;
    sqlx::raw_sql("checkpoint").execute(pool).await?;
    Ok(())
}

/// A relay leads, and readers read, some time after they started: until events of now come at once.
pub async fn warm(pool: &PgPool, times: &Times) -> Result<()> {
    for _ in 0..20 {
        write(pool, "warm", Some(times)).await?;
        until("a first event came", ARRIVE, async || Ok(times.missing()? == 0)).await?;
    }
    Ok(())
}

/// Changes an aggregate, and tells of it when there is somebody who notes the times.
pub async fn write(pool: &PgPool, key: &str, times: Option<&Times>) -> Result<()> {
    let mut tx = pool.begin().await?;
    let version: i64 = sqlx::query_scalar(
        "insert into mailer.aggregate (aggregate_id, version) values ($1, 1)
         on conflict (aggregate_id) do update set version = aggregate.version + 1
         returning version",
    )
    .bind(key)
    .fetch_one(&mut *tx)
    .await?;
    let number = times.and_then(Times::number);
    if let Some(number) = number {
        let fact = Fact {
            topic: &TOPIC,
            key: key.to_owned(),
            fact_type: "CampaignScheduled",
            payload: Some(payload(number)),
            version,
            occurred_at: Clock::system().now(),
            event_id: EventId::new(),
        };
        outbox::append(&mut tx, SERVICE, &fact).await?;
    }
    tx.commit().await?;
    if let (Some(times), Some(number)) = (times, number) {
        times.committed(number);
    }
    Ok(())
}

/// A thread that notes when the events of a topic come.
struct Reader {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    fn start(surroundings: &Surroundings, ground: &Ground, times: Arc<Times>) -> Result<Self> {
        let consumer = consumer(&surroundings.brokers, &ground.topic(), 0..PARTITIONS)?;
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else { continue };
                // What cannot be noted is told as not seen.
                let _ = number_in(message.payload()).map(|number| times.notes.arrived(number));
            }
        });
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic was printed where it happened.
            let _ = thread.join();
        }
    }
}
