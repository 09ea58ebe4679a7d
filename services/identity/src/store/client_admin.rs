use domain::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};

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

type Beside = (String, i64, DateTime<Utc>);

// The columns of the client itself are named in one place.
async fn whole(db: &mut PgConnection, rows: Vec<Beside>) -> Result<Vec<ClientRow>, Error> {
    let mut clients = Vec::with_capacity(rows.len());
    for (client_id, version, updated_at) in rows {
        // One that went in between is passed over.
        if let Some(client) = client::find(&mut *db, &client_id).await? {
            clients.push(ClientRow { client, version, updated_at });
        }
    }
    Ok(clients)
}

#[tracing::instrument(name = "db.client.load", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn load(db: &mut PgConnection, client_id: &str) -> Result<Option<ClientRow>, Error> {
    let rows =
        sqlx::query_as("select client_id, version, updated_at from identity.client where client_id = $1")
            .bind(client_id)
            .fetch_all(&mut *db)
            .await?;
    Ok(whole(db, rows).await?.pop())
}

#[tracing::instrument(name = "db.client.load_for_update", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn load_for_update(db: &mut PgConnection, client_id: &str) -> Result<Option<ClientRow>, Error> {
    let rows = sqlx::query_as(
        "select client_id, version, updated_at from identity.client where client_id = $1 for update",
    )
    .bind(client_id)
    .fetch_all(&mut *db)
    .await?;
    Ok(whole(db, rows).await?.pop())
}

/// Clients by id, behind one.
#[tracing::instrument(name = "db.client.list", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn list(db: &PgPool, after: &str, limit: i64) -> Result<Vec<ClientRow>, Error> {
    let mut connection = db.acquire().await?;
    let rows = sqlx::query_as(
        "select client_id, version, updated_at
         from identity.client
         where client_id > $1
         order by client_id
         limit $2",
    )
    .bind(after)
    .bind(limit)
    .fetch_all(&mut *connection)
    .await?;
    whole(&mut connection, rows).await
}

/// Takes a client away, and what users allowed it.
#[tracing::instrument(name = "db.client.delete", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn delete(db: &mut PgConnection, client_id: &str, now: DateTime<Utc>) -> Result<(), Error> {
    // Every instance looks its tokens up from now on.
    sqlx::query("insert into identity.revocation (client_id, at) values ($1, $2)")
        .bind(client_id)
        .bind(now)
        .execute(&mut *db)
        .await?;
    for sql in [
        "delete from identity.consent where client_id = $1",
        "delete from identity.client where client_id = $1",
    ] {
        sqlx::query(sql).bind(client_id).execute(&mut *db).await?;
    }
    Ok(())
}
