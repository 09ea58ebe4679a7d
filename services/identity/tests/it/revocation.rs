//! What was taken back at one instance does not count at another one a moment later.

use std::time::{Duration, Instant};

use proto::identity::v1::{DisableUserRequest, user_service_client::UserServiceClient};
use reqwest::{StatusCode, header::AUTHORIZATION};
use serde_json::json;
use testkit::TestApp;

use crate::{
    tap::Tap,
    world::{ALICE, Answer, World, answer, basic},
};

/// Seen at another instance after this at the latest.
const SOON: Duration = Duration::from_secs(1);

async fn introspect_at(app: &TestApp, client_id: &str, token: &str) -> Answer {
    let request = app.http().post(app.http_url("/oauth2/introspect")).form(&[("token", token)]);
    answer(request.header(AUTHORIZATION, basic(client_id).unwrap()).send().await.unwrap()).await
}

async fn is_active(app: &TestApp, client_id: &str, token: &str) -> bool {
    let answer = introspect_at(app, client_id, token).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    answer.body["active"] == json!(true)
}

/// Two clients with a JWT and a sealed token, by one session.
async fn tokens_of_both_forms<'w>(
    world: &'w World,
    scope: &str,
) -> (crate::browser::Browser<'w>, Vec<(&'static str, Answer)>) {
    let (mut browser, _) = world.sign_up(ALICE).await;
    let mut tokens = Vec::new();
    for client_id in ["shop", "vault"] {
        let code = world.code(&mut browser, client_id, scope).await;
        tokens.push((client_id, world.redeem(client_id, &code).await));
    }
    (browser, tokens)
}

pub async fn gone_soon(here: &World, there: &TestApp, tokens: &[(&'static str, Answer)]) {
    let since = Instant::now();
    for (client_id, tokens) in tokens {
        let token = tokens.text("access_token");
        assert!(
            !is_active(&here.app, client_id, token).await,
            "{client_id}: still good where it was revoked"
        );
        while is_active(there, client_id, token).await {
            assert!(since.elapsed() < SOON, "{client_id}: still good elsewhere after {:?}", since.elapsed());
        }
    }
}

#[tokio::test]
async fn a_revoked_grant_is_over_at_another_instance_within_a_second() {
    let world = World::start().await;
    let there = world.beside().await;
    let (_browser, tokens) = tokens_of_both_forms(&world, "openid").await;
    for (client_id, tokens) in &tokens {
        assert!(is_active(&there, client_id, tokens.text("access_token")).await);
        let form = [("token", tokens.text("refresh_token"))];
        world.post("/oauth2/revoke", basic(client_id).as_deref(), &form).await;
    }
    gone_soon(&world, &there, &tokens).await;
}

#[tokio::test]
async fn a_sign_out_is_known_at_another_instance_within_a_second() {
    let world = World::start().await;
    let there = world.beside().await;
    let (mut browser, tokens) = tokens_of_both_forms(&world, "openid").await;
    assert!(is_active(&there, "vault", tokens[1].1.text("access_token")).await);
    browser.open(&format!("/logout?id_token_hint={}", tokens[0].1.text("id_token"))).await;
    gone_soon(&world, &there, &tokens).await;
}

#[tokio::test]
async fn a_disabled_users_tokens_rest_everywhere_until_the_user_is_enabled() {
    let world = World::start().await;
    let there = world.beside().await;
    let (_, portal) = world.tokens(ALICE).await;
    let token = portal.text("access_token");
    let user_id =
        world.read(portal.text("id_token"), "JWT", "portal").await["sub"].as_str().unwrap().to_owned();
    assert!(is_active(&there, "profile", token).await);
    let mut users = UserServiceClient::new(world.app.grpc(&["identity.support"]));
    let request =
        DisableUserRequest { user_id: user_id.clone(), expected_version: 0, reason: "x".to_owned() };
    users.disable_user(request).await.unwrap();
    let since = Instant::now();
    assert!(!is_active(&world.app, "profile", token).await);
    assert_eq!(world.userinfo(token).await.status, StatusCode::UNAUTHORIZED);
    while is_active(&there, "profile", token).await {
        assert!(since.elapsed() < SOON);
    }
    let request = proto::identity::v1::EnableUserRequest { user_id, expected_version: 0 };
    users.enable_user(request).await.unwrap();
    // The grant outlives sessions: it was resting, not over.
    assert!(is_active(&world.app, "profile", token).await);
    assert!(is_active(&there, "profile", token).await);
}

#[tokio::test]
async fn what_is_taken_back_while_its_user_is_shut_out_does_not_come_back_with_the_user() {
    let world = World::start().await;
    let (_, portal) = world.tokens(ALICE).await;
    let id = world.read(portal.text("id_token"), "JWT", "portal").await;
    let user_id = id["sub"].as_str().unwrap().to_owned();
    let mut users = UserServiceClient::new(world.app.grpc(&["identity.support"]));
    let request =
        DisableUserRequest { user_id: user_id.clone(), expected_version: 0, reason: "x".to_owned() };
    users.disable_user(request).await.unwrap();
    let form = [("token", portal.text("refresh_token")), ("client_id", "portal")];
    assert_eq!(world.post("/oauth2/revoke", None, &form).await.status, StatusCode::OK);
    let request = proto::identity::v1::EnableUserRequest { user_id, expected_version: 0 };
    users.enable_user(request).await.unwrap();
    world.refresh("portal", portal.text("refresh_token")).await.refused_with(400, "invalid_grant");
    assert!(!is_active(&world.app, "profile", portal.text("access_token")).await);
}

#[tokio::test]
async fn a_sealed_token_says_what_a_jwt_says_and_only_to_its_client() {
    let world = World::start().await;
    let (mut browser, tokens) = tokens_of_both_forms(&world, "openid email").await;
    let (jwt, sealed) = (&tokens[0].1, &tokens[1].1);
    assert!(sealed.text("access_token").starts_with("kat_"), "{}", sealed.body);
    assert_eq!((jwt.body["expires_in"].as_i64(), sealed.body["expires_in"].as_i64()), (Some(300), Some(900)));
    let names = |answer: &Answer| answer.body.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let (of_jwt, of_sealed) = (
        introspect_at(&world.app, "shop", jwt.text("access_token")).await,
        introspect_at(&world.app, "vault", sealed.text("access_token")).await,
    );
    assert_eq!(names(&of_jwt), names(&of_sealed));
    assert_eq!(of_sealed.text("client_id"), "vault");
    let id = world.read(sealed.text("id_token"), "JWT", "vault").await;
    assert_eq!((&of_sealed.body["sub"], &of_sealed.body["sid"]), (&id["sub"], &id["sid"]));
    let claims = world.userinfo(sealed.text("access_token")).await;
    assert_eq!((&claims.body["sub"], claims.text("email")), (&id["sub"], ALICE.email));

    assert!(!is_active(&world.app, "shop", sealed.text("access_token")).await, "another client's");
    let mut other = sealed.text("access_token").to_owned();
    let last = other.pop().unwrap();
    other.push(if last == 'A' { 'B' } else { 'A' });
    for wrong in [other.as_str(), "kat_", "kat_AAAA"] {
        assert!(!is_active(&world.app, "vault", wrong).await, "{wrong}");
        assert_eq!(world.userinfo(wrong).await.status, StatusCode::UNAUTHORIZED);
    }
    // It is no JWT under another name, nor an ID token an access token.
    assert!(!is_active(&world.app, "vault", &format!("kat_{}", jwt.text("access_token"))).await);
    browser.open("/logout").await;
}

#[tokio::test]
async fn an_old_feed_is_not_believed_and_without_the_database_nothing_is_said() {
    let tap = Tap::start().await;
    let world = World::start_through(&tap).await;
    let (_browser, tokens) = tokens_of_both_forms(&world, "openid").await;
    let (client_id, tokens) = &tokens[1];
    let token = tokens.text("access_token");
    assert!(is_active(&world.app, client_id, token).await);
    // The feed cannot be read any more, and what is taken back does not come by it.
    let broken = "alter function identity.first_id_of(timestamptz) rename to first_id_off";
    sqlx::query(broken).execute(&world.app.pool).await.unwrap();
    let broken_at = Instant::now();
    let taken = "update identity.token_family set revoked_at = used_at where client_id = 'vault'";
    sqlx::query(taken).execute(&world.app.pool).await.unwrap();
    while is_active(&world.app, client_id, token).await {
        // A read may have begun just before, and is believed for a second.
        assert!(broken_at.elapsed() < 2 * SOON, "an old feed is believed");
    }
    tap.cut();
    let answer = introspect_at(&world.app, client_id, token).await;
    answer.refused_with(503, "temporarily_unavailable");
    tap.mend();
    let mended = "alter function identity.first_id_off(timestamptz) rename to first_id_of";
    sqlx::query(mended).execute(&world.app.pool).await.unwrap();
    testkit::eventually(crate::world::DEADLINE, || async {
        let answer = introspect_at(&world.app, client_id, token).await;
        (answer.status == StatusCode::OK).then_some(())
    })
    .await;
    assert!(!is_active(&world.app, client_id, token).await);
}
