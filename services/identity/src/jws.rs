//! Compact JWS with ES256, RS256 and PS256 (RFC 7515, RFC 7518 3.3 to 3.5): what identity signs and reads back itself.
//! A key is for one algorithm, and says so in its JWK.

use std::{str::FromStr, sync::Arc};

use aws_lc_rs::{
    digest,
    encoding::{AsDer as _, Pkcs8V1Der},
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
        RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RSA_PSS_2048_8192_SHA256, RSA_PSS_SHA256, RsaEncoding,
        RsaKeyPair, UnparsedPublicKey, VerificationAlgorithm,
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

/// What a signature is made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// ECDSA with P-256: small and fast, and what everything gets that does not ask for another.
    Es256,
    /// RSA with PKCS #1 v1.5, for relying parties that can do nothing else.
    Rs256,
    /// RSA with PSS.
    Ps256,
}

/// No algorithm of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be ES256, RS256 or PS256")]
pub struct UnknownAlgorithm;

impl Algorithm {
    /// Every one, as the metadata lists them.
    pub const ALL: [Self; 3] = [Self::Es256, Self::Rs256, Self::Ps256];

    /// The registered name (RFC 7518 3.1).
    pub const fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
        }
    }

    fn verification(self) -> &'static dyn VerificationAlgorithm {
        match self {
            Self::Es256 => &ECDSA_P256_SHA256_FIXED,
            Self::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
            Self::Ps256 => &RSA_PSS_2048_8192_SHA256,
        }
    }
}

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;
    fn from_str(text: &str) -> Result<Self, UnknownAlgorithm> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == text).ok_or(UnknownAlgorithm)
    }
}

/// A signing key in memory.
#[derive(Clone)]
pub struct SigningKey {
    kid: String,
    algorithm: Algorithm,
    pair: Arc<Pair>,
}

enum Pair {
    Ec(EcdsaKeyPair),
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
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
    /// A new key as PKCS#8: P-256, or RSA of 3072 bits, which takes a good part of a second.
    ///
    /// # Errors
    /// No random bytes.
    pub fn generate(algorithm: Algorithm) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let pkcs8 = if algorithm == Algorithm::Es256 {
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
                .map(|document| document.as_ref().to_vec())
        } else {
            RsaKeyPair::generate(KeySize::Rsa3072)
                .and_then(|pair| pair.as_der())
                .map(|document: Pkcs8V1Der<'_>| document.as_ref().to_vec())
        };
        pkcs8.map(Zeroizing::new).map_err(|_| KeyError)
    }

    /// Reads PKCS#8; the key id is the RFC 7638 thumbprint of its public part.
    ///
    /// # Errors
    /// Not a key of this algorithm.
    pub fn from_pkcs8(algorithm: Algorithm, pkcs8: &[u8]) -> Result<Self, KeyError> {
        let rsa = |encoding: &'static dyn RsaEncoding| {
            RsaKeyPair::from_pkcs8(pkcs8).map(|pair| Pair::Rsa(pair, encoding)).map_err(|_| KeyError)
        };
        let pair = match algorithm {
            Algorithm::Es256 => EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8)
                .map(Pair::Ec)
                .map_err(|_| KeyError)?,
            Algorithm::Rs256 => rsa(&RSA_PKCS1_SHA256)?,
            Algorithm::Ps256 => rsa(&RSA_PSS_SHA256)?,
        };
        // Members in the order of their names, without white space (RFC 7638 3).
        let canonical = pair.public_members()?.to_string();
        let digest = digest::digest(&digest::SHA256, canonical.as_bytes());
        Ok(Self { kid: URL_SAFE_NO_PAD.encode(digest), algorithm, pair: Arc::new(pair) })
    }

    /// Its key id.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// What it is for.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Its public part as a JWK (RFC 7517).
    ///
    /// # Errors
    /// The public part is no point, which a read key never has.
    pub fn public_jwk(&self) -> Result<Value, KeyError> {
        let mut jwk = self.pair.public_members()?;
        jwk["kid"] = self.kid.as_str().into();
        jwk["alg"] = self.algorithm.name().into();
        jwk["use"] = "sig".into();
        Ok(jwk)
    }

    /// Signs claims as a token of this `typ`.
    ///
    /// # Errors
    /// No random bytes.
    pub fn sign<T: Serialize>(&self, typ: &str, claims: &T) -> Result<String, KeyError> {
        let header = Header { alg: self.algorithm.name().into(), typ: typ.into(), kid: self.kid.clone() };
        let header = serde_json::to_vec(&header).map_err(|_| KeyError)?;
        let claims = serde_json::to_vec(claims).map_err(|_| KeyError)?;
        let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = self.pair.sign(input.as_bytes())?;
        Ok(format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// The claims of a token that this key signed with this `typ`; times are the caller's to check.
    pub fn read<T: DeserializeOwned>(&self, typ: &str, token: &str) -> Option<T> {
        let (input, signature) = token.rsplit_once('.')?;
        let (_, claims) = input.split_once('.')?;
        let header = header(token)?;
        let own = header.alg == self.algorithm.name() && header.kid == self.kid;
        if !own || !header.typ.eq_ignore_ascii_case(typ) {
            return None;
        }
        UnparsedPublicKey::new(self.algorithm.verification(), self.pair.public())
            .verify(input.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).ok()?)
            .ok()?;
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
    }
}

impl Pair {
    fn sign(&self, input: &[u8]) -> Result<Vec<u8>, KeyError> {
        let random = SystemRandom::new();
        match self {
            Self::Ec(pair) => pair.sign(&random, input).map(|signature| signature.as_ref().to_vec()),
            Self::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, &random, input, &mut signature).map(|()| signature)
            }
        }
        .map_err(|_| KeyError)
    }

    fn public(&self) -> &[u8] {
        match self {
            Self::Ec(pair) => pair.public_key().as_ref(),
            Self::Rsa(pair, _) => pair.public_key().as_ref(),
        }
    }

    // What a thumbprint is made of. A point is uncompressed (SEC 1 2.3.3).
    fn public_members(&self) -> Result<Value, KeyError> {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self {
            Self::Ec(_) => match self.public() {
                [4, point @ ..] if point.len() == 64 => {
                    let (x, y) = point.split_at(32);
                    Ok(json!({"crv": "P-256", "kty": "EC", "x": text(x), "y": text(y)}))
                }
                _ => Err(KeyError),
            },
            Self::Rsa(pair, _) => {
                let (e, n) = (pair.public_key().exponent(), pair.public_key().modulus());
                let (e, n) = (e.big_endian_without_leading_zero(), n.big_endian_without_leading_zero());
                Ok(json!({"e": text(e), "kty": "RSA", "n": text(n)}))
            }
        }
    }
}

/// The key id that a token names; nothing when it is no token of ours.
pub fn kid(token: &str) -> Option<String> {
    header(token).map(|header| header.kid)
}

fn header(token: &str) -> Option<Header> {
    if token.len() > LONGEST {
        return None;
    }
    let (header, _) = token.split_once('.')?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).ok()?).ok()
}

/// `at_hash` of an access token (OIDC Core 3.1.3.6): the left half of its SHA-256.
pub fn half_hash(token: &str) -> String {
    URL_SAFE_NO_PAD.encode(&digest::digest(&digest::SHA256, token.as_bytes()).as_ref()[..16])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(algorithm: Algorithm) -> SigningKey {
        SigningKey::from_pkcs8(algorithm, &SigningKey::generate(algorithm).unwrap()).unwrap()
    }

    #[test]
    fn a_token_reads_back_under_its_own_type_and_key_only() {
        let key = made(Algorithm::Es256);
        let token = key.sign("at+jwt", &json!({"sub": "alice"})).unwrap();
        assert_eq!(key.read::<Value>("at+jwt", &token).unwrap()["sub"], "alice");
        assert!(key.read::<Value>("JWT", &token).is_none());
        let other = made(Algorithm::Es256);
        assert!(other.read::<Value>("at+jwt", &token).is_none());
    }

    #[test]
    fn alg_none_and_garbage_are_refused() {
        let key = made(Algorithm::Es256);
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
    fn another_library_accepts_the_signatures() {
        for algorithm in Algorithm::ALL {
            let key = made(algorithm);
            let token =
                key.sign("JWT", &json!({"sub": "alice", "exp": 4_000_000_000_u64, "aud": "rp"})).unwrap();
            let jwk = serde_json::from_value(key.public_jwk().unwrap()).unwrap();
            let decoding = jsonwebtoken::DecodingKey::from_jwk(&jwk).unwrap();
            let mut rules = jsonwebtoken::Validation::new(algorithm.name().parse().unwrap());
            rules.set_audience(&["rp"]);
            let claims = jsonwebtoken::decode::<Value>(&token, &decoding, &rules).unwrap().claims;
            assert_eq!(claims["sub"], "alice");
            let thumbprint = jwk.thumbprint(jsonwebtoken::jwk::ThumbprintHash::SHA256);
            assert_eq!(thumbprint.unwrap(), key.kid());
        }
    }

    #[test]
    fn a_key_reads_no_token_of_another_algorithm() {
        // The same RSA key under both names: only the algorithm differs.
        let pkcs8 = SigningKey::generate(Algorithm::Rs256).unwrap();
        let [rs, ps] = [Algorithm::Rs256, Algorithm::Ps256]
            .map(|algorithm| SigningKey::from_pkcs8(algorithm, &pkcs8).unwrap());
        let token = rs.sign("JWT", &json!({"sub": "alice"})).unwrap();
        assert_eq!((rs.kid(), kid(&token).as_deref()), (ps.kid(), Some(rs.kid())));
        assert!(rs.read::<Value>("JWT", &token).is_some());
        assert!(ps.read::<Value>("JWT", &token).is_none());
        let header = format!(r#"{{"alg":"PS256","typ":"JWT","kid":"{}"}}"#, rs.kid());
        let (_, rest) = token.split_once('.').unwrap();
        let renamed = format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header));
        assert!(ps.read::<Value>("JWT", &renamed).is_none());
        assert!(SigningKey::from_pkcs8(Algorithm::Es256, &pkcs8).is_err());
    }
}
