//! The token endpoint.

use axum::{
    Form, Json,
    extract::{State, rejection::FormRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::json;

use super::App;
use crate::auth::{JWT_BEARER, OAuthError};

#[derive(Deserialize)]
pub(super) struct TokenRequest {
    grant_type: Option<String>,
    assertion: Option<String>,
}

impl IntoResponse for OAuthError {
    fn into_response(self) -> Response {
        let body = json!({ "error": self.error, "error_description": self.description });
        (StatusCode::BAD_REQUEST, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
    }
}

/// `POST /services/oauth2/token`: an assertion for a session.
pub(super) async fn token(
    State(app): State<App>,
    form: Result<Form<TokenRequest>, FormRejection>,
) -> Result<Response, OAuthError> {
    let invalid = OAuthError { error: "invalid_request", description: "must be a form-encoded POST" };
    let Ok(Form(request)) = form else { return Err(invalid) };
    if request.grant_type.as_deref() != Some(JWT_BEARER) {
        return Err(OAuthError { error: "unsupported_grant_type", description: "grant type not supported" });
    }
    let Some(assertion) = request.assertion else {
        return Err(OAuthError { error: "invalid_request", description: "assertion is required" });
    };
    let now = app.world().clock.now();
    app.app.check(&assertion, now)?;
    let org = &app.config.org;
    let token = app.world().sessions.open(&org.id, now, app.config.session_seconds)?;
    let body = json!({
        "access_token": token, "instance_url": app.base_url, "token_type": "Bearer", "scope": "api",
        "id": format!("{}/id/{}/{}", app.base_url, org.id, org.user_id),
    });
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response())
}
