use domain::{DateTime, Utc, Uuid};
use sqlx::{PgExecutor, PgTransaction};

use crate::{
    Error,
    mapping::{FieldMapping, Mapping},
};

/// A version of an object's mapping.
#[derive(Debug, Clone)]
pub struct Version {
    /// Its id.
    pub mapping_version_id: Uuid,
    /// Of which object.
    pub object_id: Uuid,
    /// Of which destination.
    pub destination_id: Uuid,
    /// Counted per object.
    pub number: i32,
    /// Whether it was published; then it never changes.
    pub published: bool,
    /// Its fields.
    pub mapping: Mapping,
}

/// A new draft; its number is the next one. The destination is locked by the caller.
#[tracing::instrument(name = "db.mapping_version.insert", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn insert_version(
    tx: &mut PgTransaction<'_>,
    mapping_version_id: Uuid,
    object_id: Uuid,
    mapping: &Mapping,
    by: &str,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let fields = serde_json::to_value(mapping.fields()).map_err(|_| Error::Stored { what: "mapping" })?;
    sqlx::query!(
        r#"
        insert into crmsync.mapping_version
            (mapping_version_id, object_id, number, state, fields, sha256, created_by, created_at)
        select $1, $2, coalesce(max(number), 0) + 1, 'draft', $3, $4, $5, $6
        from crmsync.mapping_version
        where object_id = $2
        "#,
        mapping_version_id,
        object_id,
        fields,
        mapping.sha256(),
        by,
        now,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// One version.
pub async fn load_version(
    db: impl PgExecutor<'_>,
    mapping_version_id: Uuid,
) -> Result<Option<Version>, Error> {
    let row = sqlx::query!(
        r#"
        select v.object_id, o.destination_id, v.number, v.state, v.fields
        from crmsync.mapping_version v
        join crmsync.destination_object o using (object_id)
        where v.mapping_version_id = $1
        "#,
        mapping_version_id,
    )
    .fetch_optional(db)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let stored = Error::Stored { what: "mapping" };
    let fields: Vec<FieldMapping> =
        serde_json::from_value(row.fields).map_err(|_| Error::Stored { what: "mapping" })?;
    Ok(Some(Version {
        mapping_version_id,
        object_id: row.object_id,
        destination_id: row.destination_id,
        number: row.number,
        published: row.state == "published",
        mapping: Mapping::new(fields).map_err(|_| stored)?,
    }))
}

/// Publishes a draft; a published one stays as it is.
#[tracing::instrument(name = "db.mapping_version.publish", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn publish_version(
    tx: &mut PgTransaction<'_>,
    mapping_version_id: Uuid,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    sqlx::query!(
        r#"
        update crmsync.mapping_version
        set state = 'published', published_at = $2
        where mapping_version_id = $1 and state = 'draft'
        "#,
        mapping_version_id,
        now,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
