use domain::{DateTime, UserId, Utc};
use sqlx::PgConnection;

use super::user::StoredPassword;
use crate::error::Error;

/// When the user's password was set; nothing where there is none.
#[tracing::instrument(name = "db.password.set_at", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn password_set_at(db: &mut PgConnection, user_id: UserId) -> Result<Option<DateTime<Utc>>, Error> {
    let set_at =
        sqlx::query_scalar("select set_at from identity.password where user_id = $1").bind(user_id.0);
    Ok(set_at.fetch_optional(db).await?)
}

/// Sets a password, in place of any other.
#[tracing::instrument(name = "db.password.save", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn save_password(
    db: &mut PgConnection,
    user_id: UserId,
    password: &StoredPassword,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    sqlx::query(
        "insert into identity.password (user_id, phc, pepper_id, set_at)
         values ($1, $2, $3, $4)
         on conflict (user_id) do update
         set phc = excluded.phc, pepper_id = excluded.pepper_id, set_at = excluded.set_at",
    )
    .bind(user_id.0)
    .bind(&password.phc)
    .bind(&password.pepper_id)
    .bind(now)
    .execute(db)
    .await?;
    Ok(())
}

/// Revokes every family of a user, also those that outlive sessions.
#[tracing::instrument(name = "db.token_family.revoke_of_user", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn revoke_families(
    db: &mut PgConnection,
    user_id: UserId,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    sqlx::query("update identity.token_family set revoked_at = $2 where user_id = $1 and revoked_at is null")
        .bind(user_id.0)
        .bind(now)
        .execute(db)
        .await?;
    Ok(())
}
