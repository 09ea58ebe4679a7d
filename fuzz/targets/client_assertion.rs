//! A client's assertion; or, after a line `signed`, header and claims of one that gets a right signature.
#![no_main]

use std::sync::LazyLock;

use identity::fuzzing::Registered;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

static CLIENT: LazyLock<Registered> =
    LazyLock::new(|| Registered::with("https://portal.example/callback").expect("a client"));

fuzz_target!(|bytes: &[u8]| match bytes.strip_prefix(b"signed\n") {
    Some(parts) => signed(parts),
    None => {
        if let Ok(text) = std::str::from_utf8(bytes) {
            assert!(!CLIENT.is_proved_by(text), "without a signature");
        }
    }
});

fn signed(parts: &[u8]) {
    let at = parts.iter().position(|byte| *byte == b'\n').unwrap_or(parts.len());
    let (header, claims) = (&parts[..at], parts.get(at + 1..).unwrap_or_default());
    let text = CLIENT.sign(header, claims).expect("a signature");
    if !CLIENT.is_proved_by(&text) {
        return;
    }
    let [header, claims] = [header, claims].map(|part| serde_json::from_slice(part).expect("JSON"));
    is_for_us(&header, &claims);
    // With anything changed it proves nothing.
    let (input, signature) = text.rsplit_once('.').expect("three parts");
    assert!(!CLIENT.is_proved_by(&format!("{input}A.{signature}")));
    assert!(!CLIENT.is_proved_by(&format!("{input}.")));
}

/// RFC 7523 3, OIDC Core 9, RFC 7515 4.1.11.
fn is_for_us(header: &Value, claims: &Value) {
    assert_eq!(header["alg"], "ES256");
    assert_eq!(header["crit"], Value::Null);
    assert!(header["kid"].is_null() || header["kid"] == "fuzz");
    assert_eq!(claims["iss"], Registered::ID);
    assert_eq!(claims["sub"], Registered::ID);
    let only = |list: &Vec<Value>| list.len() == 1 && list[0] == Registered::ISSUER;
    assert!(claims["aud"] == Registered::ISSUER || claims["aud"].as_array().is_some_and(only), "{claims}");
    let exp = claims["exp"].as_i64().expect("an end");
    assert!(exp > Registered::NOW - 60 && exp < Registered::NOW + 86_400, "{claims}");
    for begins in [&claims["nbf"], &claims["iat"]] {
        assert!(begins.is_null() || begins.as_i64().is_some_and(|at| at <= Registered::NOW + 60), "{claims}");
    }
    assert!(claims["jti"].as_str().is_some_and(|jti| !jti.is_empty()));
}
