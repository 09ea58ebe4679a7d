use std::{borrow::Cow, time::Duration};

use domain::Service;
use sqlx::{
    Connection as _, PgConnection, PgPool,
    migrate::{Migrate as _, MigrateError, Migrator},
};
use tokio::time::sleep;

use crate::StartError;

/// How often a process looks whether another one has finished migrating.
const LOOK: Duration = Duration::from_millis(250);

/// Brings the schema of a service up to date. Processes that start together take turns by a lock that is tried, never
/// waited for: a session that is blocked in `pg_advisory_lock` would hold back `create index concurrently`.
pub(crate) async fn run(pool: &PgPool, migrator: &Migrator, service: Service) -> Result<(), StartError> {
    let migrator = own(migrator, service);
    // A connection of its own: the lock is the session's, and goes with it.
    let mut connection = PgConnection::connect_with(&pool.connect_options()).await?;
    while !lock(&mut connection, service).await? {
        sleep(LOOK).await;
    }
    migrator.run_direct(None, &mut connection, false).await?;
    connection.close().await?;
    Ok(())
}

async fn lock(connection: &mut PgConnection, service: Service) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("select pg_try_advisory_lock(hashtext('kotinos.migrate'), hashtext($1))")
        .bind(service.short())
        .fetch_one(connection)
        .await
}

/// Versions that this binary has and the database does not.
pub(crate) async fn missing(
    pool: &PgPool,
    migrator: &Migrator,
    service: Service,
) -> Result<Vec<i64>, StartError> {
    let migrator = own(migrator, service);
    let mut connection = pool.acquire().await?;
    let table: Option<String> = sqlx::query_scalar("select to_regclass($1)::text")
        .bind(migrator.table_name.as_ref())
        .fetch_one(&mut *connection)
        .await?;
    let wanted = migrator.iter().map(|migration| migration.version);
    if table.is_none() {
        return Ok(wanted.collect());
    }
    let applied = connection.list_applied_migrations(&migrator.table_name).await?;
    Ok(wanted.filter(|version| !applied.iter().any(|applied| applied.version == *version)).collect())
}

/// Whether trying again can help: the database may be away, a migration's own fault stays.
pub(crate) fn may_pass(error: &StartError) -> bool {
    let database = match error.downcast_ref::<MigrateError>() {
        Some(MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) => Some(error),
        Some(_) => return false,
        None => error.downcast_ref::<sqlx::Error>(),
    };
    database.is_some_and(|error| crate::database_code(error) == crate::Code::Unavailable)
}

// The table of applied migrations lies in the service's own schema, so that one database serves every service. Migrations
// that a newer version has applied are no fault: version N-1 runs on N's schema.
fn own(migrator: &Migrator, service: Service) -> Migrator {
    let mut own = Migrator { migrations: migrator.migrations.clone(), ..Migrator::DEFAULT };
    own.set_ignore_missing(true);
    own.set_locking(false);
    own.table_name = Cow::Owned(format!("{}._sqlx_migrations", service.short()));
    own.create_schemas = Cow::Owned(vec![Cow::Borrowed(service.short())]);
    own
}
