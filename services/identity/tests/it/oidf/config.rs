//! OIDCCConfigTestPlan: one module.

use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};
use url::Url;

use super::suite::{DISCOVERY, check_keys};
use crate::world::{ISSUER, World};

const TEXTS: [&str; 3] = ["service_documentation", "op_policy_uri", "op_tos_uri"];
const FLAGS: [&str; 8] = [
    "claims_parameter_supported",
    "request_parameter_supported",
    "request_uri_parameter_supported",
    "require_request_uri_registration",
    "require_pushed_authorization_requests",
    "backchannel_logout_supported",
    "backchannel_logout_session_supported",
    "authorization_response_iss_parameter_supported",
];

/// Every endpoint is an https URL.
#[track_caller]
pub fn endpoints_are_https(metadata: &Value) {
    for (name, url) in metadata.as_object().unwrap() {
        if name.ends_with("_endpoint") || name == "jwks_uri" {
            let url = Url::parse(url.as_str().unwrap()).unwrap();
            assert!(url.scheme() == "https" && url.host().is_some(), "{name}");
        }
    }
}

#[track_caller]
pub fn listed<'a>(metadata: &'a Value, name: &str) -> Vec<&'a str> {
    let list = metadata[name].as_array().unwrap_or_else(|| panic!("{name} is no array"));
    assert!(!list.is_empty(), "{name} is empty");
    list.iter().map(|entry| entry.as_str().unwrap_or_else(|| panic!("{name} has {entry}"))).collect()
}

#[tokio::test]
async fn oidcc_discovery_endpoint_verification() {
    let world = World::start().await;
    let answer = world.get(DISCOVERY, &[]).await;
    assert_eq!(answer.status.as_u16(), 200);
    assert!(answer.header(CONTENT_TYPE.as_str()).starts_with("application/json"));
    let metadata = answer.body;

    let issuer = Url::parse(metadata["issuer"].as_str().unwrap()).unwrap();
    assert_eq!(metadata["issuer"], ISSUER);
    assert!(issuer.scheme() == "https" && issuer.query().is_none() && issuer.fragment().is_none());
    for (name, value) in metadata.as_object().unwrap() {
        match name.as_str() {
            text if text.ends_with("_endpoint") || text.ends_with("_uri") || TEXTS.contains(&text) => {
                assert!(Url::parse(value.as_str().unwrap()).is_ok(), "{name}");
            }
            list if list.ends_with("_supported") && !FLAGS.contains(&list) => {
                listed(&metadata, name);
            }
            flag if FLAGS.contains(&flag) => assert!(value.is_boolean(), "{name}"),
            "issuer" => {}
            unexpected => panic!("{unexpected} is no member that the suite knows"),
        }
    }
    assert!(listed(&metadata, "response_types_supported").contains(&"code"));
    let subjects = listed(&metadata, "subject_types_supported");
    assert!(subjects.iter().all(|kind| ["public", "pairwise"].contains(kind)));
    assert!(listed(&metadata, "id_token_signing_alg_values_supported").contains(&"RS256"));
    assert!(listed(&metadata, "grant_types_supported").contains(&"authorization_code"));
    assert_eq!(metadata["claims_parameter_supported"], json!(true));
    assert!(listed(&metadata, "claims_supported").contains(&"sub"));

    let scopes = listed(&metadata, "scopes_supported");
    let token = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    assert!(scopes.contains(&"openid"));
    assert!(scopes.iter().all(|scope| !scope.is_empty() && scope.bytes().all(token)));
    for tag in listed(&metadata, "ui_locales_supported") {
        // A language and nothing else has this one canonical form (RFC 5646 2.1.1).
        assert!(tag.len() == 2 && tag.bytes().all(|byte| byte.is_ascii_lowercase()), "{tag}");
    }
    assert!(listed(&metadata, "code_challenge_methods_supported").contains(&"S256"));

    for needed in ["authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri"] {
        assert!(metadata.get(needed).is_some(), "{needed}");
    }
    endpoints_are_https(&metadata);
    let jwks_uri = metadata["jwks_uri"].as_str().unwrap().strip_prefix(ISSUER).unwrap();
    let keys = world.get(jwks_uri, &[]).await;
    assert_eq!(keys.status.as_u16(), 200);
    check_keys(&keys.body);
}
