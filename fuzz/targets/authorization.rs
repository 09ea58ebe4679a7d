//! `Authorization` headers, one a line; or, after a line `signed`, header and claims of a token that gets a right signature.
#![no_main]

use std::sync::LazyLock;

use chassis::fuzzing::{Answer, Gate};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

const METHOD: &str = "/kotinos.profile.v1.ProfileService/GetProfile";
const AUDIENCE: &str = "kotinos.profile";
const SCOPE: &str = "profile.read";
const UNAUTHENTICATED: i32 = 16;
const DENIED: i32 = 7;

static GATE: LazyLock<Gate> = LazyLock::new(|| Gate::open().expect("a gate"));

fuzz_target!(|bytes: &[u8]| match bytes.strip_prefix(b"signed\n") {
    Some(parts) => signed(parts),
    None => unsigned(bytes),
});

fn unsigned(bytes: &[u8]) {
    let values: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    let Some(answer) = GATE.call(METHOD, &values) else { return };
    assert!(!answer.reached, "without a signature");
    assert_eq!(answer.code, UNAUTHENTICATED);
    if values.len() > 1 {
        assert_eq!(answer.reason.as_deref(), Some("TOKEN_MALFORMED"));
    }
    for value in values {
        says_nothing_of(value, &answer);
    }
}

fn says_nothing_of(value: &[u8], answer: &Answer) {
    let words = value.split(|byte| matches!(byte, b' ' | b'.')).filter(|word| word.len() >= 20);
    for word in words {
        let is_told = answer.message.as_bytes().windows(word.len()).any(|part| part == word);
        assert!(!is_told, "{}", answer.message);
    }
}

fn signed(parts: &[u8]) {
    let at = parts.iter().position(|byte| *byte == b'\n').unwrap_or(parts.len());
    let (header, claims) = (&parts[..at], parts.get(at + 1..).unwrap_or_default());
    let token = GATE.sign(header, claims).expect("a signature");
    let value = format!("Bearer {token}");
    let answer = GATE.call(METHOD, &[value.as_bytes()]).expect("a token is ASCII");
    says_nothing_of(value.as_bytes(), &answer);
    if !answer.reached {
        assert!(matches!(answer.code, UNAUTHENTICATED | DENIED), "{answer:?}");
        return;
    }
    let [header, claims] = [header, claims].map(|part| serde_json::from_slice(part).expect("JSON"));
    is_for_us(&header, &claims);
    let actor = answer.actor.expect("a caller");
    assert_eq!(claims["sub"], actor.subject);
    assert_eq!(claims["client_id"], actor.client_id);
    assert_eq!(claims["exp"], actor.expires_at.timestamp());
}

/// RFC 9068 4, RFC 7515 4.1.11, and our rule on bound tokens.
fn is_for_us(header: &Value, claims: &Value) {
    let typ = header["typ"].as_str().unwrap_or_default().to_ascii_lowercase();
    assert!(matches!(typ.as_str(), "at+jwt" | "application/at+jwt"), "{header}");
    assert_eq!(header["alg"], "ES256");
    assert_eq!(header["kid"], Gate::KEY_ID);
    assert_eq!(header["crit"], Value::Null);

    assert_eq!(claims["iss"], Gate::ISSUER);
    let among = |many: &Vec<Value>| many.iter().any(|one| one == AUDIENCE);
    assert!(claims["aud"] == AUDIENCE || claims["aud"].as_array().is_some_and(among), "{claims}");
    assert!(claims["exp"].as_i64().is_some_and(|exp| Gate::NOW < exp + 30), "{claims}");
    for begins in [&claims["nbf"], &claims["iat"]] {
        assert!(begins.is_null() || begins.as_i64().is_some_and(|at| at <= Gate::NOW + 30), "{claims}");
    }
    assert_eq!(claims["cnf"], Value::Null);
    let is_text = |claim: &str| claims[claim].as_str().is_some_and(|text| !text.is_empty());
    assert!(is_text("sub") && is_text("client_id"), "{claims}");
    let scopes = claims["scope"].as_str().unwrap_or_default();
    assert!(scopes.split_ascii_whitespace().any(|scope| scope == SCOPE), "{claims}");
}
