use aws_lc_rs::{
    digest,
    signature::{
        ECDSA_P256_SHA256_FIXED, ED25519, RSA_PSS_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
    },
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

use super::{InvalidProof, wrong};

/// The public key of a proof.
#[derive(Debug)]
pub enum Key {
    /// An uncompressed point (SEC 1 2.3.3), for ES256.
    P256([u8; 65]),
    /// Modulus and exponent without leading zeros, for PS256.
    Rsa { n: Vec<u8>, e: Vec<u8> },
    /// For EdDSA.
    Ed25519([u8; 32]),
}

/// Members that only private and symmetric keys have (RFC 7518 6).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
/// Length of a modulus, in bytes: more would let a stranger choose how long we calculate.
const MODULUS: std::ops::RangeInclusive<usize> = 256..=512;

impl Key {
    /// Reads a JWK for an algorithm.
    ///
    /// # Errors
    /// Another algorithm, a key that does not fit it, a private key.
    pub fn read(alg: &str, jwk: &Map<String, Value>) -> Result<Self, InvalidProof> {
        if PRIVATE.iter().any(|member| jwk.contains_key(*member)) {
            return wrong("jwk must hold a public key only");
        }
        if jwk.get("alg").is_some_and(|own| own != alg) {
            return wrong("jwk names another algorithm");
        }
        let key = match alg {
            "ES256" => p256(jwk),
            "PS256" => rsa(jwk),
            "EdDSA" => ed25519(jwk),
            _ => return wrong("alg must be ES256, PS256 or EdDSA"),
        };
        key.ok_or(InvalidProof("jwk is no key for this alg"))
    }

    /// Whether this key signed a message.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::P256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature).is_ok()
            }
            Self::Rsa { n, e } => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PSS_2048_8192_SHA256, message, signature).is_ok()
            }
            Self::Ed25519(key) => UnparsedPublicKey::new(&ED25519, key).verify(message, signature).is_ok(),
        }
    }

    /// RFC 7638, RFC 8037 2: the hash of the members that make the key, in their order.
    pub fn thumbprint(&self) -> String {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let canonical = match self {
            Self::P256(point) => {
                let (x, y) = (text(&point[1..33]), text(&point[33..]));
                format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#)
            }
            Self::Rsa { n, e } => format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, text(e), text(n)),
            Self::Ed25519(key) => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, text(key)),
        };
        text(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref())
    }
}

fn p256(jwk: &Map<String, Value>) -> Option<Key> {
    if member(jwk, "kty")? != "EC" || member(jwk, "crv")? != "P-256" {
        return None;
    }
    let mut point = [4; 65];
    let (x, y) = (bytes(jwk, "x")?, bytes(jwk, "y")?);
    if x.len() != 32 || y.len() != 32 {
        return None;
    }
    point[1..33].copy_from_slice(&x);
    point[33..].copy_from_slice(&y);
    Some(Key::P256(point))
}

fn rsa(jwk: &Map<String, Value>) -> Option<Key> {
    if member(jwk, "kty")? != "RSA" {
        return None;
    }
    let (n, e) = (bytes(jwk, "n")?, bytes(jwk, "e")?);
    // A key has one spelling, or it would have several thumbprints.
    let minimal = |number: &[u8]| number.first().is_some_and(|first| *first != 0);
    (MODULUS.contains(&n.len()) && e.len() <= 8 && minimal(&n) && minimal(&e)).then_some(Key::Rsa { n, e })
}

fn ed25519(jwk: &Map<String, Value>) -> Option<Key> {
    if member(jwk, "kty")? != "OKP" || member(jwk, "crv")? != "Ed25519" {
        return None;
    }
    Some(Key::Ed25519(bytes(jwk, "x")?.try_into().ok()?))
}

fn member<'a>(jwk: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    jwk.get(name)?.as_str()
}

fn bytes(jwk: &Map<String, Value>, name: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(member(jwk, name)?).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn key(alg: &str, jwk: Value) -> Result<Key, InvalidProof> {
        let Value::Object(jwk) = jwk else { panic!("no object") };
        Key::read(alg, &jwk)
    }

    #[test]
    fn thumbprints_are_those_of_the_standards() {
        // RFC 7638 3.1
        let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
        let rsa = key("PS256", json!({"kty": "RSA", "n": n, "e": "AQAB", "kid": "2011-04-29"})).unwrap();
        assert_eq!(rsa.thumbprint(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
        // RFC 8037 A.3
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        let ed25519 = key("EdDSA", json!({"kty": "OKP", "crv": "Ed25519", "x": x})).unwrap();
        assert_eq!(ed25519.thumbprint(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        // RFC 9449 4.1 and 6.1
        let (x, y) =
            ("l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs", "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA");
        let p256 = key("ES256", json!({"kty": "EC", "crv": "P-256", "x": x, "y": y})).unwrap();
        assert_eq!(p256.thumbprint(), "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
    }

    #[test]
    fn what_is_no_public_key_of_its_algorithm_is_refused() {
        let (long, zero) = ("A".repeat(43), "_".repeat(342));
        for (alg, jwk) in [
            ("none", json!({"kty": "EC", "crv": "P-256", "x": long, "y": long})),
            ("HS256", json!({"kty": "oct", "k": "c2VjcmV0"})),
            ("RS256", json!({"kty": "RSA", "n": zero, "e": "AQAB"})),
            ("ES256", json!({})),
            ("ES256", json!({"kty": "EC", "crv": "P-384", "x": long, "y": long})),
            ("ES256", json!({"kty": "EC", "crv": "P-256", "x": long})),
            ("ES256", json!({"kty": "EC", "crv": "P-256", "x": "AAAA", "y": long})),
            ("ES256", json!({"kty": "EC", "crv": "P-256", "x": 1, "y": long})),
            ("ES256", json!({"kty": "EC", "crv": "P-256", "x": long, "y": long, "d": long})),
            ("ES256", json!({"kty": "EC", "crv": "P-256", "x": long, "y": long, "alg": "ES384"})),
            ("PS256", json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"})),
            ("PS256", json!({"kty": "RSA", "n": format!("AA{zero}"), "e": "AQAB"})),
            ("PS256", json!({"kty": "RSA", "n": zero.repeat(2), "e": "AQAB"})),
            ("EdDSA", json!({"kty": "OKP", "crv": "X25519", "x": long})),
            ("EdDSA", json!({"kty": "EC", "crv": "P-256", "x": long, "y": long})),
        ] {
            assert!(key(alg, jwk.clone()).is_err(), "{alg} {jwk}");
        }
    }
}
