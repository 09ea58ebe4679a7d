use std::time::Duration;

use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
};
use chassis::{Code, Coded};

use super::{
    Answer, Body,
    answer::{self, Wrong},
    dpop, form, text,
};
use crate::{
    app::{App, ProofError, UserinfoError},
    dpop::ALGORITHMS,
};

const PATH: &str = "/oauth2/userinfo";

/// How a token is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scheme {
    /// RFC 6750
    Bearer,
    /// RFC 9449 7.1
    Dpop,
}

/// GET `/oauth2/userinfo`: the token is in the Authorization header (RFC 6750 2.1, RFC 9449 7.1).
pub async fn by_header(State(app): State<App>, headers: HeaderMap) -> Answer {
    let (scheme, token) = in_header(&headers)?.ok_or_else(missing)?;
    answer(&app, scheme, token, &headers, "GET").await
}

/// POST `/oauth2/userinfo`: the token is there or in the body (RFC 6750 2.2), never in both.
pub async fn by_body(State(app): State<App>, headers: HeaderMap, body: Body) -> Answer {
    let in_header = in_header(&headers)?;
    // A POST with the token in its header may have no body at all.
    if let Some((scheme, token)) = in_header
        && !headers.contains_key(header::CONTENT_TYPE)
    {
        return answer(&app, scheme, token, &headers, "POST").await;
    }
    let params = form(&headers, body)?;
    match (in_header, params.get("access_token")) {
        (Some((scheme, token)), None) => answer(&app, scheme, token, &headers, "POST").await,
        (None, Some(token)) => answer(&app, Scheme::Bearer, token, &headers, "POST").await,
        (Some((scheme, _)), Some(_)) => {
            Err(challenge(scheme, StatusCode::BAD_REQUEST, "invalid_request", "the access token comes twice"))
        }
        (None, None) => Err(missing()),
    }
}

fn in_header(headers: &HeaderMap) -> Result<Option<(Scheme, &str)>, Wrong> {
    let Some(value) = text(headers, header::AUTHORIZATION)? else { return Ok(None) };
    let (scheme, token) = value.split_once(' ').ok_or_else(missing)?;
    let scheme = match scheme {
        bearer if bearer.eq_ignore_ascii_case("bearer") => Scheme::Bearer,
        dpop if dpop.eq_ignore_ascii_case("dpop") => Scheme::Dpop,
        _ => return Err(missing()),
    };
    Ok(Some((scheme, token.trim())))
}

async fn answer(app: &App, scheme: Scheme, token: &str, headers: &HeaderMap, method: &str) -> Answer {
    let claims = async {
        let jkt = match scheme {
            Scheme::Bearer => None,
            Scheme::Dpop => Some(proven_key(app, token, headers, method)?),
        };
        app.userinfo(token, jkt.as_deref()).await
    };
    Ok(answer::fresh(claims.await.map_err(|error| wrong(scheme, &error))?))
}

fn proven_key(app: &App, token: &str, headers: &HeaderMap, method: &str) -> Result<String, UserinfoError> {
    let shown = dpop::shown(headers, method, PATH)?;
    let jkt = app.proven_key(&shown, Some(token))?;
    Ok(jkt.ok_or(ProofError::Invalid("a proof is missing"))?)
}

fn wrong(scheme: Scheme, error: &UserinfoError) -> Wrong {
    match error {
        UserinfoError::InvalidToken => {
            challenge(scheme, StatusCode::UNAUTHORIZED, "invalid_token", "the access token is not valid here")
        }
        UserinfoError::InsufficientScope => challenge(
            scheme,
            StatusCode::FORBIDDEN,
            "insufficient_scope",
            "the access token lacks the scope openid",
        ),
        UserinfoError::Proof(ProofError::NoRoom) => not_now(error),
        UserinfoError::Proof(proof) => {
            challenge(scheme, StatusCode::UNAUTHORIZED, proof.error(), proof.description())
        }
        UserinfoError::Failed(inner) if inner.code() == Code::Internal => {
            tracing::error!(error = error as &dyn std::error::Error, "userinfo failed");
            Wrong::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", "the request could not be answered")
        }
        UserinfoError::Profile(_) | UserinfoError::Failed(_) => not_now(error),
    }
}

fn not_now(error: &UserinfoError) -> Wrong {
    tracing::warn!(error = error as &dyn std::error::Error, "userinfo is not available");
    Wrong::new(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", "try again later")
        .retry_after(Duration::from_secs(1))
}

// RFC 6750 3: the header names no error where no token came.
fn missing() -> Wrong {
    let text = format!("Bearer realm=\"kotinos\", {}", dpop_challenge());
    challenging(Wrong::new(StatusCode::UNAUTHORIZED, "invalid_request", "the access token is missing"), &text)
}

// The error belongs to the scheme that was tried; the other one is offered beside it (RFC 9449 7.2).
fn challenge(scheme: Scheme, status: StatusCode, error: &'static str, description: &'static str) -> Wrong {
    let fault = format!("error=\"{error}\", error_description=\"{description}\"");
    let text = match scheme {
        Scheme::Bearer => format!("Bearer realm=\"kotinos\", {fault}, {}", dpop_challenge()),
        Scheme::Dpop => format!("{}, {fault}", dpop_challenge()),
    };
    challenging(Wrong::new(status, error, description), &text)
}

fn dpop_challenge() -> String {
    format!("DPoP realm=\"kotinos\", algs=\"{}\"", ALGORITHMS.join(" "))
}

fn challenging(wrong: Wrong, text: &str) -> Wrong {
    // Our own words only, so that it is a header value.
    match HeaderValue::try_from(text) {
        Ok(header) => wrong.challenging(header),
        Err(_) => wrong,
    }
}
