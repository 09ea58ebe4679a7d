//! Reads from the database and from Kafka what [`super::judge`] judges.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use domain::Uuid;
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    message::{BorrowedMessage, Headers as _, Message as _},
};
use sqlx::{AssertSqlSafe, PgPool};

use super::judge::{Evidence, Write};
use crate::world::STATES;

const WAIT: Duration = Duration::from_secs(10);
const READ: Duration = Duration::from_secs(120);

/// Whether nothing is under way any more: all sent, no fence open, all taken in.
pub async fn is_settled(pool: &PgPool) -> Result<bool, sqlx::Error> {
    let sql = "select not exists (select from mailer.relay_fence where closed_at is null)
                  and (select (position, seq) from mailer.relay_cursor)
                      >= (select (position, seq) from mailer.outbox order by position desc, seq desc limit 1)
                  and (select count(*) from mailer.written) = (select count(distinct event_id) from mailer.effect)
                  and not exists (
                      select from mailer.aggregate
                      left join mailer.view on view.key = aggregate_id
                      where view.version is distinct from aggregate.version)";
    sqlx::query_scalar(sql).fetch_one(pool).await
}

/// Whether these were taken in by both consumers.
pub async fn are_taken_in(pool: &PgPool, marks: &[Write]) -> Result<bool, sqlx::Error> {
    let sql = "select count(*) = $4
               from unnest($1::uuid[], $2::text[], $3::bigint[]) as mark (event_id, key, version)
               join mailer.view on view.key = mark.key and view.version >= mark.version
               where exists (select from mailer.effect where effect.event_id = mark.event_id)";
    sqlx::query_scalar(sql)
        .bind(marks.iter().map(|mark| mark.event_id).collect::<Vec<_>>())
        .bind(marks.iter().map(|mark| mark.key.clone()).collect::<Vec<_>>())
        .bind(marks.iter().map(|mark| mark.version).collect::<Vec<_>>())
        .bind(i64::try_from(marks.len()).unwrap())
        .fetch_one(pool)
        .await
}

/// Everything, once all processes have ended.
pub async fn read(pool: &PgPool, brokers: String, told: (Vec<Write>, Vec<Write>)) -> Evidence {
    let (acknowledged, unknown) = told;
    Evidence {
        acknowledged,
        unknown,
        state: writes(pool, "select event_id, key, version from mailer.written").await,
        commands: commands(pool).await,
        rows: versions(pool, "select aggregate_id, version from mailer.aggregate").await,
        log: tokio::task::spawn_blocking(move || log(&brokers)).await.unwrap(),
        effects: writes(pool, "select event_id, key, version from mailer.effect order by effect_id").await,
        view: versions(pool, "select key, version from mailer.view").await,
    }
}

// Each once for every transaction that carried it out, which may have written several versions.
async fn commands(pool: &PgPool) -> Vec<Uuid> {
    let sql = "select command_id from mailer.written group by command_id, xmin";
    sqlx::query_scalar(sql).fetch_all(pool).await.unwrap()
}

async fn writes(pool: &PgPool, sql: &str) -> Vec<Write> {
    let rows: Vec<(Uuid, String, i64)> =
        sqlx::query_as(AssertSqlSafe(sql.to_owned())).fetch_all(pool).await.unwrap();
    rows.into_iter().map(|(event_id, key, version)| Write { event_id, key, version }).collect()
}

async fn versions(pool: &PgPool, sql: &str) -> BTreeMap<String, i64> {
    let rows: Vec<(String, i64)> =
        sqlx::query_as(AssertSqlSafe(sql.to_owned())).fetch_all(pool).await.unwrap();
    rows.into_iter().collect()
}

// Partition after partition is not needed: a key lies in one.
fn log(brokers: &str) -> Vec<Write> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "campaign")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "error")
        .create()
        .unwrap();
    let topic = STATES.name();
    let metadata = consumer.fetch_metadata(Some(topic), WAIT).unwrap();
    let (mut assignment, mut ends) = (TopicPartitionList::new(), HashMap::new());
    for partition in metadata.topics().iter().flat_map(rdkafka::metadata::MetadataTopic::partitions) {
        let (low, high) = consumer.fetch_watermarks(topic, partition.id(), WAIT).unwrap();
        assert_eq!(low, 0, "nothing was compacted away");
        if high > 0 {
            assignment.add_partition_offset(topic, partition.id(), Offset::Beginning).unwrap();
            ends.insert(partition.id(), high);
        }
    }
    consumer.assign(&assignment).unwrap();
    let (mut log, begun) = (Vec::new(), Instant::now());
    while !ends.is_empty() {
        assert!(begun.elapsed() < READ, "the log cannot be read: {ends:?} are missing");
        let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else { continue };
        if ends.get(&message.partition()).is_some_and(|end| message.offset() + 1 >= *end) {
            ends.remove(&message.partition());
        }
        log.push(logged(&message));
    }
    log
}

fn logged(message: &BorrowedMessage<'_>) -> Write {
    let header = |name: &str| {
        let found = message.headers().unwrap().iter().find(|header| header.key == name);
        std::str::from_utf8(found.unwrap().value.unwrap()).unwrap()
    };
    Write {
        event_id: header("ce_id").parse().unwrap(),
        key: String::from_utf8(message.key().unwrap().to_vec()).unwrap(),
        version: header("kotinos_version").parse().unwrap(),
    }
}
