//! What the token endpoint asks before it gives tokens for a code.

use domain::TimeDelta;
use reqwest::StatusCode;

use super::{
    FIRST, SECOND,
    checks::check_error,
    relying_party::{Form, RelyingParty, TOKEN, form, random},
};
use crate::world::World;

#[tokio::test]
async fn fapi2_security_profile_final_ensure_client_id_in_token_endpoint() {
    let world = World::start().await;
    let rp = RelyingParty::new(&world, FIRST);
    let request = rp.request();
    let code = rp.code(&mut world.browser(), &request).await;
    // The second client's name everywhere, the first one's key.
    let mut claims = rp.assertion_claims();
    claims["iss"] = SECOND.client_id.into();
    claims["sub"] = SECOND.client_id.into();
    let make = || {
        let mut own = rp.assertion(&claims);
        own.extend(form(&[("client_id", SECOND.client_id)]));
        (own, Some(rp.proof("POST", TOKEN, None)))
    };
    let answer = rp.call(TOKEN, &rp.redemption(&request, &code), make).await;
    check_error(&answer, &["invalid_client", "invalid_grant"]);
}

#[tokio::test]
async fn fapi2_security_profile_final_ensure_holder_of_key_required() {
    let world = World::start().await;
    let rp = RelyingParty::new(&world, FIRST);
    let request = rp.request();
    let code = rp.code(&mut world.browser(), &request).await;
    let redemption = rp.redemption(&request, &code);
    let bare: Form = [&redemption[..], &rp.assertion(&rp.assertion_claims())].concat();
    let answer = rp.post(TOKEN, &bare, None).await;
    check_error(&answer, &["invalid_request", "invalid_grant", "invalid_dpop_proof"]);
    assert_eq!(answer.body.get("access_token"), None);
    // The code was not spent on it.
    let tokens = rp.redeem(&request, &code).await;
    rp.check_tokens(&tokens, &request).await;
}

#[tokio::test]
async fn fapi2_security_profile_final_ensure_authorization_code_is_bound_to_client() {
    let world = World::start().await;
    let (first, second) = (RelyingParty::new(&world, FIRST), RelyingParty::new(&world, SECOND));
    let request = first.request();
    let code = first.code(&mut world.browser(), &request).await;
    let answer = second.token(&first.redemption(&request, &code)).await;
    check_error(&answer, &["invalid_grant"]);
}

#[tokio::test]
async fn fapi2_security_profile_final_attempt_reuse_authorization_code_after_one_second() {
    let world = World::start().await;
    let rp = RelyingParty::new(&world, FIRST);
    let request = rp.request();
    let code = rp.code(&mut world.browser(), &request).await;
    let tokens = rp.redeem(&request, &code).await;
    rp.check_resource(tokens.text("access_token")).await;
    world.advance(TimeDelta::seconds(1));
    check_error(&rp.redeem(&request, &code).await, &["invalid_grant"]);
    // What it gave is taken back.
    let answer = rp.resource(tokens.text("access_token")).await;
    assert_eq!((answer.status, answer.text("error")), (StatusCode::UNAUTHORIZED, "invalid_token"));
    check_error(&rp.refresh(tokens.text("refresh_token")).await, &["invalid_grant"]);
}

#[tokio::test]
async fn fapi2_security_profile_final_ensure_token_endpoint_fails_with_expired_auth_code() {
    let world = World::start().await;
    let rp = RelyingParty::new(&world, FIRST);
    let request = rp.request();
    let code = rp.code(&mut world.browser(), &request).await;
    world.advance(TimeDelta::seconds(62));
    check_error(&rp.redeem(&request, &code).await, &["invalid_grant"]);
}

async fn with_verifier(verifier: Option<&str>) {
    let world = World::start().await;
    let rp = RelyingParty::new(&world, FIRST);
    let request = rp.request();
    let code = rp.code(&mut world.browser(), &request).await;
    let mut redemption = rp.redemption(&request, &code);
    redemption.retain(|(name, _)| name != "code_verifier");
    redemption.extend(verifier.map(|text| ("code_verifier".to_owned(), text.to_owned())));
    let answer = rp.token(&redemption).await;
    check_error(&answer, &["invalid_grant"]);
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn fapi2_security_profile_final_ensure_pkce_code_verifier_required() {
    with_verifier(None).await;
}

#[tokio::test]
async fn fapi2_security_profile_final_incorrect_pkce_code_verifier_rejected() {
    with_verifier(Some(&random(43))).await;
}
