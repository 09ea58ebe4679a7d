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

/// Holds a password as it was checked until the transaction ends, or puts a fresh hash of it in its place; false when
/// the user has another one by now.
#[tracing::instrument(name = "db.password.keep", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn keep_password(
    db: &mut PgConnection,
    user_id: UserId,
    checked: &StoredPassword,
    fresh: Option<&StoredPassword>,
) -> Result<bool, Error> {
    let query = match fresh {
        None => sqlx::query("select from identity.password where user_id = $1 and phc = $2 for share")
            .bind(user_id.0)
            .bind(&checked.phc),
        Some(fresh) => sqlx::query(
            "update identity.password set phc = $3, pepper_id = $4 where user_id = $1 and phc = $2",
        )
        .bind(user_id.0)
        .bind(&checked.phc)
        .bind(&fresh.phc)
        .bind(&fresh.pepper_id),
    };
    Ok(query.execute(db).await?.rows_affected() == 1)
}

/// Revokes the families of a user that outlive their sessions, and tells every instance; the others end with these.
#[tracing::instrument(name = "db.token_family.revoke_offline", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn revoke_offline(db: &mut PgConnection, user_id: UserId, now: DateTime<Utc>) -> Result<(), Error> {
    sqlx::query(
        "with revoked as (
             update identity.token_family
             set revoked_at = $2
             where user_id = $1 and offline and revoked_at is null
             returning family_id
         )
         insert into identity.revocation (family_id, at)
         select family_id, $2 from revoked",
    )
    .bind(user_id.0)
    .bind(now)
    .execute(db)
    .await?;
    Ok(())
}
