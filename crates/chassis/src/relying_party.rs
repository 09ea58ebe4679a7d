//! The relying party's side of OpenID Connect: discovery, code with PKCE, tokens, ID token, logout token, and what of a
//! sign-in travels in cookies. One party is one OAuth client of the issuer that this process trusts; it proves itself by
//! the service's own key.

mod cookie;
mod cookie_key;
mod error;
mod sign_in;

use std::{sync::Arc, time::Duration};

use domain::{DateTime, UserId, Utc};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header, jwk::JwkSet};
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use tokio::{sync::Mutex, time::Instant};
use url::Url;

pub use cookie::{cookie, set_cookie};
pub use cookie_key::{CookieKey, NotOpened};
pub use error::Error;
pub use sign_in::{SignIn, local_path};

use crate::Process;

/// Largest answer of the issuer that is read.
const LARGEST_ANSWER: usize = 64 * 1024;
/// How long metadata and keys are kept.
const KEPT: Duration = Duration::from_secs(300);
/// An unknown key id makes us look again, but not more often than this.
const SOONEST: Duration = Duration::from_secs(5);

/// Seconds by which clocks may differ.
const LEEWAY: i64 = 30;
/// Names a logout token (OpenID Connect Back-Channel Logout 1.0, section 2.4).
const LOGOUT_EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// What is used of the issuer's metadata (OpenID Connect Discovery 1.0, section 3).
#[derive(Debug, Clone, Deserialize)]
pub struct Metadata {
    issuer: String,
    #[serde(deserialize_with = "url")]
    authorization_endpoint: Url,
    #[serde(deserialize_with = "url")]
    token_endpoint: Url,
    #[serde(deserialize_with = "url")]
    jwks_uri: Url,
    #[serde(deserialize_with = "url")]
    end_session_endpoint: Url,
}

/// Tokens of somebody who is signed in.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Tokens {
    /// For calls on their behalf.
    pub access_token: String,
    /// For the next access token.
    pub refresh_token: Option<String>,
    /// The hint of the logout.
    pub id_token: String,
}

/// What the ID token says.
#[derive(Debug, Clone)]
pub struct SignedIn {
    /// Who.
    pub user_id: UserId,
    /// The session at the issuer.
    pub sid: String,
}

/// What a logout token says.
#[derive(Debug, Clone)]
pub struct LoggedOut {
    /// Who, where it names somebody.
    pub user_id: Option<UserId>,
    /// The session at the issuer, where it names one.
    pub sid: Option<String>,
    /// The end of the second in which it was made.
    pub issued_by: DateTime<Utc>,
}

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: String,
    expires_in: i64,
    refresh_token: Option<String>,
    id_token: Option<String>,
}

#[derive(Deserialize)]
struct IdClaims {
    sub: String,
    azp: Option<String>,
    nonce: Option<String>,
    #[serde(default)]
    sid: String,
}

#[derive(Deserialize)]
struct LogoutClaims {
    sub: Option<String>,
    sid: Option<String>,
    iat: i64,
    // Must be there, and is not kept: a token that comes again ends nothing more.
    #[serde(rename = "jti")]
    _jti: String,
    nonce: Option<serde_json::Value>,
    events: serde_json::Map<String, serde_json::Value>,
}

#[derive(Deserialize)]
struct Lifetime {
    exp: i64,
    iat: i64,
}

/// How a relying party is registered at the issuer.
#[derive(Debug, Clone)]
pub struct Registration {
    /// The OAuth client: one that proves itself by the service's own key.
    pub client_id: &'static str,
    /// Where answers come back.
    pub redirect_uri: String,
    /// What is asked for, with `openid` in it.
    pub scopes: &'static str,
}

/// One OAuth client that lets people sign in. Clones share what was fetched.
#[derive(Debug, Clone)]
pub struct RelyingParty {
    process: Process,
    registration: Registration,
    reached_at: Option<Url>,
    known: Arc<Mutex<Option<Known>>>,
}

#[derive(Debug, Clone)]
struct Known {
    metadata: Metadata,
    keys: JwkSet,
    at: Instant,
}

impl RelyingParty {
    /// At the issuer that this process trusts, reached at the issuer's own address or at another one.
    #[must_use]
    pub fn new(process: Process, registration: Registration, reached_at: Option<Url>) -> Self {
        Self { process, registration, reached_at, known: Arc::default() }
    }

    /// The issuer's origin.
    #[must_use]
    pub fn issuer_origin(&self) -> String {
        self.process.settings().auth.issuer.origin().ascii_serialization()
    }

    /// Whether this is the issuer's name (RFC 9207 2.4).
    #[must_use]
    pub fn is_named(&self, iss: &str) -> bool {
        iss.trim_end_matches('/') == self.name()
    }

    /// Where the browser goes to sign in.
    ///
    /// # Errors
    /// The issuer does not answer.
    pub async fn authorize_url(&self, sign_in: &SignIn, locale: &str) -> Result<Url, Error> {
        let mut url = self.known(None).await?.metadata.authorization_endpoint;
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", self.registration.client_id)
            .append_pair("redirect_uri", &self.registration.redirect_uri)
            .append_pair("scope", self.registration.scopes)
            .append_pair("state", &sign_in.state)
            .append_pair("nonce", &sign_in.nonce)
            .append_pair("code_challenge", &sign_in.challenge())
            .append_pair("code_challenge_method", "S256")
            .append_pair("ui_locales", locale);
        Ok(url)
    }

    /// Where the browser goes to sign out everywhere (OpenID Connect RP-Initiated Logout 1.0).
    ///
    /// # Errors
    /// The issuer does not answer.
    pub async fn logout_url(&self, id_token: &str, return_to: &str, locale: &str) -> Result<Url, Error> {
        let mut url = self.known(None).await?.metadata.end_session_endpoint;
        url.query_pairs_mut()
            .append_pair("id_token_hint", id_token)
            .append_pair("client_id", self.registration.client_id)
            .append_pair("post_logout_redirect_uri", return_to)
            .append_pair("ui_locales", locale);
        Ok(url)
    }

    /// Redeems a code, and checks that the answer belongs to this sign-in.
    ///
    /// # Errors
    /// The issuer refuses or does not answer; the ID token does not hold.
    pub async fn redeem(
        &self,
        code: &str,
        sign_in: &SignIn,
    ) -> Result<(Tokens, SignedIn, DateTime<Utc>), Error> {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &self.registration.redirect_uri),
            ("code_verifier", &sign_in.verifier),
        ];
        let answer = self.token(&form).await?;
        let id_token = answer.id_token.ok_or_else(|| Error::Token("no ID token".to_owned()))?;
        let claims: IdClaims = self.verify(&id_token).await?;
        if claims.nonce.as_deref() != Some(&sign_in.nonce) {
            return Err(Error::Token("nonce".to_owned()));
        }
        // OpenID Connect Core 3.1.3.7: a token for several is for the party that it names.
        if claims.azp.is_some_and(|azp| azp != self.registration.client_id) {
            return Err(Error::Token("azp".to_owned()));
        }
        let user_id = claims.sub.parse().map_err(|_| Error::Token("sub".to_owned()))?;
        let until = self.until(answer.expires_in);
        let tokens =
            Tokens { access_token: answer.access_token, refresh_token: answer.refresh_token, id_token };
        Ok((tokens, SignedIn { user_id, sid: claims.sid }, until))
    }

    /// Renews the access token.
    ///
    /// # Errors
    /// The issuer refuses (the session there has ended), or does not answer.
    pub async fn renew(&self, tokens: &Tokens) -> Result<(Tokens, DateTime<Utc>), Error> {
        let refresh_token =
            tokens.refresh_token.as_deref().ok_or_else(|| Error::Refused("no refresh token".to_owned()))?;
        let answer = self.token(&[("grant_type", "refresh_token"), ("refresh_token", refresh_token)]).await?;
        let until = self.until(answer.expires_in);
        let renewed = Tokens {
            access_token: answer.access_token,
            refresh_token: answer.refresh_token.or_else(|| tokens.refresh_token.clone()),
            id_token: answer.id_token.unwrap_or_else(|| tokens.id_token.clone()),
        };
        Ok((renewed, until))
    }

    /// Reads a back-channel logout token (OpenID Connect Back-Channel Logout 1.0, section 2.6): whose session ends.
    ///
    /// # Errors
    /// The token does not hold.
    pub async fn logged_out(&self, logout_token: &str) -> Result<LoggedOut, Error> {
        let typ = decode_header(logout_token).map_err(token)?.typ;
        if typ.is_some_and(|typ| !typ.eq_ignore_ascii_case("logout+jwt") && !typ.eq_ignore_ascii_case("jwt"))
        {
            return Err(Error::Token("typ".to_owned()));
        }
        let claims: LogoutClaims = self.verify(logout_token).await?;
        // With a nonce it would be an ID token in disguise.
        if claims.nonce.is_some()
            || !claims.events.get(LOGOUT_EVENT).is_some_and(serde_json::Value::is_object)
        {
            return Err(Error::Token("events".to_owned()));
        }
        let user_id = claims.sub.and_then(|sub| sub.parse().ok());
        let sid = claims.sid.filter(|sid| !sid.is_empty());
        if user_id.is_none() && sid.is_none() {
            return Err(Error::Token("sub and sid".to_owned()));
        }
        // A token's times have no fractions: a session of the same second counts as older.
        let issued_by = DateTime::from_timestamp(claims.iat.saturating_add(1), 0);
        let issued_by = issued_by.ok_or_else(|| Error::Token("iat".to_owned()))?;
        Ok(LoggedOut { user_id, sid, issued_by })
    }

    fn name(&self) -> &str {
        self.process.settings().auth.issuer.as_str().trim_end_matches('/')
    }

    // Browsers go to the issuer; what we ask ourselves goes where we reach it.
    fn rebased(&self, url: &Url) -> Url {
        let Some(reached_at) = &self.reached_at else { return url.clone() };
        let mut rebased = reached_at.clone();
        rebased.set_path(url.path());
        rebased.set_query(url.query());
        rebased
    }

    fn until(&self, expires_in: i64) -> DateTime<Utc> {
        self.process.clock().now() + domain::TimeDelta::seconds(expires_in.clamp(0, 86_400))
    }

    async fn token(&self, form: &[(&str, &str)]) -> Result<TokenAnswer, Error> {
        let endpoint = self.rebased(&self.known(None).await?.metadata.token_endpoint);
        let assertion = self.process.client_assertion().map_err(|error| Error::Refused(error.to_string()))?;
        let mut pairs = form.to_vec();
        pairs.push(("client_id", self.registration.client_id));
        pairs.push(("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"));
        pairs.push(("client_assertion", &assertion));
        let request = self.process.http_client().post(endpoint).form(&pairs);
        let answer = request.send().await.map_err(unreachable)?;
        let status = answer.status();
        let body = crate::read_bounded(answer, LARGEST_ANSWER).await.map_err(unreachable)?;
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(unreachable);
        }
        if status.is_server_error() {
            return Err(Error::Unreachable(format!("status {status}").into()));
        }
        let refusal: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        Err(Error::Refused(refusal["error"].as_str().unwrap_or("no reason given").to_owned()))
    }

    async fn verify<C: DeserializeOwned>(&self, jwt: &str) -> Result<C, Error> {
        let header = decode_header(jwt).map_err(token)?;
        let kid = header.kid.ok_or_else(|| Error::Token("kid".to_owned()))?;
        let known = self.known(Some(&kid)).await?;
        let jwk = known.keys.find(&kid).ok_or_else(|| Error::Token("unknown kid".to_owned()))?;
        let key = DecodingKey::from_jwk(jwk).map_err(token)?;
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_audience(&[self.registration.client_id]);
        validation.set_issuer(&[&known.metadata.issuer]);
        validation.set_required_spec_claims(&["iss", "aud"]);
        // By our own clock, below.
        validation.validate_exp = false;
        let claims: serde_json::Value = decode(jwt, &key, &validation).map_err(token)?.claims;
        let lifetime = Lifetime::deserialize(&claims).map_err(|_| Error::Token("exp and iat".to_owned()))?;
        let now = self.process.clock().now().timestamp();
        if lifetime.exp + LEEWAY <= now || lifetime.iat - LEEWAY > now {
            return Err(Error::Token("expired, or not yet made".to_owned()));
        }
        C::deserialize(claims).map_err(|error| Error::Token(error.to_string()))
    }

    /// Metadata and keys; fetched again when they are old, or when a key id is not among them.
    async fn known(&self, kid: Option<&str>) -> Result<Known, Error> {
        let mut held = self.known.lock().await;
        if let Some(known) = held.as_ref() {
            let has_key = kid.is_none_or(|kid| known.keys.find(kid).is_some());
            let age = known.at.elapsed();
            if age < KEPT && (has_key || age < SOONEST) {
                return Ok(known.clone());
            }
        }
        let discovery = Url::parse(&format!("{}/.well-known/openid-configuration", self.name()));
        let metadata: Metadata = self.fetch(&discovery.map_err(unreachable)?).await?;
        if !self.is_named(&metadata.issuer) {
            return Err(Error::Token("issuer of the metadata".to_owned()));
        }
        let keys: JwkSet = self.fetch(&metadata.jwks_uri).await?;
        let known = Known { metadata, keys, at: Instant::now() };
        *held = Some(known.clone());
        Ok(known)
    }

    async fn fetch<T: DeserializeOwned>(&self, url: &Url) -> Result<T, Error> {
        let answer = self.process.http_client().get(self.rebased(url)).send().await.map_err(unreachable)?;
        let answer = answer.error_for_status().map_err(unreachable)?;
        let body = crate::read_bounded(answer, LARGEST_ANSWER).await.map_err(unreachable)?;
        serde_json::from_slice(&body).map_err(unreachable)
    }
}

fn url<'de, D: Deserializer<'de>>(text: D) -> Result<Url, D::Error> {
    String::deserialize(text)?.parse().map_err(serde::de::Error::custom)
}

fn unreachable(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Unreachable(error.into())
}

#[expect(clippy::needless_pass_by_value, reason = "it reads as `map_err(token)`")]
fn token(error: jsonwebtoken::errors::Error) -> Error {
    Error::Token(error.to_string())
}
