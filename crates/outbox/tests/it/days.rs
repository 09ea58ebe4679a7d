//! Daily partitions come and go with the process.

use testkit::eventually;

use crate::world::{DEADLINE, World};

async fn partitions(world: &World, parent: &str) -> Vec<String> {
    let sql = "select inhrelid::regclass::text from pg_inherits where inhparent = $1::regclass order by 1";
    sqlx::query_scalar(sql).bind(format!("mailer.{parent}")).fetch_all(&world.db.pool).await.unwrap()
}

// A row of a day long ago, at a position that was sent, or never will be.
async fn old_row(world: &World, day: &str, position: i64) {
    let sql = "insert into mailer.outbox
                   (day, position, id, aggregatetype, aggregateid, type, payload, version, occurred_at)
               values ($1::date, $2, $3, 'kotinos.mailer.campaign.v1', 'alice', 'T', '', 1, now())";
    let insert = sqlx::query(sql).bind(day).bind(position).bind(domain::new_id());
    insert.execute(&world.db.pool).await.unwrap();
}

#[tokio::test]
async fn days_that_were_sent_go_and_one_with_unsent_facts_stays() {
    let world = World::new().await;
    sqlx::raw_sql(
        "select mailer.make_days('2021-07-23', '2021-07-25'); update mailer.relay_cursor set position = 2;
         drop table mailer.outbox_20210724;",
    )
    .execute(&world.db.pool)
    .await
    .unwrap();
    old_row(&world, "2021-07-23", 1).await;
    old_row(&world, "2021-07-25", i64::MAX / 2).await;
    let relay = world.relay().await;
    let outbox = eventually(DEADLINE, || async {
        let days = partitions(&world, "outbox").await;
        (!days.contains(&"mailer.outbox_20210723".to_owned())).then_some(days)
    })
    .await;
    assert!(outbox.contains(&"mailer.outbox_20210725".to_owned()), "{outbox:?}");
    let inbox = eventually(DEADLINE, || async {
        let days = partitions(&world, "inbox").await;
        days.iter().all(|day| !day.contains("2021")).then_some(days)
    })
    .await;
    let gone = "select to_regclass('mailer.outbox_20210723') is null and to_regclass('mailer.inbox_20210725') is null";
    eventually(DEADLINE, || async {
        let gone: bool = sqlx::query_scalar(gone).fetch_one(&world.db.pool).await.unwrap();
        gone.then_some(())
    })
    .await;
    // Three days back, today, seven ahead; and what is older than the days.
    assert_eq!((outbox.len(), inbox.len()), (12, 12), "{outbox:?} {inbox:?}");
    assert!(inbox.contains(&"mailer.inbox_old".to_owned()));
    relay.stop().await;
    world.end().await;
}

#[tokio::test]
async fn a_process_makes_the_days_that_are_missing() {
    let world = World::new().await;
    let tomorrow =
        "do $$ declare day text := to_char(now() at time zone 'utc' + interval '1 day', 'YYYYMMDD'); begin
                        execute format('drop table mailer.outbox_%s', day);
                        execute format('drop table mailer.inbox_%s', day);
                    end $$";
    sqlx::raw_sql(tomorrow).execute(&world.db.pool).await.unwrap();
    assert_eq!(partitions(&world, "outbox").await.len(), 10);
    let relay = world.relay().await;
    assert_eq!((partitions(&world, "outbox").await.len(), partitions(&world, "inbox").await.len()), (11, 12));
    relay.stop().await;
    world.end().await;
}
