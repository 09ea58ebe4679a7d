//! Consumers as contestants: ours with claimed and with versioned effects, and the plain one with a transaction a record.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use chassis::{Component, Process, StartError};
use domain::Uuid;
use outbox::{Batch, Failure, Subscription, inbox};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use sqlx::{Connection as _, PgConnection, PgPool};
use tokio::runtime;

use crate::{
    notes::{Notes, number_in},
    roles::WithDatabase,
    surroundings::{PARTITIONS, SERVICE, TOPIC, consumer},
};

/// The variable that says where a consumer takes notes.
pub const NOTES: &str = "BENCH_NOTES";
/// Set where the times of arrival are wanted too.
pub const TIMED: &str = "BENCH_TIMED";
/// In the inbox, and of the group.
pub const NAME: &str = "BENCH_CONSUMER";
/// Handlers that our consumer runs at once; the plain one gets as many threads and connections.
const WORKERS: i32 = 4;

pub async fn claimed(config: WithDatabase, process: Process) -> Result<Component, StartError> {
    let name = std::env::var(NAME)?;
    let reader: Arc<str> = name.as_str().into();
    consume(&config, &process, &name, move |pool, batch| {
        let reader = Arc::clone(&reader);
        async move { claim(&pool, &reader, &batch).await }
    })
}

pub async fn versioned(config: WithDatabase, process: Process) -> Result<Component, StartError> {
    consume(&config, &process, &std::env::var(NAME)?, |pool, batch| async move {
        upsert(&pool, &batch).await.map_err(Failure::transient)
    })
}

fn consume<H, F>(
    config: &WithDatabase,
    process: &Process,
    name: &str,
    effect: H,
) -> Result<Component, StartError>
where
    H: Fn(PgPool, Arc<Batch>) -> F + Send + Sync + 'static,
    F: Future<Output = Result<(), Failure>> + Send + 'static,
{
    let pool = process.database(&config.database_url);
    let (notes, timed) = (Arc::new(Notes::open(&std::env::var(NOTES)?)?), std::env::var(TIMED).is_ok());
    let subscription = Subscription::new(name, &[TOPIC.name()]);
    let own = pool.clone();
    Ok(outbox::consume(Component::new(SERVICE), process, &pool, subscription, move |batch| {
        let (batch, notes) = (Arc::new(batch), Arc::clone(&notes));
        let effect = effect(own.clone(), Arc::clone(&batch));
        async move {
            effect.await?;
            let payloads = batch.records.iter().map(|record| record.payload.as_deref());
            note(&notes, timed, payloads).map_err(Failure::transient)
        }
    }))
}

fn note<'a>(
    notes: &Notes,
    timed: bool,
    payloads: impl ExactSizeIterator<Item = Option<&'a [u8]>>,
) -> Result<()> {
    notes.add(payloads.len())?;
    if timed {
        payloads.filter_map(number_in).try_for_each(|number| notes.arrived(number))?;
    }
    Ok(())
}

async fn claim(pool: &PgPool, reader: &str, batch: &Batch) -> Result<(), Failure> {
    let mut tx = pool.begin().await.map_err(Failure::transient)?;
    let new = inbox::claim(&mut tx, SERVICE, reader, &batch.event_ids()).await.map_err(Failure::of)?;
    let records: Vec<_> = batch.records.iter().filter(|record| new.contains(&record.event_id)).collect();
    let ids: Vec<Uuid> = records.iter().map(|record| record.event_id.0).collect();
    let keys: Vec<&str> = records.iter().map(|record| record.key.as_str()).collect();
    let versions: Vec<i64> = records.iter().map(|record| record.version).collect();
    sqlx::query(
        "insert into mailer.effect (event_id, key, version)
         select * from unnest($1::uuid[], $2::text[], $3::bigint[])",
    )
    .bind(ids)
    .bind(keys)
    .bind(versions)
    .execute(&mut *tx)
    .await
    .map_err(Failure::transient)?;
    tx.commit().await.map_err(Failure::transient)
}

// The newest of each key, in the keys' order: two batches never wait for each other crosswise.
async fn upsert(pool: &PgPool, batch: &Batch) -> Result<(), sqlx::Error> {
    let newest: BTreeMap<&str, (i64, &[u8])> = batch
        .records
        .iter()
        .map(|record| (record.key.as_str(), (record.version, record.payload.as_deref().unwrap_or_default())))
        .collect();
    let keys: Vec<&str> = newest.keys().copied().collect();
    let versions: Vec<i64> = newest.values().map(|(version, _)| *version).collect();
    let payloads: Vec<&[u8]> = newest.values().map(|(_, payload)| *payload).collect();
    sqlx::query(
        "insert into mailer.state (key, version, payload)
         select * from unnest($1::text[], $2::bigint[], $3::bytea[])
         on conflict (key) do update set version = excluded.version, payload = excluded.payload
         where state.version < excluded.version",
    )
    .bind(keys)
    .bind(versions)
    .bind(payloads)
    .execute(pool)
    .await?;
    Ok(())
}

/// Takes in until it is ended. It keeps no offsets, which is to its advantage.
pub fn plain() -> Result<()> {
    let (notes, timed) = (Arc::new(Notes::open(&std::env::var(NOTES)?)?), std::env::var(TIMED).is_ok());
    let (brokers, url) = (std::env::var("KOTINOS_KAFKA_BROKERS")?, std::env::var("MAILER_DATABASE_URL")?);
    let topic = format!("{}{}", std::env::var("KOTINOS_TOPIC_PREFIX")?, TOPIC.name());
    let mut workers = Vec::new();
    for worker in 0..WORKERS {
        let partitions = (0..PARTITIONS).filter(move |partition| partition % WORKERS == worker);
        let consumer = consumer(&brokers, &topic, partitions)?;
        let (notes, url) = (Arc::clone(&notes), url.clone());
        workers.push(std::thread::spawn(move || -> Result<()> {
            let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
            let mut connection = runtime.block_on(PgConnection::connect(&url))?;
            loop {
                let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
                let message = message?;
                runtime.block_on(take_in(&mut connection, &message))?;
                note(&notes, timed, [message.payload()].into_iter())?;
            }
        }));
    }
    // None ends but by a failure.
    for worker in workers {
        worker.join().map_err(|_| anyhow::anyhow!("a worker panicked"))??;
    }
    Ok(())
}

// Claims the record and has its effect, in a transaction of its own.
async fn take_in(connection: &mut PgConnection, message: &BorrowedMessage<'_>) -> Result<()> {
    let headers = message.headers().context("no headers")?;
    let text = |name: &str| {
        let header =
            headers.iter().find(|header| header.key == name).with_context(|| format!("no {name}"))?;
        Ok::<&str, anyhow::Error>(std::str::from_utf8(header.value.unwrap_or_default())?)
    };
    let (id, version): (Uuid, i64) = (text("ce_id")?.parse()?, text("kotinos_version")?.parse()?);
    let mut tx = connection.begin().await?;
    let new = sqlx::query(
        "insert into mailer.inbox (day, consumer, event_id)
         values ((clock_timestamp() at time zone 'utc')::date, 'mailer.plain', $1) on conflict do nothing",
    )
    .bind(id)
    .execute(&mut *tx)
    .await?;
    if new.rows_affected() > 0 {
        sqlx::query("insert into mailer.effect (event_id, key, version) values ($1, $2, $3)")
            .bind(id)
            .bind(std::str::from_utf8(message.key().unwrap_or_default())?)
            .bind(version)
            .execute(&mut *tx)
            .await?;
    }
    Ok(tx.commit().await?)
}
