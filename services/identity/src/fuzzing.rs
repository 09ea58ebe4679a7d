//! Doors for the targets in `fuzz/` to what reads the bytes of callers. Compiled with `--cfg fuzzing` alone, and never part
//! of a program.

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chassis::StartError;
use domain::DateTime;
use serde_json::{Value, json};

use crate::{
    app::{Bootstrap, ClientProof, verify_assertion},
    authorization,
    client::Client,
    dpop,
    params::Params,
};

/// A form body or a query, and what it says.
pub struct Form(Params);

impl Form {
    /// Reads it; none when it is no form.
    pub fn read(encoded: &[u8]) -> Option<Self> {
        Params::parse(encoded).ok().map(Self)
    }

    /// The first value of a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name)
    }

    /// Every value of a name.
    pub fn all(&self, name: &str) -> Vec<String> {
        self.0.all(name).map(str::to_owned).collect()
    }

    /// Whether a parameter came more than once.
    pub fn has_repeated(&self) -> bool {
        self.0.has_repeated()
    }

    /// Whom the one proof of a token request names, and of which kind it is.
    ///
    /// # Errors
    /// The code of the answer.
    pub fn client(
        &self,
        authorization: Option<&str>,
    ) -> Result<(Option<String>, &'static str), &'static str> {
        let proof = ClientProof::read(authorization, &self.0).map_err(|refusal| refusal.error())?;
        let kind = match &proof {
            ClientProof::Basic { .. } => "basic",
            ClientProof::Post { .. } => "post",
            ClientProof::Assertion { .. } => "assertion",
            ClientProof::Public { .. } => "public",
        };
        Ok((proof.client_id().map(str::to_owned), kind))
    }
}

/// A registered client, and its key.
pub struct Registered {
    client: Client,
    key: EcdsaKeyPair,
}

impl Registered {
    /// Its `client_id`.
    pub const ID: &'static str = "portal";
    /// Ours.
    pub const ISSUER: &'static str = "https://id.example";
    /// Where the clock stands, in seconds.
    pub const NOW: i64 = 1_784_000_000;
    /// The API that it may call.
    pub const AUDIENCE: &'static str = "kotinos.profile";

    /// With this redirect URI; none when the rules of registration refuse it.
    pub fn with(redirect_uri: &str) -> Option<Self> {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).ok()?;
        let mut jwk = public_jwk(&key);
        jwk["kid"] = "fuzz".into();
        let client = json!({
            "client_id": Self::ID, "name": "My Page", "kind": "first_party",
            "token_endpoint_auth_method": "private_key_jwt",
            "jwks": {"keys": [jwk]},
            "redirect_uris": [redirect_uri],
            "grant_types": ["authorization_code", "refresh_token"],
            "scopes": ["openid", "email"], "audiences": [Self::AUDIENCE],
        });
        Some(Self { client: Bootstrap::client(client)?, key })
    }

    /// Whether a code may be sent there.
    pub fn may_answer_at(&self, uri: &str) -> bool {
        self.client.has_redirect_uri(uri)
    }

    /// The authorization request that a query makes, as JSON.
    ///
    /// # Errors
    /// The code that the client is told.
    pub fn request(&self, redirect_uri: &str, form: &Form) -> Result<Value, &'static str> {
        let request = authorization::Request::parse(&self.client, redirect_uri, &form.0);
        let request = request.map_err(|fault| fault.error)?;
        serde_json::to_value(&request).map_err(|_| "no JSON")
    }

    /// An assertion with these parts, whatever they are, and a right signature.
    ///
    /// # Errors
    /// The library cannot sign.
    pub fn sign(&self, header: &[u8], claims: &[u8]) -> Result<String, StartError> {
        let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
        let message = format!("{header}.{claims}");
        let signature = self.key.sign(&SystemRandom::new(), message.as_bytes())?;
        Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref())))
    }

    /// The public part of its key.
    pub fn public_jwk(&self) -> Value {
        public_jwk(&self.key)
    }

    /// Whether an assertion proves this client.
    pub fn is_proved_by(&self, assertion: &str) -> bool {
        DateTime::from_timestamp(Self::NOW, 0)
            .is_some_and(|now| verify_assertion(&self.client, assertion, Self::ISSUER, now).is_some())
    }
}

/// The id of a DPoP proof for a call of userinfo with this access token; none when it proves no key.
pub fn proven_by(proof: &str, access_token: &str) -> Option<String> {
    let expected = dpop::Expected {
        method: "GET",
        url: "https://id.example/oauth2/userinfo",
        access_token: Some(access_token),
        now: DateTime::from_timestamp(Registered::NOW, 0)?,
    };
    dpop::verify(proof, &expected).ok().map(|proof| proof.jti)
}

// 4, then x and y (SEC 1, 2.3.3).
fn public_jwk(key: &EcdsaKeyPair) -> Value {
    let point = key.public_key().as_ref();
    let [x, y] = [&point[1..33], &point[33..]].map(|half| URL_SAFE_NO_PAD.encode(half));
    json!({"kty": "EC", "crv": "P-256", "x": x, "y": y})
}

/// The redirect URI with a response in its query.
pub fn answer_at(redirect_uri: &str, pairs: &[(&str, &str)]) -> String {
    authorization::with_query(redirect_uri, pairs)
}
