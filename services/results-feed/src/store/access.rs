use domain::{DateTime, Utc};
use sqlx::PgPool;

use crate::{Error, publisher_key::PublisherKey};

/// A publisher key and what is kept of its secret.
#[derive(Debug, Clone)]
pub struct StoredKey {
    /// What it may send.
    pub key: PublisherKey,
    /// HMAC-SHA-256 of the whole key.
    pub sealed: Vec<u8>,
}

struct KeyRow {
    key_id: String,
    name: String,
    feed_flag: String,
    prefixes: Vec<String>,
    sealed: Vec<u8>,
    created_at: DateTime<Utc>,
    revoked_at: Option<DateTime<Utc>>,
}

impl TryFrom<KeyRow> for StoredKey {
    type Error = Error;

    fn try_from(row: KeyRow) -> Result<Self, Error> {
        let mut prefixes = Vec::with_capacity(row.prefixes.len());
        for prefix in &row.prefixes {
            prefixes.push(prefix.parse().map_err(|_| Error::Corrupt { what: "prefixes" })?);
        }
        let key = PublisherKey {
            key_id: row.key_id,
            name: row.name,
            feed_flag: row.feed_flag.parse().map_err(|_| Error::Corrupt { what: "feed_flag" })?,
            prefixes,
            created_at: row.created_at,
            revoked_at: row.revoked_at,
        };
        Ok(Self { key, sealed: row.sealed })
    }
}

/// The key of this id, revoked or not.
#[tracing::instrument(name = "db.publisher_key.find", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn find_key(pool: &PgPool, key_id: &str) -> Result<Option<StoredKey>, Error> {
    let row = sqlx::query_as!(
        KeyRow,
        r#"
        select key_id, name, feed_flag, prefixes, sealed, created_at, revoked_at
        from results.publisher_key
        where key_id = $1
        "#,
        key_id,
    )
    .fetch_optional(pool)
    .await?;
    row.map(StoredKey::try_from).transpose()
}

/// Every key, newest first; at most 1,000.
#[tracing::instrument(name = "db.publisher_key.list", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn list_keys(pool: &PgPool) -> Result<Vec<StoredKey>, Error> {
    let rows = sqlx::query_as!(
        KeyRow,
        r#"
        select key_id, name, feed_flag, prefixes, sealed, created_at, revoked_at
        from results.publisher_key
        order by created_at desc, key_id
        limit 1000
        "#,
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(StoredKey::try_from).collect()
}

/// Writes a new key.
#[tracing::instrument(name = "db.publisher_key.insert", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn insert_key(pool: &PgPool, stored: &StoredKey) -> Result<(), Error> {
    let prefixes: Vec<String> = stored.key.prefixes.iter().map(|prefix| prefix.as_str().to_owned()).collect();
    sqlx::query!(
        r#"
        insert into results.publisher_key (key_id, name, feed_flag, prefixes, sealed, created_at)
        values ($1, $2, $3, $4, $5, $6)
        "#,
        stored.key.key_id,
        stored.key.name,
        stored.key.feed_flag.name(),
        &prefixes,
        stored.sealed,
        stored.key.created_at,
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Revokes a key; one that is revoked keeps its time.
#[tracing::instrument(name = "db.publisher_key.revoke", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn revoke_key(pool: &PgPool, key_id: &str, now: DateTime<Utc>) -> Result<Option<StoredKey>, Error> {
    let row = sqlx::query_as!(
        KeyRow,
        r#"
        update results.publisher_key
        set revoked_at = coalesce(revoked_at, $2)
        where key_id = $1
        returning key_id, name, feed_flag, prefixes, sealed, created_at, revoked_at
        "#,
        key_id,
        now,
    )
    .fetch_optional(pool)
    .await?;
    row.map(StoredKey::try_from).transpose()
}
