//! Public HTTP: unsubscribing, links, pixels. No cookie, no session; a forged token is a 404.

mod pages;

use axum::{
    Router,
    extract::{DefaultBodyLimit, Path, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use chassis::{Coded, Problem};
use domain::Locale;

use crate::{Error, app::App, engagement};

/// A mail client's one-click body has 26 bytes (RFC 8058 3.1).
const LARGEST_BODY: usize = 4 * 1_024;

/// GIF89a, one transparent pixel, 43 bytes.
const PIXEL: [u8; 43] = [
    0x47, 0x49, 0x46, 0x38, 0x39, 0x61, 0x01, 0x00, 0x01, 0x00, 0x80, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff,
    0xff, 0xff, 0x21, 0xf9, 0x04, 0x01, 0x00, 0x00, 0x00, 0x00, 0x2c, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00,
    0x01, 0x00, 0x00, 0x02, 0x02, 0x44, 0x01, 0x00, 0x3b,
];

/// The routes of mailer.
pub fn router(app: App) -> Router {
    Router::new()
        .route("/u/{token}", post(unsubscribe).get(unsubscribe_form))
        .route("/c/{token}", get(follow_link))
        .route("/o/{file}", get(pixel))
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .with_state(app)
}

// Acts at once, whatever the body says: a mail client posts `List-Unsubscribe=One-Click`, our own form nothing.
async fn unsubscribe(State(app): State<App>, Path(token): Path<String>, headers: HeaderMap) -> Response {
    let locale = language(&headers);
    match app.unsubscribe(&token).await {
        Ok(()) => page(StatusCode::OK, pages::done(locale)),
        Err(error) => refused(error, locale),
    }
}

// Never acts: scanners follow links.
async fn unsubscribe_form(State(app): State<App>, Path(token): Path<String>, headers: HeaderMap) -> Response {
    let locale = language(&headers);
    match app.check_unsubscribe(&token).await {
        Ok(()) => page(StatusCode::OK, pages::form(locale, &token)),
        Err(error) => refused(error, locale),
    }
}

async fn follow_link(
    State(app): State<App>,
    Path(token): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let class = engagement::class_of_request(method == Method::HEAD, user_agent(&headers));
    let target = match app.follow_link(&token, class).await {
        Ok(target) => target,
        Err(error) => return refused(error, language(&headers)),
    };
    let Ok(location) = HeaderValue::try_from(target) else { return StatusCode::NOT_FOUND.into_response() };
    let mut response = StatusCode::FOUND.into_response();
    response.headers_mut().insert(header::LOCATION, location);
    guarded(response)
}

// A forged token gets its pixel too: nothing is told by it.
async fn pixel(
    State(app): State<App>,
    Path(file): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let class = engagement::class_of_request(method == Method::HEAD, user_agent(&headers));
    if let Some(token) = file.strip_suffix(".gif")
        && let Err(error) = app.note_open(token, class).await
    {
        tracing::warn!(error = %error, "an open was not counted");
    }
    guarded(([(header::CONTENT_TYPE, "image/gif")], PIXEL).into_response())
}

fn refused(error: Error, locale: Locale) -> Response {
    if error.code() == chassis::Code::NotFound {
        return page(StatusCode::NOT_FOUND, pages::unknown(locale));
    }
    Problem::from(error).into_response()
}

fn page(status: StatusCode, html: String) -> Response {
    let mut response = (status, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], html).into_response();
    let policy = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept-language"));
    guarded(response)
}

// The address holds a token: nobody stores it, sends it on or lists it.
fn guarded(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert("x-robots-tag", HeaderValue::from_static("noindex, nofollow"));
    response
}

fn language(headers: &HeaderMap) -> Locale {
    let accepted = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    accepted.and_then(Locale::negotiate).unwrap_or_default()
}

fn user_agent(headers: &HeaderMap) -> &str {
    headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default()
}
