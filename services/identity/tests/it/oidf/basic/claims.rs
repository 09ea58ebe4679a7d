//! What the user's claims are and how they are asked for.

use serde_json::json;

use super::{rp, succeeds};
use crate::{
    oidf::suite::{Suite, check_userinfo, encoded},
    world::ALICE,
};

const PROFILE: [&str; 8] =
    ["name", "given_name", "family_name", "gender", "birthdate", "zoneinfo", "locale", "updated_at"];
const EMAIL: [&str; 2] = ["email", "email_verified"];
const ADDRESS: [&str; 1] = ["address"];
const PHONE: [&str; 2] = ["phone_number", "phone_number_verified"];

/// These scopes open exactly these claims at the userinfo endpoint, and none in the ID token.
async fn scopes_open(scope: &str, claims: &[&[&str]]) {
    let suite = Suite::start().await;
    let request = suite.request(&rp()).with("scope", scope);
    let tokens = suite.sign_in(&mut suite.browser(), &request).await;
    let told = suite.userinfo(&tokens).await;
    let mut expected: Vec<&str> = claims.concat();
    expected.push("sub");
    expected.sort_unstable();
    let mut names: Vec<&str> = told.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, expected);
    for claim in claims.concat() {
        assert!(tokens.id.get(claim).is_none(), "{claim} in the ID token");
    }
}

async fn userinfo_by_post(in_body: bool) {
    let suite = Suite::start().await;
    let request = suite.request(&rp());
    let tokens = suite.sign_in(&mut suite.browser(), &request).await;
    let (path, bearer) = (suite.endpoint("userinfo_endpoint"), format!("Bearer {}", tokens.access_token()));
    let answer = if in_body {
        suite.world.post(&path, None, &[("access_token", tokens.access_token())]).await
    } else {
        let none: [(&str, &str); 0] = [];
        suite.world.post(&path, Some(&bearer), &none).await
    };
    check_userinfo(&tokens, &answer);
}

#[tokio::test]
async fn oidcc_userinfo_get() {
    let suite = Suite::start().await;
    let request = suite.request(&rp());
    let tokens = suite.sign_in(&mut suite.browser(), &request).await;
    suite.userinfo(&tokens).await;
}

#[tokio::test]
async fn oidcc_userinfo_post_header() {
    userinfo_by_post(false).await;
}

#[tokio::test]
async fn oidcc_userinfo_post_body() {
    userinfo_by_post(true).await;
}

#[tokio::test]
async fn oidcc_scope_profile() {
    scopes_open("openid profile", &[&PROFILE]).await;
}

#[tokio::test]
async fn oidcc_scope_email() {
    scopes_open("openid email", &[&EMAIL]).await;
}

#[tokio::test]
async fn oidcc_scope_address() {
    scopes_open("openid address", &[&ADDRESS]).await;
}

#[tokio::test]
async fn oidcc_scope_phone() {
    scopes_open("openid phone", &[&PHONE]).await;
}

#[tokio::test]
async fn oidcc_scope_all() {
    scopes_open("openid email phone address profile", &[&PROFILE, &EMAIL, &ADDRESS, &PHONE]).await;
}

#[tokio::test]
async fn oidcc_alternate_happy_flow() {
    let suite = Suite::start().await;
    let request = suite.request(&rp()).with("scope", "email openid");
    let mut browser = suite.browser();
    // The suite's order is the alphabet's; here it is the other way round.
    let pairs = request.params.iter().rev();
    let url = format!("{}?{}", suite.endpoint("authorization_endpoint"), encoded(pairs));
    let start = browser.open(&url).await;
    let callback = suite.go_through(&mut browser, start).await;
    let tokens = suite.complete(&request, &callback).await;
    let told = suite.userinfo(&tokens).await;
    assert_eq!((told["email"].as_str(), &told["email_verified"]), (Some(ALICE.email), &json!(true)));
    assert!(told.get("name").is_none() && tokens.id.get("name").is_none());
    assert!(tokens.id.get("email").is_none());
}

#[tokio::test]
async fn oidcc_claims_locales() {
    succeeds(|request| request.with("claims_locales", "se")).await;
}

#[tokio::test]
async fn oidcc_claims_essential() {
    let claims = json!({"userinfo": {"name": {"essential": true}}}).to_string();
    let suite = Suite::start().await;
    let request = suite.request(&rp()).with("claims", &claims);
    let tokens = suite.sign_in(&mut suite.browser(), &request).await;
    let told = suite.userinfo(&tokens).await;
    assert_eq!(told["name"], json!("Alice Tanaka"));
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(tokens.id.get("name").is_none());
}
