use domain::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor};

use super::stored;
use crate::{
    error::Error,
    rotation::{Planned, State},
};

/// What a secret is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// MACs of handles and seals of pages; a new one each month.
    Handle,
    /// Mixed into password hashes.
    Pepper,
    /// Derives what never changes.
    Root,
}

impl Purpose {
    const ALL: [Self; 3] = [Self::Handle, Self::Pepper, Self::Root];

    /// The name in SQL.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Handle => "handle",
            Self::Pepper => "pepper",
            Self::Root => "root",
        }
    }
}

/// A secret as it is kept: sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSecret {
    pub purpose: Purpose,
    pub key_id: String,
    pub sealed: Vec<u8>,
    pub kek_id: String,
    pub state: State,
    pub created_at: DateTime<Utc>,
    pub activated_at: Option<DateTime<Utc>>,
    pub retired_at: Option<DateTime<Utc>>,
}

impl StoredSecret {
    /// As the planner sees it.
    pub fn planned(&self) -> Planned {
        let since = self.retired_at.or(self.activated_at).unwrap_or(self.created_at);
        Planned { id: self.key_id.clone(), state: self.state, since }
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    purpose: String,
    key_id: String,
    sealed: Vec<u8>,
    kek_id: String,
    state: String,
    created_at: DateTime<Utc>,
    activated_at: Option<DateTime<Utc>>,
    retired_at: Option<DateTime<Utc>>,
}

/// Every secret, the active ones first.
pub async fn list(db: impl PgExecutor<'_>) -> Result<Vec<StoredSecret>, Error> {
    let rows: Vec<Row> = sqlx::query_as(
        "select purpose, key_id, sealed, kek_id, state, created_at, activated_at, retired_at
         from identity.secret_key
         order by state = 'active' desc, created_at desc, key_id",
    )
    .fetch_all(db)
    .await?;
    let secret = |row: Row| {
        let purpose = Purpose::ALL.into_iter().find(|purpose| purpose.name() == row.purpose);
        Ok(StoredSecret {
            purpose: purpose.ok_or(Error::Stored { what: "key purpose" })?,
            state: stored("key state", row.state.parse())?,
            key_id: row.key_id,
            sealed: row.sealed,
            kek_id: row.kek_id,
            created_at: row.created_at,
            activated_at: row.activated_at,
            retired_at: row.retired_at,
        })
    };
    rows.into_iter().map(secret).collect()
}

#[tracing::instrument(name = "db.secret_key.insert", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn insert(db: impl PgExecutor<'_>, secret: &StoredSecret) -> Result<(), Error> {
    sqlx::query(
        "insert into identity.secret_key
             (purpose, key_id, sealed, kek_id, state, created_at, activated_at, retired_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(secret.purpose.name())
    .bind(&secret.key_id)
    .bind(&secret.sealed)
    .bind(&secret.kek_id)
    .bind(secret.state.name())
    .bind(secret.created_at)
    .bind(secret.activated_at)
    .bind(secret.retired_at)
    .execute(db)
    .await?;
    Ok(())
}

/// The staged handle key becomes active, and the active one retired.
#[tracing::instrument(name = "db.secret_key.promote", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn promote(db: &mut PgConnection, key_id: &str, now: DateTime<Utc>) -> Result<(), Error> {
    sqlx::query(
        "update identity.secret_key
         set state = 'retired', retired_at = $1
         where purpose = 'handle' and state = 'active'",
    )
    .bind(now)
    .execute(&mut *db)
    .await?;
    sqlx::query(
        "update identity.secret_key
         set state = 'active', activated_at = $2
         where purpose = 'handle' and key_id = $1 and state = 'staged'",
    )
    .bind(key_id)
    .bind(now)
    .execute(db)
    .await?;
    Ok(())
}

/// Takes away a retired handle key.
#[tracing::instrument(name = "db.secret_key.delete", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn delete(db: impl PgExecutor<'_>, key_id: &str) -> Result<(), Error> {
    sqlx::query(
        "delete from identity.secret_key where purpose = 'handle' and key_id = $1 and state = 'retired'",
    )
    .bind(key_id)
    .execute(db)
    .await?;
    Ok(())
}

/// Puts another seal in the place of one; false when somebody did so first.
#[tracing::instrument(name = "db.secret_key.reseal", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn reseal(
    db: impl PgExecutor<'_>,
    secret: &StoredSecret,
    sealed: &[u8],
    kek_id: &str,
) -> Result<bool, Error> {
    let done = sqlx::query(
        "update identity.secret_key
         set sealed = $4, kek_id = $5
         where purpose = $1 and key_id = $2 and sealed = $3",
    )
    .bind(secret.purpose.name())
    .bind(&secret.key_id)
    .bind(&secret.sealed)
    .bind(sealed)
    .bind(kek_id)
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Until the end of the transaction nobody else changes keys.
#[tracing::instrument(name = "db.keys.lock", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn lock_keys(db: &mut PgConnection) -> Result<(), Error> {
    sqlx::query("select pg_advisory_xact_lock(hashtextextended('identity.keys', 0))").execute(db).await?;
    Ok(())
}
