//! All SQL of the portal. Each operation is a span.

use domain::{DateTime, UserId, Utc};
use sqlx::PgPool;

use crate::{Error, web_session::WebSession};

/// Writes a new session.
#[tracing::instrument(name = "db.web_session.insert", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn insert(pool: &PgPool, session: &WebSession) -> Result<(), Error> {
    sqlx::query!(
        r#"
        insert into portal.web_session (session_hash, user_id, sid, tokens, access_until, created_at, expires_at)
        values ($1, $2, $3, $4, $5, $6, $7)
        "#,
        &session.session_hash,
        session.user_id.0,
        session.sid,
        session.tokens,
        session.access_until,
        session.created_at,
        session.expires_at,
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// The session of a cookie.
#[tracing::instrument(name = "db.web_session.find", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn find(pool: &PgPool, session_hash: [u8; 32]) -> Result<Option<WebSession>, Error> {
    let row = sqlx::query!(
        r#"
        select user_id, sid, tokens, access_until, created_at, expires_at
        from portal.web_session
        where session_hash = $1
        "#,
        &session_hash,
    )
    .fetch_optional(pool)
    .await?;
    Ok(row.map(|row| WebSession {
        session_hash,
        user_id: UserId(row.user_id),
        sid: row.sid,
        tokens: row.tokens,
        access_until: row.access_until,
        created_at: row.created_at,
        expires_at: row.expires_at,
    }))
}

/// Writes renewed tokens.
#[tracing::instrument(name = "db.web_session.save_tokens", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn save_tokens(pool: &PgPool, session: &WebSession) -> Result<(), Error> {
    sqlx::query!(
        "update portal.web_session set tokens = $2, access_until = $3 where session_hash = $1",
        &session.session_hash,
        session.tokens,
        session.access_until,
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Ends one session here.
#[tracing::instrument(name = "db.web_session.delete", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn delete(pool: &PgPool, session_hash: [u8; 32]) -> Result<(), Error> {
    sqlx::query!("delete from portal.web_session where session_hash = $1", &session_hash)
        .execute(pool)
        .await?;
    Ok(())
}

/// Ends every session here that belongs to a session at identity.
#[tracing::instrument(name = "db.web_session.delete_by_sid", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn delete_by_sid(pool: &PgPool, sid: &str) -> Result<u64, Error> {
    let done = sqlx::query!("delete from portal.web_session where sid = $1", sid).execute(pool).await?;
    Ok(done.rows_affected())
}

/// Ends every session here of a user that began before a time.
#[tracing::instrument(name = "db.web_session.delete_by_user", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn delete_by_user(pool: &PgPool, user_id: UserId, before: DateTime<Utc>) -> Result<u64, Error> {
    let done = sqlx::query!(
        "delete from portal.web_session where user_id = $1 and created_at <= $2",
        user_id.0,
        before
    )
    .execute(pool)
    .await?;
    Ok(done.rows_affected())
}

/// Forgets sessions that have ended.
#[tracing::instrument(name = "db.web_session.delete_expired", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn delete_expired(pool: &PgPool, now: DateTime<Utc>) -> Result<u64, Error> {
    let done =
        sqlx::query!("delete from portal.web_session where expires_at <= $1", now).execute(pool).await?;
    Ok(done.rows_affected())
}
