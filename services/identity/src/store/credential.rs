use domain::{DateTime, UserId, Utc};
use sqlx::{PgConnection, PgExecutor};

use crate::{credential::Kind, error::Error};

/// A credential as it is shown: nothing secret.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Credential {
    pub kind: String,
    pub credential_id: Option<Vec<u8>>,
    pub name: String,
    pub created_at: Option<DateTime<Utc>>,
    pub used_at: Option<DateTime<Utc>>,
}

/// Everything that a user signs in with; at most 100 passkeys.
#[tracing::instrument(name = "db.credential.list", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn list(db: impl PgExecutor<'_>, user_id: UserId) -> Result<Vec<Credential>, Error> {
    let rows = sqlx::query_as(
        "select 'password' as kind, null::bytea as credential_id, '' as name, set_at as created_at,
                null::timestamptz as used_at
         from identity.password
         where user_id = $1
         union all
         (select 'passkey', credential_id, name, created_at, used_at
          from identity.passkey
          where user_id = $1
          order by created_at
          limit 100)
         union all
         select 'totp', null, '', created_at, null
         from identity.totp
         where user_id = $1
         union all
         select 'recovery_code', null, count(*) filter (where used_at is null) || ' left', null, max(used_at)
         from identity.recovery_code
         where user_id = $1
         having count(*) > 0",
    )
    .bind(user_id.0);
    Ok(rows.fetch_all(db).await?)
}

/// False when the user has none.
#[tracing::instrument(name = "db.credential.delete", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn delete(
    db: &mut PgConnection,
    user_id: UserId,
    kind: Kind,
    credential_id: Option<&[u8]>,
) -> Result<bool, Error> {
    let sql = match kind {
        Kind::Password => "delete from identity.password where user_id = $1 and $2::bytea is null",
        Kind::Passkey => "delete from identity.passkey where user_id = $1 and credential_id = $2",
        // The codes are for whoever lost the app.
        Kind::Totp => {
            "with codes as (delete from identity.recovery_code where user_id = $1)
             delete from identity.totp where user_id = $1 and $2::bytea is null"
        }
        Kind::RecoveryCode => "delete from identity.recovery_code where user_id = $1 and $2::bytea is null",
    };
    let done = sqlx::query(sql).bind(user_id.0).bind(credential_id).execute(db).await?;
    Ok(done.rows_affected() > 0)
}

/// What a user allowed a client.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Consent {
    pub client_id: String,
    pub scopes: Vec<String>,
    pub granted_at: DateTime<Utc>,
}

#[tracing::instrument(name = "db.consent.list_of_user", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn consents(db: impl PgExecutor<'_>, user_id: UserId) -> Result<Vec<Consent>, Error> {
    let rows = sqlx::query_as(
        "select client_id, scopes, granted_at from identity.consent where user_id = $1 order by client_id",
    )
    .bind(user_id.0);
    Ok(rows.fetch_all(db).await?)
}
