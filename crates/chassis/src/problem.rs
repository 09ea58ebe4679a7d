use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};

use crate::{
    Code, Coded, FieldViolation,
    code::{MOST_FIELDS, message_of},
};

/// The answer to an HTTP caller when something is wrong: `application/problem+json` (RFC 9457) with `code`, `reason` and
/// `fields` beside the standard members.
#[derive(Debug, Clone)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    reason: &'static str,
    detail: String,
    fields: Vec<FieldViolation>,
    retry_after: Option<Duration>,
}

impl Problem {
    /// One that only a layer makes, outside the table of codes.
    pub(crate) fn of_layer(status: StatusCode, reason: &'static str, detail: &str) -> Self {
        Self {
            status,
            code: reason,
            reason,
            detail: detail.to_owned(),
            fields: Vec::new(),
            retry_after: None,
        }
    }

    /// The status of the answer.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }
}

impl<E: Coded> From<E> for Problem {
    fn from(error: E) -> Self {
        let code = error.code();
        Self {
            status: code.http(),
            code: code.name(),
            reason: error.reason(),
            detail: message_of(&error),
            fields: error.fields().into_iter().take(MOST_FIELDS).collect(),
            retry_after: error.retry_after().or(passes(code).then_some(Duration::from_secs(1))),
        }
    }
}

// The same request may be answered later: its caller must know when to come back.
const fn passes(code: Code) -> bool {
    matches!(code, Code::ResourceExhausted | Code::Unavailable)
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let fields: Vec<_> = self
            .fields
            .iter()
            .map(|field| serde_json::json!({ "field": field.field, "rule": field.rule }))
            .collect();
        let mut body = serde_json::json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("error"),
            "status": self.status.as_u16(),
            "detail": self.detail,
            "code": self.code,
            "reason": self.reason,
        });
        if !fields.is_empty() {
            body["fields"] = fields.into();
        }
        let mut response = (self.status, body.to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let Some(wait) = self.retry_after {
            // The header's unit is a second.
            headers.insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the shelf is full")]
    struct Full;

    impl Coded for Full {
        fn code(&self) -> Code {
            Code::Unavailable
        }
        fn reason(&self) -> &'static str {
            "FULL"
        }
        fn fields(&self) -> Vec<FieldViolation> {
            vec![FieldViolation::new("shelf", "must have room")]
        }
    }

    #[derive(Debug, thiserror::Error)]
    #[error("a sample")]
    struct Sample(Code);

    impl Coded for Sample {
        fn code(&self) -> Code {
            self.0
        }
        fn reason(&self) -> &'static str {
            "SAMPLE"
        }
    }

    #[tokio::test]
    async fn each_code_is_a_problem_with_its_status_and_headers() {
        // (code, status, name, Retry-After, WWW-Authenticate)
        let table = [
            (Code::InvalidArgument, 400, "INVALID_ARGUMENT", None, None),
            (Code::Unauthenticated, 401, "UNAUTHENTICATED", None, Some("Bearer")),
            (Code::PermissionDenied, 403, "PERMISSION_DENIED", None, None),
            (Code::NotFound, 404, "NOT_FOUND", None, None),
            (Code::AlreadyExists, 409, "ALREADY_EXISTS", None, None),
            (Code::FailedPrecondition, 409, "FAILED_PRECONDITION", None, None),
            (Code::ResourceExhausted, 429, "RESOURCE_EXHAUSTED", Some("1"), None),
            (Code::Unavailable, 503, "UNAVAILABLE", Some("1"), None),
            (Code::Internal, 500, "INTERNAL", None, None),
        ];
        assert_eq!(table.map(|(code, ..)| code), Code::ALL);
        for (code, status, name, retry_after, challenge) in table {
            let response = Problem::from(Sample(code)).into_response();
            let header = |name| response.headers().get(name).map(|value| value.to_str().unwrap());
            assert_eq!(response.status(), status, "{name}");
            assert_eq!(header(header::RETRY_AFTER), retry_after, "{name}");
            assert_eq!(header(header::WWW_AUTHENTICATE), challenge, "{name}");
            let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
            let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(
                (body["status"].as_u64(), body["code"].as_str()),
                (Some(u64::from(status)), Some(name))
            );
            assert_eq!(body["reason"], "SAMPLE");
        }
    }

    #[tokio::test]
    async fn a_problem_names_code_reason_and_fields() {
        let response = Problem::from(Full).into_response();
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        assert_eq!(response.headers()["retry-after"], "1");
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["code"], "UNAVAILABLE");
        assert_eq!(body["reason"], "FULL");
        assert_eq!(body["fields"][0]["field"], "shelf");
    }
}
