use domain::Uuid;
use sqlx::{AssertSqlSafe, PgConnection, PgExecutor};

use crate::{
    error::Error,
    partitions::{Partition, Partitioned},
};

/// The partitions of a table but the default one, by their keys; nothing when there is no such table.
pub async fn list(db: impl PgExecutor<'_>, table: &Partitioned) -> Result<Option<Vec<Partition>>, Error> {
    // One row without a name tells a table without partitions from no table.
    let rows: Vec<(Option<String>, Option<String>)> = sqlx::query_as(
        "select child.relname::text, pg_get_expr(child.relpartbound, child.oid)
         from pg_class parent
         left join pg_inherits part on part.inhparent = parent.oid
         left join pg_class child on child.oid = part.inhrelid and child.relname <> $1 || '_default'
         where parent.oid = to_regclass('identity.' || $1)
         order by 1",
    )
    .bind(table.table)
    .fetch_all(db)
    .await?;
    if rows.is_empty() {
        return Ok(None);
    }
    let mut partitions = Vec::with_capacity(rows.len());
    for (name, bounds) in rows {
        let (Some(name), Some(bounds)) = (name, bounds) else { continue };
        let (from, to) = bounds_of(&bounds).ok_or(Error::Stored { what: "bounds of a partition" })?;
        partitions.push(Partition { name, from, to });
    }
    partitions.sort_by_key(|partition| partition.from);
    Ok(Some(partitions))
}

// FOR VALUES FROM ('...') TO ('...')
fn bounds_of(text: &str) -> Option<(Uuid, Uuid)> {
    let mut quoted = text.split('\'').skip(1).step_by(2);
    Some((quoted.next()?.parse().ok()?, quoted.next()?.parse().ok()?))
}

/// The newest key in the default partition.
pub async fn newest_in_default(db: impl PgExecutor<'_>, table: &Partitioned) -> Result<Option<Uuid>, Error> {
    let (key, default) = (table.key, table.default_partition());
    let sql = format!("select {key} from identity.{default} order by {key} desc limit 1");
    Ok(sqlx::query_scalar(AssertSqlSafe(sql)).fetch_optional(db).await?)
}

/// Rows of the default partition with this key or a later one, counted up to 1,000.
pub async fn count_in_default(
    db: impl PgExecutor<'_>,
    table: &Partitioned,
    from: Uuid,
) -> Result<i64, Error> {
    let (key, default) = (table.key, table.default_partition());
    let sql =
        format!("select count(*) from (select from identity.{default} where {key} >= $1 limit 1000) rows");
    Ok(sqlx::query_scalar(AssertSqlSafe(sql)).bind(from).fetch_one(db).await?)
}

/// Whether this transaction may change partitions: one at a time, and nobody waits.
pub async fn try_lock(db: &mut PgConnection) -> Result<bool, Error> {
    let sql = "select pg_try_advisory_xact_lock(hashtextextended('identity.partitions', 0))";
    Ok(sqlx::query_scalar(sql).fetch_one(db).await?)
}

/// Waits for its turn, at a start.
pub async fn lock(db: &mut PgConnection) -> Result<(), Error> {
    let sql = "select pg_advisory_xact_lock(hashtextextended('identity.partitions', 0))";
    sqlx::query(sql).execute(db).await?;
    Ok(())
}

// Whoever waits for these locks makes everybody behind wait too: better to give up and to come back.
const PATIENCE: &str = "set local lock_timeout = '250ms'";

/// Makes a partition. Created plain and attached, since `create table ... partition of` locks the parent exclusively; the
/// scan of the default partition that attaching takes finds it empty, or nearly so.
pub async fn make(db: &mut PgConnection, table: &Partitioned, partition: &Partition) -> Result<(), Error> {
    let Partitioned { table, fillfactor, .. } = table;
    let Partition { name, from, to } = partition;
    let sql = format!(
        "{PATIENCE};
         create table identity.{name} (like identity.{table} including all) with (fillfactor = {fillfactor});
         alter table identity.{table} attach partition identity.{name} for values from ('{from}') to ('{to}')"
    );
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(db).await?;
    tracing::info!(partition = name, "partition made");
    Ok(())
}

/// Drops a partition. It locks the parent for a moment: beside a default partition none can be detached concurrently.
pub async fn drop(db: &mut PgConnection, name: &str) -> Result<(), Error> {
    let sql = format!("{PATIENCE}; drop table identity.{name}");
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(db).await?;
    tracing::info!(partition = name, "partition dropped");
    Ok(())
}

/// Deletes at most 5,000 rows of the default partition with keys before one; how many.
pub async fn delete_from_default(
    db: impl PgExecutor<'_>,
    table: &Partitioned,
    before: Uuid,
) -> Result<u64, Error> {
    let (key, default) = (table.key, table.default_partition());
    // By ctid, since some of these keys have a second column.
    let sql = format!(
        "delete from identity.{default}
         where ctid = any(array(select ctid from identity.{default} where {key} < $1 order by {key} limit {BATCH}))"
    );
    Ok(sqlx::query(AssertSqlSafe(sql)).bind(before).execute(db).await?.rows_affected())
}

/// Rows of one statement.
pub const BATCH: u64 = 5_000;
