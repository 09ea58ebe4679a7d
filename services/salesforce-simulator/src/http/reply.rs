//! Refusals on the wire.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;

use crate::refusal::Refusal;

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!([{ "message": self.message, "errorCode": self.code }]);
        let mut response = (self.status, Json(body)).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Token"));
        }
        response
    }
}

pub(super) async fn not_found() -> Refusal {
    Refusal::not_found()
}

/// Refusals that the router or an extractor made are plain text; clients of Salesforce expect its array.
pub(super) fn in_their_shape(response: Response) -> Response {
    let status = response.status();
    let is_json = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/json");
    if is_json || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    match status {
        StatusCode::METHOD_NOT_ALLOWED => {
            let allowed = response.headers().get(header::ALLOW).and_then(|allow| allow.to_str().ok());
            let message = format!("HTTP Method not allowed. Allowed are {}", allowed.unwrap_or_default());
            Refusal::new(status, "METHOD_NOT_ALLOWED", message).into_response()
        }
        StatusCode::NOT_FOUND => Refusal::not_found().into_response(),
        _ => {
            let reason = status.canonical_reason().unwrap_or("refused");
            Refusal::new(status, "MALFORMED_REQUEST", reason).into_response()
        }
    }
}
