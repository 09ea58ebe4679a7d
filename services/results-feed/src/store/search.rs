use domain::{DateTime, NaiveDate, Utc, Uuid};
use sqlx::{PgPool, PgTransaction};

use super::{document_type, status};
use crate::{
    Error,
    delivery::Candidate,
    header::DocumentKey,
    rsc::Prefix,
    search::{Search, Version},
};

/// What an entry of the log means to a delivery.
#[derive(Debug)]
pub enum What {
    /// A version of a document.
    Document {
        /// It.
        candidate: Candidate,
        /// Whether a newer version is there.
        has_newer: bool,
    },
    /// The rights of this client changed.
    Entitlement(String),
    /// Nothing to deliver.
    Other,
}

/// An entry of the log, without its bytes.
#[derive(Debug)]
pub struct Deliverable {
    /// Its place.
    pub seq: i64,
    /// What it says.
    pub what: What,
}

struct DeliverableRow {
    seq: i64,
    kind: String,
    client_id: Option<String>,
    document_id: Option<Uuid>,
    document_code: Option<String>,
    document_type: Option<String>,
    result_status: Option<String>,
    base_status: Option<String>,
    conflatable: bool,
    received_at: DateTime<Utc>,
    newest: Option<i64>,
}

impl TryFrom<DeliverableRow> for Deliverable {
    type Error = Error;

    fn try_from(row: DeliverableRow) -> Result<Self, Error> {
        let seq = row.seq;
        let what = match (row.kind.as_str(), row.client_id, row.document_id) {
            ("entitlement", Some(client_id), _) => What::Entitlement(client_id),
            ("document" | "invalidation", _, Some(document_id)) => {
                let is_invalidation = row.kind == "invalidation";
                let candidate = Candidate {
                    seq,
                    document_id,
                    code: row.document_code.unwrap_or_default(),
                    document_type: document_type(&row.document_type.unwrap_or_default())?,
                    status: status(if is_invalidation { row.base_status } else { row.result_status })?,
                    conflatable: row.conflatable && !is_invalidation,
                    received_at: row.received_at,
                };
                What::Document { candidate, has_newer: row.newest.is_some_and(|newest| newest > seq) }
            }
            _ => What::Other,
        };
        Ok(Self { seq, what })
    }
}

/// The entries behind `seq` up to `last`, at most `limit`, in order.
#[tracing::instrument(name = "db.log.list_deliverable", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn list_deliverable(
    pool: &PgPool,
    stream_id: &str,
    seq: i64,
    last: i64,
    limit: i64,
) -> Result<Vec<Deliverable>, Error> {
    let rows = sqlx::query_as!(
        DeliverableRow,
        r#"
        select l.seq, l.kind, l.client_id, l.document_id, d.document_code as "document_code?",
               d.document_type as "document_type?", l.result_status, l.base_status, l.conflatable, l.received_at,
               d.seq as "newest?"
        from results.log l
        left join results.document d on d.document_id = l.document_id
        where l.stream_id = $1 and l.seq > $2 and l.seq <= $3
        order by l.seq
        limit $4
        "#,
        stream_id,
        seq,
        last,
        limit,
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(Deliverable::try_from).collect()
}

/// What waits to be sent to a target once more, oldest first.
#[tracing::instrument(name = "db.delivery_resend.list", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn list_resends(
    pool: &PgPool,
    target_id: Uuid,
    stream_id: &str,
    limit: i64,
) -> Result<Vec<Candidate>, Error> {
    let rows = sqlx::query_as!(
        DeliverableRow,
        r#"
        select l.seq, l.kind, l.client_id, l.document_id, d.document_code as "document_code?",
               d.document_type as "document_type?", l.result_status, l.base_status, l.conflatable, l.received_at,
               d.seq as "newest?"
        from results.delivery_resend r
        join results.log l on l.stream_id = $2 and l.seq = r.seq
        join results.document d on d.document_id = l.document_id
        where r.target_id = $1
        order by r.seq
        limit $3
        "#,
        target_id,
        stream_id,
        limit,
    )
    .fetch_all(pool)
    .await?;
    let mut candidates = Vec::with_capacity(rows.len());
    for row in rows {
        if let What::Document { candidate, .. } = Deliverable::try_from(row)?.what {
            candidates.push(candidate);
        }
    }
    Ok(candidates)
}

/// Notes versions that are to be sent once more; gives how many wait in all.
#[tracing::instrument(name = "db.delivery_resend.insert", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn insert_resends(tx: &mut PgTransaction<'_>, target_id: Uuid, seqs: &[i64]) -> Result<i64, Error> {
    sqlx::query!(
        r#"
        insert into results.delivery_resend (target_id, seq)
        select $1, seq from unnest($2::bigint[]) as wanted (seq)
        on conflict do nothing
        "#,
        target_id,
        seqs,
    )
    .execute(&mut **tx)
    .await?;
    let waiting = sqlx::query_scalar!(
        r#"select count(*) as "waiting!" from results.delivery_resend where target_id = $1"#,
        target_id
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(waiting)
}

/// Forgets those that were taken.
#[tracing::instrument(name = "db.delivery_resend.delete", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn delete_resends(pool: &PgPool, target_id: Uuid, seqs: &[i64]) -> Result<(), Error> {
    sqlx::query!(
        "delete from results.delivery_resend where target_id = $1 and seq = any ($2)",
        target_id,
        seqs
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// The bytes of an entry, and the trace that brought it.
#[derive(Debug)]
pub struct RawDocument {
    /// As its sender sent them.
    pub raw: Vec<u8>,
    /// Of the request that brought it.
    pub traceparent: Option<String>,
}

/// The bytes of an entry, while the log holds it.
#[tracing::instrument(name = "db.log.load_raw", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn load_raw(pool: &PgPool, stream_id: &str, seq: i64) -> Result<Option<RawDocument>, Error> {
    let found = sqlx::query_as!(
        RawDocument,
        r#"
        select raw as "raw!", traceparent
        from results.log
        where stream_id = $1 and seq = $2 and raw is not null
        "#,
        stream_id,
        seq,
    )
    .fetch_optional(pool)
    .await?;
    Ok(found)
}

struct VersionRow {
    handle: i64,
    competition_code: String,
    document_code: String,
    document_subcode: String,
    document_type: String,
    document_subtype: String,
    language: String,
    kind: String,
    version: i32,
    result_status: Option<String>,
    base_status: Option<String>,
    seq: i64,
    logical_date: Option<NaiveDate>,
    received_at: DateTime<Utc>,
    bytes: i32,
}

impl TryFrom<VersionRow> for Version {
    type Error = Error;

    fn try_from(row: VersionRow) -> Result<Self, Error> {
        let result_status = status(row.result_status)?;
        let is_invalidation = row.kind == "invalidation";
        let base_status = status(row.base_status)?;
        Ok(Self {
            handle: row.handle,
            document_type: document_type(&row.document_type)?,
            key: DocumentKey {
                competition_code: row.competition_code,
                document_code: row.document_code,
                document_subcode: row.document_subcode,
                document_type: row.document_type,
                document_subtype: row.document_subtype,
                language: row.language,
            },
            version: row.version,
            status: if is_invalidation { base_status } else { result_status },
            seq: row.seq,
            is_invalidation,
            logical_date: row.logical_date,
            received_at: row.received_at,
            bytes: usize::try_from(row.bytes).map_err(|_| Error::Corrupt { what: "raw" })?,
        })
    }
}

/// Versions behind `seq` that a search asks for, at most `limit`, in the order in which they came. Late ones were never
/// anybody's.
#[tracing::instrument(name = "db.log.search", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn search(
    pool: &PgPool,
    stream_id: &str,
    search: &Search,
    seq: i64,
    limit: i64,
) -> Result<Vec<Version>, Error> {
    // A prefix holds nothing that `like` would take for a pattern.
    let patterns: Vec<String> =
        search.prefixes.iter().map(|prefix: &Prefix| format!("{}%", prefix.as_str())).collect();
    let types: Vec<String> = search.types.iter().map(|one| one.name().to_owned()).collect();
    let rows = sqlx::query_as!(
        VersionRow,
        r#"
        select d.handle, d.competition_code, d.document_code, d.document_subcode, d.document_type, d.document_subtype,
               d.language, l.kind, l.version as "version!", l.result_status, l.base_status, l.seq, l.logical_date,
               l.received_at, octet_length(l.raw) as "bytes!"
        from results.log l
        join results.document d on d.document_id = l.document_id
        where l.stream_id = $1 and l.seq > $2 and l.kind <> 'late'
          and (cardinality($3::text[]) = 0 or d.document_code like any ($3))
          and (cardinality($4::text[]) = 0 or d.document_type = any ($4))
          and (cardinality($5::text[]) = 0 or d.language = any ($5))
          and ($6::date is null or l.logical_date >= $6)
          and ($7::date is null or l.logical_date <= $7)
          and ($8::timestamptz is null or l.received_at >= $8)
          and ($9::timestamptz is null or l.received_at < $9)
          and ($10::integer is null or l.version = $10)
          and (not $11 or d.seq = l.seq)
        order by l.seq
        limit $12
        "#,
        stream_id,
        seq,
        &patterns,
        &types,
        &search.languages,
        search.first_day,
        search.last_day,
        search.received_from,
        search.received_before,
        search.version,
        search.newest_only,
        limit,
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(Version::try_from).collect()
}

/// A version with its bytes.
#[derive(Debug)]
pub struct WholeVersion {
    /// Of which stream.
    pub stream_id: String,
    /// What it is.
    pub version: Version,
    /// As its sender sent it.
    pub raw: Vec<u8>,
    /// Canonical JSON; an invalidation has none.
    pub canonical: Option<Vec<u8>>,
}

/// A version of a document by its place in the log, or the newest one.
#[tracing::instrument(name = "db.log.find_version", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn find_version(
    pool: &PgPool,
    handle: i64,
    seq: Option<i64>,
) -> Result<Option<WholeVersion>, Error> {
    let row = sqlx::query!(
        r#"
        select d.stream_id, d.handle, d.competition_code, d.document_code, d.document_subcode, d.document_type,
               d.document_subtype, d.language, l.kind, l.version as "version!", l.result_status, l.base_status, l.seq,
               l.logical_date, l.received_at, l.raw as "raw!", l.canonical
        from results.document d
        join results.log l on l.stream_id = d.stream_id and l.seq = coalesce($2, d.seq) and l.document_id = d.document_id
        where d.handle = $1 and l.kind <> 'late'
        "#,
        handle,
        seq,
    )
    .fetch_optional(pool)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let version = VersionRow {
        handle: row.handle,
        competition_code: row.competition_code,
        document_code: row.document_code,
        document_subcode: row.document_subcode,
        document_type: row.document_type,
        document_subtype: row.document_subtype,
        language: row.language,
        kind: row.kind,
        version: row.version,
        result_status: row.result_status,
        base_status: row.base_status,
        seq: row.seq,
        logical_date: row.logical_date,
        received_at: row.received_at,
        bytes: i32::try_from(row.raw.len()).map_err(|_| Error::Corrupt { what: "raw" })?,
    };
    Ok(Some(WholeVersion {
        stream_id: row.stream_id,
        version: Version::try_from(version)?,
        raw: row.raw,
        canonical: row.canonical,
    }))
}
