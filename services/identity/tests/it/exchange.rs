//! A service that was called for Alice calls another one for her (RFC 8693).

use proto::identity::v1::{DeleteClientRequest, client_service_client::ClientServiceClient};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::{
    clients::{MAILER_KEY, assertion, with_assertion},
    revocation::gone_soon,
    world::{ALICE, Answer, ISSUER, World, basic},
};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

async fn exchange(world: &World, client_id: &str, token: &str, others: &[(&str, &str)]) -> Answer {
    let mut form =
        vec![("grant_type", GRANT), ("subject_token", token), ("subject_token_type", ACCESS_TOKEN)];
    form.retain(|(name, _)| others.iter().all(|(other, _)| other != name));
    form.extend(others);
    world.post("/oauth2/token", basic(client_id).as_deref(), &form).await
}

fn segmentation(others: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    [&[("audience", "kotinos.segmentation")], others].concat()
}

#[tokio::test]
async fn a_service_passes_on_less_than_it_got_and_says_so() {
    let world = World::start().await;
    let (_, portal) = world.tokens(ALICE).await;
    let answer = exchange(&world, "profile", portal.text("access_token"), &segmentation(&[])).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    assert_eq!(
        (answer.text("issued_token_type"), answer.text("token_type"), answer.text("scope")),
        (ACCESS_TOKEN, "Bearer", "profile.read")
    );
    assert_eq!((answer.body.get("refresh_token"), answer.body.get("id_token")), (None, None));
    let before = world.read(portal.text("access_token"), "at+jwt", "kotinos.profile").await;
    let after = world.read(answer.text("access_token"), "at+jwt", "kotinos.segmentation").await;
    for same in ["sub", "acr", "auth_time"] {
        assert_eq!(before[same], after[same], "{same}");
    }
    assert_eq!(
        (&after["aud"], &after["client_id"], &after["act"]),
        (&json!("kotinos.segmentation"), &json!("profile"), &json!({"sub": "profile"}))
    );
    assert!(after["exp"].as_i64() <= before["exp"].as_i64());
    // It is for that API alone, and ends with Alice's grant.
    assert_eq!(world.userinfo(answer.text("access_token")).await.status, StatusCode::FORBIDDEN);
    let active = async || -> Value {
        let form = [("token", answer.text("access_token"))];
        world.post("/oauth2/introspect", basic("profile").as_deref(), &form).await.body
    };
    assert_eq!(active().await["act"], json!({"sub": "profile"}));
    let form = [("token", portal.text("refresh_token")), ("client_id", "portal")];
    world.post("/oauth2/revoke", None, &form).await;
    assert_eq!(active().await, json!({"active": false}));
}

#[tokio::test]
async fn an_exchange_goes_no_further_than_token_client_and_target() {
    let world = World::start().await;
    let (mut browser, portal) = world.tokens(ALICE).await;
    let token = portal.text("access_token");
    let own = with_assertion(&MAILER_KEY.sign(&assertion(world.app.clock.now())));
    let own = world.post("/oauth2/token", None, &own).await;
    let code = world.code(&mut browser, "shop", "openid").await;
    let shop = world.redeem("shop", &code).await;
    let profile = |token: String, others: Vec<(&'static str, &'static str)>| {
        let world = &world;
        async move { exchange(world, "profile", &token, &others).await }
    };
    for (error, token, others) in [
        // A client's own token, a token for somebody else, no token, an ID token, another kind.
        ("invalid_request", own.text("access_token"), segmentation(&[])),
        ("invalid_request", shop.text("access_token"), segmentation(&[])),
        ("invalid_request", "x", segmentation(&[])),
        ("invalid_request", portal.text("id_token"), segmentation(&[])),
        ("invalid_request", portal.text("refresh_token"), segmentation(&[])),
        (
            "invalid_request",
            token,
            segmentation(&[("subject_token_type", "urn:ietf:params:oauth:token-type:jwt")]),
        ),
        ("invalid_request", token, segmentation(&[("actor_token", "x"), ("actor_token_type", ACCESS_TOKEN)])),
        (
            "invalid_request",
            token,
            segmentation(&[("requested_token_type", "urn:ietf:params:oauth:token-type:refresh_token")]),
        ),
        ("invalid_target", token, vec![]),
        ("invalid_target", token, vec![("audience", "kotinos.mailer")]),
        ("invalid_target", token, vec![("audience", ISSUER)]),
        ("invalid_target", token, segmentation(&[("resource", "kotinos.identity")])),
        ("invalid_scope", token, segmentation(&[("scope", "segmentation.read")])),
        ("invalid_scope", token, segmentation(&[("scope", "openid")])),
        ("invalid_scope", token, segmentation(&[("scope", "identity.self")])),
    ] {
        profile(token.to_owned(), others).await.refused_with(400, error);
    }
    exchange(&world, "shop", token, &segmentation(&[])).await.refused_with(400, "unauthorized_client");
    world.advance(domain::TimeDelta::seconds(300));
    profile(token.to_owned(), segmentation(&[])).await.refused_with(400, "invalid_request");
}

#[tokio::test]
async fn an_exchanged_token_ends_with_the_session_too() {
    let world = World::start().await;
    let (mut browser, portal) = world.tokens(ALICE).await;
    // Without offline_access it is bound to the session.
    let code = world.code(&mut browser, "portal", "openid profile.read").await;
    let bound = world.redeem("portal", &code).await;
    let answer = exchange(&world, "profile", bound.text("access_token"), &segmentation(&[])).await;
    let form = [("token", answer.text("access_token"))];
    let introspect = async || world.post("/oauth2/introspect", basic("profile").as_deref(), &form).await.body;
    assert_eq!(introspect().await["active"], json!(true));
    browser.open(&format!("/logout?id_token_hint={}", portal.text("id_token"))).await;
    assert_eq!(introspect().await, json!({"active": false}));
}

#[tokio::test]
async fn an_exchanged_token_ends_everywhere_with_the_client_whose_grant_it_comes_of() {
    let world = World::start().await;
    let there = world.beside().await;
    let (_, portal) = world.tokens(ALICE).await;
    let answer = exchange(&world, "profile", portal.text("access_token"), &segmentation(&[])).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let mut clients = ClientServiceClient::new(world.app.grpc(&["identity.admin"]));
    let delete = DeleteClientRequest { client_id: "portal".to_owned(), expected_version: 0 };
    clients.delete_client(delete).await.unwrap();
    gone_soon(&world, &there, &[("profile", answer)]).await;
}
