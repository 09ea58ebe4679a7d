//! A DPoP proof; or, after a line `signed`, header and claims of one that gets a right signature, with `"jwk": "own"` for its
//! key.
#![no_main]

use std::sync::LazyLock;

use identity::fuzzing::{Registered, proven_by};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

/// RFC 9449 7.1 gives the pair.
const ACCESS_TOKEN: &str = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";
const ATH: &str = "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo";

static HOLDER: LazyLock<Registered> =
    LazyLock::new(|| Registered::with("https://portal.example/callback").expect("a client"));

fuzz_target!(|bytes: &[u8]| match bytes.strip_prefix(b"signed\n") {
    Some(parts) => signed(parts),
    None => {
        if let Ok(text) = std::str::from_utf8(bytes) {
            assert_eq!(proven_by(text, ACCESS_TOKEN), None, "without a signature");
        }
    }
});

fn signed(parts: &[u8]) {
    let at = parts.iter().position(|byte| *byte == b'\n').unwrap_or(parts.len());
    let (header, claims) = (&parts[..at], parts.get(at + 1..).unwrap_or_default());
    let header = with_key(header);
    let text = HOLDER.sign(&header, claims).expect("a signature");
    let Some(jti) = proven_by(&text, ACCESS_TOKEN) else { return };
    let [header, claims] = [&header[..], claims].map(|part| serde_json::from_slice(part).expect("JSON"));
    is_right(&header, &claims);
    assert!(claims["jti"] == jti && !jti.is_empty() && jti.len() <= 256);
    // For another token, and with anything changed, it proves nothing.
    assert_eq!(proven_by(&text, "another"), None);
    let (input, signature) = text.rsplit_once('.').expect("three parts");
    assert_eq!(proven_by(&format!("{input}A.{signature}"), ACCESS_TOKEN), None);
    assert_eq!(proven_by(&format!("{input}."), ACCESS_TOKEN), None);
}

fn with_key(header: &[u8]) -> Vec<u8> {
    let Ok(mut parsed) = serde_json::from_slice::<Value>(header) else { return header.to_vec() };
    if parsed.get("jwk").is_some_and(|jwk| jwk == "own") {
        parsed["jwk"] = HOLDER.public_jwk();
        return parsed.to_string().into_bytes();
    }
    header.to_vec()
}

/// RFC 9449 4.3.
fn is_right(header: &Value, claims: &Value) {
    assert!(header["typ"].as_str().is_some_and(|typ| typ.eq_ignore_ascii_case("dpop+jwt")), "{header}");
    assert_eq!(header["alg"], "ES256");
    assert_eq!(header["crit"], Value::Null);
    for private in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
        assert!(header["jwk"].get(private).is_none(), "{header}");
    }
    assert_eq!(claims["htm"], "GET");
    assert!(claims["htu"].is_string());
    let iat = claims["iat"].as_i64().expect("a time");
    assert!((iat - Registered::NOW).abs() <= 60, "{claims}");
    assert_eq!(claims["ath"], ATH);
}
