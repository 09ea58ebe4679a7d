//! What the machine can do at all, so that the figures can be read.

use std::{
    fmt,
    fs::OpenOptions,
    io::Write as _,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use rdkafka::producer::{FutureProducer, FutureRecord};
use sqlx::AssertSqlSafe;
use testkit::measure::{milliseconds, number, quantile, system};

use crate::{
    notes, producer,
    rows::fill_outbox,
    size::Size,
    surroundings::{Ground, PARTITIONS, Surroundings, consumer},
};

const TRIES: i64 = 200;
const PAGE: i64 = 5_000;
const PAGES: i64 = 10;
const PATIENCE: Duration = Duration::from_secs(60);

/// Each by itself, with nothing else of ours at work; medians where there are many.
#[derive(Debug)]
pub struct Limits {
    busy: f64,
    sync_place: &'static str,
    /// 8 KiB more in a file, on the disk.
    pub sync_ms: f64,
    /// One row, one connection.
    pub commit_ms: f64,
    page_ms: f64,
    /// A record sent without waiting for others.
    pub acknowledged_ms: f64,
    pub produced_a_second: f64,
    pub read_a_second: f64,
}

impl Limits {
    pub async fn measure(surroundings: &Surroundings, size: &Size) -> Result<Self> {
        let before = system::machine_seconds()?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let after = system::machine_seconds()?;
        let (sync_ms, sync_place) = sync_ms(surroundings)?;
        let ground = surroundings.ground().await?;
        let commit_ms = commit_ms(&ground).await?;
        let page_ms = page_ms(&ground).await?;
        let acknowledged_ms = acknowledged_ms(surroundings, &ground).await?;
        let (brokers, topic, records) = (surroundings.brokers.clone(), ground.topic(), size.records);
        let (produced_a_second, read_a_second) =
            tokio::task::spawn_blocking(move || client_alone(&brokers, &topic, records)).await??;
        surroundings.clear(ground).await?;
        Ok(Self {
            busy: (after.0 - before.0) / (after.1 - before.1),
            sync_place,
            sync_ms,
            commit_ms,
            page_ms,
            acknowledged_ms,
            produced_a_second,
            read_a_second,
        })
    }

    /// Of rows by pages, were nothing done with them.
    pub fn rows_read_a_second(&self) -> f64 {
        PAGE as f64 * 1_000.0 / self.page_ms
    }

    /// Of so many writers, all of whose commits each sync takes along.
    pub fn commits_a_second(&self, writers: u32) -> f64 {
        f64::from(writers) * 1_000.0 / self.sync_ms
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "## limits\n")?;
        writeln!(f, "- machine: {}, {:.0} % busy before the start", system::machine(), 100.0 * self.busy)?;
        writeln!(f, "- a sync of 8 KiB {}: {} ms", self.sync_place, number(self.sync_ms))?;
        writeln!(f, "- a commit of one row, alone: {} ms", number(self.commit_ms))?;
        writeln!(
            f,
            "- a page of {PAGE} rows as the relay reads it: {} ms, {} rows/s",
            number(self.page_ms),
            number(self.rows_read_a_second())
        )?;
        writeln!(f, "- a record acknowledged, alone: {} ms", number(self.acknowledged_ms))?;
        writeln!(
            f,
            "- Kafka's client alone, 400 B with our headers: {} records/s sent (acks=all, idempotent), {} read",
            number(self.produced_a_second),
            number(self.read_a_second)
        )
    }
}

// As a commit's: 8 KiB at the end of a file, and fdatasync. Beside the databases where we may write: on their disk.
fn sync_ms(surroundings: &Surroundings) -> Result<(f64, &'static str)> {
    let beside = surroundings.data_directory.with_file_name("sync-probe");
    let open = |path| OpenOptions::new().write(true).create(true).truncate(true).open(path);
    let (mut file, path, place) = match open(&beside) {
        Ok(file) => (file, beside, "beside the databases"),
        Err(_) => {
            let path = std::env::temp_dir().join("kotinos-sync-probe");
            (open(&path)?, path, "in the temporary directory, perhaps another disk")
        }
    };
    let mut times = Vec::new();
    for _ in 0..TRIES {
        let begin = Instant::now();
        file.write_all(&[0; 8_192])?;
        file.sync_data()?;
        times.push(milliseconds(begin.elapsed()));
    }
    std::fs::remove_file(path)?;
    Ok((quantile(&mut times, 0.5), place))
}

async fn commit_ms(ground: &Ground) -> Result<f64> {
    let mut times = Vec::new();
    for number in 0..TRIES {
        let begin = Instant::now();
        sqlx::query("insert into mailer.aggregate (aggregate_id, version) values ($1, 1)")
            .bind(format!("probe-{number}"))
            .execute(&ground.db.pool)
            .await?;
        times.push(milliseconds(begin.elapsed()));
    }
    Ok(quantile(&mut times, 0.5))
}

// The relay's own query, with its bound of bytes.
async fn page_ms(ground: &Ground) -> Result<f64> {
    fill_outbox(&ground.db.pool, PAGES * PAGE).await?;
    let mut connection = ground.db.pool.acquire().await?;
    sqlx::raw_sql("set enable_seqscan = off; set enable_bitmapscan = off").execute(&mut *connection).await?;
    let columns = "position, seq, id, aggregatetype, aggregateid, type, payload, version, occurred_at, traceparent, tracestate";
    let sql = format!(
        "select {columns}, bytes_before
         from (select {columns},
                      coalesce(sum(coalesce(octet_length(payload), 0)) over (
                          order by position, seq rows between unbounded preceding and 1 preceding), 0)::bigint
                          as bytes_before
               from mailer.outbox
               where (position, seq) > ($1, $2) and position < $3
               order by position, seq
               limit $4) as page
         where bytes_before < 16777216
         order by position, seq"
    );
    let (mut position, mut seq) = (0_i64, 0_i64);
    let mut times = Vec::new();
    for _ in 0..PAGES {
        let begin = Instant::now();
        let rows = sqlx::query(AssertSqlSafe(sql.clone()))
            .bind(position)
            .bind(seq)
            .bind(i64::MAX)
            .bind(PAGE)
            .fetch_all(&mut *connection)
            .await?;
        times.push(milliseconds(begin.elapsed()));
        if let Some(last) = rows.last() {
            (position, seq) = (sqlx::Row::try_get(last, 0)?, sqlx::Row::try_get(last, 1)?);
        }
    }
    Ok(quantile(&mut times, 0.5))
}

async fn acknowledged_ms(surroundings: &Surroundings, ground: &Ground) -> Result<f64> {
    let producer: FutureProducer = producer::config(&surroundings.brokers).set("linger.ms", "0").create()?;
    let topic = ground.topic();
    let mut times = Vec::new();
    for number in 0..TRIES {
        let payload = notes::payload(number);
        let begin = Instant::now();
        let record = FutureRecord::to(&topic).key("probe").payload(&payload);
        producer.send(record, PATIENCE).await.map_err(|(error, _)| error)?;
        times.push(milliseconds(begin.elapsed()));
    }
    Ok(quantile(&mut times, 0.5))
}

// Records a second, sent and read, one after the other.
fn client_alone(brokers: &str, topic: &str, records: i64) -> Result<(f64, f64)> {
    let begin = Instant::now();
    producer::produce(brokers, topic, records)?;
    let produced = records as f64 / begin.elapsed().as_secs_f64();
    let consumer = consumer(brokers, topic, 0..PARTITIONS)?;
    let (mut begin, mut read) = (Instant::now(), 0);
    let end = begin + PATIENCE;
    while read < records {
        if let Some(message) = consumer.poll(Duration::from_millis(100)) {
            message?;
            if read == 0 {
                begin = Instant::now();
            }
            read += 1;
        } else if Instant::now() > end {
            bail!("the client reads {read} records of {records}");
        }
    }
    Ok((produced, records as f64 / begin.elapsed().as_secs_f64()))
}
