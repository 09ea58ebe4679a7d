//! What the modules check of answers.

use reqwest::StatusCode;
use serde_json::Value;
use url::Url;

use super::relying_party::Request;
use crate::{
    browser::Arrived,
    world::{Answer, ISSUER, param},
};

/// PAR took it (RFC 9126 2.2).
#[track_caller]
pub fn check_pushed(pushed: &Answer) {
    assert_eq!(pushed.status, StatusCode::CREATED, "{}", pushed.body);
    assert_eq!(
        (pushed.header("content-type"), pushed.header("cache-control")),
        ("application/json", "no-store")
    );
    assert!((5..=600).contains(&pushed.body["expires_in"].as_i64().unwrap()));
    let reference = pushed.text("request_uri").strip_prefix("urn:ietf:params:oauth:request_uri:").unwrap();
    assert!(is_unguessable(reference));
}

/// At least 128 bits, as far as a text shows it: long enough, and of many different characters.
pub fn is_unguessable(text: &str) -> bool {
    let mut letters: Vec<char> = text.chars().collect();
    letters.sort_unstable();
    letters.dedup();
    text.len() >= 22 && letters.len() >= 12
}

/// Claims of a token, unread by any rule.
pub fn claims_of(token: &str) -> Value {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let claims = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap()
}

/// An error of the token endpoint or PAR: one of these codes with its status, JSON, and texts of the allowed characters
/// (RFC 6749 5.2).
#[track_caller]
pub fn check_error(answer: &Answer, allowed: &[&str]) {
    let error = answer.text("error");
    assert!(allowed.contains(&error), "{error} of {allowed:?}: {}", answer.body);
    let status = answer.status.as_u16();
    assert!(status == 400 || status == 401 && error == "invalid_client", "{status}");
    assert_eq!(answer.header("content-type"), "application/json");
    let allowed = |byte: u8| matches!(byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    assert!(error.bytes().all(allowed) && answer.text("error_description").bytes().all(allowed));
    assert_eq!(answer.body.get("error_uri"), None);
}

/// An error response at the redirect URI: one of these codes, with the request's state and the issuer.
#[track_caller]
pub fn check_error_response(url: &Url, request: &Request, allowed: &[&str]) {
    let error = param(url, "error");
    assert!(allowed.contains(&error.as_str()), "{url}");
    assert_eq!(param(url, "iss"), ISSUER);
    assert_eq!(Some(param(url, "state").as_str()), request.get("state"));
    let known = ["error", "error_description", "state", "iss", "dummy1", "dummy2"];
    assert!(url.query_pairs().all(|(name, _)| known.contains(&&*name)), "{url}");
    assert!(url.fragment().is_none(), "{url}");
}

/// An error page: nobody is sent anywhere.
#[track_caller]
pub fn check_error_page(arrived: Arrived) {
    let page = arrived.page();
    assert_eq!(page.status, StatusCode::BAD_REQUEST, "{}", page.html);
    assert!(page.forms().is_empty());
}
