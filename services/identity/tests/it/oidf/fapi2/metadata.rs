use reqwest::StatusCode;
use serde_json::Value;
use url::Url;

use crate::world::{ISSUER, World};

const ALGORITHMS: [&str; 3] = ["PS256", "ES256", "EdDSA"];

#[track_caller]
fn list<'a>(metadata: &'a Value, name: &str) -> Vec<&'a str> {
    let list = metadata[name].as_array().unwrap_or_else(|| panic!("{name} is no list"));
    list.iter().map(|value| value.as_str().unwrap()).collect()
}

#[track_caller]
fn has_fapi_algorithm(metadata: &Value, name: &str) {
    assert!(list(metadata, name).iter().any(|alg| ALGORITHMS.contains(alg)), "{name}");
}

#[tokio::test]
async fn fapi2_security_profile_final_discovery_end_point_verification() {
    let world = World::start().await;
    let answer = world.get("/.well-known/openid-configuration", &[]).await;
    assert_eq!((answer.status, answer.header("content-type")), (StatusCode::OK, "application/json"));
    let metadata = answer.body;
    assert_eq!(metadata["issuer"], ISSUER);
    assert!(list(&metadata, "response_types_supported").contains(&"code"));
    assert_eq!(metadata["authorization_response_iss_parameter_supported"], true);
    assert!(metadata["require_pushed_authorization_requests"].is_boolean());
    for endpoint in [
        "authorization_endpoint",
        "token_endpoint",
        "userinfo_endpoint",
        "jwks_uri",
        "pushed_authorization_request_endpoint",
    ] {
        let url = Url::parse(metadata[endpoint].as_str().unwrap()).unwrap();
        assert_eq!((url.scheme(), url.fragment()), ("https", None), "{endpoint}");
    }
    if let Some(endpoint) = metadata.get("registration_endpoint") {
        assert!(endpoint.as_str().unwrap().starts_with("https://"));
    }
    for algorithms in [
        "dpop_signing_alg_values_supported",
        "id_token_signing_alg_values_supported",
        "token_endpoint_auth_signing_alg_values_supported",
    ] {
        has_fapi_algorithm(&metadata, algorithms);
    }
    if metadata.get("userinfo_signing_alg_values_supported").is_some() {
        has_fapi_algorithm(&metadata, "userinfo_signing_alg_values_supported");
    }
    assert!(list(&metadata, "token_endpoint_auth_methods_supported").contains(&"private_key_jwt"));
    assert!(list(&metadata, "code_challenge_methods_supported").contains(&"S256"));
    let scopes = list(&metadata, "scopes_supported");
    let in_grammar = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    assert!(scopes.contains(&"openid") && scopes.iter().all(|scope| scope.bytes().all(in_grammar)));
    assert!(
        list(&metadata, "subject_types_supported").iter().all(|one| ["public", "pairwise"].contains(one))
    );
    assert!(list(&metadata, "ui_locales_supported").iter().all(|tag| tag.parse::<domain::Locale>().is_ok()));

    // What every other module of the plan asks of the keys before it starts.
    let keys = world.get("/oauth2/keys.json", &[]).await.body;
    let keys = keys["keys"].as_array().unwrap();
    assert!(!keys.is_empty());
    for key in keys {
        assert!(key["kid"].as_str().is_some_and(|kid| !kid.is_empty()));
        assert!(["d", "p", "q", "dp", "dq", "qi", "k"].iter().all(|private| key.get(private).is_none()));
        match key["kty"].as_str() {
            Some("EC") => assert_eq!(key["crv"], "P-256"),
            // 2048 bits are 342 characters.
            Some("RSA") => assert!(key["n"].as_str().unwrap().len() >= 342),
            other => panic!("{other:?}"),
        }
    }
}
