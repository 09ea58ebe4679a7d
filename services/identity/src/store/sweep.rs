use domain::{DateTime, TimeDelta, Utc, Uuid};
use sqlx::{PgConnection, PgExecutor};

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

/// Takes the IP hashes out of the 5,000 oldest audit records of before a time that still have theirs; no seal covers
/// them. False when there are none, or another instance is at it.
pub async fn forget_networks(db: &mut PgConnection, before: DateTime<Utc>) -> Result<bool, Error> {
    let from: Option<Uuid> =
        sqlx::query_scalar("select forgotten_to from identity.audit_networks for update skip locked")
            .fetch_optional(&mut *db)
            .await?;
    let Some(from) = from else { return Ok(false) };
    let to: Option<Uuid> = sqlx::query_scalar(
        "select audit_id
         from (select audit_id
               from identity.audit_record
               where audit_id > $1 and audit_id < $2
               order by audit_id
               limit 5000) batch
         order by audit_id desc
         limit 1",
    )
    .bind(from)
    .bind(first_id_of(before))
    .fetch_optional(&mut *db)
    .await?;
    let Some(to) = to else { return Ok(false) };
    sqlx::query(
        "update identity.audit_record
         set ip_hmac = null
         where audit_id > $1 and audit_id <= $2 and ip_hmac is not null",
    )
    .bind(from)
    .bind(to)
    .execute(&mut *db)
    .await?;
    sqlx::query("update identity.audit_networks set forgotten_to = $1").bind(to).execute(db).await?;
    Ok(true)
}
