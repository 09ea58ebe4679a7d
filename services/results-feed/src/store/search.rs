use domain::{DateTime, NaiveDate, Utc};
use sqlx::PgPool;

use super::{document_type, facts, packing::unpack, status};
use crate::{
    Error,
    header::DocumentKey,
    rsc::Prefix,
    search::{Search, Version},
};

/// The bytes of an entry, and the trace that brought it.
#[derive(Debug)]
pub struct RawDocument {
    /// As its sender sent them.
    pub raw: Vec<u8>,
    /// Of the request that brought it.
    pub traceparent: Option<String>,
}

/// The bytes of an entry, while the log holds it. Without a span: which trace a delivery belongs to is in what it finds.
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
    let Some(found) = found else { return Ok(None) };
    Ok(Some(RawDocument { raw: unpack(found.raw)?, ..found }))
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
    nocs: Option<Vec<String>>,
    status_since: Option<DateTime<Utc>>,
    facts_at: Option<DateTime<Utc>>,
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
            facts: facts(
                &row.nocs.unwrap_or_default(),
                row.status_since,
                row.facts_at.unwrap_or(row.received_at),
            )?,
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
               l.received_at, coalesce(l.raw_size, octet_length(l.raw)) as "bytes!", f.nocs as "nocs?", f.status_since as "status_since?",
               f.received_at as "facts_at?"
        from results.log l
        join results.document d on d.document_id = l.document_id
        left join results.log f
            on f.stream_id = l.stream_id and f.seq = case l.kind when 'invalidation' then l.base_seq else l.seq end
        where l.stream_id = $1 and l.seq > $2 and l.kind in ('document', 'invalidation')
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
               l.logical_date, l.received_at, l.raw as "raw!", l.canonical, f.nocs as "nocs?",
               f.status_since as "status_since?", f.received_at as "facts_at?"
        from results.document d
        join results.log l on l.stream_id = d.stream_id and l.seq = coalesce($2, d.seq) and l.document_id = d.document_id
        left join results.log f
            on f.stream_id = l.stream_id and f.seq = case l.kind when 'invalidation' then l.base_seq else l.seq end
        where d.handle = $1 and l.kind in ('document', 'invalidation')
        "#,
        handle,
        seq,
    )
    .fetch_optional(pool)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let (raw, canonical) = (unpack(row.raw)?, row.canonical.map(unpack).transpose()?);
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
        nocs: row.nocs,
        status_since: row.status_since,
        facts_at: row.facts_at,
        bytes: i32::try_from(raw.len()).map_err(|_| Error::Corrupt { what: "raw" })?,
    };
    Ok(Some(WholeVersion { stream_id: row.stream_id, version: Version::try_from(version)?, raw, canonical }))
}
