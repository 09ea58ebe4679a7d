//! Whether an operator stopped a consumer: a row in `paused_consumer`, so that it holds in every process and after a
//! restart.

use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::Service;
use sqlx::{AssertSqlSafe, PgPool};
use tokio::{sync::watch, time::sleep};

use crate::{Error, failure::chain, measure::ConsumerGauges};

/// How soon a consumer obeys.
const LOOK: Duration = Duration::from_secs(1);

/// Since when a consumer is stopped.
pub(crate) async fn since(
    pool: &PgPool,
    service: Service,
    consumer: &str,
) -> Result<Option<DateTime<Utc>>, Error> {
    let sql = format!("select paused_at from {}.paused_consumer where consumer = $1", service.short());
    Ok(sqlx::query_scalar(AssertSqlSafe(sql)).bind(consumer).fetch_optional(pool).await?)
}

/// Stops a consumer; false when it was stopped already.
pub(crate) async fn set(pool: &PgPool, service: Service, consumer: &str) -> Result<bool, Error> {
    let sql = format!(
        "insert into {}.paused_consumer (consumer) values ($1) on conflict do nothing",
        service.short()
    );
    let done = sqlx::query(AssertSqlSafe(sql)).bind(consumer).execute(pool).await?;
    Ok(done.rows_affected() > 0)
}

/// Lets a consumer go on; false when nothing stopped it.
pub(crate) async fn clear(
    database: impl sqlx::PgExecutor<'_>,
    service: Service,
    consumer: &str,
) -> Result<bool, Error> {
    let sql = format!("delete from {}.paused_consumer where consumer = $1", service.short());
    let done = sqlx::query(AssertSqlSafe(sql)).bind(consumer).execute(database).await?;
    Ok(done.rows_affected() > 0)
}

/// Tells the consumer's thread what the database says, again and again. When it says nothing the last word holds: without
/// it nothing is taken in anyway.
pub(crate) async fn follow(
    pool: &PgPool,
    service: Service,
    consumer: &str,
    (paused, gauges): (&watch::Sender<bool>, &ConsumerGauges),
) {
    loop {
        match since(pool, service, consumer).await {
            Ok(since) => {
                let changed = paused.send_if_modified(|paused| {
                    let changed = *paused != since.is_some();
                    *paused = since.is_some();
                    changed
                });
                gauges.paused(since.is_some());
                if changed {
                    tracing::info!(consumer, paused = since.is_some(), "a consumer begins or rests");
                }
            }
            Err(error) => {
                tracing::warn!(
                    consumer,
                    error = chain(&error),
                    "whether the consumer is paused is not known"
                );
            }
        }
        sleep(LOOK).await;
    }
}
