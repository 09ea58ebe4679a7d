//! OIDCCBasicTestPlan: 38 modules.

mod claims;
mod prompts;
mod registration;

use std::collections::HashMap;

use domain::TimeDelta;
use serde_json::{Value, json};

use super::suite::{RelyingParty, Request, Suite, Tokens, check_error, check_response, check_token_error};
use crate::world::ISSUER;

fn rp() -> RelyingParty {
    RelyingParty::known("suite")
}

/// A flow with one change of the request succeeds.
async fn succeeds(change: impl FnOnce(Request) -> Request) -> Tokens {
    let suite = Suite::start().await;
    let request = change(suite.request(&rp()));
    suite.sign_in(&mut suite.browser(), &request).await
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

#[tokio::test]
async fn oidcc_ensure_request_without_nonce_succeeds_for_code_flow() {
    let tokens = succeeds(|request| request.without("nonce")).await;
    assert!(tokens.id.get("nonce").is_none());
}

#[tokio::test]
async fn oidcc_ensure_request_with_unknown_parameter_succeeds() {
    succeeds(|request| request.with("extra", "foobar")).await;
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
