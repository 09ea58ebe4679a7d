use domain::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgExecutor;

use crate::error::Error;

/// A key as it is kept: its private part sealed.
pub struct StoredKey {
    pub kid: String,
    pub public_jwk: Value,
    pub sealed_private: Vec<u8>,
    pub state: String,
}

/// Every key that still verifies, the active one first.
#[tracing::instrument(name = "db.signing_key.list", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn list(db: impl PgExecutor<'_>) -> Result<Vec<StoredKey>, Error> {
    let rows = sqlx::query_as!(
        StoredKey,
        "select kid, public_jwk, sealed_private, state
         from identity.signing_key
         order by state = 'active' desc, created_at desc"
    );
    Ok(rows.fetch_all(db).await?)
}

/// Writes a new active key unless there is one: of two instances that start at once, one wins.
#[tracing::instrument(name = "db.signing_key.insert_first", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn insert_first(db: impl PgExecutor<'_>, key: &StoredKey, now: DateTime<Utc>) -> Result<(), Error> {
    sqlx::query!(
        "insert into identity.signing_key (kid, alg, public_jwk, sealed_private, state, created_at)
         values ($1, 'ES256', $2, $3, 'active', $4)
         on conflict do nothing",
        key.kid,
        key.public_jwk,
        key.sealed_private,
        now
    )
    .execute(db)
    .await?;
    Ok(())
}
