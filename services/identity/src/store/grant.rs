use domain::{DateTime, Utc, Uuid};
use serde_json::Value;
use sqlx::PgExecutor;

use super::{count, stored, uncount};
use crate::{
    claims::Requested,
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
    claims: Option<Value>,
    acr: String,
    amr: Vec<String>,
    jkt: Option<String>,
    auth_time: DateTime<Utc>,
    issued_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    consumed_at: Option<DateTime<Utc>>,
}

impl CodeRow {
    fn into_grant(self) -> Result<Grant, Error> {
        Ok(Grant {
            code_id: self.code_id,
            client_id: self.client_id,
            user_id: self.user_id.into(),
            session_id: self.session_id.into(),
            redirect_uri: self.redirect_uri,
            code_challenge: self.code_challenge,
            nonce: self.nonce,
            scopes: self.scopes,
            resources: self.resources,
            claims: requested(self.claims)?,
            acr: self.acr,
            amr: self.amr,
            jkt: self.jkt,
            auth_time: self.auth_time,
            issued_at: self.issued_at,
            expires_at: self.expires_at,
            consumed_at: self.consumed_at,
        })
    }
}

fn requested(column: Option<Value>) -> Result<Requested, Error> {
    column.map_or_else(|| Ok(Requested::default()), |claims| stored("claims", serde_json::from_value(claims)))
}

fn claims_column(claims: &Requested) -> Result<Option<Value>, Error> {
    if claims.is_empty() { Ok(None) } else { Ok(Some(stored("claims", serde_json::to_value(claims))?)) }
}

/// Writes an issued code, notes its client at the session and spends the pushed request, in one statement and one
/// commit; false when another code was issued for that request.
#[tracing::instrument(name = "db.grant.issue", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn issue(db: impl PgExecutor<'_>, grant: &Grant, pushed: Option<Uuid>) -> Result<bool, Error> {
    let done = sqlx::query!(
        "with spent as (
             update identity.pushed_request
             set used_at = $13
             where request_id = $16 and used_at is null
             returning request_id
         ),
         allowed as (
             select where $16::uuid is null or exists (select from spent)
         ),
         visited as (
             insert into identity.session_client (session_id, client_id)
             select $4, $2 from allowed
             on conflict do nothing
         )
         insert into identity.authorization_code
             (code_id, client_id, user_id, session_id, redirect_uri, code_challenge, nonce, scopes, resources, acr, amr,
              auth_time, issued_at, expires_at, jkt, claims)
         select $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $17
         from allowed",
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
        grant.expires_at,
        grant.jkt,
        pushed,
        claims_column(&grant.claims)?
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

#[tracing::instrument(name = "db.grant.load", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn load(db: impl PgExecutor<'_>, code_id: Uuid) -> Result<Option<Grant>, Error> {
    let row = sqlx::query_as!(
        CodeRow,
        "select code_id, client_id, user_id, session_id, redirect_uri, code_challenge, nonce, scopes, resources,
                claims, acr, amr, jkt, auth_time, issued_at, expires_at, consumed_at
         from identity.authorization_code
         where code_id = $1",
        code_id
    )
    .fetch_optional(db)
    .await?;
    row.map(CodeRow::into_grant).transpose()
}

/// Consumes a code and starts its family, in one statement: when the family ends, with the session or, offline, then.
/// Nothing when somebody consumed the code in between, or its session has ended or its user was disabled since. The
/// session's row is held, so that a sign-out at the same moment comes
/// before, and the code is refused, or after, and finds the family.
#[tracing::instrument(name = "db.grant.redeem", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn redeem(
    db: impl PgExecutor<'_>,
    code_id: Uuid,
    offline: bool,
    jkt: Option<&str>,
    offline_until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, Error> {
    let expires_at = sqlx::query_scalar(
        "with session as (
             select s.session_id, s.expires_at
             from identity.authorization_code c
             join identity.browser_session s using (session_id)
             join identity.user u on u.user_id = s.user_id
             where c.code_id = $1 and s.ended_at is null and s.expires_at > $2 and u.status = 'active'
             for share of s
         ), consumed as (
             update identity.authorization_code c
             set consumed_at = $2
             from session
             where c.code_id = $1 and c.consumed_at is null and c.session_id = session.session_id
             returning c.*, session.expires_at as session_end
         )
         insert into identity.token_family
             (family_id, client_id, user_id, session_id, scopes, resources, claims, acr, amr, auth_time, offline,
              seq, superseded_at, used_at, expires_at, jkt)
         select code_id, client_id, user_id, session_id, scopes, resources, claims, acr, amr, auth_time, $3, 0, '{}', $2,
                case when $3 then $4 else session_end end, $5
         from consumed
         returning expires_at",
    )
    .bind(code_id)
    .bind(now)
    .bind(offline)
    .bind(offline_until)
    .bind(jkt);
    Ok(expires_at.fetch_optional(db).await?)
}

struct FamilyRow {
    family_id: Uuid,
    client_id: String,
    user_id: Uuid,
    session_id: Uuid,
    scopes: Vec<String>,
    resources: Vec<String>,
    claims: Option<Value>,
    acr: String,
    amr: Vec<String>,
    jkt: Option<String>,
    auth_time: DateTime<Utc>,
    offline: bool,
    seq: i32,
    superseded_at: Vec<DateTime<Utc>>,
    used_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    revoked_at: Option<DateTime<Utc>>,
}

impl FamilyRow {
    fn into_family(self) -> Result<TokenFamily, Error> {
        Ok(TokenFamily {
            family_id: self.family_id,
            client_id: self.client_id,
            user_id: self.user_id.into(),
            session_id: self.session_id.into(),
            scopes: self.scopes,
            resources: self.resources,
            claims: requested(self.claims)?,
            acr: self.acr,
            amr: self.amr,
            jkt: self.jkt,
            auth_time: self.auth_time,
            offline: self.offline,
            seq: uncount(self.seq),
            superseded_at: self.superseded_at,
            used_at: self.used_at,
            expires_at: self.expires_at,
            revoked: self.revoked_at.is_some(),
        })
    }
}

/// A family of a user who may still sign in; of another one it counts as revoked.
#[tracing::instrument(name = "db.token_family.load", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn load_family(db: impl PgExecutor<'_>, family_id: Uuid) -> Result<Option<TokenFamily>, Error> {
    let row = sqlx::query_as!(
        FamilyRow,
        r#"select f.family_id, f.client_id, f.user_id, f.session_id, f.scopes, f.resources, f.claims, f.acr, f.amr,
                f.jkt, f.auth_time, f.offline, f.seq, f.superseded_at, f.used_at, f.expires_at,
                case when u.status = 'active' then f.revoked_at else f.used_at end as "revoked_at"
         from identity.token_family f
         join identity.user u using (user_id)
         where f.family_id = $1"#,
        family_id
    )
    .fetch_optional(db)
    .await?;
    row.map(FamilyRow::into_family).transpose()
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
