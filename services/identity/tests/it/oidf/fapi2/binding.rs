//! A code that is bound to a key (RFC 9449 10).

use super::{
    FIRST,
    checks::check_error,
    relying_party::{RelyingParty, Request},
    signer::Signer,
};
use crate::world::World;

const MISMATCH: [&str; 3] = ["invalid_request", "invalid_grant", "invalid_dpop_proof"];

async fn code_pushed_with_proof(rp: &RelyingParty<'_>, request: &Request) -> String {
    let pushed = rp.push_with_proof(request).await;
    let mut browser = rp.world.browser();
    let url = rp.authorize(&mut browser, &rp.authorization_url(&pushed, &[])).await;
    rp.check_response(&url, request)
}

#[tokio::test]
async fn fapi2_security_profile_final_ensure_mismatched_dpop_jkt_fails() {
    let world = World::start().await;
    let rp = RelyingParty::new(&world, FIRST);
    let request = rp.request().with("dpop_jkt", &Signer::p256().thumbprint());
    let answer = rp.push_with_proof(&request).await;
    check_error(&answer, &["invalid_request", "invalid_dpop_proof"]);
}

#[tokio::test]
async fn fapi2_security_profile_final_ensure_token_endpoint_fails_with_mismatched_dpop_proof_jkt() {
    let world = World::start().await;
    let mut rp = RelyingParty::new(&world, FIRST);
    let request = rp.request();
    let code = code_pushed_with_proof(&rp, &request).await;
    let pushed_with = std::mem::replace(&mut rp.key, Signer::p256());
    check_error(&rp.redeem(&request, &code).await, &MISMATCH);
    // The right key may still have it.
    rp.key = pushed_with;
    let tokens = rp.redeem(&request, &code).await;
    rp.check_tokens(&tokens, &request).await;
}

#[tokio::test]
async fn fapi2_security_profile_final_ensure_token_endpoint_fails_with_mismatched_dpop_jkt() {
    let world = World::start().await;
    let rp = RelyingParty::new(&world, FIRST);
    let request = rp.request().with("dpop_jkt", &Signer::p256().thumbprint());
    let code = rp.code(&mut world.browser(), &request).await;
    check_error(&rp.redeem(&request, &code).await, &MISMATCH);
}

#[tokio::test]
async fn fapi2_security_profile_final_ensure_dpopproof_at_par_endpoint_binding_success() {
    let world = World::start().await;
    let rp = RelyingParty::new(&world, FIRST);
    let request = rp.request();
    let code = code_pushed_with_proof(&rp, &request).await;
    let tokens = rp.redeem(&request, &code).await;
    rp.check_tokens(&tokens, &request).await;
    rp.check_resource(tokens.text("access_token")).await;
}

#[tokio::test]
async fn fapi2_security_profile_final_ensure_dpop_auth_code_binding_success() {
    let world = World::start().await;
    let rp = RelyingParty::new(&world, FIRST);
    let request = rp.request().with("dpop_jkt", &rp.key.thumbprint());
    let code = code_pushed_with_proof(&rp, &request).await;
    let tokens = rp.redeem(&request, &code).await;
    rp.check_tokens(&tokens, &request).await;
    rp.check_resource(tokens.text("access_token")).await;
}
