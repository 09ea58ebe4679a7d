//! Pushed authorization requests of clients that may push or not.

use domain::TimeDelta;
use reqwest::{Method, StatusCode};

use crate::{
    clients::{PORTAL_CALLBACK, SECRET, SHOP_CALLBACK},
    registration::{REGISTRATION, call, initial_access_token},
    world::{ALICE, Answer, ISSUER, STATE, World, authorize_url, basic, param},
};

const PAR: &str = "/oauth2/par";

const SHOP: [(&str, &str); 4] =
    [("response_type", "code"), ("redirect_uri", SHOP_CALLBACK), ("scope", "openid email"), ("state", STATE)];

async fn push(world: &World, others: &[(&str, &str)]) -> Answer {
    world.post(PAR, basic("shop").as_deref(), &[&SHOP, others].concat()).await
}

fn url(client_id: &str, pushed: &Answer) -> String {
    let uri = pushed.text("request_uri");
    format!("{ISSUER}/authorize?client_id={client_id}&request_uri={uri}")
}

async fn rows(world: &World) -> i64 {
    let rows = sqlx::query_scalar("select count(*) from identity.pushed_request");
    rows.fetch_one(&world.app.pool).await.unwrap()
}

#[tokio::test]
async fn a_client_pushes_and_its_user_brings_the_reference() {
    let world = World::start().await;
    let (mut browser, _) = world.sign_up(ALICE).await;
    let pushed = push(&world, &[("ui_locales", "fr")]).await;
    assert_eq!((pushed.status, pushed.body["expires_in"].as_i64()), (StatusCode::CREATED, Some(60)));
    assert_eq!((pushed.header("cache-control"), pushed.header("pragma")), ("no-store", "no-cache"));
    let start = browser.open(&url("shop", &pushed)).await;
    let away = browser.go_through(ALICE, start).await;
    assert_eq!((param(&away, "state").as_str(), param(&away, "iss").as_str()), (STATE, ISSUER));
    let code = param(&away, "code");
    let form =
        [("grant_type", "authorization_code"), ("code", code.as_str()), ("redirect_uri", SHOP_CALLBACK)];
    let tokens = world.post("/oauth2/token", basic("shop").as_deref(), &form).await;
    assert_eq!((tokens.status, tokens.text("token_type")), (StatusCode::OK, "Bearer"));
}

#[tokio::test]
async fn a_wrong_request_is_refused_before_anybody_sees_it_and_leaves_no_row() {
    let world = World::start().await;
    let long = "x".repeat(9_000);
    for (error, name, value) in [
        ("invalid_request", "redirect_uri", "https://shop.example/callback/"),
        ("invalid_request", "redirect_uri", ""),
        ("unsupported_response_type", "response_type", "token"),
        ("invalid_request", "response_mode", "fragment"),
        ("invalid_scope", "scope", "\""),
        ("invalid_target", "resource", "kotinos.mailer"),
        ("invalid_request", "prompt", "none login"),
        ("invalid_request", "code_challenge", "short"),
        ("invalid_request", "dpop_jkt", "short"),
        ("invalid_request", "request_uri", "urn:ietf:params:oauth:request_uri:x"),
        ("request_not_supported", "request", "x.y.z"),
        ("invalid_request", "unknown", &long),
    ] {
        let mut form: Vec<_> = SHOP.into_iter().filter(|(own, _)| *own != name).collect();
        form.push((name, value));
        world.post(PAR, basic("shop").as_deref(), &form).await.refused_with(400, error);
    }
    let twice = [&SHOP[..], &[("state", "other")]].concat();
    world.post(PAR, basic("shop").as_deref(), &twice).await.refused_with(400, "invalid_request");
    world.post(PAR, None, &SHOP).await.refused_with(401, "invalid_client");
    world.post(PAR, Some("Basic c2hvcDp3cm9uZw=="), &SHOP).await.refused_with(401, "invalid_client");
    assert_eq!(rows(&world).await, 0);
}

#[tokio::test]
async fn what_proved_the_client_is_not_kept() {
    let world = World::start().await;
    let form = [
        ("client_id", "forum"),
        ("client_secret", SECRET),
        ("response_type", "code"),
        ("redirect_uri", crate::clients::FORUM_CALLBACK),
        ("scope", "openid"),
    ];
    assert_eq!(world.post(PAR, None, &form).await.status, StatusCode::CREATED);
    let kept = sqlx::query_scalar::<_, String>("select params::text from identity.pushed_request");
    let kept = kept.fetch_one(&world.app.pool).await.unwrap();
    assert!(kept.contains("openid") && !kept.contains(SECRET), "{kept}");
}

#[tokio::test]
async fn of_two_tabs_with_one_reference_one_gets_a_code() {
    let world = World::start().await;
    let (mut browser, _) = world.sign_up(ALICE).await;
    let pushed = push(&world, &[]).await;
    // Both stand at the page for consent, longer than the reference lives.
    let first = browser.open(&url("shop", &pushed)).await.page();
    let second = browser.open(&url("shop", &pushed)).await.page();
    world.advance(TimeDelta::minutes(5));
    let [first, second] =
        [first, second].map(|page| page.forms().into_iter().find(|form| form.post).unwrap());
    assert!(!param(&browser.submit(&first, Some("allow")).await.away(), "code").is_empty());
    let away = browser.submit(&second, Some("allow")).await.away();
    assert_eq!(
        (param(&away, "error").as_str(), param(&away, "state").as_str()),
        ("invalid_request_uri", STATE)
    );
    let codes = sqlx::query_scalar::<_, i64>(
        "select count(*) from identity.authorization_code where client_id = 'shop'",
    );
    assert_eq!(codes.fetch_one(&world.app.pool).await.unwrap(), 1);
}

#[tokio::test]
async fn a_changed_or_foreign_reference_leads_nowhere() {
    let world = World::start().await;
    let (mut browser, _) = world.sign_up(ALICE).await;
    let pushed = push(&world, &[]).await;
    let right = url("shop", &pushed);
    let mut changed = right.clone();
    changed.replace_range(changed.len() - 2.., "AA");
    for wrong in [
        changed,
        right.replace("=shop", "=portal"),
        right.replace("=shop", "=nobody"),
        right.replace("client_id=shop&", ""),
        format!("{right}&request_uri=x"),
    ] {
        let page = browser.open(&wrong).await.page();
        assert_eq!(page.status, StatusCode::BAD_REQUEST, "{wrong}");
    }
    // A document elsewhere is another thing, which is not supported.
    let elsewhere = authorize_url("portal", "openid", &[("request_uri", "https://portal.example/request")]);
    let away = browser.open(&elsewhere).await.away();
    assert_eq!(param(&away, "error"), "request_uri_not_supported");
}

#[tokio::test]
async fn a_public_client_pushes_by_its_name() {
    let world = World::start().await;
    let challenge = crate::oidf::fapi2::signer::sha256(crate::world::VERIFIER);
    let form = [
        ("client_id", "portal"),
        ("response_type", "code"),
        ("redirect_uri", PORTAL_CALLBACK),
        ("scope", "openid"),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ];
    let pushed = world.post(PAR, None, &form).await;
    assert_eq!(pushed.status, StatusCode::CREATED, "{}", pushed.body);
    let (mut browser, _) = world.sign_up(ALICE).await;
    let away = browser.open(&url("portal", &pushed)).await.away();
    assert_eq!(world.redeem("portal", &param(&away, "code")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_duties_that_a_client_registers_are_asked_of_it() {
    let world = World::start_registering().await;
    let (mut browser, _) = world.sign_up(ALICE).await;
    let metadata = serde_json::json!({
        "redirect_uris": [SHOP_CALLBACK], "require_pushed_authorization_requests": true,
        "dpop_bound_access_tokens": true,
    });
    let initial = initial_access_token(&world, "partners").await;
    let client = call(&world, Method::POST, REGISTRATION, &initial, Some(&metadata)).await;
    assert_eq!(client.status, StatusCode::CREATED, "{}", client.body);
    let id = client.text("client_id");
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let basic = format!("Basic {}", STANDARD.encode(format!("{id}:{}", client.text("client_secret"))));

    let form = [("response_type", "code"), ("redirect_uri", SHOP_CALLBACK), ("scope", "openid")];
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let away = browser.open(&format!("{ISSUER}/authorize?client_id={id}&{query}")).await.away();
    assert_eq!(param(&away, "error"), "invalid_request");
    let pushed = world.post(PAR, Some(&basic), &form).await;
    let start = browser.open(&url(id, &pushed)).await;
    let code = param(&browser.go_through(ALICE, start).await, "code");
    let form = [("grant_type", "authorization_code"), ("code", &code), ("redirect_uri", SHOP_CALLBACK)];
    world.post("/oauth2/token", Some(&basic), &form).await.refused_with(400, "invalid_dpop_proof");
}
