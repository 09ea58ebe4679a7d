//! The leader's connection: the advisory lock that makes one relay the leader, and all that a leader asks the database.

mod topics;

use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::Service;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool, postgres::PgArguments, query::Query};
use tokio::time::{Instant, timeout};

use crate::{
    Error,
    planner::{Mark, PAGE},
};

/// A leader whose last answer from the database is older must take it that another one leads.
pub(crate) const LEASE: Duration = Duration::from_secs(5);
/// So long a successor waits for what a leader that did not sign off may have on its way.
pub(crate) const GRACE: Duration = Duration::from_secs(6);
/// Payload bytes of a page: rows may be large, and four pages are held at once.
const PAGE_BYTES: i64 = 16 << 20;

/// A row of the outbox.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct Row {
    pub(crate) position: i64,
    pub(crate) seq: i64,
    pub(crate) id: uuid::Uuid,
    #[sqlx(rename = "aggregatetype")]
    pub(crate) topic: String,
    #[sqlx(rename = "aggregateid")]
    pub(crate) key: String,
    #[sqlx(rename = "type")]
    pub(crate) fact_type: String,
    pub(crate) payload: Option<Vec<u8>>,
    pub(crate) version: i64,
    pub(crate) occurred_at: DateTime<Utc>,
    pub(crate) traceparent: Option<String>,
    pub(crate) tracestate: Option<String>,
}

impl Row {
    pub(crate) fn mark(&self) -> Mark {
        Mark { position: self.position, seq: self.seq }
    }
}

const COLUMNS: &str = "position, seq, id, aggregatetype, aggregateid, type, payload, version, occurred_at, traceparent, tracestate";

/// Where the last leader was.
#[derive(Debug)]
pub(crate) struct Saved {
    pub(crate) cursor: Mark,
    pub(crate) generation: i32,
    /// It did not sign off.
    pub(crate) leader: Option<String>,
}

/// What a leader that lost its lease may have sent late.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fence {
    pub(crate) id: i64,
    pub(crate) from: Mark,
    pub(crate) to: Mark,
}

/// A session that holds the relay's lock of one schema. Every answer on it renews the lease, since the lock is the
/// session's; it never comes from the pool, which would hand the locked session to others.
#[derive(Debug)]
pub(crate) struct Lease {
    connection: PgConnection,
    schema: &'static str,
    name: String,
    renewed: Instant,
}

impl Lease {
    /// Takes the lock, or none when another session has it.
    pub(crate) async fn try_take(pool: &PgPool, service: Service, name: &str) -> Result<Option<Self>, Error> {
        timeout(LEASE, Self::take(pool, service, name)).await.map_err(|_| Error::Stalled)?
    }

    async fn take(pool: &PgPool, service: Service, name: &str) -> Result<Option<Self>, Error> {
        let options = pool.connect_options();
        let mut connection = PgConnection::connect_with(&options).await?;
        let schema = service.short();
        let locked: bool =
            sqlx::query_scalar("select pg_try_advisory_lock(hashtextextended($1 || '.relay', 0))")
                .bind(schema)
                .fetch_one(&mut connection)
                .await?;
        if !locked {
            connection.close().await?;
            return Ok(None);
        }
        // On stale statistics the planner takes a scan of the day's partition: 1.6 s in place of 0.04. A small table that has
        // to be scanned then looks so dear that its query would be compiled each time: 0.4 s in place of 0.0004.
        sqlx::raw_sql(
            "set enable_seqscan = off; set enable_bitmapscan = off; set jit = off; set statement_timeout = '5s'",
        )
        .execute(&mut connection)
        .await?;
        Ok(Some(Self { connection, schema, name: name.to_owned(), renewed: Instant::now() }))
    }

    /// Whether the lease may have gone to another.
    pub(crate) fn is_lost(&self) -> bool {
        self.renewed.elapsed() > LEASE
    }

    /// Since when the database said nothing.
    pub(crate) fn age(&self) -> Duration {
        self.renewed.elapsed()
    }

    // Bounds a request by what is left of the lease, so that a silent database ends it in time.
    async fn within<T>(
        renewed: &mut Instant,
        request: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, Error> {
        let left = LEASE.saturating_sub(renewed.elapsed());
        let answer = timeout(left, request).await.map_err(|_| Error::LeaseLost)??;
        *renewed = Instant::now();
        Ok(answer)
    }

    async fn execute(&mut self, sql: String, bind: impl FnOnce(Bound) -> Bound) -> Result<u64, Error> {
        let query = bind(sqlx::query(AssertSqlSafe(sql)));
        let done = Self::within(&mut self.renewed, query.execute(&mut self.connection)).await?;
        Ok(done.rows_affected())
    }

    pub(crate) async fn renew(&mut self) -> Result<(), Error> {
        self.execute("select 1".to_owned(), |query| query).await.map(drop)
    }

    /// The lowest transaction id that may still write; everything below it is over.
    pub(crate) async fn horizon(&mut self) -> Result<i64, Error> {
        let query = sqlx::query_scalar("select pg_snapshot_xmin(pg_current_snapshot())::text::bigint");
        Self::within(&mut self.renewed, query.fetch_one(&mut self.connection)).await
    }

    /// Rows behind `after` with a position below `below`, in the order of marks, and whether there may be more.
    pub(crate) async fn page(&mut self, after: Mark, below: i64) -> Result<(Vec<Row>, bool), Error> {
        let sql = format!(
            "select {COLUMNS}, bytes_before
             from (select {COLUMNS},
                          coalesce(sum(coalesce(octet_length(payload), 0)) over (
                              order by position, seq rows between unbounded preceding and 1 preceding), 0)::bigint
                              as bytes_before
                   from {}.outbox
                   where (position, seq) > ($1, $2) and position < $3
                   order by position, seq
                   limit $4) as page
             where bytes_before < $5
             order by position, seq",
            self.schema
        );
        let limit = i64::try_from(PAGE).unwrap_or(i64::MAX);
        let query = sqlx::query_as(AssertSqlSafe(sql))
            .bind(after.position)
            .bind(after.seq)
            .bind(below)
            .bind(limit)
            .bind(PAGE_BYTES);
        let rows: Vec<Row> = Self::within(&mut self.renewed, query.fetch_all(&mut self.connection)).await?;
        let bytes: usize = rows.iter().map(|row| row.payload.as_ref().map_or(0, Vec::len)).sum();
        let full = rows.len() >= PAGE || i64::try_from(bytes).unwrap_or(i64::MAX) >= PAGE_BYTES;
        Ok((rows, full))
    }

    /// The saved cursor, after a check that this is the database it was saved in.
    pub(crate) async fn saved(&mut self) -> Result<Saved, Error> {
        // The first relay writes down what database this is.
        let sql = format!(
            "update {}.relay_cursor
             set system_identifier = coalesce(system_identifier, (select system_identifier from pg_control_system())),
                 timeline = coalesce(timeline, ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int)
             returning position, seq, generation, leader,
                 system_identifier = (select system_identifier from pg_control_system()) as same_system,
                 timeline = ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int as same_timeline",
            self.schema
        );
        let query = sqlx::query_as(AssertSqlSafe(sql));
        let (position, seq, generation, leader, same_system, same_timeline) =
            Self::within(&mut self.renewed, query.fetch_one(&mut self.connection)).await?;
        let _: (bool, bool) = (same_system, same_timeline);
        if !same_system {
            return Err(Error::OtherCluster("its system identifier is not the cursor's".to_owned()));
        }
        if !same_timeline {
            return Err(Error::OtherCluster("its timeline is not the cursor's".to_owned()));
        }
        Ok(Saved { cursor: Mark { position, seq }, generation, leader })
    }

    pub(crate) async fn sign_on(&mut self) -> Result<(), Error> {
        let sql = format!("update {}.relay_cursor set leader = $1, refusal = null", self.schema);
        let name = self.name.clone();
        self.execute(sql, |query| query.bind(name)).await.map(drop)
    }

    pub(crate) async fn save(&mut self, cursor: Mark) -> Result<(), Error> {
        let sql =
            format!("update {}.relay_cursor set position = $1, seq = $2, saved_at = now()", self.schema);
        self.execute(sql, |query| query.bind(cursor.position).bind(cursor.seq)).await.map(drop)
    }

    /// Gives the lead up; nothing is on its way any more, so a successor need not wait.
    pub(crate) async fn sign_off(mut self) -> Result<(), Error> {
        let sql = format!("update {}.relay_cursor set leader = null", self.schema);
        self.execute(sql, |query| query).await?;
        Ok(self.connection.close().await?)
    }

    /// Gives the lock up without signing off: what was sent may still be on its way.
    pub(crate) async fn close(self) {
        let _ = timeout(Duration::from_secs(1), self.connection.close()).await;
    }

    pub(crate) async fn fences(&mut self) -> Result<Vec<Fence>, Error> {
        let sql = format!(
            "select relay_fence_id, from_position, from_seq, to_position, to_seq
             from {}.relay_fence
             where closed_at is null
             order by relay_fence_id",
            self.schema
        );
        let query = sqlx::query_as(AssertSqlSafe(sql));
        let found: Vec<(i64, i64, i64, i64, i64)> =
            Self::within(&mut self.renewed, query.fetch_all(&mut self.connection)).await?;
        let fences = found.into_iter().map(|(id, from_position, from_seq, to_position, to_seq)| Fence {
            id,
            from: Mark { position: from_position, seq: from_seq },
            to: Mark { position: to_position, seq: to_seq },
        });
        Ok(fences.collect())
    }

    /// All rows of the fence's keys from its begin to `up_to`, in order: a stale record may have landed behind them.
    pub(crate) async fn fenced_rows(&mut self, fence: Fence, up_to: Mark) -> Result<Vec<Row>, Error> {
        let sql = format!(
            "select {COLUMNS}
             from {schema}.outbox
             where (position, seq) > ($1, $2) and (position, seq) <= ($5, $6)
               and (aggregatetype, aggregateid) in (
                   select aggregatetype, aggregateid
                   from {schema}.outbox
                   where (position, seq) > ($1, $2) and (position, seq) <= ($3, $4))
             order by seq",
            schema = self.schema
        );
        let query = sqlx::query_as(AssertSqlSafe(sql))
            .bind(fence.from.position)
            .bind(fence.from.seq)
            .bind(fence.to.position)
            .bind(fence.to.seq)
            .bind(up_to.position)
            .bind(up_to.seq);
        Self::within(&mut self.renewed, query.fetch_all(&mut self.connection)).await
    }

    pub(crate) async fn close_fence(&mut self, id: i64) -> Result<(), Error> {
        let sql =
            format!("update {}.relay_fence set closed_at = now() where relay_fence_id = $1", self.schema);
        self.execute(sql, |query| query.bind(id)).await.map(drop)
    }
}

type Bound = Query<'static, sqlx::Postgres, PgArguments>;

/// Writes down what a lost leader may have on its way; on the pool, as its own session is gone.
pub(crate) async fn write_fence(
    pool: &PgPool,
    service: Service,
    name: &str,
    (from, to): (Mark, Mark),
) -> Result<(), Error> {
    let sql = format!(
        "insert into {}.relay_fence (from_position, from_seq, to_position, to_seq, leader) values ($1, $2, $3, $4, $5)",
        service.short()
    );
    sqlx::query(AssertSqlSafe(sql))
        .bind(from.position)
        .bind(from.seq)
        .bind(to.position)
        .bind(to.seq)
        .bind(name)
        .execute(pool)
        .await?;
    Ok(())
}
