use std::{borrow::Cow, time::Duration};

use domain::Service;
use sqlx::{
    AssertSqlSafe, Connection as _, PgConnection, PgPool,
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
    make_floor(&mut connection, service).await?;
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

/// Why binary and schema do not fit, if so: the schema lacks migrations, or the binary is too old for it.
pub(crate) async fn unfit(
    pool: &PgPool,
    migrator: &Migrator,
    service: Service,
) -> Result<Option<String>, StartError> {
    let mut connection = pool.acquire().await?;
    let missing = missing(&mut connection, migrator, service).await?;
    if !missing.is_empty() {
        return Ok(Some(format!("lacks migrations {missing:?}")));
    }
    let newest = migrator.iter().map(|migration| migration.version).max().unwrap_or(0);
    let floor = floor(&mut connection, service).await?;
    Ok((newest < floor).then(|| {
        format!("this version knows migrations up to {newest}, and the schema needs one that knows {floor}")
    }))
}

// Versions that this binary has and the database does not.
async fn missing(
    connection: &mut PgConnection,
    migrator: &Migrator,
    service: Service,
) -> Result<Vec<i64>, StartError> {
    let migrator = own(migrator, service);
    let wanted = migrator.iter().map(|migration| migration.version);
    if !is_there(connection, &migrator.table_name).await? {
        return Ok(wanted.collect());
    }
    let applied = connection.list_applied_migrations(&migrator.table_name).await?;
    Ok(wanted.filter(|version| !applied.iter().any(|applied| applied.version == *version)).collect())
}

// A migration that contracts (a column is dropped, a meaning changes) raises it in the same file, `update
// <schema>.schema_floor set version = ...`, to the oldest migration that a binary must know.
async fn floor(connection: &mut PgConnection, service: Service) -> Result<i64, StartError> {
    let table = format!("{}.schema_floor", service.short());
    if !is_there(connection, &table).await? {
        return Ok(0);
    }
    let floor = sqlx::query_scalar(AssertSqlSafe(format!("select coalesce(max(version), 0) from {table}")));
    Ok(floor.fetch_one(connection).await?)
}

// Before the migrations, since one of them may raise it.
async fn make_floor(connection: &mut PgConnection, service: Service) -> Result<(), sqlx::Error> {
    let schema = service.short();
    if is_there(connection, &format!("{schema}.schema_floor")).await? {
        return Ok(());
    }
    let sql = format!(
        "create schema if not exists {schema};
         create table {schema}.schema_floor (
             one     boolean primary key default true check (one),
             version bigint  not null
         );
         insert into {schema}.schema_floor (version) values (0);"
    );
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await?;
    Ok(())
}

async fn is_there(connection: &mut PgConnection, table: &str) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("select to_regclass($1) is not null").bind(table).fetch_one(connection).await
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
