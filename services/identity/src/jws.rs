//! Compact JWS with ES256 (RFC 7515, RFC 7518 3.4): what identity signs and reads back itself.

use std::sync::Arc;

use aws_lc_rs::{
    digest,
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
    },
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use zeroize::Zeroizing;

/// The key could not be made, read or used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("signing key cannot be used")]
pub struct KeyError;

/// A signing key in memory.
#[derive(Clone)]
pub struct SigningKey {
    kid: String,
    pair: Arc<EcdsaKeyPair>,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

#[derive(Serialize, Deserialize)]
struct Header {
    alg: String,
    typ: String,
    kid: String,
}

/// Longest token that is read, in characters.
const LONGEST: usize = 16_384;

impl SigningKey {
    /// A new P-256 key as PKCS#8.
    ///
    /// # Errors
    /// No random bytes.
    pub fn generate() -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
            .map_err(|_| KeyError)?;
        Ok(Zeroizing::new(pkcs8.as_ref().to_vec()))
    }

    /// Reads PKCS#8; the key id is the RFC 7638 thumbprint of its public part.
    ///
    /// # Errors
    /// Not a P-256 key.
    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, KeyError> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).map_err(|_| KeyError)?;
        let (x, y) = point(&pair)?;
        let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        let digest = digest::digest(&digest::SHA256, canonical.as_bytes());
        Ok(Self { kid: URL_SAFE_NO_PAD.encode(digest), pair: Arc::new(pair) })
    }

    /// Its key id.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Its public part as a JWK (RFC 7517).
    ///
    /// # Errors
    /// The public part is no point, which a read key never has.
    pub fn public_jwk(&self) -> Result<Value, KeyError> {
        let (x, y) = point(&self.pair)?;
        Ok(
            json!({"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": self.kid, "alg": "ES256", "use": "sig"}),
        )
    }

    /// Signs claims as a token of this `typ`.
    ///
    /// # Errors
    /// No random bytes.
    pub fn sign<T: Serialize>(&self, typ: &str, claims: &T) -> Result<String, KeyError> {
        let header = Header { alg: "ES256".into(), typ: typ.into(), kid: self.kid.clone() };
        let header = serde_json::to_vec(&header).map_err(|_| KeyError)?;
        let claims = serde_json::to_vec(claims).map_err(|_| KeyError)?;
        let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = self.pair.sign(&SystemRandom::new(), input.as_bytes()).map_err(|_| KeyError)?;
        Ok(format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// The claims of a token that this key signed with this `typ`; times are the caller's to check.
    pub fn read<T: DeserializeOwned>(&self, typ: &str, token: &str) -> Option<T> {
        if token.len() > LONGEST {
            return None;
        }
        let (input, signature) = token.rsplit_once('.')?;
        let (header, claims) = input.split_once('.')?;
        let header: Header = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).ok()?).ok()?;
        if header.alg != "ES256" || header.kid != self.kid || !header.typ.eq_ignore_ascii_case(typ) {
            return None;
        }
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.pair.public_key().as_ref())
            .verify(input.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).ok()?)
            .ok()?;
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
    }
}

// x and y of an uncompressed point (SEC 1 2.3.3).
fn point(pair: &EcdsaKeyPair) -> Result<(String, String), KeyError> {
    let public = pair.public_key().as_ref();
    if public.len() != 65 || public[0] != 4 {
        return Err(KeyError);
    }
    Ok((URL_SAFE_NO_PAD.encode(&public[1..33]), URL_SAFE_NO_PAD.encode(&public[33..])))
}

/// `at_hash` of an access token (OIDC Core 3.1.3.6): the left half of its SHA-256.
pub fn half_hash(token: &str) -> String {
    URL_SAFE_NO_PAD.encode(&digest::digest(&digest::SHA256, token.as_bytes()).as_ref()[..16])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back_under_its_own_type_and_key_only() {
        let key = SigningKey::from_pkcs8(&SigningKey::generate().unwrap()).unwrap();
        let token = key.sign("at+jwt", &json!({"sub": "alice"})).unwrap();
        assert_eq!(key.read::<Value>("at+jwt", &token).unwrap()["sub"], "alice");
        assert!(key.read::<Value>("JWT", &token).is_none());
        let other = SigningKey::from_pkcs8(&SigningKey::generate().unwrap()).unwrap();
        assert!(other.read::<Value>("at+jwt", &token).is_none());
    }

    #[test]
    fn alg_none_and_garbage_are_refused() {
        let key = SigningKey::from_pkcs8(&SigningKey::generate().unwrap()).unwrap();
        let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"none","typ":"JWT","kid":"{}"}}"#, key.kid()));
        let claims = URL_SAFE_NO_PAD.encode("{}");
        for wrong in
            [format!("{header}.{claims}."), "..".into(), String::new(), "a.b.c".into(), "x".repeat(20_000)]
        {
            assert!(key.read::<Value>("JWT", &wrong).is_none());
        }
    }

    #[test]
    fn the_half_hash_is_the_one_of_the_standard() {
        // OIDC Core A.3 gives this pair.
        assert_eq!(half_hash("jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y"), "77QmUPtjPfzWtF2AnpK9RQ");
    }

    #[test]
    fn another_library_accepts_the_signature() {
        let key = SigningKey::from_pkcs8(&SigningKey::generate().unwrap()).unwrap();
        let token = key.sign("JWT", &json!({"sub": "alice", "exp": 4_000_000_000_u64, "aud": "rp"})).unwrap();
        let jwk = serde_json::from_value(key.public_jwk().unwrap()).unwrap();
        let decoding = jsonwebtoken::DecodingKey::from_jwk(&jwk).unwrap();
        let mut rules = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::ES256);
        rules.set_audience(&["rp"]);
        let claims = jsonwebtoken::decode::<Value>(&token, &decoding, &rules).unwrap().claims;
        assert_eq!(claims["sub"], "alice");
    }
}
