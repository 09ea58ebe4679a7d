//! Forgetting what is over: sessions end, partitions are made ahead and dropped, counters and unused clients go.

use std::time::Duration;

use chassis::Shutdown;
use domain::{DateTime, TimeDelta, Utc};

use super::App;
use crate::{
    error::Error,
    partitions::{Partitioned, TABLES, first_id_of, time_of},
    store::{self, partition},
};

const EVERY: Duration = Duration::from_secs(60);
/// IP hashes of the audit live so long.
const NETWORKS: TimeDelta = TimeDelta::days(90);

impl App {
    /// Ends overdue sessions and forgets rows that nobody needs any more, until the process ends.
    pub async fn run_sweep(self, shutdown: Shutdown) {
        while !shutdown.is_soft() {
            if let Err(error) = self.sweep(&shutdown).await {
                tracing::warn!(error = &error as &dyn std::error::Error, "expired rows are not swept now");
            }
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = shutdown.soft() => {}
            }
        }
    }

    /// Makes the partitions of the coming days, before the first call.
    pub async fn prepare_partitions(&self) {
        for table in &TABLES {
            // Rows find the default partition meanwhile.
            if let Err(error) = self.make_partitions(table).await {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, table = table.table, "partitions are not made yet");
            }
        }
    }

    async fn make_partitions(&self, table: &Partitioned) -> Result<(), Error> {
        let mut tx = chassis::begin(&self.db).await?;
        partition::lock(&mut tx).await?;
        self.turn_partitions(&mut tx, table, false).await?;
        tx.commit().await?;
        Ok(())
    }

    async fn sweep(&self, shutdown: &Shutdown) -> Result<(), Error> {
        while !shutdown.is_soft() && self.end_overdue().await? > 0 {
            self.nudges.logout.notify_one();
        }
        for table in &TABLES {
            // One that is locked for too long is looked at again in a minute; the others do not wait for it.
            if let Err(error) = self.sweep_table(table, shutdown).await {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, table = table.table, "partitions stay as they are now");
            }
        }
        let now = self.now();
        let counters = store::sweep::delete_throttles(&self.db, now).await?;
        store::sweep::delete_device_grants(&self.db, now).await?;
        if counters > 0 {
            tracing::info!(rows = counters, "expired counters deleted");
        }
        while !shutdown.is_soft() && self.forget_networks(now - NETWORKS).await? {}
        while !shutdown.is_soft() && self.delete_idle_clients().await? > 0 {}
        Ok(())
    }

    // Some of the audit's hashes of networks of before; whether there may be more.
    async fn forget_networks(&self, before: DateTime<Utc>) -> Result<bool, Error> {
        let mut tx = chassis::begin(&self.db).await?;
        let more = store::sweep::forget_networks(&mut tx, before).await?;
        tx.commit().await?;
        Ok(more)
    }

    async fn sweep_table(&self, table: &Partitioned, shutdown: &Shutdown) -> Result<(), Error> {
        let mut tx = chassis::begin(&self.db).await?;
        if !partition::try_lock(&mut tx).await? {
            return Ok(());
        }
        let there = self.turn_partitions(&mut tx, table, true).await?;
        tx.commit().await?;
        let (Some(first), Some(oldest)) = (there, table.oldest(self.now())) else { return Ok(()) };
        // What an older version wrote before there were partitions.
        while !shutdown.is_soft() {
            if partition::delete_from_default(&self.db, table, oldest).await? < partition::BATCH {
                break;
            }
        }
        let stray = partition::count_in_default(&self.db, table, first).await?;
        self.note_stray(table.table, stray);
        Ok(())
    }

    // The first key of the partitions that are there then; nothing when there is no such table.
    async fn turn_partitions(
        &self,
        tx: &mut sqlx::PgTransaction<'_>,
        table: &Partitioned,
        drops: bool,
    ) -> Result<Option<domain::Uuid>, Error> {
        let Some(there) = partition::list(&mut **tx, table).await? else { return Ok(None) };
        let newest = partition::newest_in_default(&mut **tx, table).await?;
        // The clock that ids are made by.
        let made = time_of(domain::new_id());
        let due = table.due(&there, newest, made, self.now());
        for one in &due.make {
            partition::make(tx, table, one).await?;
        }
        if drops {
            for name in &due.drop {
                partition::drop(tx, name).await?;
            }
        }
        let first = there.iter().chain(&due.make).map(|one| one.from).min();
        Ok(first.or(Some(first_id_of(made))))
    }

    fn note_stray(&self, table: &'static str, rows: i64) {
        #[expect(clippy::cast_precision_loss, reason = "at most 1,000")]
        let gauge = rows as f64;
        let help =
            "Rows that fell into the default partition, up to 1,000: none while partitions are made ahead";
        self.metrics.set("identity_default_partition_rows", help, &[("table", table)], gauge);
        if rows > 0 {
            tracing::warn!(table, rows, "rows fall into the default partition: none was made for them");
        }
    }
}
