//! What most teams write first: take some rows with `skip locked`, produce them, delete them, commit.

use std::time::Duration;

use anyhow::Result;
use chrono::{DateTime, Utc};
use domain::Uuid;
use rdkafka::producer::{DeliveryFuture, FutureProducer, FutureRecord};
use sqlx::{Connection as _, PgConnection};
use tokio::time::sleep;

use crate::producer;

/// Rows of one transaction.
pub const ROWS: i64 = 500;

#[derive(sqlx::FromRow)]
struct Row {
    naive_outbox_id: i64,
    id: Uuid,
    topic: String,
    key: String,
    #[sqlx(rename = "type")]
    fact_type: String,
    payload: Vec<u8>,
    version: i64,
    occurred_at: DateTime<Utc>,
    traceparent: Option<String>,
}

/// Sends until it is ended.
pub fn run() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(relay())
}

async fn relay() -> Result<()> {
    let mut connection = PgConnection::connect(&std::env::var("MAILER_DATABASE_URL")?).await?;
    let prefix = std::env::var("KOTINOS_TOPIC_PREFIX")?;
    let producer: FutureProducer = producer::config(&std::env::var("KOTINOS_KAFKA_BROKERS")?).create()?;
    loop {
        let mut tx = connection.begin().await?;
        let rows: Vec<Row> = sqlx::query_as(
            "select * from mailer.naive_outbox order by naive_outbox_id for update skip locked limit $1",
        )
        .bind(ROWS)
        .fetch_all(&mut *tx)
        .await?;
        if rows.is_empty() {
            tx.rollback().await?;
            sleep(Duration::from_millis(5)).await;
            continue;
        }
        let mut answers = Vec::with_capacity(rows.len());
        for row in &rows {
            answers.push(send(&producer, &prefix, row)?);
        }
        for answer in answers {
            answer.await?.map_err(|(error, _)| error)?;
        }
        let ids: Vec<i64> = rows.iter().map(|row| row.naive_outbox_id).collect();
        sqlx::query("delete from mailer.naive_outbox where naive_outbox_id = any($1)")
            .bind(ids)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
    }
}

fn send(producer: &FutureProducer, prefix: &str, row: &Row) -> Result<DeliveryFuture> {
    let topic = format!("{prefix}{}", row.topic);
    let about = (row.key.as_str(), row.version);
    let headers =
        producer::headers(row.id, &row.fact_type, about, row.occurred_at, row.traceparent.as_deref());
    let record = FutureRecord::to(&topic).key(&row.key).payload(&row.payload).headers(headers);
    producer.send_result(record).map_err(|(error, _)| error.into())
}
