use domain::{DateTime, Utc, Uuid};
use serde_json::Value;
use sqlx::PgExecutor;

use super::stored;
use crate::{error::Error, pushed_request::PushedRequest};

#[tracing::instrument(name = "db.pushed_request.insert", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn insert(db: impl PgExecutor<'_>, request: &PushedRequest) -> Result<(), Error> {
    let params = stored("pushed request", serde_json::to_value(&request.params))?;
    sqlx::query(
        "insert into identity.pushed_request (request_id, client_id, params, expires_at)
         values ($1, $2, $3, $4)",
    )
    .bind(request.request_id)
    .bind(&request.client_id)
    .bind(params)
    .bind(request.expires_at)
    .execute(db)
    .await?;
    Ok(())
}

/// A request of this client; one of another client is none.
#[tracing::instrument(name = "db.pushed_request.find", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn find(
    db: impl PgExecutor<'_>,
    request_id: Uuid,
    client_id: &str,
) -> Result<Option<PushedRequest>, Error> {
    let row = sqlx::query_as::<_, (Value, DateTime<Utc>, Option<DateTime<Utc>>)>(
        "select params, expires_at, used_at
         from identity.pushed_request
         where request_id = $1 and client_id = $2",
    )
    .bind(request_id)
    .bind(client_id)
    .fetch_optional(db)
    .await?;
    let Some((params, expires_at, used_at)) = row else { return Ok(None) };
    let params = stored("pushed request", serde_json::from_value(params))?;
    Ok(Some(PushedRequest { request_id, client_id: client_id.to_owned(), params, expires_at, used_at }))
}
