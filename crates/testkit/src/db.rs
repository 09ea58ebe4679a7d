//! A database per test, cloned from a template that has the schema already.

use std::{cell::RefCell, thread};

use aws_lc_rs::digest::{Context, SHA256};
use sqlx::{
    AssertSqlSafe, Connection as _, Executor as _, PgConnection, PgPool, migrate::Migrator,
    postgres::PgPoolOptions,
};
use url::Url;

use crate::stack;

/// Connections of a test's own pool; its service has a pool beside it.
const CONNECTIONS: u32 = 5;

/// Name of the setting that keeps a test's databases.
const KEEP: &str = "KOTINOS_KEEP_DATABASES";

/// A database that nobody else uses. It is dropped when the test's thread ends, so that the tests of a day need no more disk
/// than those that run; with `KOTINOS_KEEP_DATABASES` set it stays, for a look at what a test left.
#[derive(Debug)]
pub struct Db {
    /// For looking, and for what the test does itself.
    pub pool: PgPool,
    /// Of the role that owns it.
    pub url: String,
}

impl Db {
    /// With the schema of a service's migrations, and the record that they ran.
    ///
    /// # Panics
    /// When the environment does not say where PostgreSQL is, or it refuses.
    pub async fn fresh(migrator: &Migrator) -> Self {
        let mut admin = admin().await;
        let template = template(&mut admin, migrator).await;
        Self::create(admin, &template).await
    }

    /// With nothing in it.
    ///
    /// # Panics
    /// When the environment does not say where PostgreSQL is, or it refuses.
    pub async fn empty() -> Self {
        Self::create(admin().await, "template0").await
    }

    /// One that exists.
    ///
    /// # Panics
    /// When it does not.
    pub async fn open(url: &str) -> Self {
        let pool = PgPoolOptions::new().max_connections(CONNECTIONS).connect(url).await;
        let pool = pool.unwrap_or_else(|error| panic!("the test's database cannot be opened: {error}"));
        Self { pool, url: url.to_owned() }
    }

    async fn create(mut admin: PgConnection, template: &str) -> Self {
        let name = stack::fresh_name();
        execute(&mut admin, &format!("create database {name} template {template}")).await;
        close(admin).await;
        MADE.with_borrow_mut(|made| made.0.push(name.clone()));
        Self::open(&url_of(&name)).await
    }
}

// Of a thread and not of a value: a test hands the URL from the process that it killed to the one that follows, and what holds
// connections is gone before the thread is.
thread_local! {
    static MADE: RefCell<Made> = const { RefCell::new(Made(Vec::new())) };
}

// Names of databases.
struct Made(Vec<String>);

impl Drop for Made {
    fn drop(&mut self) {
        if self.0.is_empty() || std::env::var_os(KEEP).is_some() {
            return;
        }
        let names = std::mem::take(&mut self.0);
        // On another thread: this one's runtime is gone, and what a new one needs of a thread may be gone too.
        // One that panicked has said why, and its databases stay until the stack goes.
        let _ = thread::spawn(move || drop_all(&names)).join();
    }
}

fn drop_all(names: &[String]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut admin = admin().await;
        for name in names {
            execute(&mut admin, &format!("drop database {name} with (force)")).await;
        }
        close(admin).await;
    });
}

// The name of the database that has these migrations and is not connected to any more.
async fn template(admin: &mut PgConnection, migrator: &Migrator) -> String {
    let hash = hash(migrator);
    let name = format!("template_{hash:016x}");
    if exists(admin, &name).await {
        return name;
    }
    // One process makes it, the others wait.
    sqlx::query("select pg_advisory_lock($1)")
        .bind(hash.cast_signed())
        .execute(&mut *admin)
        .await
        .expect("a lock");
    if !exists(admin, &name).await {
        make_template(admin, migrator, &name).await;
    }
    sqlx::query("select pg_advisory_unlock($1)")
        .bind(hash.cast_signed())
        .execute(&mut *admin)
        .await
        .expect("a lock");
    name
}

// Under another name first: one whose migrations failed, or whose maker was killed, is never cloned.
async fn make_template(admin: &mut PgConnection, migrator: &Migrator, name: &str) {
    let making = format!("{name}_making");
    execute(admin, &format!("drop database if exists {making} with (force)")).await;
    execute(admin, &format!("create database {making} template template0")).await;
    let mut connection = connect(&url_of(&making)).await;
    let migrated = migrator.run(&mut connection).await;
    migrated.unwrap_or_else(|error| panic!("the migrations do not run on an empty database: {error}"));
    move_record(&mut connection, &migrator.table_name).await;
    close(connection).await;
    execute(admin, &format!("alter database {making} rename to {name}")).await;
    execute(admin, &format!("alter database {name} with is_template true allow_connections false")).await;
}

// A process keeps the record of its migrations in its own schema, which is the one that they make: it shall not run them
// again.
async fn move_record(connection: &mut PgConnection, table: &str) {
    let made: Vec<String> = sqlx::query_scalar(
        "select nspname::text from pg_namespace
         where nspname not in ('public', 'information_schema') and nspname not like 'pg\\_%'",
    )
    .fetch_all(&mut *connection)
    .await
    .expect("the schemas of a database");
    if let [schema] = made.as_slice()
        && !table.contains('.')
    {
        execute(connection, &format!("alter table {table} set schema {schema}")).await;
    }
}

async fn exists(admin: &mut PgConnection, name: &str) -> bool {
    let found =
        sqlx::query_scalar("select exists (select from pg_database where datname = $1 and datistemplate)");
    found.bind(name).fetch_one(admin).await.expect("an answer about templates")
}

fn hash(migrator: &Migrator) -> u64 {
    let mut context = Context::new(&SHA256);
    context.update(migrator.table_name.as_bytes());
    for migration in migrator.iter() {
        context.update(&migration.version.to_be_bytes());
        context.update(&migration.checksum);
    }
    let digest = context.finish();
    digest.as_ref().iter().take(8).fold(0, |hash, byte| hash << 8 | u64::from(*byte))
}

async fn admin() -> PgConnection {
    connect(&stack::database_url()).await
}

async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.unwrap_or_else(|error| {
        panic!("PostgreSQL of the tests does not answer ({error}): is the stack up? see `deploy/local/stack status test`")
    })
}

// Names are ours: letters, digits and underscores.
async fn execute(connection: &mut PgConnection, sql: &str) {
    let done = connection.execute(AssertSqlSafe(sql.to_owned())).await;
    done.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

// Said, not only dropped: a database with a session on it can be neither renamed nor cloned.
async fn close(connection: PgConnection) {
    connection.close().await.expect("a connection that can be closed");
}

fn url_of(database: &str) -> String {
    let mut url = Url::parse(&stack::database_url()).expect("a URL in KOTINOS_TEST_DATABASE_URL");
    url.set_path(database);
    url.into()
}
