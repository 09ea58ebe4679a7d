use std::time::Duration;

use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
};
use chassis::{Code, Coded};

use super::{
    Answer, Body,
    answer::{self, Wrong},
    form, text,
};
use crate::app::{App, UserinfoError};

/// GET `/oauth2/userinfo`: the token is in the Authorization header (RFC 6750 2.1).
pub async fn by_header(State(app): State<App>, headers: HeaderMap) -> Answer {
    let token = bearer(&headers)?.ok_or_else(missing)?;
    answer(&app, token).await
}

/// POST `/oauth2/userinfo`: the token is there or in the body (RFC 6750 2.2), never in both.
pub async fn by_body(State(app): State<App>, headers: HeaderMap, body: Body) -> Answer {
    let in_header = bearer(&headers)?;
    // A POST with the token in its header may have no body at all.
    if let Some(token) = in_header
        && !headers.contains_key(header::CONTENT_TYPE)
    {
        return answer(&app, token).await;
    }
    let params = form(&headers, body)?;
    match (in_header, params.get("access_token")) {
        (Some(token), None) | (None, Some(token)) => answer(&app, token).await,
        (Some(_), Some(_)) => {
            Err(challenge(StatusCode::BAD_REQUEST, "invalid_request", "the access token comes twice"))
        }
        (None, None) => Err(missing()),
    }
}

fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Wrong> {
    let Some(value) = text(headers, header::AUTHORIZATION)? else { return Ok(None) };
    let token = value.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    token.map(|(_, token)| Some(token.trim())).ok_or_else(missing)
}

async fn answer(app: &App, token: &str) -> Answer {
    Ok(answer::fresh(app.userinfo(token).await?))
}

impl From<UserinfoError> for Wrong {
    fn from(error: UserinfoError) -> Self {
        match &error {
            UserinfoError::InvalidToken => {
                challenge(StatusCode::UNAUTHORIZED, "invalid_token", "the access token is not valid here")
            }
            UserinfoError::InsufficientScope => challenge(
                StatusCode::FORBIDDEN,
                "insufficient_scope",
                "the access token lacks the scope openid",
            ),
            UserinfoError::Failed(inner) if inner.code() == Code::Internal => {
                tracing::error!(error = &error as &dyn std::error::Error, "userinfo failed");
                Self::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "server_error",
                    "the request could not be answered",
                )
            }
            UserinfoError::Profile(_) | UserinfoError::Failed(_) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "userinfo is not available");
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", "try again later")
                    .retry_after(Duration::from_secs(1))
            }
        }
    }
}

// RFC 6750 3: the header names no error where no token came.
fn missing() -> Wrong {
    Wrong::new(StatusCode::UNAUTHORIZED, "invalid_request", "the access token is missing")
        .challenging(HeaderValue::from_static("Bearer realm=\"kotinos\""))
}

fn challenge(status: StatusCode, error: &'static str, description: &'static str) -> Wrong {
    let wrong = Wrong::new(status, error, description);
    let text = format!("Bearer realm=\"kotinos\", error=\"{error}\", error_description=\"{description}\"");
    // Our own words only, so that it is a header value.
    match HeaderValue::try_from(text) {
        Ok(header) => wrong.challenging(header),
        Err(_) => wrong,
    }
}
