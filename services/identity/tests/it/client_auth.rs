use base64::{Engine as _, engine::general_purpose::STANDARD};
use domain::TimeDelta;
use reqwest::StatusCode;
use serde_json::json;

use crate::{
    clients::{ClientKey, MAILER_KEY, SECRET, assertion, with_assertion},
    world::{World, basic},
};

const TOKEN: &str = "/oauth2/token";

fn header(client_id: &str, secret: &str) -> Option<String> {
    Some(format!("Basic {}", STANDARD.encode(format!("{client_id}:{secret}"))))
}

#[tokio::test]
async fn each_client_proves_itself_as_registered_and_in_no_other_way() {
    let world = World::start().await;
    // A wrong code is what remains to be said to a client that is right.
    let form = [("grant_type", "authorization_code"), ("code", "x")];
    let with = |others: &[(&'static str, &'static str)]| [&form, others].concat();
    let by_secret = [("client_id", "shop"), ("client_secret", SECRET)];
    for (header, form, status, error) in [
        (header("shop", SECRET), with(&[]), 400, "invalid_grant"),
        (header("shop", SECRET), with(&[("client_id", "shop")]), 400, "invalid_grant"),
        (None, with(&[("client_id", "forum"), ("client_secret", SECRET)]), 400, "invalid_grant"),
        (None, with(&[("client_id", "portal")]), 400, "invalid_grant"),
        (header("shop", "wrong"), with(&[]), 401, "invalid_client"),
        (header("nobody", SECRET), with(&[]), 401, "invalid_client"),
        (header("forum", SECRET), with(&[]), 401, "invalid_client"),
        (header("portal", SECRET), with(&[]), 401, "invalid_client"),
        (None, with(&by_secret), 401, "invalid_client"),
        (None, with(&[("client_id", "shop")]), 401, "invalid_client"),
        (None, with(&[("client_id", "portal"), ("client_secret", SECRET)]), 401, "invalid_client"),
        (None, with(&[]), 401, "invalid_client"),
        (header("shop", SECRET), with(&by_secret), 400, "invalid_request"),
        (header("shop", SECRET), with(&[("client_id", "forum")]), 400, "invalid_request"),
    ] {
        let answer = world.post(TOKEN, header.as_deref(), &form).await;
        answer.refused_with(status, error);
        assert_eq!(answer.header("www-authenticate").starts_with("Basic "), status == 401);
    }
}

#[tokio::test]
async fn an_assertion_counts_once() {
    let world = World::start().await;
    let form = with_assertion(&MAILER_KEY.sign(&assertion(world.app.clock.now())));
    assert_eq!(world.post(TOKEN, None, &form).await.status, StatusCode::OK);
    world.post(TOKEN, None, &form).await.refused_with(401, "invalid_client");
}

#[tokio::test]
async fn an_assertion_used_by_many_at_once_counts_once() {
    let world = World::start().await;
    let form = with_assertion(&MAILER_KEY.sign(&assertion(world.app.clock.now())));
    let answers = futures::future::join_all((0..10).map(|_| world.post(TOKEN, None, &form))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == StatusCode::OK).count(), 1);
}

#[tokio::test]
async fn a_wrong_assertion_is_refused() {
    let world = World::start().await;
    let now = world.app.clock.now();
    let at = now.timestamp();
    for (name, wrong) in [
        ("aud", json!("https://id.example/oauth2/token")),
        ("aud", json!(["https://id.example", "https://elsewhere.example"])),
        ("iss", json!("profile")),
        ("sub", json!("profile")),
        ("exp", json!(at - 31)),
        ("exp", json!(at + 86_400)),
        ("iat", json!(at + 600)),
        ("jti", json!(null)),
    ] {
        let mut claims = assertion(now);
        claims[name] = wrong.clone();
        let answer = world.post(TOKEN, None, &with_assertion(&MAILER_KEY.sign(&claims))).await;
        assert_eq!((answer.status.as_u16(), answer.text("error")), (401, "invalid_client"), "{name} {wrong}");
    }
    let foreign = ClientKey::generate().sign(&assertion(now));
    world.post(TOKEN, None, &with_assertion(&foreign)).await.refused_with(401, "invalid_client");
}

#[tokio::test]
async fn a_flood_of_wrong_secrets_is_held_up_until_its_minute_is_over() {
    let world = World::start().await;
    let form = [("grant_type", "client_credentials")];
    for _ in 0..20 {
        world
            .post(TOKEN, header("profile", "wrong").as_deref(), &form)
            .await
            .refused_with(401, "invalid_client");
    }
    let answer = world.post(TOKEN, basic("profile").as_deref(), &form).await;
    answer.refused_with(429, "temporarily_unavailable");
    assert!(answer.header("retry-after").parse::<u64>().unwrap() <= 61);
    // Other clients go on.
    let other = with_assertion(&MAILER_KEY.sign(&assertion(world.app.clock.now())));
    assert_eq!(world.post(TOKEN, None, &other).await.status, StatusCode::OK);
    world.advance(TimeDelta::seconds(61));
    assert_eq!(world.post(TOKEN, basic("profile").as_deref(), &form).await.status, StatusCode::OK);
}

#[tokio::test]
async fn made_up_names_leave_one_row() {
    let world = World::start().await;
    for n in 0..10 {
        let name = format!("made-up-{n}");
        world.post(TOKEN, header(&name, "x").as_deref(), &[("grant_type", "client_credentials")]).await;
    }
    let rows =
        sqlx::query_scalar::<_, i64>("select count(*) from identity.throttle where kind = 'client_secret'");
    assert_eq!(rows.fetch_one(&world.app.pool).await.unwrap(), 1);
}
