//! What the org answers when it does not do what was asked: a call refused, or one row.

use std::borrow::Cow;

use ::http::StatusCode;

/// A call refused. On the wire `[{"message", "errorCode"}]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub status: StatusCode,
    pub code: Cow<'static, str>,
    pub message: String,
    /// Seconds, sent as `Retry-After`.
    pub retry_after: Option<u32>,
}

impl Refusal {
    #[must_use]
    pub fn new(status: StatusCode, code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { status, code: code.into(), message: message.into(), retry_after: None }
    }

    #[must_use]
    pub fn bad_request(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    #[must_use]
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", "The requested resource does not exist")
    }

    #[must_use]
    pub fn invalid_session() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "INVALID_SESSION_ID", "Session expired or invalid")
    }

    #[must_use]
    pub fn parser(message: impl Into<String>) -> Self {
        Self::bad_request("JSON_PARSER_ERROR", message)
    }
}

/// One row refused, beside others that were taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowError {
    pub code: &'static str,
    pub message: String,
    pub fields: Vec<String>,
}

impl RowError {
    #[must_use]
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), fields: Vec::new() }
    }

    #[must_use]
    pub fn on(code: &'static str, field: &str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), fields: vec![field.to_owned()] }
    }

    /// The `sf__Error` cell of Bulk: `CODE:message:fields --`.
    #[must_use]
    pub fn bulk_text(&self) -> String {
        format!("{}:{}:{} --", self.code, self.message, self.fields.join(" "))
    }
}
