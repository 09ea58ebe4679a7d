//! Pushed requests and the one-time URI (RFC 9126).

use domain::TimeDelta;

use super::{
    FIRST, SECOND,
    checks::{check_error, check_error_page, check_error_response},
    relying_party::{PAR, RelyingParty, random},
    signer::sha256,
};
use crate::world::{ALICE, World};

#[tokio::test]
async fn fapi2_security_profile_final_par_ensure_reused_request_uri_prior_to_auth_completion_succeeds() {
    let world = World::start().await;
    let rp = RelyingParty::new(&world, FIRST);
    let request = rp.request();
    let pushed = rp.push(&request).await;
    let url = rp.authorization_url(&pushed, &[]);
    let mut browser = world.browser();
    let page = browser.open(&url).await.page();
    assert_eq!(page.url.path(), "/login");
    // The page is loaded again, and only now somebody does something on it.
    let code = rp.check_response(&rp.authorize(&mut browser, &url).await, &request);
    let tokens = rp.redeem(&request, &code).await;
    rp.check_tokens(&tokens, &request).await;
    rp.check_resource(tokens.text("access_token")).await;
}

#[tokio::test]
async fn fapi2_security_profile_final_par_attempt_reuse_request_uri() {
    let world = World::start().await;
    let rp = RelyingParty::new(&world, FIRST);
    let request = rp.request();
    let pushed = rp.push(&request).await;
    let url = rp.authorization_url(&pushed, &[]);
    let mut browser = world.browser();
    let code = rp.check_response(&rp.authorize(&mut browser, &url).await, &request);
    let tokens = rp.redeem(&request, &code).await;
    rp.check_tokens(&tokens, &request).await;
    let away = browser.open(&url).await.away();
    check_error_response(&away, &request, &["invalid_request_uri"]);
}

#[tokio::test]
async fn fapi2_security_profile_final_par_attempt_to_use_expired_request_uri() {
    let world = World::start().await;
    let rp = RelyingParty::new(&world, FIRST);
    let request = rp.request();
    let pushed = rp.push(&request).await;
    world.advance(TimeDelta::seconds(pushed.body["expires_in"].as_i64().unwrap()));
    let away = world.browser().open(&rp.authorization_url(&pushed, &[])).await.away();
    check_error_response(&away, &request, &["invalid_request_uri"]);
}

#[tokio::test]
async fn fapi2_security_profile_final_par_attempt_to_use_request_uri_for_different_client() {
    let world = World::start().await;
    let rp = RelyingParty::new(&world, FIRST);
    let pushed = rp.push(&rp.request()).await;
    let url = rp.authorization_url_of(SECOND.client_id, &pushed, &[]);
    check_error_page(world.browser().open(&url).await);
    let (mut browser, _) = world.sign_up(ALICE).await;
    check_error_page(browser.open(&url).await);
}

#[tokio::test]
async fn fapi2_security_profile_final_par_authorization_request_containing_request_uri_form_param() {
    let world = World::start().await;
    let rp = RelyingParty::new(&world, FIRST);
    let elsewhere = format!("https://ticketing.example/{}", random(20));
    let own = rp.push(&rp.request()).await;
    for request_uri in [elsewhere.as_str(), "urn:example:request", own.text("request_uri")] {
        let answer = rp.push(&rp.request().with("request_uri", request_uri)).await;
        let allowed = ["invalid_request", "invalid_request_object", "request_uri_not_supported"];
        check_error(&answer, &allowed);
    }
}

#[tokio::test]
async fn fapi2_security_profile_final_par_attempt_invalid_http_method() {
    let world = World::start().await;
    let rp = RelyingParty::new(&world, FIRST);
    let form = [&rp.request().form[..], &rp.assertion(&rp.assertion_claims())].concat();
    for method in [reqwest::Method::PUT, reqwest::Method::GET, reqwest::Method::PATCH] {
        let request = world.app.http().request(method, world.app.http_url(PAR)).form(&form);
        assert_eq!(request.send().await.unwrap().status().as_u16(), 405);
    }
}

#[tokio::test]
async fn fapi2_security_profile_final_par_ensure_pkce_required() {
    let world = World::start().await;
    let rp = RelyingParty::new(&world, FIRST);
    let request = rp.request().without("code_challenge").without("code_challenge_method");
    check_error(&rp.push(&request).await, &["invalid_request"]);
}

#[tokio::test]
async fn fapi2_security_profile_final_par_plain_pkce_rejected() {
    let world = World::start().await;
    let rp = RelyingParty::new(&world, FIRST);
    let request = rp.request();
    let plain = request.clone().with("code_challenge", &request.verifier);
    check_error(&rp.push(&plain.clone().with("code_challenge_method", "plain")).await, &["invalid_request"]);
    // Without a method it is `plain` (RFC 7636 4.3).
    check_error(&rp.push(&plain.without("code_challenge_method")).await, &["invalid_request"]);
    assert_eq!(request.get("code_challenge"), Some(sha256(&request.verifier).as_str()));
}

#[tokio::test]
async fn fapi2_security_profile_final_par_without_duplicate_parameters() {
    let world = World::start().await;
    let rp = RelyingParty::new(&world, FIRST);
    let request = rp.request();
    let pushed = rp.push(&request).await;
    let url = rp.authorization_url(&pushed, &[]);
    let names: Vec<_> =
        url::Url::parse(&url).unwrap().query_pairs().map(|(name, _)| name.into_owned()).collect();
    assert_eq!(names, ["client_id", "request_uri"]);
    let code = rp.check_response(&rp.authorize(&mut world.browser(), &url).await, &request);
    let tokens = rp.redeem(&request, &code).await;
    rp.check_tokens(&tokens, &request).await;
    rp.check_resource(tokens.text("access_token")).await;
}
