//! What a leader asks and tells the database about its topics: where they end, and which are sent again.

use chrono::NaiveDate;
use sqlx::AssertSqlSafe;

use super::{COLUMNS, Lease, PAGE_BYTES, Row};
use crate::{Error, ends::Known, planner::Mark};

/// Rows of a topic that are sent again at once.
const AGAIN: i64 = 1_000;

/// Rows that an operator asked for: of a topic, from a day on.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) topic: String,
    /// The days that have rows, first and last.
    pub(crate) days: Option<(NaiveDate, NaiveDate)>,
}

impl Lease {
    /// Behind the relay's last record of each partition, as it was saved.
    pub(crate) async fn ends(&mut self) -> Result<Vec<Known>, Error> {
        let sql = format!("select topic, partition, end_offset from {}.relay_end", self.schema);
        let query = sqlx::query_as(AssertSqlSafe(sql));
        Self::within(&mut self.renewed, query.fetch_all(&mut self.connection)).await
    }

    pub(crate) async fn save_ends(&mut self, ends: &[Known]) -> Result<(), Error> {
        let sql = format!(
            "insert into {}.relay_end (topic, partition, end_offset)
             select * from unnest($1::text[], $2::int[], $3::bigint[])
             on conflict (topic, partition) do update set end_offset = excluded.end_offset",
            self.schema
        );
        let topics: Vec<String> = ends.iter().map(|(topic, ..)| topic.clone()).collect();
        let partitions: Vec<i32> = ends.iter().map(|(_, partition, _)| *partition).collect();
        let offsets: Vec<i64> = ends.iter().map(|(.., offset)| *offset).collect();
        self.execute(sql, |query| query.bind(topics).bind(partitions).bind(offsets)).await.map(drop)
    }

    /// Writes down why nothing is sent, for operators; the next leader that sends takes it away.
    pub(crate) async fn refuse(&mut self, refusal: &str) -> Result<(), Error> {
        let sql = format!("update {}.relay_cursor set refusal = $1", self.schema);
        let refusal = refusal.to_owned();
        self.execute(sql, |query| query.bind(refusal)).await.map(drop)
    }

    /// The topic that was asked for first.
    pub(crate) async fn asked(&mut self) -> Result<Option<Asked>, Error> {
        let sql = format!(
            "select topic,
                    (select min(day) from {schema}.outbox where day >= from_day),
                    (select max(day) from {schema}.outbox)
             from {schema}.relay_resend
             order by asked_at, topic
             limit 1",
            schema = self.schema
        );
        let query = sqlx::query_as(AssertSqlSafe(sql));
        let found: Option<(String, Option<NaiveDate>, Option<NaiveDate>)> =
            Self::within(&mut self.renewed, query.fetch_optional(&mut self.connection)).await?;
        Ok(found.map(|(topic, first, last)| Asked { topic, days: first.zip(last) }))
    }

    /// The next rows of a topic and a day, by number: of a key that is the order of its versions, even where a rebase
    /// moved positions.
    pub(crate) async fn page_again(
        &mut self,
        topic: &str,
        (day, seq): (NaiveDate, i64),
        up_to: Mark,
    ) -> Result<Vec<Row>, Error> {
        let sql = format!(
            "select {COLUMNS}
             from (select {COLUMNS},
                          coalesce(sum(coalesce(octet_length(payload), 0)) over (
                              order by seq rows between unbounded preceding and 1 preceding), 0)::bigint as bytes_before
                   from {}.outbox
                   where day = $1 and seq > $2 and aggregatetype = $3 and (position, seq) <= ($4, $5)
                   order by seq
                   limit $6) as page
             where bytes_before < $7
             order by seq",
            self.schema
        );
        let query = sqlx::query_as(AssertSqlSafe(sql))
            .bind(day)
            .bind(seq)
            .bind(topic)
            .bind(up_to.position)
            .bind(up_to.seq)
            .bind(AGAIN)
            .bind(PAGE_BYTES);
        Self::within(&mut self.renewed, query.fetch_all(&mut self.connection)).await
    }

    /// Kafka has all of it.
    pub(crate) async fn sent_again(&mut self, topic: &str) -> Result<(), Error> {
        let sql = format!("delete from {}.relay_resend where topic = $1", self.schema);
        let topic = topic.to_owned();
        self.execute(sql, |query| query.bind(topic)).await.map(drop)
    }
}
