use domain::{DateTime, TimeDelta, Utc};
use sqlx::PgExecutor;

use crate::{error::Error, partitions::first_id_of};

/// Deletes counters whose windows ended a day ago.
pub async fn delete_throttles(db: impl PgExecutor<'_>, now: DateTime<Utc>) -> Result<u64, Error> {
    let done = sqlx::query("delete from identity.throttle where until < $1 and first_at < $1")
        .bind(now - TimeDelta::days(2))
        .execute(db)
        .await?;
    Ok(done.rows_affected())
}

/// Deletes at most 5,000 of what devices asked for and is over: a device waits for ten minutes.
pub async fn delete_device_grants(db: impl PgExecutor<'_>, now: DateTime<Utc>) -> Result<u64, Error> {
    let done = sqlx::query(
        "delete from identity.device_grant
         where device_id in (
             select device_id
             from identity.device_grant
             where device_id < $1
             order by device_id
             limit 5000)",
    )
    .bind(first_id_of(now - TimeDelta::hours(1)));
    Ok(done.execute(db).await?.rows_affected())
}

/// Takes the IP hashes out of the audit records of a time; no seal covers them.
pub async fn forget_networks(
    db: impl PgExecutor<'_>,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> Result<(), Error> {
    sqlx::query(
        "update identity.audit_record
         set ip_hmac = null
         where audit_id >= $1 and audit_id < $2 and ip_hmac is not null",
    )
    .bind(first_id_of(from))
    .bind(first_id_of(to))
    .execute(db)
    .await?;
    Ok(())
}
