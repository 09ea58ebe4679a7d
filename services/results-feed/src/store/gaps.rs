use domain::{DateTime, NaiveDate, Utc};
use sqlx::{PgPool, PgTransaction};

use super::{document_type, facts, status};
use crate::{
    Error,
    document_type::{DocumentType, ResultStatus},
    entitlement::Facts,
    header::DocumentKey,
    rsc::Prefix,
};

/// Most holes of a page.
const MOST: i64 = 1_000;

/// A number that a source gave its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serial {
    /// The sending system.
    pub source: String,
    /// The day of competition, by which serials count.
    pub logical_date: NaiveDate,
    /// The number.
    pub serial: i64,
}

/// Serials of a source that never came, both ends included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SerialGap {
    /// The sending system.
    pub source: String,
    /// The day of competition.
    pub logical_date: NaiveDate,
    /// The first one that is missing.
    pub first: i64,
    /// The last one.
    pub last: i64,
}

/// Versions of a document that never came, both ends included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionGap {
    /// Its short name.
    pub handle: i64,
    /// Which document.
    pub key: DocumentKey,
    /// Its type, parsed.
    pub document_type: DocumentType,
    /// Its present status: who may see it may know of its holes.
    pub status: Option<ResultStatus>,
    /// The rest of what rights to its present version rest on.
    pub facts: Facts,
    /// The first version that is missing.
    pub first: i32,
    /// The last one.
    pub last: i32,
}

/// Notes serials that came; a repeat changes nothing.
#[tracing::instrument(name = "db.source_serial.insert", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn insert_serials(
    tx: &mut PgTransaction<'_>,
    stream_id: &str,
    serials: &[Serial],
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let source: Vec<String> = serials.iter().map(|serial| serial.source.clone()).collect();
    let logical_date: Vec<NaiveDate> = serials.iter().map(|serial| serial.logical_date).collect();
    let number: Vec<i64> = serials.iter().map(|serial| serial.serial).collect();
    sqlx::query!(
        r#"
        insert into results.source_serial (stream_id, source, logical_date, serial, seen_at)
        select $1, new.*, $5 from unnest($2::text[], $3::date[], $4::bigint[]) as new
        on conflict do nothing
        "#,
        stream_id,
        &source,
        &logical_date,
        &number,
        now,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The holes between the first and the last serial of each source and day, newest day first, at most 1,000.
#[tracing::instrument(name = "db.source_serial.list_gaps", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn list_serial_gaps(pool: &PgPool, stream_id: &str) -> Result<Vec<SerialGap>, Error> {
    let gaps = sqlx::query_as!(
        SerialGap,
        r#"
        select source, logical_date, serial + 1 as "first!", next - 1 as "last!"
        from (select source, logical_date, serial,
                     lead(serial) over (partition by source, logical_date order by serial) as next
              from results.source_serial
              where stream_id = $1) numbered
        where next > serial + 1
        order by logical_date desc, source, serial
        limit $2
        "#,
        stream_id,
        MOST,
    )
    .fetch_all(pool)
    .await?;
    Ok(gaps)
}

struct GapRow {
    handle: i64,
    competition_code: String,
    document_code: String,
    document_subcode: String,
    document_type: String,
    document_subtype: String,
    language: String,
    result_status: Option<String>,
    nocs: Vec<String>,
    status_since: Option<DateTime<Utc>>,
    received_at: DateTime<Utc>,
    first: i32,
    last: i32,
}

/// The holes among the versions of the documents that follow a handle, at most `limit` documents, and the handle behind
/// which the next page begins.
#[tracing::instrument(name = "db.log.list_version_gaps", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn list_version_gaps(
    pool: &PgPool,
    stream_id: &str,
    prefixes: &[Prefix],
    after: i64,
    limit: i64,
) -> Result<(Vec<VersionGap>, Option<i64>), Error> {
    let patterns = super::patterns(prefixes);
    let handles = sqlx::query_scalar!(
        r#"
        select handle from results.document
        where stream_id = $1 and handle > $3 and document_code like any ($2)
        order by handle
        limit $4
        "#,
        stream_id,
        &patterns,
        after,
        limit,
    )
    .fetch_all(pool)
    .await?;
    let is_last = i64::try_from(handles.len()).is_ok_and(|count| count < limit);
    let rows = sqlx::query_as!(
        GapRow,
        r#"
        select d.handle, d.competition_code, d.document_code, d.document_subcode, d.document_type, d.document_subtype,
               d.language, d.result_status, h.nocs, h.status_since, h.received_at, gap.version + 1 as "first!",
               gap.next - 1 as "last!"
        from results.document d
        join results.log h on h.stream_id = d.stream_id and h.seq = d.seq
        join results.stream s on s.stream_id = d.stream_id
        -- Before the log is whole, what came between the versions that are kept is not known.
        cross join lateral (
            select coalesce(max(l.version), 0) as version from results.log l
            where l.document_id = d.document_id and l.stream_id = d.stream_id and l.seq < s.whole_from
        ) known
        cross join lateral (
            select version, lead(version) over (order by version) as next
            from (select l.version from results.log l
                  where l.document_id = d.document_id and l.version > known.version
                  union
                  select known.version) came
        ) gap
        where d.handle = any ($1) and gap.next > gap.version + 1
        order by d.handle, gap.version
        limit $2
        "#,
        &handles,
        MOST,
    )
    .fetch_all(pool)
    .await?;
    let gaps = rows.into_iter().map(VersionGap::try_from).collect::<Result<Vec<_>, Error>>()?;
    // A page that was cut goes on behind the last document that is whole in it.
    let is_cut = i64::try_from(gaps.len()).is_ok_and(|count| count == MOST);
    let next = if is_cut {
        gaps.last().map(|gap| gap.handle - 1)
    } else {
        handles.last().copied().filter(|_| !is_last)
    };
    Ok((gaps, next.filter(|next| *next > after)))
}

impl TryFrom<GapRow> for VersionGap {
    type Error = Error;

    fn try_from(row: GapRow) -> Result<Self, Error> {
        Ok(Self {
            handle: row.handle,
            document_type: document_type(&row.document_type)?,
            status: status(row.result_status)?,
            facts: facts(&row.nocs, row.status_since, row.received_at)?,
            key: DocumentKey {
                competition_code: row.competition_code,
                document_code: row.document_code,
                document_subcode: row.document_subcode,
                document_type: row.document_type,
                document_subtype: row.document_subtype,
                language: row.language,
            },
            first: row.first,
            last: row.last,
        })
    }
}
