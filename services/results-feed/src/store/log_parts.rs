use domain::{DateTime, Utc};
use sqlx::{PgExecutor, PgTransaction};

use crate::{Error, document_type::FeedFlag, log_parts::Part};

/// The parts of a stream, in order.
#[tracing::instrument(name = "db.log_part.list", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn list_parts(db: impl PgExecutor<'_>, stream_id: &str) -> Result<Vec<Part>, Error> {
    let parts = sqlx::query_as!(
        Part,
        r#"
        select from_seq as "from", to_seq as "to", compacted_at is not null as "is_compacted!"
        from results.log_part
        where stream_id = $1
        order by from_seq
        "#,
        stream_id,
    )
    .fetch_all(db)
    .await?;
    Ok(parts)
}

/// Whether this transaction may change parts: one at a time, and nobody waits. Whoever waits for the locks of a change
/// makes every sender behind it wait too, so it gives up soon and comes back.
#[tracing::instrument(name = "db.log_part.try_turn", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn try_parts_turn(tx: &mut PgTransaction<'_>) -> Result<bool, Error> {
    let taken = sqlx::query_scalar!(
        r#"
        select pg_try_advisory_xact_lock(hashtextextended('results.log_part', 0)) as "taken!"
        from set_config('lock_timeout', '250ms', true)
        "#
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(taken)
}

/// Makes a part ahead of its entries.
#[tracing::instrument(name = "db.log_part.make", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn make_part(tx: &mut PgTransaction<'_>, stream_id: &str, part: Part) -> Result<(), Error> {
    sqlx::query!("select results.make_log_part($1, $2, $3)", stream_id, part.from, part.to)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Leaves in a part only what is kept when everything before `until` may go; how many rows that are.
#[tracing::instrument(name = "db.log_part.compact", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn compact_part(
    tx: &mut PgTransaction<'_>,
    stream_id: &str,
    part: Part,
    until: i64,
    now: DateTime<Utc>,
) -> Result<i64, Error> {
    let kept = sqlx::query_scalar!(
        r#"select results.compact_log_part($1, $2, $3, $4) as "kept!""#,
        stream_id,
        part.from,
        until,
        now
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(kept)
}

/// From where on the log of a stream is whole.
#[tracing::instrument(name = "db.stream.whole_from", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn whole_from(db: impl PgExecutor<'_>, stream_id: &str) -> Result<i64, Error> {
    let from = sqlx::query_scalar!("select whole_from from results.stream where stream_id = $1", stream_id)
        .fetch_optional(db)
        .await?;
    from.ok_or(Error::NotFound("stream"))
}

/// Notes that a stream is whole from an entry on only, before anything goes: readers are refused first.
#[tracing::instrument(name = "db.stream.save_whole_from", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn save_whole_from(db: impl PgExecutor<'_>, stream_id: &str, from: i64) -> Result<(), Error> {
    sqlx::query!(
        "update results.stream set whole_from = $2 where stream_id = $1 and whole_from < $2",
        stream_id,
        from
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Up to where nothing is left that may go.
#[tracing::instrument(name = "db.stream.swept_until", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn swept_until(db: impl PgExecutor<'_>, stream_id: &str) -> Result<i64, Error> {
    let until = sqlx::query_scalar!("select swept_until from results.stream where stream_id = $1", stream_id)
        .fetch_optional(db)
        .await?;
    until.ok_or(Error::NotFound("stream"))
}

/// Notes up to where nothing is left that may go, and forgets what was to be sent once more and went.
#[tracing::instrument(name = "db.stream.save_swept", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn save_swept(
    tx: &mut PgTransaction<'_>,
    stream_id: &str,
    feed_flag: FeedFlag,
    until: i64,
) -> Result<u64, Error> {
    sqlx::query!(
        "update results.stream set swept_until = $2 where stream_id = $1 and swept_until < $2",
        stream_id,
        until
    )
    .execute(&mut **tx)
    .await?;
    let gone = sqlx::query!(
        r#"
        delete from results.delivery_resend r
        using results.delivery_target t
        where t.target_id = r.target_id and t.feed_flag = $2 and r.seq < $3
          and not exists (select from results.log l where l.stream_id = $1 and l.seq = r.seq)
        "#,
        stream_id,
        feed_flag.name(),
        until,
    )
    .execute(&mut **tx)
    .await?;
    Ok(gone.rows_affected())
}

/// Deletes from a range of entries what is not kept when everything before `until` may go; how many rows that were.
#[tracing::instrument(name = "db.log.sweep", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn sweep(
    tx: &mut PgTransaction<'_>,
    stream_id: &str,
    (from, to): (i64, i64),
    until: i64,
) -> Result<u64, Error> {
    let deleted = sqlx::query!(
        r#"
        delete from results.log
        where stream_id = $1 and seq >= $2 and seq < $3
          and seq not in (select results.kept_of_log($1, $2, $3, $4))
        "#,
        stream_id,
        from,
        to,
        until,
    )
    .execute(&mut **tx)
    .await?;
    Ok(deleted.rows_affected())
}
