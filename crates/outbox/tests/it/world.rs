//! A database with an outbox in mailer's name, topics of its own, and processes that send and read.

use std::{
    future::Future,
    ops::RangeInclusive,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use chassis::{Component, Process, Settings};
use domain::{Clock, EventId, Service};
use outbox::{Batch, Fact, Failure, Partitions, Record, Subscription, Topic, inbox};
use sqlx::{
    AssertSqlSafe, PgPool, SqlSafeStr as _,
    migrate::{Migration, MigrationType, Migrator},
};
use testkit::{CaughtRecord, Db, TestApp, eventually};

/// How long anything may take.
pub const DEADLINE: Duration = Duration::from_secs(30);
pub const SERVICE: Service = Service::Mailer;
/// The consumer of most tests.
pub const READER: &str = "mailer.reader";

pub static STATES: Topic = Topic::state("kotinos.mailer.campaign.v1", Partitions::DEFINITION);
pub static ORDERED: Topic = Topic::ordered("kotinos.mailer.erasure.v1", Partitions::PERSON).retain_days(30);
pub static UNORDERED: Topic = Topic::unordered("kotinos.mailer.message.v1", Partitions::PERSON);
pub static TOPICS: &[&Topic] = &[&STATES, &ORDERED, &UNORDERED];

const OUTBOX: &str = include_str!("../../schema.sql");
const OWN: &str = "
    create table mailer.aggregate (aggregate_id text primary key, version bigint not null);
    create table mailer.effect (effect_id bigint generated always as identity primary key, event_id uuid not null,
                                key text not null, version bigint not null);";

/// The schema that a service would have.
pub fn migrator() -> Migrator {
    let sql = format!("create schema if not exists mailer; {} {OWN}", OUTBOX.replace("SCHEMA", "mailer"));
    let sql = AssertSqlSafe(sql).into_sql_str();
    Migrator::with_migrations(vec![Migration::new(1, "all".into(), MigrationType::Simple, sql, false)])
}

/// A fact about a key, whose payload names both.
pub fn fact(topic: &'static Topic, key: &str, version: i64) -> Fact {
    Fact {
        topic,
        key: key.to_owned(),
        fact_type: "CampaignScheduled",
        payload: Some(format!("{key} {version}").into_bytes()),
        version,
        occurred_at: Clock::system().now(),
        event_id: EventId::new(),
    }
}

/// Versions 1 to `last` of each key, the keys taking turns.
pub fn facts(topic: &'static Topic, keys: &[&str], last: i64) -> Vec<Fact> {
    versions(topic, keys, 1..=last)
}

/// These versions of each key, the keys taking turns.
pub fn versions(topic: &'static Topic, keys: &[&str], versions: RangeInclusive<i64>) -> Vec<Fact> {
    versions.flat_map(|version| keys.iter().map(move |key| fact(topic, key, version))).collect()
}

pub struct World {
    pub db: Db,
    /// Of every process of this world; it stands still.
    pub clock: Clock,
    // Of the first process, which knows where the topics are.
    process: OnceLock<Process>,
}

impl World {
    pub async fn new() -> Self {
        let clock = Clock::fixed(Clock::system().now());
        Self { db: Db::fresh(&migrator()).await, clock, process: OnceLock::new() }
    }

    /// A process with what `build` adds to a service that has nothing.
    pub async fn start<B>(&self, build: B) -> TestApp
    where
        B: FnOnce(Component, &Process, &PgPool) -> Component + Send + 'static,
    {
        self.start_on(self.db.url.clone(), build).await
    }

    /// The same, which reaches the database under another address.
    pub async fn start_on<B>(&self, url: String, build: B) -> TestApp
    where
        B: FnOnce(Component, &Process, &PgPool) -> Component + Send + 'static,
    {
        let seen = Arc::new(OnceLock::new());
        let tell = Arc::clone(&seen);
        let app =
            TestApp::start_at(SERVICE, self.db.url.clone(), self.clock.clone(), |process, _| async move {
                let pool = process.database(&url.parse()?);
                let _ = tell.set(process.clone());
                Ok(vec![build(Component::new(SERVICE), &process, &pool)])
            })
            .await;
        let _ = self.process.set(seen.get().unwrap().clone());
        app
    }

    /// A process that sends.
    pub async fn relay(&self) -> TestApp {
        self.start(|component, process, pool| outbox::publish(component, process, pool, TOPICS)).await
    }

    /// A process that reads. The handler gets the process's own pool: connections live with the runtime that made them.
    pub async fn reader<H, F>(&self, subscription: Subscription, handler: H) -> TestApp
    where
        H: Fn(PgPool, Batch) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        self.start(|component, process, pool| {
            let own = pool.clone();
            outbox::consume(component, process, pool, subscription, move |batch| handler(own.clone(), batch))
        })
        .await
    }

    /// The settings of its first process.
    pub fn settings(&self) -> Settings {
        self.process.get().expect("a process").settings().clone()
    }

    /// Commits facts, all in one transaction.
    pub async fn tell(&self, facts: &[Fact]) {
        let mut tx = self.db.pool.begin().await.unwrap();
        for fact in facts {
            outbox::append(&mut tx, SERVICE, fact).await.unwrap();
        }
        tx.commit().await.unwrap();
    }

    pub async fn effects(&self) -> Vec<(String, i64)> {
        let sql = "select key, version from mailer.effect order by effect_id";
        sqlx::query_as(sql).fetch_all(&self.db.pool).await.unwrap()
    }

    /// Waits until so many effects are committed, and gives them in their order.
    pub async fn has_effects(&self, count: usize) -> Vec<(String, i64)> {
        eventually(DEADLINE, || async {
            let effects = self.effects().await;
            (effects.len() >= count).then_some(effects)
        })
        .await
    }

    /// Key, version, class and attempts of what is parked.
    pub async fn parked(&self) -> Vec<(String, i64, String, i32)> {
        let sql =
            "select record_key, version, class, attempts from mailer.parked_record order by record_offset";
        sqlx::query_as(sql).fetch_all(&self.db.pool).await.unwrap()
    }

    pub async fn has_parked(&self, count: usize) -> Vec<(String, i64, String, i32)> {
        eventually(DEADLINE, || async {
            let parked = self.parked().await;
            (parked.len() == count).then_some(parked)
        })
        .await
    }

    /// Deletes the topics: a broker with thousands of them is slow.
    pub async fn end(self) {
        if let Some(process) = self.process.get() {
            outbox::delete_prefixed(process).await.unwrap();
        }
        self.db.pool.close().await;
    }
}

/// Everything in a topic, as soon as there are so many records.
pub async fn records(app: &TestApp, topic: &Topic, count: usize) -> Vec<CaughtRecord> {
    let enough = |records: &[CaughtRecord]| (records.len() >= count).then(|| records.to_vec());
    app.records().wait_for(&[topic.name()], DEADLINE, enough).await
}

/// A figure that operators see.
pub async fn figure(app: &TestApp, series: &str) -> Option<f64> {
    let text = app.http().get(app.ops_url("/metrics")).send().await.unwrap().text().await.unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
    Some(value.parse().unwrap())
}

/// Waits until a figure that operators see has this value.
pub async fn has_figure(app: &TestApp, series: &str, value: f64) {
    eventually(DEADLINE, || async { (figure(app, series).await == Some(value)).then_some(()) }).await;
}

/// What was delivered to handlers whose effects are rows, each claimed.
#[derive(Clone, Default)]
pub struct Effects(Arc<Mutex<Vec<Vec<Record>>>>);

impl Effects {
    /// Every batch so far.
    pub fn batches(&self) -> Vec<Vec<Record>> {
        self.0.lock().unwrap().clone()
    }

    /// Every record so far.
    pub fn delivered(&self) -> Vec<Record> {
        self.batches().into_iter().flatten().collect()
    }

    /// What a service's app method does with a batch.
    pub async fn take_in(&self, pool: &PgPool, batch: &Batch) -> Result<(), Failure> {
        self.0.lock().unwrap().push(batch.records.clone());
        let mut tx = pool.begin().await.map_err(Failure::transient)?;
        let new = inbox::claim(&mut tx, SERVICE, READER, &batch.event_ids()).await.map_err(Failure::of)?;
        for record in batch.records.iter().filter(|record| new.contains(&record.event_id)) {
            sqlx::query("insert into mailer.effect (event_id, key, version) values ($1, $2, $3)")
                .bind(record.event_id.0)
                .bind(&record.key)
                .bind(record.version)
                .execute(&mut *tx)
                .await
                .map_err(Failure::transient)?;
        }
        tx.commit().await.map_err(Failure::transient)
    }
}

/// The versions of a key, in the order of the effects.
pub fn versions_of(effects: &[(String, i64)], key: &str) -> Vec<i64> {
    effects.iter().filter(|(of, _)| of == key).map(|(_, version)| *version).collect()
}
