//! What operators see of the outbox: rows that wait and who holds them back, who leads, lag, parked keys.
//!
//! Every series has the service as a label, since a process may hold several; a consumer's have its name too. Topics,
//! partitions and keys are no labels: they would be many, and keys are persons.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chassis::{Metrics, Process};
use chrono::{DateTime, TimeDelta, Utc};
use domain::{Clock, Service};
use sqlx::{AssertSqlSafe, PgPool};
use tokio::time::sleep;

use crate::{Error, Record, failure::chain, parking::Parking};

/// Unsent rows are counted up to here: what is beyond is trouble in any case, and counting it costs the database more.
const COUNTED: i64 = 100_000;
/// A writing transaction older than this holds the relay back, and is named.
const BLOCKS: f64 = 1.0;

/// The relay's figures.
#[derive(Debug, Clone)]
pub(crate) struct RelayGauges {
    metrics: Metrics,
    clock: Clock,
    service: &'static str,
}

impl RelayGauges {
    pub(crate) fn new(process: &Process) -> Self {
        let gauges =
            Self { metrics: process.metrics(), clock: process.clock(), service: process.service().name() };
        // A counter that appears with its first row has no rise to see.
        gauges.sent(0);
        gauges
    }

    /// Whether this process sends.
    pub(crate) fn leads(&self, leads: bool) {
        self.set("outbox_relay_leads", "1 where the relay leads", if leads { 1.0 } else { 0.0 });
    }

    /// Whether this process would lead and sends nothing, since a topic lost what was sent.
    pub(crate) fn refuses(&self, refuses: bool) {
        let help = "1 where the relay sends nothing since a topic lost records";
        self.set("outbox_relay_refuses", help, if refuses { 1.0 } else { 0.0 });
    }

    /// Kafka acknowledged a row.
    pub(crate) fn published(&self) {
        self.sent(1);
    }

    /// Since when the database said nothing to the leader.
    pub(crate) fn lease_age(&self, age: Duration) {
        self.set("outbox_relay_lease_age_seconds", "Age of the leader's last answer", age.as_secs_f64());
    }

    /// Looks at the outbox again and again, on the pool: the figures matter most when the relay stands still.
    pub(crate) async fn measure_each(&self, interval: Duration, pool: &PgPool, service: Service) {
        loop {
            match (waiting(pool, service, self.clock.now()).await, horizon(pool).await) {
                (Ok(waiting), Ok(horizon)) => self.show(&waiting, &horizon),
                (Err(error), _) | (_, Err(error)) => {
                    tracing::warn!(error = chain(&error), "the outbox is not measured");
                }
            }
            sleep(interval).await;
        }
    }

    fn show(&self, waiting: &Waiting, horizon: &Horizon) {
        self.set("outbox_unsent_rows", "Rows behind the relay's cursor, counted to 100,000", waiting.rows);
        self.set("outbox_oldest_unsent_age_seconds", "Age of the oldest unsent fact", waiting.oldest);
        self.set(
            "outbox_horizon_age_seconds",
            "Age of the oldest writing transaction of the cluster",
            horizon.age,
        );
        let help = "Process id of the transaction that holds the relay back; 0: none, -1: a prepared one";
        self.set("outbox_horizon_blocking_pid", help, horizon.pid);
    }

    fn set(&self, name: &'static str, help: &'static str, value: f64) {
        self.metrics.set(name, help, &[("service", self.service)], value);
    }

    fn sent(&self, rows: u64) {
        self.metrics.add(
            "outbox_published_rows",
            "Rows that Kafka acknowledged",
            &[("service", self.service)],
            rows,
        );
    }
}

/// What is behind the relay's cursor.
#[derive(Debug, PartialEq)]
pub(crate) struct Waiting {
    pub(crate) rows: f64,
    /// In seconds; 0 when nothing waits.
    pub(crate) oldest: f64,
}

/// Counts and dates what waits.
pub(crate) async fn waiting(pool: &PgPool, service: Service, now: DateTime<Utc>) -> Result<Waiting, Error> {
    let schema = service.short();
    let mut tx = pool.begin().await?;
    // As in the relay: on stale statistics the planner takes a scan of the day's partition.
    let settings = "set local enable_seqscan = off; set local enable_bitmapscan = off; set local jit = off;
                    set local statement_timeout = '5s'";
    sqlx::raw_sql(settings).execute(&mut *tx).await?;
    let sql = format!("select position, seq from {schema}.relay_cursor");
    let (position, seq): (i64, i64) = sqlx::query_as(AssertSqlSafe(sql)).fetch_one(&mut *tx).await?;
    let sql = format!(
        "select count(*), min(occurred_at)
         from (select occurred_at
               from {schema}.outbox
               where (position, seq) > ($1, $2)
               order by position, seq
               limit $3) as unsent"
    );
    let query = sqlx::query_as(AssertSqlSafe(sql)).bind(position).bind(seq).bind(COUNTED);
    let (rows, oldest): (i64, Option<DateTime<Utc>>) = query.fetch_one(&mut *tx).await?;
    tx.rollback().await?;
    let oldest = oldest.map_or(0.0, |oldest| seconds(now - oldest));
    Ok(Waiting { rows: f64::from(i32::try_from(rows).unwrap_or(i32::MAX)), oldest })
}

/// Who holds the relay back.
#[derive(Debug, PartialEq)]
pub(crate) struct Horizon {
    /// In seconds; 0 when nobody writes.
    pub(crate) age: f64,
    /// 0 when nobody does, -1 for a prepared transaction.
    pub(crate) pid: f64,
}

// The transaction that nothing at or above is sent before: the oldest that writes, in whatever database of the cluster.
// Other roles' sessions are seen with pg_read_all_stats only. Never the text of a query: it may be personal.
pub(crate) async fn horizon(pool: &PgPool) -> Result<Horizon, Error> {
    let sql = "
        select pid, greatest(extract(epoch from clock_timestamp() - since), 0)::float8
        from (select pid, xact_start as since, age(backend_xid) as xids
              from pg_stat_activity
              where backend_xid is not null
              union all
              select -1, prepared, age(transaction)
              from pg_prepared_xacts) as writing
        order by xids desc, since
        limit 1";
    let oldest: Option<(i32, Option<f64>)> = sqlx::query_as(sql).fetch_optional(pool).await?;
    let Some((pid, age)) = oldest else { return Ok(Horizon { age: 0.0, pid: 0.0 }) };
    let age = age.unwrap_or_default();
    Ok(Horizon { age, pid: if age > BLOCKS { f64::from(pid) } else { 0.0 } })
}

/// A consumer's figures.
#[derive(Debug, Clone)]
pub(crate) struct ConsumerGauges {
    metrics: Metrics,
    service: &'static str,
    consumer: Arc<str>,
    // Of the partitions that this process has, as the figure is their sum.
    parked: Arc<Mutex<HashMap<(String, i32), usize>>>,
}

impl ConsumerGauges {
    pub(crate) fn new(process: &Process, name: &str) -> Self {
        let gauges = Self {
            metrics: process.metrics(),
            service: process.service().name(),
            consumer: name.into(),
            parked: Arc::default(),
        };
        gauges.passed_over(0);
        gauges
    }

    /// Records that are in Kafka and were not taken in, in all partitions of this process.
    pub(crate) fn lag(&self, lag: i64) {
        let lag = f64::from(u32::try_from(lag).unwrap_or(if lag < 0 { 0 } else { u32::MAX }));
        self.set("outbox_consumer_lag_records", "Records that were not taken in yet", lag);
    }

    /// A record without a right envelope was passed over.
    pub(crate) fn malformed(&self) {
        self.passed_over(1);
    }

    /// Everything up to this record has its effect, or waits in the database.
    pub(crate) fn taken_in(&self, last: &Record, now: DateTime<Utc>) {
        let age = seconds(now - last.occurred_at);
        self.set("outbox_consumer_delay_seconds", "Age of the record that was taken in last", age);
    }

    /// Whether an operator stopped it.
    pub(crate) fn paused(&self, paused: bool) {
        let help = "1 while an operator has stopped the consumer";
        self.set("outbox_consumer_paused", help, if paused { 1.0 } else { 0.0 });
    }

    /// Whether it stopped itself, since records are gone.
    pub(crate) fn refuses(&self, refuses: bool) {
        let help = "1 while the consumer refuses to go on over records that are gone";
        self.set("outbox_consumer_refuses", help, if refuses { 1.0 } else { 0.0 });
    }

    /// So many keys of a partition have parked records.
    pub(crate) fn parked(&self, parking: &Parking, keys: usize) {
        let mut parked = self.parked.lock().unwrap_or_else(PoisonError::into_inner);
        parked.insert((parking.topic.clone(), parking.partition), keys);
        let sum: usize = parked.values().sum();
        let sum = f64::from(u32::try_from(sum).unwrap_or(u32::MAX));
        self.set("outbox_consumer_parked_keys", "Keys whose records wait after a failure", sum);
    }

    fn set(&self, name: &'static str, help: &'static str, value: f64) {
        self.metrics.set(name, help, &[("service", self.service), ("consumer", &self.consumer)], value);
    }

    fn passed_over(&self, records: u64) {
        let labels = [("service", self.service), ("consumer", &*self.consumer)];
        self.metrics.add(
            "outbox_consumer_malformed_records",
            "Records passed over for their envelope",
            &labels,
            records,
        );
    }
}

// Clocks of machines differ: an age is never below 0.
fn seconds(age: TimeDelta) -> f64 {
    age.to_std().unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gauges(metrics: &Metrics, service: &'static str) -> ConsumerGauges {
        let (metrics, consumer) = (metrics.clone(), "mailer.results".into());
        ConsumerGauges { metrics, service, consumer, parked: Arc::default() }
    }

    fn parking(partition: i32) -> Parking {
        Parking {
            pool: PgPool::connect_lazy("postgres://nobody@localhost/none").unwrap(),
            service: Service::Mailer,
            consumer: "mailer.results".into(),
            topic: "kotinos.results.result.v1".to_owned(),
            partition,
            collapse: false,
        }
    }

    #[tokio::test]
    async fn parked_keys_are_those_of_all_partitions() {
        let metrics = Metrics::new();
        let consumer = gauges(&metrics, "mailer");
        consumer.parked(&parking(0), 2);
        consumer.parked(&parking(1), 3);
        consumer.parked(&parking(0), 1);
        let line = "outbox_consumer_parked_keys{service=\"mailer\",consumer=\"mailer.results\"} 4.0\n";
        assert!(metrics.encode().contains(line), "{}", metrics.encode());
    }

    #[test]
    fn services_of_one_process_have_their_own_series() {
        let metrics = Metrics::new();
        for (service, lag) in [("mailer", 7), ("profile", -1)] {
            gauges(&metrics, service).lag(lag);
            gauges(&metrics, service).malformed();
        }
        let text = metrics.encode();
        assert_eq!(text.matches("# TYPE outbox_consumer_lag_records gauge").count(), 1, "{text}");
        assert!(
            text.contains(
                "outbox_consumer_lag_records{service=\"mailer\",consumer=\"mailer.results\"} 7.0\n"
            )
        );
        assert!(
            text.contains(
                "outbox_consumer_lag_records{service=\"profile\",consumer=\"mailer.results\"} 0.0\n"
            )
        );
    }

    #[test]
    fn clocks_that_differ_make_no_negative_age() {
        assert_eq!(seconds(TimeDelta::milliseconds(-20)).to_bits(), 0.0_f64.to_bits());
        assert!((seconds(TimeDelta::milliseconds(1_500)) - 1.5).abs() < 1e-9);
    }
}
