use domain::{DateTime, NaiveDate, Utc};
use sqlx::PgPool;

use super::documents::{EditionRow, Found, found};
use crate::{Error, rsc::Rsc};

/// The newest entry that was taken up to an instant; 0 before the first one.
#[tracing::instrument(name = "db.log.seq_at", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn seq_at(pool: &PgPool, stream_id: &str, instant: DateTime<Utc>) -> Result<i64, Error> {
    // Clocks of replicas differ a little: what lies before the newest one in time belongs to the state all the same. Late
    // versions change no state.
    let seq = sqlx::query_scalar!(
        r#"
        select seq from results.log
        where stream_id = $1 and received_at <= $2 and kind <> 'late'
        order by received_at desc, seq desc
        limit 1
        "#,
        stream_id,
        instant,
    )
    .fetch_optional(pool)
    .await?;
    Ok(seq.unwrap_or(0))
}

/// When the newest entry up to a place was taken.
#[tracing::instrument(name = "db.log.taken_at", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn taken_at(pool: &PgPool, stream_id: &str, seq: i64) -> Result<Option<DateTime<Utc>>, Error> {
    let taken_at = sqlx::query_scalar!(
        "select received_at from results.log where stream_id = $1 and seq <= $2 order by seq desc limit 1",
        stream_id,
        seq,
    )
    .fetch_optional(pool)
    .await?;
    Ok(taken_at)
}

/// The entry that closed a day of competition, none while it is open; nothing where nothing was heard of the day.
#[tracing::instrument(name = "db.logical_day.closed_seq", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn closed_seq(
    pool: &PgPool,
    stream_id: &str,
    date: NaiveDate,
) -> Result<Option<Option<i64>>, Error> {
    let found = sqlx::query_scalar!(
        "select closed_seq from results.logical_day where stream_id = $1 and logical_date = $2",
        stream_id,
        date,
    )
    .fetch_optional(pool)
    .await?;
    Ok(found)
}

/// The newest start list of a unit's result document, if the document stands.
#[tracing::instrument(name = "db.log.find_start_list", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn find_start_list(pool: &PgPool, stream_id: &str, unit: &Rsc) -> Result<Option<Found>, Error> {
    let row = sqlx::query_as!(
        EditionRow,
        r#"
        select d.handle, d.competition_code, d.document_code, d.document_subcode, d.document_type, d.document_subtype,
               d.language, l.version as "version!", l.result_status, l.seq, l.canonical,
               coalesce(l.canonical_size, octet_length(l.canonical)) as size, l.sha256, l.received_at, l.nocs, l.status_since
        from results.document d
        join results.log l on l.document_id = d.document_id and l.stream_id = d.stream_id
        where d.stream_id = $1 and d.document_code = $2 and d.document_type = 'DT_RESULT' and d.document_subcode = ''
          and d.document_subtype = '' and d.language = 'ENG' and not d.invalidated
          and l.kind = 'document' and l.result_status = 'START_LIST'
        order by l.seq desc
        limit 1
        "#,
        stream_id,
        unit.as_str(),
    )
    .fetch_optional(pool)
    .await?;
    found(row)
}

/// The stream of a document.
#[tracing::instrument(name = "db.document.stream_of", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn stream_of(pool: &PgPool, handle: i64) -> Result<Option<String>, Error> {
    let stream_id = sqlx::query_scalar!("select stream_id from results.document where handle = $1", handle)
        .fetch_optional(pool)
        .await?;
    Ok(stream_id)
}

/// The entry that brought the version of a document that stood behind a place, if one stood.
#[tracing::instrument(name = "db.log.standing_at", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn standing_at(pool: &PgPool, handle: i64, seq: i64) -> Result<Option<i64>, Error> {
    let newest = sqlx::query!(
        r#"
        select l.seq, l.kind
        from results.document d
        join results.log l on l.stream_id = d.stream_id and l.document_id = d.document_id
        where d.handle = $1 and l.seq <= $2 and l.kind in ('document', 'invalidation')
        order by l.seq desc
        limit 1
        "#,
        handle,
        seq,
    )
    .fetch_optional(pool)
    .await?;
    Ok(newest.filter(|newest| newest.kind == "document").map(|newest| newest.seq))
}
