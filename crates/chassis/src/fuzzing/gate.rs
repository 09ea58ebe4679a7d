use std::{
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::{Clock, DateTime};
use http::{HeaderValue, Request, header::AUTHORIZATION};
use serde_json::json;
use tokio::runtime::{Builder, Runtime};
use tonic::{Status, body::Body};
use tonic_types::StatusExt as _;
use tower::{Layer as _, ServiceExt as _, service_fn};

use crate::{
    Actor, AuthSettings, StartError, auth_layer::AuthLayer, http_client, policy::Policies,
    token_verifier::TokenVerifier,
};

/// Authentication with the policies of `/proto`, and an issuer whose key is drawn anew each time.
pub struct Gate {
    runtime: Runtime,
    layer: AuthLayer,
    key: EcdsaKeyPair,
}

/// What became of a call.
#[derive(Debug)]
pub struct Answer {
    /// Of the call, as the layer saw it.
    pub path: String,
    /// Of gRPC.
    pub code: i32,
    /// In the details of a refusal.
    pub reason: Option<String>,
    /// For the caller.
    pub message: String,
    /// Whether the handler was called.
    pub reached: bool,
    /// Whom it was called for.
    pub actor: Option<Actor>,
}

impl Gate {
    /// `iss` of its tokens.
    pub const ISSUER: &'static str = "https://identity.example";
    /// `kid` of its only key.
    pub const KEY_ID: &'static str = "fuzz";
    /// Where its clock stands, in seconds.
    pub const NOW: i64 = 1_784_000_000;

    /// # Errors
    /// No free port on this machine.
    pub fn open() -> Result<Self, StartError> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
        // 4, then x and y (SEC 1, 2.3.3).
        let point = key.public_key().as_ref();
        let [x, y] = [&point[1..33], &point[33..]].map(|half| URL_SAFE_NO_PAD.encode(half));
        let set = json!({"keys": [{"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": Self::KEY_ID}]});
        let serve = move || std::future::ready(axum::Json(set.clone()));
        let router = axum::Router::new().route("/keys.json", axum::routing::get(serve));
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
        let settings = AuthSettings {
            issuer: Self::ISSUER.parse()?,
            jwks_url: Some(format!("http://{}/keys.json", listener.local_addr()?).parse()?),
            client_key_dir: None,
        };
        runtime.spawn(async move { axum::serve(listener, router).await });
        let now = DateTime::from_timestamp(Self::NOW, 0).ok_or("no such time")?;
        let verifier = TokenVerifier::new(&settings, http_client::short()?, Clock::fixed(now));
        Ok(Self { runtime, layer: AuthLayer::new(verifier, Arc::new(Policies::all()?)), key })
    }

    /// A token with these parts, whatever they are, and a right signature.
    ///
    /// # Errors
    /// The library cannot sign.
    pub fn sign(&self, header: &[u8], claims: &[u8]) -> Result<String, StartError> {
        let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
        let message = format!("{header}.{claims}");
        let signature = self.key.sign(&SystemRandom::new(), message.as_bytes())?;
        Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref())))
    }

    /// A call of this path with these `Authorization`; none when a listener would refuse it itself.
    pub fn call(&self, path: &str, authorization: &[&[u8]]) -> Option<Answer> {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = path.parse().ok()?;
        for value in authorization {
            request.headers_mut().try_append(AUTHORIZATION, HeaderValue::from_bytes(value).ok()?).ok()?;
        }
        let path = request.uri().path().to_owned();
        let calls = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&calls);
        let handler = service_fn(move |request: Request<Body>| {
            let actor = request.extensions().get::<Actor>().cloned();
            seen.lock().unwrap_or_else(PoisonError::into_inner).push(actor);
            std::future::ready(Ok::<_, Infallible>(Status::ok("").into_http::<Body>()))
        });
        let Ok(response) = self.runtime.block_on(self.layer.layer(handler).oneshot(request));
        let status = Status::from_header_map(response.headers())?;
        let actor = calls.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Some(Answer {
            path,
            code: i32::from(status.code()),
            reason: status.get_details_error_info().map(|info| info.reason),
            message: status.message().to_owned(),
            reached: actor.is_some(),
            actor: actor.flatten(),
        })
    }
}
