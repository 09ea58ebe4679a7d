use domain::{DateTime, UserId, Utc, Uuid};
use sqlx::{AssertSqlSafe, PgConnection, PgExecutor};

use super::{stored, user::address_key};
use crate::{
    error::Error,
    user::{Status, User},
};

/// Which users are meant; all but erased ones when nothing is said.
#[derive(Debug, Clone, Default)]
pub struct UserChoice {
    pub status: Option<Status>,
    /// Of the address, as it is looked up.
    pub prefix: Option<String>,
    /// The page behind this user.
    pub after: Option<UserId>,
}

/// By id, or by address where a prefix is given.
#[tracing::instrument(name = "db.user.list", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn list(db: impl PgExecutor<'_>, choice: &UserChoice, limit: i64) -> Result<Vec<User>, Error> {
    // Two statements: each has an index for its order.
    let sql = if choice.prefix.is_some() {
        "select u.user_id, u.version, u.status, u.locale, u.origin, u.client_id, u.created_at, e.address, e.verified_at
         from identity.user_email e
         join identity.user u using (user_id)
         where e.address_key >= $3 and e.address_key < $3 || chr(1114111)
           and e.address_key > coalesce((select address_key from identity.user_email where user_id = $2), '')
           and ($1::text is null or u.status = $1)
         order by e.address_key
         limit $4"
    } else {
        "select u.user_id, u.version, u.status, u.locale, u.origin, u.client_id, u.created_at, e.address, e.verified_at
         from identity.user u
         join identity.user_email e using (user_id)
         where u.user_id > coalesce($2, '00000000-0000-0000-0000-000000000000'::uuid)
           and ($1::text is null or u.status = $1) and $3::text is null
         order by u.user_id
         limit $4"
    };
    let rows: Vec<super::user::Row> = sqlx::query_as(sql)
        .bind(choice.status.map(Status::name))
        .bind(choice.after.map(|user_id| user_id.0))
        .bind(&choice.prefix)
        .bind(limit)
        .fetch_all(db)
        .await?;
    rows.into_iter().map(super::user::Row::into_user).collect()
}

/// Where a user stands, an erased one too.
#[tracing::instrument(name = "db.user.status", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn status(db: impl PgExecutor<'_>, user_id: UserId) -> Result<Option<Status>, Error> {
    let name: Option<String> = sqlx::query_scalar("select status from identity.user where user_id = $1")
        .bind(user_id.0)
        .fetch_optional(db)
        .await?;
    name.map(|name| stored("status", name.parse())).transpose()
}

/// Writes a new user with an address and nothing to sign in with; false when the address is taken.
#[tracing::instrument(name = "db.user.insert_bare", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn insert(db: &mut PgConnection, user: &User) -> Result<bool, Error> {
    let Some(key) = address_key(&user.email) else { return Err(Error::Stored { what: "address" }) };
    // Whoever rolls back after a false answer takes the first row away again.
    sqlx::query(
        "insert into identity.user (user_id, version, status, locale, origin, client_id, created_at, seen_on)
         values ($1, $2, $3, $4, $5, $6, $7, ($7::timestamptz at time zone 'utc')::date)",
    )
    .bind(user.user_id.0)
    .bind(user.version)
    .bind(user.status.name())
    .bind(user.locale.tag())
    .bind(&user.origin)
    .bind(&user.client_id)
    .bind(user.created_at)
    .execute(&mut *db)
    .await?;
    let done = sqlx::query(
        "insert into identity.user_email (user_id, address, class, address_key, verified_at)
         values ($1, $2, $3, $4, $5)
         on conflict (address_key) do nothing",
    )
    .bind(user.user_id.0)
    .bind(user.email.as_bytes())
    .bind(user.email.class().name())
    .bind(key)
    .bind(user.verified_at)
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Saves another address; false when it is taken.
#[tracing::instrument(name = "db.user_email.save", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn save_email(db: &mut PgConnection, user: &User) -> Result<bool, Error> {
    let Some(key) = address_key(&user.email) else { return Err(Error::Stored { what: "address" }) };
    let done = sqlx::query(
        "update identity.user_email
         set address = $2, class = $3, address_key = $4, verified_at = $5
         where user_id = $1
           and not exists (select from identity.user_email where address_key = $4 and user_id <> $1)",
    )
    .bind(user.user_id.0)
    .bind(user.email.as_bytes())
    .bind(user.email.class().name())
    .bind(key)
    .bind(user.verified_at)
    .execute(&mut *db)
    .await;
    match done {
        Ok(done) if done.rows_affected() == 0 => return Ok(false),
        Ok(_) => {}
        // Somebody took it in between.
        Err(error) if chassis::constraint(&error) == Some("user_email_address_key") => return Ok(false),
        Err(error) => return Err(error.into()),
    }
    super::user::save_status(db, user).await?;
    Ok(true)
}

/// What is emptied by an erasure, as its receipt names it; the nomination goes by the address, so before it.
pub const EMPTIED: [&str; 8] = [
    "staff_nomination",
    "user_email",
    "password",
    "passkey",
    "totp",
    "recovery_code",
    "consent",
    "staff_grant",
];

/// Leaves the id, and when the rest went.
#[tracing::instrument(name = "db.user.erase", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn erase(db: &mut PgConnection, user: &User, now: DateTime<Utc>) -> Result<(), Error> {
    let user_id: Uuid = user.user_id.into();
    for table in EMPTIED {
        let whose = match table {
            "staff_nomination" => {
                "address_key in (select address_key from identity.user_email where user_id = $1)"
            }
            _ => "user_id = $1",
        };
        let sql = format!("delete from identity.{table} where {whose}");
        sqlx::query(AssertSqlSafe(sql)).bind(user_id).execute(&mut *db).await?;
    }
    sqlx::query(
        "update identity.user
         set status = 'erased', version = $2, erased_at = $3, client_id = '', locale = 'en'
         where user_id = $1",
    )
    .bind(user_id)
    .bind(user.version)
    .bind(now)
    .execute(db)
    .await?;
    Ok(())
}
