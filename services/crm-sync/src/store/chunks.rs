use domain::{DateTime, ProfileId, Utc, Uuid};
use sqlx::{PgExecutor, PgTransaction};

use crate::{
    Error,
    chunk::{Chunk, State},
    delivery::Lane,
};

struct Row {
    chunk_id: Uuid,
    object_id: Uuid,
    run_id: Option<Uuid>,
    lane: String,
    state: String,
    from_ordinal: i64,
    to_ordinal: i64,
    job_id: Option<String>,
    rows: i64,
    counts: serde_json::Value,
    agreement_id: Option<Uuid>,
    mapping_version_id: Option<Uuid>,
    intent_at: DateTime<Utc>,
}

impl Row {
    fn chunk(self) -> Result<Chunk, Error> {
        Ok(Chunk {
            chunk_id: self.chunk_id,
            object_id: self.object_id,
            run_id: self.run_id,
            lane: Lane::find(&self.lane).ok_or(Error::Stored { what: "lane" })?,
            state: State::find(&self.state).ok_or(Error::Stored { what: "chunk state" })?,
            from_ordinal: self.from_ordinal,
            to_ordinal: self.to_ordinal,
            job_id: self.job_id,
            rows: self.rows,
            counts: serde_json::from_value(self.counts)
                .map_err(|_| Error::Stored { what: "chunk counts" })?,
            agreement_id: self.agreement_id,
            mapping_version_id: self.mapping_version_id,
            intent_at: self.intent_at,
        })
    }
}

fn counts(chunk: &Chunk) -> Result<serde_json::Value, Error> {
    serde_json::to_value(chunk.counts).map_err(|_| Error::Stored { what: "chunk counts" })
}

/// A new chunk of a destination that this runner holds.
///
/// # Errors
/// [`Error::Fenced`]
#[tracing::instrument(name = "db.chunk.insert", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn insert_chunk(
    tx: &mut PgTransaction<'_>,
    chunk: &Chunk,
    epoch: i64,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let done = sqlx::query!(
        r#"
        insert into crmsync.chunk
            (chunk_id, object_id, run_id, lane, state, from_ordinal, to_ordinal, job_id, rows, intent_at, changed_at,
             counts, agreement_id, mapping_version_id)
        select $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $12, $13, $14, $15
        from crmsync.destination_object o
        join crmsync.destination d using (destination_id)
        where o.object_id = $2 and d.epoch = $11
        "#,
        chunk.chunk_id,
        chunk.object_id,
        chunk.run_id,
        chunk.lane.name(),
        chunk.state.name(),
        chunk.from_ordinal,
        chunk.to_ordinal,
        chunk.job_id,
        chunk.rows,
        chunk.intent_at,
        epoch,
        now,
        counts(chunk)?,
        chunk.agreement_id,
        chunk.mapping_version_id,
    )
    .execute(&mut **tx)
    .await?;
    if done.rows_affected() == 1 { Ok(()) } else { Err(Error::Fenced) }
}

/// Moves a chunk from the state in which this runner saw it, and locks it.
///
/// # Errors
/// [`Error::Fenced`] when it has moved, or the destination was taken over.
#[tracing::instrument(name = "db.chunk.advance", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn advance_chunk(
    tx: &mut PgTransaction<'_>,
    chunk: &Chunk,
    to: State,
    epoch: i64,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let done = sqlx::query!(
        r#"
        update crmsync.chunk c
        set state = $3, changed_at = $5, rows = $6, counts = $7, agreement_id = $8, mapping_version_id = $9
        from crmsync.destination_object o
        join crmsync.destination d using (destination_id)
        where c.chunk_id = $1 and c.state = $2 and o.object_id = c.object_id and d.epoch = $4
        "#,
        chunk.chunk_id,
        chunk.state.name(),
        to.name(),
        epoch,
        now,
        chunk.rows,
        counts(chunk)?,
        chunk.agreement_id,
        chunk.mapping_version_id,
    )
    .execute(&mut **tx)
    .await?;
    if done.rows_affected() == 1 { Ok(()) } else { Err(Error::Fenced) }
}

/// Notes the job of a chunk.
#[tracing::instrument(name = "db.chunk.note_job", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn note_job(tx: &mut PgTransaction<'_>, chunk_id: Uuid, job_id: &str) -> Result<(), Error> {
    sqlx::query!("update crmsync.chunk set job_id = $2 where chunk_id = $1", chunk_id, job_id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// The load chunk of an object that is under way; creates are serial, so there is at most one.
#[tracing::instrument(name = "db.chunk.find_live_load", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn find_live_load(db: impl PgExecutor<'_>, object_id: Uuid) -> Result<Option<Chunk>, Error> {
    let row = sqlx::query_as!(
        Row,
        r#"
        select chunk_id, object_id, run_id, lane, state, from_ordinal, to_ordinal, job_id, rows, counts,
               agreement_id, mapping_version_id, intent_at
        from crmsync.chunk
        where object_id = $1 and lane = 'load' and state not in ('settled', 'abandoned')
        order by intent_at
        limit 1
        "#,
        object_id,
    )
    .fetch_optional(db)
    .await?;
    row.map(Row::chunk).transpose()
}

/// Calls of the other lanes whose reply nobody has written down.
#[tracing::instrument(name = "db.chunk.list_live_calls", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn list_live_calls(db: impl PgExecutor<'_>, object_id: Uuid) -> Result<Vec<Chunk>, Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        select chunk_id, object_id, run_id, lane, state, from_ordinal, to_ordinal, job_id, rows, counts,
               agreement_id, mapping_version_id, intent_at
        from crmsync.chunk
        where object_id = $1 and lane <> 'load' and state not in ('settled', 'abandoned')
        order by intent_at
        "#,
        object_id,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(Row::chunk).collect()
}

/// Which of these jobs are ours and known.
#[tracing::instrument(name = "db.chunk.known_jobs", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn known_jobs(db: impl PgExecutor<'_>, jobs: &[String]) -> Result<Vec<String>, Error> {
    let known =
        sqlx::query_scalar!(r#"select job_id as "job_id!" from crmsync.chunk where job_id = any($1)"#, jobs,);
    Ok(known.fetch_all(db).await?)
}

/// Notes who goes out live while a load chunk that covers them is under way, so that they go again when it has ended. The
/// chunk's row is shared-locked: its settlement comes wholly before or wholly after.
#[tracing::instrument(name = "db.chunk.add_follow_ups", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn add_follow_ups(
    tx: &mut PgTransaction<'_>,
    object_id: Uuid,
    people: &[(ProfileId, Lane, Option<String>)],
) -> Result<(), Error> {
    let ids: Vec<Uuid> = people.iter().map(|(id, ..)| id.0).collect();
    let lanes: Vec<String> = people.iter().map(|(_, lane, _)| lane.name().to_owned()).collect();
    let traces: Vec<Option<String>> = people.iter().map(|(.., trace)| trace.clone()).collect();
    sqlx::query!(
        r#"
        with live as (
            select chunk_id, from_ordinal, to_ordinal
            from crmsync.chunk
            where object_id = $1 and lane = 'load' and state not in ('settled', 'abandoned')
            for share
        )
        insert into crmsync.follow_up (chunk_id, profile_id, lane, traceparent)
        select live.chunk_id, s.profile_id, n.lane, n.traceparent
        from unnest($2::uuid[], $3::text[], $4::text[]) as n (profile_id, lane, traceparent)
        join crmsync.subject s using (profile_id)
        join live on s.ordinal between live.from_ordinal and live.to_ordinal
        on conflict (chunk_id, profile_id) do update set lane = excluded.lane, traceparent = excluded.traceparent
        "#,
        object_id,
        &ids,
        &lanes,
        &traces as &[Option<String>],
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Takes the follow-ups of a chunk that is locked and about to end.
#[tracing::instrument(name = "db.chunk.take_follow_ups", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn take_follow_ups(
    tx: &mut PgTransaction<'_>,
    chunk_id: Uuid,
) -> Result<Vec<(Uuid, Lane, Option<String>)>, Error> {
    let rows = sqlx::query!(
        "delete from crmsync.follow_up where chunk_id = $1 returning profile_id, lane, traceparent",
        chunk_id,
    )
    .fetch_all(&mut **tx)
    .await?;
    let lane = |name: &str| Lane::find(name).unwrap_or(Lane::Change);
    Ok(rows.into_iter().map(|row| (row.profile_id, lane(&row.lane), row.traceparent)).collect())
}
