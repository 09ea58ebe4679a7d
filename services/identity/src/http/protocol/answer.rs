use std::time::Duration;

use axum::{
    Json,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use crate::app::Refusal;

/// An error answer (RFC 6749 5.2).
#[derive(Debug)]
pub struct Wrong {
    status: StatusCode,
    error: &'static str,
    description: &'static str,
    challenge: Option<HeaderValue>,
    retry_after: Option<Duration>,
}

impl Wrong {
    /// With a code and words for the client's engineers.
    pub const fn new(status: StatusCode, error: &'static str, description: &'static str) -> Self {
        Self { status, error, description, challenge: None, retry_after: None }
    }

    /// A request that cannot be read.
    pub const fn request(description: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", description)
    }

    /// With a WWW-Authenticate header.
    pub fn challenging(mut self, challenge: HeaderValue) -> Self {
        self.challenge = Some(challenge);
        self
    }

    /// With a Retry-After header.
    pub const fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }
}

// A fault of ours is logged here, once.
impl From<Refusal> for Wrong {
    fn from(refusal: Refusal) -> Self {
        let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if status.is_server_error() {
            tracing::error!(error = &refusal as &dyn std::error::Error, %status, "protocol request failed");
        }
        let wrong = Self {
            retry_after: refusal.retry_after(),
            ..Self::new(status, refusal.error(), refusal.description())
        };
        if status != StatusCode::UNAUTHORIZED {
            return wrong;
        }
        wrong.challenging(HeaderValue::from_static("Basic realm=\"kotinos\", charset=\"UTF-8\""))
    }
}

#[derive(Serialize)]
struct Body {
    error: &'static str,
    error_description: &'static str,
}

impl IntoResponse for Wrong {
    fn into_response(self) -> Response {
        let body = Body { error: self.error, error_description: self.description };
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        guard(headers);
        if let Some(challenge) = self.challenge {
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        if let Some(wait) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
        }
        response
    }
}

/// An answer that nobody may keep (RFC 6749 5.1).
pub fn fresh(body: impl Serialize) -> Response {
    let mut response = Json(body).into_response();
    guard(response.headers_mut());
    response
}

/// An answer that anybody may keep for five minutes.
pub fn kept(body: impl Serialize) -> Response {
    let mut response = fresh(body);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    headers.remove(header::PRAGMA);
    response
}

/// Headers of every answer here.
pub fn guard(headers: &mut HeaderMap) {
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(
        header::STRICT_TRANSPORT_SECURITY,
        HeaderValue::from_static("max-age=31536000; includeSubDomains"),
    );
}
