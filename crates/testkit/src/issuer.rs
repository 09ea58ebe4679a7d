//! Identity as the other services see it: metadata, keys, and an access token for whoever asks.

use std::{
    collections::BTreeSet,
    sync::{Arc, LazyLock},
};

use axum::{
    Form, Json, Router,
    extract::State,
    http::StatusCode,
    routing::{get, post},
};
use domain::{Clock, DateTime, Service, TimeDelta, Utc, new_id};
use jsonwebtoken::{Algorithm, EncodingKey, Header, Validation, decode, encode};
use prost_reflect::{DescriptorPool, Value as Reflected};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::{net::TcpListener, task::JoinHandle};
use url::Url;

use crate::client_keys::KEY;

const LIFE: TimeDelta = TimeDelta::hours(1);
pub(crate) const POLICY: &str = "kotinos.options.v1.policy";

/// Of the policies of all methods.
pub(crate) static EVERY_SCOPE: LazyLock<Vec<String>> = LazyLock::new(every_scope);

/// An issuer on a free port of this machine. It trusts everybody: a client that asks for itself gets what it asks for,
/// and only an assertion that is wrong is refused. Clones are the same issuer; with the last one it stops.
#[derive(Debug, Clone)]
pub struct Issuer(Arc<Running>);

#[derive(Debug)]
struct Running {
    url: Url,
    clock: Clock,
    task: JoinHandle<()>,
}

/// What an access token says (RFC 9068). [`Issuer::claims`] makes right ones; change what shall be wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// `iss`
    pub issuer: String,
    /// `sub`
    pub subject: String,
    /// `client_id`
    pub client_id: String,
    /// `scope`
    pub scopes: Vec<String>,
    /// `aud`
    pub audiences: Vec<String>,
    /// `iat`
    pub issued_at: DateTime<Utc>,
    /// `exp`
    pub expires_at: DateTime<Utc>,
    /// `typ` of the header, which is `at+jwt` in an access token.
    pub typ: String,
    /// Further claims, such as `cnf`.
    pub others: Map<String, Value>,
}

#[derive(Serialize)]
struct Payload<'a> {
    iss: &'a str,
    sub: &'a str,
    client_id: &'a str,
    scope: String,
    aud: &'a [String],
    iat: i64,
    exp: i64,
    jti: String,
    #[serde(flatten)]
    others: &'a Map<String, Value>,
}

/// What is read of a client's assertion (RFC 7523 section 3).
#[derive(Deserialize)]
struct Assertion {
    iss: String,
    sub: String,
    exp: i64,
    aud: Value,
}

type Answer = (StatusCode, Json<Value>);

impl Issuer {
    /// Starts on the present runtime; its tokens begin and end by this clock.
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn start(clock: Clock) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port for the issuer");
        let addr = listener.local_addr().expect("an address of the issuer");
        let url: Url = format!("http://{addr}").parse().expect("a url");
        let pages = Pages { url: url.clone(), clock: clock.clone() };
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(metadata))
            .route("/oauth2/keys.json", get(keys))
            .route("/oauth2/token", post(token))
            .with_state(pages);
        let task = tokio::spawn(async move {
            // It ends with its task.
            let _ = axum::serve(listener, router).await;
        });
        Self(Arc::new(Running { url, clock, task }))
    }

    /// Its `iss`, as a URL.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.0.url
    }

    /// Where its keys are.
    #[must_use]
    pub fn keys_url(&self) -> Url {
        at(&self.0.url, "/oauth2/keys.json")
    }

    /// Claims of a token that every service takes, for an hour.
    #[must_use]
    pub fn claims(&self, subject: &str, client_id: &str, scopes: &[&str]) -> Claims {
        claims(
            &self.0.url,
            &self.0.clock,
            subject,
            client_id,
            scopes.iter().map(|scope| (*scope).to_owned()).collect(),
        )
    }

    /// Signs whatever it is given.
    #[must_use]
    pub fn token(&self, claims: &Claims) -> String {
        sign(claims)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Clone)]
struct Pages {
    url: Url,
    clock: Clock,
}

// `iss` has no slash at its end.
fn iss(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}

fn at(url: &Url, path: &str) -> Url {
    url.join(path).expect("a path")
}

fn claims(url: &Url, clock: &Clock, subject: &str, client_id: &str, scopes: Vec<String>) -> Claims {
    let now = clock.now();
    Claims {
        issuer: iss(url),
        subject: subject.to_owned(),
        client_id: client_id.to_owned(),
        scopes,
        audiences: Service::ALL.map(|service| service.audience().to_owned()).to_vec(),
        issued_at: now,
        expires_at: now + LIFE,
        typ: "at+jwt".to_owned(),
        others: Map::new(),
    }
}

fn sign(claims: &Claims) -> String {
    sign_with(claims, Algorithm::ES256, &KEY.kid, &KEY.signs)
}

/// Signed as a stranger might: by any key, in any name.
pub(crate) fn sign_with(claims: &Claims, algorithm: Algorithm, kid: &str, key: &EncodingKey) -> String {
    let mut header = Header::new(algorithm);
    header.typ = Some(claims.typ.clone());
    header.kid = Some(kid.to_owned());
    let payload = Payload {
        iss: &claims.issuer,
        sub: &claims.subject,
        client_id: &claims.client_id,
        scope: claims.scopes.join(" "),
        aud: &claims.audiences,
        iat: claims.issued_at.timestamp(),
        exp: claims.expires_at.timestamp(),
        jti: new_id().to_string(),
        others: &claims.others,
    };
    encode(&header, &payload, key).expect("claims that can be signed")
}

async fn metadata(State(pages): State<Pages>) -> Json<Value> {
    Json(json!({
        "issuer": iss(&pages.url),
        "authorization_endpoint": at(&pages.url, "/authorize").as_str(),
        "token_endpoint": at(&pages.url, "/oauth2/token").as_str(),
        "jwks_uri": at(&pages.url, "/oauth2/keys.json").as_str(),
        "end_session_endpoint": at(&pages.url, "/logout").as_str(),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "grant_types_supported": ["client_credentials"],
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
    }))
}

async fn keys() -> Json<Value> {
    let (x, y, kid) = (&KEY.x, &KEY.y, &KEY.kid);
    Json(
        json!({ "keys": [{ "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": kid, "x": x, "y": y }] }),
    )
}

async fn token(State(pages): State<Pages>, Form(form): Form<Vec<(String, String)>>) -> Answer {
    let all = |name: &str| {
        form.iter().filter(|(held, _)| held == name).map(|(_, value)| value.clone()).collect::<Vec<_>>()
    };
    let one = |name: &str| form.iter().find(|(held, _)| held == name).map(|(_, value)| value.as_str());
    if one("grant_type") != Some("client_credentials") {
        return refusal(StatusCode::BAD_REQUEST, "unsupported_grant_type", "client_credentials only");
    }
    let client_id = match one("client_assertion").map(|assertion| client_of(&pages, assertion)) {
        Some(Ok(client_id)) => client_id,
        Some(Err(why)) => return refusal(StatusCode::UNAUTHORIZED, "invalid_client", why),
        None => one("client_id").unwrap_or("test-client").to_owned(),
    };
    let scopes = one("scope")
        .map_or_else(|| EVERY_SCOPE.clone(), |asked| asked.split(' ').map(str::to_owned).collect());
    let mut claims = claims(&pages.url, &pages.clock, &client_id, &client_id, scopes);
    // RFC 8707 calls it `resource`; some clients say `audience`.
    let audiences: Vec<String> = [all("resource"), all("audience")].concat();
    if !audiences.is_empty() {
        claims.audiences = audiences;
    }
    let answer = json!({
        "access_token": sign(&claims),
        "token_type": "Bearer",
        "expires_in": LIFE.num_seconds(),
        "scope": claims.scopes.join(" "),
    });
    (StatusCode::OK, Json(answer))
}

fn refusal(status: StatusCode, error: &str, why: &str) -> Answer {
    (status, Json(json!({ "error": error, "error_description": why })))
}

// The client that proves itself; every client's key is the one of `ClientKeys`.
fn client_of(pages: &Pages, assertion: &str) -> Result<String, &'static str> {
    let mut validation = Validation::new(Algorithm::ES256);
    validation.required_spec_claims.clear();
    validation.validate_aud = false;
    // By the test's clock, below.
    validation.validate_exp = false;
    let read =
        decode::<Assertion>(assertion, &KEY.verifies, &validation).map_err(|_| "not signed with its key")?;
    let Assertion { iss: client, sub, exp, aud } = read.claims;
    if client != sub {
        return Err("iss is not sub");
    }
    if exp <= pages.clock.now().timestamp() {
        return Err("it has expired");
    }
    let (issuer, endpoint) = (iss(&pages.url), at(&pages.url, "/oauth2/token").to_string());
    let is_ours = |aud: &Value| aud.as_str().is_some_and(|aud| aud == issuer || aud == endpoint);
    let ours = is_ours(&aud) || aud.as_array().is_some_and(|all| all.iter().any(is_ours));
    ours.then_some(client).ok_or("aud is somebody else")
}

fn every_scope() -> Vec<String> {
    let pool = DescriptorPool::decode(proto::DESCRIPTORS).expect("our own descriptors");
    let policy = pool.get_extension_by_name(POLICY).expect("the policy's extension");
    let mut scopes = BTreeSet::new();
    for method in pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
        let options = method.options();
        let held = options.get_extension(&policy);
        let Some(held) = held.as_message().and_then(|policy| policy.get_field_by_name("scope")) else {
            continue;
        };
        scopes.extend(
            held.as_list().unwrap_or_default().iter().filter_map(Reflected::as_str).map(str::to_owned),
        );
    }
    scopes.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock() -> Clock {
        Clock::fixed(Clock::system().now())
    }

    async fn ask(issuer: &Issuer, form: &[(&str, &str)]) -> (u16, Value) {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let answer = client.post(at(issuer.url(), "/oauth2/token")).form(form).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    fn read(token: &str, audience: &str, issuer: &Issuer) -> Value {
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_audience(&[audience]);
        validation.set_issuer(&[iss(issuer.url())]);
        decode::<Value>(token, &KEY.verifies, &validation).unwrap().claims
    }

    #[tokio::test]
    async fn a_client_gets_the_token_that_it_asks_for() {
        let issuer = Issuer::start(clock()).await;
        let form = [
            ("grant_type", "client_credentials"),
            ("resource", "kotinos.profile"),
            ("scope", "profile.read"),
        ];
        let (status, answer) = ask(&issuer, &form).await;
        assert_eq!((status, answer["expires_in"].as_i64()), (200, Some(3_600)));
        let claims = read(answer["access_token"].as_str().unwrap(), "kotinos.profile", &issuer);
        assert_eq!(
            (claims["scope"].as_str(), claims["sub"].as_str()),
            (Some("profile.read"), Some("test-client"))
        );
    }

    #[tokio::test]
    async fn who_names_no_scope_gets_every_one() {
        let issuer = Issuer::start(clock()).await;
        let (_, answer) = ask(&issuer, &[("grant_type", "client_credentials")]).await;
        let scopes: Vec<&str> = answer["scope"].as_str().unwrap().split(' ').collect();
        assert!(scopes.contains(&"mailer.send") && scopes.contains(&"results.admin"), "{scopes:?}");
    }

    #[tokio::test]
    async fn an_assertion_names_the_client_and_a_wrong_one_is_refused() {
        let issuer = Issuer::start(clock()).await;
        let assertion = |aud: &str, exp: i64| {
            let claims = json!({ "iss": "mailer", "sub": "mailer", "aud": aud, "exp": exp, "jti": "1" });
            encode(&Header::new(Algorithm::ES256), &claims, &KEY.signs).unwrap()
        };
        let now = issuer.0.clock.now().timestamp();
        let (ours, forged) = (iss(issuer.url()), format!("{}x", assertion("", now + 60)));
        let cases = [
            (assertion(&ours, now + 60), 200),
            (assertion(&ours, now - 1), 401),
            (assertion("https://elsewhere.example", now + 60), 401),
            (forged, 401),
        ];
        for (assertion, expected) in cases {
            let form = [("grant_type", "client_credentials"), ("client_assertion", &assertion)];
            let (status, answer) = ask(&issuer, &form).await;
            assert_eq!(status, expected, "{answer}");
            if status == 200 {
                let claims = read(answer["access_token"].as_str().unwrap(), "kotinos.mailer", &issuer);
                assert_eq!(claims["client_id"].as_str(), Some("mailer"));
            }
        }
        assert_eq!(ask(&issuer, &[("grant_type", "password")]).await.0, 400);
    }

    #[tokio::test]
    async fn the_published_key_verifies_and_wrong_claims_are_signed_too() {
        let issuer = Issuer::start(clock()).await;
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let keys = client.get(issuer.keys_url()).send().await.unwrap();
        let keys: jsonwebtoken::jwk::JwkSet = keys.json().await.unwrap();
        let mut claims = issuer.claims("alice", "portal", &["profile.read"]);
        claims.audiences = vec!["nobody".to_owned()];
        claims.typ = "jwt".to_owned();
        let token = issuer.token(&claims);
        let header = jsonwebtoken::decode_header(&token).unwrap();
        assert_eq!(header.typ.as_deref(), Some("jwt"));
        let key = jsonwebtoken::DecodingKey::from_jwk(keys.find(&header.kid.unwrap()).unwrap()).unwrap();
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_audience(&["nobody"]);
        assert_eq!(decode::<Value>(&token, &key, &validation).unwrap().claims["sub"].as_str(), Some("alice"));
    }
}
