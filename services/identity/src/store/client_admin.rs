use domain::{DateTime, Utc};
use sqlx::{AssertSqlSafe, PgConnection, PgExecutor};

use super::client;
use crate::{client::Client, error::Error};

/// A client with what its row says beside.
#[derive(Debug, Clone, PartialEq)]
pub struct ClientRow {
    pub client: Client,
    /// Raised by every change.
    pub version: i64,
    /// Of the last change.
    pub updated_at: DateTime<Utc>,
}

#[derive(sqlx::FromRow)]
struct Row {
    #[sqlx(flatten)]
    client: client::Row,
    version: i64,
    updated_at: DateTime<Utc>,
}

impl Row {
    fn whole(self) -> Result<ClientRow, Error> {
        Ok(ClientRow {
            client: self.client.into_client()?,
            version: self.version,
            updated_at: self.updated_at,
        })
    }
}

#[tracing::instrument(name = "db.client.load", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn load(db: impl PgExecutor<'_>, client_id: &str) -> Result<Option<ClientRow>, Error> {
    one(db, client_id, "").await
}

#[tracing::instrument(name = "db.client.load_for_update", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn load_for_update(db: &mut PgConnection, client_id: &str) -> Result<Option<ClientRow>, Error> {
    one(db, client_id, "for update").await
}

async fn one(
    db: impl PgExecutor<'_>,
    client_id: &str,
    lock: &'static str,
) -> Result<Option<ClientRow>, Error> {
    let columns = client::COLUMNS;
    let sql =
        format!("select {columns}, version, updated_at from identity.client where client_id = $1 {lock}");
    let row: Option<Row> = sqlx::query_as(AssertSqlSafe(sql)).bind(client_id).fetch_optional(db).await?;
    row.map(Row::whole).transpose()
}

/// Clients by id, behind one.
#[tracing::instrument(name = "db.client.list", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn list(db: impl PgExecutor<'_>, after: &str, limit: i64) -> Result<Vec<ClientRow>, Error> {
    let columns = client::COLUMNS;
    let sql = format!(
        "select {columns}, version, updated_at
         from identity.client
         where client_id > $1
         order by client_id
         limit $2"
    );
    let rows: Vec<Row> = sqlx::query_as(AssertSqlSafe(sql)).bind(after).bind(limit).fetch_all(db).await?;
    rows.into_iter().map(Row::whole).collect()
}

/// Takes clients away with what users allowed them, and revokes their tokens (RFC 7592 2.3). How many there were.
#[tracing::instrument(name = "db.client.delete", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn delete(db: &mut PgConnection, client_ids: &[String], now: DateTime<Utc>) -> Result<u64, Error> {
    for sql in [
        // Seldom enough to do without an index that every grant would have to write.
        "update identity.token_family set revoked_at = $2 where client_id = any($1) and revoked_at is null",
        // Every instance looks their tokens up from now on.
        "insert into identity.revocation (client_id, at) select unnest($1::text[]), $2",
    ] {
        sqlx::query(sql).bind(client_ids).bind(now).execute(&mut *db).await?;
    }
    sqlx::query("delete from identity.consent where client_id = any($1)")
        .bind(client_ids)
        .execute(&mut *db)
        .await?;
    let done = sqlx::query("delete from identity.client where client_id = any($1)");
    Ok(done.bind(client_ids).execute(db).await?.rows_affected())
}
