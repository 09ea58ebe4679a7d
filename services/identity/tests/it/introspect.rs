use domain::TimeDelta;
use reqwest::StatusCode;
use serde_json::json;

use crate::{
    clients::{MAILER_KEY, PORTAL_SCOPE, assertion, with_assertion},
    world::{ALICE, Answer, ISSUER, World, basic},
};

async fn introspect(world: &World, client_id: &str, token: &str) -> Answer {
    world.post("/oauth2/introspect", basic(client_id).as_deref(), &[("token", token)]).await
}

async fn revoke(world: &World, client_id: &str, token: &str) -> Answer {
    let form = [("token", token), ("client_id", client_id)];
    world.post("/oauth2/revoke", basic(client_id).as_deref(), &form).await
}

const INACTIVE: &str = r#"{"active":false}"#;

#[tokio::test]
async fn an_api_learns_what_a_token_for_it_says() {
    let world = World::start().await;
    let (_, tokens) = world.tokens(ALICE).await;
    let answer = introspect(&world, "profile", tokens.text("access_token")).await;
    assert_eq!((answer.status, answer.header("cache-control")), (StatusCode::OK, "no-store"));
    assert_eq!((&answer.body["active"], answer.text("token_type")), (&json!(true), "Bearer"));
    assert_eq!(
        (answer.text("iss"), answer.text("client_id"), answer.text("scope")),
        (ISSUER, "portal", PORTAL_SCOPE)
    );
    assert!(answer.body["exp"].is_i64() && answer.body["iat"].is_i64() && answer.body["sub"].is_string());
}

#[tokio::test]
async fn a_client_learns_about_its_own_tokens_only() {
    let world = World::start().await;
    let (mut browser, foreign) = world.tokens(ALICE).await;
    let code = world.code(&mut browser, "shop", "openid").await;
    let own = world.redeem("shop", &code).await;
    for name in ["access_token", "refresh_token"] {
        let answer = introspect(&world, "shop", own.text(name)).await;
        assert_eq!((&answer.body["active"], answer.text("client_id")), (&json!(true), "shop"), "{name}");
        assert_eq!(introspect(&world, "shop", foreign.text(name)).await.body.to_string(), INACTIVE, "{name}");
    }
    // An ID token is no token of this kind, nor is any other text.
    for other in [own.text("id_token"), "x", "krt_x", "....", &"x".repeat(30_000)] {
        assert_eq!(introspect(&world, "shop", other).await.body.to_string(), INACTIVE);
    }
}

#[tokio::test]
async fn an_old_token_is_not_active() {
    let world = World::start().await;
    let (mut browser, _) = world.sign_up(ALICE).await;
    let code = world.code(&mut browser, "shop", "openid").await;
    let own = world.redeem("shop", &code).await;
    world.advance(TimeDelta::seconds(300));
    assert_eq!(introspect(&world, "shop", own.text("access_token")).await.body.to_string(), INACTIVE);
    assert_eq!(introspect(&world, "shop", own.text("refresh_token")).await.body["active"], json!(true));
}

#[tokio::test]
async fn a_clients_own_token_is_active_at_its_api() {
    let world = World::start().await;
    let form = with_assertion(&MAILER_KEY.sign(&assertion(world.app.clock.now())));
    let token = world.post("/oauth2/token", None, &form).await;
    let answer = introspect(&world, "profile", token.text("access_token")).await;
    assert_eq!((&answer.body["active"], answer.text("sub")), (&json!(true), "mailer"));
    assert_eq!(introspect(&world, "shop", token.text("access_token")).await.body.to_string(), INACTIVE);
}

#[tokio::test]
async fn introspection_needs_authentication_and_a_token() {
    let world = World::start().await;
    let public = [("token", "x"), ("client_id", "portal")];
    world.post("/oauth2/introspect", None, &public).await.refused_with(401, "invalid_client");
    world.post("/oauth2/introspect", None, &public[..1]).await.refused_with(401, "invalid_client");
    let none: [(&str, &str); 0] = [];
    for path in ["/oauth2/introspect", "/oauth2/revoke"] {
        world.post(path, basic("shop").as_deref(), &none).await.refused_with(400, "invalid_request");
    }
}

#[tokio::test]
async fn revoking_either_token_ends_the_grant() {
    let world = World::start().await;
    let (mut browser, _) = world.sign_up(ALICE).await;
    for name in ["access_token", "refresh_token"] {
        let code = world.code(&mut browser, "shop", "openid").await;
        let own = world.redeem("shop", &code).await;
        let answer = revoke(&world, "shop", own.text(name)).await;
        assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, Some("")));
        assert_eq!(introspect(&world, "shop", own.text("access_token")).await.body.to_string(), INACTIVE);
        world.refresh("shop", own.text("refresh_token")).await.refused_with(400, "invalid_grant");
        // A second time is as good as the first.
        assert_eq!(revoke(&world, "shop", own.text(name)).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn nobody_revokes_anothers_token() {
    let world = World::start().await;
    let (_, tokens) = world.tokens(ALICE).await;
    for token in
        [tokens.text("access_token"), tokens.text("refresh_token"), "x", "krt_", tokens.text("id_token")]
    {
        assert_eq!(revoke(&world, "shop", token).await.status, StatusCode::OK);
    }
    assert_eq!(world.refresh("portal", tokens.text("refresh_token")).await.status, StatusCode::OK);
    // A public client takes its own back by its name.
    assert_eq!(revoke(&world, "portal", tokens.text("access_token")).await.status, StatusCode::OK);
    assert_eq!(world.userinfo(tokens.text("access_token")).await.status, StatusCode::UNAUTHORIZED);
}
