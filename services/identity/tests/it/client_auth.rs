use base64::{Engine as _, engine::general_purpose::STANDARD};
use domain::TimeDelta;
use reqwest::StatusCode;
use serde_json::json;

use crate::{
    clients::{ClientKey, MAILER_KEY, SECRET, assertion, with_assertion},
    world::{Answer, World, answer, basic},
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

/// A world in which a client that proves itself has 10 requests a second, and addresses are what a proxy says.
async fn hurried() -> World {
    World::start_set(|settings| {
        settings.client_rate = 10;
        settings.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await
}

async fn from(
    world: &World,
    address: &str,
    path: &str,
    authorization: Option<String>,
    body: &'static str,
) -> Answer {
    let mut request = world.app.http().post(world.app.http_url(path)).header("x-forwarded-for", address);
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    let form = "application/x-www-form-urlencoded";
    answer(request.header("content-type", form).body(body).send().await.unwrap()).await
}

const NO_CODE: &str = "client_id=portal&grant_type=authorization_code&code=x";

#[tokio::test]
async fn whoever_floods_with_a_public_clients_name_is_stopped_in_that_network_only() {
    let world = hurried().await;
    for (path, addresses, elsewhere) in [
        ("/oauth2/token", ["203.0.113.7", "203.0.113.7"], "203.0.113.8"),
        ("/oauth2/par", ["2001:db8::1", "2001:db8::2"], "2001:db8:0:1::1"),
        ("/oauth2/revoke", ["198.51.100.1", "198.51.100.1"], "198.51.100.2"),
    ] {
        let flood = (0..10).map(|n| from(&world, addresses[n % 2], path, None, NO_CODE));
        let answers = futures::future::join_all(flood).await;
        let (refused, heard): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 429);
        assert!(!refused.is_empty() && heard.len() >= 2, "{path}: {} of 10 are heard", heard.len());
        for answer in refused {
            answer.refused_with(429, "temporarily_unavailable");
            assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1, "{path}");
        }
        assert_eq!(from(&world, elsewhere, path, None, NO_CODE).await.status, 400, "{path}");
    }
    // One share for all endpoints, another one for each client.
    let paths = ["/oauth2/token", "/oauth2/par"];
    let flood = (0..10).map(|n| from(&world, "203.0.113.9", paths[n % 2], None, NO_CODE));
    let heard = futures::future::join_all(flood).await.iter().filter(|answer| answer.status == 400).count();
    assert!((2..4).contains(&heard), "{heard} of 10 are heard");
    let tv = from(&world, "203.0.113.9", "/oauth2/device", None, "client_id=tv&scope=openid").await;
    assert_eq!(tv.status, StatusCode::OK, "{}", tv.body);
}

#[tokio::test]
async fn a_client_that_proves_itself_has_one_quota_wherever_it_calls_from() {
    let world = hurried().await;
    let no_code = "grant_type=authorization_code&code=x";
    // What a stranger says in its name counts against the stranger.
    for _ in 0..5 {
        let stranger = from(&world, "203.0.113.9", TOKEN, header("shop", "wrong"), no_code).await;
        stranger.refused_with(401, "invalid_client");
    }
    let addresses: Vec<String> = (0..60).map(|n| format!("203.0.113.{}", 10 + n)).collect();
    let flood = async |client_id: &str| {
        let calls = addresses.iter().map(|address| from(&world, address, TOKEN, basic(client_id), no_code));
        let answers = futures::future::join_all(calls).await;
        answers.iter().filter(|answer| answer.status == 429).count()
    };
    assert!((1..=40).contains(&flood("shop").await), "20 at once and 10 a second");
    // The suite's own act for everybody.
    assert_eq!(flood("profile").await, 0);
    let other = from(&world, "203.0.113.9", TOKEN, basic("vault"), no_code).await;
    other.refused_with(400, "invalid_grant");
}
