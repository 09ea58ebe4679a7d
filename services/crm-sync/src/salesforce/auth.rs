//! Sessions by the JWT bearer flow (RFC 7523 section 3): RS256, three minutes, by the org's clock.

use std::{fmt, sync::Arc, sync::atomic::Ordering};

use http::StatusCode;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::{Deserialize, Serialize};

use super::{Client, Error, MAX_JSON, QUICK, read, retry_after};

/// Life of an assertion in seconds; the org takes at most five minutes.
const LIFE: i64 = 180;
const LONGEST_CODE: usize = 60;

/// The private key of the connected app; there may be none.
#[derive(Clone, Default)]
pub struct SigningKey(Option<Arc<EncodingKey>>);

/// What a sign-in gives.
pub(super) struct Session {
    pub(super) token: String,
    /// Without a slash at the end.
    pub(super) instance_url: String,
    pub(super) host: String,
    pub(super) user_id: String,
}

#[derive(Serialize)]
struct Assertion<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    exp: i64,
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    instance_url: String,
    id: String,
}

impl SigningKey {
    /// Reads an RSA private key in PEM (PKCS#8 or PKCS#1).
    ///
    /// # Errors
    /// [`Error::Key`]
    pub fn from_pem(pem: &str) -> Result<Self, Error> {
        let key = EncodingKey::from_rsa_pem(pem.as_bytes()).map_err(|_| Error::Key)?;
        Ok(Self(Some(Arc::new(key))))
    }

    /// Whether there is one.
    #[must_use]
    pub const fn is_set(&self) -> bool {
        self.0.is_some()
    }
}

impl Client {
    pub(super) async fn session(&self) -> Result<Arc<Session>, Error> {
        // Held over the call: one sign-in at a time, and the others wait for its session.
        let mut session = self.shared.session.lock().await;
        if let Some(session) = &*session {
            return Ok(Arc::clone(session));
        }
        // A refused first try tells the org's time, so that a clock that is off costs one call.
        let fresh = match self.ask_token().await {
            Err(Error::SignIn { .. }) => self.ask_token().await?,
            other => other?,
        };
        let fresh = Arc::new(fresh);
        *session = Some(Arc::clone(&fresh));
        Ok(fresh)
    }

    /// Drops a session that the org no longer takes, unless somebody has renewed it.
    pub(super) async fn forget(&self, old: &Session) {
        let mut session = self.shared.session.lock().await;
        if session.as_ref().is_some_and(|session| session.token == old.token) {
            *session = None;
        }
    }

    async fn ask_token(&self) -> Result<Session, Error> {
        let settings = &self.shared.settings;
        let key = self.shared.key.0.as_ref().ok_or(Error::Key)?;
        let skew = self.shared.skew.load(Ordering::Relaxed);
        let assertion = Assertion {
            iss: &settings.client_id,
            sub: &settings.username,
            aud: &settings.audience,
            exp: self.shared.clock.now().timestamp() + skew + LIFE,
        };
        let assertion =
            jsonwebtoken::encode(&Header::new(Algorithm::RS256), &assertion, key).map_err(|_| Error::Key)?;
        let form = [("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"), ("assertion", &assertion)];
        let url = format!("{}/services/oauth2/token", settings.login_url);
        let sent = self.shared.http.post(url).form(&form).timeout(QUICK).send().await;
        let response = sent.map_err(|error| Error::Unanswered(error.without_url()))?;
        self.note(response.headers());
        let (status, patience) = (response.status(), retry_after(response.headers()));
        let body = read(response, MAX_JSON).await?;
        if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
            return Err(Error::Busy { code: "SIGN_IN".to_owned(), retry_after: patience });
        }
        if !status.is_success() {
            return Err(Error::SignIn { code: refused(&body) });
        }
        let granted: Granted =
            serde_json::from_slice(&body).map_err(|_| Error::Malformed { what: "token" })?;
        granted.session()
    }
}

impl Granted {
    fn session(self) -> Result<Session, Error> {
        let wrong = || Error::Malformed { what: "token" };
        let url = url::Url::parse(&self.instance_url).map_err(|_| wrong())?;
        let host = url.host_str().ok_or_else(wrong)?.to_owned();
        // Only an origin: calls add their own paths. Which hosts may be called is the HTTP client's rule.
        let plain = url.username().is_empty() && url.query().is_none() && url.path() == "/";
        let token_is_text =
            !self.access_token.is_empty() && self.access_token.bytes().all(|byte| byte.is_ascii_graphic());
        if !matches!(url.scheme(), "https" | "http") || !plain || !token_is_text {
            return Err(wrong());
        }
        let user_id = self.id.rsplit('/').next().unwrap_or_default().to_owned();
        let instance_url = url.as_str().trim_end_matches('/').to_owned();
        Ok(Session { token: self.access_token, instance_url, host, user_id })
    }
}

// RFC 6749 section 5.2: `error` is a short code.
fn refused(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Refused {
        error: String,
    }
    let code = serde_json::from_slice::<Refused>(body).map(|refused| refused.error).unwrap_or_default();
    let right = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    if (1..=LONGEST_CODE).contains(&code.len()) && code.bytes().all(right) {
        code
    } else {
        "unknown".to_owned()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_set() { "SigningKey([secret])" } else { "SigningKey(none)" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(instance_url: &str, token: &str) -> Result<Session, Error> {
        let id = "https://login.example.org/id/00D/005".to_owned();
        Granted { access_token: token.to_owned(), instance_url: instance_url.to_owned(), id }.session()
    }

    #[test]
    fn a_session_names_its_user_and_host() {
        let session = granted("https://ioc.my.example.org", "00D!AQ").unwrap();
        assert_eq!((session.user_id.as_str(), session.host.as_str()), ("005", "ioc.my.example.org"));
        assert_eq!(session.instance_url, "https://ioc.my.example.org");
    }

    #[test]
    fn an_instance_url_that_is_no_origin_is_refused() {
        for url in [
            "",
            "ftp://x.org",
            "https://user@x.org",
            "https://x.org/path",
            "https://x.org?q=1",
            "javascript:1",
        ] {
            assert!(granted(url, "00D!AQ").is_err(), "{url}");
        }
        assert!(granted("https://x.org", "a\r\nb").is_err());
    }

    #[test]
    fn a_refusal_is_a_code() {
        assert_eq!(
            refused(br#"{"error":"invalid_grant","error_description":"user alice"}"#),
            "invalid_grant"
        );
        assert_eq!(refused(br#"{"error":"alice@example.org"}"#), "unknown");
        assert_eq!(refused(b"<html>"), "unknown");
    }
}
