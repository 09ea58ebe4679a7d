use std::collections::HashMap;

use domain::{DateTime, Utc};
use sqlx::{PgPool, PgTransaction, types::Json};

use crate::{
    Error,
    entitlement::{Dated, Entitlement, History, Rule, RuleText},
};

fn entitlement(client_id: &str, version: i64, texts: Vec<RuleText>) -> Result<Entitlement, Error> {
    let mut rules = Vec::with_capacity(texts.len());
    for text in texts {
        rules.push(Rule::parse(text).map_err(|_| Error::Corrupt { what: "rules" })?);
    }
    Ok(Entitlement { client_id: client_id.to_owned(), version, rules })
}

/// The rules of a client, if any were set.
#[tracing::instrument(name = "db.entitlement.load", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn load_entitlement(
    db: impl sqlx::PgExecutor<'_>,
    client_id: &str,
) -> Result<Option<Entitlement>, Error> {
    let row = sqlx::query!(
        r#"select version, rules as "rules: Json<Vec<RuleText>>" from results.entitlement where client_id = $1"#,
        client_id
    )
    .fetch_optional(db)
    .await?;
    row.map(|row| entitlement(client_id, row.version, row.rules.0)).transpose()
}

/// The rules of a client, locked; the caller has the streams' turn, so there is no race for a new row.
#[tracing::instrument(name = "db.entitlement.load_for_update", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn load_entitlement_for_update(
    tx: &mut PgTransaction<'_>,
    client_id: &str,
) -> Result<Option<Entitlement>, Error> {
    let row = sqlx::query!(
        r#"
        select version, rules as "rules: Json<Vec<RuleText>>" from results.entitlement where client_id = $1 for update
        "#,
        client_id
    )
    .fetch_optional(&mut **tx)
    .await?;
    row.map(|row| entitlement(client_id, row.version, row.rules.0)).transpose()
}

/// Clients behind `after` in the order of their names, with their rules.
#[tracing::instrument(name = "db.entitlement.list", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn list_entitlements(pool: &PgPool, after: &str, limit: i64) -> Result<Vec<Entitlement>, Error> {
    let rows = sqlx::query!(
        r#"
        select client_id, version, rules as "rules: Json<Vec<RuleText>>"
        from results.entitlement
        where client_id > $1
        order by client_id
        limit $2
        "#,
        after,
        limit,
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(|row| entitlement(&row.client_id, row.version, row.rules.0)).collect()
}

/// Writes the rules of a client, and adds them to its history.
#[tracing::instrument(name = "db.entitlement.save", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn save_entitlement(
    tx: &mut PgTransaction<'_>,
    entitlement: &Entitlement,
    changed_by: &str,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let rules: Vec<&RuleText> = entitlement.rules.iter().map(Rule::text).collect();
    sqlx::query!(
        r#"
        with history as (
            insert into results.entitlement_version (client_id, version, rules, changed_at, changed_by)
            values ($1, $2, $3, $4, $5)
        )
        insert into results.entitlement (client_id, version, rules, changed_at, changed_by, has_embargo)
        values ($1, $2, $3, $4, $5, $6)
        on conflict (client_id) do update
        set version = excluded.version, rules = excluded.rules, changed_at = excluded.changed_at,
            changed_by = excluded.changed_by, has_embargo = excluded.has_embargo
        "#,
        entitlement.client_id,
        entitlement.version,
        Json(rules) as _,
        now,
        changed_by,
        entitlement.has_embargo(),
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Everything that ever held for a client.
#[tracing::instrument(name = "db.entitlement_version.load", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn load_history(pool: &PgPool, client_id: &str) -> Result<History, Error> {
    let rows = sqlx::query!(
        r#"
        select version, rules as "rules: Json<Vec<RuleText>>", changed_at, changed_by
        from results.entitlement_version
        where client_id = $1
        order by version
        "#,
        client_id,
    )
    .fetch_all(pool)
    .await?;
    let mut versions = Vec::with_capacity(rows.len());
    for row in rows {
        versions.push(Dated {
            entitlement: entitlement(client_id, row.version, row.rules.0)?,
            changed_at: row.changed_at,
            changed_by: row.changed_by,
        });
    }
    Ok(History { client_id: client_id.to_owned(), versions })
}

/// Notes where in a locked stream rights changed: a client's rules, or, without one, embargoes that ended.
#[tracing::instrument(name = "db.rights_entry.insert", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn insert_rights_entry(
    tx: &mut PgTransaction<'_>,
    stream_id: &str,
    seq: i64,
    client: Option<(&str, i64)>,
    released_until: DateTime<Utc>,
) -> Result<(), Error> {
    sqlx::query!(
        r#"
        insert into results.rights_entry (stream_id, seq, client_id, version, released_until)
        values ($1, $2, $3, $4, $5)
        "#,
        stream_id,
        seq,
        client.map(|(client_id, _)| client_id),
        client.map(|(_, version)| version),
        released_until,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Which version of their rules held for these clients at a place in a stream, where a later one holds now.
#[tracing::instrument(name = "db.rights_entry.versions_at", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn versions_at(
    pool: &PgPool,
    stream_id: &str,
    seq: i64,
    client_ids: &[String],
) -> Result<HashMap<String, i64>, Error> {
    // A change is in each stream, so the one behind the place says what it replaced.
    let rows = sqlx::query!(
        r#"
        select client_id as "client_id!", min(version) - 1 as "version!"
        from results.rights_entry
        where stream_id = $1 and seq > $2 and client_id = any ($3)
        group by client_id
        "#,
        stream_id,
        seq,
        client_ids,
    )
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(|row| (row.client_id, row.version)).collect())
}

/// Until when embargoes were over at a place in a stream.
#[tracing::instrument(name = "db.rights_entry.released_at", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn released_at(pool: &PgPool, stream_id: &str, seq: i64) -> Result<Option<DateTime<Utc>>, Error> {
    let released = sqlx::query_scalar!(
        r#"
        select released_until from results.rights_entry
        where stream_id = $1 and seq <= $2
        order by seq desc
        limit 1
        "#,
        stream_id,
        seq,
    )
    .fetch_optional(pool)
    .await?;
    Ok(released)
}

/// The place behind `seq` where the rules of one of these clients changed next.
#[tracing::instrument(name = "db.rights_entry.next_change", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn next_change(
    pool: &PgPool,
    stream_id: &str,
    seq: i64,
    client_ids: &[String],
) -> Result<Option<i64>, Error> {
    let next = sqlx::query_scalar!(
        "select min(seq) from results.rights_entry where stream_id = $1 and seq > $2 and client_id = any ($3)",
        stream_id,
        seq,
        client_ids,
    )
    .fetch_one(pool)
    .await?;
    Ok(next)
}
