//! What the suite checks of every answer.

use std::collections::{BTreeMap, HashSet};

use chrono::Datelike as _;
use serde_json::{Map, Value};
use url::{Url, form_urlencoded};

use super::{Request, Tokens};
use crate::world::{Answer, ISSUER};

pub fn encoded(pairs: impl Iterator<Item = (impl AsRef<str>, impl AsRef<str>)>) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

pub fn query(url: &Url) -> BTreeMap<String, String> {
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let map: BTreeMap<String, String> = pairs.iter().cloned().collect();
    assert_eq!(map.len(), pairs.len(), "a parameter is repeated in {url}");
    map
}

/// A successful response at the registered redirect URI; its code.
#[track_caller]
pub fn check_response(request: &Request, callback: &Url) -> String {
    assert_eq!(callback.as_str().split('?').next(), Some(request.rp.redirect_uri.as_str()));
    let query = query(callback);
    assert!(!query.contains_key("error"), "{query:?}");
    assert_eq!(query.get("iss").map(String::as_str), Some(ISSUER));
    assert_eq!(query.get("state"), request.params.get("state"));
    assert_eq!(query.len(), 2 + usize::from(request.params.contains_key("state")));
    query["code"].clone()
}

/// An error response of one of these codes (OIDC Core 3.1.2.6).
#[track_caller]
pub fn check_error(request: &Request, callback: &Url, errors: &[&str]) {
    assert_eq!(callback.as_str().split('?').next(), Some(request.rp.redirect_uri.as_str()));
    let query = query(callback);
    assert!(errors.contains(&query["error"].as_str()), "{query:?}");
    assert_eq!(query.get("iss").map(String::as_str), Some(ISSUER));
    assert_eq!(query.get("state"), request.params.get("state"));
    let expected = ["error", "error_description", "error_uri", "state", "iss"];
    assert!(query.keys().all(|name| expected.contains(&name.as_str())), "{query:?}");
    // RFC 6749 4.1.2.1.
    let allowed = |byte: u8| matches!(byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    assert!(query.get("error_description").is_none_or(|text| text.bytes().all(allowed)));
}

/// An error answer of the token endpoint (RFC 6749 5.2).
#[track_caller]
pub fn check_token_error(answer: &Answer, error: &str) {
    answer.refused_with(400, error);
    assert!(answer.header("content-type").starts_with("application/json"));
    let allowed = |byte: u8| matches!(byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    assert!(answer.text("error_description").bytes().all(allowed));
}

/// A right answer of the userinfo endpoint: each standard claim has its type, and `sub` is the ID token's.
#[track_caller]
pub fn check_userinfo(tokens: &Tokens, answer: &Answer) -> Map<String, Value> {
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.body);
    assert!(answer.header("content-type").starts_with("application/json"));
    let claims = answer.body.as_object().unwrap().clone();
    assert_eq!(claims["sub"], tokens.id["sub"]);
    for (name, value) in &claims {
        check_claim(name, value);
    }
    claims
}

#[track_caller]
fn check_claim(name: &str, value: &Value) {
    let right = match name {
        "email_verified" | "phone_number_verified" => value.is_boolean(),
        "updated_at" => value.as_i64().is_some_and(|at| at > 0),
        "address" => value.as_object().is_some_and(|address| {
            let parts = ["formatted", "street_address", "locality", "region", "postal_code", "country"];
            let right = |(part, text): (&String, &Value)| {
                parts.contains(&part.as_str()) && text.as_str().is_some_and(|text| !text.trim().is_empty())
            };
            !address.is_empty() && address.iter().all(right)
        }),
        "birthdate" => {
            let date = value.as_str().and_then(|text| text.parse::<chrono::NaiveDate>().ok());
            date.is_some_and(|date| (1850..=2100).contains(&date.year()))
        }
        _ => value.as_str().is_some_and(|text| !text.trim().is_empty() && text != "null"),
    };
    assert!(right, "{name} is {value}");
}

/// A JWK set of public keys, each with its own name (OIDC Core 10.1).
#[track_caller]
pub fn check_keys(set: &Value) {
    let keys = set["keys"].as_array().unwrap();
    let names: HashSet<&str> = keys.iter().map(|key| key["kid"].as_str().unwrap()).collect();
    assert!(!keys.is_empty() && names.len() == keys.len());
    for key in keys {
        let needed: &[&str] = match key["kty"].as_str().unwrap() {
            "EC" => &["crv", "x", "y"],
            "RSA" => &["n", "e"],
            other => panic!("a key of type {other}"),
        };
        assert!(needed.iter().all(|member| key[*member].as_str().is_some_and(|text| !text.is_empty())));
        assert!(["d", "p", "q", "dp", "dq", "qi", "k"].iter().all(|member| key.get(*member).is_none()));
        assert_eq!(key["use"], "sig");
    }
}
