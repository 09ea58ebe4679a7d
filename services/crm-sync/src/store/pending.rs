use domain::{DateTime, ProfileId, Utc, Uuid};
use sqlx::{PgExecutor, PgTransaction};

use crate::{Error, delivery::Lane};

/// Somebody who has to be looked at again.
#[derive(Debug, Clone)]
pub struct Pending {
    /// Who.
    pub profile_id: ProfileId,
    /// How urgent.
    pub lane: Lane,
    /// Raised by each change that collapses into it.
    pub revision: i64,
    /// Goes out even if nothing seems changed.
    pub forced: bool,
    /// Tries so far.
    pub tries: i32,
    /// The trace of the change.
    pub traceparent: Option<String>,
    /// Traces of the changes that collapsed into it.
    pub links: Vec<String>,
}

/// A row that goes again later.
#[derive(Debug, Clone)]
pub struct Retry {
    /// Who.
    pub profile_id: ProfileId,
    /// How urgent.
    pub lane: Lane,
    /// Tries so far.
    pub tries: i32,
    /// Not before.
    pub not_before: DateTime<Utc>,
}

/// Puts a person into the queue of each destination to which something may go. A change that waits already takes the newer
/// trace, and keeps the older ones as links.
#[tracing::instrument(name = "db.pending.enqueue", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn enqueue(
    tx: &mut PgTransaction<'_>,
    profile_id: ProfileId,
    lane: Lane,
    traceparent: Option<&str>,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    sqlx::query!(
        r#"
        insert into crmsync.pending as p (object_id, profile_id, lane, not_before, since, traceparent)
        select o.object_id, $1, $2, $4, $4, $3
        from crmsync.destination_object o
        join crmsync.destination d using (destination_id)
        where d.state in ('active', 'paused')
        on conflict (object_id, profile_id) do update
        set lane = case when 'cease' in (p.lane, excluded.lane) then 'cease' else 'change' end,
            revision = p.revision + 1,
            tries = 0,
            not_before = excluded.not_before,
            links = (case when p.traceparent is null then p.links else p.links || p.traceparent end)[1:16],
            traceparent = coalesce(excluded.traceparent, p.traceparent)
        "#,
        profile_id.0,
        lane.name(),
        traceparent,
        now,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Puts people into one object's queue, to go out whatever seems unchanged.
#[tracing::instrument(name = "db.pending.enqueue_all", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn enqueue_all(
    tx: &mut PgTransaction<'_>,
    object_id: Uuid,
    people: &[(Uuid, Lane, Option<String>)],
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let ids: Vec<Uuid> = people.iter().map(|(id, ..)| *id).collect();
    let lanes: Vec<String> = people.iter().map(|(_, lane, _)| lane.name().to_owned()).collect();
    let traces: Vec<Option<String>> = people.iter().map(|(.., trace)| trace.clone()).collect();
    sqlx::query!(
        r#"
        insert into crmsync.pending as p (object_id, profile_id, lane, forced, not_before, since, traceparent)
        select $1, again.profile_id, again.lane, true, $5, $5, again.traceparent
        from unnest($2::uuid[], $3::text[], $4::text[]) as again (profile_id, lane, traceparent)
        on conflict (object_id, profile_id) do update
        set lane = case when 'cease' in (p.lane, excluded.lane) then 'cease' else 'change' end,
            revision = p.revision + 1,
            forced = true,
            traceparent = coalesce(p.traceparent, excluded.traceparent)
        "#,
        object_id,
        &ids,
        &lanes,
        &traces as &[Option<String>],
        now,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// People of an object who are due, urgent ones first and then the longest waiting; only urgent ones, if nothing else may
/// go.
pub async fn due(
    db: impl PgExecutor<'_>,
    object_id: Uuid,
    urgent_only: bool,
    most: i64,
    now: DateTime<Utc>,
) -> Result<Vec<Pending>, Error> {
    let rows = sqlx::query!(
        r#"
        select profile_id, lane, revision, forced, tries, traceparent, links
        from crmsync.pending
        join crmsync.subject using (profile_id)
        where object_id = $1 and not_before <= $2 and (lane = 'cease' or not $3)
        order by lane, since
        limit $4
        "#,
        object_id,
        now,
        urgent_only,
        most,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Pending {
                profile_id: row.profile_id.into(),
                lane: Lane::find(&row.lane).ok_or(Error::Stored { what: "lane" })?,
                revision: row.revision,
                forced: row.forced,
                tries: row.tries,
                traceparent: row.traceparent,
                links: row.links,
            })
        })
        .collect()
}

/// Takes people out of the queue, but those about whom something came in between.
#[tracing::instrument(name = "db.pending.remove", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn remove(tx: &mut PgTransaction<'_>, object_id: Uuid, done: &[(Uuid, i64)]) -> Result<(), Error> {
    let (ids, revisions): (Vec<Uuid>, Vec<i64>) = done.iter().copied().unzip();
    sqlx::query!(
        r#"
        delete from crmsync.pending p
        using unnest($2::uuid[], $3::bigint[]) as done (profile_id, revision)
        where p.object_id = $1 and p.profile_id = done.profile_id and p.revision = done.revision
        "#,
        object_id,
        &ids,
        &revisions,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// What turned out not to be urgent waits with the others.
#[tracing::instrument(name = "db.pending.demote", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn demote(
    tx: &mut PgTransaction<'_>,
    object_id: Uuid,
    people: &[(Uuid, i64)],
) -> Result<(), Error> {
    let (ids, revisions): (Vec<Uuid>, Vec<i64>) = people.iter().copied().unzip();
    sqlx::query!(
        r#"
        update crmsync.pending p
        set lane = 'change'
        from unnest($2::uuid[], $3::bigint[]) as other (profile_id, revision)
        where p.object_id = $1 and p.profile_id = other.profile_id and p.revision = other.revision
        "#,
        object_id,
        &ids,
        &revisions,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Puts refused rows back, to go again later. Whoever waits already goes at their own time.
#[tracing::instrument(name = "db.pending.postpone", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn postpone(
    tx: &mut PgTransaction<'_>,
    object_id: Uuid,
    retries: &[Retry],
    now: DateTime<Utc>,
) -> Result<(), Error> {
    for retry in retries {
        sqlx::query!(
            r#"
            insert into crmsync.pending (object_id, profile_id, lane, tries, not_before, since)
            values ($1, $2, $3, $4, $5, $6)
            on conflict (object_id, profile_id) do nothing
            "#,
            object_id,
            retry.profile_id.0,
            retry.lane.name(),
            retry.tries,
            retry.not_before,
            now,
        )
        .execute(&mut **tx)
        .await?;
    }
    Ok(())
}
