use anyhow::{Context, Result};
use aws_lc_rs::{
    digest::{SHA256, digest},
    rand::{self, SystemRandom},
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::{Value, json};

/// A new P-256 key by which a client proves itself.
#[derive(Debug)]
pub struct ClientKey {
    /// The private key as PKCS#8, in base64.
    pub pkcs8: String,
    /// The public key, as it is registered.
    pub jwk: Value,
}

impl ClientKey {
    /// Makes one, with a key id of its own.
    ///
    /// # Errors
    /// No random bytes.
    pub fn generate() -> Result<Self> {
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).ok().context("no key")?;
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref()).ok().context("no key")?;
        // SEC 1 2.3.3: 4, x, y.
        let point = pair.public_key().as_ref();
        let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..]));
        let kid = secret()?;
        let jwk =
            json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": kid, "alg": "ES256", "use": "sig" });
        Ok(Self { pkcs8: STANDARD.encode(pkcs8.as_ref()), jwk })
    }

    /// The private key as openssl writes it (RFC 7468).
    #[must_use]
    pub fn pem(&self) -> String {
        let lines: Vec<_> = self.pkcs8.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
        format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"))
    }
}

/// A new client secret: 256 random bits.
///
/// # Errors
/// No random bytes.
pub fn secret() -> Result<String> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).ok().context("no random bytes")?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// A secret as identity is told of it: the digest in hexadecimal.
#[must_use]
pub fn secret_sha256(secret: &str) -> String {
    digest(&SHA256, secret.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
