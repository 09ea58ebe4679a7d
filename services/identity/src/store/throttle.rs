use domain::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor};

use super::{count, uncount};
use crate::{
    error::Error,
    throttle::{Counted, Throttle},
};

#[tracing::instrument(name = "db.throttle.load", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn load(
    db: impl PgExecutor<'_>,
    counted: Counted,
    key_hash: &[u8],
) -> Result<Option<Throttle>, Error> {
    let row = sqlx::query!(
        "select failures, first_at, until from identity.throttle where kind = $1 and key_hash = $2",
        counted.name(),
        key_hash
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| Throttle { failures: uncount(row.failures), first_at: row.first_at, until: row.until }))
}

/// Makes sure of the row and locks it, so that simultaneous failures are all counted.
#[tracing::instrument(name = "db.throttle.lock", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn lock(
    db: &mut PgConnection,
    counted: Counted,
    key_hash: &[u8],
    now: DateTime<Utc>,
) -> Result<Throttle, Error> {
    let row = sqlx::query!(
        "insert into identity.throttle (kind, key_hash, failures, first_at, until)
         values ($1, $2, 0, $3, $3)
         on conflict (kind, key_hash) do update set kind = excluded.kind
         returning failures, first_at, until",
        counted.name(),
        key_hash,
        now
    )
    .fetch_one(db)
    .await?;
    Ok(Throttle { failures: uncount(row.failures), first_at: row.first_at, until: row.until })
}

#[tracing::instrument(name = "db.throttle.save", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn save(
    db: &mut PgConnection,
    counted: Counted,
    key_hash: &[u8],
    throttle: &Throttle,
) -> Result<(), Error> {
    sqlx::query!(
        "update identity.throttle
         set failures = $3, first_at = $4, until = $5
         where kind = $1 and key_hash = $2",
        counted.name(),
        key_hash,
        count(throttle.failures),
        throttle.first_at,
        throttle.until
    )
    .execute(db)
    .await?;
    Ok(())
}

#[tracing::instrument(name = "db.throttle.delete", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn delete(db: impl PgExecutor<'_>, counted: Counted, key_hash: &[u8]) -> Result<(), Error> {
    sqlx::query!("delete from identity.throttle where kind = $1 and key_hash = $2", counted.name(), key_hash)
        .execute(db)
        .await?;
    Ok(())
}
