//! Public HTTP: ODF in, the feed as server-sent events and by WebSocket, pages for fans.

mod archive;
mod changes;
mod cis;
mod feed;
mod odf;
mod pages;
mod query;
mod socket;
mod tickets;

use std::time::Duration;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};

use crate::{Error, app::App};

pub use cis::Desk;
pub use pages::Pages;

/// What handlers share.
#[derive(Debug, Clone)]
struct Web {
    app: App,
    process: chassis::Process,
    pages: Pages,
    desk: Desk,
    /// Longest time for the body of a document to arrive.
    body_patience: Duration,
}

/// The public routes.
pub fn router(
    app: App,
    process: chassis::Process,
    pages: Pages,
    desk: Desk,
    body_patience: Duration,
) -> Router {
    Router::new()
        .route("/results/v1/odf", post(odf::take).layer(DefaultBodyLimit::disable()))
        .route("/results/v1/feed", get(feed::subscribe))
        .route("/results/v1/feed/ws", get(socket::subscribe))
        .route("/results/v1/tickets", post(tickets::create))
        .route("/results/v1/state", get(feed::state))
        .route("/results/v1/changes", get(changes::list))
        .route("/results/v1/documents", get(archive::archive))
        .route("/results/v1/documents/{handle}/{seq}", get(feed::document))
        .route("/results/live", get(pages::units))
        .route("/results/live/{unit}", get(pages::unit))
        .route("/results/medals", get(pages::medals))
        .route("/results/assets/live.js", get(pages::script))
        .route("/results/assets/live.css", get(pages::style))
        .route("/results/assets/icon.svg", get(pages::icon))
        .merge(cis::routes())
        .with_state(Web { app, process, pages, desk, body_patience })
}

/// An error of the transport, outside the table of codes: a status and a reason (RFC 9457).
struct Refusal {
    status: StatusCode,
    reason: &'static str,
    rule: &'static str,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let problem = serde_json::json!({
            "type": "about:blank", "status": self.status.as_u16(), "reason": self.reason, "detail": self.rule,
        });
        let kind = (header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        (self.status, [kind], problem.to_string()).into_response()
    }
}

/// What a handler answers when it can't answer.
enum Failure {
    App(Error),
    Auth(chassis::Problem),
    Transport(Refusal),
}

impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::App(error.into())
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Transport(refusal)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        match self {
            Self::App(error) => chassis::Problem::from(error).into_response(),
            Self::Auth(problem) => problem.into_response(),
            Self::Transport(refusal) => refusal.into_response(),
        }
    }
}

const NO_SNIFF: (HeaderName, HeaderValue) =
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
