use domain::{DateTime, Utc, Uuid};
use sqlx::PgExecutor;

use super::{count, uncount};
use crate::{
    error::Error,
    grant::Grant,
    token_family::{REMEMBERED, TokenFamily},
};

struct CodeRow {
    code_id: Uuid,
    client_id: String,
    user_id: Uuid,
    session_id: Uuid,
    redirect_uri: String,
    code_challenge: Option<String>,
    nonce: Option<String>,
    scopes: Vec<String>,
    resources: Vec<String>,
    acr: String,
    amr: Vec<String>,
    auth_time: DateTime<Utc>,
    issued_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    consumed_at: Option<DateTime<Utc>>,
}

/// Writes an issued code and notes its client at the session, in one statement and one commit.
#[tracing::instrument(name = "db.grant.issue", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn issue(db: impl PgExecutor<'_>, grant: &Grant) -> Result<(), Error> {
    sqlx::query!(
        "with visited as (
             insert into identity.session_client (session_id, client_id)
             values ($4, $2)
             on conflict do nothing
         )
         insert into identity.authorization_code
             (code_id, client_id, user_id, session_id, redirect_uri, code_challenge, nonce, scopes, resources, acr, amr,
              auth_time, issued_at, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        grant.code_id,
        grant.client_id,
        grant.user_id.0,
        grant.session_id.0,
        grant.redirect_uri,
        grant.code_challenge,
        grant.nonce,
        &grant.scopes,
        &grant.resources,
        grant.acr,
        &grant.amr,
        grant.auth_time,
        grant.issued_at,
        grant.expires_at
    )
    .execute(db)
    .await?;
    Ok(())
}

#[tracing::instrument(name = "db.grant.load", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn load(db: impl PgExecutor<'_>, code_id: Uuid) -> Result<Option<Grant>, Error> {
    let row = sqlx::query_as!(
        CodeRow,
        "select code_id, client_id, user_id, session_id, redirect_uri, code_challenge, nonce, scopes, resources, acr,
                amr, auth_time, issued_at, expires_at, consumed_at
         from identity.authorization_code
         where code_id = $1",
        code_id
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| Grant {
        code_id: row.code_id,
        client_id: row.client_id,
        user_id: row.user_id.into(),
        session_id: row.session_id.into(),
        redirect_uri: row.redirect_uri,
        code_challenge: row.code_challenge,
        nonce: row.nonce,
        scopes: row.scopes,
        resources: row.resources,
        acr: row.acr,
        amr: row.amr,
        auth_time: row.auth_time,
        issued_at: row.issued_at,
        expires_at: row.expires_at,
        consumed_at: row.consumed_at,
    }))
}

/// Consumes a code and starts its family, in one statement; false when somebody consumed it in between, or its session
/// has ended or its user was disabled since. The session's row is held, so that a sign-out at the same moment comes
/// before, and the code is refused, or after, and finds the family.
#[tracing::instrument(name = "db.grant.redeem", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn redeem(
    db: impl PgExecutor<'_>,
    code_id: Uuid,
    offline: bool,
    expires_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<bool, Error> {
    let done = sqlx::query!(
        "with consumed as (
             update identity.authorization_code
             set consumed_at = $2
             where code_id = $1 and consumed_at is null
               and exists (
                   select
                   from identity.browser_session s
                   join identity.user u using (user_id)
                   where s.session_id = authorization_code.session_id and s.ended_at is null and u.status = 'active'
                   for share of s)
             returning *
         )
         insert into identity.token_family
             (family_id, client_id, user_id, session_id, scopes, resources, acr, amr, auth_time, offline, seq,
              superseded_at, used_at, expires_at)
         select code_id, client_id, user_id, session_id, scopes, resources, acr, amr, auth_time, $3, 0, '{}', $2, $4
         from consumed",
        code_id,
        now,
        offline,
        expires_at
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

struct FamilyRow {
    family_id: Uuid,
    client_id: String,
    user_id: Uuid,
    session_id: Uuid,
    scopes: Vec<String>,
    resources: Vec<String>,
    acr: String,
    amr: Vec<String>,
    auth_time: DateTime<Utc>,
    offline: bool,
    seq: i32,
    superseded_at: Vec<DateTime<Utc>>,
    used_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    revoked_at: Option<DateTime<Utc>>,
}

/// A family of a user who may still sign in; of another one it counts as revoked.
#[tracing::instrument(name = "db.token_family.load", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn load_family(db: impl PgExecutor<'_>, family_id: Uuid) -> Result<Option<TokenFamily>, Error> {
    let row = sqlx::query_as!(
        FamilyRow,
        r#"select f.family_id, f.client_id, f.user_id, f.session_id, f.scopes, f.resources, f.acr, f.amr, f.auth_time,
                f.offline, f.seq, f.superseded_at, f.used_at, f.expires_at,
                case when u.status = 'active' then f.revoked_at else f.used_at end as "revoked_at"
         from identity.token_family f
         join identity.user u using (user_id)
         where f.family_id = $1"#,
        family_id
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| TokenFamily {
        family_id: row.family_id,
        client_id: row.client_id,
        user_id: row.user_id.into(),
        session_id: row.session_id.into(),
        scopes: row.scopes,
        resources: row.resources,
        acr: row.acr,
        amr: row.amr,
        auth_time: row.auth_time,
        offline: row.offline,
        seq: uncount(row.seq),
        superseded_at: row.superseded_at,
        used_at: row.used_at,
        expires_at: row.expires_at,
        revoked: row.revoked_at.is_some(),
    }))
}

/// Supersedes refresh token `seq`; false when another request did so first.
#[tracing::instrument(name = "db.token_family.rotate", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn rotate(
    db: impl PgExecutor<'_>,
    family_id: Uuid,
    seq: u32,
    now: DateTime<Utc>,
) -> Result<bool, Error> {
    let done = sqlx::query!(
        "update identity.token_family
         set seq = seq + 1, superseded_at = (array[$3::timestamptz] || superseded_at)[1:$4], used_at = $3
         where family_id = $1 and seq = $2 and revoked_at is null",
        family_id,
        count(seq),
        now,
        i32::try_from(REMEMBERED).unwrap_or(i32::MAX)
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Revokes a family and tells every instance; false when it was revoked before.
#[tracing::instrument(name = "db.token_family.revoke", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn revoke(db: impl PgExecutor<'_>, family_id: Uuid, now: DateTime<Utc>) -> Result<bool, Error> {
    let done = sqlx::query(
        "with revoked as (
             update identity.token_family
             set revoked_at = $2
             where family_id = $1 and revoked_at is null
             returning family_id
         )
         insert into identity.revocation (family_id, at)
         select family_id, $2 from revoked",
    )
    .bind(family_id)
    .bind(now)
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}
