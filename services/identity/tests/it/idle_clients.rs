use reqwest::{Method, StatusCode};

use crate::{
    registration::{call, metadata, path_of, registered, tokens_of},
    world::{ALICE, Answer, DEADLINE, World},
};

#[tokio::test]
async fn a_client_that_registered_itself_and_is_not_used_goes_and_leaves_its_place() {
    let world = World::start_registering().await;
    world.sign_up(ALICE).await;
    let fresh = registered(&world, &metadata()).await;
    let (used, left) = (registered(&world, &metadata()).await, registered(&world, &metadata()).await);
    let never = registered(&world, &metadata()).await;
    tokens_of(&world, &mut world.browser(), &used).await;
    let tokens = tokens_of(&world, &mut world.browser(), &left).await;
    assert_eq!(world.userinfo(tokens.text("access_token")).await.status, StatusCode::OK);
    // Their use is told by and by.
    testkit::eventually(DEADLINE, || async {
        let sql = "select count(*) from identity.client_registration where used_on is not null";
        let noted: i64 = sqlx::query_scalar(sql).fetch_one(&world.app.pool).await.unwrap();
        (noted == 2).then_some(())
    })
    .await;
    let sql = "update identity.client_registration
               set created_at = created_at - interval '31 days',
                   used_on = case when client_id = $2 then used_on - 181 else used_on end
               where client_id <> $1";
    let aged = sqlx::query(sql).bind(fresh.text("client_id")).bind(left.text("client_id"));
    assert_eq!(aged.execute(&world.app.pool).await.unwrap().rows_affected(), 3);

    // The first look of a process comes at its start.
    let world = world.killed_and_restarted().await;
    let is_there = async |client: &Answer| {
        let token = client.text("registration_access_token");
        call(&world, Method::GET, &path_of(client), token, None).await.status == StatusCode::OK
    };
    testkit::eventually(DEADLINE, || async {
        (!is_there(&never).await && !is_there(&left).await).then_some(())
    })
    .await;
    assert!(is_there(&fresh).await && is_there(&used).await);
    assert_eq!(world.userinfo(tokens.text("access_token")).await.status, StatusCode::UNAUTHORIZED);
    for (table, rows) in [("consent", 0), ("token_family", 1), ("revocation", 1)] {
        let sql = format!("select count(*) from identity.{table} where client_id = $1");
        let found: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
            .bind(left.text("client_id"))
            .fetch_one(&world.app.pool)
            .await
            .unwrap();
        assert_eq!(found, rows, "{table}");
    }
    let sql = "select count(*) from identity.token_family where client_id = $1 and revoked_at is null";
    let live = sqlx::query_scalar::<_, i64>(sql).bind(left.text("client_id"));
    assert_eq!(live.fetch_one(&world.app.pool).await.unwrap(), 0);
    let sql = "select subject from identity.audit_record
               where action = 'delete_client' and actor = 'system' and detail ->> 'cause' = 'unused'
               order by subject";
    let gone: Vec<String> = sqlx::query_scalar(sql).fetch_all(&world.app.pool).await.unwrap();
    assert_eq!(gone, [left.text("client_id"), never.text("client_id")]);
}
