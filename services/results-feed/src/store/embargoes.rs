use domain::{DateTime, Utc, Uuid};
use sqlx::{PgPool, PgTransaction};

use super::{document_type, facts, status};
use crate::{
    Error,
    document_type::{DocumentType, FeedFlag, ResultStatus},
    entitlement::{Facts, Subject},
};

/// A document's newest version, as far as rights are about it.
#[derive(Debug, Clone)]
pub struct Held {
    /// Which document.
    pub document_id: Uuid,
    /// Its code.
    pub code: String,
    /// Its type.
    pub document_type: DocumentType,
    /// The version's status.
    pub status: Option<ResultStatus>,
    /// Of the entry that brought it.
    pub seq: i64,
    /// The rest.
    pub facts: Facts,
}

impl Held {
    /// What a right is about.
    #[must_use]
    pub fn subject(&self, feed_flag: FeedFlag) -> Subject<'_> {
        let (code, document_type, status) = (self.code.as_str(), self.document_type, self.status);
        Subject { code, document_type, status, feed_flag, facts: &self.facts }
    }
}

/// An embargo on a document's newest version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// Which document.
    pub document_id: Uuid,
    /// Of the version.
    pub seq: i64,
    /// When it ends.
    pub due_at: DateTime<Utc>,
    /// For whom, sorted.
    pub client_ids: Vec<String>,
}

/// Clients whose rules hold something back, with the versions of these rules.
#[tracing::instrument(name = "db.entitlement.embargo_versions", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn embargo_versions(tx: &mut PgTransaction<'_>) -> Result<Vec<(String, i64)>, Error> {
    let rows = sqlx::query!(
        "select client_id, version from results.entitlement where has_embargo order by client_id"
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows.into_iter().map(|row| (row.client_id, row.version)).collect())
}

/// Until when embargoes are over in a locked stream.
#[tracing::instrument(name = "db.stream.released_until", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn released_until(
    tx: &mut PgTransaction<'_>,
    stream_id: &str,
) -> Result<Option<DateTime<Utc>>, Error> {
    let until =
        sqlx::query_scalar!("select released_until from results.stream where stream_id = $1", stream_id)
            .fetch_optional(&mut **tx)
            .await?;
    Ok(until)
}

/// Moves the end of embargoes in a locked stream on.
#[tracing::instrument(name = "db.stream.release_until", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn release_until(
    tx: &mut PgTransaction<'_>,
    stream_id: &str,
    until: DateTime<Utc>,
) -> Result<(), Error> {
    sqlx::query!("update results.stream set released_until = $2 where stream_id = $1", stream_id, until)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Forgets what was held back of these documents, and holds back their newest versions.
#[tracing::instrument(name = "db.embargo.replace", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn replace_embargoes(
    tx: &mut PgTransaction<'_>,
    stream_id: &str,
    document_ids: &[Uuid],
    held: &[Due],
) -> Result<(), Error> {
    sqlx::query!(
        "delete from results.embargo where stream_id = $1 and document_id = any ($2)",
        stream_id,
        document_ids,
    )
    .execute(&mut **tx)
    .await?;
    save_embargoes(tx, stream_id, held).await
}

/// Holds back versions; who is held back until the same time already stays so.
#[tracing::instrument(name = "db.embargo.save", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn save_embargoes(tx: &mut PgTransaction<'_>, stream_id: &str, held: &[Due]) -> Result<(), Error> {
    if held.is_empty() {
        return Ok(());
    }
    let document_id: Vec<Uuid> = held.iter().map(|due| due.document_id).collect();
    let seq: Vec<i64> = held.iter().map(|due| due.seq).collect();
    let due_at: Vec<DateTime<Utc>> = held.iter().map(|due| due.due_at).collect();
    // Client ids hold no blanks.
    let client_ids: Vec<String> = held.iter().map(|due| due.client_ids.join(" ")).collect();
    sqlx::query!(
        r#"
        insert into results.embargo (stream_id, document_id, seq, due_at, client_ids)
        select $1, row.document_id, row.seq, row.due_at, string_to_array(row.client_ids, ' ')
        from unnest($2::uuid[], $3::bigint[], $4::timestamptz[], $5::text[])
            as row (document_id, seq, due_at, client_ids)
        on conflict (stream_id, document_id, due_at) do update
        set client_ids = embargo.client_ids || excluded.client_ids
        "#,
        stream_id,
        &document_id,
        &seq,
        &due_at,
        &client_ids,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Holds nothing back for a client any more.
#[tracing::instrument(name = "db.embargo.remove_client", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn remove_embargoes_of(
    tx: &mut PgTransaction<'_>,
    stream_id: &str,
    client_id: &str,
) -> Result<(), Error> {
    sqlx::query!(
        r#"
        with gone as (
            delete from results.embargo where stream_id = $1 and client_ids = array[$2]
        )
        update results.embargo
        set client_ids = array_remove(client_ids, $2)
        where stream_id = $1 and client_ids @> array[$2] and client_ids <> array[$2]
        "#,
        stream_id,
        client_id,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Whether an embargo has ended.
pub async fn has_due(pool: &PgPool, stream_id: &str, now: DateTime<Utc>) -> Result<bool, Error> {
    let due = sqlx::query_scalar!(
        r#"select exists (select from results.embargo where stream_id = $1 and due_at <= $2) as "due!""#,
        stream_id,
        now,
    )
    .fetch_one(pool)
    .await?;
    Ok(due)
}

/// Takes about `limit` embargoes that ended, oldest first, and all that ended at the same time as the last of them.
#[tracing::instrument(name = "db.embargo.take_due", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn take_due(
    tx: &mut PgTransaction<'_>,
    stream_id: &str,
    now: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<Due>, Error> {
    let mut due = sqlx::query_as!(
        Due,
        r#"
        delete from results.embargo
        where stream_id = $1 and due_at <= coalesce(
            (select due_at from results.embargo where stream_id = $1 and due_at <= $2 order by due_at offset $3 limit 1), $2)
        returning document_id, seq, due_at, client_ids
        "#,
        stream_id,
        now,
        limit,
    )
    .fetch_all(&mut **tx)
    .await?;
    due.sort_by(|one, other| one.due_at.cmp(&other.due_at).then(one.seq.cmp(&other.seq)));
    Ok(due)
}

/// Notes in a locked stream, from `first` on, that these embargoes ended.
#[tracing::instrument(name = "db.log.insert_release", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn insert_release_entries(
    tx: &mut PgTransaction<'_>,
    stream_id: &str,
    first: i64,
    due: &[Due],
    from: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<(), Error> {
    let released: Vec<i64> = due.iter().map(|due| due.seq).collect();
    let client_ids: Vec<String> = due.iter().map(|due| due.client_ids.join(" ")).collect();
    sqlx::query!(
        r#"
        insert into results.log
            (stream_id, seq, kind, document_id, version, result_status, conflatable, logical_date, received_at,
             released_seq, client_ids, released_from, released_until)
        select $1, $2 + row.place - 1, 'release', l.document_id, l.version, l.result_status, false, l.logical_date, $6,
               row.released_seq, string_to_array(row.client_ids, ' '), $5, $6
        from unnest($3::bigint[], $4::text[]) with ordinality as row (released_seq, client_ids, place)
        join results.log l on l.stream_id = $1 and l.seq = row.released_seq
        "#,
        stream_id,
        first,
        &released,
        &client_ids,
        from,
        until,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The newest versions of a locked stream's standing documents.
#[tracing::instrument(name = "db.document.list_standing", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn list_standing(tx: &mut PgTransaction<'_>, stream_id: &str) -> Result<Vec<Held>, Error> {
    let rows = sqlx::query!(
        r#"
        select d.document_id, d.document_code, d.document_type, d.result_status, d.seq, l.nocs, l.status_since, l.received_at
        from results.document d
        join results.log l on l.stream_id = d.stream_id and l.seq = d.seq
        where d.stream_id = $1 and not d.invalidated
        order by d.handle
        "#,
        stream_id,
    )
    .fetch_all(&mut **tx)
    .await?;
    let mut standing = Vec::with_capacity(rows.len());
    for row in rows {
        standing.push(Held {
            document_id: row.document_id,
            code: row.document_code,
            document_type: document_type(&row.document_type)?,
            status: status(row.result_status)?,
            seq: row.seq,
            facts: facts(&row.nocs, row.status_since, row.received_at)?,
        });
    }
    Ok(standing)
}
