use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{JWT_BEARER, World, config, refusal, sign, unix_now};

#[tokio::test]
async fn a_good_assertion_opens_a_session() {
    let world = World::new().await;
    let body: Value = world.ask_token(JWT_BEARER, &sign(&world.claims())).await.json().await.unwrap();
    assert_eq!(body["token_type"], "Bearer");
    assert_eq!(body["instance_url"], world.org.base_url);
    assert!(body["id"].as_str().unwrap().contains("/id/00D"));
    let response = world.call(Method::GET, "/limits").send().await.unwrap();
    assert_eq!(response.headers()["sforce-limit-info"], "api-usage=1/100000");
    let limits: Value = response.json().await.unwrap();
    assert_eq!(limits["DailyApiRequests"], json!({ "Max": 100_000, "Remaining": 99_999 }));
}

#[tokio::test]
async fn each_broken_rule_of_an_assertion_is_refused() {
    let world = World::new().await;
    let with = |name: &str, value: Value| {
        let mut claims = world.claims();
        claims[name] = value;
        sign(&claims)
    };
    let good = sign(&world.claims());
    let mut forged = good.clone();
    let end = forged.pop().unwrap();
    forged.push(if end == 'A' { 'Q' } else { 'A' });
    let unsigned = "eyJhbGciOiJub25lIn0.e30.".to_owned();
    for (assertion, error, description) in [
        (with("iss", json!("another-app")), "invalid_client_id", "client identifier"),
        (with("sub", json!("bob@example.org")), "invalid_grant", "approved"),
        (with("aud", json!("https://evil.example")), "invalid_grant", "audience"),
        (with("exp", json!(unix_now() - 1)), "invalid_grant", "expired"),
        (with("exp", json!(unix_now() + 400)), "invalid_grant", "5 minutes"),
        (with("exp", json!("soon")), "invalid_grant", "expiration"),
        (with("sub", json!({ "a": 1 })), "invalid_grant", "assertion"),
        (forged[..forged.len() - 20].to_owned(), "invalid_grant", "assertion"),
        (unsigned, "invalid_grant", "assertion"),
        ("\u{0}garbage'; drop table x".to_owned(), "invalid_grant", "assertion"),
        ("a".repeat(20_000), "invalid_grant", "assertion"),
    ] {
        let response = world.ask_token(JWT_BEARER, &assertion).await;
        assert_eq!(response.status(), 400);
        let body: Value = response.json().await.unwrap();
        assert_eq!(body["error"], error, "{body}");
        assert!(body["error_description"].as_str().unwrap().contains(description), "{body}");
    }
    let body: Value = world.ask_token("password", &good).await.json().await.unwrap();
    assert_eq!(body["error"], "unsupported_grant_type");
}

#[tokio::test]
async fn a_session_ends_by_the_orgs_clock_and_can_be_renewed() {
    let mut config = config();
    config.session_seconds = 60;
    let mut world = World::with(config).await;
    world.get("/limits").await;
    world.control("clock", json!({ "advance_seconds": 61 })).await;
    let response = world.call(Method::GET, "/limits").send().await.unwrap();
    assert_eq!(response.headers()["www-authenticate"], "Token");
    assert_eq!(refusal(response).await, (401, "INVALID_SESSION_ID".into()));
    // The assertion is judged by the same clock.
    let mut claims = world.claims();
    claims["exp"] = json!(unix_now() + 30);
    assert_eq!(world.ask_token(JWT_BEARER, &sign(&claims)).await.status(), 400);
    world.sign_in().await;
    world.get("/limits").await;
}

#[tokio::test]
async fn without_a_session_nothing_is_told() {
    let mut world = World::new().await;
    world.token = "00D000000000001!forged".into();
    for path in ["/limits", "/sobjects/Contact/describe", "/query?q=x", "/jobs/ingest", "/nothing"] {
        let response = world.call(Method::GET, path).send().await.unwrap();
        assert_eq!(refusal(response).await, (401, "INVALID_SESSION_ID".into()), "{path}");
    }
    let open: Value = world
        .client
        .get(format!("{}/services/data", world.org.base_url))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(open[0]["version"], "58.0");
}
