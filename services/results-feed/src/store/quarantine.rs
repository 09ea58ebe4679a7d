use domain::{DateTime, Utc, Uuid};
use sqlx::PgPool;

use crate::{Error, document::Sha256};

/// First bytes of a document that a list shows.
const HEAD: i32 = 512;

/// A document that was kept aside, as a list shows it.
#[derive(Debug, Clone)]
pub struct Quarantined {
    /// Its id, later ones above earlier ones.
    pub quarantine_id: Uuid,
    /// Why, in the words that its sender was told.
    pub reason: String,
    /// Key id or OAuth client that sent it.
    pub publisher: String,
    /// When it came.
    pub received_at: DateTime<Utc>,
    /// Bytes of the document.
    pub size: i32,
    /// The first of them.
    pub head: Vec<u8>,
}

/// Keeps a document aside. A sender that repeats it fills one row.
#[tracing::instrument(name = "db.quarantine.insert", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn insert_quarantined(
    db: impl sqlx::PgExecutor<'_>,
    reason: &str,
    publisher: &str,
    raw: &[u8],
    sha256: &Sha256,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    sqlx::query!(
        r#"
        insert into results.quarantine (quarantine_id, reason, publisher, raw, sha256, received_at)
        values ($1, $2, $3, $4, $5, $6)
        on conflict (publisher, sha256, reason) do nothing
        "#,
        domain::new_id(),
        reason,
        publisher,
        raw,
        sha256.as_slice(),
        now,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Those whose reason begins so and that came from this publisher, where these are not empty; newest first, behind an id.
#[tracing::instrument(name = "db.quarantine.list", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn list_quarantined(
    pool: &PgPool,
    reason: &str,
    publisher: &str,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Quarantined>, Error> {
    let rows = sqlx::query_as!(
        Quarantined,
        r#"
        select quarantine_id, reason, publisher, received_at, octet_length(raw) as "size!", substr(raw, 1, $5) as "head!"
        from results.quarantine
        where starts_with(reason, $1) and ($2 = '' or publisher = $2) and ($3::uuid is null or quarantine_id < $3)
        order by quarantine_id desc
        limit $4
        "#,
        reason,
        publisher,
        after,
        limit,
        HEAD,
    )
    .fetch_all(pool)
    .await?;
    Ok(rows)
}

/// Who sent it, and its bytes.
#[tracing::instrument(name = "db.quarantine.find", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn find_quarantined(
    pool: &PgPool,
    quarantine_id: Uuid,
) -> Result<Option<(String, Vec<u8>)>, Error> {
    let row =
        sqlx::query!("select publisher, raw from results.quarantine where quarantine_id = $1", quarantine_id)
            .fetch_optional(pool)
            .await?;
    Ok(row.map(|row| (row.publisher, row.raw)))
}

/// Takes it out of quarantine, if it is there.
#[tracing::instrument(name = "db.quarantine.delete", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn delete_quarantined(pool: &PgPool, quarantine_id: Uuid) -> Result<(), Error> {
    sqlx::query!("delete from results.quarantine where quarantine_id = $1", quarantine_id)
        .execute(pool)
        .await?;
    Ok(())
}
