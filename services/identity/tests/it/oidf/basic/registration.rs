//! Modules whose client registers itself.

use jsonwebtoken::Algorithm;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    clients::ClientKey,
    oidf::suite::{RelyingParty, Suite, check_error},
    registration::{call, initial_access_token},
    world::{Answer, ISSUER},
};

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
