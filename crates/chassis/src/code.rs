use std::{error::Error, fmt::Display, str::FromStr, time::Duration};

use domain::new_id;
use tonic::Status;
use tonic_types::{ErrorDetails, StatusExt as _};

/// What went wrong, for a caller who must decide what to do next. One table each way: gRPC status and HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// A field breaks a rule; the answer names it. The same request fails again.
    InvalidArgument,
    /// No token, or one that is not good.
    Unauthenticated,
    /// The token is good, and does not allow this.
    PermissionDenied,
    /// No such thing, or one whose existence is a secret.
    NotFound,
    /// The name or key is taken.
    AlreadyExists,
    /// The state or version is another one.
    FailedPrecondition,
    /// The caller's own quota is used up.
    ResourceExhausted,
    /// Not now: shed, draining, or something that we need is away. The same request may pass later.
    Unavailable,
    /// Our fault. The answer carries a reference only.
    Internal,
}

impl Code {
    /// Every code.
    pub const ALL: [Self; 9] = [
        Self::InvalidArgument,
        Self::Unauthenticated,
        Self::PermissionDenied,
        Self::NotFound,
        Self::AlreadyExists,
        Self::FailedPrecondition,
        Self::ResourceExhausted,
        Self::Unavailable,
        Self::Internal,
    ];

    /// The gRPC status code.
    #[must_use]
    pub const fn grpc(self) -> tonic::Code {
        match self {
            Self::InvalidArgument => tonic::Code::InvalidArgument,
            Self::Unauthenticated => tonic::Code::Unauthenticated,
            Self::PermissionDenied => tonic::Code::PermissionDenied,
            Self::NotFound => tonic::Code::NotFound,
            Self::AlreadyExists => tonic::Code::AlreadyExists,
            Self::FailedPrecondition => tonic::Code::FailedPrecondition,
            Self::ResourceExhausted => tonic::Code::ResourceExhausted,
            Self::Unavailable => tonic::Code::Unavailable,
            Self::Internal => tonic::Code::Internal,
        }
    }

    /// The HTTP status (RFC 9110 15).
    #[must_use]
    pub const fn http(self) -> http::StatusCode {
        match self {
            Self::InvalidArgument => http::StatusCode::BAD_REQUEST,
            Self::Unauthenticated => http::StatusCode::UNAUTHORIZED,
            Self::PermissionDenied => http::StatusCode::FORBIDDEN,
            Self::NotFound => http::StatusCode::NOT_FOUND,
            Self::AlreadyExists | Self::FailedPrecondition => http::StatusCode::CONFLICT,
            Self::ResourceExhausted => http::StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable => http::StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => http::StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The name in problem+json.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::PermissionDenied => "PERMISSION_DENIED",
            Self::NotFound => "NOT_FOUND",
            Self::AlreadyExists => "ALREADY_EXISTS",
            Self::FailedPrecondition => "FAILED_PRECONDITION",
            Self::ResourceExhausted => "RESOURCE_EXHAUSTED",
            Self::Unavailable => "UNAVAILABLE",
            Self::Internal => "INTERNAL",
        }
    }
}

/// An error that a caller gets to see.
pub trait Coded: Error {
    /// What the caller can do about it.
    fn code(&self) -> Code;

    /// A constant in capitals that a program can compare.
    fn reason(&self) -> &'static str;

    /// Every field that breaks a rule.
    fn fields(&self) -> Vec<FieldViolation> {
        Vec::new()
    }

    /// When to come back.
    fn retry_after(&self) -> Option<Duration> {
        None
    }
}

/// A field that breaks a rule. The value is never repeated, since it may be personal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {rule}")]
pub struct FieldViolation {
    /// Path of the field: `traits[2].value`.
    pub field: String,
    /// What a right value looks like: `must be a UUID`.
    pub rule: String,
}

impl FieldViolation {
    /// Names the field and its rule.
    #[must_use]
    pub fn new(field: impl Into<String>, rule: impl Into<String>) -> Self {
        Self { field: field.into(), rule: rule.into() }
    }
}

/// Reads a field of a type that can be wrong.
///
/// # Errors
/// The type's rule, under the field's name.
pub fn parse<T: FromStr<Err: Display>>(field: &str, text: &str) -> Result<T, FieldViolation> {
    text.parse().map_err(|error: T::Err| FieldViolation::new(field, error.to_string()))
}

/// An answer names at most so many fields: details travel in a header, whose length is bounded.
pub(crate) const MOST_FIELDS: usize = 50;

/// The domain under which reasons are unique (`google.rpc.ErrorInfo`).
const ERROR_DOMAIN: &str = "kotinos";

/// The answer to a gRPC caller, with `google.rpc.Status` details: ErrorInfo, BadRequest, RetryInfo. Logs it once: our own
/// faults with the chain and a reference that the answer carries too, since their text stays inside.
#[expect(clippy::needless_pass_by_value, reason = "it reads as `map_err(chassis::status)`")]
pub fn status(error: impl Coded) -> Status {
    let (code, message) = (error.code(), message_of(&error));
    let mut details = ErrorDetails::new();
    details.set_error_info(error.reason(), ERROR_DOMAIN, std::collections::HashMap::new());
    for field in error.fields().into_iter().take(MOST_FIELDS) {
        details.add_bad_request_violation(field.field, field.rule);
    }
    if let Some(wait) = error.retry_after() {
        details.set_retry_info(Some(wait));
    }
    Status::with_error_details(code.grpc(), message, details)
}

/// What the caller reads, logged on the way.
pub(crate) fn message_of(error: &impl Coded) -> String {
    let (code, reason) = (error.code(), error.reason());
    match code {
        Code::Internal => {
            let reference = new_id();
            tracing::error!(code = code.name(), reason, %reference, error = chain(error), "internal error");
            format!("internal error, reference {reference}")
        }
        Code::Unavailable => {
            tracing::warn!(code = code.name(), reason, error = chain(error), "not now");
            "not now, try again".to_owned()
        }
        Code::InvalidArgument => {
            tracing::debug!(code = code.name(), reason, "refused");
            let fields: Vec<String> = error.fields().iter().take(10).map(ToString::to_string).collect();
            if fields.is_empty() { error.to_string() } else { fields.join("; ") }
        }
        _ => {
            tracing::debug!(code = code.name(), reason, "refused");
            error.to_string()
        }
    }
}

/// An error with its causes on one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Sample(Code, #[source] std::fmt::Error);

    impl Coded for Sample {
        fn code(&self) -> Code {
            self.0
        }
        fn reason(&self) -> &'static str {
            "SAMPLE"
        }
        fn fields(&self) -> Vec<FieldViolation> {
            vec![FieldViolation::new("day", "must be a date")]
        }
        fn retry_after(&self) -> Option<Duration> {
            Some(Duration::from_secs(3))
        }
    }

    #[test]
    fn each_code_has_its_place_in_both_tables() {
        let table = [
            (Code::InvalidArgument, 3, 400),
            (Code::Unauthenticated, 16, 401),
            (Code::PermissionDenied, 7, 403),
            (Code::NotFound, 5, 404),
            (Code::AlreadyExists, 6, 409),
            (Code::FailedPrecondition, 9, 409),
            (Code::ResourceExhausted, 8, 429),
            (Code::Unavailable, 14, 503),
            (Code::Internal, 13, 500),
        ];
        assert_eq!(table.map(|(code, ..)| code), Code::ALL);
        for (code, grpc, http) in table {
            assert_eq!((code.grpc() as i32, code.http().as_u16()), (grpc, http), "{code:?}");
            // And on the wire, where the number is all that another language sees.
            let status = status(Sample(code, std::fmt::Error));
            assert_eq!(status.into_http::<()>().headers()["grpc-status"], grpc.to_string(), "{code:?}");
        }
    }

    #[test]
    fn a_status_carries_reason_fields_and_patience() {
        let status = status(Sample(Code::InvalidArgument, std::fmt::Error));
        let details = status.get_error_details();
        assert_eq!(details.error_info().unwrap().reason, "SAMPLE");
        assert_eq!(details.bad_request().unwrap().field_violations[0].field, "day");
        assert_eq!(details.retry_info().unwrap().retry_delay, Some(Duration::from_secs(3)));
        assert_eq!(status.message(), "day must be a date");
    }

    #[test]
    fn the_text_of_an_internal_error_stays_inside() {
        let status = status(Sample(Code::Internal, std::fmt::Error));
        assert!(status.message().starts_with("internal error, reference "), "{status}");
        assert!(!status.message().contains("outer"));
    }

    #[test]
    fn a_wrong_value_is_named_by_its_field_and_rule() {
        let wrong = parse::<domain::ProfileId>("profile_id", "42").unwrap_err();
        assert_eq!(wrong.field, "profile_id");
        assert!(wrong.rule.starts_with("must be a UUID"));
    }
}
