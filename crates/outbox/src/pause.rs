//! Whether a consumer is stopped, by an operator or by itself: a row in `paused_consumer`, so that it holds in every
//! process and after a restart.

use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::Service;
use sqlx::{AssertSqlSafe, PgPool};
use tokio::{sync::watch, time::sleep};

use crate::{Error, failure::chain, measure::ConsumerGauges};

/// How soon a consumer obeys.
pub(crate) const LOOK: Duration = Duration::from_secs(1);

/// A consumer that takes nothing in.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct Stopped {
    #[sqlx(rename = "paused_at")]
    pub(crate) at: DateTime<Utc>,
    /// Why it stopped itself; none: an operator did.
    pub(crate) refusal: Option<String>,
    /// The topic that was made anew, where that is why.
    pub(crate) anew: Option<String>,
}

/// Since when a consumer is stopped.
pub(crate) async fn since(pool: &PgPool, service: Service, consumer: &str) -> Result<Option<Stopped>, Error> {
    let sql = format!(
        "select paused_at, refusal, anew from {}.paused_consumer where consumer = $1",
        service.short()
    );
    Ok(sqlx::query_as(AssertSqlSafe(sql)).bind(consumer).fetch_optional(pool).await?)
}

/// Stops a consumer in an operator's name; false when an operator had stopped it already.
pub(crate) async fn set(pool: &PgPool, service: Service, consumer: &str) -> Result<bool, Error> {
    let sql = format!(
        "insert into {}.paused_consumer as stopped (consumer) values ($1)
         on conflict (consumer) do update set refusal = null, anew = null where stopped.refusal is not null",
        service.short()
    );
    let done = sqlx::query(AssertSqlSafe(sql)).bind(consumer).execute(pool).await?;
    Ok(done.rows_affected() > 0)
}

/// Stops a consumer that refuses to go on.
pub(crate) async fn refuse(
    pool: &PgPool,
    service: Service,
    consumer: &str,
    (refusal, anew): (&str, Option<&str>),
) -> Result<(), Error> {
    let sql = format!(
        "insert into {}.paused_consumer (consumer, refusal, anew) values ($1, $2, $3) on conflict do nothing",
        service.short()
    );
    sqlx::query(AssertSqlSafe(sql)).bind(consumer).bind(refusal).bind(anew).execute(pool).await?;
    Ok(())
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
            Ok(stopped) => {
                let is_paused = stopped.is_some();
                let changed =
                    paused.send_if_modified(|paused| std::mem::replace(paused, is_paused) != is_paused);
                let refusal = stopped.and_then(|stopped| stopped.refusal);
                gauges.paused(is_paused && refusal.is_none());
                gauges.refuses(refusal.is_some());
                if changed {
                    tracing::info!(consumer, paused = is_paused, refusal, "a consumer begins or rests");
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
