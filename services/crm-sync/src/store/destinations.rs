use domain::{DateTime, Utc, Uuid};
use sqlx::{PgExecutor, PgPool, PgTransaction};

use crate::{
    Error,
    destination::{Destination, Object, State},
};

struct Row {
    destination_id: Uuid,
    name: String,
    recipient: String,
    state: String,
    settings: serde_json::Value,
    version: i64,
    changed_at: DateTime<Utc>,
    object_id: Uuid,
    object_name: String,
    match_key_field: String,
    agreement_id: Option<Uuid>,
    mapping_version_id: Option<Uuid>,
}

impl Row {
    fn destination(self) -> Result<Destination, Error> {
        Ok(Destination {
            destination_id: self.destination_id,
            name: self.name,
            recipient: self.recipient,
            state: State::find(&self.state).ok_or(Error::Stored { what: "destination state" })?,
            salesforce: serde_json::from_value(self.settings)
                .map_err(|_| Error::Stored { what: "destination settings" })?,
            object: Object {
                object_id: self.object_id,
                name: self.object_name,
                match_key_field: self.match_key_field,
                agreement_id: self.agreement_id,
                mapping_version_id: self.mapping_version_id,
            },
            version: self.version,
            changed_at: self.changed_at,
        })
    }
}

/// A new destination with its object.
///
/// # Errors
/// The name is taken.
#[tracing::instrument(name = "db.destination.insert", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn insert_destination(
    tx: &mut PgTransaction<'_>,
    destination: &Destination,
    credential: &str,
) -> Result<(), Error> {
    let settings = serde_json::to_value(&destination.salesforce)
        .map_err(|_| Error::Stored { what: "destination settings" })?;
    sqlx::query!(
        r#"
        insert into crmsync.destination
            (destination_id, name, kind, recipient, state, settings, version, created_at, changed_at)
        values ($1, $2, 'salesforce', $3, $4, $5, $6, $7, $7)
        "#,
        destination.destination_id,
        destination.name,
        destination.recipient,
        destination.state.name(),
        settings,
        destination.version,
        destination.changed_at,
    )
    .execute(&mut **tx)
    .await
    .map_err(|error| match chassis::constraint(&error) {
        Some("destination_name") => Error::NameTaken,
        _ => error.into(),
    })?;
    sqlx::query!(
        "insert into crmsync.credential (destination_id, setting) values ($1, $2)",
        destination.destination_id,
        credential,
    )
    .execute(&mut **tx)
    .await?;
    let object = &destination.object;
    sqlx::query!(
        r#"
        insert into crmsync.destination_object
            (object_id, destination_id, name, match_key_field, sync_mode, on_cease)
        values ($1, $2, $3, $4, 'upsert', 'suppress')
        "#,
        object.object_id,
        destination.destination_id,
        object.name,
        object.match_key_field,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// One destination.
pub async fn load_destination(
    db: impl PgExecutor<'_>,
    destination_id: Uuid,
) -> Result<Option<Destination>, Error> {
    let row = sqlx::query_as!(
        Row,
        r#"
        select d.destination_id, d.name, d.recipient, d.state, d.settings, d.version, d.changed_at,
               o.object_id, o.name as object_name, o.match_key_field, o.agreement_id, o.mapping_version_id
        from crmsync.destination d
        join crmsync.destination_object o using (destination_id)
        where d.destination_id = $1
        "#,
        destination_id,
    )
    .fetch_optional(db)
    .await?;
    row.map(Row::destination).transpose()
}

/// One destination, locked: whatever changes it or its object waits.
#[tracing::instrument(name = "db.destination.lock", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn lock_destination(
    tx: &mut PgTransaction<'_>,
    destination_id: Uuid,
) -> Result<Option<Destination>, Error> {
    let locked = sqlx::query_scalar!(
        r#"select 1 as "one!" from crmsync.destination where destination_id = $1 for update"#,
        destination_id,
    )
    .fetch_optional(&mut **tx)
    .await?;
    if locked.is_none() {
        return Ok(None);
    }
    load_destination(&mut **tx, destination_id).await
}

/// The destination of an object, locked.
#[tracing::instrument(name = "db.destination_object.lock", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn lock_object(tx: &mut PgTransaction<'_>, object_id: Uuid) -> Result<Option<Destination>, Error> {
    let destination_id = sqlx::query_scalar!(
        "select destination_id from crmsync.destination_object where object_id = $1",
        object_id,
    )
    .fetch_optional(&mut **tx)
    .await?;
    match destination_id {
        Some(destination_id) => lock_destination(tx, destination_id).await,
        None => Ok(None),
    }
}

/// Every destination, by name; there are a few.
#[tracing::instrument(name = "db.destination.list", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn list_destinations(pool: &PgPool) -> Result<Vec<Destination>, Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        select d.destination_id, d.name, d.recipient, d.state, d.settings, d.version, d.changed_at,
               o.object_id, o.name as object_name, o.match_key_field, o.agreement_id, o.mapping_version_id
        from crmsync.destination d
        join crmsync.destination_object o using (destination_id)
        order by d.name
        limit 1000
        "#,
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(Row::destination).collect()
}

/// Destinations to which something may go: active ones, and paused ones for their ceases.
pub async fn list_sending(pool: &PgPool) -> Result<Vec<Uuid>, Error> {
    let ids = sqlx::query_scalar!(
        "select destination_id from crmsync.destination where state in ('active', 'paused') order by destination_id",
    )
    .fetch_all(pool)
    .await?;
    Ok(ids)
}

/// Writes what may change of a locked destination, and raises its version.
#[tracing::instrument(name = "db.destination.save", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn save_destination(
    tx: &mut PgTransaction<'_>,
    destination: &mut Destination,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    destination.version += 1;
    destination.changed_at = now;
    sqlx::query!(
        "update crmsync.destination set state = $2, version = $3, changed_at = $4 where destination_id = $1",
        destination.destination_id,
        destination.state.name(),
        destination.version,
        now,
    )
    .execute(&mut **tx)
    .await?;
    sqlx::query!(
        "update crmsync.destination_object set agreement_id = $2, mapping_version_id = $3 where object_id = $1",
        destination.object.object_id,
        destination.object.agreement_id,
        destination.object.mapping_version_id,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
