use domain::{DateTime, UserId, Utc, Uuid};
use sqlx::{PgConnection, PgExecutor};

use crate::{error::Error, passkey::Passkey};

#[derive(sqlx::FromRow)]
struct Row {
    credential_id: Vec<u8>,
    user_id: Uuid,
    public_key: Vec<u8>,
    sign_count: i64,
    backup_eligible: bool,
    backed_up: bool,
    name: String,
    created_at: DateTime<Utc>,
    used_at: Option<DateTime<Utc>>,
}

impl Row {
    fn into_passkey(self) -> Result<Passkey, Error> {
        Ok(Passkey {
            credential_id: self.credential_id,
            user_id: self.user_id.into(),
            public_key: self.public_key,
            sign_count: super::stored("sign_count", self.sign_count.try_into())?,
            backup_eligible: self.backup_eligible,
            backed_up: self.backed_up,
            name: self.name,
            created_at: self.created_at,
            used_at: self.used_at,
        })
    }
}

/// A passkey, locked: uses at the same time are counted one after the other.
#[tracing::instrument(name = "db.passkey.load_for_update", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn load_for_update(db: &mut PgConnection, credential_id: &[u8]) -> Result<Option<Passkey>, Error> {
    let row: Option<Row> = sqlx::query_as(
        "select credential_id, user_id, public_key, sign_count, backup_eligible, backed_up, name, created_at, used_at
         from identity.passkey
         where credential_id = $1
         for update",
    )
    .bind(credential_id)
    .fetch_optional(db)
    .await?;
    row.map(Row::into_passkey).transpose()
}

/// Passkeys of a user, oldest first.
#[tracing::instrument(name = "db.passkey.list", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn list(db: impl PgExecutor<'_>, user_id: UserId) -> Result<Vec<Passkey>, Error> {
    let rows: Vec<Row> = sqlx::query_as(
        "select credential_id, user_id, public_key, sign_count, backup_eligible, backed_up, name, created_at, used_at
         from identity.passkey
         where user_id = $1
         order by created_at, credential_id
         limit 100",
    )
    .bind(user_id.0)
    .fetch_all(db)
    .await?;
    rows.into_iter().map(Row::into_passkey).collect()
}

/// Writes a new passkey; false when its id is taken, be it by another user.
#[tracing::instrument(name = "db.passkey.insert", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn insert(db: impl PgExecutor<'_>, passkey: &Passkey) -> Result<bool, Error> {
    let done = sqlx::query(
        "insert into identity.passkey
             (credential_id, user_id, public_key, sign_count, backup_eligible, backed_up, name, created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8)
         on conflict do nothing",
    )
    .bind(&passkey.credential_id)
    .bind(passkey.user_id.0)
    .bind(&passkey.public_key)
    .bind(i64::from(passkey.sign_count))
    .bind(passkey.backup_eligible)
    .bind(passkey.backed_up)
    .bind(&passkey.name)
    .bind(passkey.created_at)
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Saves what a use changed.
#[tracing::instrument(name = "db.passkey.save_use", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn save_use(db: impl PgExecutor<'_>, passkey: &Passkey) -> Result<(), Error> {
    sqlx::query(
        "update identity.passkey set sign_count = $2, backed_up = $3, used_at = $4 where credential_id = $1",
    )
    .bind(&passkey.credential_id)
    .bind(i64::from(passkey.sign_count))
    .bind(passkey.backed_up)
    .bind(passkey.used_at)
    .execute(db)
    .await?;
    Ok(())
}

/// Gives a user's passkey another name; false when the user has no such passkey.
#[tracing::instrument(name = "db.passkey.rename", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn rename(
    db: impl PgExecutor<'_>,
    user_id: UserId,
    credential_id: &[u8],
    name: &str,
) -> Result<bool, Error> {
    let done = sqlx::query("update identity.passkey set name = $3 where credential_id = $1 and user_id = $2")
        .bind(credential_id)
        .bind(user_id.0)
        .bind(name)
        .execute(db)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Removes a user's passkey; false when the user has no such passkey.
#[tracing::instrument(name = "db.passkey.delete", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn delete(db: impl PgExecutor<'_>, user_id: UserId, credential_id: &[u8]) -> Result<bool, Error> {
    let done = sqlx::query("delete from identity.passkey where credential_id = $1 and user_id = $2")
        .bind(credential_id)
        .bind(user_id.0)
        .execute(db)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Notes that a challenge was answered; false when it was before.
#[tracing::instrument(name = "db.spent_ceremony.insert", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn spend(db: impl PgExecutor<'_>, ceremony_id: Uuid) -> Result<bool, Error> {
    let done =
        sqlx::query("insert into identity.spent_ceremony (ceremony_id) values ($1) on conflict do nothing")
            .bind(ceremony_id)
            .execute(db)
            .await?;
    Ok(done.rows_affected() == 1)
}
