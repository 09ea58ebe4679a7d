//! Every RPC of a running process, called by those whom it must not answer.

use std::{collections::BTreeSet, time::Duration};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use chassis::{Peer, PeerError};
use domain::{Clock, Service, TimeDelta};
use http::{Request, header::AUTHORIZATION};
use jsonwebtoken::{Algorithm, EncodingKey};
use prost_reflect::{DescriptorPool, DynamicMessage, ExtensionDescriptor, MethodDescriptor, Value};
use serde_json::json;
use tokio::time::timeout;
use tonic::{Code, Status, body::Body, client::GrpcService as _};

use crate::{
    Claims, Issuer, TestApp,
    client_keys::KEY,
    issuer::{EVERY_SCOPE, POLICY, sign_with},
};

/// A refusal needs neither database nor peer.
const PATIENCE: Duration = Duration::from_secs(10);
/// An empty message, not compressed (gRPC over HTTP/2).
const EMPTY: &[u8] = &[0; 5];
const CLIENT: &str = "test-client";
const FOREIGN: &str = "https://elsewhere.example";

/// Calls every method that the app serves, of all services in `/proto`, as each kind of stranger: without a token, with
/// one that is wrong in one way, with a good one of other scopes. None may get further than the refusal that is its own;
/// a method that is public by its policy refuses nobody for a token. And the good token gets past it, or a process that
/// refuses everybody would do. The app must serve all of the package of each of `services`.
///
/// # Panics
/// With a line for each answer that is not as it should be.
pub async fn refuses_strangers(app: &TestApp, services: &[Service]) {
    let door =
        Door { peer: app.grpc_without_token(), issuer: app.issuer().clone(), clock: app.clock.clone() };
    let faults = door.faults(services).await;
    assert!(faults.is_empty(), "{} answers are wrong:\n{}", faults.len(), faults.join("\n"));
}

/// A method as `/proto` has it, read here anew: what the process makes of it is what is tested.
struct Method {
    /// `/kotinos.profile.v1.ProfileService/GetProfile`
    path: String,
    /// Whose package it is in; none of the suite's.
    service: Option<Service>,
    scopes: Vec<String>,
    public: bool,
}

fn methods() -> Vec<Method> {
    let pool = DescriptorPool::decode(proto::DESCRIPTORS).expect("our own descriptors");
    let policy = pool.get_extension_by_name(POLICY).expect("the policy's extension");
    let all = pool.services().flat_map(|service| service.methods().collect::<Vec<_>>());
    all.map(|method| Method::read(&method, &policy)).collect()
}

impl Method {
    fn read(method: &MethodDescriptor, policy: &ExtensionDescriptor) -> Self {
        let (service, options) = (method.parent_service().clone(), method.options());
        let said = options.get_extension(policy).as_message().cloned();
        let package = service.package_name();
        let is_of = |service: &Service| package.strip_prefix(service.audience()) == Some(".v1");
        Self {
            path: format!("/{}/{}", service.full_name(), method.name()),
            service: Service::ALL.into_iter().find(is_of),
            scopes: said.as_ref().map(scopes).unwrap_or_default(),
            public: said.and_then(|said| said.get_field_by_name("public")?.as_bool()).unwrap_or_default(),
        }
    }
}

fn scopes(said: &DynamicMessage) -> Vec<String> {
    let Some(list) = said.get_field_by_name("scope") else { return Vec::new() };
    list.as_list().unwrap_or_default().iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Somebody at the door, and what they must hear.
struct Stranger {
    name: &'static str,
    authorization: Option<String>,
    code: Code,
    reason: &'static str,
}

/// Where calls come in.
struct Door {
    peer: Peer,
    issuer: Issuer,
    clock: Clock,
}

impl Door {
    /// What is not as it should be, a line each.
    async fn faults(&self, services: &[Service]) -> Vec<String> {
        let (mut faults, mut served) = (Vec::new(), BTreeSet::new());
        for method in methods() {
            if self.call(&method, None).await.code == Code::Unimplemented {
                if method.service.is_some_and(|service| services.contains(&service)) {
                    faults.push(format!("{}: is not served", method.path));
                }
                continue;
            }
            served.extend(method.service);
            self.faults_of(&method, &mut faults).await;
        }
        let missing = services.iter().filter(|service| !served.contains(*service));
        faults.extend(missing.map(|service| format!("{service}: nothing of its package is served")));
        faults
    }

    async fn faults_of(&self, method: &Method, faults: &mut Vec<String>) {
        for stranger in self.strangers(method) {
            let heard = self.call(method, stranger.authorization.as_deref()).await;
            let right = if method.public {
                !heard.is_refusal()
            } else {
                (heard.code, heard.reason.as_str()) == (stranger.code, stranger.reason)
            };
            if !right {
                let Stranger { name, code, reason, .. } = stranger;
                faults.push(format!("{} {name}: {heard}, not {code:?} {reason}", method.path));
            }
        }
        let heard = self.call(method, Some(&bearer(&self.token(&self.right(method))))).await;
        if heard.is_refusal() {
            faults.push(format!("{} with a good token: {heard}", method.path));
        }
    }

    fn strangers(&self, method: &Method) -> Vec<Stranger> {
        let unauthenticated = |name, authorization, reason| Stranger {
            name,
            authorization,
            code: Code::Unauthenticated,
            reason,
        };
        let mut strangers = vec![
            unauthenticated("without a token", None, "TOKEN_MISSING"),
            unauthenticated("with a password", Some("Basic cG9ydGFsOg==".to_owned()), "TOKEN_MISSING"),
            unauthenticated("with garbage", Some(bearer("' or 1=1")), "TOKEN_MALFORMED"),
        ];
        let by_claims = self
            .wrong_claims(method)
            .into_iter()
            .map(|(name, claims, reason)| unauthenticated(name, Some(bearer(&self.token(&claims))), reason));
        strangers.extend(by_claims);
        let by_signature = self.wrong_signatures(method).into_iter();
        strangers.extend(
            by_signature.map(|(name, token, reason)| unauthenticated(name, Some(bearer(&token)), reason)),
        );
        let mut other_scopes = self.right(method);
        other_scopes.scopes.retain(|scope| !method.scopes.contains(scope));
        strangers.push(Stranger {
            name: "with every scope but its own",
            authorization: Some(bearer(&self.token(&other_scopes))),
            code: Code::PermissionDenied,
            reason: "SCOPE_MISSING",
        });
        strangers
    }

    fn wrong_claims(&self, method: &Method) -> Vec<(&'static str, Claims, &'static str)> {
        let (right, now) = (self.right(method), self.clock.now());
        let with = |claim: &str, value: serde_json::Value| {
            let others = serde_json::Map::from_iter([(claim.to_owned(), value)]);
            Claims { others, ..right.clone() }
        };
        let others = Service::ALL.into_iter().filter(|service| Some(*service) != method.service);
        let audiences = others.map(|service| service.audience().to_owned()).collect();
        let issuer = FOREIGN.to_owned();
        vec![
            ("with our key under a foreign name", Claims { issuer, ..right.clone() }, "TOKEN_FOREIGN_ISSUER"),
            ("with a token for others", Claims { audiences, ..right.clone() }, "TOKEN_WRONG_AUDIENCE"),
            (
                "with an expired token",
                Claims { expires_at: now - TimeDelta::minutes(1), ..right.clone() },
                "TOKEN_EXPIRED",
            ),
            (
                "with a token for later",
                with("nbf", json!((now + TimeDelta::minutes(5)).timestamp())),
                "TOKEN_NOT_YET_VALID",
            ),
            (
                "with a token from the future",
                Claims { issued_at: now + TimeDelta::minutes(5), ..right.clone() },
                "TOKEN_NOT_YET_VALID",
            ),
            ("with an ID token", Claims { typ: "JWT".to_owned(), ..right.clone() }, "TOKEN_WRONG_TYPE"),
            (
                "with a bound token and no proof",
                with("cnf", json!({ "jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I" })),
                "TOKEN_SENDER_CONSTRAINED",
            ),
        ]
    }

    fn wrong_signatures(&self, method: &Method) -> Vec<(&'static str, String, &'static str)> {
        let right = self.right(method);
        let foreign_key = foreign_key();
        let foreign = Claims { issuer: FOREIGN.to_owned(), ..right.clone() };
        let good = self.token(&right);
        let payload = good.split('.').nth(1).unwrap_or_default();
        let header = BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"at+jwt"}"#);
        // Whoever took the public key for a shared secret would believe it.
        let secret = EncodingKey::from_secret(format!("{}{}", KEY.x, KEY.y).as_bytes());
        vec![
            (
                "of a foreign issuer",
                sign_with(&foreign, Algorithm::ES256, "elsewhere", &foreign_key),
                "TOKEN_UNKNOWN_KEY",
            ),
            (
                "with a foreign key in our name",
                sign_with(&right, Algorithm::ES256, &KEY.kid, &foreign_key),
                "TOKEN_WRONG_SIGNATURE",
            ),
            (
                "with our public key as a secret",
                sign_with(&right, Algorithm::HS256, &KEY.kid, &secret),
                "TOKEN_WRONG_ALGORITHM",
            ),
            ("with a token that nobody signed", format!("{header}.{payload}."), "TOKEN_MALFORMED"),
            ("with a token whose signature was cut off", cut(&good), "TOKEN_WRONG_SIGNATURE"),
        ]
    }

    /// Of a token that may do everything.
    fn right(&self, method: &Method) -> Claims {
        let scopes: Vec<&str> = EVERY_SCOPE.iter().map(String::as_str).collect();
        let audiences = method.service.iter().map(|service| service.audience().to_owned()).collect();
        Claims { audiences, ..self.issuer.claims(CLIENT, CLIENT, &scopes) }
    }

    fn token(&self, claims: &Claims) -> String {
        self.issuer.token(claims)
    }

    // The head of the answer is enough: a refusal has no other part.
    async fn call(&self, method: &Method, authorization: Option<&str>) -> Heard {
        let mut request =
            Request::post(&method.path).header("content-type", "application/grpc").header("te", "trailers");
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let body = Body::new(axum::body::Body::from(EMPTY));
        let request = request.body(body).expect("a request");
        let mut peer = self.peer.clone();
        match timeout(PATIENCE, peer.call(request)).await {
            Ok(Ok(answer)) => {
                Status::from_header_map(answer.headers()).map_or_else(Heard::answer, Heard::from)
            }
            Ok(Err(status)) => Heard::from(status),
            Err(_) => Heard { code: Code::DeadlineExceeded, reason: "NO_ANSWER".to_owned() },
        }
    }
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

fn cut(token: &str) -> String {
    token.rsplit_once('.').map(|(signed, _)| format!("{signed}.")).unwrap_or_default()
}

fn foreign_key() -> EncodingKey {
    let random = SystemRandom::new();
    let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("random bytes");
    EncodingKey::from_ec_der(key.as_ref())
}

/// What the caller hears.
struct Heard {
    code: Code,
    reason: String,
}

impl Heard {
    const fn answer() -> Self {
        Self { code: Code::Ok, reason: String::new() }
    }

    // What authentication says, whoever says it; other refusals are the app's.
    fn is_refusal(&self) -> bool {
        self.reason.starts_with("TOKEN_")
            || self.reason == "SCOPE_MISSING"
            || self.code == Code::Unauthenticated
    }
}

impl From<Status> for Heard {
    fn from(status: Status) -> Self {
        let code = status.code();
        let reason = PeerError::from(status).reason_of_peer().unwrap_or_default().to_owned();
        Self { code, reason }
    }
}

impl std::fmt::Display for Heard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {}", self.code, self.reason)
    }
}

#[cfg(test)]
mod tests;
