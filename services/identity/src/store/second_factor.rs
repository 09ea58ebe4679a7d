use domain::{DateTime, UserId, Utc};
use sqlx::{PgConnection, PgExecutor};

use crate::error::Error;

/// The shared secret of a user's app.
#[derive(sqlx::FromRow)]
pub struct Totp {
    pub sealed_secret: Vec<u8>,
    pub last_step: i64,
    pub created_at: DateTime<Utc>,
}

#[tracing::instrument(name = "db.totp.find", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn find_totp(db: impl PgExecutor<'_>, user_id: UserId) -> Result<Option<Totp>, Error> {
    let row =
        sqlx::query_as("select sealed_secret, last_step, created_at from identity.totp where user_id = $1");
    Ok(row.bind(user_id.0).fetch_optional(db).await?)
}

/// Turns codes on; false when they are.
#[tracing::instrument(name = "db.totp.insert", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn insert_totp(db: impl PgExecutor<'_>, user_id: UserId, totp: &Totp) -> Result<bool, Error> {
    let done = sqlx::query(
        "insert into identity.totp (user_id, sealed_secret, last_step, created_at)
         values ($1, $2, $3, $4)
         on conflict do nothing",
    )
    .bind(user_id.0)
    .bind(&totp.sealed_secret)
    .bind(totp.last_step)
    .bind(totp.created_at)
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Notes that a step's code was taken; false when it or a later one was before.
#[tracing::instrument(name = "db.totp.take_step", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn take_step(db: impl PgExecutor<'_>, user_id: UserId, step: i64) -> Result<bool, Error> {
    let done = sqlx::query("update identity.totp set last_step = $2 where user_id = $1 and last_step < $2")
        .bind(user_id.0)
        .bind(step)
        .execute(db)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Turns codes off, recovery codes too; false when they are.
#[tracing::instrument(name = "db.totp.delete", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn delete_totp(db: &mut PgConnection, user_id: UserId) -> Result<bool, Error> {
    sqlx::query("delete from identity.recovery_code where user_id = $1")
        .bind(user_id.0)
        .execute(&mut *db)
        .await?;
    let done =
        sqlx::query("delete from identity.totp where user_id = $1").bind(user_id.0).execute(db).await?;
    Ok(done.rows_affected() == 1)
}

/// Puts new recovery codes in the place of all that were there.
#[tracing::instrument(name = "db.recovery_code.replace", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn replace_recovery_codes(
    db: &mut PgConnection,
    user_id: UserId,
    hmacs: &[Vec<u8>],
) -> Result<(), Error> {
    sqlx::query("delete from identity.recovery_code where user_id = $1")
        .bind(user_id.0)
        .execute(&mut *db)
        .await?;
    sqlx::query(
        "insert into identity.recovery_code (user_id, n, hmac)
         select $1, n, hmac from unnest($2::bytea[]) with ordinality as new (hmac, n)",
    )
    .bind(user_id.0)
    .bind(hmacs)
    .execute(db)
    .await?;
    Ok(())
}

/// Uses a recovery code up; false when it is none or was used.
#[tracing::instrument(name = "db.recovery_code.use", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn use_recovery_code(
    db: impl PgExecutor<'_>,
    user_id: UserId,
    hmac: &[u8],
    now: DateTime<Utc>,
) -> Result<bool, Error> {
    let done = sqlx::query(
        "update identity.recovery_code set used_at = $3 where user_id = $1 and hmac = $2 and used_at is null",
    )
    .bind(user_id.0)
    .bind(hmac)
    .bind(now)
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// How many recovery codes a user still has.
#[tracing::instrument(name = "db.recovery_code.count", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn count_recovery_codes(db: impl PgExecutor<'_>, user_id: UserId) -> Result<i64, Error> {
    let count = sqlx::query_scalar(
        "select count(*) from identity.recovery_code where user_id = $1 and used_at is null",
    );
    Ok(count.bind(user_id.0).fetch_one(db).await?)
}
