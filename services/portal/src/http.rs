//! The fans' pages.

mod account;
mod assets;
mod consents;
mod form;
mod my;
mod results;
mod sign_in;
mod visitor;

use std::sync::Arc;

use axum::{
    Router,
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use chassis::{Code, Coded, relying_party};
use minijinja::context;

use self::visitor::{Visitor, see_other};
use crate::{Error, app::App, pages::Pages};

/// Largest form.
const LARGEST_FORM: usize = 64 * 1024;

/// What every handler needs.
#[derive(Debug)]
pub struct Site {
    app: App,
    pages: Pages,
    csp: HeaderValue,
}

type Here = State<Arc<Site>>;

/// Every route of the portal.
///
/// # Errors
/// The origin of identity is no header value.
pub fn router(app: App, pages: Pages) -> Result<Router, header::InvalidHeaderValue> {
    // A form may lead to identity: Chromium applies form-action to the redirect after a POST.
    let csp = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         form-action 'self' {}; base-uri 'none'; frame-ancestors 'none'",
        app.issuer_origin()
    );
    let site = Site { app, pages, csp: HeaderValue::from_str(&csp)? };
    Ok(Router::new()
        .route("/", get(my::home))
        .route("/portal", get(my::home))
        .route("/portal/", get(my::home))
        .route("/portal/login", get(sign_in::login))
        .route("/portal/callback", get(sign_in::callback))
        .route("/portal/logout", post(sign_in::logout))
        .route("/portal/backchannel-logout", post(sign_in::backchannel_logout))
        .route("/portal/language", post(visitor::choose_language))
        .route("/portal/assets/style.css", get(assets::style))
        .route("/portal/assets/live.js", get(assets::live))
        .route("/portal/assets/results.js", get(assets::results))
        .route("/portal/assets/icon.svg", get(assets::icon))
        .route("/account", get(account::show).post(account::save))
        .route("/account/sessions", get(account::sessions).post(account::end_session))
        .route("/account/consents", get(consents::show).post(consents::save))
        .route("/account/history", get(consents::history))
        .route("/my", get(my::show))
        .route("/my/favourites", get(my::favourites).post(my::save_favourites))
        .route("/my/results", get(results::list))
        .route("/my/results/feed", get(results::feed))
        .route("/my/results/{unit}", get(results::unit))
        .layer(DefaultBodyLimit::max(LARGEST_FORM))
        .with_state(Arc::new(site)))
}

/// A page, or the reason why there is none.
type Page = Result<Response, Failure>;

/// An error, and the visitor to whom it is told.
struct Failure {
    visitor: Box<Visitor>,
    error: Box<Error>,
}

// Nobody stores a page, frames it or learns from it where the fan was. Not `no-referrer`: with that, browsers send our own
// forms with `Origin: null` (Fetch standard, "append a request Origin header").
fn secure(headers: &mut HeaderMap, csp: &HeaderValue) {
    headers.insert(header::CONTENT_SECURITY_POLICY, csp.clone());
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(
        header::STRICT_TRANSPORT_SECURITY,
        HeaderValue::from_static("max-age=31536000; includeSubDomains"),
    );
    headers.insert(
        "permissions-policy",
        HeaderValue::from_static("camera=(), geolocation=(), microphone=(), payment=()"),
    );
}

impl Failure {
    fn status_and_word(&self) -> (StatusCode, &'static str) {
        match &*self.error {
            Error::NotFound => (StatusCode::NOT_FOUND, "problem_not_found"),
            Error::BeingPrepared => (StatusCode::SERVICE_UNAVAILABLE, "problem_being_prepared"),
            // Also the code of a page that was loaded twice, and a token that is not for us.
            Error::ForeignSignIn
            | Error::Issuer(relying_party::Error::Refused(_) | relying_party::Error::Token(_)) => {
                (StatusCode::BAD_REQUEST, "problem_foreign_sign_in")
            }
            Error::ForeignForm => (StatusCode::FORBIDDEN, "problem_foreign_form"),
            Error::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "problem_too_large"),
            error => match error.code() {
                Code::Unavailable | Code::ResourceExhausted => {
                    (StatusCode::SERVICE_UNAVAILABLE, "problem_unavailable")
                }
                _ => (StatusCode::INTERNAL_SERVER_ERROR, "problem_internal"),
            },
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        if matches!(*self.error, Error::SignedOut) {
            return see_other(&sign_in::login_url(&self.visitor.path));
        }
        let (status, word) = self.status_and_word();
        let error = &*self.error as &dyn std::error::Error;
        if status.is_server_error() {
            tracing::warn!(error, %status, "page not shown");
        } else {
            tracing::info!(error, %status, "page not shown");
        }
        let mut answer = match self.visitor.render("problem.html", status, context! { key => word }) {
            Ok(answer) => answer,
            Err(_) => status.into_response(),
        };
        if status == StatusCode::SERVICE_UNAVAILABLE {
            answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
        }
        answer
    }
}
