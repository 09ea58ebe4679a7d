use domain::{DateTime, Utc};
use serde_json::Value;
use sqlx::{PgConnection, PgExecutor};

use super::stored;
use crate::{
    error::Error,
    jws::Algorithm,
    rotation::{Planned, State},
};

/// A key as it is kept: its private part sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKey {
    pub kid: String,
    pub algorithm: Algorithm,
    pub public_jwk: Value,
    pub sealed_private: Vec<u8>,
    pub kek_id: Option<String>,
    pub state: State,
    pub created_at: DateTime<Utc>,
    pub activated_at: Option<DateTime<Utc>>,
    pub retired_at: Option<DateTime<Utc>>,
}

impl StoredKey {
    /// As the planner sees it.
    pub fn planned(&self) -> Planned {
        let since = self.retired_at.or(self.activated_at).unwrap_or(self.created_at);
        Planned { id: self.kid.clone(), state: self.state, since }
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    kid: String,
    alg: String,
    public_jwk: Value,
    sealed_private: Vec<u8>,
    kek_id: Option<String>,
    state: String,
    created_at: DateTime<Utc>,
    activated_at: Option<DateTime<Utc>>,
    retired_at: Option<DateTime<Utc>>,
}

/// Every key that still verifies, the active ones first.
pub async fn list(db: impl PgExecutor<'_>) -> Result<Vec<StoredKey>, Error> {
    let rows: Vec<Row> = sqlx::query_as(
        "select kid, alg, public_jwk, sealed_private, kek_id, state, created_at, activated_at, retired_at
         from identity.signing_key
         order by state = 'active' desc, created_at desc, kid",
    )
    .fetch_all(db)
    .await?;
    let key = |row: Row| {
        Ok(StoredKey {
            algorithm: stored("algorithm", row.alg.parse())?,
            state: stored("key state", row.state.parse())?,
            kid: row.kid,
            public_jwk: row.public_jwk,
            sealed_private: row.sealed_private,
            kek_id: row.kek_id,
            created_at: row.created_at,
            activated_at: row.activated_at,
            retired_at: row.retired_at,
        })
    };
    rows.into_iter().map(key).collect()
}

#[tracing::instrument(name = "db.signing_key.insert", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn insert(db: impl PgExecutor<'_>, key: &StoredKey) -> Result<(), Error> {
    sqlx::query(
        "insert into identity.signing_key
             (kid, alg, public_jwk, sealed_private, kek_id, state, created_at, activated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(&key.kid)
    .bind(key.algorithm.name())
    .bind(&key.public_jwk)
    .bind(&key.sealed_private)
    .bind(&key.kek_id)
    .bind(key.state.name())
    .bind(key.created_at)
    .bind(key.activated_at)
    .execute(db)
    .await?;
    Ok(())
}

/// The staged key becomes active, and the active one of its algorithm retired. False when it is not staged.
#[tracing::instrument(name = "db.signing_key.promote", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn promote(db: &mut PgConnection, kid: &str, now: DateTime<Utc>) -> Result<bool, Error> {
    sqlx::query(
        "update identity.signing_key
         set state = 'retired', retired_at = $2
         where state = 'active'
           and alg = (select alg from identity.signing_key where kid = $1 and state = 'staged')",
    )
    .bind(kid)
    .bind(now)
    .execute(&mut *db)
    .await?;
    let done = sqlx::query(
        "update identity.signing_key
         set state = 'active', activated_at = $2
         where kid = $1 and state = 'staged'",
    )
    .bind(kid)
    .bind(now)
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Takes away a key that signs nothing; false when it is active or not there.
#[tracing::instrument(name = "db.signing_key.delete", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn delete(db: impl PgExecutor<'_>, kid: &str) -> Result<bool, Error> {
    let done = sqlx::query("delete from identity.signing_key where kid = $1 and state <> 'active'");
    Ok(done.bind(kid).execute(db).await?.rows_affected() == 1)
}

/// Puts another seal in the place of one; false when somebody did so first.
#[tracing::instrument(name = "db.signing_key.reseal", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn reseal(
    db: impl PgExecutor<'_>,
    key: &StoredKey,
    sealed: &[u8],
    kek_id: &str,
) -> Result<bool, Error> {
    let done = sqlx::query(
        "update identity.signing_key set sealed_private = $3, kek_id = $4 where kid = $1 and sealed_private = $2",
    )
    .bind(&key.kid)
    .bind(&key.sealed_private)
    .bind(sealed)
    .bind(kek_id)
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Algorithms other than ES256 that some client's ID tokens need, and RS256 as soon as clients may register themselves,
/// since that is their default (OIDC Registration 2): its key has to be published before the first of them comes.
pub async fn asked_by_clients(db: impl PgExecutor<'_>) -> Result<Vec<Algorithm>, Error> {
    let names: Vec<String> = sqlx::query_scalar(
        "select alg
         from unnest(array['RS256', 'PS256']) alg
         where exists (
             select
             from identity.client
             where id_token_signed_response_alg = alg and id_token_signed_response_alg <> 'ES256')
            or alg = 'RS256' and exists (select from identity.registration_policy)",
    )
    .fetch_all(db)
    .await?;
    names.iter().map(|name| stored("algorithm", name.parse())).collect()
}
