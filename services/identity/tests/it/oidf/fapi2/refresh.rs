use reqwest::StatusCode;

use super::{
    FIRST, SCOPE, SECOND,
    checks::{check_error, claims_of},
    relying_party::{RelyingParty, TOKEN, form},
};
use crate::{
    browser::Browser,
    world::{Answer, World},
};

// A refresh that gives another access token and says the same of the user (OIDC Core 12.2); the refresh token stays, as
// FAPI 2.0 5.3.2.1 wants it.
async fn refreshed(rp: &RelyingParty<'_>, before: &Answer) -> Answer {
    let after = rp.refresh(before.text("refresh_token")).await;
    assert_eq!((after.status, after.text("token_type")), (StatusCode::OK, "DPoP"), "{}", after.body);
    assert_ne!(after.text("access_token"), before.text("access_token"));
    assert_eq!(after.text("refresh_token"), before.text("refresh_token"));
    let (old, new) = (claims_of(before.text("id_token")), claims_of(after.text("id_token")));
    for same in ["iss", "sub", "aud", "auth_time", "acr"] {
        assert_eq!(old[same], new[same], "{same}");
    }
    assert_eq!(new.get("nonce"), None);
    assert!(new["iat"].as_i64() >= old["iat"].as_i64());
    rp.check_resource(after.text("access_token")).await;
    after
}

async fn offline_tokens(rp: &RelyingParty<'_>, browser: &mut Browser<'_>) -> Answer {
    let tokens = rp.tokens(browser, &rp.request().with("prompt", "consent")).await;
    refreshed(rp, &tokens).await
}

#[tokio::test]
async fn fapi2_security_profile_final_refresh_token() {
    let world = World::start().await;
    let mut browser = world.browser();
    let first = RelyingParty::new(&world, FIRST);
    let tokens = offline_tokens(&first, &mut browser).await;
    let refresh_token = tokens.text("refresh_token");
    let pairs = form(&[("grant_type", "refresh_token"), ("refresh_token", refresh_token), ("scope", SCOPE)]);

    let without_client = || (Vec::new(), Some(first.proof("POST", TOKEN, None)));
    let answer = first.call(TOKEN, &pairs, without_client).await;
    check_error(&answer, &["invalid_client", "invalid_grant", "invalid_request"]);

    let without_proof = [&pairs[..], &first.assertion(&first.assertion_claims())].concat();
    let answer = first.post(TOKEN, &without_proof, None).await;
    check_error(&answer, &["invalid_request", "invalid_grant", "invalid_dpop_proof"]);
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);

    let second = RelyingParty::new(&world, SECOND);
    let others = offline_tokens(&second, &mut browser).await;
    let answer = first.resource(others.text("access_token")).await;
    assert!(answer.status.is_client_error());
    check_error(&first.refresh(others.text("refresh_token")).await, &["invalid_grant"]);
    // Nobody's mistake cost the owner anything.
    refreshed(&second, &others).await;
    refreshed(&first, &tokens).await;
}
