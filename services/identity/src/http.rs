//! Public HTTP: the pages that people see, and the protocol's endpoints for relying parties.

mod account;
mod authorize;
mod consent;
mod device;
mod new_password;
mod page;
mod passkey;
mod protocol;
mod recover;
mod second_factor;
mod sign_in;
mod sign_out;
mod sign_up;
mod theme;
mod visitor;

use std::sync::Arc;

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{get, post},
};

use crate::{
    app::App,
    pages::{self, Pages},
};

use page::{Failure, Told};

/// Largest form, in bytes.
const LARGEST_FORM: usize = 64 * 1024;

/// What every page needs.
#[derive(Clone)]
struct Site {
    app: App,
    pages: Pages,
    origin: Arc<str>,
}

/// A page, or the reason why there is none.
type Page = Result<Response, Failure>;

/// Every route of identity: the pages, and the protocol with connections of its own.
pub fn router(app: &App, for_protocol: App, pages: Pages) -> Router {
    let site = Site { origin: app.issuer().into(), app: app.clone(), pages };
    Router::new()
        .route("/authorize", get(authorize::take).post(authorize::take_form))
        .route("/login", get(sign_in::show).post(sign_in::submit))
        .route("/login/passkey", get(passkey::show).post(passkey::submit))
        .route("/login/totp", get(second_factor::show_totp).post(second_factor::submit_totp))
        .route(
            "/login/recovery-code",
            get(second_factor::show_recovery_code).post(second_factor::submit_recovery_code),
        )
        .route("/signup", get(sign_up::show).post(sign_up::submit))
        .route("/signup/verify", get(sign_up::show_proof).post(sign_up::prove))
        .route("/signup/complete", get(sign_up::show_password).post(sign_up::complete))
        .route("/recover", get(recover::show).post(recover::submit))
        .route("/recover/reset", get(recover::show_reset).post(recover::reset))
        .route("/consent", get(consent::show).post(consent::decide))
        .route("/device", get(device::show).post(device::submit))
        .route("/device/confirm", get(device::ask).post(device::decide))
        .route("/logout", get(sign_out::take).post(sign_out::take_form))
        .route("/account/security", get(account::show).post(account::end))
        .route("/account/security/confirm", get(account::confirm))
        .route("/account/security/password", get(account::password::show).post(account::password::change))
        .route("/account/security/consent", post(account::consents::withdraw))
        .route("/account/security/totp", get(account::codes::show).post(account::codes::change))
        .route("/account/security/recovery-codes", post(account::codes::renew))
        .route("/account/security/passkey", post(account::passkeys::change))
        .route(
            "/identity/assets/passkey.js",
            get(async || asset("text/javascript; charset=utf-8", pages::SCRIPT)),
        )
        .route("/identity/assets/style.css", get(async || asset("text/css; charset=utf-8", pages::STYLE)))
        .route("/identity/assets/icon.svg", get(async || asset("image/svg+xml", pages::ICON)))
        .route("/identity/themes/{client_id}/{version}/style.css", get(theme::style))
        .route("/identity/themes/{client_id}/{version}/logo", get(theme::logo))
        .route_layer(from_fn_with_state(site.clone(), dress))
        .route_layer(DefaultBodyLimit::max(LARGEST_FORM))
        .with_state(site)
        .merge(protocol::router(for_protocol))
        .layer(from_fn(guard))
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "max-age=300")], text).into_response()
}

// A failure becomes a page in the visitor's language.
async fn dress(State(site): State<Site>, request: Request, next: Next) -> Response {
    let language = visitor::Language::of(request.headers(), request.uri().query());
    let mut response = next.run(request).await;
    if let Some(told) = response.extensions_mut().remove::<Told>() {
        response = told_page(&site, &told, &language, &response);
    }
    response
}

// Outermost: no answer goes without the headers that guard it, pages and protocol alike, nor one to a method or a path that
// there is not.
async fn guard(request: Request, next: Next) -> Response {
    let is_account = request.uri().path().starts_with("/account");
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in page::GUARDS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    if is_account {
        // Elsewhere it would break sign-in in a pop-up window.
        headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    }
    response
}

fn told_page(site: &Site, told: &Told, language: &visitor::Language, failed: &Response) -> Response {
    let mut response = match page::error(site, told, language.preferred(None)) {
        Ok(response) => response,
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "no page can be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    };
    // Somebody who has just signed in stays so, though the way back to the client is closed.
    for cookie in failed.headers().get_all(header::SET_COOKIE) {
        response.headers_mut().append(header::SET_COOKIE, cookie.clone());
    }
    if let Some(wait) = told.retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
    }
    response
}
