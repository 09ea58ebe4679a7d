use std::collections::HashMap;

use domain::{DateTime, Utc};
use sqlx::{PgPool, PgTransaction};

use crate::{
    Error,
    rsc::{Prefix, Rsc},
    unit_schedule::{Announcement, UNSCHEDULED, UnitSchedule},
};

/// A unit's schedule and the status of its result, where there is one.
#[derive(Debug, Clone)]
pub struct UnitState {
    /// When and where.
    pub schedule: UnitSchedule,
    /// Empty until a result document came.
    pub result_status: String,
}

#[derive(sqlx::FromRow)]
pub(super) struct Row {
    pub(super) unit: String,
    pub(super) version: i64,
    pub(super) schedule_status: String,
    pub(super) start_at: Option<DateTime<Utc>>,
    pub(super) end_at: Option<DateTime<Utc>>,
    pub(super) previous_start: Option<DateTime<Utc>>,
    pub(super) venue: String,
    pub(super) location: String,
    pub(super) name: String,
    pub(super) medal: bool,
    pub(super) changed_at: DateTime<Utc>,
    pub(super) result_status: Option<String>,
}

impl TryFrom<Row> for UnitState {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        let schedule = UnitSchedule {
            unit: row.unit.parse().map_err(|_| Error::Corrupt { what: "unit" })?,
            version: row.version,
            announced: Announcement {
                status: row.schedule_status,
                start: row.start_at,
                end: row.end_at,
                venue: row.venue,
                location: row.location,
                name: row.name,
                medal: row.medal,
            },
            previous_start: row.previous_start,
            changed_at: row.changed_at,
        };
        Ok(Self { schedule, result_status: row.result_status.unwrap_or_default() })
    }
}

/// The schedules of those of these units that are known; their stream is locked by the caller.
#[tracing::instrument(name = "db.unit_schedule.load", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn load_schedules(
    tx: &mut PgTransaction<'_>,
    stream_id: &str,
    units: &[Rsc],
) -> Result<HashMap<Rsc, UnitSchedule>, Error> {
    let units: Vec<String> = units.iter().map(ToString::to_string).collect();
    let rows = sqlx::query_as!(
        Row,
        r#"
        select unit, version, schedule_status, start_at, end_at, previous_start, venue, location, name, medal, changed_at,
               null as result_status
        from results.unit_schedule
        where stream_id = $1 and unit = any ($2)
        "#,
        stream_id,
        &units,
    )
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter()
        .map(|row| UnitState::try_from(row).map(|state| (state.schedule.unit, state.schedule)))
        .collect()
}

/// The next schedules behind a unit, by unit; their stream is locked by the caller.
#[tracing::instrument(name = "db.unit_schedule.page", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn page_schedules(
    tx: &mut PgTransaction<'_>,
    stream_id: &str,
    after: Option<&Rsc>,
    limit: i64,
) -> Result<Vec<UnitSchedule>, Error> {
    let rows: Vec<Row> = sqlx::query_as(
        "select unit, version, schedule_status, start_at, end_at, previous_start, venue, location, name, medal, changed_at,
                null::text as result_status
         from results.unit_schedule
         where stream_id = $1 and unit > coalesce($2, '')
         order by unit
         limit $3",
    )
    .bind(stream_id)
    .bind(after.map(Rsc::as_str))
    .bind(limit)
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter().map(|row| UnitState::try_from(row).map(|state| state.schedule)).collect()
}

/// Writes changed schedules, new ones too; each unit at most once.
#[tracing::instrument(name = "db.unit_schedule.save", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn save_schedules(
    tx: &mut PgTransaction<'_>,
    stream_id: &str,
    units: &[UnitSchedule],
) -> Result<(), Error> {
    let text = |of: fn(&UnitSchedule) -> String| -> Vec<String> { units.iter().map(of).collect() };
    let time = |of: fn(&UnitSchedule) -> Option<DateTime<Utc>>| -> Vec<Option<DateTime<Utc>>> {
        units.iter().map(of).collect()
    };
    let version: Vec<i64> = units.iter().map(|unit| unit.version).collect();
    let medal: Vec<bool> = units.iter().map(|unit| unit.announced.medal).collect();
    let changed_at: Vec<DateTime<Utc>> = units.iter().map(|unit| unit.changed_at).collect();
    sqlx::query!(
        r#"
        insert into results.unit_schedule
            (stream_id, unit, version, schedule_status, start_at, end_at, previous_start, venue, location, name, medal, changed_at)
        select $1, row.*
        from unnest($2::text[], $3::bigint[], $4::text[], $5::timestamptz[], $6::timestamptz[], $7::timestamptz[], $8::text[],
                    $9::text[], $10::text[], $11::boolean[], $12::timestamptz[]) as row
        on conflict (stream_id, unit) do update
        set version = excluded.version, schedule_status = excluded.schedule_status, start_at = excluded.start_at,
            end_at = excluded.end_at, previous_start = excluded.previous_start, venue = excluded.venue,
            location = excluded.location, name = excluded.name, medal = excluded.medal, changed_at = excluded.changed_at
        "#,
        stream_id,
        &text(|unit| unit.unit.to_string()),
        &version,
        &text(|unit| unit.announced.status.clone()),
        &time(|unit| unit.announced.start) as _,
        &time(|unit| unit.announced.end) as _,
        &time(|unit| unit.previous_start) as _,
        &text(|unit| unit.announced.venue.clone()),
        &text(|unit| unit.announced.location.clone()),
        &text(|unit| unit.announced.name.clone()),
        &medal,
        &changed_at,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// A unit by its code.
#[tracing::instrument(name = "db.unit_schedule.find", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn find_unit(pool: &PgPool, stream_id: &str, unit: &Rsc) -> Result<Option<UnitState>, Error> {
    let row = sqlx::query_as!(
        Row,
        r#"
        select u.unit, u.version, u.schedule_status, u.start_at, u.end_at, u.previous_start, u.venue, u.location, u.name,
               u.medal, u.changed_at,
               (select d.result_status from results.document d
                where d.stream_id = u.stream_id and d.document_code = u.unit and d.document_type = 'DT_RESULT'
                  and d.document_subcode = '' and d.document_subtype = '' and d.language = 'ENG' and not d.invalidated
               ) as result_status
        from results.unit_schedule u
        where u.stream_id = $1 and u.unit = $2 and u.schedule_status <> $3
        "#,
        stream_id,
        unit.as_str(),
        UNSCHEDULED,
    )
    .fetch_optional(pool)
    .await?;
    row.map(UnitState::try_from).transpose()
}

/// Units whose codes begin with one of the prefixes (all, without one), in the order of their start, behind the unit that
/// ended the page before.
#[tracing::instrument(name = "db.unit_schedule.list", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn list_units(
    pool: &PgPool,
    stream_id: &str,
    prefixes: &[Prefix],
    after: Option<&Rsc>,
    limit: i64,
) -> Result<Vec<UnitState>, Error> {
    let patterns: Vec<String> = match prefixes {
        [] => vec!["%".to_owned()],
        some => some.iter().map(|prefix| format!("{}%", prefix.as_str())).collect(),
    };
    let rows = sqlx::query_as!(
        Row,
        r#"
        select u.unit, u.version, u.schedule_status, u.start_at, u.end_at, u.previous_start, u.venue, u.location, u.name,
               u.medal, u.changed_at,
               (select d.result_status from results.document d
                where d.stream_id = u.stream_id and d.document_code = u.unit and d.document_type = 'DT_RESULT'
                  and d.document_subcode = '' and d.document_subtype = '' and d.language = 'ENG' and not d.invalidated
               ) as result_status
        from results.unit_schedule u
        where u.stream_id = $1 and u.schedule_status <> $5 and u.unit like any ($2)
          and ($3::text is null
               or (coalesce(u.start_at, 'infinity'), u.unit) >
                  (select coalesce(p.start_at, 'infinity'), p.unit from results.unit_schedule p
                   where p.stream_id = $1 and p.unit = $3))
        order by coalesce(u.start_at, 'infinity'), u.unit
        limit $4
        "#,
        stream_id,
        &patterns,
        after.map(Rsc::as_str),
        limit,
        UNSCHEDULED,
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(UnitState::try_from).collect()
}

/// Which units of the schedule.
#[derive(Debug, Clone, Default)]
pub struct ScheduleFilter {
    /// Starts from the first on and before the second; without it also units that have no start yet.
    pub starts: Option<(DateTime<Utc>, DateTime<Utc>)>,
    /// Beginning of the units' codes.
    pub prefix: Prefix,
    /// Code of a venue.
    pub venue: Option<String>,
}

/// Units that a filter lets through, in the order of their start, behind the unit that ended the page before.
#[tracing::instrument(name = "db.unit_schedule.list_schedule", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn list_schedule(
    pool: &PgPool,
    stream_id: &str,
    filter: &ScheduleFilter,
    after: Option<&Rsc>,
    limit: i64,
) -> Result<Vec<UnitState>, Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        select u.unit, u.version, u.schedule_status, u.start_at, u.end_at, u.previous_start, u.venue, u.location, u.name,
               u.medal, u.changed_at,
               (select d.result_status from results.document d
                where d.stream_id = u.stream_id and d.document_code = u.unit and d.document_type = 'DT_RESULT'
                  and d.document_subcode = '' and d.document_subtype = '' and d.language = 'ENG' and not d.invalidated
               ) as result_status
        from results.unit_schedule u
        where u.stream_id = $1 and u.schedule_status <> $2
          and ($3::timestamptz is null or u.start_at >= $3) and ($4::timestamptz is null or u.start_at < $4)
          and u.unit like $5 and ($6::text is null or u.venue = $6)
          and ($7::text is null
               or (coalesce(u.start_at, 'infinity'), u.unit) >
                  (select coalesce(p.start_at, 'infinity'), p.unit from results.unit_schedule p
                   where p.stream_id = $1 and p.unit = $7))
        order by coalesce(u.start_at, 'infinity'), u.unit
        limit $8
        "#,
        stream_id,
        UNSCHEDULED,
        filter.starts.map(|(from, _)| from),
        filter.starts.map(|(_, to)| to),
        format!("{}%", filter.prefix.as_str()),
        filter.venue,
        after.map(Rsc::as_str),
        limit,
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(UnitState::try_from).collect()
}
