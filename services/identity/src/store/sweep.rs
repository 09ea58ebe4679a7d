use domain::{DateTime, TimeDelta, Utc};
use sqlx::PgExecutor;

use crate::{error::Error, partitions::first_id_of};

/// IP hashes of the audit live 90 days; this is the first and last day on which they are looked for.
const NETWORKS: (TimeDelta, TimeDelta) = (TimeDelta::days(97), TimeDelta::days(90));

/// Deletes counters whose windows ended a day ago.
pub async fn delete_throttles(db: impl PgExecutor<'_>, now: DateTime<Utc>) -> Result<u64, Error> {
    let done = sqlx::query("delete from identity.throttle where until < $1 and first_at < $1")
        .bind(now - TimeDelta::days(2))
        .execute(db)
        .await?;
    Ok(done.rows_affected())
}

/// Takes the IP hashes out of old audit records; no seal covers them.
pub async fn forget_networks(db: impl PgExecutor<'_>, now: DateTime<Utc>) -> Result<(), Error> {
    sqlx::query(
        "update identity.audit_record
         set ip_hmac = null
         where audit_id >= $1 and audit_id < $2 and ip_hmac is not null",
    )
    .bind(first_id_of(now - NETWORKS.0))
    .bind(first_id_of(now - NETWORKS.1))
    .execute(db)
    .await?;
    Ok(())
}
