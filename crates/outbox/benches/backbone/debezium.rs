//! Debezium Embedded with its outbox router, in a JVM of its own (`deploy/local/debezium`).

use std::{process::Command, time::Duration};

use anyhow::{Context, Result};
use sqlx::AssertSqlSafe;
use testkit::measure::until;

use crate::{
    spawned::Spawned,
    surroundings::{Ground, Surroundings},
};

const PATIENCE: Duration = Duration::from_secs(60);
/// Of the replication slot and the publication. A slot is the cluster's: one contestant at a time.
const SLOT: &str = "bench";

/// What it reads through. The root's name, since the rows lie in daily partitions.
pub async fn make_slot(ground: &Ground) -> Result<()> {
    let publication = format!(
        "create publication {SLOT} for table mailer.outbox with (publish = 'insert', publish_via_partition_root = true)"
    );
    sqlx::raw_sql(AssertSqlSafe(publication)).execute(&ground.db.pool).await?;
    sqlx::query("select pg_create_logical_replication_slot($1, 'pgoutput')")
        .bind(SLOT)
        .execute(&ground.db.pool)
        .await?;
    Ok(())
}

pub fn start(surroundings: &Surroundings, ground: &Ground) -> Result<Spawned> {
    let classes = std::env::var("BENCH_DEBEZIUM").context(
        "no class path in BENCH_DEBEZIUM, which deploy/local/bench-backbone sets where there is a JDK",
    )?;
    let url: url::Url = ground.db.url.parse()?;
    let port = url.port().unwrap_or(5_432).to_string();
    let mut command = Command::new("java");
    // As little memory as costs it no speed: with 512 MiB it sends no more, and takes 250 MiB more.
    command.args(["-Xmx256m", "-cp", &classes, "DebeziumRelay"]);
    let settings = [
        ("DATABASE_HOST", url.host_str().unwrap_or("localhost")),
        ("DATABASE_PORT", &port),
        ("DATABASE_NAME", url.path().trim_start_matches('/')),
        ("DATABASE_USER", url.username()),
        ("KAFKA_BROKERS", &surroundings.brokers),
        ("TOPIC_PREFIX", &ground.topics.prefix),
        ("SLOT", SLOT),
    ];
    Spawned::program(command, "debezium", &settings)
}

/// As soon as it reads.
pub async fn start_and_wait(surroundings: &Surroundings, ground: &Ground) -> Result<Spawned> {
    let mut process = start(surroundings, ground)?;
    let reads = async || Ok(active(ground).await? == Some(true));
    let reading = until("debezium reads", PATIENCE, reads).await;
    process.check()?;
    reading.map(|()| process)
}

/// A slot that stays would keep the write-ahead log of every later contestant.
pub async fn drop_slot(ground: &Ground) -> Result<()> {
    until("the slot is free", PATIENCE, async || Ok(active(ground).await? != Some(true))).await?;
    sqlx::query("select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = $1")
        .bind(SLOT)
        .execute(&ground.db.pool)
        .await?;
    Ok(())
}

async fn active(ground: &Ground) -> Result<Option<bool>> {
    let found = sqlx::query_scalar("select active from pg_replication_slots where slot_name = $1");
    Ok(found.bind(SLOT).fetch_optional(&ground.db.pool).await?)
}
