//! Records that failed and those of their keys that wait behind them, in `parked_record`.

use std::{collections::HashSet, sync::Arc};

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use domain::{EventId, Service};
use sqlx::{AssertSqlSafe, PgPool};

use crate::{Error, Record, lane_planner::TRIES, trace::Carried};

// Minutes between the tries of a parked record: 1 m, 5 m, 30 m, 2 h, 12 h; then it waits for an operator.
const TIERS: [i64; 5] = [1, 5, 30, 120, 720];

/// When a record that failed so often is tried again.
fn next_at(attempts: i32, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let tier = usize::try_from(attempts - TRIES).ok()?;
    TIERS.get(tier).map(|minutes| now + TimeDelta::minutes(*minutes))
}

/// The parked records of one partition of one consumer, which only the partition's own worker touches.
#[derive(Debug, Clone)]
pub(crate) struct Parking {
    pub(crate) pool: PgPool,
    pub(crate) service: Service,
    pub(crate) consumer: Arc<str>,
    pub(crate) topic: String,
    pub(crate) partition: i32,
    /// Only the newest record of a key counts.
    pub(crate) collapse: bool,
}

/// A parked record whose turn it is.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) record: Record,
    pub(crate) attempts: i32,
}

#[derive(sqlx::FromRow)]
struct HeadRow {
    record_key: String,
    record_offset: i64,
    event_id: uuid::Uuid,
    fact_type: String,
    version: i64,
    occurred_at: DateTime<Utc>,
    payload: Option<Vec<u8>>,
    traceparent: Option<String>,
    tracestate: Option<String>,
    attempts: i32,
}

impl Parking {
    /// Keys that have parked records.
    pub(crate) async fn keys(&self) -> Result<HashSet<String>, Error> {
        let sql = format!(
            "select distinct record_key
             from {}.parked_record
             where consumer = $1 and topic = $2 and partition = $3",
            self.service.short()
        );
        let keys: Vec<String> = sqlx::query_scalar(AssertSqlSafe(sql))
            .bind(&*self.consumer)
            .bind(&self.topic)
            .bind(self.partition)
            .fetch_all(&self.pool)
            .await?;
        Ok(keys.into_iter().collect())
    }

    /// Parks a record that failed [`TRIES`] times.
    pub(crate) async fn park(&self, record: &Record, error: &str, now: DateTime<Utc>) -> Result<(), Error> {
        self.insert(record, "failed", TRIES, Some(error), next_at(TRIES, now)).await
    }

    /// Queues a record behind its parked key; on a topic of states it takes the place of those before it, so that a
    /// good record heals a poison one. A late repeat of an older state takes no newer one's place.
    pub(crate) async fn queue(&self, record: &Record) -> Result<(), Error> {
        self.insert(record, "behind", 0, None, None).await?;
        if self.collapse {
            let sql = format!(
                "delete from {}.parked_record
                 where consumer = $1 and topic = $2 and partition = $3 and record_key = $4 and record_offset < $5
                   and version <= $6",
                self.service.short()
            );
            sqlx::query(AssertSqlSafe(sql))
                .bind(&*self.consumer)
                .bind(&self.topic)
                .bind(self.partition)
                .bind(&record.key)
                .bind(record.offset)
                .bind(record.version)
                .execute(&self.pool)
                .await?;
        }
        Ok(())
    }

    async fn insert(
        &self,
        record: &Record,
        class: &str,
        attempts: i32,
        error: Option<&str>,
        next_at: Option<DateTime<Utc>>,
    ) -> Result<(), Error> {
        let sql = format!(
            "insert into {}.parked_record
                (consumer, topic, partition, record_key, record_offset, event_id, fact_type, version, occurred_at,
                 payload, traceparent, tracestate, attempts, class, error, next_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
             on conflict do nothing",
            self.service.short()
        );
        let carried = record.carried.as_ref();
        sqlx::query(AssertSqlSafe(sql))
            .bind(&*self.consumer)
            .bind(&self.topic)
            .bind(self.partition)
            .bind(&record.key)
            .bind(record.offset)
            .bind(record.event_id.0)
            .bind(&record.fact_type)
            .bind(record.version)
            .bind(record.occurred_at)
            .bind(record.payload.as_deref())
            .bind(carried.map(|carried| &carried.traceparent))
            .bind(carried.and_then(|carried| carried.tracestate.as_ref()))
            .bind(attempts)
            .bind(class)
            .bind(error)
            .bind(next_at)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// The first record of each parked key whose turn it is.
    pub(crate) async fn due(&self, now: DateTime<Utc>) -> Result<Vec<Head>, Error> {
        let sql = format!(
            "select * from (
                select distinct on (record_key) *
                from {}.parked_record
                where consumer = $1 and topic = $2 and partition = $3
                order by record_key, record_offset) as head
             where class = 'behind' or next_at <= $4
             order by record_offset
             limit 500",
            self.service.short()
        );
        let rows: Vec<HeadRow> = sqlx::query_as(AssertSqlSafe(sql))
            .bind(&*self.consumer)
            .bind(&self.topic)
            .bind(self.partition)
            .bind(now)
            .fetch_all(&self.pool)
            .await?;
        Ok(rows.into_iter().map(|row| self.head(row)).collect())
    }

    fn head(&self, row: HeadRow) -> Head {
        let carried =
            row.traceparent.map(|traceparent| Carried { traceparent, tracestate: row.tracestate.clone() });
        let record = Record {
            topic: self.topic.clone(),
            partition: self.partition,
            offset: row.record_offset,
            key: row.record_key,
            payload: row.payload.map(Bytes::from),
            event_id: EventId(row.event_id),
            fact_type: row.fact_type,
            version: row.version,
            occurred_at: row.occurred_at,
            carried,
        };
        Head { record, attempts: row.attempts }
    }

    /// It was taken in.
    pub(crate) async fn done(&self, head: &Head) -> Result<(), Error> {
        let sql = format!(
            "delete from {}.parked_record
             where consumer = $1 and topic = $2 and partition = $3 and record_offset = $4",
            self.service.short()
        );
        sqlx::query(AssertSqlSafe(sql))
            .bind(&*self.consumer)
            .bind(&self.topic)
            .bind(self.partition)
            .bind(head.record.offset)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// It failed again.
    pub(crate) async fn failed_again(
        &self,
        head: &Head,
        error: &str,
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        // A record from behind its key begins with the first tier.
        let attempts = (head.attempts + 1).max(TRIES);
        let sql = format!(
            "update {}.parked_record
             set class = 'failed', attempts = $5, error = $6, next_at = $7
             where consumer = $1 and topic = $2 and partition = $3 and record_offset = $4",
            self.service.short()
        );
        sqlx::query(AssertSqlSafe(sql))
            .bind(&*self.consumer)
            .bind(&self.topic)
            .bind(self.partition)
            .bind(head.record.offset)
            .bind(attempts)
            .bind(error)
            .bind(next_at(attempts, now))
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tiers_end_with_an_operator() {
        let now = DateTime::UNIX_EPOCH;
        let minutes = |attempts| next_at(attempts, now).map(|at| (at - now).num_minutes());
        assert_eq!(
            (3..9).map(minutes).collect::<Vec<_>>(),
            [Some(1), Some(5), Some(30), Some(120), Some(720), None]
        );
    }
}
