use domain::{DateTime, NaiveDate, Utc};
use sqlx::{PgExecutor, PgPool, PgTransaction};

use super::{digest, document_type, facts, status};
use crate::{
    Error,
    header::DocumentKey,
    logical_day::{DayState, LogicalDay},
    manifest::{Line, Manifest},
    venue_clock::VenueClock,
};

/// All clocks of a stream.
pub async fn list_clocks(db: impl PgExecutor<'_>, stream_id: &str) -> Result<Vec<VenueClock>, Error> {
    let clocks = sqlx::query_as!(
        VenueClock,
        r#"
        select venue, discipline, is_open, heard_at
        from results.venue_clock
        where stream_id = $1
        order by venue, discipline
        "#,
        stream_id,
    )
    .fetch_all(db)
    .await?;
    Ok(clocks)
}

/// Writes a clock; the stream is locked by the caller.
#[tracing::instrument(name = "db.venue_clock.save", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn save_clock(
    tx: &mut PgTransaction<'_>,
    stream_id: &str,
    clock: &VenueClock,
) -> Result<(), Error> {
    sqlx::query!(
        r#"
        insert into results.venue_clock (stream_id, venue, discipline, is_open, heard_at)
        values ($1, $2, $3, $4, $5)
        on conflict (stream_id, venue, discipline) do update
        set is_open = excluded.is_open, heard_at = excluded.heard_at
        "#,
        stream_id,
        clock.venue,
        clock.discipline,
        clock.is_open,
        clock.heard_at,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// A day, if anything opened or closed it.
#[tracing::instrument(name = "db.logical_day.load", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn load_day(
    tx: &mut PgTransaction<'_>,
    stream_id: &str,
    date: NaiveDate,
) -> Result<Option<LogicalDay>, Error> {
    let name = sqlx::query_scalar!(
        "select day_state from results.logical_day where stream_id = $1 and logical_date = $2",
        stream_id,
        date,
    )
    .fetch_optional(&mut **tx)
    .await?;
    name.map(|name| day(date, &name)).transpose()
}

/// Days of which good night was said while a venue was open.
#[tracing::instrument(name = "db.logical_day.list_closing", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn list_closing(tx: &mut PgTransaction<'_>, stream_id: &str) -> Result<Vec<LogicalDay>, Error> {
    let dates = sqlx::query_scalar!(
        "select logical_date from results.logical_day where stream_id = $1 and day_state = 'closing'",
        stream_id,
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(dates.into_iter().map(|date| LogicalDay { date, state: DayState::Closing }).collect())
}

fn day(date: NaiveDate, name: &str) -> Result<LogicalDay, Error> {
    let state = DayState::parse(name).ok_or(Error::Corrupt { what: "day_state" })?;
    Ok(LogicalDay { date, state })
}

/// Writes a day as an entry changed it; the stream is locked by the caller.
#[tracing::instrument(name = "db.logical_day.save", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn save_day(
    tx: &mut PgTransaction<'_>,
    stream_id: &str,
    day: LogicalDay,
    seq: i64,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let closed_seq = Some(seq).filter(|_| day.state == DayState::Closed);
    sqlx::query!(
        r#"
        insert into results.logical_day (stream_id, logical_date, day_state, changed_at, closed_seq)
        values ($1, $2, $3, $4, $5)
        on conflict (stream_id, logical_date) do update
        set day_state = excluded.day_state, changed_at = excluded.changed_at, closed_seq = excluded.closed_seq
        "#,
        stream_id,
        day.date,
        day.state.name(),
        now,
        closed_seq,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Closed days that hold more than their newest manifest says, each with that manifest's revision; 0 where there is none.
pub async fn list_due(pool: &PgPool, stream_id: &str) -> Result<Vec<(NaiveDate, i32)>, Error> {
    let rows = sqlx::query!(
        r#"
        select d.logical_date, coalesce(m.revision, 0) as "revision!"
        from results.logical_day d
        left join lateral (
            select revision, up_to_seq from results.manifest
            where stream_id = d.stream_id and logical_date = d.logical_date
            order by revision desc
            limit 1
        ) m on true
        where d.stream_id = $1 and d.day_state = 'closed'
          and (m.revision is null or exists (
              select 1 from results.log l
              where l.stream_id = d.stream_id and l.logical_date = d.logical_date and l.seq > m.up_to_seq
                and l.kind in ('document', 'invalidation')))
        order by d.logical_date
        "#,
        stream_id,
    )
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(|row| (row.logical_date, row.revision)).collect())
}

/// Adds a revision, unless another replica did, or the stream began anew since its lines were read.
#[tracing::instrument(name = "db.manifest.insert", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn insert_manifest(
    pool: &PgPool,
    stream_id: &str,
    epoch: &str,
    manifest: &Manifest,
) -> Result<bool, Error> {
    let inserted = sqlx::query!(
        r#"
        insert into results.manifest (stream_id, logical_date, revision, documents, root, up_to_seq, made_at)
        select stream_id, $2, $3, $4, $5, $6, $7
        from results.stream
        where stream_id = $1 and epoch = $8
        for share
        on conflict do nothing
        "#,
        stream_id,
        manifest.logical_date,
        manifest.revision,
        manifest.documents,
        manifest.root.as_slice(),
        manifest.up_to_seq,
        manifest.made_at,
        epoch,
    )
    .execute(pool)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// A revision of a day's manifest; the newest where none is named.
#[tracing::instrument(name = "db.manifest.find", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn find_manifest(
    pool: &PgPool,
    stream_id: &str,
    date: NaiveDate,
    revision: Option<i32>,
) -> Result<Option<Manifest>, Error> {
    let row = sqlx::query!(
        r#"
        select revision, documents, root, up_to_seq, made_at
        from results.manifest
        where stream_id = $1 and logical_date = $2 and ($3::integer is null or revision = $3)
        order by revision desc
        limit 1
        "#,
        stream_id,
        date,
        revision,
    )
    .fetch_optional(pool)
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Manifest {
        logical_date: date,
        revision: row.revision,
        documents: row.documents,
        root: digest(&row.root)?,
        up_to_seq: row.up_to_seq,
        made_at: row.made_at,
    }))
}

/// The newest entry of each document of a day up to a place in the log, in no order.
#[tracing::instrument(name = "db.log.list_day", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn list_day(
    pool: &PgPool,
    stream_id: &str,
    date: NaiveDate,
    up_to_seq: i64,
) -> Result<Vec<Line>, Error> {
    let rows = sqlx::query!(
        r#"
        select d.handle, d.competition_code, d.document_code, d.document_subcode, d.document_type, d.document_subtype,
               d.language, l.version as "version!", l.result_status, case when l.kind = 'document' then l.sha256 end as sha256,
               l.nocs, l.status_since, l.received_at
        from (select distinct on (document_id) document_id, version, result_status, sha256, kind, nocs, status_since, received_at
              from results.log
              where stream_id = $1 and logical_date = $2 and kind in ('document', 'invalidation') and seq <= $3
              order by document_id, seq desc) l
        join results.document d on d.document_id = l.document_id
        "#,
        stream_id,
        date,
        up_to_seq,
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Line {
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
                status: status(row.result_status)?,
                sha256: row.sha256.as_deref().map(digest).transpose()?,
                facts: facts(&row.nocs, row.status_since, row.received_at)?,
            })
        })
        .collect()
}
