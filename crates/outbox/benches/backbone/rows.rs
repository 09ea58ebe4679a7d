//! The schema of a contestant's database, and rows that wait in it.

use anyhow::Result;
use sqlx::{
    AssertSqlSafe, PgPool, SqlSafeStr as _,
    migrate::{Migration, MigrationType, Migrator},
};

use crate::surroundings::TOPIC;

const OUTBOX: &str = include_str!("../../schema.sql");
// A business table, effects of a consumer, a state that it keeps, and the outbox that a naive relay deletes from.
const OWN: &str = "
    create table mailer.aggregate (aggregate_id text primary key, version bigint not null);
    create table mailer.effect (effect_id bigint generated always as identity primary key, event_id uuid not null,
                                key text not null, version bigint not null);
    create table mailer.state (key text primary key, version bigint not null, payload bytea not null);
    create table mailer.naive_outbox (
        naive_outbox_id bigint generated always as identity primary key,
        id uuid not null, topic text not null, key text not null, type text not null, payload bytea not null,
        version bigint not null, occurred_at timestamptz not null, traceparent text);";

const A_TRANSACTION: i64 = 2_000;
/// Aggregates that rows and records are about, in turn.
pub const KEYS: i64 = 50_000;

pub fn migrator() -> Migrator {
    let sql = format!("create schema if not exists mailer; {} {OWN}", OUTBOX.replace("SCHEMA", "mailer"));
    let sql = AssertSqlSafe(sql).into_sql_str();
    Migrator::with_migrations(vec![Migration::new(1, "all".into(), MigrationType::Simple, sql, false)])
}

/// Commits rows of 400 B into the outbox, 2,000 a transaction.
pub async fn fill_outbox(pool: &PgPool, rows: i64) -> Result<()> {
    let columns = "id, aggregatetype, aggregateid, type, payload, version, occurred_at, traceparent";
    fill(pool, &format!("mailer.outbox ({columns})"), rows).await
}

/// The same for the naive relay.
pub async fn fill_naive_outbox(pool: &PgPool, rows: i64) -> Result<()> {
    let columns = "id, topic, key, type, payload, version, occurred_at, traceparent";
    fill(pool, &format!("mailer.naive_outbox ({columns})"), rows).await
}

// The id is a UUIDv7 of now (RFC 9562 5.7). The trace is handed on, but not sampled: no span is made of it.
async fn fill(pool: &PgPool, into: &str, rows: i64) -> Result<()> {
    let sql = format!(
        "insert into {into}
         select (lpad(to_hex((extract(epoch from clock_timestamp()) * 1000)::bigint), 12, '0')
                 || '7' || substr(md5(number::text), 1, 3) || '8' || substr(md5(number::text), 4, 15))::uuid,
                $1, 'fan-' || number % {KEYS}, 'CampaignScheduled', {}, number / {KEYS} + 1, clock_timestamp(),
                '00-' || md5(number::text) || '-' || left(md5(number::text), 16) || '-00'
         from generate_series($2::bigint, $3) as number",
        payload()
    );
    let mut next = 0;
    while next < rows {
        let last = (next + A_TRANSACTION).min(rows) - 1;
        sqlx::query(AssertSqlSafe(sql.clone()))
            .bind(TOPIC.name())
            .bind(next)
            .bind(last)
            .execute(pool)
            .await?;
        next = last + 1;
    }
    sqlx::raw_sql("checkpoint").execute(pool).await?;
    Ok(())
}

// 400 letters of which a compressor finds half, as of protocol buffers with text.
fn payload() -> String {
    let parts: Vec<String> = (0..13).map(|part| format!("md5(number || '.{part}')")).collect();
    format!("convert_to(left({}, 400), 'UTF8')", parts.join(" || "))
}
