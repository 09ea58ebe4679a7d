use std::time::{Duration, Instant};

use domain::TimeDelta;
use reqwest::StatusCode;
use serde_json::json;

use crate::{
    clients::{MAILER_KEY, assertion, with_assertion},
    world::{ALICE, Answer, ProfileIs, World, profile_of},
};

const USERINFO: &str = "/oauth2/userinfo";

#[tokio::test]
async fn userinfo_tells_what_the_scopes_open() {
    let world = World::start().await;
    let (mut browser, tokens) = world.tokens(ALICE).await;
    let sub = world.read(tokens.text("id_token"), "JWT", "portal").await["sub"].as_str().unwrap().to_owned();
    world.peers.set_profile(sub.parse().unwrap(), profile_of("アリス", "田中", "1990-02-28", "ja"));
    let answer = world.userinfo(tokens.text("access_token")).await;
    assert_eq!((answer.status, answer.header("cache-control")), (StatusCode::OK, "no-store"));
    assert_eq!(
        answer.body,
        json!({
            "sub": sub, "email": ALICE.email, "email_verified": true, "name": "田中 アリス", "given_name": "アリス",
            "family_name": "田中", "birthdate": "1990-02-28", "locale": "ja",
        })
    );
    for (scope, claims) in [("openid", 1), ("openid email", 3)] {
        let code = world.code(&mut browser, "portal", scope).await;
        let tokens = world.redeem("portal", &code).await;
        let answer = world.userinfo(tokens.text("access_token")).await;
        assert_eq!(answer.body.as_object().unwrap().len(), claims, "{scope}");
    }
}

#[tokio::test]
async fn a_partner_reads_the_name_that_it_knows_the_user_by() {
    let world = World::start().await;
    let (mut browser, _) = world.sign_up(ALICE).await;
    let code = world.code(&mut browser, "shop", "openid email").await;
    let tokens = world.redeem("shop", &code).await;
    let id = world.read(tokens.text("id_token"), "JWT", "shop").await;
    let answer = world.userinfo(tokens.text("access_token")).await;
    assert_eq!((&answer.body["sub"], answer.text("email")), (&id["sub"], ALICE.email));
}

#[tokio::test]
async fn a_user_whose_profile_is_on_its_way_gets_identitys_own_claims() {
    let world = World::start().await;
    let (_, tokens) = world.tokens(ALICE).await;
    let answer = world.userinfo(tokens.text("access_token")).await;
    assert_eq!((answer.status, answer.text("email")), (StatusCode::OK, ALICE.email));
    assert_eq!((answer.text("locale"), answer.body.get("name")), ("en", None));
}

#[tokio::test]
async fn without_profile_nothing_is_told_and_soon() {
    let world = World::start().await;
    let (mut browser, tokens) = world.tokens(ALICE).await;
    for is in [ProfileIs::Down, ProfileIs::Silent] {
        world.peers.profile_is(is);
        let begun = Instant::now();
        let answer = world.userinfo(tokens.text("access_token")).await;
        answer.refused_with(503, "temporarily_unavailable");
        assert_eq!((answer.header("retry-after"), answer.body.get("sub")), ("1", None));
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    }
    // Who does not ask for a profile does not wait for it.
    let code = world.code(&mut browser, "portal", "openid email").await;
    let tokens = world.redeem("portal", &code).await;
    assert_eq!(world.userinfo(tokens.text("access_token")).await.status, StatusCode::OK);
    world.peers.profile_is(ProfileIs::Up);
}

#[tokio::test]
async fn the_token_comes_in_the_header_or_in_the_body() {
    let world = World::start().await;
    let (_, tokens) = world.tokens(ALICE).await;
    let token = tokens.text("access_token");
    let header = format!("bearer {token}");
    let none: [(&str, &str); 0] = [];
    assert_eq!(world.post(USERINFO, Some(&header), &none).await.status, StatusCode::OK);
    assert_eq!(world.post(USERINFO, None, &[("access_token", token)]).await.status, StatusCode::OK);
    let bare = world.app.http().post(world.app.http_url(USERINFO)).bearer_auth(token);
    assert_eq!(bare.send().await.unwrap().status(), StatusCode::OK);
    let both = world.post(USERINFO, Some(&header), &[("access_token", token)]).await;
    both.refused_with(400, "invalid_request");
    assert!(both.header("www-authenticate").contains("error=\"invalid_request\""));
    // In the URL it would stand in logs.
    let answer = world.get(&format!("{USERINFO}?access_token={token}"), &[]).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
}

fn challenge(answer: &Answer) -> (u16, &str) {
    (answer.status.as_u16(), answer.header("www-authenticate"))
}

#[tokio::test]
async fn a_token_that_does_not_count_is_challenged() {
    let world = World::start().await;
    let missing = world.get(USERINFO, &[]).await;
    let schemes = "Bearer realm=\"kotinos\", DPoP realm=\"kotinos\", algs=\"ES256 PS256 EdDSA\"";
    assert_eq!(challenge(&missing), (401, schemes));
    let (_, tokens) = world.tokens(ALICE).await;
    let form = with_assertion(&MAILER_KEY.sign(&assertion(world.app.clock.now())));
    let client = world.post("/oauth2/token", None, &form).await;
    let mut changed = tokens.text("access_token").to_owned();
    changed.replace_range(changed.len() - 4.., "AAAA");
    let unsigned = format!("{}.", tokens.text("access_token").rsplit_once('.').unwrap().0);
    for wrong in [
        "x",
        "a.b.c",
        &"x".repeat(20_000),
        tokens.text("id_token"),
        tokens.text("refresh_token"),
        client.text("access_token"),
        &changed,
        &unsigned,
    ] {
        let answer = world.userinfo(wrong).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{wrong}");
        assert!(answer.header("www-authenticate").contains("error=\"invalid_token\""), "{wrong}");
    }
    world.advance(TimeDelta::seconds(300));
    assert_eq!(world.userinfo(tokens.text("access_token")).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_token_without_openid_lacks_scope() {
    let world = World::start().await;
    let (_, tokens) = world.tokens(ALICE).await;
    let form = [
        ("client_id", "portal"),
        ("grant_type", "refresh_token"),
        ("refresh_token", tokens.text("refresh_token")),
        ("scope", "email"),
    ];
    let narrow = world.post("/oauth2/token", None, &form).await;
    let answer = world.userinfo(narrow.text("access_token")).await;
    answer.refused_with(403, "insufficient_scope");
    assert!(answer.header("www-authenticate").contains("error=\"insufficient_scope\""));
}

#[tokio::test]
async fn a_disabled_users_token_does_not_count() {
    let world = World::start().await;
    let (_, tokens) = world.tokens(ALICE).await;
    let sub = world.read(tokens.text("id_token"), "JWT", "portal").await["sub"].as_str().unwrap().to_owned();
    let mut users = proto::identity::v1::user_service_client::UserServiceClient::new(
        world.app.grpc(&["identity.support", "identity.read"]),
    );
    let request = proto::identity::v1::DisableUserRequest {
        user_id: sub,
        expected_version: 0,
        reason: "test".to_owned(),
    };
    users.disable_user(request).await.unwrap();
    assert_eq!(world.userinfo(tokens.text("access_token")).await.status, StatusCode::UNAUTHORIZED);
    world.refresh("portal", tokens.text("refresh_token")).await.refused_with(400, "invalid_grant");
}
