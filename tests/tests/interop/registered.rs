//! The libraries as identity knows them: entries of its bootstrap file, with secrets and keys made for one run.

use std::net::{SocketAddr, TcpListener};

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

/// What a client may ask for, and what the sites do ask for.
pub const SCOPES: [&str; 4] = ["openid", "profile", "email", "offline_access"];

/// One library's client.
#[derive(Debug)]
pub struct Registered {
    /// Its client id, which is the library's name.
    pub name: &'static str,
    /// The port of the loopback where its site listens.
    pub port: u16,
    /// How it proves itself, in the words of the bootstrap file.
    method: &'static str,
    backchannel: &'static str,
    /// Where it has one.
    pub secret: String,
    key: Key,
}

#[derive(Debug)]
struct Key {
    pkcs8: Vec<u8>,
    jwk: Value,
}

impl Registered {
    /// A client with a port of its own. `backchannel` is the path where logout tokens go, or nothing.
    pub fn new(name: &'static str, method: &'static str, backchannel: &'static str) -> Result<Self> {
        let free = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let port = free.local_addr()?.port();
        Ok(Self { name, port, method, backchannel, secret: random()?, key: Key::generate()? })
    }

    /// An address of its site.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Its entry in the bootstrap file.
    pub fn entry(&self) -> Value {
        let mut entry = json!({
            "client_id": self.name, "name": format!("Shop by {}", self.name), "kind": "partner",
            "token_endpoint_auth_method": self.method,
            "grant_types": ["authorization_code", "refresh_token"], "scopes": SCOPES,
            "redirect_uris": [self.url("/callback")], "post_logout_redirect_uris": [self.url("/signed-out")],
        });
        if !self.backchannel.is_empty() {
            entry["backchannel_logout_uri"] = json!(self.url(self.backchannel));
        }
        match self.method {
            "private_key_jwt" => entry["jwks"] = json!({ "keys": [self.key.jwk] }),
            "none" => {}
            _ => entry["client_secret_sha256"] = json!(hex(digest(&SHA256, self.secret.as_bytes()).as_ref())),
        }
        entry
    }

    /// What its program is told.
    pub fn given(&self, issuer: &str) -> Value {
        json!({
            "issuer": issuer, "port": self.port, "client_id": self.name, "client_secret": self.secret,
            "key": STANDARD.encode(&self.key.pkcs8), "kid": self.key.jwk["kid"],
        })
    }
}

impl Key {
    fn generate() -> Result<Self> {
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).ok().context("no key")?;
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref()).ok().context("no key")?;
        // SEC 1 2.3.3: 4, x, y.
        let point = pair.public_key().as_ref();
        let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..]));
        let kid = random()?;
        let jwk =
            json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": kid, "alg": "ES256", "use": "sig" });
        Ok(Self { pkcs8: pkcs8.as_ref().to_vec(), jwk })
    }
}

fn random() -> Result<String> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).ok().context("no random bytes")?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
