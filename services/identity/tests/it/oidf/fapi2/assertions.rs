//! Client authentication by private_key_jwt (RFC 7523 as FAPI 2.0 5.3.2.1 narrows it).

use serde_json::{Value, json};

use super::{
    FIRST,
    checks::{check_error, check_pushed},
    relying_party::{Form, PAR, RelyingParty, TOKEN, assertion, form},
};
use crate::world::{ISSUER, World};

// Redeems a right code with another client authentication than the right one.
async fn redeem_with(authentication: impl Fn(&RelyingParty<'_>) -> Form, allowed: &[&str]) {
    let world = World::start().await;
    let rp = RelyingParty::new(&world, FIRST);
    let request = rp.request();
    let code = rp.code(&mut world.browser(), &request).await;
    let redemption = rp.redemption(&request, &code);
    let make = || (authentication(&rp), Some(rp.proof("POST", TOKEN, None)));
    let answer = rp.call(TOKEN, &redemption, make).await;
    check_error(&answer, allowed);
    assert_eq!(answer.body.get("access_token"), None);
    // It was nothing but the authentication.
    let tokens = rp.redeem(&request, &code).await;
    rp.check_tokens(&tokens, &request).await;
}

fn with_claims(rp: &RelyingParty<'_>, change: impl Fn(&mut Value)) -> Form {
    let mut claims = rp.assertion_claims();
    change(&mut claims);
    rp.assertion(&claims)
}

#[tokio::test]
#[expect(non_snake_case, reason = "the name is the module's")]
async fn fapi2_security_profile_final_ensure_signed_client_assertion_with_RS256_fails() {
    let rs256 = |rp: &RelyingParty<'_>| {
        let header = json!({"alg": "RS256", "kid": "1"});
        assertion(&rp.client.key.jws(&header, &rp.assertion_claims()))
    };
    redeem_with(rs256, &["invalid_client"]).await;
}

#[tokio::test]
async fn fapi2_security_profile_final_ensure_client_assertion_in_token_endpoint() {
    let name_only = |rp: &RelyingParty<'_>| form(&[("client_id", rp.client.client_id)]);
    redeem_with(name_only, &["invalid_client", "invalid_request"]).await;
}

#[tokio::test]
async fn fapi2_security_profile_final_ensure_client_assertion_with_exp_is_5_minutes_in_past_fails() {
    let late = |rp: &RelyingParty<'_>| {
        let now = rp.world.app.clock.now().timestamp();
        with_claims(rp, |claims| claims["exp"] = json!(now - 300))
    };
    redeem_with(late, &["invalid_client", "invalid_request"]).await;
}

#[tokio::test]
async fn fapi2_security_profile_final_ensure_client_assertion_with_wrong_aud_fails() {
    let elsewhere =
        |rp: &RelyingParty<'_>| with_claims(rp, |claims| claims["aud"] = json!("https://elsewhere.example"));
    redeem_with(elsewhere, &["invalid_client", "invalid_request"]).await;
}

#[tokio::test]
async fn fapi2_security_profile_final_ensure_client_assertion_with_no_sub_fails() {
    let nobody =
        |rp: &RelyingParty<'_>| with_claims(rp, |claims| drop(claims.as_object_mut().unwrap().remove("sub")));
    redeem_with(nobody, &["invalid_client", "invalid_request"]).await;
}

async fn push_with(rp: &RelyingParty<'_>, change: impl Fn(&mut Value)) -> crate::world::Answer {
    let request = rp.request();
    rp.post(PAR, &[&request.form[..], &with_claims(rp, change)].concat(), None).await
}

#[tokio::test]
async fn fapi2_security_profile_final_par_ensure_jwt_client_assertions_nbf_8_seconds_in_the_future_is_accepted()
 {
    let world = World::start().await;
    let rp = RelyingParty::new(&world, FIRST);
    let request = rp.request();
    let now = world.app.clock.now().timestamp();
    let early = with_claims(&rp, |claims| {
        claims["iat"] = json!(now + 8);
        claims["nbf"] = json!(now + 8);
    });
    let pushed = rp.post(PAR, &[&request.form[..], &early].concat(), None).await;
    check_pushed(&pushed);
    let mut browser = world.browser();
    let url = rp.authorize(&mut browser, &rp.authorization_url(&pushed, &[])).await;
    let code = rp.check_response(&url, &request);
    let tokens = rp.redeem(&request, &code).await;
    rp.check_tokens(&tokens, &request).await;
    rp.check_resource(tokens.text("access_token")).await;
}

#[tokio::test]
async fn fapi2_security_profile_final_par_ensure_jwt_client_assertions_nbf_over_60_seconds_in_the_future_fails()
 {
    let world = World::start().await;
    let rp = RelyingParty::new(&world, FIRST);
    let now = world.app.clock.now().timestamp();
    let far = |claims: &mut Value| {
        claims["iat"] = json!(now + 70);
        claims["nbf"] = json!(now + 70);
        claims["exp"] = json!(now + 130);
    };
    check_error(&push_with(&rp, far).await, &["invalid_client", "invalid_request"]);
}

// The audience is the issuer as a string (FAPI 2.0 5.3.2.1), and nothing that also names it.
async fn audience_is_refused(audiences: &[Value]) {
    let world = World::start().await;
    let rp = RelyingParty::new(&world, FIRST);
    for audience in audiences {
        let answer = push_with(&rp, |claims| claims["aud"] = audience.clone()).await;
        check_error(&answer, &["invalid_client", "invalid_request"]);
    }
    check_pushed(&push_with(&rp, |claims| claims["aud"] = json!(ISSUER)).await);
}

#[tokio::test]
async fn fapi2_security_profile_final_par_test_array_as_audience_fails() {
    let several = [json!([ISSUER, "https://elsewhere.example"]), json!([ISSUER])];
    audience_is_refused(&several).await;
}

#[tokio::test]
async fn fapi2_security_profile_final_par_test_par_endpoint_url_as_audience_fails() {
    audience_is_refused(&[json!(format!("{ISSUER}{PAR}"))]).await;
}

#[tokio::test]
async fn fapi2_security_profile_final_par_test_token_endpoint_url_as_audience_fails() {
    audience_is_refused(&[json!(format!("{ISSUER}{TOKEN}"))]).await;
}
