use axum::{
    Json,
    extract::{Path, State},
    http::{Extensions, HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use chassis::{Code, Coded};
use serde_json::{Map, Value, json};

use super::{
    Body,
    answer::{self, Wrong},
    origin, text,
};
use crate::app::{App, RegistrationError};

/// POST `/oauth2/registration` (RFC 7591 3.1, OIDC Registration 3.1).
pub async fn register(
    State(app): State<App>,
    extensions: Extensions,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let token = bearer(&headers)?;
    let registered = app.register(token, &document(&headers, body)?, origin(&extensions)).await?;
    let mut response = answer::fresh(registered);
    *response.status_mut() = StatusCode::CREATED;
    Ok(response)
}

/// GET `/oauth2/registration/{client_id}` (RFC 7592 2.1).
pub async fn read(
    State(app): State<App>,
    Path(client_id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    Ok(answer::fresh(app.registration(&client_id, bearer(&headers)?).await?))
}

/// PUT `/oauth2/registration/{client_id}` (RFC 7592 2.2).
pub async fn replace(
    State(app): State<App>,
    Path(client_id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let token = bearer(&headers)?;
    Ok(answer::fresh(app.update_registration(&client_id, token, &document(&headers, body)?).await?))
}

/// DELETE `/oauth2/registration/{client_id}` (RFC 7592 2.3).
pub async fn delete(
    State(app): State<App>,
    Path(client_id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    app.delete_registration(&client_id, bearer(&headers)?).await?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    answer::guard(response.headers_mut());
    Ok(response)
}

/// Why there is no registration, or what is wrong with the request.
pub enum Refused {
    Registration(RegistrationError),
    Request(Wrong),
}

impl From<RegistrationError> for Refused {
    fn from(error: RegistrationError) -> Self {
        Self::Registration(error)
    }
}

impl From<Wrong> for Refused {
    fn from(wrong: Wrong) -> Self {
        Self::Request(wrong)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let error = match self {
            Self::Request(wrong) => return wrong.into_response(),
            Self::Registration(error) => error,
        };
        let (status, code, description) = match &error {
            RegistrationError::Token => {
                (StatusCode::UNAUTHORIZED, "invalid_token", "the token does not count here".to_owned())
            }
            RegistrationError::Full => (
                StatusCode::FORBIDDEN,
                "access_denied",
                "the policy has no room for another client".to_owned(),
            ),
            RegistrationError::Invalid(invalid) => {
                (StatusCode::BAD_REQUEST, invalid.error, invalid.to_string())
            }
            RegistrationError::Failed(inner) if inner.code() == Code::Internal => {
                tracing::error!(error = &error as &dyn std::error::Error, "registration failed");
                let description = "the request could not be answered".to_owned();
                (StatusCode::INTERNAL_SERVER_ERROR, "server_error", description)
            }
            RegistrationError::Failed(_) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "registration is not available");
                (StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", "try again later".to_owned())
            }
        };
        let body = json!({"error": code, "error_description": description});
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        answer::guard(headers);
        match status {
            StatusCode::UNAUTHORIZED => {
                let challenge = HeaderValue::from_static("Bearer realm=\"kotinos\", error=\"invalid_token\"");
                headers.insert(header::WWW_AUTHENTICATE, challenge);
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}

fn bearer(headers: &HeaderMap) -> Result<&str, Refused> {
    let value = text(headers, header::AUTHORIZATION)?.unwrap_or_default();
    let token = value.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    Ok(token.ok_or(RegistrationError::Token)?.1.trim())
}

// The parser refuses JSON that is nested deeper than 128.
fn document(headers: &HeaderMap, body: Body) -> Result<Map<String, Value>, Refused> {
    let body = super::whole(body)?;
    let content_type = text(headers, header::CONTENT_TYPE)?.unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    let document = serde_json::from_slice(&body).ok();
    match document.filter(|_| media_type.eq_ignore_ascii_case("application/json")) {
        Some(Value::Object(metadata)) => Ok(metadata),
        _ => Err(Wrong::new(
            StatusCode::BAD_REQUEST,
            "invalid_client_metadata",
            "the body must be a JSON object, sent as application/json",
        )
        .into()),
    }
}
