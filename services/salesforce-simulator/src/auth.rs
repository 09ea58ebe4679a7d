//! The OAuth JWT bearer flow (RFC 7523, section 3; Salesforce help "OAuth 2.0 JWT Bearer Flow"), and the sessions that
//! come of it.

use std::collections::HashMap;

use anyhow::Context as _;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use serde_json::Value as Json;

/// The only grant type served.
pub const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// An assertion may not live longer than this.
const MAX_LIFE: TimeDelta = TimeDelta::minutes(5);
/// Bytes of an assertion that are looked at.
const MAX_ASSERTION: usize = 16 * 1024;
/// Sessions kept; past it those that end first go.
const MAX_SESSIONS: usize = 10_000;

/// `{"error", "error_description"}`, status 400.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OAuthError {
    pub error: &'static str,
    pub description: &'static str,
}

const fn refused(error: &'static str, description: &'static str) -> OAuthError {
    OAuthError { error, description }
}

/// A connected app whose certificate is on file and that one user is approved for.
pub struct ConnectedApp {
    key: DecodingKey,
    client_id: String,
    username: String,
    audience: Vec<String>,
}

#[derive(Deserialize)]
struct Claims {
    iss: Option<String>,
    sub: Option<String>,
    aud: Option<Json>,
    exp: Option<Json>,
}

impl ConnectedApp {
    /// # Errors
    /// A PEM that is neither an RSA certificate nor an RSA public key.
    pub fn new(pem: &str, client_id: &str, username: &str, audience: Vec<String>) -> anyhow::Result<Self> {
        let key = DecodingKey::from_rsa_pem(pem.as_bytes())
            .context("the connected app's certificate must be an RSA certificate or public key in PEM")?;
        Ok(Self { key, client_id: client_id.to_owned(), username: username.to_owned(), audience })
    }

    /// Checks an assertion in full: algorithm, signature, `iss`, `sub`, `aud`, `exp`.
    ///
    /// # Errors
    /// Salesforce's error for the first rule that is broken.
    pub fn check(&self, assertion: &str, now: DateTime<Utc>) -> Result<(), OAuthError> {
        let invalid = refused("invalid_grant", "invalid assertion");
        if assertion.len() > MAX_ASSERTION {
            return Err(invalid);
        }
        // Times are judged below by the org's clock, the audience with Salesforce's own error.
        let mut rules = Validation::new(Algorithm::RS256);
        rules.required_spec_claims.clear();
        rules.validate_exp = false;
        rules.validate_aud = false;
        let claims =
            jsonwebtoken::decode::<Claims>(assertion, &self.key, &rules).map_err(|_| invalid)?.claims;
        if claims.iss.as_deref() != Some(self.client_id.as_str()) {
            return Err(refused("invalid_client_id", "client identifier invalid"));
        }
        if !self.is_for_us(claims.aud.as_ref()) {
            return Err(refused("invalid_grant", "audience is invalid"));
        }
        if claims.sub.as_deref() != Some(self.username.as_str()) {
            return Err(refused("invalid_grant", "user hasn't approved this consumer"));
        }
        let expires = claims.exp.as_ref().and_then(seconds).and_then(|exp| DateTime::from_timestamp(exp, 0));
        let expires =
            expires.ok_or(refused("invalid_grant", "expiration time is missing or not a number"))?;
        if expires <= now {
            return Err(refused("invalid_grant", "assertion is expired"));
        }
        if expires - now > MAX_LIFE {
            return Err(refused("invalid_grant", "expiration time must be within 5 minutes"));
        }
        Ok(())
    }

    fn is_for_us(&self, aud: Option<&Json>) -> bool {
        let known =
            |value: &Json| value.as_str().is_some_and(|aud| self.audience.iter().any(|ours| ours == aud));
        match aud {
            Some(Json::Array(several)) => several.iter().any(known),
            Some(one) => known(one),
            None => false,
        }
    }
}

/// Salesforce's own samples send `exp` as text.
fn seconds(value: &Json) -> Option<i64> {
    match value {
        Json::Number(number) => number.as_i64(),
        Json::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// Access tokens and when they end.
#[derive(Debug, Default)]
pub struct Sessions {
    ends: HashMap<String, DateTime<Utc>>,
}

impl Sessions {
    /// Opens a session and returns its token, shaped as Salesforce's: organization id, `!`, opaque rest.
    ///
    /// # Errors
    /// The machine gave no random bytes.
    pub fn open(&mut self, org_id: &str, now: DateTime<Utc>, seconds: u32) -> Result<String, OAuthError> {
        let mut bytes = [0u8; 64];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| refused("unknown_error", "retry your request"))?;
        let token =
            format!("{}!AQ{}", org_id.get(..15).unwrap_or(org_id), BASE64_URL_SAFE_NO_PAD.encode(bytes));
        self.ends.retain(|_, end| *end > now);
        while self.ends.len() >= MAX_SESSIONS {
            let first = self.ends.iter().min_by_key(|(_, end)| **end).map(|(token, _)| token.clone());
            first.and_then(|token| self.ends.remove(&token));
        }
        self.ends.insert(token.clone(), now + TimeDelta::seconds(i64::from(seconds)));
        Ok(token)
    }

    #[must_use]
    pub fn is_open(&self, token: &str, now: DateTime<Utc>) -> bool {
        self.ends.get(token).is_some_and(|end| *end > now)
    }

    /// Ends every session, as an administrator can.
    pub fn revoke_all(&mut self) {
        self.ends.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Signed once with a key that was thrown away: iss `app`, sub `user@example.org`,
    /// aud `https://login.salesforce.com`, exp 1800000000.
    const ASSERTION: &str = include_str!("../tests/it/assertion.jwt");
    const CERTIFICATE: &str = include_str!("../tests/it/certificate.pem");
    const EXPIRES: i64 = 1_800_000_000;

    fn app(client_id: &str, username: &str, audience: &str) -> ConnectedApp {
        ConnectedApp::new(CERTIFICATE, client_id, username, vec![audience.into()]).unwrap()
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    #[test]
    fn a_certificate_is_as_good_as_a_public_key() {
        let app = app("app", "user@example.org", "https://login.salesforce.com");
        assert_eq!(app.check(ASSERTION.trim(), at(EXPIRES - 180)), Ok(()));
    }

    #[test]
    fn each_rule_has_its_own_error() {
        let (user, host) = ("user@example.org", "https://login.salesforce.com");
        let check = |app: &ConnectedApp, now| app.check(ASSERTION.trim(), at(now)).unwrap_err().description;
        assert_eq!(check(&app("app", user, host), EXPIRES), "assertion is expired");
        assert_eq!(check(&app("app", user, host), EXPIRES - 301), "expiration time must be within 5 minutes");
        assert_eq!(check(&app("other", user, host), EXPIRES - 9), "client identifier invalid");
        assert_eq!(check(&app("app", "bob", host), EXPIRES - 9), "user hasn't approved this consumer");
        assert_eq!(
            check(&app("app", user, "https://test.salesforce.com"), EXPIRES - 9),
            "audience is invalid"
        );
        let cut = &ASSERTION.trim()[..ASSERTION.trim().len() - 4];
        assert_eq!(
            app("app", user, host).check(cut, at(EXPIRES - 9)).unwrap_err().description,
            "invalid assertion"
        );
    }

    #[test]
    fn a_session_ends_by_the_clock() {
        let mut sessions = Sessions::default();
        let token = sessions.open("00D5g0000000001EAA", at(0), 60).unwrap();
        assert!(sessions.is_open(&token, at(59)));
        assert!(!sessions.is_open(&token, at(60)));
        assert!(!sessions.is_open("00D5g0000000001!", at(0)));
    }
}
