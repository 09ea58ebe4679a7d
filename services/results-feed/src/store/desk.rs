use domain::{DateTime, Utc};
use sqlx::PgPool;

use super::{
    documents::{EditionRow, found},
    packing::unpack,
};
use crate::{
    Error,
    canonical::Node,
    rsc::Prefix,
    store::{Found, UnitState, schedule::Row},
};

/// Most bytes of a code table that pages read names from; a larger one names nothing.
const LARGEST_TABLE: i32 = 8 << 20;

/// A discipline on the schedule.
#[derive(Debug, Clone)]
pub struct DisciplineUnits {
    /// Its three characters.
    pub discipline: String,
    /// How many units it has.
    pub units: i64,
    /// How many of them are on.
    pub running: i64,
}

/// A unit of a desk, and the handle of its result document where there is one.
#[derive(Debug, Clone)]
pub struct DeskUnit {
    /// Schedule and status of the result.
    pub state: UnitState,
    /// Of its DT_RESULT in the feed.
    pub handle: Option<i64>,
}

/// When a venue was heard last.
#[derive(Debug, Clone)]
pub struct VenueSignal {
    /// Discipline and venue in an RSC's shape (PyeongChang code tables: `ALP-----------------------JAL-----`).
    pub document_code: String,
    /// DT_LOCAL_ON, DT_LOCAL_OFF or DT_KA.
    pub document_type: String,
    /// When its newest version came.
    pub received_at: DateTime<Utc>,
}

/// The disciplines on the schedule.
#[tracing::instrument(name = "db.unit_schedule.list_disciplines", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn list_disciplines(pool: &PgPool, stream_id: &str) -> Result<Vec<DisciplineUnits>, Error> {
    Ok(sqlx::query_as!(
        DisciplineUnits,
        r#"
        select left(unit, 3) as "discipline!", count(*) as "units!",
               count(*) filter (where schedule_status = 'RUNNING') as "running!"
        from results.unit_schedule
        where stream_id = $1 and schedule_status <> 'UNSCHEDULED'
        group by 1
        order by 1
        "#,
        stream_id,
    )
    .fetch_all(pool)
    .await?)
}

/// Units under a prefix as a desk needs them: those that are on, then those nearest in time; in the order of their start.
#[tracing::instrument(name = "db.unit_schedule.list_around", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn list_units_around(
    pool: &PgPool,
    stream_id: &str,
    prefix: &Prefix,
    now: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<DeskUnit>, Error> {
    let rows = sqlx::query!(
        r#"
        select * from (
            select s.unit, s.version, s.schedule_status, s.start_at, s.end_at, s.previous_start, s.venue, s.location, s.name,
                   s.medal, s.changed_at, d.result_status as "result_status?", d.handle as "handle?"
            from results.unit_schedule s
            left join results.document d
              on d.stream_id = s.stream_id and d.document_code = s.unit and d.document_type = 'DT_RESULT'
             and d.document_subcode = '' and d.document_subtype = '' and d.language = 'ENG' and not d.invalidated
            where s.stream_id = $1 and s.unit like $2 and s.schedule_status <> 'UNSCHEDULED'
            order by s.schedule_status in ('RUNNING', 'INTERRUPTED', 'SCHEDULED_BREAK') desc,
                     abs(extract(epoch from s.start_at - $3)) nulls last, s.unit
            limit $4
        ) nearest
        order by start_at nulls last, unit
        "#,
        stream_id,
        format!("{}%", prefix.as_str()),
        now,
        limit,
    )
    .fetch_all(pool)
    .await?;
    let mut units = Vec::with_capacity(rows.len());
    for row in rows {
        let handle = row.handle;
        let schedule = Row {
            unit: row.unit,
            version: row.version,
            schedule_status: row.schedule_status,
            start_at: row.start_at,
            end_at: row.end_at,
            previous_start: row.previous_start,
            venue: row.venue,
            location: row.location,
            name: row.name,
            medal: row.medal,
            changed_at: row.changed_at,
            result_status: row.result_status,
        };
        units.push(DeskUnit { state: UnitState::try_from(schedule)?, handle });
    }
    Ok(units)
}

/// A participant's or a team's biography, in a language if there is one, else in any.
#[tracing::instrument(name = "db.document.find_biography", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn find_biography(
    pool: &PgPool,
    stream_id: &str,
    code: &str,
    language: &str,
) -> Result<Option<Found>, Error> {
    let row = sqlx::query_as!(
        EditionRow,
        r#"
        select d.handle, d.competition_code, d.document_code, d.document_subcode, d.document_type, d.document_subtype,
               d.language, d.version, d.result_status, d.seq, l.canonical, coalesce(l.canonical_size, octet_length(l.canonical)) as size,
               l.sha256, l.received_at, l.nocs, l.status_since
        from results.document d
        join results.log l on l.stream_id = d.stream_id and l.seq = d.seq
        where d.stream_id = $1 and d.document_code = $2 and d.document_type in ('DT_BIO_PAR', 'DT_BIO_TEA')
          and not d.invalidated
        order by d.language = $3 desc, d.language = 'ENG' desc, d.seq desc
        limit 1
        "#,
        stream_id,
        code,
        language,
    )
    .fetch_optional(pool)
    .await?;
    found(row)
}

/// When the venues under a prefix were heard last.
#[tracing::instrument(name = "db.document.list_venue_signals", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn list_venue_signals(
    pool: &PgPool,
    stream_id: &str,
    discipline: &str,
) -> Result<Vec<VenueSignal>, Error> {
    Ok(sqlx::query_as!(
        VenueSignal,
        r#"
        select d.document_code, d.document_type, l.received_at
        from results.document d
        join results.log l on l.stream_id = d.stream_id and l.seq = d.seq
        where d.stream_id = $1 and d.document_code like $2 and not d.invalidated
          and d.document_type in ('DT_LOCAL_ON', 'DT_LOCAL_OFF', 'DT_KA')
        order by d.document_code
        "#,
        stream_id,
        format!("{discipline}%"),
    )
    .fetch_all(pool)
    .await?)
}

/// The code tables of these subtypes, without those that are too large.
#[tracing::instrument(name = "db.document.list_code_tables", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn list_code_tables(
    pool: &PgPool,
    stream_id: &str,
    subtypes: &[String],
) -> Result<Vec<Node>, Error> {
    let rows = sqlx::query!(
        r#"
        select l.canonical as "canonical!"
        from results.document d
        join results.log l on l.stream_id = d.stream_id and l.seq = d.seq
        where d.stream_id = $1 and d.document_type = 'DT_CODES' and d.document_subtype = any ($2) and not d.invalidated
          and coalesce(l.canonical_size, octet_length(l.canonical)) <= $3
        order by d.seq
        "#,
        stream_id,
        subtypes,
        LARGEST_TABLE,
    )
    .fetch_all(pool)
    .await?;
    let read = |bytes: &[u8]| Node::from_bytes(bytes).map_err(|_| Error::Corrupt { what: "canonical" });
    rows.into_iter().map(|row| read(&unpack(row.canonical)?)).collect()
}
