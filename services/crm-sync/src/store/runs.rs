use domain::{DateTime, Utc, Uuid};
use sqlx::{PgExecutor, PgTransaction};

use crate::{
    Error,
    run::{Run, State},
};

struct Row {
    run_id: Uuid,
    destination_id: Uuid,
    object_id: Uuid,
    state: String,
    counts: serde_json::Value,
    cursor: i64,
    last_ordinal: i64,
    failure: Option<String>,
    traceparent: Option<String>,
    created_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
    plan: serde_json::Value,
}

impl Row {
    fn run(self) -> Result<Run, Error> {
        let stored = |what| Error::Stored { what };
        Ok(Run {
            run_id: self.run_id,
            destination_id: self.destination_id,
            object_id: self.object_id,
            state: State::find(&self.state).ok_or(stored("run state"))?,
            plan: serde_json::from_value(self.plan).map_err(|_| stored("plan"))?,
            counts: serde_json::from_value(self.counts).map_err(|_| stored("run counts"))?,
            cursor: self.cursor,
            last_ordinal: self.last_ordinal,
            created_at: self.created_at,
            ended_at: self.ended_at,
            failure: self.failure,
            traceparent: self.traceparent,
        })
    }
}

/// A planned run with its plan.
#[tracing::instrument(name = "db.run.insert", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn insert_run(tx: &mut PgTransaction<'_>, run: &Run, by: &str) -> Result<(), Error> {
    let counts = serde_json::to_value(run.counts).map_err(|_| Error::Stored { what: "run counts" })?;
    let plan = serde_json::to_value(&run.plan).map_err(|_| Error::Stored { what: "plan" })?;
    sqlx::query!(
        r#"
        insert into crmsync.sync_run (run_id, object_id, state, counts, cursor, last_ordinal, created_by, created_at)
        values ($1, $2, $3, $4, $5, $6, $7, $8)
        "#,
        run.run_id,
        run.object_id,
        run.state.name(),
        counts,
        run.cursor,
        run.last_ordinal,
        by,
        run.created_at,
    )
    .execute(&mut **tx)
    .await?;
    sqlx::query!(
        "insert into crmsync.plan (run_id, hash, body) values ($1, $2, $3)",
        run.run_id,
        run.plan.hash,
        plan,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// One run.
#[tracing::instrument(name = "db.run.load", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn load_run(db: impl PgExecutor<'_>, run_id: Uuid) -> Result<Option<Run>, Error> {
    let row = sqlx::query_as!(
        Row,
        r#"
        select r.run_id, o.destination_id, r.object_id, r.state, r.counts, r.cursor, r.last_ordinal, r.failure,
               r.traceparent, r.created_at, r.ended_at, p.body as plan
        from crmsync.sync_run r
        join crmsync.destination_object o using (object_id)
        join crmsync.plan p using (run_id)
        where r.run_id = $1
        "#,
        run_id,
    )
    .fetch_optional(db)
    .await?;
    row.map(Row::run).transpose()
}

/// One run, locked.
#[tracing::instrument(name = "db.run.lock", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn lock_run(tx: &mut PgTransaction<'_>, run_id: Uuid) -> Result<Option<Run>, Error> {
    let locked = sqlx::query_scalar!(
        r#"select 1 as "one!" from crmsync.sync_run where run_id = $1 for update"#,
        run_id,
    )
    .fetch_optional(&mut **tx)
    .await?;
    if locked.is_none() {
        return Ok(None);
    }
    load_run(&mut **tx, run_id).await
}

/// The run of an object that is under way.
pub async fn find_running(db: impl PgExecutor<'_>, object_id: Uuid) -> Result<Option<Run>, Error> {
    let row = sqlx::query_as!(
        Row,
        r#"
        select r.run_id, o.destination_id, r.object_id, r.state, r.counts, r.cursor, r.last_ordinal, r.failure,
               r.traceparent, r.created_at, r.ended_at, p.body as plan
        from crmsync.sync_run r
        join crmsync.destination_object o using (object_id)
        join crmsync.plan p using (run_id)
        where r.object_id = $1 and r.state = 'running'
        "#,
        object_id,
    )
    .fetch_optional(db)
    .await?;
    row.map(Row::run).transpose()
}

/// Writes a locked run. `by` is whoever applies it, if anybody does now.
///
/// # Errors
/// [`Error::Busy`] when another one of its object is under way.
#[tracing::instrument(name = "db.run.save", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn save_run(tx: &mut PgTransaction<'_>, run: &Run, by: Option<&str>) -> Result<(), Error> {
    let counts = serde_json::to_value(run.counts).map_err(|_| Error::Stored { what: "run counts" })?;
    sqlx::query!(
        r#"
        update crmsync.sync_run
        set state = $2, counts = $3, cursor = $4, failure = $5, traceparent = $6, ended_at = $7,
            applied_by = coalesce($8, applied_by)
        where run_id = $1
        "#,
        run.run_id,
        run.state.name(),
        counts,
        run.cursor,
        run.failure,
        run.traceparent,
        run.ended_at,
        by,
    )
    .execute(&mut **tx)
    .await
    .map_err(|error| match chassis::constraint(&error) {
        Some("sync_run_running") => Error::Busy,
        _ => error.into(),
    })?;
    Ok(())
}
