//! What an operator says about a database that the relay refuses: that it was restored, or that it is the same one after
//! a failover.

use std::time::Duration;

use chassis::{Operator, Stop};
use domain::Service;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool, PgTransaction};
use tokio::time::{Instant, sleep};

use crate::{Error, fact::VERSION_BITS};

/// The timeline that the database writes on.
pub(super) const TIMELINE: &str =
    "('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int";

/// A relay that refuses takes the lock now and then for a moment.
const LOCK: Duration = Duration::from_secs(10);

/// Same database, new timeline, no commit lost.
pub(super) async fn accept_timeline(operator: &Operator, pool: &PgPool) -> Result<(), Stop> {
    let schema = operator.service().short();
    let sql = format!(
        "select coalesce(system_identifier = (select system_identifier from pg_control_system()), true),
                timeline is not distinct from {TIMELINE}
         from {schema}.relay_cursor"
    );
    let (same_system, same_timeline): (bool, bool) =
        sqlx::query_as(AssertSqlSafe(sql)).fetch_one(pool).await?;
    if !same_system {
        return Err(Stop::Refused(
            "this database is of another cluster, so transaction ids started again: `outbox rebase` takes it"
                .to_owned(),
        ));
    }
    if same_timeline {
        return operator.say("the timeline is the cursor's already, nothing is to do");
    }
    operator.confirm(
        "would take the database's new timeline for the cursor's: right only if the failover lost no commit",
    )?;
    let sql = format!("update {schema}.relay_cursor set timeline = {TIMELINE}");
    sqlx::query(AssertSqlSafe(sql)).execute(pool).await?;
    tracing::warn!(verb = "outbox accept-timeline", "an operator takes a database after a failover");
    operator.say("the timeline is accepted, the relay goes on by itself")
}

/// A restored database: its rows get positions of its own.
pub(super) async fn rebase(operator: &Operator, pool: &PgPool) -> Result<(), Stop> {
    operator.confirm(
        "would take this database for a restored one: sent rows stay sent, unsent ones go out first, and the generation \
         of all versions is raised for good. Stop the service first",
    )?;
    let service = operator.service();
    // The relay's lock is the session's, so it is no connection of the pool.
    let mut connection = PgConnection::connect_with(&pool.connect_options()).await?;
    lock(&mut connection, service).await?;
    let mut tx = connection.begin().await?;
    let moved = shift(&mut tx, service).await?;
    tx.commit().await?;
    connection.close().await?;
    let Moved { generation, unsent } = moved;
    tracing::warn!(verb = "outbox rebase", generation, unsent, "an operator takes a restored database");
    operator.say(&format!(
        "generation {generation}: {unsent} unsent rows go out when the relay starts; {} is added to every version",
        i64::from(generation) << VERSION_BITS
    ))
}

async fn lock(connection: &mut PgConnection, service: Service) -> Result<(), Stop> {
    let until = Instant::now() + LOCK;
    loop {
        let locked: bool =
            sqlx::query_scalar("select pg_try_advisory_lock(hashtextextended($1 || '.relay', 0))")
                .bind(service.short())
                .fetch_one(&mut *connection)
                .await?;
        if locked {
            return Ok(());
        }
        if Instant::now() > until {
            return Err(Stop::TimedOut(format!("a relay of {service} leads: stop the service first")));
        }
        sleep(Duration::from_millis(50)).await;
    }
}

struct Moved {
    generation: i32,
    unsent: u64,
}

async fn shift(tx: &mut PgTransaction<'_>, service: Service) -> Result<Moved, Error> {
    let schema = service.short();
    // Writers that are under way end first, and others wait: every row is seen, and what comes later has a position that
    // is not below the new one, since that is the greater of our transaction's id and the highest that is over.
    let sql = format!(
        "set local lock_timeout = '10s';
         lock table {schema}.outbox in share row exclusive mode"
    );
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut **tx).await?;
    let sql = format!(
        "select position, seq, {schema}.outbox_position(),
                coalesce((select max(seq) from {schema}.outbox), 0)
         from {schema}.relay_cursor
         for update"
    );
    let (position, seq, new, last_seq): (i64, i64, i64, i64) =
        sqlx::query_as(AssertSqlSafe(sql)).fetch_one(&mut **tx).await?;
    // First what was sent, as long as the old cursor tells it from what was not: it lies below every cursor now.
    let sql = format!(
        "update {schema}.outbox set position = 0 where (position, seq) <= ($1, $2) and position >= $3"
    );
    sqlx::query(AssertSqlSafe(sql)).bind(position).bind(seq).bind(new).execute(&mut **tx).await?;
    // Rows of one position go out by seq, which was drawn under the aggregate's lock.
    let sql = format!("update {schema}.outbox set position = $3 where (position, seq) > ($1, $2)");
    let unsent = sqlx::query(AssertSqlSafe(sql)).bind(position).bind(seq).bind(new);
    let unsent = unsent.execute(&mut **tx).await?.rows_affected();
    // Nothing of a leader of the other cluster is on its way to this one's readers that a fence could name.
    let sql = format!("update {schema}.relay_fence set closed_at = now() where closed_at is null");
    sqlx::query(AssertSqlSafe(sql)).execute(&mut **tx).await?;
    let sql = format!(
        "update {schema}.relay_cursor
         set position = $1, seq = $2, generation = generation + 1, saved_at = now(), timeline = {TIMELINE},
             system_identifier = (select system_identifier from pg_control_system())
         returning generation"
    );
    let query = sqlx::query_scalar(AssertSqlSafe(sql)).bind(new - 1).bind(last_seq);
    Ok(Moved { generation: query.fetch_one(&mut **tx).await?, unsent })
}
