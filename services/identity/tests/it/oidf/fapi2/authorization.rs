//! Requests as the user's browser carries them.

use reqwest::StatusCode;
use serde_json::json;

use super::{
    FIRST, SCOPE, SECOND,
    checks::{check_error, check_error_response, claims_of},
    relying_party::{RelyingParty, USERINFO, person, random},
};
use crate::{
    browser::Browser,
    world::{ALICE, World, authorize_url, profile_of},
};

/// A world, its first client, and a browser that nobody used yet.
macro_rules! start {
    ($world:ident, $rp:ident, $browser:ident) => {
        let $world = World::start().await;
        let $rp = RelyingParty::new(&$world, FIRST);
        let mut $browser = $world.browser();
    };
}

#[tokio::test]
async fn fapi2_security_profile_final_happy_flow() {
    start!(world, rp, browser);
    let tokens = rp.whole_flow(&mut browser, &rp.request()).await;
    let access_token = tokens.text("access_token");

    // In the URL a token does not count, with whatever proof.
    let proof = rp.proof("GET", USERINFO, Some(access_token));
    let answer = world.get(&format!("{USERINFO}?access_token={access_token}"), &[("dpop", &proof)]).await;
    assert!(answer.status.is_client_error());
    for accept in ["application/json;charset=UTF-8", "application/json, */*;q=0.5"] {
        let proof = rp.proof("GET", USERINFO, Some(access_token));
        let headers = [
            ("authorization", format!("DPoP {access_token}")),
            ("dpop", proof),
            ("accept", accept.to_owned()),
            ("x-fapi-customer-ip-address", "2001:db8::1893:25c8:1946".to_owned()),
        ];
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(world.get(USERINFO, &headers).await.status, StatusCode::OK, "{accept}");
    }
    let unasked = ["email", "name", "given_name", "family_name", "birthdate"];
    let id_token = claims_of(tokens.text("id_token"));
    assert!(unasked.iter().all(|claim| id_token.get(claim).is_none()));

    // The second client names its key without a proof, and has long values.
    let second = RelyingParty::new(&world, SECOND);
    let request = second.request();
    let request = request.with("state", &random(128)).with("nonce", &random(43));
    let request = request.with("dpop_jkt", &second.key.thumbprint());
    let other = second.whole_flow(&mut browser, &request).await;
    // Its token does not count with the first one's key.
    let answer = rp.resource(other.text("access_token")).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
}

async fn reject(rp: &RelyingParty<'_>, browser: &mut Browser<'_>) {
    let request = rp.request().with("state", &random(128));
    let pushed = rp.push(&request).await;
    let page = browser.open(&rp.authorization_url(&pushed, &[])).await.page();
    assert_eq!(page.url.path(), "/consent");
    let form = page.forms().into_iter().find(|form| form.post).unwrap();
    let url = browser.submit(&form, Some("deny")).await.away();
    check_error_response(&url, &request, &["access_denied"]);
    for (name, value) in url::Url::parse(rp.client.redirect_uri).unwrap().query_pairs() {
        assert_eq!(crate::world::param(&url, &name), value);
    }
}

#[tokio::test]
async fn fapi2_security_profile_final_user_rejects_authentication() {
    let world = World::start().await;
    let (mut browser, _) = world.sign_up(ALICE).await;
    reject(&RelyingParty::new(&world, FIRST), &mut browser).await;
    reject(&RelyingParty::new(&world, SECOND), &mut browser).await;
}

#[tokio::test]
async fn fapi2_security_profile_final_ensure_authorization_request_without_state_success() {
    start!(world, rp, browser);
    rp.whole_flow(&mut browser, &rp.request().without("state")).await;
}

#[tokio::test]
async fn fapi2_security_profile_final_ensure_authorization_request_without_nonce_success() {
    start!(world, rp, browser);
    rp.whole_flow(&mut browser, &rp.request().without("nonce")).await;
}

#[tokio::test]
async fn fapi2_security_profile_final_ensure_authorization_request_with_64_char_nonce_success() {
    start!(world, rp, browser);
    rp.whole_flow(&mut browser, &rp.request().with("nonce", &random(64))).await;
}

#[tokio::test]
async fn fapi2_security_profile_final_ensure_other_scope_order_succeeds() {
    start!(world, rp, browser);
    let mut scopes: Vec<_> = SCOPE.split(' ').collect();
    scopes.reverse();
    rp.whole_flow(&mut browser, &rp.request().with("scope", &scopes.join(" "))).await;
}

#[tokio::test]
async fn fapi2_security_profile_final_test_claims_parameter_identity_claims() {
    start!(world, rp, browser);
    let metadata = world.get("/.well-known/openid-configuration", &[]).await.body;
    let standard = ["name", "given_name", "family_name", "birthdate", "locale", "email", "email_verified"];
    let supported = metadata["claims_supported"].as_array().unwrap();
    let asked: Vec<_> = standard.into_iter().filter(|claim| supported.contains(&json!(claim))).collect();
    let mut claims = json!({"userinfo": {}, "id_token": {}});
    for (at, claim) in asked.iter().enumerate() {
        // In each of the forms that OIDC Core 5.5.1 knows.
        let how = [json!(null), json!({"essential": true}), json!({"essential": false})][at % 3].clone();
        claims["userinfo"][claim] = how.clone();
        claims["id_token"][claim] = how;
    }
    claims["userinfo"][random(12)] = json!(null);
    claims["id_token"][random(12)] = json!({"value": random(5)});
    claims[random(9)] = json!({"name": null});

    // The user has every claim.
    let (_, _) = world.sign_up(ALICE).await;
    let user_id = sqlx::query_scalar::<_, domain::Uuid>("select user_id from identity.user");
    let user_id = user_id.fetch_one(&world.app.pool).await.unwrap();
    world.peers.set_profile(user_id.into(), profile_of("Alice", "Arai", "1990-01-02", "ja"));

    let request = rp.request().with("claims", &claims.to_string());
    let pushed = rp.push(&request).await;
    let start = browser.open(&rp.authorization_url(&pushed, &[])).await;
    let known = crate::browser::Person { is_new: false, ..person(&browser) };
    let code = rp.check_response(&browser.go_through(known, start).await, &request);
    let tokens = rp.redeem(&request, &code).await;
    rp.check_tokens(&tokens, &request).await;
    let userinfo = rp.resource(tokens.text("access_token")).await;
    assert_eq!((userinfo.status, userinfo.header("content-type")), (StatusCode::OK, "application/json"));
    let id_token = claims_of(tokens.text("id_token"));
    assert_eq!(userinfo.body["sub"], id_token["sub"]);
    assert!(userinfo.body.get("updated_at").is_none_or(serde_json::Value::is_i64));
    // Where the parameter is not supported it is no fault, and the scopes open the same claims.
    for claim in asked {
        assert!(
            userinfo.body.get(claim).or(id_token.get(claim)).is_some_and(|value| !value.is_null()),
            "{claim}: {}",
            userinfo.body
        );
    }
}

#[tokio::test]
async fn fapi2_security_profile_final_ensure_different_nonce_inside_and_outside_request_object() {
    start!(world, rp, browser);
    let request = rp.request();
    let pushed = rp.push(&request).await;
    let url = rp.authorization_url(&pushed, &[("nonce", "another")]);
    let code = rp.check_response(&rp.authorize(&mut browser, &url).await, &request);
    let tokens = rp.redeem(&request, &code).await;
    rp.check_tokens(&tokens, &request).await;
}

#[tokio::test]
async fn fapi2_security_profile_final_ensure_different_state_inside_and_outside_request_object() {
    start!(world, rp, browser);
    let request = rp.request();
    let pushed = rp.push(&request).await;
    let url = rp.authorization_url(&pushed, &[("state", "another")]);
    let code = rp.check_response(&rp.authorize(&mut browser, &url).await, &request);
    let tokens = rp.redeem(&request, &code).await;
    rp.check_tokens(&tokens, &request).await;
}

#[tokio::test]
async fn fapi2_security_profile_final_ensure_authorization_request_with_long_nonce() {
    start!(world, rp, browser);
    rp.whole_flow(&mut browser, &rp.request().with("nonce", &random(384))).await;
}

#[tokio::test]
async fn fapi2_security_profile_final_ensure_authorization_request_with_long_state() {
    start!(world, rp, browser);
    rp.whole_flow(&mut browser, &rp.request().with("state", &random(1_000))).await;
}

#[tokio::test]
async fn fapi2_security_profile_final_state_only_outside_request_object_not_used() {
    start!(world, rp, browser);
    let request = rp.request().without("state");
    let pushed = rp.push(&request).await;
    let url = rp.authorization_url(&pushed, &[("state", "outside")]);
    let code = rp.check_response(&rp.authorize(&mut browser, &url).await, &request);
    let tokens = rp.redeem(&request, &code).await;
    rp.check_tokens(&tokens, &request).await;
}

#[tokio::test]
async fn fapi2_security_profile_final_ensure_request_object_without_redirect_uri_fails() {
    let world = World::start().await;
    let rp = RelyingParty::new(&world, FIRST);
    check_error(&rp.push(&rp.request().without("redirect_uri")).await, &["invalid_request"]);
    // Nor is one taken for granted that is empty.
    check_error(&rp.push(&rp.request().with("redirect_uri", "")).await, &["invalid_request"]);
}

#[tokio::test]
async fn fapi2_security_profile_final_plain_fapi_tolerate_unregistered_redirect_uri() {
    let world = World::start().await;
    let rp = RelyingParty::new(&world, FIRST);
    let unregistered = format!("{}/{}", FIRST.redirect_uri, random(10));
    check_error(&rp.push(&rp.request().with("redirect_uri", &unregistered)).await, &["invalid_request"]);
}

#[tokio::test]
async fn fapi2_security_profile_final_ensure_unsigned_authorization_request_without_using_par_fails() {
    start!(world, rp, browser);
    let request = rp.request();
    let mut url = url::Url::parse(&authorize_url(FIRST.client_id, SCOPE, &[])).unwrap();
    url.query_pairs_mut().clear().extend_pairs(&request.form);
    // Whether somebody is signed in or not.
    let away = browser.open(url.as_str()).await.away();
    check_error_response(&away, &request, &["invalid_request"]);
    let (mut browser, _) = world.sign_up(ALICE).await;
    let away = browser.open(url.as_str()).await.away();
    check_error_response(&away, &request, &["invalid_request"]);
}

#[tokio::test]
async fn fapi2_security_profile_final_ensure_redirect_uri_in_authorization_request() {
    start!(world, rp, browser);
    check_error(&rp.push(&rp.request().without("redirect_uri")).await, &["invalid_request"]);
    // Beside a pushed request it does not count, and the one inside is the one that is used.
    let request = rp.request();
    let pushed = rp.push(&request).await;
    let url = rp.authorization_url(&pushed, &[("redirect_uri", "https://evil.example/")]);
    rp.check_response(&rp.authorize(&mut browser, &url).await, &request);
}

#[tokio::test]
async fn fapi2_security_profile_final_ensure_response_type_code_idtoken_fails() {
    let world = World::start().await;
    let rp = RelyingParty::new(&world, FIRST);
    let answer = rp.push(&rp.request().with("response_type", "code id_token")).await;
    check_error(&answer, &["unsupported_response_type", "invalid_request", "unauthorized_client"]);
    assert_eq!(answer.body.get("request_uri"), None);
}

#[tokio::test]
async fn fapi2_security_profile_final_ensure_response_type_token_fails() {
    let world = World::start().await;
    let rp = RelyingParty::new(&world, FIRST);
    let answer = rp.push(&rp.request().with("response_type", "token")).await;
    check_error(&answer, &["unsupported_response_type", "invalid_request", "unauthorized_client"]);
    assert_eq!(answer.body.get("request_uri"), None);
}
