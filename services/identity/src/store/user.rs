use domain::{DateTime, EmailAddress, UserId, Utc, Uuid};
use sqlx::{PgConnection, PgExecutor, PgTransaction};

use super::stored;
use crate::{error::Error, user::User};

#[derive(sqlx::FromRow)]
pub(super) struct Row {
    user_id: Uuid,
    version: i64,
    status: String,
    locale: String,
    origin: String,
    client_id: String,
    created_at: DateTime<Utc>,
    address: Vec<u8>,
    verified_at: DateTime<Utc>,
}

impl Row {
    pub(super) fn into_user(self) -> Result<User, Error> {
        Ok(User {
            user_id: self.user_id.into(),
            version: self.version,
            status: stored("status", self.status.parse())?,
            locale: stored("locale", self.locale.parse())?,
            origin: self.origin,
            client_id: self.client_id,
            created_at: self.created_at,
            email: stored("address", EmailAddress::classify(&self.address))?,
            verified_at: self.verified_at,
        })
    }
}

/// How an address is looked up; nothing when no user can have it.
pub fn address_key(address: &EmailAddress) -> Option<String> {
    String::from_utf8(address.key()).ok()
}

#[tracing::instrument(name = "db.user.load", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn load(db: impl PgExecutor<'_>, user_id: UserId) -> Result<Option<User>, Error> {
    let row = sqlx::query_as!(
        Row,
        "select u.user_id, u.version, u.status, u.locale, u.origin, u.client_id, u.created_at, e.address, e.verified_at
         from identity.user u
         join identity.user_email e using (user_id)
         where u.user_id = $1",
        user_id.0
    )
    .fetch_optional(db)
    .await?;
    row.map(Row::into_user).transpose()
}

#[tracing::instrument(name = "db.user.load_for_update", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn load_for_update(db: &mut PgConnection, user_id: UserId) -> Result<Option<User>, Error> {
    let row = sqlx::query_as!(
        Row,
        "select u.user_id, u.version, u.status, u.locale, u.origin, u.client_id, u.created_at, e.address, e.verified_at
         from identity.user u
         join identity.user_email e using (user_id)
         where u.user_id = $1
         for update of u",
        user_id.0
    )
    .fetch_optional(db)
    .await?;
    row.map(Row::into_user).transpose()
}

/// Locks and loads the next users behind one, by id.
#[tracing::instrument(name = "db.user.lock_page", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn lock_page(
    tx: &mut PgTransaction<'_>,
    after: Option<UserId>,
    limit: i64,
) -> Result<Vec<User>, Error> {
    let rows: Vec<Row> = sqlx::query_as(
        "select u.user_id, u.version, u.status, u.locale, u.origin, u.client_id, u.created_at, e.address, e.verified_at
         from identity.user u
         join identity.user_email e using (user_id)
         where u.user_id > coalesce($1, '00000000-0000-0000-0000-000000000000')
         order by u.user_id
         limit $2
         for update of u",
    )
    .bind(after.map(|id| id.0))
    .bind(limit)
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter().map(Row::into_user).collect()
}

#[tracing::instrument(name = "db.user.find_by_address", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn find_by_address(db: impl PgExecutor<'_>, address: &EmailAddress) -> Result<Option<User>, Error> {
    let Some(key) = address_key(address) else { return Ok(None) };
    let row = sqlx::query_as!(
        Row,
        "select u.user_id, u.version, u.status, u.locale, u.origin, u.client_id, u.created_at, e.address, e.verified_at
         from identity.user_email e
         join identity.user u using (user_id)
         where e.address_key = $1",
        key
    )
    .fetch_optional(db)
    .await?;
    row.map(Row::into_user).transpose()
}

/// The stored hash of a user's password.
pub struct StoredPassword {
    pub phc: String,
    pub pepper_id: String,
}

#[tracing::instrument(name = "db.password.load", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn load_password(
    db: impl PgExecutor<'_>,
    user_id: UserId,
) -> Result<Option<StoredPassword>, Error> {
    let row = sqlx::query_as!(
        StoredPassword,
        "select phc, pepper_id from identity.password where user_id = $1",
        user_id.0
    );
    Ok(row.fetch_optional(db).await?)
}

/// Writes a new user with an address; false when the address is taken.
#[tracing::instrument(name = "db.user.insert", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn insert(db: &mut PgConnection, user: &User) -> Result<bool, Error> {
    let Some(key) = address_key(&user.email) else { return Err(Error::Stored { what: "address" }) };
    // A false answer makes the caller roll back: two sign-ups with one address may race past the first question.
    let inserted = sqlx::query!(
        "with taken as (
             select 1 from identity.user_email where address_key = $8
         )
         insert into identity.user (user_id, version, status, locale, origin, client_id, created_at, seen_on)
         select $1, $2, $3, $4, $5, $6, $7, ($7::timestamptz at time zone 'utc')::date
         where not exists (select from taken)",
        user.user_id.0,
        user.version,
        user.status.name(),
        user.locale.tag(),
        user.origin,
        user.client_id,
        user.created_at,
        key
    )
    .execute(&mut *db)
    .await?;
    if inserted.rows_affected() == 0 {
        return Ok(false);
    }
    let address = sqlx::query!(
        "insert into identity.user_email (user_id, address, class, address_key, verified_at)
         values ($1, $2, $3, $4, $5)
         on conflict (address_key) do nothing",
        user.user_id.0,
        user.email.as_bytes(),
        user.email.class().name(),
        key,
        user.verified_at
    )
    .execute(db)
    .await?;
    Ok(address.rows_affected() == 1)
}

#[tracing::instrument(name = "db.user.save_status", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn save_status(db: &mut PgConnection, user: &User) -> Result<(), Error> {
    sqlx::query!(
        "update identity.user set status = $2, version = $3 where user_id = $1",
        user.user_id.0,
        user.status.name(),
        user.version
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Notes that the user was here today; true the first time on a day (UTC).
#[tracing::instrument(name = "db.user.note_seen", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn note_seen(db: &mut PgConnection, user_id: UserId, now: DateTime<Utc>) -> Result<bool, Error> {
    let done = sqlx::query!(
        "update identity.user
         set seen_on = ($2::timestamptz at time zone 'utc')::date
         where user_id = $1 and seen_on < ($2::timestamptz at time zone 'utc')::date",
        user_id.0,
        now
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}
