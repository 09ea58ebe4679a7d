use bytes::Bytes;
use domain::{DateTime, NaiveDate, Utc, Uuid};
use sqlx::{PgExecutor, PgPool, PgTransaction};

use super::packing::unpack;
use crate::{
    Error,
    replay::{Original, Replay},
};

/// Rows that one transaction clears away.
const CLEARED: i64 = 2_000;
/// Most documents of a page, and most bytes of it before the last one: what a replay holds in memory.
const PAGE: i64 = 256;
/// See [`PAGE`].
const PAGE_BYTES: i64 = 8 << 20;

struct Row {
    replay_id: Uuid,
    stream_id: String,
    source_id: String,
    logical_date: Option<NaiveDate>,
    from_seq: i64,
    to_seq: i64,
    speed: i32,
    stage: String,
    documents: i64,
    replayed: i64,
    next_seq: i64,
    started_by: String,
    started_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
}

impl TryFrom<Row> for Replay {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        Ok(Self {
            replay_id: row.replay_id,
            stream_id: row.stream_id,
            source_id: row.source_id,
            logical_date: row.logical_date,
            from_seq: row.from_seq,
            to_seq: row.to_seq,
            speed: u32::try_from(row.speed).map_err(|_| Error::Corrupt { what: "speed" })?,
            stage: row.stage.parse().map_err(|_| Error::Corrupt { what: "stage" })?,
            documents: row.documents,
            replayed: row.replayed,
            next_seq: row.next_seq,
            started_by: row.started_by,
            started_at: row.started_at,
            ended_at: row.ended_at,
        })
    }
}

/// How many documents a range has, late ones and invalidations too, and the first of them.
#[tracing::instrument(name = "db.replay.count", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn count_originals(
    pool: &PgPool,
    source_id: &str,
    logical_date: Option<NaiveDate>,
    (from_seq, to_seq): (i64, i64),
) -> Result<(i64, Option<i64>), Error> {
    let found = sqlx::query!(
        r#"
        select count(*) as "count!", min(seq) as first
        from results.log
        where stream_id = $1 and seq between $2 and $3 and ($4::date is null or logical_date = $4) and raw is not null
        "#,
        source_id,
        from_seq,
        to_seq,
        logical_date,
    )
    .fetch_one(pool)
    .await?;
    Ok((found.count, found.first))
}

/// Streams of replays that have not ended.
#[tracing::instrument(name = "db.replay.busy", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn busy_streams(db: impl PgExecutor<'_>) -> Result<Vec<String>, Error> {
    let busy =
        sqlx::query_scalar!("select stream_id from results.replay where stage in ('clearing', 'running')")
            .fetch_all(db)
            .await?;
    Ok(busy)
}

/// Writes a new replay.
///
/// # Errors
/// [`Error::ReplayRunning`] where its stream has one that has not ended.
#[tracing::instrument(name = "db.replay.insert", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn insert_replay(pool: &PgPool, replay: &Replay) -> Result<(), Error> {
    let inserted = sqlx::query!(
        r#"
        insert into results.replay
            (replay_id, stream_id, source_id, logical_date, from_seq, to_seq, speed, stage, documents, next_seq, started_by,
             started_at)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
        "#,
        replay.replay_id,
        replay.stream_id,
        replay.source_id,
        replay.logical_date,
        replay.from_seq,
        replay.to_seq,
        i32::try_from(replay.speed).unwrap_or(i32::MAX),
        replay.stage.name(),
        replay.documents,
        replay.next_seq,
        replay.started_by,
        replay.started_at,
    )
    .execute(pool)
    .await;
    match inserted {
        Ok(_) => Ok(()),
        Err(error) if chassis::constraint(&error) == Some("replay_once") => Err(Error::ReplayRunning),
        Err(error) => Err(error.into()),
    }
}

/// A replay by its id.
#[tracing::instrument(name = "db.replay.find", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn find_replay(pool: &PgPool, replay_id: Uuid) -> Result<Option<Replay>, Error> {
    let row = sqlx::query_as!(
        Row,
        r#"
        select replay_id, stream_id, source_id, logical_date, from_seq, to_seq, speed, stage, documents, replayed, next_seq,
               started_by, started_at, ended_at
        from results.replay
        where replay_id = $1
        "#,
        replay_id,
    )
    .fetch_optional(pool)
    .await?;
    row.map(Replay::try_from).transpose()
}

/// Ends a replay that has not ended.
#[tracing::instrument(name = "db.replay.stop", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn stop_replay(pool: &PgPool, replay_id: Uuid, now: DateTime<Utc>) -> Result<(), Error> {
    sqlx::query!(
        r#"
        update results.replay set stage = 'stopped', ended_at = $2, driver = null, driven_until = null
        where replay_id = $1 and stage in ('clearing', 'running')
        "#,
        replay_id,
        now,
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Takes a replay over that nobody drives, for so many seconds.
pub async fn claim_replay(pool: &PgPool, driver: Uuid, seconds: f64) -> Result<Option<Replay>, Error> {
    let row = sqlx::query_as!(
        Row,
        r#"
        update results.replay set driver = $1, driven_until = clock_timestamp() + make_interval(secs => $2)
        where replay_id = (
            select replay_id from results.replay
            where stage in ('clearing', 'running') and (driven_until is null or driven_until < clock_timestamp())
            order by started_at
            limit 1
            for update skip locked)
        returning replay_id, stream_id, source_id, logical_date, from_seq, to_seq, speed, stage, documents, replayed,
                  next_seq, started_by, started_at, ended_at
        "#,
        driver,
        seconds,
    )
    .fetch_optional(pool)
    .await?;
    row.map(Replay::try_from).transpose()
}

/// Moves a replay on, and keeps it for so many more seconds; false where the driver has lost it. The row stays locked until
/// the transaction ends.
#[tracing::instrument(name = "db.replay.advance", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn advance_replay(
    db: impl PgExecutor<'_>,
    (replay_id, driver): (Uuid, Uuid),
    (next_seq, more): (i64, i64),
    seconds: f64,
) -> Result<bool, Error> {
    let moved = sqlx::query!(
        r#"
        update results.replay
        set next_seq = greatest(next_seq, $3), replayed = replayed + $4,
            driven_until = clock_timestamp() + make_interval(secs => $5)
        where replay_id = $1 and driver = $2 and stage in ('clearing', 'running')
        "#,
        replay_id,
        driver,
        next_seq,
        more,
        seconds,
    )
    .execute(db)
    .await?;
    Ok(moved.rows_affected() == 1)
}

/// Sets the stage of a replay that the driver has, and leaves it where that is the last one.
#[tracing::instrument(name = "db.replay.set_stage", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn set_replay_stage(
    db: impl PgExecutor<'_>,
    (replay_id, driver): (Uuid, Uuid),
    stage: &str,
    ended_at: Option<DateTime<Utc>>,
) -> Result<bool, Error> {
    let set = sqlx::query!(
        r#"
        update results.replay set stage = $3, ended_at = $4
        where replay_id = $1 and driver = $2 and stage in ('clearing', 'running')
        "#,
        replay_id,
        driver,
        stage,
        ended_at,
    )
    .execute(db)
    .await?;
    Ok(set.rows_affected() == 1)
}

/// Leaves a replay to whoever comes next.
#[tracing::instrument(name = "db.replay.release", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn release_replay(pool: &PgPool, (replay_id, driver): (Uuid, Uuid)) -> Result<(), Error> {
    sqlx::query!(
        "update results.replay set driver = null, driven_until = null where replay_id = $1 and driver = $2",
        replay_id,
        driver,
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// The next documents of a range, in order: as many as memory is meant to hold, one at least.
#[tracing::instrument(name = "db.replay.page", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn list_originals(pool: &PgPool, replay: &Replay, next_seq: i64) -> Result<Vec<Original>, Error> {
    // The lengths are counted first, from the rows' heads: no body is read that the page does not hold.
    let rows = sqlx::query!(
        r#"
        with sized as (
            select seq, coalesce(raw_size, octet_length(raw)) as size
            from results.log
            where stream_id = $1 and seq between $2 and $3 and ($4::date is null or logical_date = $4) and raw is not null
            order by seq
            limit $5
        ), summed as (
            select seq, size, sum(size) over (order by seq) as until from sized
        )
        select l.seq, l.received_at, l.raw as "raw!"
        from summed s
        join results.log l on l.stream_id = $1 and l.seq = s.seq
        where s.until - s.size <= $6
        order by l.seq
        "#,
        replay.source_id,
        next_seq,
        replay.to_seq,
        replay.logical_date,
        PAGE,
        PAGE_BYTES,
    )
    .fetch_all(pool)
    .await?;
    let original = |seq, received_at, raw| Ok(Original { seq, received_at, raw: Bytes::from(unpack(raw)?) });
    rows.into_iter().map(|row| original(row.seq, row.received_at, row.raw)).collect()
}

/// Takes some of a rehearsal's documents away, with what was decided about them; false where none was left. Its stream is
/// locked by the caller.
#[tracing::instrument(name = "db.replay.clear", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn clear_stream(tx: &mut PgTransaction<'_>, stream_id: &str) -> Result<bool, Error> {
    let entries = sqlx::query!(
        r#"
        delete from results.log
        where stream_id = $1 and seq in (select seq from results.log where stream_id = $1 order by seq limit $2)
        "#,
        stream_id,
        CLEARED,
    )
    .execute(&mut **tx)
    .await?;
    if entries.rows_affected() > 0 {
        return Ok(true);
    }
    let documents = sqlx::query!(
        r#"
        with gone as materialized (select document_id from results.document where stream_id = $1 limit $2),
             decisions as (delete from results.access_decision d using gone where d.document_id = gone.document_id),
             embargoes as (delete from results.embargo e using gone where e.document_id = gone.document_id)
        delete from results.document d using gone where d.document_id = gone.document_id
        "#,
        stream_id,
        CLEARED,
    )
    .execute(&mut **tx)
    .await?;
    Ok(documents.rows_affected() > 0)
}

/// Takes away what a rehearsal knows beside its documents: days, venues, serials, and where rights changed. With the new
/// epoch, so that nothing of before is added behind it.
#[tracing::instrument(name = "db.replay.forget", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn forget_days(tx: &mut PgTransaction<'_>, stream_id: &str) -> Result<(), Error> {
    sqlx::query!(
        r#"
        with serials as (delete from results.source_serial where stream_id = $1),
             clocks as (delete from results.venue_clock where stream_id = $1),
             days as (delete from results.logical_day where stream_id = $1),
             manifests as (delete from results.manifest where stream_id = $1)
        delete from results.rights_entry where stream_id = $1
        "#,
        stream_id,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Begins a cleared stream anew: cursors of before are of another epoch.
#[tracing::instrument(name = "db.replay.begin_stream", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn begin_stream(tx: &mut PgTransaction<'_>, stream_id: &str, epoch: &str) -> Result<(), Error> {
    sqlx::query!(
        "update results.stream set epoch = $2, seq = 0, whole_from = 1, swept_until = 1 where stream_id = $1",
        stream_id,
        epoch,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Those of these streams that exist, with their places.
pub async fn list_positions(
    db: impl PgExecutor<'_>,
    stream_ids: &[String],
) -> Result<Vec<(String, super::Position)>, Error> {
    let rows = sqlx::query!(
        "select stream_id, epoch, seq from results.stream where stream_id = any ($1) order by stream_id",
        stream_ids,
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.stream_id, super::Position { epoch: row.epoch, seq: row.seq }))
        .collect())
}
