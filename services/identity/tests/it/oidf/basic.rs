//! OIDCCBasicTestPlan: 38 modules.

use std::collections::HashMap;

use domain::TimeDelta;
use jsonwebtoken::Algorithm;
use reqwest::Method;
use serde_json::{Value, json};

use super::suite::{
    RelyingParty, Request, Suite, Tokens, check_error, check_response, check_token_error, check_userinfo,
    encoded,
};
use crate::{
    browser::{Arrived, Browser},
    clients::ClientKey,
    registration::{call, initial_access_token},
    world::{ALICE, Answer, ISSUER},
};

const PROFILE: [&str; 8] =
    ["name", "given_name", "family_name", "gender", "birthdate", "zoneinfo", "locale", "updated_at"];
const EMAIL: [&str; 2] = ["email", "email_verified"];
const ADDRESS: [&str; 1] = ["address"];
const PHONE: [&str; 2] = ["phone_number", "phone_number_verified"];

fn rp() -> RelyingParty {
    RelyingParty::known("suite")
}

/// A flow with one change of the request succeeds.
async fn succeeds(change: impl FnOnce(Request) -> Request) -> Tokens {
    let suite = Suite::start().await;
    let request = change(suite.request(&rp()));
    suite.sign_in(&mut suite.browser(), &request).await
}

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

/// Two authorizations by one sign-in tell of the same user and the same moment.
fn same_sign_in(first: &Tokens, second: &Tokens) {
    assert_eq!(first.id["sub"], second.id["sub"]);
    assert!(first.id["auth_time"].is_i64());
    assert_eq!(first.id["auth_time"], second.id["auth_time"]);
}

// Shannon's entropy of a text's characters, in bits of the whole.
fn entropy(text: &str) -> f64 {
    let mut counts: HashMap<char, f64> = HashMap::new();
    for one in text.chars() {
        *counts.entry(one).or_default() += 1.0;
    }
    let length: f64 = counts.values().sum();
    -counts.values().map(|count| count * (count / length).log2()).sum::<f64>()
}

#[tokio::test]
async fn oidcc_server() {
    let suite = Suite::start().await;
    let request = suite.request(&rp());
    let callback = suite.authorize(&mut suite.browser(), &request).await;
    let code = check_response(&request, &callback);
    assert!(code.len() * 8 >= 128 && entropy(&code) > 96.0);
    let tokens = suite.check_tokens(&request, &suite.redeem(&request, &code).await);
    suite.userinfo(&tokens).await;
    assert!(tokens.body["expires_in"].is_i64());
    // Nothing about the user that was not asked for.
    let expected = [
        "iss",
        "sub",
        "aud",
        "exp",
        "iat",
        "auth_time",
        "nonce",
        "acr",
        "amr",
        "azp",
        "at_hash",
        "c_hash",
        "sid",
    ];
    for name in tokens.id.as_object().unwrap().keys() {
        assert!(expected.contains(&name.as_str()), "{name} was not asked for");
    }
}

#[tokio::test]
async fn oidcc_response_type_missing() {
    let suite = Suite::start().await;
    let request = suite.request(&rp()).without("response_type");
    let callback = suite.authorize_silently(&mut suite.browser(), &request).await;
    check_error(&request, &callback, &["unsupported_response_type", "invalid_request"]);
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
async fn oidcc_ensure_request_without_nonce_succeeds_for_code_flow() {
    let tokens = succeeds(|request| request.without("nonce")).await;
    assert!(tokens.id.get("nonce").is_none());
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

async fn displays(value: &str) {
    let suite = Suite::start().await;
    let request = suite.request(&rp()).with("display", value);
    let mut browser = suite.browser();
    let callback = suite.authorize_by_login(&mut browser, &request).await;
    suite.complete(&request, &callback).await;
}

#[tokio::test]
async fn oidcc_display_page() {
    displays("page").await;
}

#[tokio::test]
async fn oidcc_display_popup() {
    displays("popup").await;
}

/// A second authorization for which the user has to sign in again.
async fn signs_in_again(wait: i64, name: &str, value: &str) -> (Suite, Tokens, Tokens) {
    let suite = Suite::start().await;
    let (first, second) = {
        let mut browser = suite.browser();
        let request = suite.request(&rp());
        let first = suite.sign_in(&mut browser, &request).await;
        suite.world.advance(TimeDelta::seconds(wait));
        let request = suite.request(&rp()).with(name, value);
        let callback = suite.authorize_by_login(&mut browser, &request).await;
        (first, suite.complete(&request, &callback).await)
    };
    (suite, first, second)
}

#[tokio::test]
async fn oidcc_prompt_login() {
    let (_, first, second) = signs_in_again(1, "prompt", "login").await;
    assert_eq!(first.id["sub"], second.id["sub"]);
    assert!(second.id["auth_time"].as_i64() > first.id["auth_time"].as_i64());
}

#[tokio::test]
async fn oidcc_prompt_none_not_logged_in() {
    let suite = Suite::start().await;
    // Every character that a URL may have unescaped.
    let state = format!("{}-._~", "aZ09".repeat(31));
    let request = suite.request(&rp()).with("prompt", "none").with("state", &state);
    let callback = suite.authorize_silently(&mut suite.browser(), &request).await;
    let codes = ["interaction_required", "login_required", "account_selection_required", "consent_required"];
    check_error(&request, &callback, &codes);
}

/// A second authorization by the first one's sign-in, without a page.
async fn goes_on_silently(
    suite: &Suite,
    browser: &mut Browser<'_>,
    first: Request,
    second: impl FnOnce(Request, &Tokens) -> Request,
) {
    let first = suite.sign_in(browser, &first).await;
    suite.world.advance(TimeDelta::seconds(2));
    let request = second(suite.request(&rp()), &first);
    let callback = suite.authorize_silently(browser, &request).await;
    same_sign_in(&first, &suite.complete(&request, &callback).await);
}

#[tokio::test]
async fn oidcc_prompt_none_logged_in() {
    let suite = Suite::start().await;
    let first = suite.request(&rp());
    goes_on_silently(&suite, &mut suite.browser(), first, |request, _| request.with("prompt", "none")).await;
}

#[tokio::test]
async fn oidcc_max_age_1() {
    let (suite, first, second) = signs_in_again(2, "max_age", "1").await;
    let at = second.id["auth_time"].as_i64().unwrap();
    assert!(at > first.id["auth_time"].as_i64().unwrap());
    assert!(at >= suite.world.app.clock.now().timestamp() - 1);
}

#[tokio::test]
async fn oidcc_max_age_10000() {
    let suite = Suite::start().await;
    let first = suite.request(&rp()).with("max_age", "15000");
    let second = |request: Request, _: &Tokens| request.with("max_age", "10000");
    goes_on_silently(&suite, &mut suite.browser(), first, second).await;
}

#[tokio::test]
async fn oidcc_ensure_request_with_unknown_parameter_succeeds() {
    succeeds(|request| request.with("extra", "foobar")).await;
}

#[tokio::test]
async fn oidcc_id_token_hint() {
    let suite = Suite::start().await;
    let first = suite.request(&rp());
    let second = |request: Request, tokens: &Tokens| {
        request.with("prompt", "none").with("id_token_hint", tokens.id_token())
    };
    goes_on_silently(&suite, &mut suite.browser(), first, second).await;
}

#[tokio::test]
async fn oidcc_login_hint() {
    let suite = Suite::start().await;
    let request = suite.request(&rp()).with("login_hint", "buffy@id.example");
    let mut browser = suite.browser();
    let page = browser.open(&suite.url(&request)).await.page();
    assert!(page.html.contains("buffy@id.example"), "{}", page.html);
    let callback = suite.go_through(&mut browser, Arrived::Page(page)).await;
    suite.complete(&request, &callback).await;
}

#[tokio::test]
async fn oidcc_ui_locales() {
    let suite = Suite::start().await;
    // The suite asks for Sámi first, which we do not speak.
    let request = suite.request(&rp()).with("ui_locales", "se fr ja");
    let mut browser = suite.browser();
    let page = browser.open(&suite.url(&request)).await.page();
    assert!(page.html.contains("<html lang=\"fr\">"), "{}", page.html);
    let callback = suite.go_through(&mut browser, Arrived::Page(page)).await;
    suite.complete(&request, &callback).await;
}

#[tokio::test]
async fn oidcc_claims_locales() {
    succeeds(|request| request.with("claims_locales", "se")).await;
}

#[tokio::test]
async fn oidcc_ensure_request_with_acr_values_succeeds() {
    let suite = Suite::start().await;
    let supported = suite.metadata["acr_values_supported"].as_array().unwrap();
    let asked: Vec<&str> = supported.iter().map(|acr| acr.as_str().unwrap()).collect();
    let request = suite.request(&rp()).with("acr_values", &asked.join(" "));
    let tokens = suite.sign_in(&mut suite.browser(), &request).await;
    assert!(asked.contains(&tokens.id["acr"].as_str().unwrap()));
}

async fn reuse(wait: i64) -> (Suite, Tokens) {
    let suite = Suite::start().await;
    let request = suite.request(&rp());
    let callback = suite.authorize(&mut suite.browser(), &request).await;
    let code = check_response(&request, &callback);
    let tokens = suite.check_tokens(&request, &suite.redeem(&request, &code).await);
    suite.userinfo(&tokens).await;
    suite.world.advance(TimeDelta::seconds(wait));
    check_token_error(&suite.redeem(&request, &code).await, "invalid_grant");
    (suite, tokens)
}

#[tokio::test]
async fn oidcc_codereuse() {
    reuse(0).await;
}

#[tokio::test]
async fn oidcc_codereuse_30seconds() {
    let (suite, tokens) = reuse(30).await;
    let answer = suite.world.userinfo(tokens.access_token()).await;
    assert!(answer.status.is_client_error(), "{}", answer.status);
}

#[tokio::test]
async fn oidcc_ensure_registered_redirect_uri() {
    let suite = Suite::start().await;
    let elsewhere = format!("{}/{}", rp().redirect_uri, domain::new_id().simple());
    let request = suite.request(&rp()).with("redirect_uri", &elsewhere);
    let page = suite.browser().open(&suite.url(&request)).await.page();
    assert_eq!(page.status.as_u16(), 400);
    // The page says so, and shows no way there.
    assert!(page.text().contains("not registered") && page.link("/callback").is_none(), "{}", page.html);
}

#[tokio::test]
async fn oidcc_ensure_post_request_succeeds() {
    let suite = Suite::start().await;
    let request = suite.request(&rp());
    let mut browser = suite.browser();
    let start = suite.post_from_elsewhere(&mut browser, &request).await;
    let callback = suite.go_through(&mut browser, start).await;
    suite.complete(&request, &callback).await;
    // A second time the session is there, though the post itself came without its cookie.
    let request = suite.request(&rp());
    let callback = suite.post_from_elsewhere(&mut browser, &request).await.away();
    suite.complete(&request, &callback).await;
}

#[tokio::test]
async fn oidcc_server_client_secret_post() {
    let suite = Suite::start().await;
    let listed = suite.metadata["token_endpoint_auth_methods_supported"].as_array().unwrap();
    assert!(listed.contains(&json!("client_secret_post")) && listed.contains(&json!("client_secret_basic")));
    let request = suite.request(&RelyingParty::known("suite-post"));
    suite.sign_in(&mut suite.browser(), &request).await;
}

/// The parameters of a request as an unsigned request object.
fn request_object(request: &Request) -> String {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let mut claims = json!(request.params);
    claims["iss"] = json!(request.rp.client_id);
    claims["aud"] = json!(ISSUER);
    let part = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
    format!("{}.{}.", part(&json!({"alg": "none"})), part(&claims))
}

#[tokio::test]
async fn oidcc_unsigned_request_object_supported_correctly_or_rejected_as_unsupported() {
    let suite = Suite::start().await;
    assert_eq!(suite.metadata["request_parameter_supported"], json!(false));
    let request = suite.request(&rp());
    let object = request_object(&request);
    // State and nonce stand in the object alone.
    let request = request.without("state").without("nonce").with("request", &object);
    let callback = suite.authorize_silently(&mut suite.browser(), &request).await;
    check_error(&request, &callback, &["request_not_supported"]);
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

#[tokio::test]
async fn oidcc_ensure_request_object_with_redirect_uri() {
    let suite = Suite::start().await;
    let request = suite.request(&rp());
    let object = request_object(&request);
    let invalid = format!("{}_invalid", rp().redirect_uri);
    let request = request.with("request", &object).with("redirect_uri", &invalid);
    // Not even to the URI inside: the one outside was refused first.
    let page = suite.browser().open(&suite.url(&request)).await.page();
    assert_eq!(page.status.as_u16(), 400);
    assert!(page.text().contains("not registered"), "{}", page.html);
}

#[tokio::test]
async fn oidcc_refresh_token() {
    let suite = Suite::start().await;
    let mut browser = suite.browser();
    assert!(suite.metadata["grant_types_supported"].as_array().unwrap().contains(&json!("refresh_token")));
    let mut last = None;
    for client_id in ["suite", "suite-2"] {
        let rp = RelyingParty::known(client_id);
        let request = suite.request(&rp).with("scope", "openid offline_access").with("prompt", "consent");
        let first = suite.sign_in(&mut browser, &request).await;
        let refresh_token = first.body["refresh_token"].as_str().expect("a refresh token").to_owned();
        assert!(refresh_token.bytes().all(|byte| (0x20..=0x7e).contains(&byte)));
        suite.world.advance(TimeDelta::seconds(1));
        let scope = (client_id == "suite").then_some("openid offline_access");
        let answer = suite.refresh(&rp, &refresh_token, scope).await;
        let second = suite.check_tokens(&request.without("nonce"), &answer);
        for name in ["iss", "sub", "aud", "auth_time"] {
            assert_eq!(first.id[name], second.id[name], "{name}");
        }
        assert_ne!(first.id["iat"], second.id["iat"]);
        assert!(second.id.get("azp").is_none() && first.access_token() != second.access_token());
        let refresh_token = second.body["refresh_token"].as_str().expect("a refresh token").to_owned();
        assert!(refresh_token.len() * 8 >= 128 && entropy(&refresh_token) > 96.0);
        suite.userinfo(&second).await;
        last = Some(refresh_token);
    }
    // The second client's token at the first client.
    let answer = suite.refresh(&rp(), &last.unwrap(), Some("openid offline_access")).await;
    check_token_error(&answer, "invalid_grant");
}

#[tokio::test]
async fn oidcc_ensure_request_with_valid_pkce_succeeds() {
    succeeds(Request::with_pkce).await;
}

/// Metadata as the suite registers it.
fn metadata() -> Value {
    json!({
        "client_name": "Conformance suite", "grant_types": ["authorization_code"], "response_types": ["code"],
        "token_endpoint_auth_method": "client_secret_basic", "redirect_uris": ["https://dynamic.example/callback"],
        "jwks": {"keys": [ClientKey::generate().public()]}, "contacts": ["certification@example.org"],
    })
}

async fn register(suite: &Suite, metadata: &Value) -> Answer {
    let token = initial_access_token(&suite.world, "partners").await;
    call(&suite.world, Method::POST, &suite.endpoint("registration_endpoint"), &token, Some(metadata)).await
}

/// A client that registered itself (OIDC Registration 3.2).
async fn registered(suite: &Suite, metadata: &Value) -> (RelyingParty, Answer) {
    let answer = register(suite, metadata).await;
    assert_eq!(answer.status.as_u16(), 201, "{}", answer.body);
    assert!(answer.header("content-type").starts_with("application/json"));
    assert!(answer.body.get("error").is_none() && answer.body["client_secret_expires_at"].is_i64());
    assert!(answer.text("registration_client_uri").starts_with("https://"));
    assert!(!answer.text("registration_access_token").is_empty());
    let rp = RelyingParty {
        client_id: answer.text("client_id").to_owned(),
        secret: answer.text("client_secret").to_owned(),
        posts_secret: false,
        redirect_uri: "https://dynamic.example/callback".to_owned(),
    };
    (rp, answer)
}

/// The suite leaves nothing behind (RFC 7592 2.3).
async fn unregister(suite: &Suite, registered: &Answer) {
    let path = registered.text("registration_client_uri").strip_prefix(ISSUER).unwrap();
    let token = registered.text("registration_access_token");
    let gone = call(&suite.world, Method::DELETE, path, token, None).await;
    assert_eq!(gone.status.as_u16(), 204);
}

#[tokio::test]
async fn oidcc_idtoken_unsigned() {
    let suite = Suite::start_registering().await;
    // The module tries `none` only where it is listed; here it is refused as well.
    let listed = suite.metadata["id_token_signing_alg_values_supported"].as_array().unwrap();
    assert!(!listed.contains(&json!("none")));
    let mut metadata = metadata();
    metadata["id_token_signed_response_alg"] = json!("none");
    let answer = register(&suite, &metadata).await;
    answer.refused_with(400, "invalid_client_metadata");
    assert!(answer.text("error_description").starts_with("id_token_signed_response_alg "));
}

#[tokio::test]
async fn oidcc_request_uri_unsigned_supported_correctly_or_rejected_as_unsupported() {
    let suite = Suite::start_registering().await;
    assert_eq!(suite.metadata["request_uri_parameter_supported"], json!(false));
    let mut metadata = metadata();
    let uri = format!("https://dynamic.example/requests/{}#hash", domain::new_id().simple());
    metadata["request_uris"] = json!([uri]);
    let (rp, answer) = registered(&suite, &metadata).await;
    let request = suite.request(&rp).without("state").without("nonce").with("request_uri", &uri);
    let callback = suite.authorize_silently(&mut suite.browser(), &request).await;
    check_error(&request, &callback, &["request_uri_not_supported"]);
    unregister(&suite, &answer).await;
}

#[tokio::test]
async fn oidcc_idtoken_signature() {
    let suite = Suite::start_registering().await;
    let (rp, answer) = registered(&suite, &metadata()).await;
    let request = suite.request(&rp);
    let tokens = suite.sign_in(&mut suite.browser(), &request).await;
    // Without a word on the algorithm it is RS256 (OIDC Registration 2).
    assert_eq!(tokens.header.alg, Algorithm::RS256);
    assert!(tokens.header.kid.is_some());
    unregister(&suite, &answer).await;
}
