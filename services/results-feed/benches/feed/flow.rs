//! G1: two hundred readers of everything, 50 documents of 8 KB a second; beside them a day's documents at 100 a second
//! with a burst of 688 and a PDF of 10 MB.

use std::time::{Duration, Instant};

use anyhow::Result;
use testkit::measure::{Surroundings, Table, number, quantile};
use tokio::time::{MissedTickBehavior, interval};

use crate::{
    UNKNOWN,
    contestants::{Contestant, Kind},
    documents::{Head, bulk, result, unit},
    ours::{Feed, by_socket_at},
    publisher::Publisher,
    readers::{Clock, Readers},
    size::Size,
};

/// Documents of 8 KB a second.
const RATE: u32 = 50;
const COMPETITORS: usize = 20;
const BURST: u32 = 688;
const PDF: usize = 9 << 20;

pub async fn run(surroundings: &Surroundings, size: &Size) -> Result<Table> {
    let mut table = Table::new(&["contestant", "p50 ms", "p99 ms", "delivered %"]);
    let mut alone = f64::NAN;
    for kind in [Kind::Socket, Kind::Nats, Kind::JetStream] {
        let figures = match compared(surroundings, size, kind).await {
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
        table.row(std::iter::once(kind.name().to_owned()).chain(figures.map(number)).collect());
        if kind == Kind::Socket {
            alone = figures[1];
        }
    }
    let measure = async |beside, seen_at| day(surroundings, size, beside, seen_at).await;
    let quiet = measure(Beside::Documents, SeenAt::Accepting).await?;
    let whole = measure(Beside::Burst, SeenAt::Accepting).await?;
    let with_pdf = measure(Beside::BurstAndPdf, SeenAt::Accepting).await?;
    let other = measure(Beside::Burst, SeenAt::Other).await?;
    let cut_off = measure(Beside::Burst, SeenAt::OtherWithoutBroker).await?;
    let busy = |day: &Day| {
        format!(
            "{:.0} % of the processor: {:.1} ms for a document and its {} readers",
            day.busy * 100.0,
            day.cpu_ms,
            size.readers
        )
    };
    let paced = "the stream's row, which is read ten times a second";
    table.at_most("p99 ms on the accepting replica", alone, 20.0, UNKNOWN);
    table.at_most("p99 ms with a day's documents beside", quiet.p99_ms, 20.0, &busy(&quiet));
    table.at_most("p99 ms with a burst among them", whole.p99_ms, 20.0, &busy(&whole));
    table.at_most(
        "a PDF of 9 MiB moves it by, %",
        (with_pdf.p99_ms / whole.p99_ms - 1.0) * 100.0,
        20.0,
        UNKNOWN,
    );
    table.at_most("p99 ms on another replica", other.p99_ms, 60.0, "both processes on one processor");
    table.at_most("p99 ms on another replica without a broker", cut_off.p99_ms, 300.0, paced);
    table.note(format!(
        "{} readers of all, {RATE} documents of {COMPETITORS} competitors a second",
        size.readers
    ));
    Ok(table)
}

fn document(number: u32) -> String {
    let code = unit(number as usize % 40);
    result(
        Head { document_type: "DT_RESULT", code: &code, version: number, status: "LIVE", number },
        COMPETITORS,
        6_000,
    )
}

async fn compared(surroundings: &Surroundings, size: &Size, kind: Kind) -> Result<Option<[f64; 3]>> {
    let Some(mut contestant) = Contestant::start(kind, surroundings).await? else { return Ok(None) };
    let clock = Clock::new();
    contestant.send(1, &document(1), 8 << 10, &clock).await?;
    let readers = Readers::connect(contestant.hails(size.readers, "mode=every"), &clock).await?;
    let (first, last) = (RATE + 1, RATE * u32::try_from(size.run.as_secs())?);
    readers.measure_from(first);
    readers.expect_last(last);
    let mut ticks = paced(RATE);
    for number in 2..=last {
        ticks.tick().await;
        contestant.send(number, &document(number), 8 << 10, &clock).await?;
    }
    let _ = readers.arrive(size.readers, Duration::from_secs(10)).await;
    let sent = f64::from(last + 1 - first) * size.readers as f64;
    let delivered = readers.deliveries() as f64 / sent * 100.0;
    let mut seen = readers.end().await;
    Ok(Some([quantile(&mut seen.latencies, 0.5), quantile(&mut seen.latencies, 0.99), delivered]))
}

/// What goes on beside the flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beside {
    /// A hundred documents a second.
    Documents,
    /// And a burst, once.
    Burst,
    /// And a PDF, once.
    BurstAndPdf,
}

/// Where the readers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SeenAt {
    /// The process that takes the documents.
    Accepting,
    /// Another one, on the same processor.
    Other,
    /// The same, which hears of documents from the log alone.
    OtherWithoutBroker,
}

#[derive(Debug)]
struct Day {
    /// Of the flow.
    p99_ms: f64,
    /// Of the processor of the process that takes the documents: for each of them, and its share of the time.
    cpu_ms: f64,
    busy: f64,
}

async fn day(surroundings: &Surroundings, size: &Size, beside: Beside, seen_at: SeenAt) -> Result<Day> {
    let feed = match seen_at {
        SeenAt::OtherWithoutBroker => Feed::install_without_broker().await?,
        _ => Feed::install(surroundings).await?,
    };
    let (clock, key) = (Clock::new(), feed.key().await?);
    let mut publisher = Publisher::new(feed.http, key.clone());
    publisher.post(&document(1)).await?;
    let other = if seen_at == SeenAt::Accepting { None } else { Some(feed.replica().await?) };
    let at = other.as_ref().map_or(feed.http, |(_, http)| *http);
    let hails = (0..size.readers).map(|_| by_socket_at(at, "mode=every", None)).collect();
    let readers = Readers::connect(hails, &clock).await?;
    let last = RATE * u32::try_from(size.run.as_secs())?;
    readers.measure_from(RATE + 1);
    readers.expect_last(last);
    let (cpu, begin) = (feed.process.cpu(), Instant::now());
    let documents = tokio::spawn(send_day(Publisher::new(feed.http, key.clone()), beside, size.run));
    let bulk = tokio::spawn(send_bulk(Publisher::new(feed.http, key), beside, size.run));
    let mut ticks = paced(RATE);
    for number in 2..=last {
        ticks.tick().await;
        clock.send(number);
        publisher.post(&document(number)).await?;
    }
    readers.arrive(size.readers, Duration::from_secs(30)).await?;
    let all = last + documents.await??;
    bulk.await??;
    let cpu = feed.process.cpu() - cpu;
    Ok(Day {
        p99_ms: quantile(&mut readers.end().await.latencies, 0.99),
        cpu_ms: cpu * 1e3 / f64::from(all),
        busy: cpu / begin.elapsed().as_secs_f64(),
    })
}

// A hundred a second, and once a burst; how many. Their markers were never sent, so they are not measured.
async fn send_day(mut publisher: Publisher, beside: Beside, run: Duration) -> Result<u32> {
    let (mut ticks, seconds) = (paced(100), u32::try_from(run.as_secs())?);
    let mut sent = 0;
    for at in 0..seconds * 100 {
        ticks.tick().await;
        let burst = if at == seconds * 50 && beside != Beside::Documents { BURST } else { 1 };
        for more in 0..burst {
            let code = unit(1_000 + (at as usize * 7 + more as usize) % 400);
            let version = at * 1_000 + more + 1;
            let head = Head { document_type: "DT_RESULT", code: &code, version, status: "LIVE", number: 0 };
            publisher.post(&result(head, 6, 200)).await?;
            sent += 1;
        }
    }
    Ok(sent)
}

async fn send_bulk(mut publisher: Publisher, beside: Beside, run: Duration) -> Result<()> {
    if beside != Beside::BurstAndPdf {
        return Ok(());
    }
    tokio::time::sleep(run / 3).await;
    let code = unit(0);
    let head = Head { document_type: "DT_PDF", code: &code, version: 1, status: "", number: 0 };
    publisher.post(&bulk(head, PDF)).await
}

fn paced(rate: u32) -> tokio::time::Interval {
    let mut ticks = interval(Duration::from_secs(1) / rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    ticks
}
