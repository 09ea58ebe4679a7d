//! Keys of relying parties: for assertions and for proofs.

use aws_lc_rs::{
    digest::{SHA256, digest},
    rand::SystemRandom,
    rsa::{KeyPair as RsaKeyPair, KeySize},
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
    },
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

pub fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub fn sha256(text: &str) -> String {
    base64url(digest(&SHA256, text.as_bytes()))
}

pub enum Signer {
    P256 { pair: EcdsaKeyPair, private: Vec<u8> },
    Rsa(RsaKeyPair),
}

impl Signer {
    pub fn p256() -> Self {
        use aws_lc_rs::encoding::{AsBigEndian, EcPrivateKeyBin};
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let private: EcPrivateKeyBin<'_> = pair.private_key().as_be_bytes().unwrap();
        let private = private.as_ref().to_vec();
        Self::P256 { pair, private }
    }

    pub fn rsa() -> Self {
        Self::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())
    }

    /// The algorithm that FAPI allows for this key.
    pub fn alg(&self) -> &'static str {
        match self {
            Self::P256 { .. } => "ES256",
            Self::Rsa(_) => "PS256",
        }
    }

    /// Without `alg`, so that nothing but the profile says how it may sign.
    pub fn public_jwk(&self) -> Value {
        match self {
            Self::P256 { pair, .. } => {
                let point = pair.public_key().as_ref();
                let (x, y) = (base64url(&point[1..33]), base64url(&point[33..]));
                json!({"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": "1", "use": "sig"})
            }
            Self::Rsa(pair) => {
                let public = pair.public_key();
                let n = base64url(public.modulus().big_endian_without_leading_zero());
                let e = base64url(public.exponent().big_endian_without_leading_zero());
                json!({"kty": "RSA", "n": n, "e": e, "kid": "1", "use": "sig"})
            }
        }
    }

    /// With the private part of an elliptic key, which no proof may show.
    pub fn private_jwk(&self) -> Value {
        let Self::P256 { private, .. } = self else { panic!("an elliptic key") };
        let mut jwk = self.public_jwk();
        jwk["d"] = Value::from(base64url(private));
        jwk
    }

    /// RFC 7638 of an elliptic key.
    pub fn thumbprint(&self) -> String {
        let jwk = self.public_jwk();
        let (x, y) = (jwk["x"].as_str().unwrap(), jwk["y"].as_str().unwrap());
        sha256(&format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#))
    }

    pub fn sign_bytes(&self, alg: &str, message: &[u8]) -> Vec<u8> {
        let rng = SystemRandom::new();
        match self {
            Self::P256 { pair, .. } => pair.sign(&rng, message).unwrap().as_ref().to_vec(),
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                match alg {
                    "RS256" => pair.sign(&RSA_PKCS1_SHA256, &rng, message, &mut signature).unwrap(),
                    _ => pair.sign(&RSA_PSS_SHA256, &rng, message, &mut signature).unwrap(),
                }
                signature
            }
        }
    }

    /// A compact JWS; how it is signed is what the header says, where this key can.
    pub fn jws(&self, header: &Value, claims: &Value) -> String {
        let input = format!("{}.{}", base64url(header.to_string()), base64url(claims.to_string()));
        let alg = header["alg"].as_str().unwrap_or(self.alg());
        format!("{input}.{}", base64url(self.sign_bytes(alg, input.as_bytes())))
    }
}
