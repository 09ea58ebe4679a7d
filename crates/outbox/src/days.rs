//! The daily partitions of outbox and inbox: made ahead, dropped when nobody needs them.

use chrono::NaiveDate;
use domain::Service;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};

use crate::Error;

// As many as are made: with fewer, the oldest would be made and dropped again and again.
const OUTBOX_DAYS: i32 = 3;
// Facts are claimed under their own day for three more days, and a repeat is known for fourteen.
const INBOX_DAYS: i32 = 17;

/// Makes the partitions of the coming seven days.
pub(crate) async fn make(pool: &PgPool, service: Service) -> Result<(), Error> {
    let sql = format!(
        "select {}.make_days(today.day - 3, today.day + 7)
         from (select (clock_timestamp() at time zone 'utc')::date as day) as today",
        service.short()
    );
    let made: i32 = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(pool).await?;
    if made > 0 {
        tracing::info!(made, "made daily partitions");
    }
    Ok(())
}

/// Drops what is over: outbox partitions of delivered days, inbox partitions whose repeats no longer come.
///
/// On a connection of its own, since `detach ... concurrently` runs in no transaction; one process at a time.
pub(crate) async fn drop_old(pool: &PgPool, service: Service) -> Result<(), Error> {
    let schema = service.short();
    let mut connection = PgConnection::connect_with(&pool.connect_options()).await?;
    let alone: bool = sqlx::query_scalar("select pg_try_advisory_lock(hashtextextended($1 || '.days', 0))")
        .bind(schema)
        .fetch_one(&mut connection)
        .await?;
    if alone {
        for (parent, keep) in [("outbox", OUTBOX_DAYS), ("inbox", INBOX_DAYS)] {
            for (day, pending) in days_before(&mut connection, schema, parent, keep).await? {
                drop_day(&mut connection, schema, parent, day, pending).await?;
            }
        }
        let sql = format!("delete from {schema}.inbox_old where claimed_at < now() - interval '14 days'");
        sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await?;
    }
    Ok(connection.close().await?)
}

async fn days_before(
    connection: &mut PgConnection,
    schema: &str,
    parent: &str,
    keep: i32,
) -> Result<Vec<(NaiveDate, bool)>, Error> {
    let found = sqlx::query_as(
        "select to_date(right(child.relname, 8), 'YYYYMMDD') as day, part.inhdetachpending
         from pg_inherits as part
         join pg_class as child on child.oid = part.inhrelid
         where part.inhparent = ($1 || '.' || $2)::regclass
           and child.relname ~ ('^' || $2 || '_[0-9]{8}$')
           and to_date(right(child.relname, 8), 'YYYYMMDD') < (clock_timestamp() at time zone 'utc')::date - $3
         order by 1",
    )
    .bind(schema)
    .bind(parent)
    .bind(keep)
    .fetch_all(connection)
    .await?;
    Ok(found)
}

async fn drop_day(
    connection: &mut PgConnection,
    schema: &str,
    parent: &str,
    day: NaiveDate,
    pending: bool,
) -> Result<(), Error> {
    let child = format!("{parent}_{}", day.format("%Y%m%d"));
    // Not sent yet, or about to be sent again for an operator.
    let undelivered = format!(
        "select exists (
            select from {schema}.{child} as row, {schema}.relay_cursor as cursor
            where (row.position, row.seq) > (cursor.position, cursor.seq))
         or exists (select from {schema}.relay_resend where from_day <= '{day}')"
    );
    let is_outbox = parent == "outbox";
    if is_outbox && sqlx::query_scalar(AssertSqlSafe(undelivered.clone())).fetch_one(&mut *connection).await?
    {
        tracing::warn!(%day, "an outbox partition stays, since it has rows that were not delivered");
        return Ok(());
    }
    // A detach that was broken off is finished; otherwise a scan of the parent would still see the partition.
    let how = if pending { "finalize" } else { "concurrently" };
    let detach = format!("alter table {schema}.{parent} detach partition {schema}.{child} {how}");
    sqlx::raw_sql(AssertSqlSafe(detach)).execute(&mut *connection).await?;
    // Looked at again: detaching let the last writers end.
    if is_outbox && sqlx::query_scalar(AssertSqlSafe(undelivered)).fetch_one(&mut *connection).await? {
        let attach = format!(
            "alter table {schema}.{parent} attach partition {schema}.{child} for values from ('{day}') to ('{}')",
            day.succ_opt().unwrap_or(NaiveDate::MAX)
        );
        sqlx::raw_sql(AssertSqlSafe(attach)).execute(&mut *connection).await?;
        return Ok(());
    }
    sqlx::raw_sql(AssertSqlSafe(format!("drop table {schema}.{child}"))).execute(&mut *connection).await?;
    tracing::info!(parent, %day, "dropped a daily partition");
    Ok(())
}
