mod error;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use domain::{Clock, DateTime, TimeDelta, Utc, new_id};
use jsonwebtoken::{
    Algorithm, EncodingKey, Header,
    jwk::{Jwk, ThumbprintHash},
};
use serde::Deserialize;
use serde_json::json;

use crate::{AuthSettings, read_bounded};

pub use error::{PeerError, fields_of};

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const ASSERTION_LIFE: TimeDelta = TimeDelta::seconds(60);
/// A token is not used in its last moments: it must still be good when it arrives.
const MARGIN: TimeDelta = TimeDelta::seconds(30);
/// A token that lives as short as the margin serves for this long.
const LEAST_USE: TimeDelta = TimeDelta::seconds(1);
/// After a failed fetch, so that every call does not become a request to an issuer in trouble.
const PAUSE: Duration = Duration::from_secs(1);
/// A token that a peer refuses is given up only when it is older than this; else the refusal is not about its age.
const YOUNG: Duration = Duration::from_secs(10);
const LARGEST_ANSWER: usize = 64 * 1024;

/// Access tokens of our own OAuth client, one an audience: client credentials (RFC 6749 4.4) with a signed assertion for
/// the secret (RFC 7523). Clones share them.
#[derive(Clone)]
pub(crate) struct OwnTokens(Arc<Inner>);

struct Inner {
    issuer: String,
    client_id: String,
    key_path: Option<PathBuf>,
    http: reqwest::Client,
    clock: Clock,
    // Whoever holds a slot fetches; the others wait for what comes of it.
    slots: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Slot>>>>,
}

#[derive(Default)]
struct Slot {
    held: Option<Held>,
    failed: Option<(Instant, String)>,
}

struct Held {
    token: String,
    fetched_at: Instant,
    use_until: DateTime<Utc>,
}

impl OwnTokens {
    pub(crate) fn new(settings: &AuthSettings, client_id: &str, http: reqwest::Client, clock: Clock) -> Self {
        let key_path = settings.client_key_dir.as_ref().map(|dir| dir.join(format!("{client_id}.pem")));
        Self(Arc::new(Inner {
            issuer: settings.issuer_text().to_owned(),
            client_id: client_id.to_owned(),
            key_path,
            http,
            clock,
            slots: Mutex::default(),
        }))
    }

    /// A token for this audience, from the cache or new.
    ///
    /// # Errors
    /// The issuer is away or refuses, or the key cannot be read. It is not asked again for a second.
    pub(crate) async fn token(&self, audience: &str) -> Result<String, PeerError> {
        let slot = self.slot(audience);
        let mut slot = slot.lock().await;
        if let Some(held) = &slot.held
            && self.0.clock.now() < held.use_until
        {
            return Ok(held.token.clone());
        }
        if let Some((at, why)) = &slot.failed
            && at.elapsed() < PAUSE
        {
            return Err(PeerError::Token(why.clone()));
        }
        match self.fetch(audience).await {
            Ok(held) => {
                let token = held.token.clone();
                *slot = Slot { held: Some(held), failed: None };
                Ok(token)
            }
            Err(error) => {
                tracing::warn!(audience, error = crate::code::chain(&error), "no access token");
                *slot = Slot { held: None, failed: Some((Instant::now(), error.to_string())) };
                Err(error)
            }
        }
    }

    /// Gives up a token that a peer refused: the issuer may have lost or withdrawn what it stands on.
    pub(crate) async fn refused(&self, audience: &str, token: &str) {
        let slot = self.slot(audience);
        let mut slot = slot.lock().await;
        if slot.held.as_ref().is_some_and(|held| held.token == token && held.fetched_at.elapsed() >= YOUNG) {
            slot.held = None;
        }
    }

    /// A signed statement that we are our OAuth client, for the issuer (RFC 7523 3). Good for a minute, and once.
    ///
    /// # Errors
    /// The key cannot be read. It is read each time, so that a new one needs no restart.
    pub(crate) fn client_assertion(&self) -> Result<String, PeerError> {
        let inner = &*self.0;
        let path = inner
            .key_path
            .as_ref()
            .ok_or_else(|| PeerError::Key("no directory of keys is set".to_owned()))?;
        let unusable = |why: &dyn std::error::Error| PeerError::Key(format!("{}: {why}", path.display()));
        let pem = std::fs::read(path).map_err(|error| unusable(&error))?;
        let key = EncodingKey::from_ec_pem(&pem).map_err(|error| unusable(&error))?;
        let jwk = Jwk::from_encoding_key(&key, Algorithm::ES256).map_err(|error| unusable(&error))?;

        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(jwk.thumbprint(ThumbprintHash::SHA256).map_err(|error| unusable(&error))?);
        let now = inner.clock.now();
        let claims = json!({
            "iss": inner.client_id,
            "sub": inner.client_id,
            "aud": inner.issuer,
            "jti": new_id().to_string(),
            "iat": now.timestamp(),
            "exp": (now + ASSERTION_LIFE).timestamp(),
        });
        jsonwebtoken::encode(&header, &claims, &key).map_err(|error| unusable(&error))
    }

    fn slot(&self, audience: &str) -> Arc<tokio::sync::Mutex<Slot>> {
        let mut slots = self.0.slots.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(slots.entry(audience.to_owned()).or_default())
    }

    async fn fetch(&self, audience: &str) -> Result<Held, PeerError> {
        #[derive(Deserialize)]
        struct Answer {
            access_token: String,
            expires_in: i64,
        }

        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", &self.0.client_id),
            ("client_assertion_type", ASSERTION_TYPE),
            ("client_assertion", &self.client_assertion()?),
            // RFC 8707; without `scope` the token has all that the client is registered for there.
            ("resource", audience),
        ];
        let request = self.0.http.post(format!("{}/oauth2/token", self.0.issuer)).form(&form);
        let answer = request.send().await.map_err(|error| PeerError::Token(crate::code::chain(&error)))?;
        let status = answer.status();
        let body = read_bounded(answer, LARGEST_ANSWER).await;
        let body = body.map_err(|error| PeerError::Token(crate::code::chain(&*error)))?;
        if !status.is_success() {
            let refusal: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
            let why = refusal["error"].as_str().unwrap_or("no reason given");
            return Err(PeerError::Token(format!("the issuer answered {status}, {}", brief(why))));
        }
        // The parser's own words could quote the token.
        let answer: Answer = serde_json::from_slice(&body)
            .map_err(|_| PeerError::Token("the issuer's answer cannot be read".to_owned()))?;
        let life = TimeDelta::seconds(answer.expires_in.clamp(0, 86_400));
        let use_until = self.0.clock.now() + (life - MARGIN).max(LEAST_USE);
        Ok(Held { token: answer.access_token, fetched_at: Instant::now(), use_until })
    }
}

// Somebody else's words, for a log.
fn brief(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(80).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
    use axum::{Form, Json, http::StatusCode, routing::post};
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use jsonwebtoken::{DecodingKey, Validation};
    use serde_json::Value;

    use super::*;
    use crate::{Code, Coded as _};

    type Fields = HashMap<String, String>;

    /// A token endpoint that counts what it is asked, and a directory with one key.
    struct World {
        tokens: OwnTokens,
        clock: Clock,
        asked: Arc<Mutex<Vec<Fields>>>,
        jwk: Jwk,
        dir: PathBuf,
    }

    impl World {
        async fn start(
            answer: impl Fn(usize) -> (StatusCode, Value) + Clone + Send + Sync + 'static,
        ) -> Self {
            let dir = std::env::temp_dir().join(format!("chassis-{}", new_id()));
            std::fs::create_dir(&dir).unwrap();
            let jwk = write_key(&dir);
            let (asked, count) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
            let noted = Arc::clone(&asked);
            let token = move |Form(fields): Form<Fields>| {
                noted.lock().unwrap().push(fields);
                let (status, body) = answer(count.fetch_add(1, Ordering::SeqCst) + 1);
                async move { (status, Json(body)) }
            };
            let router = axum::Router::new().route("/oauth2/token", post(token));
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let issuer = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
            tokio::spawn(async move { axum::serve(listener, router).await });
            let settings = AuthSettings { issuer, jwks_url: None, client_key_dir: Some(dir.clone()) };
            let clock = Clock::fixed(DateTime::from_timestamp(1_784_000_000, 0).unwrap());
            let tokens = OwnTokens::new(&settings, "mailer", reqwest::Client::new(), clock.clone());
            Self { tokens, clock, asked, jwk, dir }
        }

        fn asked(&self) -> usize {
            self.asked.lock().unwrap().len()
        }
    }

    impl Drop for World {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }

    fn write_key(dir: &std::path::Path) -> Jwk {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let der = key.to_pkcs8v1().unwrap();
        let pem = format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            STANDARD.encode(der.as_ref())
        );
        std::fs::write(dir.join("mailer.pem"), pem).unwrap();
        Jwk::from_encoding_key(&EncodingKey::from_ec_der(der.as_ref()), Algorithm::ES256).unwrap()
    }

    fn numbered(count: usize) -> (StatusCode, Value) {
        (StatusCode::OK, json!({"access_token": format!("token {count}"), "expires_in": 300}))
    }

    #[tokio::test]
    async fn an_assertion_says_who_we_are_to_the_issuer_alone() {
        let world = World::start(numbered).await;
        let read = |assertion: &str, jwk: &Jwk| {
            let mut validation = Validation::new(Algorithm::ES256);
            validation.validate_exp = false;
            validation.set_audience(&[&world.tokens.0.issuer]);
            jsonwebtoken::decode::<Value>(assertion, &DecodingKey::from_jwk(jwk).unwrap(), &validation)
        };
        let first = world.tokens.client_assertion().unwrap();
        let token = read(&first, &world.jwk).unwrap();
        assert_eq!(token.header.kid, Some(world.jwk.thumbprint(ThumbprintHash::SHA256).unwrap()));
        let now = world.clock.now().timestamp();
        assert_eq!((&token.claims["iss"], &token.claims["sub"]), (&json!("mailer"), &json!("mailer")));
        assert_eq!((&token.claims["iat"], &token.claims["exp"]), (&json!(now), &json!(now + 60)));

        let second = read(&world.tokens.client_assertion().unwrap(), &world.jwk).unwrap();
        assert_ne!(token.claims["jti"], second.claims["jti"]);

        // A new key is used without a restart.
        let next = write_key(&world.dir);
        assert!(read(&world.tokens.client_assertion().unwrap(), &next).is_ok());
    }

    #[tokio::test]
    async fn a_token_is_asked_for_once_an_audience_and_again_before_its_end() {
        let world = World::start(numbered).await;
        let many = (0..20).map(|_| world.tokens.token("kotinos.profile"));
        for token in futures::future::join_all(many).await {
            assert_eq!(token.unwrap(), "token 1");
        }
        assert_eq!(world.tokens.token("kotinos.segmentation").await.unwrap(), "token 2");
        world.clock.advance(TimeDelta::seconds(269));
        assert_eq!(world.tokens.token("kotinos.profile").await.unwrap(), "token 1");
        world.clock.advance(TimeDelta::seconds(1));
        assert_eq!(world.tokens.token("kotinos.profile").await.unwrap(), "token 3");

        let asked = world.asked.lock().unwrap();
        let audiences: Vec<&str> = asked.iter().map(|fields| fields["resource"].as_str()).collect();
        assert_eq!(audiences, ["kotinos.profile", "kotinos.segmentation", "kotinos.profile"]);
        assert_eq!(asked[0]["grant_type"], "client_credentials");
        assert_eq!(asked[0]["client_id"], "mailer");
        assert_eq!(asked[0]["client_assertion_type"], ASSERTION_TYPE);
        assert!(!asked[0].contains_key("scope"));
    }

    #[tokio::test]
    async fn a_refusal_is_told_and_not_asked_for_again_at_once() {
        let refuse = |_| (StatusCode::UNAUTHORIZED, json!({"error": "invalid_client"}));
        let world = World::start(refuse).await;
        for _ in 0..3 {
            let error = world.tokens.token("kotinos.profile").await.unwrap_err();
            assert_eq!(error.code(), Code::Unavailable);
            assert!(error.to_string().contains("invalid_client"), "{error}");
        }
        assert_eq!(world.asked(), 1);
    }

    #[tokio::test]
    async fn an_answer_without_a_token_is_an_error_that_does_not_quote_it() {
        let world = World::start(|_| (StatusCode::OK, json!({"access_token": 42_424_242}))).await;
        let error = world.tokens.token("kotinos.profile").await.unwrap_err();
        assert!(!format!("{error} {error:?}").contains("42424242"), "{error}");
    }

    #[tokio::test]
    async fn a_key_that_is_not_there_is_named_by_its_path() {
        let world = World::start(numbered).await;
        std::fs::remove_file(world.dir.join("mailer.pem")).unwrap();
        let error = world.tokens.token("kotinos.profile").await.unwrap_err();
        assert!(error.to_string().contains("mailer.pem"), "{error}");
        assert_eq!((error.code(), world.asked()), (Code::Unavailable, 0));
    }

    #[tokio::test]
    async fn a_fresh_token_survives_a_refusal() {
        let world = World::start(numbered).await;
        let token = world.tokens.token("kotinos.profile").await.unwrap();
        world.tokens.refused("kotinos.profile", &token).await;
        assert_eq!(world.tokens.token("kotinos.profile").await.unwrap(), token);
    }
}
