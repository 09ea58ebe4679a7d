//! Which scripts may read our answers: those of registered origins, without credentials of the browser (Fetch 3.2).

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use url::Url;

use super::answer;
use crate::app::App;

/// Answers preflights, and names the origin in other answers.
pub async fn allow_registered(State(app): State<App>, request: Request, next: Next) -> Response {
    let origin = allowed(&app, request.headers()).await;
    let preflight = request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response =
        if preflight { StatusCode::NO_CONTENT.into_response() } else { next.run(request).await };
    let headers = response.headers_mut();
    // The answer differs by it, also where it is missing.
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    if preflight {
        answer::guard(headers);
    }
    let Some(origin) = origin else { return response };
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    if preflight {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static("authorization, content-type, dpop"),
        );
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    } else {
        headers.insert(
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static("www-authenticate, retry-after, dpop-nonce"),
        );
    }
    response
}

async fn allowed(app: &App, headers: &HeaderMap) -> Option<HeaderValue> {
    let value = headers.get(header::ORIGIN)?;
    let origin = value.to_str().ok().filter(|origin| is_origin(origin))?;
    match app.is_registered_origin(origin).await {
        Ok(true) => Some(value.clone()),
        Ok(false) => None,
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "origin was not looked up");
            None
        }
    }
}

// Scheme, host and port as browsers write them: asked before any SQL.
fn is_origin(text: &str) -> bool {
    text.len() <= 255
        && Url::parse(text).is_ok_and(|url| {
            matches!(url.scheme(), "https" | "http") && url.origin().ascii_serialization() == text
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_has_one_spelling() {
        for right in ["https://portal.example", "http://localhost:8107", "https://[2001:db8::1]:8443"] {
            assert!(is_origin(right), "{right}");
        }
        for wrong in [
            "",
            "null",
            "*",
            "portal.example",
            "https://portal.example/",
            "https://PORTAL.example",
            "https://portal.example:443",
            "https://portal.example/callback",
            "https://u@portal.example",
            "file:///",
            "https://portal.example' or true --",
        ] {
            assert!(!is_origin(wrong), "{wrong}");
        }
    }
}
