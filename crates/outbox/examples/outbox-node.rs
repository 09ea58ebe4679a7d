//! One process of the kill -9 campaign (`tests/it/campaign.rs`): a relay, or the consumers of what it sends, put together
//! and run as a service is. It ends with whoever holds the other end of its standard input.

use std::{
    collections::BTreeMap,
    io::{self, sink, stdin},
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use chassis::{Component, Process, Secret, StartError};
use clap::ValueEnum;
use domain::Service;
use outbox::{Batch, Failure, Partitions, Record, Subscription, Topic, inbox};
use sqlx::{
    AssertSqlSafe, PgPool, SqlSafeStr as _,
    migrate::{Migration, MigrationType, Migrator},
};

const SERVICE: Service = Service::Mailer;
const EFFECTS: &str = "mailer.effects";
const VIEW: &str = "mailer.view";
/// Every so many batches one is committed and then said to have failed.
const REPEATED: u64 = 20;

static STATES: Topic = Topic::state("kotinos.mailer.campaign.v1", Partitions::DEFINITION);
static TOPICS: &[&Topic] = &[&STATES];

const OUTBOX: &str = include_str!("../schema.sql");
// `effect` has no unique key: what happens twice must be seen, not refused.
const OWN: &str = "
    create table mailer.aggregate (aggregate_id text primary key, version bigint not null);
    create table mailer.written (event_id uuid primary key, command_id uuid not null, key text not null,
                                 version bigint not null);
    create table mailer.effect (effect_id bigint generated always as identity primary key, event_id uuid not null,
                                key text not null, version bigint not null);
    create index effect_event_id on mailer.effect (event_id);
    create table mailer.view (key text primary key, version bigint not null);";

#[derive(clap::Args, Debug)]
struct Config {
    /// URL of the database.
    #[arg(
        id = "MAILER_DATABASE_URL",
        long = "mailer-database-url",
        env = "MAILER_DATABASE_URL",
        default_value = "postgres://kotinos@localhost:15432/kotinos",
        hide_env_values = true
    )]
    database_url: Secret,
    /// What this process does.
    #[arg(id = "MAILER_ROLE", long = "mailer-role", env = "MAILER_ROLE", default_value = "relay")]
    role: Role,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Role {
    Relay,
    Reader,
}

fn main() -> ExitCode {
    thread::spawn(|| {
        let _ = io::copy(&mut stdin().lock(), &mut sink());
        std::process::exit(1);
    });
    chassis::run(SERVICE, component, outbox::VERBS)
}

async fn component(config: Config, process: Process) -> Result<Component, StartError> {
    let pool = process.database(&config.database_url);
    let component = Component::new(SERVICE).database(pool.clone(), migrator());
    Ok(match config.role {
        Role::Relay => outbox::publish(component, &process, &pool, TOPICS),
        Role::Reader => readers(component, &process, &pool),
    })
}

fn migrator() -> Migrator {
    let sql = AssertSqlSafe(format!("{} {OWN}", OUTBOX.replace("SCHEMA", "mailer"))).into_sql_str();
    Migrator::with_migrations(vec![Migration::new(1, "all".into(), MigrationType::Simple, sql, false)])
}

// Both ways of having an effect once: by a claim, and by the version.
fn readers(component: Component, process: &Process, pool: &PgPool) -> Component {
    let batches = AtomicU64::new(0);
    let own = pool.clone();
    let effects = move |batch| {
        let repeat = batches.fetch_add(1, Ordering::Relaxed) % REPEATED == REPEATED - 1;
        take_in(own.clone(), batch, repeat)
    };
    let subscription = |name| Subscription::new(name, &[STATES.name()]);
    let component = outbox::consume(component, process, pool, subscription(EFFECTS), effects);
    let own = pool.clone();
    outbox::consume(component, process, pool, subscription(VIEW), move |batch| show(own.clone(), batch))
}

async fn take_in(pool: PgPool, batch: Batch, repeat: bool) -> Result<(), Failure> {
    let mut tx = pool.begin().await.map_err(Failure::transient)?;
    // The second claim gives nothing; if it did, the effects would be there twice.
    for _ in 0..2 {
        let new = inbox::claim(&mut tx, SERVICE, EFFECTS, &batch.event_ids()).await;
        let new = new.map_err(Failure::transient)?;
        let new: Vec<&Record> =
            batch.records.iter().filter(|record| new.contains(&record.event_id)).collect();
        sqlx::query(
            "insert into mailer.effect (event_id, key, version)
             select event_id, key, version
             from unnest($1::uuid[], $2::text[], $3::bigint[]) with ordinality as new (event_id, key, version, nth)
             order by nth",
        )
        .bind(new.iter().map(|record| record.event_id.0).collect::<Vec<_>>())
        .bind(new.iter().map(|record| record.key.clone()).collect::<Vec<_>>())
        .bind(new.iter().map(|record| record.version).collect::<Vec<_>>())
        .execute(&mut *tx)
        .await
        .map_err(Failure::transient)?;
    }
    tx.commit().await.map_err(Failure::transient)?;
    // As if the answer to the commit had been lost.
    if repeat { Err(Failure::transient("committed, and delivered once more")) } else { Ok(()) }
}

async fn show(pool: PgPool, batch: Batch) -> Result<(), Failure> {
    let newest: BTreeMap<&str, i64> = batch.records.iter().fold(BTreeMap::new(), |mut newest, record| {
        let version = newest.entry(record.key.as_str()).or_default();
        *version = record.version.max(*version);
        newest
    });
    sqlx::query(
        "insert into mailer.view (key, version)
         select key, version
         from unnest($1::text[], $2::bigint[]) as newest (key, version)
         on conflict (key) do update set version = excluded.version where view.version < excluded.version",
    )
    .bind(newest.keys().map(|key| (*key).to_owned()).collect::<Vec<_>>())
    .bind(newest.values().copied().collect::<Vec<_>>())
    .execute(&pool)
    .await
    .map_err(Failure::transient)?;
    Ok(())
}
