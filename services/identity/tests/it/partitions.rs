use domain::TimeDelta;
use sqlx::AssertSqlSafe;

use crate::{
    clients::PORTAL_SCOPE,
    world::{ALICE, DEADLINE, World},
};

async fn partitions(world: &World, table: &str) -> Vec<String> {
    sqlx::query_scalar(
        "select child.relname::text
         from pg_inherits part
         join pg_class child on child.oid = part.inhrelid
         where part.inhparent = ('identity.' || $1)::regclass
         order by 1",
    )
    .bind(table)
    .fetch_all(&world.app.pool)
    .await
    .unwrap()
}

async fn count(world: &World, relation: &str) -> i64 {
    let sql = format!("select count(*) from identity.{relation}");
    sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&world.app.pool).await.unwrap()
}

/// How many partitions a plan looks at; a bitmap names the index beside the table.
fn scans(plan: &str, table: &str) -> usize {
    let named = format!(" on {table}_2");
    plan.lines().filter(|line| line.contains(&named) && !line.contains("Bitmap Index")).count()
}

const TABLES: [(&str, &str); 6] = [
    ("email_challenge", "challenge_id"),
    ("authorization_code", "code_id"),
    ("token_family", "family_id"),
    ("browser_session", "session_id"),
    ("session_client", "session_id"),
    ("audit_record", "audit_id"),
];

#[tokio::test]
async fn rows_find_their_partition_and_a_look_up_asks_one_only() {
    let world = World::start().await;
    world.tokens(ALICE).await;
    for (table, key) in TABLES {
        assert_eq!(count(&world, &format!("{table}_default")).await, 0, "{table}");
        assert!(count(&world, table).await > 0, "{table}");
        let sql = format!("select {key} from identity.{table} limit 1");
        let id: domain::Uuid =
            sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&world.app.pool).await.unwrap();
        let sql = format!("explain select from identity.{table} where {key} = '{id}'");
        let plan: Vec<String> =
            sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&world.app.pool).await.unwrap();
        let plan = plan.join("\n");
        assert_eq!(scans(&plan, table), 1, "{plan}");
        assert!(!plan.contains("_default"), "{plan}");
        // Prepared once for all ids, too: the partition is chosen when the id is known.
        let mut connection = world.app.pool.acquire().await.unwrap();
        let sql = format!(
            "set plan_cache_mode = force_generic_plan;
             prepare look(uuid) as select from identity.{table} where {key} = $1"
        );
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *connection).await.unwrap();
        let sql = format!("explain (analyze, costs off, timing off, summary off) execute look('{id}')");
        let rows = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(&mut *connection).await.unwrap();
        let plan: Vec<String> = rows.iter().map(|row| sqlx::Row::get(row, 0)).collect();
        let plan = plan.join("\n");
        assert!(plan.contains("Subplans Removed"), "{plan}");
        assert_eq!(scans(&plan, table), 1, "{plan}");
        sqlx::raw_sql("deallocate look; reset plan_cache_mode").execute(&mut *connection).await.unwrap();
    }
}

#[tokio::test]
async fn partitions_are_dropped_by_the_clock_and_what_lives_stays() {
    let world = World::start().await;
    let (_browser, tokens) = world.tokens(ALICE).await;
    let codes = partitions(&world, "authorization_code").await;
    let families = partitions(&world, "token_family").await;
    world.advance(TimeDelta::days(2));
    // The first look of a process comes at its start.
    let world = world.killed_and_restarted().await;
    testkit::eventually(DEADLINE, || async {
        (!partitions(&world, "authorization_code").await.contains(&codes[0])).then_some(())
    })
    .await;
    assert_eq!(count(&world, "authorization_code").await, 0);
    assert_eq!(partitions(&world, "token_family").await, families);
    let again = world.refresh("portal", tokens.text("refresh_token")).await;
    assert_eq!(again.text("scope"), PORTAL_SCOPE, "{}", again.body);
}

#[tokio::test]
async fn what_an_older_version_wrote_stays_where_it_is_until_it_is_over() {
    let world = World::start().await;
    let (_browser, tokens) = world.tokens(ALICE).await;
    let codes = partitions(&world, "authorization_code").await;
    // As that version leaves it: one partition takes all, and it has rows of today. At once, as the sweep makes the others again.
    let drops: String = codes
        .iter()
        .filter(|name| !name.ends_with("_default"))
        .map(|name| format!("drop table identity.{name};"))
        .collect();
    let sql = format!(
        "begin;
         create temp table earlier on commit drop as table identity.authorization_code;
         {drops}
         insert into identity.authorization_code table earlier;
         commit"
    );
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&world.app.pool).await.unwrap();
    assert_eq!(count(&world, "authorization_code_default").await, 1);

    let world = world.killed_and_restarted().await;
    let made = partitions(&world, "authorization_code").await;
    assert!(made.len() > 1 && !made.contains(&codes[0]), "from tomorrow on: {made:?}");
    assert_eq!(count(&world, "authorization_code_default").await, 1);
    assert!(!tokens.text("access_token").is_empty());
    world.advance(TimeDelta::days(2));
    let world = world.killed_and_restarted().await;
    testkit::eventually(DEADLINE, || async {
        (count(&world, "authorization_code_default").await == 0).then_some(())
    })
    .await;
}
