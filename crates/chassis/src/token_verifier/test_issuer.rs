use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::{Clock, DateTime};
use jsonwebtoken::{
    Algorithm, EncodingKey,
    jwk::{Jwk, ThumbprintHash},
};
use serde_json::{Value, json};

use super::TokenVerifier;
use crate::AuthSettings;

/// An issuer of tokens that publishes its key as real ones do, and signs whatever a test wants.
pub(crate) struct TestIssuer {
    pub(crate) url: String,
    pub(crate) kid: String,
    pub(crate) jwk: Value,
    pub(crate) clock: Clock,
    pub(crate) fetches: Arc<AtomicUsize>,
    key: EcdsaKeyPair,
}

impl TestIssuer {
    pub(crate) async fn start() -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let encoding = EncodingKey::from_ec_der(key.to_pkcs8v1().unwrap().as_ref());
        let mut jwk = Jwk::from_encoding_key(&encoding, Algorithm::ES256).unwrap();
        let kid = jwk.thumbprint(ThumbprintHash::SHA256).unwrap();
        jwk.common.key_id = Some(kid.clone());
        let jwk = serde_json::to_value(jwk).unwrap();

        let fetches = Arc::new(AtomicUsize::new(0));
        let (counted, set) = (Arc::clone(&fetches), json!({"keys": [jwk]}));
        let serve = move || {
            counted.fetch_add(1, Ordering::SeqCst);
            let set = set.clone();
            async move { axum::Json(set) }
        };
        let router = axum::Router::new().route("/oauth2/keys.json", axum::routing::get(serve));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let clock = Clock::fixed(DateTime::from_timestamp(1_784_000_000, 0).unwrap());
        Self { url, kid, jwk, clock, fetches, key }
    }

    pub(crate) fn verifier(&self) -> TokenVerifier {
        TokenVerifier::new(&self.settings(), reqwest::Client::new(), self.clock.clone())
    }

    pub(crate) fn settings(&self) -> AuthSettings {
        AuthSettings { issuer: self.url.parse().unwrap(), jwks_url: None, client_key_dir: None }
    }

    pub(crate) fn jwks_url(&self) -> String {
        format!("{}/oauth2/keys.json", self.url)
    }

    pub(crate) fn public_point(&self) -> Vec<u8> {
        self.key.public_key().as_ref().to_vec()
    }

    /// Claims of a good token: Alice at the portal, five minutes.
    pub(crate) fn claims(&self, audience: &str) -> Value {
        let now = self.clock.now().timestamp();
        json!({
            "iss": self.url,
            "aud": audience,
            "sub": "01890a5d-ac96-774b-bcce-b302099a8057",
            "client_id": "portal",
            "scope": "profile.read profile.write",
            "iat": now,
            "exp": now + 300,
            "jti": domain::new_id().to_string(),
        })
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        self.sign_with(&json!({"alg": "ES256", "typ": "at+jwt", "kid": self.kid}), claims)
    }

    /// ES256 under any header, true or not.
    pub(crate) fn sign_with(&self, header: &Value, claims: &Value) -> String {
        let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let message = format!("{header}.{claims}");
        let signature = self.key.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }
}
