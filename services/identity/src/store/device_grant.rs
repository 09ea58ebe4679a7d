use domain::{DateTime, Utc, Uuid};
use sqlx::{FromRow, PgExecutor};

use super::stored;
use crate::{
    device_grant::{Approval, DeviceGrant, INTERVAL, SLOWER},
    error::Error,
};

#[derive(FromRow)]
struct Row {
    device_id: Uuid,
    user_code: String,
    client_id: String,
    scopes: Vec<String>,
    resources: Vec<String>,
    state: String,
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
}

impl Row {
    fn into_grant(self) -> Result<DeviceGrant, Error> {
        Ok(DeviceGrant {
            device_id: self.device_id,
            user_code: self.user_code,
            client_id: self.client_id,
            scopes: self.scopes,
            resources: self.resources,
            state: stored("state of a device grant", self.state.parse())?,
            created_at: self.created_at,
            expires_at: self.expires_at,
        })
    }
}

/// Writes a new one; false when another one has its user code.
#[tracing::instrument(name = "db.device_grant.insert", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn insert(db: impl PgExecutor<'_>, grant: &DeviceGrant) -> Result<bool, Error> {
    let done = sqlx::query(
        "insert into identity.device_grant
             (device_id, user_code, client_id, scopes, resources, state, created_at, expires_at, every)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         on conflict (user_code) do nothing",
    )
    .bind(grant.device_id)
    .bind(&grant.user_code)
    .bind(&grant.client_id)
    .bind(&grant.scopes)
    .bind(&grant.resources)
    .bind(grant.state.name())
    .bind(grant.created_at)
    .bind(grant.expires_at)
    .bind(i32::try_from(INTERVAL.num_seconds()).unwrap_or(i32::MAX))
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

#[tracing::instrument(name = "db.device_grant.find_by_user_code", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn find_by_user_code(
    db: impl PgExecutor<'_>,
    user_code: &str,
) -> Result<Option<DeviceGrant>, Error> {
    let row: Option<Row> = sqlx::query_as(
        "select device_id, user_code, client_id, scopes, resources, state, created_at, expires_at
         from identity.device_grant
         where user_code = $1",
    )
    .bind(user_code)
    .fetch_optional(db)
    .await?;
    row.map(Row::into_grant).transpose()
}

#[tracing::instrument(name = "db.device_grant.load", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn load(db: impl PgExecutor<'_>, device_id: Uuid) -> Result<Option<DeviceGrant>, Error> {
    let row: Option<Row> = sqlx::query_as(
        "select device_id, user_code, client_id, scopes, resources, state, created_at, expires_at
         from identity.device_grant
         where device_id = $1",
    )
    .bind(device_id)
    .fetch_optional(db)
    .await?;
    row.map(Row::into_grant).transpose()
}

/// Notes a question of the device, and whether it came too soon: then the device has to wait longer from now on.
#[tracing::instrument(name = "db.device_grant.note_poll", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn note_poll(
    db: impl PgExecutor<'_>,
    device_id: Uuid,
    client_id: &str,
    now: DateTime<Utc>,
) -> Result<Option<(DeviceGrant, bool)>, Error> {
    #[derive(FromRow)]
    struct Polled {
        #[sqlx(flatten)]
        row: Row,
        in_a_hurry: bool,
    }
    // A poll that seems to lie in the future was noted by an instance whose clock is ahead: it says nothing of a hurry.
    let polled: Option<Polled> = sqlx::query_as(
        "with before as (
             select device_id, coalesce(abs(extract(epoch from $3 - polled_at)) < every, false) as in_a_hurry
             from identity.device_grant
             where device_id = $1 and client_id = $2
             for update
         )
         update identity.device_grant d
         set polled_at = $3, every = d.every + case when b.in_a_hurry then $4 else 0 end
         from before b
         where d.device_id = b.device_id
         returning d.device_id, d.user_code, d.client_id, d.scopes, d.resources, d.state, d.created_at, d.expires_at,
                   b.in_a_hurry",
    )
    .bind(device_id)
    .bind(client_id)
    .bind(now)
    .bind(i32::try_from(SLOWER.num_seconds()).unwrap_or(i32::MAX))
    .fetch_optional(db)
    .await?;
    let Some(polled) = polled else { return Ok(None) };
    Ok(Some((polled.row.into_grant()?, polled.in_a_hurry)))
}

/// The user allows it; false when it is over or somebody decided before.
#[tracing::instrument(name = "db.device_grant.allow", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn allow(
    db: impl PgExecutor<'_>,
    device_id: Uuid,
    approval: &Approval,
    now: DateTime<Utc>,
) -> Result<bool, Error> {
    let allowed = sqlx::query_scalar(
        "with allowed as (
             update identity.device_grant
             set state = 'allowed', user_id = $2, session_id = $3, scopes = $4, acr = $5, amr = $6, auth_time = $7
             where device_id = $1 and state = 'pending' and expires_at > $8
             returning session_id, client_id
         ),
         visited as (
             insert into identity.session_client (session_id, client_id)
             select session_id, client_id from allowed
             on conflict do nothing
         )
         select exists (select from allowed)",
    )
    .bind(device_id)
    .bind(approval.user_id.0)
    .bind(approval.session_id.0)
    .bind(&approval.scopes)
    .bind(&approval.acr)
    .bind(&approval.amr)
    .bind(approval.auth_time)
    .bind(now);
    Ok(allowed.fetch_one(db).await?)
}

/// The user does not allow it; false when it is over or somebody decided before.
#[tracing::instrument(name = "db.device_grant.deny", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn deny(db: impl PgExecutor<'_>, device_id: Uuid, now: DateTime<Utc>) -> Result<bool, Error> {
    let done = sqlx::query(
        "update identity.device_grant
         set state = 'denied'
         where device_id = $1 and state = 'pending' and expires_at > $2",
    )
    .bind(device_id)
    .bind(now)
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Turns an allowed grant into a family of the same id, in one statement; false when the session in which it was allowed
/// has ended, its user was disabled, or another request was faster. The session's row is held as at a code's redemption.
#[tracing::instrument(name = "db.device_grant.redeem", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn redeem(
    db: impl PgExecutor<'_>,
    device_id: Uuid,
    offline: bool,
    jkt: Option<&str>,
    offline_until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<bool, Error> {
    let done = sqlx::query(
        "with session as (
             select s.session_id, s.expires_at
             from identity.device_grant d
             join identity.browser_session s using (session_id)
             join identity.user u on u.user_id = s.user_id
             where d.device_id = $1 and s.ended_at is null and u.status = 'active'
             for share of s
         ), redeemed as (
             update identity.device_grant d
             set state = 'redeemed'
             from session
             where d.device_id = $1 and d.state = 'allowed' and d.session_id = session.session_id
             returning d.*, session.expires_at as session_end
         )
         insert into identity.token_family
             (family_id, client_id, user_id, session_id, scopes, resources, acr, amr, auth_time, offline, seq,
              superseded_at, used_at, expires_at, jkt)
         select device_id, client_id, user_id, session_id, scopes, resources, acr, amr, auth_time, $2, 0, '{}', $4,
                case when $2 then $3 else session_end end, $5
         from redeemed",
    )
    .bind(device_id)
    .bind(offline)
    .bind(offline_until)
    .bind(now)
    .bind(jkt)
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}
