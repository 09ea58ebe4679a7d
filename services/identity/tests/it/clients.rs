//! The relying parties of the tests: what the bootstrap file says of them, and how they prove themselves.

use std::{path::PathBuf, sync::LazyLock};

use aws_lc_rs::{
    digest::{SHA256, digest},
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::{DateTime, Utc};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::world::ISSUER;

pub const SECRET: &str = "0hb-9Xw2s_JQ1nN7aLr5cT4dKe8uVi3y6mZpRfGqEAo";
pub const PORTAL_CALLBACK: &str = "https://portal.example/callback";
pub const SHOP_CALLBACK: &str = "https://shop.example/callback";
pub const FORUM_CALLBACK: &str = "https://forum.example/callback";
pub const VAULT_CALLBACK: &str = "https://vault.example/callback";
pub const STAFF: &str = "staff@committee.example";

/// The scopes that the portal asks for.
pub const PORTAL_SCOPE: &str = "openid email profile offline_access identity.self profile.read";

/// A client's key for assertions.
pub struct ClientKey {
    signs: EncodingKey,
    jwk: Value,
}

pub static MAILER_KEY: LazyLock<ClientKey> = LazyLock::new(ClientKey::generate);

impl ClientKey {
    pub fn generate() -> Self {
        let pkcs8 =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref()).unwrap();
        let point = pair.public_key().as_ref();
        let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..]));
        let jwk =
            json!({"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": "1", "use": "sig", "alg": "ES256"});
        Self { signs: EncodingKey::from_ec_der(pkcs8.as_ref()), jwk }
    }

    pub fn public(&self) -> Value {
        self.jwk.clone()
    }

    pub fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some("1".to_owned());
        jsonwebtoken::encode(&header, claims, &self.signs).unwrap()
    }
}

/// Claims of a right assertion of mailer.
pub fn assertion(now: DateTime<Utc>) -> Value {
    let at = now.timestamp();
    json!({
        "iss": "mailer", "sub": "mailer", "aud": ISSUER, "iat": at, "exp": at + 60, "jti": domain::new_id().to_string(),
    })
}

/// The form of a token request of mailer with this assertion.
pub fn with_assertion(text: &str) -> Vec<(String, String)> {
    [
        ("grant_type", "client_credentials"),
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
        ("client_assertion", text),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

fn secret_sha256() -> String {
    digest(&SHA256, SECRET.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A relying party of the conformance modules, which do without PKCE.
fn of_suite(client_id: &str, method: &str, rp: &str) -> Value {
    json!({
        "client_id": client_id, "name": "Conformance suite", "kind": "partner",
        "token_endpoint_auth_method": method, "client_secret_sha256": secret_sha256(),
        "redirect_uris": [format!("https://{client_id}.example/callback")],
        "post_logout_redirect_uris": [format!("https://{client_id}.example/post_logout_redirect")],
        "backchannel_logout_uri": format!("{rp}/{client_id}"),
        "grant_types": ["authorization_code", "refresh_token"],
        "scopes": ["openid", "email", "profile", "address", "phone", "offline_access"],
        "pkce_required": false,
    })
}

/// Under which clients register themselves.
fn policies() -> Value {
    json!([
        {
            "name": "partners", "pkce_required": false,
            "scopes": ["openid", "email", "profile", "address", "phone", "offline_access"],
        },
        {"name": "narrow", "scopes": ["openid"], "most_clients": 2},
    ])
}

/// The bootstrap file; `rp` is where sessions' ends are told.
pub fn bootstrap(rp: &str, registers: bool) -> Value {
    let mut file = json!({
        "clients": [
            {
                "client_id": "portal", "name": "My Page", "kind": "first_party",
                "token_endpoint_auth_method": "none",
                "redirect_uris": [PORTAL_CALLBACK, "http://127.0.0.1/callback"],
                "post_logout_redirect_uris": ["https://portal.example/"],
                "backchannel_logout_uri": format!("{rp}/portal"),
                "grant_types": ["authorization_code", "refresh_token"],
                "scopes": ["openid", "email", "profile", "offline_access", "identity.self", "profile.read", "segmentation.admin"],
                "audiences": ["kotinos.profile", "kotinos.identity"],
            },
            {
                "client_id": "shop", "name": "Shop", "kind": "partner",
                "token_endpoint_auth_method": "client_secret_basic", "client_secret_sha256": secret_sha256(),
                "redirect_uris": [SHOP_CALLBACK],
                "post_logout_redirect_uris": ["https://shop.example/bye?x=1"],
                "backchannel_logout_uri": format!("{rp}/shop"),
                "grant_types": ["authorization_code", "refresh_token"],
                "scopes": ["openid", "email", "profile", "profile.read"],
                "pkce_required": false,
            },
            {
                "client_id": "forum", "name": "Forum", "kind": "partner",
                "token_endpoint_auth_method": "client_secret_post", "client_secret_sha256": secret_sha256(),
                "redirect_uris": [FORUM_CALLBACK],
                "grant_types": ["authorization_code"],
                "scopes": ["openid"],
                "pkce_required": false,
            },
            {
                "client_id": "vault", "name": "Vault", "kind": "partner",
                "token_endpoint_auth_method": "client_secret_basic", "client_secret_sha256": secret_sha256(),
                "redirect_uris": [VAULT_CALLBACK],
                "grant_types": ["authorization_code", "refresh_token"],
                "scopes": ["openid", "email", "offline_access"],
                "access_token_format": "reference", "refresh_grace_seconds": 0,
            },
            {
                "client_id": "tv", "name": "Living room <TV>", "kind": "partner",
                "token_endpoint_auth_method": "none",
                "grant_types": ["urn:ietf:params:oauth:grant-type:device_code", "refresh_token"],
                "scopes": ["openid", "email", "offline_access"],
                "audiences": ["kotinos.results"],
            },
            {
                "client_id": "mailer", "name": "mailer", "kind": "first_party",
                "token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [MAILER_KEY.jwk]},
                "grant_types": ["client_credentials"],
                "scopes": ["consent.write", "segmentation.freeze", "identity.self", "openid"],
                "audiences": ["kotinos.profile", "kotinos.segmentation"],
            },
            {
                "client_id": "profile", "name": "profile", "kind": "first_party",
                "token_endpoint_auth_method": "client_secret_basic", "client_secret_sha256": secret_sha256(),
                "grant_types": ["client_credentials", "urn:ietf:params:oauth:grant-type:token-exchange"],
                "scopes": ["profile.read", "segmentation.read"],
                "audiences": ["kotinos.segmentation", "kotinos.identity"],
            },
            of_suite("suite", "client_secret_basic", rp),
            of_suite("suite-2", "client_secret_basic", rp),
            of_suite("suite-post", "client_secret_post", rp),
        ],
        "registration_policies": if registers { policies() } else { json!([]) },
        "staff": [{"email": STAFF, "scopes": ["segmentation.admin"]}],
    });
    file["clients"].as_array_mut().unwrap().extend(crate::oidf::fapi2::registrations());
    file
}

/// A file that goes with its owner.
pub struct BootstrapFile(pub PathBuf);

impl BootstrapFile {
    pub fn write(rp: &str, registers: bool) -> Self {
        let path = std::env::temp_dir().join(format!("kotinos-clients-{}.json", domain::new_id().simple()));
        std::fs::write(&path, bootstrap(rp, registers).to_string()).unwrap();
        Self(path)
    }
}

impl Drop for BootstrapFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
