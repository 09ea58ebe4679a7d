//! Databases, their template, and rows of an outbox.

use domain::{Service, new_id};
use sqlx::{
    AssertSqlSafe, SqlSafeStr as _,
    migrate::{Migration, MigrationType, Migrator},
};
use testkit::{Db, records_in_outbox};

const OUTBOX: &str = include_str!("../../../outbox/schema.sql");

/// mailer's outbox. New to the stack, so that the template is made by the test that asks.
pub fn migrator() -> Migrator {
    let sql = format!(
        "create schema if not exists mailer; {} create table mailer.only_{} (i int);",
        OUTBOX.replace("SCHEMA", "mailer"),
        new_id().simple()
    );
    let sql = AssertSqlSafe(sql).into_sql_str();
    Migrator::with_migrations(vec![Migration::new(1, "all".into(), MigrationType::Simple, sql, false)])
}

#[tokio::test]
async fn tests_that_start_together_share_a_template_and_nothing_else() {
    let migrator = migrator();
    let (one, two, three) = tokio::join!(Db::fresh(&migrator), Db::fresh(&migrator), Db::fresh(&migrator));
    assert!(one.url != two.url && two.url != three.url);
    sqlx::query("insert into mailer.inbox (day, consumer, event_id) values (current_date, 'c', $1)")
        .bind(new_id())
        .execute(&one.pool)
        .await
        .unwrap();
    for (db, rows) in [(&one, 1_i64), (&two, 0), (&three, 0)] {
        let found: i64 =
            sqlx::query_scalar("select count(*) from mailer.inbox").fetch_one(&db.pool).await.unwrap();
        assert_eq!(found, rows);
    }
    let applied: i64 = sqlx::query_scalar("select max(version) from mailer._sqlx_migrations")
        .fetch_one(&two.pool)
        .await
        .unwrap();
    assert_eq!(applied, 1, "where a process looks for it");
}

#[tokio::test]
async fn an_empty_database_is_empty() {
    let db = Db::empty().await;
    let tables: i64 = sqlx::query_scalar("select count(*) from pg_tables where schemaname = 'public'")
        .fetch_one(&db.pool)
        .await
        .unwrap();
    assert_eq!(tables, 0);
    let again = Db::open(&db.url).await;
    let name: String =
        sqlx::query_scalar("select current_database()::text").fetch_one(&again.pool).await.unwrap();
    assert!(db.url.ends_with(&name));
}

#[tokio::test]
async fn rows_of_an_outbox_come_in_the_order_of_their_sending() {
    let db = Db::fresh(&migrator()).await;
    for (key, payload) in [("a", Some(b"1".as_slice())), ("b", None)] {
        sqlx::query(
            "insert into mailer.outbox (id, aggregatetype, aggregateid, type, payload, version, occurred_at)
             values ($1, 'kotinos.mailer.message.v1', $2, 'MailAccepted', $3, 7, now())",
        )
        .bind(new_id())
        .bind(key)
        .bind(payload)
        .execute(&db.pool)
        .await
        .unwrap();
    }
    let rows = records_in_outbox(&db.pool, Service::Mailer).await;
    let seen: Vec<_> =
        rows.iter().map(|row| (row.key.as_str(), row.payload.as_deref(), row.version)).collect();
    assert_eq!(seen, [("a", Some(b"1".as_slice()), 7), ("b", None, 7)]);
}

#[tokio::test]
async fn a_database_goes_with_the_thread_that_made_it() {
    let made = std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let db = Db::empty().await;
            // Somebody is still connected.
            std::mem::forget(db.pool.acquire().await.unwrap());
            db.url.clone()
        })
    });
    let url = made.join().unwrap();
    let name = url.rsplit('/').next().unwrap();
    let kept = Db::empty().await;
    let found: bool = sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
        .bind(name)
        .fetch_one(&kept.pool)
        .await
        .unwrap();
    assert!(!found, "{name} is still there");
}
