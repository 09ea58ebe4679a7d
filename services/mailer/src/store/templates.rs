use domain::{DateTime, Utc, Uuid};
use sqlx::{PgPool, PgTransaction, types::Json};

use crate::{Error, template::Source};

/// A stored version.
#[derive(Debug)]
pub struct Version {
    /// As it was saved.
    pub source: Source,
    /// Whether campaigns may use it.
    pub is_published: bool,
}

/// Writes a new template.
///
/// # Errors
/// Its key is taken.
#[tracing::instrument(name = "db.template.insert", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn insert_template(
    db: &PgPool,
    template_id: Uuid,
    key: &str,
    name: &str,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let done = sqlx::query!(
        r#"
        insert into mailer.template (template_id, template_key, name, created_at)
        values ($1, $2, $3, $4)
        on conflict (template_key) do nothing
        "#,
        template_id,
        key,
        name,
        now,
    )
    .execute(db)
    .await?;
    if done.rows_affected() == 0 { Err(Error::AlreadyExists("template")) } else { Ok(()) }
}

/// Whether a template is there; it stays locked, so that its versions are numbered one after the other.
#[tracing::instrument(name = "db.template.exists", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn template_exists(tx: &mut PgTransaction<'_>, template_id: Uuid) -> Result<bool, Error> {
    let row = sqlx::query_scalar!(
        "select template_id from mailer.template where template_id = $1 for update",
        template_id
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(row.is_some())
}

/// Number and hash of the newest version.
#[tracing::instrument(name = "db.template_version.newest", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn newest_version(
    tx: &mut PgTransaction<'_>,
    template_id: Uuid,
) -> Result<Option<(u32, Vec<u8>)>, Error> {
    let row = sqlx::query!(
        r#"
        select version, sha256
        from mailer.template_version
        where template_id = $1
        order by version desc
        limit 1
        "#,
        template_id,
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(row.map(|row| (row.version.cast_unsigned(), row.sha256)))
}

/// Writes the next version.
#[tracing::instrument(name = "db.template_version.insert", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn insert_version(
    tx: &mut PgTransaction<'_>,
    template_id: Uuid,
    version: u32,
    source: &Source,
    sha256: &[u8],
    now: DateTime<Utc>,
) -> Result<(), Error> {
    sqlx::query!(
        r#"
        insert into mailer.template_version (template_id, version, source, sha256, saved_at)
        values ($1, $2, $3, $4, $5)
        "#,
        template_id,
        version.cast_signed(),
        Json(source) as _,
        sha256,
        now,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// One version.
#[tracing::instrument(name = "db.template_version.load", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn load_version(db: &PgPool, template_id: Uuid, version: u32) -> Result<Option<Version>, Error> {
    let row = sqlx::query!(
        r#"
        select source as "source: Json<Source>", published_at
        from mailer.template_version
        where template_id = $1 and version = $2
        "#,
        template_id,
        version.cast_signed(),
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| Version { source: row.source.0, is_published: row.published_at.is_some() }))
}

/// Lets campaigns use a version; a repeat keeps the first time.
#[tracing::instrument(name = "db.template_version.publish", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn publish_version(
    db: &PgPool,
    template_id: Uuid,
    version: u32,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    sqlx::query!(
        r#"
        update mailer.template_version
        set published_at = $3
        where template_id = $1 and version = $2 and published_at is null
        "#,
        template_id,
        version.cast_signed(),
        now,
    )
    .execute(db)
    .await?;
    Ok(())
}
