//! A DPoP proof; or, after a line `signed`, header and claims of one that gets a right signature. A header that is an
//! object without `jwk` gets the key's.
#![no_main]

use std::sync::LazyLock;

use identity::fuzzing::{Registered, proven_key};
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};

const METHOD: &str = "POST";
const URL: &str = "https://id.example/oauth2/token";
const TOKEN: &str = "an.access.token";
/// RFC 9449 4.3 leaves it open; ours.
const WINDOW: i64 = 60;

static KEY: LazyLock<Registered> =
    LazyLock::new(|| Registered::with("https://portal.example/callback").expect("a client"));

fuzz_target!(|bytes: &[u8]| match bytes.strip_prefix(b"signed\n") {
    Some(parts) => signed(parts),
    None => {
        if let Ok(text) = std::str::from_utf8(bytes) {
            // A proof that nobody signed would have to be guessed.
            assert_eq!(proven_key(text, METHOD, URL, None), None, "without a signature");
        }
    }
});

fn signed(parts: &[u8]) {
    let at = parts.iter().position(|byte| *byte == b'\n').unwrap_or(parts.len());
    let (header, claims) = (&parts[..at], parts.get(at + 1..).unwrap_or_default());
    let header = match serde_json::from_slice::<Map<String, Value>>(header) {
        Ok(mut header) => {
            header.entry("jwk").or_insert_with(|| KEY.jwk());
            Value::Object(header).to_string().into_bytes()
        }
        Err(_) => header.to_vec(),
    };
    let text = KEY.sign(&header, claims).expect("a signature");
    for access_token in [None, Some(TOKEN)] {
        let Some((jkt, jti)) = proven_key(&text, METHOD, URL, access_token) else { continue };
        let [header, claims] = [&header, claims].map(|part| serde_json::from_slice(part).expect("JSON"));
        is_right(&header, &claims, access_token);
        assert_eq!(claims["jti"], jti);
        assert_eq!(jkt.len(), 43);
        // For another request, or with another signature, it proves nothing.
        assert_eq!(proven_key(&text, "GET", URL, access_token), None);
        assert_eq!(proven_key(&text, METHOD, "https://id.example/oauth2/par", access_token), None);
        let (input, _) = text.rsplit_once('.').expect("three parts");
        assert_eq!(proven_key(&format!("{input}."), METHOD, URL, access_token), None);
    }
}

/// RFC 9449 4.3.
fn is_right(header: &Value, claims: &Value, access_token: Option<&str>) {
    assert!(header["typ"].as_str().is_some_and(|typ| typ.eq_ignore_ascii_case("dpop+jwt")), "{header}");
    assert_eq!(header["alg"], "ES256");
    assert_eq!(header["crit"], Value::Null);
    for private in ["d", "p", "q", "dp", "dq", "qi", "k"] {
        assert_eq!(header["jwk"][private], Value::Null, "a private key was shown");
    }
    assert_eq!(claims["htm"], METHOD);
    let htu = claims["htu"].as_str().expect("a URL").to_ascii_lowercase();
    assert!(htu.starts_with("https://id.example") && htu.contains("/oauth2/token"), "{claims}");
    let iat = claims["iat"].as_i64().expect("a time");
    assert!((iat - Registered::NOW).abs() <= WINDOW, "{claims}");
    assert!(access_token.is_none() || claims["ath"].is_string(), "{claims}");
}
