use domain::TimeDelta;
use reqwest::StatusCode;
use serde_json::json;

use crate::{
    app_codes::turn_on,
    browser::Person,
    clients::{MAILER_KEY, PORTAL_CALLBACK, PORTAL_SCOPE, SHOP_CALLBACK, STAFF, assertion, with_assertion},
    world::{ALICE, BOB, ISSUER, NONCE, STATE, VERIFIER, World, authorize_url, basic, param},
};

#[tokio::test]
async fn a_code_becomes_tokens_that_say_who_and_how() {
    let world = World::start().await;
    let (_, answer) = world.tokens(ALICE).await;
    assert_eq!((answer.header("cache-control"), answer.header("pragma")), ("no-store", "no-cache"));
    assert_eq!((answer.text("token_type"), answer.body["expires_in"].as_i64()), ("Bearer", Some(300)));
    assert_eq!(answer.text("scope"), PORTAL_SCOPE);

    let now = world.app.clock.now().timestamp();
    let id = world.read(answer.text("id_token"), "JWT", "portal").await;
    assert_eq!((id["iss"].as_str(), id["nonce"].as_str()), (Some(ISSUER), Some(NONCE)));
    assert_eq!((id["iat"].as_i64(), id["exp"].as_i64()), (Some(now), Some(now + 600)));
    assert_eq!((&id["acr"], &id["amr"]), (&json!("urn:kotinos:acr:1"), &json!(["pwd"])));
    assert!(id["auth_time"].as_i64().is_some() && id["sid"].as_str().is_some());
    let digest =
        aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, answer.text("access_token").as_bytes());
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    assert_eq!(id["at_hash"].as_str().unwrap(), URL_SAFE_NO_PAD.encode(&digest.as_ref()[..16]));

    let access = world.read(answer.text("access_token"), "at+jwt", "kotinos.profile").await;
    assert_eq!(access["aud"], json!(["kotinos.profile", "kotinos.identity", ISSUER]));
    // With offline_access it does not end with the session, whose name it therefore does not carry.
    assert_eq!((&access["sub"], access.get("sid")), (&id["sub"], None));
    assert_eq!(
        (access["client_id"].as_str(), access["scope"].as_str()),
        (Some("portal"), Some(PORTAL_SCOPE))
    );
    assert_eq!((access["exp"].as_i64(), &access["acr"]), (Some(now + 300), &id["acr"]));
    assert!(access["jti"].as_str().is_some());
}

#[tokio::test]
async fn the_answer_of_authorize_names_state_and_issuer() {
    let world = World::start().await;
    let (mut browser, _) = world.sign_up(ALICE).await;
    let url = browser.open(&authorize_url("portal", "openid", &[])).await.away();
    assert_eq!((param(&url, "state").as_str(), param(&url, "iss").as_str()), (STATE, ISSUER));
    assert_eq!(url.as_str().split('?').next(), Some(PORTAL_CALLBACK));
}

#[tokio::test]
async fn a_second_use_of_a_code_takes_all_its_tokens_back() {
    let world = World::start().await;
    let (_, code) = world.sign_up(ALICE).await;
    let first = world.redeem("portal", &code).await;
    world.redeem("portal", &code).await.refused_with(400, "invalid_grant");
    world.refresh("portal", first.text("refresh_token")).await.refused_with(400, "invalid_grant");
    assert_eq!(world.userinfo(first.text("access_token")).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_code_used_by_many_at_once_leaves_at_most_one_with_an_answer() {
    let world = World::start().await;
    let (_, code) = world.sign_up(ALICE).await;
    let answers = futures::future::join_all((0..8).map(|_| world.redeem("portal", &code))).await;
    let taken: Vec<_> = answers.iter().filter(|answer| answer.status == StatusCode::OK).collect();
    assert_eq!(taken.len(), 1);
    for refused in answers.iter().filter(|answer| answer.status != StatusCode::OK) {
        refused.refused_with(400, "invalid_grant");
    }
    assert_eq!(world.userinfo(taken[0].text("access_token")).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_wrong_redemption_is_refused_and_leaves_the_code_good() {
    let world = World::start().await;
    let (_, code) = world.sign_up(ALICE).await;
    let other = "x".repeat(43);
    let (code, uri, right) =
        (("code", code.as_str()), ("redirect_uri", PORTAL_CALLBACK), ("code_verifier", VERIFIER));
    let cases: [(&str, Vec<(&str, &str)>); 7] = [
        ("invalid_request", vec![uri, right]),
        ("invalid_grant", vec![code, uri]),
        ("invalid_grant", vec![code, right]),
        ("invalid_grant", vec![code, uri, ("code_verifier", &other)]),
        ("invalid_grant", vec![code, uri, ("code_verifier", "short")]),
        ("invalid_grant", vec![code, ("redirect_uri", "https://portal.example/callback/"), right]),
        ("invalid_target", vec![code, uri, right, ("resource", "kotinos.mailer")]),
    ];
    for (error, mut form) in cases {
        form.extend([("client_id", "portal"), ("grant_type", "authorization_code")]);
        world.post("/oauth2/token", None, &form).await.refused_with(400, error);
    }
    // Another client with another's code, which does not count as a second use.
    let form = [code, ("redirect_uri", SHOP_CALLBACK), ("grant_type", "authorization_code")];
    world.post("/oauth2/token", basic("shop").as_deref(), &form).await.refused_with(400, "invalid_grant");
    assert_eq!(world.redeem("portal", code.1).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_code_lives_for_a_minute() {
    let world = World::start().await;
    let (_, code) = world.sign_up(ALICE).await;
    world.advance(TimeDelta::seconds(60));
    world.redeem("portal", &code).await.refused_with(400, "invalid_grant");
}

#[tokio::test]
async fn a_verifier_without_challenge_is_refused() {
    let world = World::start().await;
    let (mut browser, _) = world.sign_up(ALICE).await;
    let url =
        format!("/authorize?response_type=code&client_id=shop&scope=openid&redirect_uri={SHOP_CALLBACK}");
    let start = browser.open(&url).await;
    let code = param(&browser.go_through(ALICE, start).await, "code");
    let form = [
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("redirect_uri", SHOP_CALLBACK),
        ("code_verifier", VERIFIER),
    ];
    world.post("/oauth2/token", basic("shop").as_deref(), &form).await.refused_with(400, "invalid_grant");
    let answer = world.post("/oauth2/token", basic("shop").as_deref(), &form[..3]).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(world.read(answer.text("id_token"), "JWT", "shop").await.get("nonce"), None);
}

#[tokio::test]
async fn a_refresh_token_rotates_and_repeats_within_the_grace() {
    let world = World::start().await;
    let (_, first) = world.tokens(ALICE).await;
    let second = world.refresh("portal", first.text("refresh_token")).await;
    assert_eq!(second.status, StatusCode::OK);
    assert_ne!(first.text("refresh_token"), second.text("refresh_token"));
    let again = world.refresh("portal", first.text("refresh_token")).await;
    assert_eq!(again.text("refresh_token"), second.text("refresh_token"));

    let (before, after) = (
        world.read(first.text("id_token"), "JWT", "portal").await,
        world.read(second.text("id_token"), "JWT", "portal").await,
    );
    for same in ["iss", "sub", "aud", "auth_time", "acr", "sid"] {
        assert_eq!(before[same], after[same], "{same}");
    }
    assert_eq!(after.get("nonce"), None);
}

#[tokio::test]
async fn a_refresh_token_from_before_the_grace_is_theft() {
    let world = World::start().await;
    let (_, first) = world.tokens(ALICE).await;
    let second = world.refresh("portal", first.text("refresh_token")).await;
    world.advance(TimeDelta::seconds(30));
    world.refresh("portal", first.text("refresh_token")).await.refused_with(400, "invalid_grant");
    world.refresh("portal", second.text("refresh_token")).await.refused_with(400, "invalid_grant");
    assert_eq!(world.userinfo(second.text("access_token")).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_refresh_by_many_at_once_has_one_successor() {
    let world = World::start().await;
    let (_, first) = world.tokens(ALICE).await;
    let refresh_token = first.text("refresh_token");
    let answers = futures::future::join_all((0..100).map(|_| world.refresh("portal", refresh_token))).await;
    let mut successors: Vec<&str> = answers.iter().map(|answer| answer.text("refresh_token")).collect();
    assert!(answers.iter().all(|answer| answer.status == StatusCode::OK));
    successors.dedup();
    assert_eq!(successors.len(), 1);
    assert_eq!(world.refresh("portal", successors[0]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_refresh_narrows_and_never_widens() {
    let world = World::start().await;
    let (_, first) = world.tokens(ALICE).await;
    let form = |scope, resource| {
        [
            ("client_id", "portal"),
            ("grant_type", "refresh_token"),
            ("refresh_token", first.text("refresh_token")),
            ("scope", scope),
            ("resource", resource),
        ]
    };
    let answer = world.post("/oauth2/token", None, &form("profile.read", "kotinos.profile")).await;
    assert_eq!((answer.text("scope"), answer.body.get("id_token")), ("profile.read", None));
    let claims = world.read(answer.text("access_token"), "at+jwt", "kotinos.profile").await;
    assert_eq!(claims["aud"], json!("kotinos.profile"));
    // A refused request costs no token.
    let refresh_token = answer.text("refresh_token").to_owned();
    let refused = |name, value| {
        [
            ("client_id", "portal"),
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh_token.as_str()),
            (name, value),
        ]
    };
    let wide = refused("scope", "openid segmentation.admin");
    world.post("/oauth2/token", None, &wide).await.refused_with(400, "invalid_scope");
    let foreign = refused("resource", "kotinos.mailer");
    world.post("/oauth2/token", None, &foreign).await.refused_with(400, "invalid_target");
    // The grant itself stays as wide as it was.
    let answer = world.refresh("portal", &refresh_token).await;
    assert_eq!(answer.text("scope"), PORTAL_SCOPE);
}

#[tokio::test]
async fn a_resource_of_the_request_narrows_what_its_code_is_worth() {
    let world = World::start().await;
    let (mut browser, _) = world.sign_up(ALICE).await;
    let url = authorize_url("portal", "openid profile.read", &[("resource", "kotinos.profile")]);
    let code = param(&browser.open(&url).await.away(), "code");
    let wider = [
        ("client_id", "portal"),
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", PORTAL_CALLBACK),
        ("code_verifier", VERIFIER),
        ("resource", "kotinos.identity"),
    ];
    world.post("/oauth2/token", None, &wider).await.refused_with(400, "invalid_target");
    let tokens = world.redeem("portal", &code).await;
    let claims = world.read(tokens.text("access_token"), "at+jwt", "kotinos.profile").await;
    assert_eq!(claims["aud"], json!(["kotinos.profile", ISSUER]));
}

#[tokio::test]
async fn tokens_without_offline_access_end_with_their_session() {
    let world = World::start().await;
    let (mut browser, offline) = world.tokens(ALICE).await;
    let code = world.code(&mut browser, "shop", "openid").await;
    let bound = world.redeem("shop", &code).await;
    let id_token_hint = offline.text("id_token");
    browser.open(&format!("/logout?id_token_hint={id_token_hint}")).await;
    world.refresh("shop", bound.text("refresh_token")).await.refused_with(400, "invalid_grant");
    assert_eq!(world.refresh("portal", offline.text("refresh_token")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_refresh_token_is_of_one_client() {
    let world = World::start().await;
    let (_, first) = world.tokens(ALICE).await;
    world.refresh("shop", first.text("refresh_token")).await.refused_with(400, "invalid_grant");
    assert_eq!(world.refresh("portal", first.text("refresh_token")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn partners_know_a_user_by_names_of_their_own() {
    let world = World::start().await;
    let (mut browser, portal) = world.tokens(ALICE).await;
    let portal = world.read(portal.text("id_token"), "JWT", "portal").await;
    let mut subs = vec![portal["sub"].as_str().unwrap().to_owned()];
    for client_id in ["shop", "forum"] {
        let code = world.code(&mut browser, client_id, "openid").await;
        let answer = world.redeem(client_id, &code).await;
        assert_eq!(answer.body.get("refresh_token").is_some(), client_id == "shop");
        let id = world.read(answer.text("id_token"), "JWT", client_id).await;
        assert_ne!(id["sid"], portal["sid"]);
        subs.push(id["sub"].as_str().unwrap().to_owned());
    }
    subs.sort();
    subs.dedup();
    assert_eq!(subs.len(), 3);
    let code = world.code(&mut browser, "shop", "openid").await;
    let again = world.redeem("shop", &code).await;
    assert!(subs.contains(
        &world.read(again.text("id_token"), "JWT", "shop").await["sub"].as_str().unwrap().to_owned()
    ));
}

#[tokio::test]
async fn a_staff_scope_needs_its_holder() {
    let world = World::start().await;
    let asked = "openid segmentation.admin";
    let staff = Person { email: STAFF, ..BOB };
    for (person, scope) in [(ALICE, "openid"), (staff, asked)] {
        let (mut browser, _) = world.sign_up(person).await;
        turn_on(&world, &mut browser).await;
        let code = world.code(&mut browser, "portal", asked).await;
        assert_eq!(world.redeem("portal", &code).await.text("scope"), scope);
    }
}

#[tokio::test]
async fn a_client_gets_a_token_of_its_own_for_the_api_that_it_names() {
    let world = World::start().await;
    let ask = async |others: &[(&str, &str)]| {
        let mut form = with_assertion(&MAILER_KEY.sign(&assertion(world.app.clock.now())));
        form.extend(others.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        world.post("/oauth2/token", None, &form).await
    };
    let answer = ask(&[("resource", "kotinos.profile")]).await;
    let claims = world.read(answer.text("access_token"), "at+jwt", "kotinos.profile").await;
    assert_eq!((claims["sub"].as_str(), claims["client_id"].as_str()), (Some("mailer"), Some("mailer")));
    assert_eq!((claims["aud"].as_str(), claims.get("sid")), (Some("kotinos.profile"), None));
    // Scopes of a person are not a client's.
    assert_eq!(answer.text("scope"), "consent.write segmentation.freeze");
    assert_eq!((answer.body.get("refresh_token"), answer.body.get("id_token")), (None, None));

    let both = ask(&[
        ("resource", "kotinos.profile"),
        ("resource", "kotinos.segmentation"),
        ("scope", "consent.write"),
    ]);
    let both = both.await;
    assert_eq!(both.text("scope"), "consent.write");
    let claims = world.read(both.text("access_token"), "at+jwt", "kotinos.segmentation").await;
    assert_eq!(claims["aud"], json!(["kotinos.profile", "kotinos.segmentation"]));

    ask(&[("resource", "kotinos.mailer")]).await.refused_with(400, "invalid_target");
    ask(&[("scope", "mailer.admin")]).await.refused_with(400, "invalid_scope");
    ask(&[("scope", "a\"b")]).await.refused_with(400, "invalid_scope");
}

#[tokio::test]
async fn a_client_may_use_only_the_grants_that_it_registered() {
    let world = World::start().await;
    let post = async |authorization: Option<String>, form: &[(&str, &str)]| {
        world.post("/oauth2/token", authorization.as_deref(), form).await
    };
    post(basic("shop"), &[("grant_type", "client_credentials")])
        .await
        .refused_with(400, "unauthorized_client");
    post(basic("profile"), &[("grant_type", "authorization_code"), ("code", "x")])
        .await
        .refused_with(400, "unauthorized_client");
    for (grant_type, error) in [
        ("password", "unsupported_grant_type"),
        ("implicit", "unsupported_grant_type"),
        ("urn:ietf:params:oauth:grant-type:device_code", "unauthorized_client"),
        ("urn:ietf:params:oauth:grant-type:token-exchange", "unauthorized_client"),
        ("urn:ietf:params:oauth:grant-type:saml2-bearer", "unsupported_grant_type"),
        ("", "invalid_request"),
    ] {
        post(basic("shop"), &[("grant_type", grant_type)]).await.refused_with(400, error);
    }
}

#[tokio::test]
async fn tokens_survive_a_kill_between_redemption_and_refresh() {
    let world = World::start().await;
    let (browser, first) = world.tokens(ALICE).await;
    drop(browser);
    let second = world.refresh("portal", first.text("refresh_token")).await;
    let world = world.killed_and_restarted().await;
    // The answer was lost on its way: the client asks again with what it has.
    let again = world.refresh("portal", first.text("refresh_token")).await;
    assert_eq!(again.text("refresh_token"), second.text("refresh_token"));
    assert_eq!(world.userinfo(second.text("access_token")).await.status, StatusCode::OK);
}
