use std::collections::HashMap;

use domain::{DateTime, Utc, Uuid};
use sqlx::{Connection, PgConnection, PgPool, PgTransaction};

use crate::{
    Error,
    delivery::Progress,
    delivery_target::{DeliveryMode, DeliveryTarget, Filter},
};

// Half of the key of the advisory locks, so that other users of such locks do not collide: "rdel".
const CLASS: i32 = 0x7264_656c;

struct TargetRow {
    target_id: Uuid,
    client_id: String,
    name: String,
    url: String,
    sealed_key: Vec<u8>,
    feed_flag: String,
    prefixes: Vec<String>,
    types: Vec<String>,
    statuses: Vec<String>,
    mode: String,
    paused_at: Option<DateTime<Utc>>,
    parked_at: Option<DateTime<Utc>>,
    version: i64,
    created_at: DateTime<Utc>,
}

/// A target and its sealed key.
pub type StoredTarget = (DeliveryTarget, Vec<u8>);

impl TryFrom<TargetRow> for StoredTarget {
    type Error = Error;

    fn try_from(row: TargetRow) -> Result<Self, Error> {
        let wrong = |what| Error::Corrupt { what };
        let mut filter = Filter {
            prefixes: Vec::with_capacity(row.prefixes.len()),
            types: Vec::with_capacity(row.types.len()),
            statuses: Vec::with_capacity(row.statuses.len()),
            feed_flag: row.feed_flag.parse().map_err(|_| wrong("feed_flag"))?,
        };
        for prefix in &row.prefixes {
            filter.prefixes.push(prefix.parse().map_err(|_| wrong("prefixes"))?);
        }
        for name in &row.types {
            filter.types.push(super::document_type(name)?);
        }
        for name in &row.statuses {
            filter.statuses.push(Filter::status_of(name).map_err(|_| wrong("statuses"))?);
        }
        let target = DeliveryTarget {
            target_id: row.target_id,
            client_id: row.client_id,
            name: row.name,
            url: row.url,
            filter,
            mode: DeliveryMode::of(&row.mode).ok_or(wrong("mode"))?,
            paused_at: row.paused_at,
            parked_at: row.parked_at,
            version: row.version,
            created_at: row.created_at,
        };
        Ok((target, row.sealed_key))
    }
}

/// Takes the turn for new targets, so that two at once do not pass a limit together; how many the client has, and all.
#[tracing::instrument(name = "db.delivery_target.count", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn count_targets(tx: &mut PgTransaction<'_>, client_id: &str) -> Result<(i64, i64), Error> {
    sqlx::query!("select pg_advisory_xact_lock($1, 0) as locked", CLASS).fetch_one(&mut **tx).await?;
    let row = sqlx::query!(
        r#"
        select count(*) filter (where client_id = $1) as "own!", count(*) as "every!"
        from results.delivery_target
        "#,
        client_id
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok((row.own, row.every))
}

/// Writes a new target, whose lanes begin behind `seq`.
#[tracing::instrument(name = "db.delivery_target.insert", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn insert_target(
    tx: &mut PgTransaction<'_>,
    target: &DeliveryTarget,
    sealed_key: &[u8],
    seq: i64,
) -> Result<(), Error> {
    let [prefixes, types, statuses] = columns(&target.filter);
    sqlx::query!(
        r#"
        insert into results.delivery_target
            (target_id, client_id, name, url, sealed_key, feed_flag, prefixes, types, statuses, mode, version, created_at)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
        "#,
        target.target_id,
        target.client_id,
        target.name,
        target.url,
        sealed_key,
        target.filter.feed_flag.name(),
        &prefixes,
        &types,
        &statuses,
        target.mode.name(),
        target.version,
        target.created_at,
    )
    .execute(&mut **tx)
    .await?;
    sqlx::query!(
        r#"
        insert into results.delivery_progress (target_id, lane, acknowledged)
        values ($1, 'results', $2), ($1, 'bulk', $2), ($1, 'resend', 0)
        "#,
        target.target_id,
        seq,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

fn columns(filter: &Filter) -> [Vec<String>; 3] {
    [
        filter.prefixes.iter().map(|prefix| prefix.as_str().to_owned()).collect(),
        filter.types.iter().map(|document_type| document_type.name().to_owned()).collect(),
        filter.statuses.iter().map(|status| Filter::status_name(*status).to_owned()).collect(),
    ]
}

/// A target by its id.
#[tracing::instrument(name = "db.delivery_target.find", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn find_target(pool: &PgPool, target_id: Uuid) -> Result<Option<StoredTarget>, Error> {
    let row = sqlx::query_as!(
        TargetRow,
        r#"
        select target_id, client_id, name, url, sealed_key, feed_flag, prefixes, types, statuses, mode, paused_at,
               parked_at, version, created_at
        from results.delivery_target
        where target_id = $1
        "#,
        target_id,
    )
    .fetch_optional(pool)
    .await?;
    row.map(StoredTarget::try_from).transpose()
}

/// The same, locked.
#[tracing::instrument(name = "db.delivery_target.load_for_update", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn load_target_for_update(
    tx: &mut PgTransaction<'_>,
    target_id: Uuid,
) -> Result<Option<StoredTarget>, Error> {
    let row = sqlx::query_as!(
        TargetRow,
        r#"
        select target_id, client_id, name, url, sealed_key, feed_flag, prefixes, types, statuses, mode, paused_at,
               parked_at, version, created_at
        from results.delivery_target
        where target_id = $1
        for update
        "#,
        target_id,
    )
    .fetch_optional(&mut **tx)
    .await?;
    row.map(StoredTarget::try_from).transpose()
}

/// The targets of a client, or all of them, oldest first.
#[tracing::instrument(name = "db.delivery_target.list", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn list_targets(pool: &PgPool, client_id: Option<&str>) -> Result<Vec<StoredTarget>, Error> {
    // Their number has a limit.
    let rows = sqlx::query_as!(
        TargetRow,
        r#"
        select target_id, client_id, name, url, sealed_key, feed_flag, prefixes, types, statuses, mode, paused_at,
               parked_at, version, created_at
        from results.delivery_target
        where $1::text is null or client_id = $1
        order by created_at, target_id
        "#,
        client_id,
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(StoredTarget::try_from).collect()
}

/// Writes a locked target.
#[tracing::instrument(name = "db.delivery_target.save", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn save_target(
    tx: &mut PgTransaction<'_>,
    target: &DeliveryTarget,
    sealed_key: &[u8],
) -> Result<(), Error> {
    let [prefixes, types, statuses] = columns(&target.filter);
    sqlx::query!(
        r#"
        update results.delivery_target
        set name = $2, url = $3, sealed_key = $4, prefixes = $5, types = $6, statuses = $7, mode = $8, paused_at = $9,
            parked_at = $10, version = $11
        where target_id = $1
        "#,
        target.target_id,
        target.name,
        target.url,
        sealed_key,
        &prefixes,
        &types,
        &statuses,
        target.mode.name(),
        target.paused_at,
        target.parked_at,
        target.version,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Forgets how long the documents of a target were refused. Whoever drives it starts again, since it may know better.
#[tracing::instrument(name = "db.delivery_progress.forgive", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn forgive_target(
    tx: &mut PgTransaction<'_>,
    target_id: Uuid,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    sqlx::query!(
        "update results.delivery_progress set failing_since = null, term = term + 1 where target_id = $1",
        target_id
    )
    .execute(&mut **tx)
    .await?;
    sqlx::query!(
        r#"
        update results.delivery_resend
        set refused_since = $2
        where target_id = $1 and refused_since is not null
        "#,
        target_id,
        now,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Deletes a locked target and all that waits for it.
#[tracing::instrument(name = "db.delivery_target.delete", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn delete_target(tx: &mut PgTransaction<'_>, target_id: Uuid) -> Result<(), Error> {
    sqlx::query!("delete from results.delivery_target where target_id = $1", target_id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Nothing is sent to it until somebody resumes it.
#[tracing::instrument(name = "db.delivery_target.park", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn park_target(pool: &PgPool, target_id: Uuid, now: DateTime<Utc>) -> Result<(), Error> {
    sqlx::query!(
        r#"
        update results.delivery_target
        set parked_at = coalesce(parked_at, $2), version = version + 1
        where target_id = $1
        "#,
        target_id,
        now,
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// The targets that are neither paused nor parked, with their versions.
pub async fn list_running_targets(pool: &PgPool) -> Result<HashMap<Uuid, i64>, Error> {
    let rows = sqlx::query!(
        "select target_id, version from results.delivery_target where paused_at is null and parked_at is null"
    )
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(|row| (row.target_id, row.version)).collect())
}

/// Fences off whoever drove the target before; gives the number of the new term.
#[tracing::instrument(name = "db.delivery_progress.begin_term", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn begin_term(pool: &PgPool, target_id: Uuid) -> Result<i64, Error> {
    let terms = sqlx::query_scalar!(
        r#"
        update results.delivery_progress
        set term = (select max(term) + 1 from results.delivery_progress where target_id = $1)
        where target_id = $1
        returning term
        "#,
        target_id,
    )
    .fetch_all(pool)
    .await?;
    terms.into_iter().max().ok_or(Error::NotFound("delivery target"))
}

/// How far a lane of a target is.
#[tracing::instrument(name = "db.delivery_progress.load", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn load_progress(pool: &PgPool, target_id: Uuid, lane: &str) -> Result<Option<Progress>, Error> {
    let progress = sqlx::query_as!(
        Progress,
        r#"
        select acknowledged, ahead, failing_since
        from results.delivery_progress
        where target_id = $1 and lane = $2
        "#,
        target_id,
        lane,
    )
    .fetch_optional(pool)
    .await?;
    Ok(progress)
}

/// Saves how far a lane is; false for one whose term is over.
#[tracing::instrument(name = "db.delivery_progress.save", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn save_progress(
    pool: &PgPool,
    target_id: Uuid,
    lane: &str,
    term: i64,
    progress: &Progress,
) -> Result<bool, Error> {
    let saved = sqlx::query!(
        r#"
        update results.delivery_progress
        set acknowledged = $4, ahead = $5, failing_since = $6
        where target_id = $1 and lane = $2 and term = $3
        "#,
        target_id,
        lane,
        term,
        progress.acknowledged,
        &progress.ahead,
        progress.failing_since,
    )
    .execute(pool)
    .await?;
    Ok(saved.rows_affected() == 1)
}

/// A database session of its own, whose locks say which targets this replica drives: they end with it, however it ends.
#[derive(Debug)]
pub struct DeliverySession(PgConnection);

impl DeliverySession {
    /// Opens one, outside the pool for good.
    pub async fn open(pool: &PgPool) -> Result<Self, Error> {
        Ok(Self(PgConnection::connect_with(&pool.connect_options()).await?))
    }

    /// Locks those that no other session has locked, and gives them.
    pub async fn try_lock(&mut self, target_ids: &[Uuid]) -> Result<Vec<Uuid>, Error> {
        let rows = sqlx::query!(
            r#"
            select target_id as "target_id!", pg_try_advisory_lock($1, hashtext(target_id::text)) as "locked!"
            from unnest($2::uuid[]) as wanted (target_id)
            "#,
            CLASS,
            target_ids,
        )
        .fetch_all(&mut self.0)
        .await?;
        Ok(rows.into_iter().filter(|row| row.locked).map(|row| row.target_id).collect())
    }

    /// Lets others have it.
    pub async fn unlock(&mut self, target_id: Uuid) -> Result<(), Error> {
        sqlx::query!(
            "select pg_advisory_unlock($1, hashtext($2::text)) as unlocked",
            CLASS,
            target_id.to_string()
        )
        .fetch_one(&mut self.0)
        .await?;
        Ok(())
    }

    /// Lets others have all of them.
    pub async fn close(self) {
        if let Err(error) = self.0.close().await {
            tracing::debug!(%error, "delivery session was gone");
        }
    }
}
